//! Partial answers of a search and how they become one. Pure; the same operation serves a frontend over its
//! jobs, an engine over row groups, and a stream to Grafana.

use std::collections::HashMap;

use crate::model::TraceId;
use crate::table::evaluate::{OwnedValue, SpanSet, TimeRange, TraceHit};
use crate::traceql::Order;

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug)]
pub struct SearchLimits {
    /// Most traces, the first in the order of the plan.
    pub limit: usize,
    /// Most spans listed of each spanset.
    pub spss: usize,
    /// Only traces that overlap this.
    pub window: Option<TimeRange>,
}

/// The answer of some of the data.
#[derive(Clone, Debug, Default)]
pub struct SearchPart {
    /// Traces that matched, in the order of the plan, each once.
    pub hits: Vec<TraceHit>,
    /// What it took.
    pub stats: SearchStats,
    /// Traces of which what was searched holds a part that is not the first, each with when that part starts at the
    /// earliest, nanoseconds since 1970: what is said of them is said of parts.
    pub continued: Vec<(TraceId, u64)>,
}

/// What a search took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Traces that were looked at.
    pub inspected_traces: u64,
    /// Bytes that were read for it, from the store or out of memory.
    pub inspected_bytes: u64,
    /// Spans that were looked at.
    pub inspected_spans: u64,
}

/// Collects partial answers. The order in which they come makes no difference.
#[derive(Debug)]
pub struct Combiner {
    limit: usize,
    order: Order,
    hits: HashMap<TraceId, TraceHit>,
    /// What they take, about.
    memory: usize,
    stats: SearchStats,
    continued: HashMap<TraceId, u64>,
}

impl Combiner {
    /// A combiner that keeps the first `limit` traces of an order.
    #[must_use]
    pub fn new(limit: usize, order: Order) -> Self {
        let (hits, continued) = (HashMap::new(), HashMap::new());
        Self { limit, order, hits, memory: 0, stats: SearchStats::default(), continued }
    }

    /// Takes a partial answer in.
    pub fn add(&mut self, part: SearchPart) {
        self.stats.add(part.stats);
        for (id, start) in part.continued {
            let known = self.continued.entry(id).or_insert(start);
            *known = start.min(*known);
        }
        for hit in part.hits {
            // A hit that joins another leaves little behind, and is counted whole until the next cut.
            self.memory += hit.memory();
            match self.hits.entry(hit.trace_id) {
                std::collections::hash_map::Entry::Occupied(mut known) => merge(known.get_mut(), hit),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(hit);
                }
            }
        }
        // Twice the limit is kept between cuts, so that a cut is paid for by as many additions.
        if self.hits.len() > self.limit.saturating_mul(2).max(64) {
            let hits = std::mem::take(&mut self.hits).into_values().collect();
            let kept = self.first(hits);
            self.memory = kept.iter().map(TraceHit::memory).sum();
            self.hits = kept.into_iter().map(|hit| (hit.trace_id, hit)).collect();
        }
    }

    /// Bytes of memory that the answer takes, about, so that who combines can stop in time.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// The first traces so far of which no part is missing, in their order, and what it took so far.
    #[must_use]
    pub fn snapshot(&self) -> SearchPart {
        let mut hits = self.first(self.hits.values().cloned().collect());
        hits.retain(|hit| !self.continued.contains_key(&hit.trace_id));
        SearchPart { hits, stats: self.stats, continued: Vec::new() }
    }

    /// The traces that have several parts and may be among the first, newest first, each with the earliest start that
    /// is known: all of them, or those that matched in part alone.
    #[must_use]
    pub fn continued(&self, only_matched: bool) -> Vec<(TraceId, u64)> {
        let cutoff = self.cutoff().unwrap_or(0);
        let wanted = |(id, start): &(&TraceId, &u64)| {
            self.hits.contains_key(*id) || !only_matched && **start >= cutoff
        };
        let mut some: Vec<_> =
            self.continued.iter().filter(wanted).map(|(id, start)| (*id, *start)).collect();
        some.sort_unstable_by_key(|(id, start)| (std::cmp::Reverse(*start), *id));
        some
    }

    /// Whether some of a trace matched.
    #[must_use]
    pub fn holds(&self, id: TraceId) -> bool {
        self.hits.contains_key(&id)
    }

    /// Puts what the whole of a trace answers in the place of what its parts did. Answers whether it was a match, and
    /// is none.
    pub fn replace(&mut self, id: TraceId, whole: Option<TraceHit>) -> bool {
        let before = self.hits.remove(&id);
        let lost = before.is_some() && whole.is_none();
        if let Some(hit) = whole {
            self.memory += hit.memory();
            self.hits.insert(id, hit);
        }
        lost
    }

    /// Start of the oldest trace of a full answer: whatever started before it need not be searched any more.
    /// `None` while there is room, and where older traces may come first.
    #[must_use]
    pub fn cutoff(&self) -> Option<u64> {
        match self.order {
            Order::Newest => cutoff(self.hits.values().map(|hit| hit.start), self.limit),
            Order::Longest => None,
        }
    }

    /// The whole answer, in its order.
    #[must_use]
    pub fn finish(mut self) -> SearchPart {
        let hits = std::mem::take(&mut self.hits).into_values().collect();
        let continued = std::mem::take(&mut self.continued).into_iter().collect();
        SearchPart { hits: self.first(hits), stats: self.stats, continued }
    }

    /// The first hits in their order; those of equal rank are ordered by id, so that answers repeat.
    fn first(&self, mut hits: Vec<TraceHit>) -> Vec<TraceHit> {
        let rank = |hit: &TraceHit| self.order.rank(hit.start, hit.duration_ns);
        hits.sort_unstable_by(|a, b| rank(b).cmp(&rank(a)).then(a.trace_id.cmp(&b.trace_id)));
        hits.truncate(self.limit);
        hits
    }
}

