//! Spansets: one of each trace, as a bitmap over the table's spans. Structural operators walk the nested sets
//! of one trace at a time; spans that no root reaches take part in none, unless orphans count as roots.

use std::ops::Range;

use super::context::Context;
use crate::table::{Bitmap, Level};
use crate::traceql::{Keep, Relation, SpansetOp, SpansetPlan};

impl<'a> Context<'a> {
    /// The spans that a plan selects among some.
    pub(crate) fn spanset(&self, plan: &'a SpansetPlan, among: &Bitmap) -> Bitmap {
        match plan {
            SpansetPlan::Filter(expr) => {
                let mut spans = self.bits(Level::Span, expr, among);
                spans.and(among);
                spans
            }
            SpansetPlan::Binary(op, sides) => {
                let condition = *op == SpansetOp::And && sides.iter().any(SpansetPlan::is_condition);
                let [left, right] = &**sides;
                let (mut left, right) = (self.spanset(left, among), self.spanset(right, among));
                if condition {
                    left.and(&right);
                    return left;
                }
                self.combine(*op, left, &right)
            }
            SpansetPlan::Not(inner) => {
                let mut with = Bitmap::none(self.view.span_count());
                for trace in super::traces_of(&self.view, &self.spanset(inner, among)) {
                    with.set_range(self.view.spans_of_trace(trace as usize));
                }
                let mut without = among.clone();
                without.and_not(&with);
                without
            }
            SpansetPlan::Pipeline(first, stages) => {
                let sets = self.run(self.sets(&self.spanset(first, among)), stages);
                let mut spans = Bitmap::none(self.view.span_count());
                sets.iter().flat_map(|set| &set.spans).for_each(|&span| spans.set(span as usize));
                spans
            }
        }
    }

    fn combine(&self, op: SpansetOp, mut left: Bitmap, right: &Bitmap) -> Bitmap {
        match op {
            SpansetOp::Or => {
                left.or(right);
                left
            }
            SpansetOp::And => {
                let mut both = Bitmap::none(self.view.span_count());
                for trace in 0..self.view.trace_count() {
                    let range = self.view.spans_of_trace(trace);
                    let has = |side: &Bitmap| side.iter_range(range.clone()).next().is_some();
                    if has(&left) && has(right) {
                        both.set_range(range);
                    }
                }
                left.or(right);
                left.and(&both);
                left
            }
            SpansetOp::Structural { relation, keep } => {
                let mut found = Bitmap::none(self.view.span_count());
                for trace in super::traces_of(&self.view, right) {
                    let range = self.view.spans_of_trace(trace as usize);
                    let side = |bits: &Bitmap| bits.iter_range(range.clone()).collect::<Vec<_>>();
                    let of_left = side(&left);
                    if of_left.is_empty() && keep != Keep::Unrelated {
                        continue;
                    }
                    self.structural(relation, keep, &range, &of_left, &side(right), &mut found);
                }
                found
            }
        }
    }

    fn structural(
        &self,
        relation: Relation,
        keep: Keep,
        trace: &Range<usize>,
        left: &[usize],
        right: &[usize],
        found: &mut Bitmap,
    ) {
        let related = self.related(relation, trace, left);
        for &span in right {
            if related(span) != (keep == Keep::Unrelated) {
                found.set(span);
            }
        }
        if keep == Keep::Both {
            let related = self.related(inverse(relation), trace, right);
            left.iter().copied().filter(|&span| related(span)).for_each(|span| found.set(span));
        }
    }

    /// A test whether a span of a trace stands in a relation to any span of `left`: is a child of one, …
    fn related(&self, relation: Relation, trace: &Range<usize>, left: &[usize]) -> impl Fn(usize) -> bool {
        let [lefts, rights, parents] = self.nested();
        // Positions run from 1 to twice the number of spans; parents are positions, or -1 for a root.
        let places = trace.len() * 2 + 2;
        let at = |column: &[i32], span: usize| column.get(span).copied().unwrap_or_default();
        let slot = move |position: i32| usize::try_from(position + 1).unwrap_or_default().min(places);
        let mut marks = vec![0_i32; places + 1];
        for &span in left {
            let (l, r, p) = (at(lefts, span), at(rights, span), at(parents, span));
            if l <= 0 {
                continue;
            }
            match relation {
                Relation::Child | Relation::Ancestor => marks[slot(l)] += 1,
                Relation::Parent | Relation::Sibling => marks[slot(p)] += 1,
                Relation::Descendant => marks[slot(l)] = r,
            }
        }
        match relation {
            // The furthest right of those that begin before a place: whoever begins after it and ends before
            // that right is inside one of them.
            Relation::Descendant => running(&mut marks, i32::max),
            // How many begin up to a place.
            Relation::Ancestor => running(&mut marks, |a, b| a + b),
            _ => {}
        }
        let mine: Vec<usize> = if relation == Relation::Sibling { left.to_vec() } else { Vec::new() };
        move |span| {
            let (l, r, p) = (at(lefts, span), at(rights, span), at(parents, span));
            l > 0
                && match relation {
                    Relation::Child => p > 0 && marks[slot(p)] > 0,
                    Relation::Parent => marks[slot(l)] > 0,
                    Relation::Descendant => marks[slot(l - 1)] > r,
                    Relation::Ancestor => marks[slot(r)] > marks[slot(l)],
                    Relation::Sibling => {
                        p != 0 && marks[slot(p)] > i32::from(mine.binary_search(&span).is_ok())
                    }
                }
        }
    }
}

fn running(marks: &mut [i32], join: fn(i32, i32) -> i32) {
    let mut so_far = 0;
    for mark in marks {
        so_far = join(so_far, *mark);
        *mark = so_far;
    }
}

fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Descendant => Relation::Ancestor,
        Relation::Parent => Relation::Child,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}
