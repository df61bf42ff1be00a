//! The columns of a SpanTable and the levels at which they stand.

use std::ops::Range;

use super::strings::{Code, Strings};
use crate::model::{SpanId, TraceId};

/// Start of each parent's children, with the total as last element: parent `i` owns
/// `self.0[i]..self.0[i + 1]`. A level without parents holds the single element 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets(pub Vec<u32>);

/// The spans of many traces as columns. A column that was not asked for (see [`Projection`]) is empty;
/// the offsets that tie the levels together are always there.
#[derive(Clone, Debug, Default)]
pub struct SpanTable {
    /// What every [`Code`] in this table stands for.
    pub strings: Strings,
    /// One row a trace.
    pub traces: Traces,
    /// One row for each distinct resource of a trace.
    pub resources: Resources,
    /// One row for each distinct instrumentation scope of a resource.
    pub scopes: Scopes,
    /// One row a span.
    pub spans: Spans,
    /// One row a span event.
    pub events: Events,
    /// One row a span link.
    pub links: Links,
}

/// What is known of a trace as a whole.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// The trace's id.
    pub id: Vec<TraceId>,
    /// First start of a span, nanoseconds since 1970.
    pub start: Vec<u64>,
    /// Last end of a span, nanoseconds since 1970.
    pub end: Vec<u64>,
    /// Service of the root span, or the empty string where the root is missing.
    pub root_service: Vec<Code>,
    /// Name of the root span, or the empty string where the root is missing.
    pub root_name: Vec<Code>,
    /// The resources of each trace.
    pub resources: Offsets,
    /// The entries of `stats_*` of each trace.
    pub stats: Offsets,
    /// Service that a statistics entry counts.
    pub stats_service: Vec<Code>,
    /// Spans of that service in the trace.
    pub stats_spans: Vec<u32>,
    /// Spans of that service with status error.
    pub stats_errors: Vec<u32>,
}

/// What emitted the spans.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// `service.name` where it is a string (it then stands here and not among `attributes`); else the
    /// empty string.
    pub service: Vec<Code>,
    /// True where the resource carries a string `service.name`, the empty string included.
    /// vParquet cannot tell a missing name from an empty one: both read back as false.
    pub has_service: Vec<bool>,
    /// All other attributes.
    pub attributes: Attributes,
    /// OTLP `dropped_attributes_count`.
    pub dropped_attributes: Vec<u32>,
    /// The scopes of each resource.
    pub scopes: Offsets,
}

/// The instrumentation that emitted the spans.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    /// The scope's name.
    pub name: Vec<Code>,
    /// The scope's version.
    pub version: Vec<Code>,
    /// The scope's attributes.
    pub attributes: Attributes,
    /// OTLP `dropped_attributes_count`.
    pub dropped_attributes: Vec<u32>,
    /// The spans of each scope.
    pub spans: Offsets,
}

/// The spans themselves.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// The span's id.
    pub id: Vec<SpanId>,
    /// The parent's id, all zero for a root.
    pub parent_id: Vec<SpanId>,
    /// Nested set: position when the tree is entered, from 1; 0 for a span that no root reaches.
    pub left: Vec<i32>,
    /// Nested set: position when the tree is left; 0 as `left`.
    pub right: Vec<i32>,
    /// `left` of the parent; −1 for a root, 0 for a span that no root reaches.
    pub parent: Vec<i32>,
    /// The span's name.
    pub name: Vec<Code>,
    /// OTLP span kind, 0 to 5.
    pub kind: Vec<u8>,
    /// W3C trace state.
    pub trace_state: Vec<Code>,
    /// Nanoseconds since 1970.
    pub start: Vec<u64>,
    /// Nanoseconds; 0 where the end lies before the start.
    pub duration: Vec<u64>,
    /// OTLP status code: 0 unset, 1 ok, 2 error.
    pub status: Vec<u8>,
    /// Text that goes with the status.
    pub status_message: Vec<Code>,
    /// The span's attributes.
    pub attributes: Attributes,
    /// OTLP `dropped_attributes_count`.
    pub dropped_attributes: Vec<u32>,
    /// OTLP `dropped_events_count`.
    pub dropped_events: Vec<u32>,
    /// OTLP `dropped_links_count`.
    pub dropped_links: Vec<u32>,
    /// Place within the trace in the order that root and nested sets go by; empty where spans stand in it.
    pub arrival: Vec<u32>,
    /// The events of each span.
    pub events: Offsets,
    /// The links of each span.
    pub links: Offsets,
}

/// What happened during a span.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Nanoseconds from the span's start; wraps where the event came before it, as Tempo stores it.
    pub since_start: Vec<u64>,
    /// The event's name.
    pub name: Vec<Code>,
    /// The event's attributes.
    pub attributes: Attributes,
    /// OTLP `dropped_attributes_count`.
    pub dropped_attributes: Vec<u32>,
}

