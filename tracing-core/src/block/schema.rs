//! The columns of vParquet4: their order, paths, types and levels, as Tempo's own files have them.

use parquet::{basic::Type, schema::types::TypePtr};

use super::{BlockError, DedicatedColumn, DedicatedKind, DedicatedScope};
use crate::table::Level;

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
    /// OTLP `dropped_attributes_count` of a level.
    Dropped(Level),
    /// A part of the generic attributes of a level.
    Attribute(Level, Part),
    /// A column that holds one attribute of a resource or span; see [`Slots`].
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

    fn spec(self) -> (&'static str, Kind) {
        match self {
            Self::Key => ("Key", Kind::Text),
            Self::IsArray => ("IsArray", Kind::Bool),
            Self::Text => ("Value.list.element", Kind::Text),
            Self::Int => ("ValueInt.list.element", Kind::Int64),
            Self::Double => ("ValueDouble.list.element", Kind::Double),
            Self::Bool => ("ValueBool.list.element", Kind::Bool),
            Self::Unsupported => ("ValueUnsupported", Kind::Text),
        }
    }
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

/// Attributes with a column of their own: first the format's own, then those the block's meta names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    resource: Vec<Option<String>>,
    span: Vec<Option<String>>,
}

const RESOURCE_SLOTS: [(&str, &str); 8] = [
    ("Cluster", "cluster"),
    ("Namespace", "namespace"),
    ("Pod", "pod"),
    ("Container", "container"),
    ("K8sClusterName", "k8s.cluster.name"),
    ("K8sNamespaceName", "k8s.namespace.name"),
    ("K8sPodName", "k8s.pod.name"),
    ("K8sContainerName", "k8s.container.name"),
];
const SPAN_SLOTS: [(&str, &str); 3] =
    [("HttpMethod", "http.method"), ("HttpUrl", "http.url"), ("HttpStatusCode", "http.status_code")];
/// The one slot of a span that holds integers.
const STATUS_CODE_SLOT: usize = 2;
/// Dedicated columns of a scope.
const DEDICATED: usize = 10;

impl Slots {
    /// The slots of a block with these dedicated columns. Those that vParquet4 has no column for (other
    /// scopes and types, more than ten) are left out, as they hold nothing.
    pub(crate) fn new(dedicated: &[DedicatedColumn]) -> Self {
        let slots = |scope: DedicatedScope, fixed: &[(&str, &str)]| {
            let named = dedicated
                .iter()
                .filter(|column| column.scope == scope && column.kind == DedicatedKind::String)
                .map(|column| Some(column.name.clone()))
                .take(DEDICATED);
            let fixed = fixed.iter().map(|(_, name)| Some((*name).to_owned()));
            let mut slots: Vec<_> = fixed.chain(named).collect();
            slots.resize(slots.len().max(1), None);
            slots
        };
        Self {
            resource: slots(DedicatedScope::Resource, &RESOURCE_SLOTS),
            span: slots(DedicatedScope::Span, &SPAN_SLOTS),
        }
    }

    /// As [`Slots::new`], for writing: what cannot be kept is refused.
    pub(crate) fn checked(dedicated: &[DedicatedColumn]) -> Result<Self, BlockError> {
        let refuse = |column: &DedicatedColumn, reason| {
            Err(BlockError::Dedicated { name: column.name.clone(), reason })
        };
        let mut taken = [0; 2];
        for (at, column) in dedicated.iter().enumerate() {
            let (fixed, taken) = match column.scope {
                DedicatedScope::Resource => (&RESOURCE_SLOTS[..], &mut taken[0]),
                DedicatedScope::Span => (&SPAN_SLOTS[..], &mut taken[1]),
                DedicatedScope::Event => return refuse(column, "vParquet4 has none for events"),
            };
            *taken += 1;
            if column.kind == DedicatedKind::Int {
                return refuse(column, "vParquet4 has none for integers");
            }
            if column.name.is_empty() {
                return refuse(column, "the name is empty");
            }
            if fixed.iter().any(|(_, name)| *name == column.name) {
                return refuse(column, "vParquet4 has a column for it anyway");
            }
            if dedicated.iter().take(at).any(|c| c.scope == column.scope && c.name == column.name) {
                return refuse(column, "named twice");
            }
            if *taken > DEDICATED {
                return refuse(column, "vParquet4 takes at most ten of a scope");
            }
        }
        Ok(Self::new(dedicated))
    }

