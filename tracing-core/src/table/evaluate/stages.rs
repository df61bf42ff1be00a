//! What becomes of the spansets that the first stage selected.

use std::ops::Range;

use super::context::Context;
use super::hit::OwnedValue;
use super::lookup::Found;
use super::value::{Datum, satisfies};
use crate::table::Bitmap;
use crate::traceql::arithmetic::{Number, compute, order};
use crate::traceql::syntax::Aggregate;
use crate::traceql::{BinaryOp, Expr, SpansetPlan, StagePlan};

/// Spans of one trace that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) trace: u32,
    /// Ascending.
    pub(crate) spans: Vec<u32>,
    pub(crate) attributes: Vec<(String, OwnedValue)>,
}

impl<'a> Context<'a> {
    /// One set of each trace that has selected spans.
    pub(crate) fn sets(&self, selected: &Bitmap) -> Vec<Set> {
        let mut sets = Vec::new();
        for trace in 0..self.table.trace_count() {
            let range: Range<usize> = self.table.spans_of_trace(trace);
            let spans: Vec<u32> = selected.iter_range(range).map(|span| span as u32).collect();
            if !spans.is_empty() {
                sets.push(Set { trace: trace as u32, spans, attributes: Vec::new() });
            }
        }
        sets
    }

    pub(crate) fn run(&self, sets: Vec<Set>, stages: &'a [StagePlan]) -> Vec<Set> {
        stages.iter().fold(sets, |sets, stage| self.stage(sets, stage))
    }

    fn stage(&self, sets: Vec<Set>, stage: &'a StagePlan) -> Vec<Set> {
        match stage {
            StagePlan::Filter(plan) => self.filter(sets, plan),
            StagePlan::Aggregate { name, aggregate, of, condition } => sets
                .into_iter()
                .filter_map(|mut set| {
                    let value = self.aggregate(*aggregate, of.as_ref(), &set)?;
                    let datum = Datum::from_number(value);
                    set.attributes.push((name.clone(), datum.owned()));
                    satisfies(condition, datum).then_some(set)
                })
                .collect(),
            StagePlan::By { name, of } => sets.into_iter().flat_map(|set| self.by(&set, name, of)).collect(),
            StagePlan::Coalesce => coalesce(sets),
        }
    }

    fn bitmap(&self, set: &Set) -> Bitmap {
        let mut spans = Bitmap::none(self.table.span_count());
        set.spans.iter().for_each(|&span| spans.set(span as usize));
        spans
    }

    fn filter(&self, sets: Vec<Set>, plan: &'a SpansetPlan) -> Vec<Set> {
        let mut kept = Vec::new();
        // A filter looks at one span at a time, and need be evaluated only once for all sets.
        let shared = matches!(plan, SpansetPlan::Filter(_)).then(|| {
            let mut all = Bitmap::none(self.table.span_count());
            sets.iter().flat_map(|set| &set.spans).for_each(|&span| all.set(span as usize));
            self.spanset(plan, &all)
        });
        for mut set in sets {
            let own = shared.is_none().then(|| self.spanset(plan, &self.bitmap(&set)));
            let kept_spans = shared.as_ref().or(own.as_ref());
            set.spans.retain(|&span| kept_spans.is_some_and(|spans| spans.get(span as usize)));
            if !set.spans.is_empty() {
                kept.push(set);
            }
        }
        kept
    }

    /// The aggregate of a set; `None` where no span has a number.
    fn aggregate(&self, aggregate: Aggregate, of: Option<&'a Expr>, set: &Set) -> Option<Number> {
        let Some(of) = of else { return Some(Number::Int(set.spans.len() as i64)) };
        let mut total = None;
        let mut count = 0_i64;
        self.values(of, &self.bitmap(set), |_, found| {
            let Found::One(datum) = found else { return };
            let Some(number) = datum.number() else { return };
            count += 1;
            total = Some(match total {
                None => number,
                Some(before) => join(aggregate, before, number),
            });
        });
        match aggregate {
            Aggregate::Avg => total.map(|total| average(total, count)),
            _ => total,
        }
    }

    fn by(&self, set: &Set, name: &str, of: &'a Expr) -> Vec<Set> {
        let mut groups: Vec<Set> = Vec::new();
        self.values(of, &self.bitmap(set), |span, found| {
            let mut data: Vec<OwnedValue> = found.data().into_iter().map(Datum::owned).collect();
            let value = match data.len() {
                0 => OwnedValue::String("nil".to_owned()),
                1 => data.remove(0),
                _ => OwnedValue::Array(data),
            };
            let known =
                groups.iter_mut().find(|group| group.attributes.last().is_some_and(|(_, it)| *it == value));
            if let Some(group) = known {
                group.spans.push(span as u32);
            } else {
                let mut attributes = set.attributes.clone();
                attributes.push((name.to_owned(), value));
                groups.push(Set { trace: set.trace, spans: vec![span as u32], attributes });
            }
        });
        groups
    }
}

fn join(aggregate: Aggregate, before: Number, number: Number) -> Number {
    let smaller = order(number, before).is_some_and(std::cmp::Ordering::is_lt);
    match aggregate {
        Aggregate::Min => {
            if smaller {
                number
            } else {
                before
            }
        }
        Aggregate::Max => {
            if smaller {
                before
            } else {
                number
            }
        }
        Aggregate::Sum | Aggregate::Avg | Aggregate::Count => {
            compute(BinaryOp::Add, before, number).unwrap_or(before)
        }
    }
}

/// Durations stay durations; the mean of other numbers is a floating one.
fn average(total: Number, count: i64) -> Number {
    match total {
        Number::Duration(ns) => Number::Duration(ns / count.max(1)),
        other => Number::Float(other.as_f64() / count.max(1) as f64),
    }
}

/// The sets of each trace as one; their values go with them.
fn coalesce(sets: Vec<Set>) -> Vec<Set> {
    let mut merged: Vec<Set> = Vec::new();
    for set in sets {
        match merged.last_mut().filter(|last| last.trace == set.trace) {
            Some(last) => last.spans.extend(set.spans),
            None => merged.push(Set { attributes: Vec::new(), ..set }),
        }
    }
    for set in &mut merged {
        set.spans.sort_unstable();
        set.spans.dedup();
    }
    merged
}