/// What a span refers to in other traces, or its own.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// The linked trace, as received (16 bytes by the protocol; other lengths are kept).
    pub trace_id: Vec<Box<[u8]>>,
    /// The linked span, as received.
    pub span_id: Vec<Box<[u8]>>,
    /// W3C trace state of the link.
    pub trace_state: Vec<Code>,
    /// The link's attributes.
    pub attributes: Attributes,
    /// OTLP `dropped_attributes_count`.
    pub dropped_attributes: Vec<u32>,
}

/// The attributes of one level, each an entry; the entries of an owner stand side by side in the order
/// received. The same key may occur twice.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// The entries of each owner.
    pub offsets: Offsets,
    /// Key of each entry.
    pub key: Vec<Code>,
    /// Type of each entry.
    pub kind: Vec<ValueKind>,
    /// Payload of each entry, by its kind: string code, integer bits, `f64` bits, 0 or 1, or
    /// `start << 32 | length` of an array in `elements`.
    pub value: Vec<u64>,
    /// Payloads of array elements.
    pub elements: Vec<u64>,
}

/// Type of an attribute's value. The first four and their arrays are what vParquet stores in typed
/// columns; everything else (mixed arrays, key-value lists, bytes, empty) is `Unsupported`: kept as the
/// JSON of its OTLP AnyValue and returned on lookup, but not searchable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ValueKind {
    /// A string.
    String,
    /// A 64-bit integer.
    Int,
    /// A 64-bit float.
    Double,
    /// A boolean.
    Bool,
    /// An array of strings.
    Strings,
    /// An array of integers.
    Ints,
    /// An array of floats.
    Doubles,
    /// An array of booleans.
    Bools,
    /// An array without elements, whose type is not known.
    EmptyArray,
    /// JSON of an OTLP AnyValue of any other shape.
    Unsupported,
}

/// One attribute value, borrowed from a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string.
    String(&'a str),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Double(f64),
    /// A boolean.
    Bool(bool),
    /// An array: the kind of its elements (`String`, `Int`, `Double` or `Bool`) and their payloads.
    Array(ValueKind, &'a [u64]),
    /// JSON of an OTLP AnyValue that is not searchable.
    Unsupported(&'a str),
}

/// The five places where attributes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// `resource.`
    Resource,
    /// `instrumentation.`
    Scope,
    /// `span.`
    Span,
    /// `event.`
    Event,
    /// `link.`
    Link,
}

/// A column beside the attributes. Offsets between levels need no asking for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// `traces.id`
    TraceId,
    /// `traces.start`, `traces.end`
    TraceTime,
    /// `traces.root_service`, `traces.root_name`
    Root,
    /// `traces.stats*`
    ServiceStats,
    /// `resources.service`, `resources.has_service`
    Service,
    /// `scopes.name`
    ScopeName,
    /// `scopes.version`
    ScopeVersion,
    /// `spans.id`
    SpanId,
    /// `spans.parent_id`
    ParentSpanId,
    /// `spans.left`, `spans.right`, `spans.parent`
    NestedSet,
    /// `spans.name`
    Name,
    /// `spans.kind`
    Kind,
    /// `spans.start`
    Start,
    /// `spans.duration`
    Duration,
    /// `spans.status`
    Status,
    /// `spans.status_message`
    StatusMessage,
    /// `events.name`
    EventName,
    /// `events.since_start`
    EventTime,
    /// `links.trace_id`
    LinkTraceId,
    /// `links.span_id`
    LinkSpanId,
}

/// What a reader wants of a table: the less, the less is fetched and decoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    /// Every column and every attribute: for lookups and merges.
    Everything,
    /// These columns, and the attributes of these keys, sorted and unique.
    Some {
        /// Columns beside the attributes.
        columns: Vec<Column>,
        /// Attributes by level and key.
        attributes: Vec<(Level, String)>,
    },
}

impl Projection {
    /// Memory held beside the value itself, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Everything => 0,
            Self::Some { columns, attributes } => {
                columns.len() + attributes.iter().map(|(_, key)| key.len() + 32).sum::<usize>()
            }
        }
    }
}

impl Default for Offsets {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Offsets {
    /// The children of parent `i`; empty where there is no such parent.
    #[must_use]
    pub fn range(&self, i: usize) -> Range<usize> {
        match (self.0.get(i), self.0.get(i + 1)) {
            (Some(&from), Some(&to)) => from as usize..to as usize,
            _ => 0..0,
        }
    }