    /// The attributes that have a column at `level`, by slot.
    pub(crate) fn at(&self, level: Level) -> &[Option<String>] {
        match level {
            Level::Resource => &self.resource,
            Level::Span => &self.span,
            Level::Scope | Level::Event | Level::Link => &[],
        }
    }

    /// Whether the slot holds integers instead of text.
    pub(crate) fn is_int(level: Level, slot: usize) -> bool {
        level == Level::Span && slot == STATUS_CODE_SLOT
    }
}

/// Every column, in the order of the file.
pub(crate) fn specs() -> Vec<Spec> {
    let mut specs = Specs::default();
    specs.rows("", 0, &TRACE);
    specs.rows("ServiceStats.key_value.", 1, &STATS);
    specs.attributes("rs.list.element.Resource.", Level::Resource);
    specs.rows("rs.list.element.Resource.", 1, &[("ServiceName", Leaf::Service, Kind::Text)]);
    specs.slots("rs.list.element.Resource.", Level::Resource, &RESOURCE_SLOTS);
    specs.rows(&format!("{SCOPE}Scope."), 2, &SCOPES);
    specs.attributes(&format!("{SCOPE}Scope."), Level::Scope);
    let span = format!("{SCOPE}Spans.list.element.");
    specs.rows(&span, 3, &SPANS);
    specs.attributes(&span, Level::Span);
    let event = format!("{span}Events.list.element.");
    specs.rows(&event, 4, &EVENTS);
    specs.attributes(&event, Level::Event);
    specs.rows(&span, 3, &[("DroppedEventsCount", Leaf::DroppedEvents, Kind::Int32)]);
    let link = format!("{span}Links.list.element.");
    specs.rows(&link, 4, &LINKS);
    specs.attributes(&link, Level::Link);
    specs.rows(&span, 3, &[("DroppedLinksCount", Leaf::DroppedLinks, Kind::Int32)]);
    specs.slots(&span, Level::Span, &SPAN_SLOTS);
    specs.0
}

const SCOPE: &str = "rs.list.element.ss.list.element.";
const TRACE: [(&str, Leaf, Kind); 7] = [
    ("TraceID", Leaf::TraceId, Kind::Id),
    ("TraceIDText", Leaf::TraceIdText, Kind::Text),
    ("StartTimeUnixNano", Leaf::TraceStart, Kind::Uint64),
    ("EndTimeUnixNano", Leaf::TraceEnd, Kind::Uint64),
    ("DurationNano", Leaf::TraceDuration, Kind::Uint64),
    ("RootServiceName", Leaf::RootService, Kind::Text),
    ("RootSpanName", Leaf::RootName, Kind::Text),
];
const STATS: [(&str, Leaf, Kind); 3] = [
    ("key", Leaf::StatsService, Kind::Text),
    ("value.SpanCount", Leaf::StatsSpans, Kind::Uint32),
    ("value.ErrorCount", Leaf::StatsErrors, Kind::Uint32),
];
const SCOPES: [(&str, Leaf, Kind); 2] =
    [("Name", Leaf::ScopeName, Kind::Text), ("Version", Leaf::ScopeVersion, Kind::Text)];
const SPANS: [(&str, Leaf, Kind); 12] = [
    ("SpanID", Leaf::SpanId, Kind::Id),
    ("ParentSpanID", Leaf::ParentSpanId, Kind::Id),
    ("ParentID", Leaf::ParentLeft, Kind::Int32),
    ("NestedSetLeft", Leaf::Left, Kind::Int32),
    ("NestedSetRight", Leaf::Right, Kind::Int32),
    ("Name", Leaf::Name, Kind::Text),
    ("Kind", Leaf::Kind, Kind::Int64),
    ("TraceState", Leaf::TraceState, Kind::Text),
    ("StartTimeUnixNano", Leaf::Start, Kind::Uint64),
    ("DurationNano", Leaf::Duration, Kind::Uint64),
    ("StatusCode", Leaf::Status, Kind::Int64),
    ("StatusMessage", Leaf::StatusMessage, Kind::Text),
];
const EVENTS: [(&str, Leaf, Kind); 2] =
    [("TimeSinceStartNano", Leaf::EventTime, Kind::Uint64), ("Name", Leaf::EventName, Kind::Text)];
