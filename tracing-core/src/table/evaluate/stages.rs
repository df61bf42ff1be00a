//! What becomes of the spansets that the first stage selected.

use super::context::Context;
use super::hit::OwnedValue;
use super::lookup::Found;
use super::value::Datum;
use crate::table::view::{Entries, Texts};
use crate::table::{Bitmap, Level, ValueColumn};
use crate::traceql::arithmetic::{Number, compute, number, order};
use crate::traceql::syntax::Aggregate;
use crate::traceql::{BinaryOp, Expr, Field, Intrinsic, ScalarPlan, Scope, SpansetPlan, StagePlan};

/// Spans of one trace that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) trace: u32,
    /// Ascending.
    pub(crate) spans: Vec<u32>,
    pub(crate) attributes: Shown,
}

/// Values of a whole set, by name.
type Shown = Vec<(String, OwnedValue)>;

impl<'a> Context<'a> {
    /// One set of each trace that has selected spans.
    pub(crate) fn sets(&self, selected: &Bitmap) -> Vec<Set> {
        (0..self.view.trace_count()).filter_map(|trace| self.set(selected, trace)).collect()
    }

    /// The selected spans of a trace, where there are any.
    pub(crate) fn set(&self, selected: &Bitmap, trace: usize) -> Option<Set> {
        let range = self.view.spans_of_trace(trace);
        let spans: Vec<u32> = selected.iter_range(range).map(|span| span as u32).collect();
        (!spans.is_empty()).then(|| Set { trace: trace as u32, spans, attributes: Vec::new() })
    }

    pub(crate) fn run(&self, sets: Vec<Set>, stages: &'a [StagePlan]) -> Vec<Set> {
        stages.iter().fold(sets, |sets, stage| self.stage(sets, stage))
    }

    fn stage(&self, sets: Vec<Set>, stage: &'a StagePlan) -> Vec<Set> {
        match stage {
            StagePlan::Filter(plan) => self.filter(sets, plan),
            StagePlan::Scalars { left, op, right } => {
                let mut shown = vec![Vec::new(); sets.len()];
                let left = self.scalar(left, &sets, &mut shown);
                let right = self.scalar(right, &sets, &mut shown);
                let of_sets = sets.into_iter().zip(shown).zip(left.into_iter().zip(right));
                let kept = of_sets.filter_map(|((mut set, shown), sides)| {
                    set.attributes.extend(shown);
                    let holds = op.holds(order(sides.0?, sides.1?)?);
                    holds.then_some(set)
                });
                kept.collect()
            }
            StagePlan::By { name, of } => {
                let mut codes = Groups::new(self.column(of));
                let of = self.values(of, &self.spans_of_sets(&sets));
                sets.iter().flat_map(|set| by(set, name, &of, &mut codes)).collect()
            }
            StagePlan::Coalesce => coalesce(sets),
        }
    }

