//! What a client asks, checked, and how it becomes a plan.

use std::{sync::Arc, time::Duration};

use tracing_core::traceql::{self, Plan, QueryError};

/// Whole seconds since 1970, start before end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecondsRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A search, in TraceQL or in the form before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    TraceQl(String),
    /// All tags match as substrings; the trace's duration lies within the bounds.
    Tags {
        tags: Vec<(String, String)>,
        min: Option<Duration>,
        max: Option<Duration>,
    },
}

/// The parameters of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchRequest {
    pub(crate) form: Form,
    /// Traces wanted, never 0.
    pub(crate) limit: u32,
    /// Spans wanted of each spanset; 0 for all.
    pub(crate) spans_per_span_set: u32,
    /// Without it, what was received of late is searched.
    pub(crate) range: Option<SecondsRange>,
}

impl Form {
    /// Refuses what Tempo refuses.
    pub(crate) fn check_strictly(&self) -> Result<(), Box<QueryError>> {
        match self {
            Self::TraceQl(text) => Ok(traceql::parse_strict(text).map(drop)?),
            Self::Tags { .. } => Ok(()),
        }
    }

    /// Parses and plans.
    pub(crate) fn plan(&self) -> Result<Arc<Plan>, Box<QueryError>> {
        match self {
            Self::TraceQl(text) => Ok(Arc::new(Plan::search(&traceql::parse(text)?)?)),
            Self::Tags { tags, min, max } => {
                let nanos = |bound: Duration| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
                Ok(Arc::new(Plan::legacy_tags(tags, min.map(nanos), max.map(nanos))?))
            }
        }
    }
}

impl SecondsRange {
    /// Nanoseconds since 1970.
    pub(crate) fn nanos(self) -> (u64, u64) {
        (self.start.saturating_mul(1_000_000_000), self.end.saturating_mul(1_000_000_000))
    }
}
