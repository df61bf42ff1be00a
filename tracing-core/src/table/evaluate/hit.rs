//! What a search answers with (reference: Tempo's search answer).

use crate::model::{SpanId, TraceId};

/// What Tempo shows as root service of a trace whose root span is not there, or has no service name.
pub const ROOT_NOT_RECEIVED: &str = "<root span not yet received>";

/// A trace that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceHit {
    /// The trace.
    pub trace_id: TraceId,
    /// Service of the root span; empty where it is not known (see [`Self::shown_root_service`]).
    pub root_service: String,
    /// Name of the root span; empty where it is not known.
    pub root_name: String,
    /// First start of a span, nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds from the first start to the last end.
    pub duration_ns: u64,
    /// Spans and errors of each service of the whole trace, by service name, sorted. Empty for searches by
    /// tags, as Tempo answers them.
    pub service_stats: Vec<(String, ServiceStats)>,
    /// The spans that matched. Empty for searches by tags.
    pub span_sets: Vec<SpanSet>,
}

/// What is counted of a service in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStats {
    /// Spans.
    pub spans: u32,
    /// Spans with status error.
    pub errors: u32,
}

/// Spans of one trace that matched together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanSet {
    /// Number of spans that matched, listed or not.
    pub matched: u32,
    /// The spans, at most as many as asked for.
    pub spans: Vec<SpanHit>,
    /// Values of the whole set: `count()`, `by(…)`.
    pub attributes: Vec<(String, OwnedValue)>,
}

/// A span that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanHit {
    /// The span.
    pub id: SpanId,
    /// Its name, where the query asks for it; else empty.
    pub name: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
    /// What the query asks for, by unscoped name.
    pub attributes: Vec<(String, OwnedValue)>,
}

/// A value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// OTLP `stringValue`; status, kind, durations and nil too.
    String(String),
    /// OTLP `intValue`
    Int(i64),
    /// OTLP `doubleValue`
    Double(f64),
    /// OTLP `boolValue`
    Bool(bool),
    /// OTLP `arrayValue`
    Array(Vec<Self>),
}

impl OwnedValue {
    /// Bytes that it takes beside itself.
    fn heap(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Array(values) => values.iter().map(|value| size_of::<Self>() + value.heap()).sum(),
            Self::Int(_) | Self::Double(_) | Self::Bool(_) => 0,
        }
    }
}

/// A span of time; a trace is in it that overlaps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First nanosecond since 1970.
    pub start: u64,
    /// Last nanosecond since 1970.
    pub end: u64,
}

impl TraceHit {
    /// Bytes of memory that it takes, about.
    pub(crate) fn memory(&self) -> usize {
        let attributes = |of: &[(String, OwnedValue)]| -> usize {
            of.iter().map(|(name, value)| size_of::<(String, OwnedValue)>() + name.len() + value.heap()).sum()
        };
        let span = |span: &SpanHit| size_of::<SpanHit>() + span.name.len() + attributes(&span.attributes);
        let set = |set: &SpanSet| {
            let spans: usize = set.spans.iter().map(span).sum();
            size_of::<SpanSet>() + spans + attributes(&set.attributes)
        };
        let services =
            self.service_stats.iter().map(|(name, _)| size_of::<(String, ServiceStats)>() + name.len());
        let sets = self.span_sets.iter().map(set);
        let names = self.root_service.len() + self.root_name.len();
        size_of::<Self>() + names + services.sum::<usize>() + sets.sum::<usize>()
    }

    /// The root service as an answer shows it.
    #[must_use]
    pub fn shown_root_service(&self) -> &str {
        if self.root_service.is_empty() { ROOT_NOT_RECEIVED } else { &self.root_service }
    }
}

impl TimeRange {
    /// Whether something that lasted from `start` to `end` overlaps the range.
    #[must_use]
    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        start <= self.end && end >= self.start
    }
}