    /// The column that an expression is alone a value of, where spans with equal codes have equal values.
    fn column(&self, of: &Expr) -> Option<&'a ValueColumn> {
        let Expr::Field(id) = of else { return None };
        let source = self.source(*id).filter(|source| !source.of_parent)?;
        let column = match &source.field {
            Field::Attribute(attribute) if attribute.scope == Scope::Span => {
                match self.entries(Level::Span, attribute) {
                    Entries::Column(column) => column,
                    _ => return None,
                }
            }
            Field::Intrinsic(Intrinsic::Name) => match self.view.names {
                Texts::Column(column) => column,
                _ => return None,
            },
            _ => return None,
        };
        column.is_simple().then_some(column)
    }

    fn spans_of_sets(&self, sets: &[Set]) -> Bitmap {
        let mut spans = Bitmap::none(self.view.span_count());
        sets.iter().flat_map(|set| &set.spans).for_each(|&span| spans.set(span as usize));
        spans
    }

    /// A number of each set, where it has one. What an answer shows of it is added to `shown`, each name once.
    fn scalar(&self, plan: &'a ScalarPlan, sets: &[Set], shown: &mut [Shown]) -> Vec<Option<Number>> {
        let (name, numbers) = match plan {
            ScalarPlan::Constant(literal) => return vec![number(literal); sets.len()],
            ScalarPlan::Binary(op, sides) => {
                let [left, right] = &**sides;
                let (left, right) = (self.scalar(left, sets, shown), self.scalar(right, sets, shown));
                return left.into_iter().zip(right).map(|(a, b)| compute(*op, a?, b?)).collect();
            }
            ScalarPlan::Aggregate { name, aggregate, of } => {
                let of = of.as_ref().map(|of| self.values(of, &self.spans_of_sets(sets)));
                let number = |set: &Set| match &of {
                    None => Some(Number::Int(set.spans.len() as i64)),
                    Some(of) => aggregated(*aggregate, set.spans.iter().map(|&span| of(span as usize))),
                };
                (name, sets.iter().map(number).collect::<Vec<_>>())
            }
            ScalarPlan::Pipeline { name, spans, of } => {
                let left = sets.iter().zip(self.selected(sets, spans));
                let left = left.map(|(set, spans)| Set { trace: set.trace, spans, attributes: Vec::new() });
                (name, self.scalar(of, &left.collect::<Vec<_>>(), &mut vec![Vec::new(); sets.len()]))
            }
        };
        for (shown, number) in shown.iter_mut().zip(&numbers) {
            if let Some(number) = number.filter(|_| shown.iter().all(|(known, _)| known != name)) {
                shown.push((name.clone(), Datum::from_number(number).owned()));
            }
        }
        numbers
    }

    fn filter(&self, mut sets: Vec<Set>, plan: &'a SpansetPlan) -> Vec<Set> {
        let selected = self.selected(&sets, plan);
        for (set, spans) in sets.iter_mut().zip(selected) {
            set.spans = spans;
        }
        sets.retain(|set| !set.spans.is_empty());
        sets
    }

    /// The spans of each set that a plan selects.
    fn selected(&self, sets: &[Set], plan: &'a SpansetPlan) -> Vec<Vec<u32>> {
        // What looks at one span, or at one set of each trace, need be evaluated only once for all.
        let at_once = matches!(plan, SpansetPlan::Filter(_)) || sets.is_sorted_by(|a, b| a.trace < b.trace);
        let shared = at_once.then(|| self.spanset(plan, &self.spans_of_sets(sets)));
        let of_set = |set: &Set| {
            let own =
                shared.is_none().then(|| self.spanset(plan, &self.spans_of_sets(std::slice::from_ref(set))));
            let kept = shared.as_ref().or(own.as_ref());
            let spans = set.spans.iter().copied();
            spans.filter(|&span| kept.is_some_and(|kept| kept.get(span as usize))).collect()
        };
        sets.iter().map(of_set).collect()
    }
}

/// The aggregate of values; `None` where there is no number among them.
fn aggregated<'t>(aggregate: Aggregate, values: impl Iterator<Item = Found<'t>>) -> Option<Number> {
    let numbers = values.filter_map(|found| match found {
        Found::One(datum) => datum.number(),
        _ => None,
    });
    let (mut total, mut count) = (None, 0);
    for number in numbers {
        count += 1;
        total = Some(match total {
            None => number,
            Some(before) => join(aggregate, before, number),
        });
    }
    match aggregate {
        Aggregate::Avg => total.map(|total| average(total, count)),
        _ => total,
    }
}

/// Which group of a set spans with a code belong to.
struct Groups<'a> {
    column: Option<&'a ValueColumn>,
    /// By code; [`u32::MAX`] where it was not met in this set.
    of_code: Vec<u32>,
    met: Vec<u32>,
}

impl<'a> Groups<'a> {
    fn new(column: Option<&'a ValueColumn>) -> Self {
        let of_code = vec![u32::MAX; column.map_or(0, ValueColumn::codes)];
        Self { column, of_code, met: Vec::new() }
    }

    fn known(&self, span: u32) -> Option<usize> {
        let code = self.column?.code(span as usize);
        self.of_code.get(code as usize).filter(|group| **group != u32::MAX).map(|group| *group as usize)
    }

    fn learn(&mut self, span: u32, group: usize) {
        let Some(column) = self.column else { return };
        let code = column.code(span as usize);
        self.met.push(code);
        self.of_code.get_mut(code as usize).into_iter().for_each(|slot| *slot = group as u32);
    }

    fn forget(&mut self) {
        for code in self.met.drain(..) {
            self.of_code.get_mut(code as usize).into_iter().for_each(|slot| *slot = u32::MAX);
        }
    }
}

/// The spans of a set, apart by the value they have.
fn by<'t>(set: &Set, name: &str, of: &impl Fn(usize) -> Found<'t>, known: &mut Groups<'_>) -> Vec<Set> {
    let mut groups: Vec<Set> = Vec::new();
    for &span in &set.spans {
        if let Some(group) = known.known(span).and_then(|group| groups.get_mut(group)) {
            group.spans.push(span);
            continue;
        }
        let value = of(span as usize).owned();
        let is_of = |group: &Set| group.attributes.last().is_some_and(|(_, it)| *it == value);
        let at = groups.iter().position(is_of).unwrap_or(groups.len());
        known.learn(span, at);
        if let Some(group) = groups.get_mut(at) {
            group.spans.push(span);
        } else {
            let mut attributes = set.attributes.clone();
            attributes.push((name.to_owned(), value));
            groups.push(Set { trace: set.trace, spans: vec![span], attributes });
        }
    }
    known.forget();
    groups
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