const LINKS: [(&str, Leaf, Kind); 3] = [
    ("TraceID", Leaf::LinkTraceId, Kind::Id),
    ("SpanID", Leaf::LinkSpanId, Kind::Id),
    ("TraceState", Leaf::LinkTraceState, Kind::Text),
];

/// Specs as they are put together.
#[derive(Default)]
struct Specs(Vec<Spec>);

impl Specs {
    fn push(&mut self, leaf: Leaf, path: String, kind: Kind, def: u8, rep: u8) {
        self.0.push(Spec { leaf, path, kind, def, rep });
    }

    fn rows(&mut self, prefix: &str, depth: u8, rows: &[(&str, Leaf, Kind)]) {
        for (name, leaf, kind) in rows {
            self.push(*leaf, format!("{prefix}{name}"), *kind, depth, depth);
        }
    }

    fn attributes(&mut self, prefix: &str, level: Level) {
        let depth = depth(level) + 1;
        for part in Part::ALL {
            let (name, kind) = part.spec();
            let path = format!("{prefix}Attrs.list.element.{name}");
            let (def, rep) = match part {
                Part::Key | Part::IsArray => (depth, depth),
                Part::Unsupported => (depth + 1, depth),
                _ => (depth + 1, depth + 1),
            };
            self.push(Leaf::Attribute(level, part), path, kind, def, rep);
        }
        self.rows(prefix, depth - 1, &[("DroppedAttributesCount", Leaf::Dropped(level), Kind::Int32)]);
    }

    fn slots(&mut self, prefix: &str, level: Level, fixed: &[(&str, &str)]) {
        let depth = depth(level);
        for slot in 0..fixed.len() + DEDICATED {
            let path = match fixed.get(slot) {
                Some((name, _)) => format!("{prefix}{name}"),
                None => format!("{prefix}DedicatedAttributes.String{:02}", slot - fixed.len() + 1),
            };
            let kind = if Slots::is_int(level, slot) { Kind::Int64 } else { Kind::Text };
            self.push(Leaf::Slot(level, slot), path, kind, depth + 1, depth);
        }
    }
}

fn list(name: &str, element: &str) -> String {
    format!("required group {name} (LIST) {{ repeated group list {{ {element} }} }}\n")
}

fn structs(name: &str, fields: &str) -> String {
    list(name, &format!("required group element {{ {fields} }}"))
}

fn strings(names: &[(&str, &str)]) -> String {
    let column = |(name, _): &(&str, &str)| format!("optional binary {name} (STRING);");
    names.iter().map(column).collect::<Vec<_>>().concat()
}

fn dedicated_group() -> String {
    let column = |i| format!("optional binary String{i:02} (STRING);");
    let columns = (1..=DEDICATED).map(column).collect::<Vec<_>>().concat();
    format!("required group DedicatedAttributes {{ {columns} }}\n")
}

fn attributes_group() -> String {
    let fields = [
        "required binary Key (STRING); required boolean IsArray;",
        &list("Value", "required binary element (STRING);"),
        &list("ValueInt", "required int64 element (INTEGER(64,true));"),
        &list("ValueDouble", "required double element;"),
        &list("ValueBool", "required boolean element;"),
        "optional binary ValueUnsupported (STRING);",
    ];
    structs("Attrs", &fields.concat()) + "required int32 DroppedAttributesCount (INTEGER(32,true));\n"
}

