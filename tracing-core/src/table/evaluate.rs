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

use super::{Bitmap, SpanTable};
use crate::traceql::Plan;
use context::Context;
use stages::Set;

/// What of a table matched. It names traces and spans by their position, and so can be held against any other
/// projection of the same rows.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    sets: Vec<Set>,
    starts: Vec<(u32, u64)>,
    /// Traces that were looked at.
    pub inspected_traces: u64,
    /// Spans that were looked at.
    pub inspected_spans: u64,
}

impl Matches {
    /// Whether nothing matched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Start of each trace that matched, nanoseconds since 1970.
    pub fn starts(&self) -> impl Iterator<Item = u64> {
        self.starts.iter().map(|(_, start)| *start)
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
        self.sets.retain(|set| kept.binary_search_by_key(&set.trace, |(trace, _)| *trace).is_ok());
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
    matches.sets = context.run(context.sets(&selected), &plan.stages);
    matches.starts = matches.sets.iter().map(|set| (set.trace, time(set.trace as usize).0)).collect();
    matches.starts.dedup();
    matches
}

/// What matched as an answer shows it, at most `spss` spans of each spanset. The table needs the columns of
/// [`output`] and the rows of the table that was searched.
#[must_use]
pub fn hits(plan: &Plan, table: &SpanTable, matches: &Matches, spss: usize) -> Vec<TraceHit> {
    answer::hits(plan, table, &matches.sets, spss)
}