impl SearchStats {
    /// Adds what another part took.
    pub fn add(&mut self, other: Self) {
        let Self { inspected_traces, inspected_bytes, inspected_spans } = other;
        self.inspected_traces += inspected_traces;
        self.inspected_bytes += inspected_bytes;
        self.inspected_spans += inspected_spans;
    }
}

/// The least of the `limit` greatest ranks, where there are so many.
pub(super) fn cutoff(ranks: impl Iterator<Item = u64>, limit: usize) -> Option<u64> {
    let mut ranks: Vec<u64> = ranks.collect();
    let last = limit.checked_sub(1).filter(|&last| last < ranks.len())?;
    let (_, cutoff, _) = ranks.select_nth_unstable_by(last, |a, b| b.cmp(a));
    Some(*cutoff)
}

/// Two answers about one trace: earliest start, longest duration, root where it is known, the largest counts
/// of each service, and of spansets with equal `by(…)` the one with most matches.
fn merge(known: &mut TraceHit, other: TraceHit) {
    known.start = known.start.min(other.start);
    known.duration_ns = known.duration_ns.max(other.duration_ns);
    if known.root_service.is_empty() && known.root_name.is_empty() {
        known.root_service = other.root_service;
        known.root_name = other.root_name;
    }
    for (service, stats) in other.service_stats {
        match known.service_stats.binary_search_by(|(name, _)| name.as_str().cmp(&service)) {
            Ok(at) => {
                if let Some((_, mine)) = known.service_stats.get_mut(at) {
                    mine.spans = mine.spans.max(stats.spans);
                    mine.errors = mine.errors.max(stats.errors);
                }
            }
            Err(at) => known.service_stats.insert(at, (service, stats)),
        }
    }
    for set in other.span_sets {
        match known.span_sets.iter_mut().find(|mine| groups(mine).eq(groups(&set))) {
            Some(mine) if mine.matched < set.matched => *mine = set,
            Some(_) => {}
            None => known.span_sets.push(set),
        }
    }
}