    /// Number of parents.
    #[must_use]
    pub fn parents(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Number of children of all parents.
    #[must_use]
    pub fn children(&self) -> usize {
        self.0.last().map_or(0, |&n| n as usize)
    }

    /// Ends the current parent: its children reach up to `children`.
    pub fn close(&mut self, children: usize) {
        self.0.push(u32::try_from(children).unwrap_or(u32::MAX));
    }
}

impl SpanTable {
    /// Number of traces.
    #[must_use]
    pub fn trace_count(&self) -> usize {
        self.traces.resources.parents()
    }

    /// Number of spans.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.scopes.spans.children()
    }

    /// The spans of the resources `resources`, which stand side by side.
    #[must_use]
    pub fn spans_of_resources(&self, resources: Range<usize>) -> Range<usize> {
        let first = self.resources.scopes.range(resources.start).start;
        match resources.end.checked_sub(1) {
            Some(last) if !resources.is_empty() => {
                self.spans_of_scopes(first..self.resources.scopes.range(last).end)
            }
            _ => 0..0,
        }
    }

    /// The spans of the scopes `scopes`, which stand side by side.
    #[must_use]
    pub fn spans_of_scopes(&self, scopes: Range<usize>) -> Range<usize> {
        match scopes.end.checked_sub(1) {
            Some(last) if !scopes.is_empty() => {
                self.scopes.spans.range(scopes.start).start..self.scopes.spans.range(last).end
            }
            _ => 0..0,
        }
    }

    /// The spans of trace `trace`.
    #[must_use]
    pub fn spans_of_trace(&self, trace: usize) -> Range<usize> {
        self.spans_of_resources(self.traces.resources.range(trace))
    }

    /// The attributes at `level`.
    #[must_use]
    pub fn attributes(&self, level: Level) -> &Attributes {
        match level {
            Level::Resource => &self.resources.attributes,
            Level::Scope => &self.scopes.attributes,
            Level::Span => &self.spans.attributes,
            Level::Event => &self.events.attributes,
            Level::Link => &self.links.attributes,
        }
    }
}

impl Attributes {
    /// The entries of an owner as numbers that are alike for alike attributes, whatever their order: those
    /// with a column of their own in a block lose their place.
    pub(crate) fn unordered(&self, owner: usize) -> Vec<(u64, &[u64])> {
        let entry = |at: usize| {
            let key = self.key.get(at).map_or(0, |key| key.payload());
            let kind = self.kind.get(at).copied().unwrap_or(ValueKind::Unsupported);
            let payload = self.value.get(at..at + 1).unwrap_or_default();
            let payloads = match (kind, payload) {
                (ValueKind::Strings | ValueKind::Ints | ValueKind::Doubles | ValueKind::Bools, [payload]) => {
                    let (start, len) = ((payload >> 32) as usize, (payload & 0xffff_ffff) as usize);
                    self.elements.get(start..start + len).unwrap_or_default()
                }
                (_, payload) => payload,
            };
            (key << 8 | kind as u64, payloads)
        };
        let mut entries: Vec<_> = self.offsets.range(owner).map(entry).collect();
        entries.sort_unstable();
        entries
    }

    /// The entry's value, or `None` past the end or where a code is not in `strings`.
    #[must_use]
    pub fn get<'a>(&'a self, entry: usize, strings: &'a Strings) -> Option<Value<'a>> {
        Value::of(*self.kind.get(entry)?, *self.value.get(entry)?, &self.elements, strings)
    }
}

impl<'a> Value<'a> {
    /// The value that a kind and a payload stand for, as in [`Attributes`]; `None` where the payload names
    /// what is not in `elements` or `strings`.
    pub(crate) fn of(
        kind: ValueKind,
        payload: u64,
        elements: &'a [u64],
        strings: &'a Strings,
    ) -> Option<Self> {
        let array = |kind| {
            let (start, len) = ((payload >> 32) as usize, (payload & 0xffff_ffff) as usize);
            Some(Value::Array(kind, elements.get(start..start.checked_add(len)?)?))
        };
        match kind {
            ValueKind::String => strings.get(Code::from_payload(payload)).map(Value::String),
            ValueKind::Int => Some(Value::Int(payload.cast_signed())),
            ValueKind::Double => Some(Value::Double(f64::from_bits(payload))),
            ValueKind::Bool => Some(Value::Bool(payload != 0)),
            ValueKind::Strings => array(ValueKind::String),
            ValueKind::Ints => array(ValueKind::Int),
            ValueKind::Doubles => array(ValueKind::Double),
            ValueKind::Bools => array(ValueKind::Bool),
            ValueKind::EmptyArray => Some(Value::Array(ValueKind::String, &[])),
            ValueKind::Unsupported => strings.get(Code::from_payload(payload)).map(Value::Unsupported),
        }
    }
}

impl Projection {
    /// Whether `column` is wanted.
    #[must_use]
    pub fn wants(&self, column: Column) -> bool {
        match self {
            Self::Everything => true,
            Self::Some { columns, .. } => columns.contains(&column),
        }
    }
}
