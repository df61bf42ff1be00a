//! The columns of a table one by one, each with a dictionary of its own: what is kept of a row group so that
//! the next question need not decode it again. A table becomes pieces; a [`View`](super::View) of pieces reads
//! as the table did.

use super::{Code, Column, Level, Offsets, Projection, SpanTable, Spans, Strings, ValueColumn, View};
use crate::model::{SpanId, TraceId};

/// What a piece is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PieceOf {
    /// How traces, resources, scopes and spans hang together.
    Shape,
    /// Which events are a span's.
    Events,
    /// Which links are a span's.
    Links,
    /// A column, or those that go with it.
    Column(Column),
    /// The attributes of a level that have this key.
    Attribute(Level, String),
}

/// One or a few columns of the rows of a table.
#[derive(Debug)]
pub struct Piece {
    of: PieceOf,
    pub(crate) data: Data,
}

#[derive(Debug)]
pub(crate) enum Data {
    /// Resources of traces, scopes of resources, spans of scopes; the last holds where each trace's spans begin.
    Shape([Offsets; 3], Offsets),
    Children(Offsets),
    TraceIds(Vec<TraceId>),
    /// Starts and ends.
    Times(Vec<u64>, Vec<u64>),
    Texts(Vec<ValueColumn>),
    Stats {
        of_traces: Offsets,
        services: ValueColumn,
        spans: Vec<u32>,
        errors: Vec<u32>,
    },
    /// Names of services, and whether the resource has that attribute.
    Services(ValueColumn, Vec<bool>),
    SpanIds(Vec<SpanId>),
    /// Left, right, parent.
    Nested([Vec<i32>; 3]),
    Bytes(Vec<u8>),
    Numbers(Vec<u64>),
    Ids(Vec<Box<[u8]>>),
}

impl PieceOf {
    /// What a projection wants, each once. Nothing for [`Projection::Everything`], which is no list of pieces.
    #[must_use]
    pub fn of(projection: &Projection) -> Vec<Self> {
        let Projection::Some { columns, attributes } = projection else { return Vec::new() };
        let of_events = |column: &Column| matches!(column, Column::EventName | Column::EventTime);
        let of_links = |column: &Column| matches!(column, Column::LinkTraceId | Column::LinkSpanId);
        let any_at = |level: Level| attributes.iter().any(|(at, _)| *at == level);
        let mut all = vec![Self::Shape];
        if columns.iter().any(of_events) || any_at(Level::Event) {
            all.push(Self::Events);
        }
        if columns.iter().any(of_links) || any_at(Level::Link) {
            all.push(Self::Links);
        }
        all.extend(columns.iter().map(|column| Self::Column(*column)));
        all.extend(attributes.iter().map(|(level, key)| Self::Attribute(*level, key.clone())));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What a table needs for these pieces.
    #[must_use]
    pub fn projection(pieces: &[Self]) -> Projection {
        let (mut columns, mut attributes) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Self::Shape => {}
                // Their levels come with any of their columns.
                Self::Events => columns.push(Column::EventTime),
                Self::Links => columns.push(Column::LinkSpanId),
                Self::Column(column) => columns.push(*column),
                Self::Attribute(level, key) => attributes.push((*level, key.clone())),
            }
        }
        columns.sort_unstable();
        columns.dedup();
        Projection::Some { columns, attributes }
    }
}

impl Piece {
    /// What it is of.
    #[must_use]
    pub fn of(&self) -> &PieceOf {
        &self.of
    }

    /// The pieces `wanted` of a table that has them.
    #[must_use]
    pub fn split(mut table: SpanTable, wanted: Vec<PieceOf>) -> Vec<Self> {
        // The shape last: it is taken out of the table.
        let (shape, others): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|of| *of == PieceOf::Shape);
        let piece = |of: PieceOf| Self { data: Data::take(&of, &mut table), of };
        others.into_iter().chain(shape).map(piece).collect()
    }

    /// The values of an attribute, where it is one.
    pub(crate) fn attribute(&self) -> Option<(Level, &str, &ValueColumn)> {
        match (&self.of, &self.data) {
            (PieceOf::Attribute(level, key), Data::Texts(columns)) => Some((*level, key, columns.first()?)),
            _ => None,
        }
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let offsets = |offsets: &Offsets| offsets.0.capacity() * 4;
        let name = if let PieceOf::Attribute(_, key) = &self.of { key.capacity() } else { 0 };
        let data = match &self.data {
            Data::Shape(below, spans) => below.iter().map(offsets).sum::<usize>() + offsets(spans),
            Data::Children(children) => offsets(children),
            Data::TraceIds(ids) => ids.capacity() * 16,
            Data::Times(starts, ends) => (starts.capacity() + ends.capacity()) * 8,
            Data::Texts(texts) => texts.iter().map(ValueColumn::bytes).sum(),
            Data::Stats { of_traces, services, spans, errors } => {
                offsets(of_traces) + services.bytes() + (spans.capacity() + errors.capacity()) * 4
            }
            Data::Services(services, named) => services.bytes() + named.capacity(),
            Data::SpanIds(ids) => ids.capacity() * 8,
            Data::Nested(columns) => columns.iter().map(|column| column.capacity() * 4).sum(),
            Data::Bytes(bytes) => bytes.capacity(),
            Data::Numbers(numbers) => numbers.capacity() * 8,
            Data::Ids(ids) => {
                ids.capacity() * size_of::<Box<[u8]>>() + ids.iter().map(|id| id.len()).sum::<usize>()
            }
        };
        size_of::<Self>() + name + data
    }
}