fn groups(set: &SpanSet) -> impl Iterator<Item = &(String, OwnedValue)> {
    set.attributes.iter().filter(|(name, _)| name.starts_with("by("))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::evaluate::ServiceStats;

    fn hit(id: u8, start: u64, matched: u32) -> TraceHit {
        TraceHit {
            trace_id: TraceId([id; 16]),
            root_service: String::new(),
            root_name: String::new(),
            start,
            duration_ns: 10,
            service_stats: vec![("a".into(), ServiceStats { spans: matched, errors: 0 })],
            span_sets: vec![SpanSet { matched, ..SpanSet::default() }],
        }
    }

    fn part(hits: Vec<TraceHit>) -> SearchPart {
        let stats = SearchStats { inspected_spans: 1, ..SearchStats::default() };
        SearchPart { hits, stats, continued: Vec::new() }
    }

    #[test]
    fn the_newest_are_kept_whatever_the_order_of_arrival() {
        let parts: Vec<_> = (0..200).map(|i| part(vec![hit(i, u64::from(i) * 7919 % 199, 1)])).collect();
        let answer = |parts: Vec<SearchPart>| {
            let mut combiner = Combiner::new(5, Order::Newest);
            for part in parts {
                combiner.add(part);
            }
            combiner.finish()
        };
        let forward = answer(parts.clone());
        assert_eq!(forward.hits.iter().map(|h| h.start).collect::<Vec<_>>(), [198, 197, 196, 195, 194]);
        assert_eq!(forward.stats.inspected_spans, 200);
        assert_eq!(answer(parts.into_iter().rev().collect()).hits, forward.hits);
    }

    #[test]
    fn the_longest_are_kept_where_they_are_asked_for_and_nothing_is_cut_off_by_its_age() {
        let long = |id: u8, duration_ns| TraceHit { duration_ns, ..hit(id, u64::from(id), 1) };
        let mut combiner = Combiner::new(3, Order::Longest);
        for id in 0..200 {
            combiner.add(part(vec![long(id, u64::from(id) * 7919 % 199)]));
            assert_eq!(combiner.cutoff(), None);
        }
        combiner.add(part(vec![long(5, 1000)]));
        let durations: Vec<_> = combiner.finish().hits.iter().map(|hit| hit.duration_ns).collect();
        assert_eq!(durations, [1000, 198, 197]);
    }

    #[test]
    fn two_answers_about_a_trace_become_one_with_the_larger_counts() {
        let mut combiner = Combiner::new(10, Order::Newest);
        let named = TraceHit { root_name: "GET /".into(), duration_ns: 30, ..hit(1, 90, 2) };
        combiner.add(part(vec![hit(1, 100, 5)]));
        assert_eq!(combiner.cutoff(), None);
        combiner.add(part(vec![named]));
        let hits = combiner.finish().hits;
        assert_eq!(hits.len(), 1);
        let merged = &hits[0];
        assert_eq!((merged.start, merged.duration_ns, merged.root_name.as_str()), (90, 30, "GET /"));
        assert_eq!((merged.span_sets.len(), merged.span_sets[0].matched), (1, 5));
        assert_eq!(merged.service_stats[0].1.spans, 5);
    }

    #[test]
    fn what_an_answer_takes_grows_with_its_spans_and_shrinks_when_it_is_cut() {
        let mut combiner = Combiner::new(10, Order::Newest);
        let spans = vec![crate::table::evaluate::SpanHit {
            id: crate::model::SpanId([1; 8]),
            name: "x".repeat(1000),
            start: 0,
            duration: 0,
            attributes: Vec::new(),
        }];
        let large = |id: u8| {
            let set = SpanSet { matched: 1, spans: spans.clone(), attributes: Vec::new() };
            TraceHit { span_sets: vec![set], ..hit(id, u64::from(id), 1) }
        };
        combiner.add(part((0..60).map(large).collect()));
        let before = combiner.memory();
        assert!((60_000..120_000).contains(&before), "{before}");
        combiner.add(part((60..70).map(large).collect()));
        assert!(combiner.memory() < before / 4, "{} of {before}", combiner.memory());
    }

    #[test]
    fn the_cutoff_is_the_oldest_of_a_full_answer() {
        let mut combiner = Combiner::new(2, Order::Newest);
        combiner.add(part(vec![hit(1, 10, 1), hit(2, 30, 1), hit(3, 20, 1)]));
        assert_eq!(combiner.cutoff(), Some(20));
    }

    #[test]
    fn of_traces_in_parts_the_whole_decides_and_those_too_old_for_the_answer_are_not_asked_for() {
        let mut combiner = Combiner::new(2, Order::Newest);
        let continued = vec![(TraceId([1; 16]), 12), (TraceId([4; 16]), 25), (TraceId([5; 16]), 15)];
        combiner.add(SearchPart { continued, ..part(vec![hit(1, 10, 1), hit(2, 30, 1), hit(3, 20, 1)]) });
        combiner.add(SearchPart { continued: vec![(TraceId([4; 16]), 22)], ..SearchPart::default() });
        assert_eq!(combiner.continued(false), [(TraceId([4; 16]), 22), (TraceId([1; 16]), 12)]);
        assert_eq!(combiner.continued(true), [(TraceId([1; 16]), 12)]);
        assert!(combiner.snapshot().hits.iter().all(|hit| hit.trace_id != TraceId([1; 16])));
        assert!(combiner.replace(TraceId([1; 16]), None));
        assert!(!combiner.replace(TraceId([4; 16]), Some(hit(4, 21, 9))));
        let starts: Vec<_> = combiner.finish().hits.iter().map(|hit| hit.start).collect();
        assert_eq!(starts, [30, 21]);
    }
}