fn span_group(attributes: &str) -> String {
    let event = format!(
        "required int64 TimeSinceStartNano (INTEGER(64,false)); required binary Name (STRING); {attributes}"
    );
    let link = format!(
        "required binary TraceID; required binary SpanID; required binary TraceState (STRING); {attributes}"
    );
    [
        "required binary SpanID; required binary ParentSpanID; required int32 ParentID (INTEGER(32,true));
         required int32 NestedSetLeft (INTEGER(32,true)); required int32 NestedSetRight (INTEGER(32,true));
         required binary Name (STRING); required int64 Kind (INTEGER(64,true));
         required binary TraceState (STRING); required int64 StartTimeUnixNano (INTEGER(64,false));
         required int64 DurationNano (INTEGER(64,false)); required int64 StatusCode (INTEGER(64,true));
         required binary StatusMessage (STRING);\n",
        attributes,
        &structs("Events", &event),
        "required int32 DroppedEventsCount (INTEGER(32,true));\n",
        &structs("Links", &link),
        "required int32 DroppedLinksCount (INTEGER(32,true));\n",
        &strings(&SPAN_SLOTS[..STATUS_CODE_SLOT]),
        "optional int64 HttpStatusCode (INTEGER(64,true));\n",
        &dedicated_group(),
    ]
    .concat()
}

/// The schema as the Parquet crate takes it.
pub(crate) fn parquet_schema() -> Result<TypePtr, BlockError> {
    let attributes = attributes_group();
    let scope = format!(
        "required group Scope {{ required binary Name (STRING); required binary Version (STRING); {attributes} }} {}",
        structs("Spans", &span_group(&attributes))
    );
    let resource = format!(
        "required group Resource {{ {attributes} required binary ServiceName (STRING); {} {} }} {}",
        strings(&RESOURCE_SLOTS),
        dedicated_group(),
        structs("ss", &scope)
    );
    let trace = format!(
        "message Trace {{ required binary TraceID; required binary TraceIDText (STRING);
         required int64 StartTimeUnixNano (INTEGER(64,false)); required int64 EndTimeUnixNano (INTEGER(64,false));
         required int64 DurationNano (INTEGER(64,false)); required binary RootServiceName (STRING);
         required binary RootSpanName (STRING); required group ServiceStats (MAP) {{
         repeated group key_value {{ required binary key (STRING); required group value {{
         required int32 SpanCount (INTEGER(32,false)); required int32 ErrorCount (INTEGER(32,false)); }} }} }} {} }}",
        structs("rs", &resource)
    );
    let schema = parquet::schema::parser::parse_message_type(&trace).map_err(BlockError::Parquet)?;
    Ok(std::sync::Arc::new(schema))
}

#[cfg(test)]
mod tests {
    use parquet::{basic::ConvertedType, schema::types::SchemaDescriptor};

    use super::*;

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

    #[test]
    fn the_columns_are_those_of_the_schema_in_its_order() {
        let schema = SchemaDescriptor::new(parquet_schema().unwrap());
        let specs = specs();
        assert_eq!(schema.num_columns(), specs.len());
        for (column, spec) in schema.columns().iter().zip(&specs) {
            assert_eq!(column.path().string(), spec.path);
            assert_eq!(column.physical_type(), spec.kind.physical(), "{}", spec.path);
            assert_eq!(column.converted_type(), converted(spec.kind), "{}", spec.path);
            let levels = (column.max_def_level(), column.max_rep_level());
            assert_eq!(levels, (i16::from(spec.def), i16::from(spec.rep)), "{}", spec.path);
        }
    }

    #[test]
    fn dedicated_columns_that_would_lose_values_are_refused() {
        let refused = |columns: &[DedicatedColumn]| Slots::checked(columns).unwrap_err().to_string();
        let span = |name: &str| DedicatedColumn::string(DedicatedScope::Span, name);
        assert_eq!(refused(&[span("a"), span("a")]), "dedicated column \"a\": named twice");
        assert!(refused(&[span("http.url")]).contains("anyway"));
        assert!(refused(&[DedicatedColumn { kind: DedicatedKind::Int, ..span("n") }]).contains("integers"));
        let many: Vec<_> = (0..11).map(|i| span(&format!("a{i}"))).collect();
        assert!(refused(&many).contains("at most ten"));
        assert!(Slots::checked(&DedicatedColumn::defaults()).is_ok());
    }
}