impl Data {
    fn take(of: &PieceOf, table: &mut SpanTable) -> Self {
        match of {
            PieceOf::Shape => {
                let spans = View::from(&*table).of_traces().clone();
                let below = [
                    std::mem::take(&mut table.traces.resources),
                    std::mem::take(&mut table.resources.scopes),
                    std::mem::take(&mut table.scopes.spans),
                ];
                Self::Shape(below, spans)
            }
            PieceOf::Events => Self::Children(table.spans.events.clone()),
            PieceOf::Links => Self::Children(table.spans.links.clone()),
            PieceOf::Attribute(level, key) => {
                let key = table.strings.find(key);
                let column = ValueColumn::of_attribute(table.attributes(*level), key, &table.strings);
                Self::Texts(vec![column])
            }
            PieceOf::Column(column) => Self::column(*column, table),
        }
    }

    fn column(column: Column, table: &mut SpanTable) -> Self {
        let SpanTable { strings, traces, resources, scopes, spans, events, links } = table;
        let texts = |codes: &[Code]| Self::Texts(vec![ValueColumn::of_texts(codes, strings)]);
        match column {
            Column::TraceId => Self::TraceIds(std::mem::take(&mut traces.id)),
            Column::TraceTime => {
                Self::Times(std::mem::take(&mut traces.start), std::mem::take(&mut traces.end))
            }
            Column::Root => {
                let both = [&traces.root_service, &traces.root_name];
                Self::Texts(both.map(|codes| ValueColumn::of_texts(codes, strings)).into())
            }
            Column::ServiceStats => Self::Stats {
                of_traces: traces.stats.clone(),
                services: ValueColumn::of_texts(&traces.stats_service, strings),
                spans: std::mem::take(&mut traces.stats_spans),
                errors: std::mem::take(&mut traces.stats_errors),
            },
            Column::Service => {
                let services = ValueColumn::of_texts(&resources.service, strings);
                Self::Services(services, std::mem::take(&mut resources.has_service))
            }
            Column::ScopeName => texts(&scopes.name),
            Column::ScopeVersion => texts(&scopes.version),
            Column::EventName => texts(&events.name),
            Column::EventTime => Self::Numbers(std::mem::take(&mut events.since_start)),
            Column::LinkTraceId => Self::Ids(std::mem::take(&mut links.trace_id)),
            Column::LinkSpanId => Self::Ids(std::mem::take(&mut links.span_id)),
            of_spans => Self::of_spans(of_spans, spans, strings),
        }
    }

    fn of_spans(column: Column, spans: &mut Spans, strings: &Strings) -> Self {
        let texts = |codes: &[Code]| Self::Texts(vec![ValueColumn::of_texts(codes, strings)]);
        match column {
            Column::SpanId => Self::SpanIds(std::mem::take(&mut spans.id)),
            Column::ParentSpanId => Self::SpanIds(std::mem::take(&mut spans.parent_id)),
            Column::NestedSet => {
                let columns = [&mut spans.left, &mut spans.right, &mut spans.parent];
                Self::Nested(columns.map(std::mem::take))
            }
            Column::Name => texts(&spans.name),
            Column::StatusMessage => texts(&spans.status_message),
            Column::Kind => Self::Bytes(std::mem::take(&mut spans.kind)),
            Column::Status => Self::Bytes(std::mem::take(&mut spans.status)),
            Column::Start => Self::Numbers(std::mem::take(&mut spans.start)),
            Column::Duration => Self::Numbers(std::mem::take(&mut spans.duration)),
            _ => Self::Bytes(Vec::new()),
        }
    }
}
