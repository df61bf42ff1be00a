//! The columns of a block: their order, paths, types and levels, as Tempo's own files have them. In vParquet5
//! they depend on the block's dedicated columns.

mod slots;
mod tree;

use parquet::{basic::Type, schema::types::TypePtr};

use super::{BlockError, DedicatedColumn, Version};
use crate::table::Level;
pub(crate) use slots::{Slot, Slots, is_own, room};

/// A leaf column of the schema, named for what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Leaf {
    TraceId,
    TraceIdText,
    TraceStart,
    TraceEnd,
    TraceDuration,
    RootService,
    RootName,
    StatsService,
    StatsSpans,
    StatsErrors,
    Service,
    ScopeName,
    ScopeVersion,
    SpanId,
    ParentSpanId,
    ParentLeft,
    Left,
    Right,
    Name,
    Kind,
    TraceState,
    Start,
    Duration,
    Status,
    StatusMessage,
    DroppedEvents,
    DroppedLinks,
    EventTime,
    EventName,
    LinkTraceId,
    LinkSpanId,
    LinkTraceState,
    /// Spans whose parent this is (vParquet5).
    ChildCount,
    /// Spans of a scope (vParquet5).
    ScopeSpans,
    /// Which interval of so many seconds a span starts in (vParquet5).
    Rounded(u16),
    /// OTLP `dropped_attributes_count` of a level.
    Dropped(Level),
    /// A part of the generic attributes of a level.
    Attribute(Level, Part),
    /// A column that holds one attribute of a resource, span or event; see [`Slots`].
    Slot(Level, usize),
}

/// The columns that generic attributes are spread over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    Key,
    IsArray,
    Text,
    Int,
    Double,
    Bool,
    Unsupported,
}

/// What a column's values are, apart from how they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UTF-8 text.
    Text,
    /// Bytes: an id.
    Id,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Double,
    Bool,
}

/// A leaf with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) leaf: Leaf,
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// Definition level of a value that is there.
    pub(crate) def: u8,
    /// Highest repetition level.
    pub(crate) rep: u8,
    /// Whether it holds large texts that hardly repeat: no dictionary, and no bounds in the page index.
    pub(crate) blob: bool,
}

/// The columns of one block.
#[derive(Debug)]
pub(crate) struct Schema {
    version: Version,
    slots: Slots,
    /// Every column, in the order of the file.
    specs: Vec<Spec>,
}

impl Schema {
    /// Of a block with these dedicated columns. Those that the format has no column for are left out, as
    /// they hold nothing.
    pub(crate) fn new(version: Version, dedicated: &[DedicatedColumn]) -> Self {
        let slots = Slots::new(version, dedicated);
        let specs = tree::specs(version, &slots);
        Self { version, slots, specs }
    }

    /// As [`Schema::new`], for writing: what cannot be kept is refused.
    pub(crate) fn checked(version: Version, dedicated: &[DedicatedColumn]) -> Result<Self, BlockError> {
        slots::check(version, dedicated)?;
        Ok(Self::new(version, dedicated))
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Attributes with a column of their own.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Every column, in the order of the file.
    pub(crate) fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// The schema as the Parquet crate takes it.
    pub(crate) fn parquet(&self) -> Result<TypePtr, BlockError> {
        let text = tree::message(self.version, &self.slots);
        let schema = parquet::schema::parser::parse_message_type(&text).map_err(BlockError::Parquet)?;
        Ok(std::sync::Arc::new(schema))
    }
}

impl Leaf {
    /// Whether it belongs to the generic attributes and is not their keys.
    pub(crate) fn is_attribute_value(self) -> bool {
        matches!(self, Self::Attribute(_, part) if part != Part::Key)
    }
}

impl Kind {
    pub(crate) fn physical(self) -> Type {
        match self {
            Self::Text | Self::Id => Type::BYTE_ARRAY,
            Self::Int32 | Self::Uint32 => Type::INT32,
            Self::Int64 | Self::Uint64 => Type::INT64,
            Self::Double => Type::DOUBLE,
            Self::Bool => Type::BOOLEAN,
        }
    }
}

impl Part {
    pub(crate) const ALL: [Self; 7] =
        [Self::Key, Self::IsArray, Self::Text, Self::Int, Self::Double, Self::Bool, Self::Unsupported];
}

/// Repetition and definition level of a level's rows: all groups are required, so both count the lists
/// on the way.
pub(crate) fn depth(level: Level) -> u8 {
    match level {
        Level::Resource => 1,
        Level::Scope => 2,
        Level::Span => 3,
        Level::Event | Level::Link => 4,
    }
}

#[cfg(test)]
mod tests {
    use parquet::{basic::ConvertedType, schema::types::SchemaDescriptor};

    use super::*;
    use crate::block::{DedicatedKind, DedicatedScope};

    fn converted(kind: Kind) -> ConvertedType {
        match kind {
            Kind::Text => ConvertedType::UTF8,
            Kind::Int32 => ConvertedType::INT_32,
            Kind::Uint32 => ConvertedType::UINT_32,
            Kind::Int64 => ConvertedType::INT_64,
            Kind::Uint64 => ConvertedType::UINT_64,
            Kind::Id | Kind::Double | Kind::Bool => ConvertedType::NONE,
        }
    }

    fn dedicated() -> Vec<DedicatedColumn> {
        let column = |scope, name: &str| DedicatedColumn::string(scope, name);
        vec![
            column(DedicatedScope::Span, "url.path"),
            DedicatedColumn { kind: DedicatedKind::Int, ..column(DedicatedScope::Span, "server.port") },
            column(DedicatedScope::Span, "url.query"),
            column(DedicatedScope::Event, "exception.type"),
        ]
    }

    #[test]
    fn the_columns_are_those_of_the_schema_in_its_order() {
        for (version, dedicated) in
            [(Version::V4, Vec::new()), (Version::V5, Vec::new()), (Version::V5, dedicated())]
        {
            let ours = Schema::new(version, &dedicated);
            let schema = SchemaDescriptor::new(ours.parquet().unwrap());
            assert_eq!(schema.num_columns(), ours.specs().len());
            for (column, spec) in schema.columns().iter().zip(ours.specs()) {
                assert_eq!(column.path().string(), spec.path);
                assert_eq!(column.physical_type(), spec.kind.physical(), "{}", spec.path);
                assert_eq!(column.converted_type(), converted(spec.kind), "{}", spec.path);
                let levels = (column.max_def_level(), column.max_rep_level());
                assert_eq!(levels, (i16::from(spec.def), i16::from(spec.rep)), "{}", spec.path);
            }
        }
    }

    #[test]
    fn vparquet5_has_a_column_for_each_dedicated_attribute_and_no_spare_one() {
        let slots = |dedicated: &[DedicatedColumn]| -> Vec<_> {
            let schema = Schema::new(Version::V5, dedicated);
            let specs = schema.specs().iter().filter(|spec| spec.path.contains("DedicatedAttributes"));
            specs.map(|spec| (spec.path.clone(), spec.leaf)).collect()
        };
        assert!(slots(&[]).is_empty());
        let events = "rs.ss.Spans.Events.DedicatedAttributes.String01".to_owned();
        let span = |name: &str| format!("rs.ss.Spans.DedicatedAttributes.{name}");
        assert_eq!(
            slots(&dedicated()),
            [
                (events, Leaf::Slot(Level::Event, 0)),
                (span("String01"), Leaf::Slot(Level::Span, 0)),
                (span("String02"), Leaf::Slot(Level::Span, 2)),
                (span("Int01"), Leaf::Slot(Level::Span, 1)),
            ]
        );
    }
}
