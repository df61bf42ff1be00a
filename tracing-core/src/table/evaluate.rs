//! A plan held against a [`SpanTable`](super::SpanTable), or columns that are read alone, column at a time.
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
pub use projection::{output, predicate, whole};
pub(crate) use value::{Datum, compare, satisfies};

use super::{Bitmap, View};
use crate::traceql::Plan;
use context::Context;
use stages::Set;

/// What of a table matched. It names traces and spans by their position, and so can be held against any other
/// projection of the same rows.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    found: Found,
    /// The traces, by position.
    kept: Vec<Kept>,
    /// Traces that were looked at.
    pub inspected_traces: u64,
    /// Spans that were looked at.
    pub inspected_spans: u64,
}

/// A trace that matched.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Its position.
    trace: u32,
    /// The position of its first span, and the number of its spans.
    first: u32,
    spans: u32,
    /// Where it stands among others, in the plan's order: the greater, the earlier.
    rank: u64,
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
        self.kept.is_empty()
    }

    /// Rank of each trace that matched, in the plan's order.
    pub fn ranks(&self) -> impl Iterator<Item = u64> {
        self.kept.iter().map(|kept| kept.rank)
    }

    /// Position of each trace that matched, ascending.
    pub fn traces(&self) -> impl ExactSizeIterator<Item = usize> {
        self.kept.iter().map(|kept| kept.trace as usize)
    }

    /// What matched of the trace at position `trace` alone, for a table that has no other.
    #[must_use]
    pub fn alone(&self, trace: usize) -> Self {
        let Some(kept) = self.kept.iter().find(|kept| kept.trace as usize == trace) else {
            return Self::default();
        };
        let moved = |spans: &mut dyn Iterator<Item = usize>| -> Vec<u32> {
            spans.map(|span| (span as u32).saturating_sub(kept.first)).collect()
        };
        let sets = match &self.found {
            Found::Spans(selected) => {
                let spans = kept.first as usize..(kept.first + kept.spans) as usize;
                let spans = moved(&mut selected.iter_range(spans));
                vec![Set { trace: 0, spans, attributes: Vec::new() }]
            }
            Found::Sets(sets) => {
                let own = sets.iter().filter(|set| set.trace == kept.trace);
                let set = |set: &Set| Set {
                    trace: 0,
                    spans: moved(&mut set.spans.iter().map(|span| *span as usize)),
                    attributes: set.attributes.clone(),
                };
                own.map(set).collect()
            }
        };
        let alone = Kept { trace: 0, first: 0, ..*kept };
        Self { found: Found::Sets(sets), kept: vec![alone], inspected_traces: 0, inspected_spans: 0 }
    }

    /// Keeps the traces of at least the rank `cutoff`, and of those the first `limit`.
    pub fn keep_first(&mut self, limit: usize, cutoff: Option<u64>) {
        let before = self.kept.len();
        self.kept.retain(|kept| cutoff.is_none_or(|cutoff| kept.rank >= cutoff));
        if self.kept.len() > limit {
            let order = |a: &Kept, b: &Kept| b.rank.cmp(&a.rank).then(a.trace.cmp(&b.trace));
            if limit > 0 {
                self.kept.select_nth_unstable_by(limit - 1, order);
            }
            self.kept.truncate(limit);
            self.kept.shrink_to_fit();
            self.kept.sort_unstable_by_key(|kept| kept.trace);
        }
        if self.kept.len() == before {
            return;
        }
        let kept = &self.kept;
        if let Found::Sets(sets) = &mut self.found {
            sets.retain(|set| kept.binary_search_by_key(&set.trace, |kept| kept.trace).is_ok());
        }
    }
}

