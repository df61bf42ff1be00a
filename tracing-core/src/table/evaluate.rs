//! A plan held against a [`SpanTable`], column at a time.
//!
//! A comparison is decided once for each dictionary code and looked up after that; what holds for a trace, a
//! resource or a scope is set for its range of spans at once; booleans are bitmaps. Pure: no IO, no clock.

mod answer;
mod context;
mod expression;
mod hit;
mod lookup;
mod projection;
mod spansets;
mod stages;
mod test;
#[cfg(test)]
mod tests;
mod value;

pub use hit::{OwnedValue, ROOT_NOT_RECEIVED, ServiceStats, SpanHit, SpanSet, TimeRange, TraceHit};
pub use projection::{output, predicate};
pub(crate) use value::{Datum, compare, satisfies};

use super::{Bitmap, SpanTable};
use crate::traceql::Plan;
use context::Context;
use stages::Set;

/// What of a table matched. It names traces and spans by their position, and so can be held against any other
/// projection of the same rows.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    found: Found,
    /// Position and start of each trace, by position.
    starts: Vec<(u32, u64)>,
    /// Traces that were looked at.
    pub inspected_traces: u64,
    /// Spans that were looked at.
    pub inspected_spans: u64,
}

/// The spans that matched. Sets cost memory for each trace, and are made where stages need them, or of those
/// traces alone that are shown.
#[derive(Clone, Debug)]
enum Found {
    Spans(Bitmap),
    Sets(Vec<Set>),
}

impl Default for Found {
    fn default() -> Self {
        Self::Sets(Vec::new())
    }
}

impl Matches {
    /// Whether nothing matched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Start of each trace that matched, nanoseconds since 1970.
    pub fn starts(&self) -> impl Iterator<Item = u64> {
        self.starts.iter().map(|(_, start)| *start)
    }

    /// Position of each trace that matched, ascending.
    pub fn traces(&self) -> impl Iterator<Item = usize> {
        self.starts.iter().map(|(trace, _)| *trace as usize)
    }

    /// Keeps the traces that started at or after `cutoff`, and of those the newest `limit`.
    pub fn keep_newest(&mut self, limit: usize, cutoff: Option<u64>) {
        self.starts.retain(|(_, start)| cutoff.is_none_or(|cutoff| *start >= cutoff));
        if self.starts.len() > limit {
            self.starts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            self.starts.truncate(limit);
        }
        self.starts.sort_unstable();
        let kept = &self.starts;
        if let Found::Sets(sets) = &mut self.found {
            sets.retain(|set| kept.binary_search_by_key(&set.trace, |(trace, _)| *trace).is_ok());
        }
    }
}

/// Finds what matches. `alive` leaves out traces that are stored elsewhere too; `window` those that do not
/// overlap it. The table needs the columns of [`predicate`].
#[must_use]
pub fn search(plan: &Plan, table: &SpanTable, alive: Option<&Bitmap>, window: Option<TimeRange>) -> Matches {
    let context = Context::new(plan, table);
    let mut among = Bitmap::none(table.span_count());
    let mut matches = Matches::default();
    let time = |trace: usize| {
        let of = |column: &[u64]| column.get(trace).copied().unwrap_or_default();
        (of(&table.traces.start), of(&table.traces.end))
    };
    for trace in 0..table.trace_count() {
        let (start, end) = time(trace);
        let wanted = alive.is_none_or(|alive| alive.get(trace))
            && window.is_none_or(|window| window.overlaps(start, end));
        if wanted {
            let range = table.spans_of_trace(trace);
            matches.inspected_traces += 1;
            matches.inspected_spans += range.len() as u64;
            among.set_range(range);
        }
    }
    if !among.any() {
        return matches;
    }
    let selected = context.spanset(&plan.spansets, &among);
    let traces: Vec<u32> = if plan.stages.is_empty() {
        let has = |trace: &u32| selected.iter_range(table.spans_of_trace(*trace as usize)).next().is_some();
        let traces = (0..table.trace_count() as u32).filter(has).collect();
        matches.found = Found::Spans(selected);
        traces
    } else {
        let sets = context.run(context.sets(&selected), &plan.stages);
        let mut traces: Vec<u32> = sets.iter().map(|set| set.trace).collect();
        traces.dedup();
        matches.found = Found::Sets(sets);
        traces
    };
    matches.starts = traces.into_iter().map(|trace| (trace, time(trace as usize).0)).collect();
    matches
}

/// The spans of a table that the first stage of a plan selects. The table needs the columns of [`predicate`].
#[must_use]
pub fn selected(plan: &Plan, table: &SpanTable) -> Bitmap {
    Context::new(plan, table).spanset(&plan.spansets, &Bitmap::all(table.span_count()))
}

/// What matched as an answer shows it, at most `spss` spans of each spanset. The table needs the columns of
/// [`output`] and the rows of the table that was searched.
#[must_use]
pub fn hits(plan: &Plan, table: &SpanTable, matches: &Matches, spss: usize) -> Vec<TraceHit> {
    let context = Context::new(plan, table);
    match &matches.found {
        Found::Sets(sets) => context.hits(sets, spss),
        Found::Spans(selected) => {
            let set = |(trace, _): &(u32, u64)| context.set(selected, *trace as usize);
            context.hits(&matches.starts.iter().filter_map(set).collect::<Vec<_>>(), spss)
        }
    }
}