/// Finds what matches. `alive` leaves out traces that are stored elsewhere too; `window` those that do not
/// overlap it. The table needs the columns of [`predicate`].
#[must_use]
pub fn search<'a>(
    plan: &'a Plan,
    table: impl Into<View<'a>>,
    alive: Option<&Bitmap>,
    window: Option<TimeRange>,
) -> Matches {
    let context = Context::new(plan, table.into());
    let view = &context.view;
    let mut matches = Matches::default();
    let among = among(view, alive, window, &mut matches);
    if !among.any() {
        return matches;
    }
    let selected = context.spanset(&plan.spansets, &among);
    let traces: Vec<u32> = if plan.stages.is_empty() {
        let traces = traces_of(view, &selected);
        matches.found = Found::Spans(selected);
        traces
    } else {
        let sets = context.run(context.sets(&selected), &plan.stages);
        let mut traces: Vec<u32> = sets.iter().map(|set| set.trace).collect();
        traces.dedup();
        matches.found = Found::Sets(sets);
        traces
    };
    let kept = |trace: u32| {
        let spans = view.spans_of_trace(trace as usize);
        let at = |column: &[u64]| column.get(trace as usize).copied().unwrap_or_default();
        let (start, end) = (at(view.starts), at(view.ends));
        let rank = plan.order.rank(start, end.saturating_sub(start));
        Kept { trace, first: spans.start as u32, spans: spans.len() as u32, rank }
    };
    matches.kept = traces.into_iter().map(kept).collect();
    matches
}

/// The spans of a table that the first stage of a plan selects. The table needs the columns of [`predicate`].
#[must_use]
pub fn selected<'a>(plan: &'a Plan, table: impl Into<View<'a>>) -> Bitmap {
    let context = Context::new(plan, table.into());
    let all = Bitmap::all(context.view.span_count());
    context.spanset(&plan.spansets, &all)
}

/// The spans of the traces that are looked at, which are counted.
fn among(
    view: &View<'_>,
    alive: Option<&Bitmap>,
    window: Option<TimeRange>,
    matches: &mut Matches,
) -> Bitmap {
    let inside = window.is_none_or(|window| {
        let ends = view.starts.iter().zip(view.ends);
        view.starts.len() == view.trace_count() && ends.into_iter().all(|(s, e)| window.overlaps(*s, *e))
    });
    if inside && alive.is_none() {
        matches.inspected_traces = view.trace_count() as u64;
        matches.inspected_spans = view.span_count() as u64;
        return Bitmap::all(view.span_count());
    }
    let mut among = Bitmap::none(view.span_count());
    for trace in 0..view.trace_count() {
        let of = |column: &[u64]| column.get(trace).copied().unwrap_or_default();
        let wanted = alive.is_none_or(|alive| alive.get(trace))
            && window.is_none_or(|window| window.overlaps(of(view.starts), of(view.ends)));
        if wanted {
            let range = view.spans_of_trace(trace);
            matches.inspected_traces += 1;
            matches.inspected_spans += range.len() as u64;
            among.set_range(range);
        }
    }
    among
}

/// The traces of which a span is selected.
fn traces_of(view: &View<'_>, selected: &Bitmap) -> Vec<u32> {
    let mut traces = Vec::new();
    let of_traces = view.of_traces();
    let mut next = selected.first_from(0);
    while let Some(span) = next {
        // Where few are selected, most traces are passed over at once.
        let trace = of_traces.0.partition_point(|start| *start as usize <= span).saturating_sub(1);
        traces.push(trace as u32);
        next = selected.first_from(of_traces.range(trace).end.max(span + 1));
    }
    traces
}

/// What matched as an answer shows it, at most `spss` spans of each spanset. The table needs the columns of
/// [`output`] and the rows of the table that was searched.
#[must_use]
pub fn hits<'a>(plan: &'a Plan, table: impl Into<View<'a>>, matches: &Matches, spss: usize) -> Vec<TraceHit> {
    let context = Context::new(plan, table.into());
    match &matches.found {
        Found::Sets(sets) => context.hits(sets, spss),
        Found::Spans(selected) => {
            let set = |kept: &Kept| context.set(selected, kept.trace as usize);
            context.hits(&matches.kept.iter().filter_map(set).collect::<Vec<_>>(), spss)
        }
    }
}
