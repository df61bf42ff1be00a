//! What a plan needs to find of a block so that any trace can match, held against a sketch.
//!
//! Each condition is taken for the whole block and not for one span, so what is possible for a span is
//! possible here; what is not understood is possible. Negations and `= nil` are: a sketch says what is there,
//! and not that it is there on every span.

use super::{
    Field, Place, Sketch, Values,
    filter::{Filter, Seed},
};
use crate::{
    table::{
        Level,
        evaluate::{Datum, compare, satisfies},
    },
    traceql::{
        Attribute, BinaryOp, Compare, Condition, Expr, Field as Asked, FieldId, Intrinsic, Keep, Kind,
        Literal, Matcher, Plan, ScalarPlan, Scope, SpansetOp, SpansetPlan, StagePlan, Status,
    },
};

impl Sketch {
    /// False where no trace of the block matches.
    #[must_use]
    pub fn may_match(&self, plan: &Plan) -> bool {
        let asking = Asking { sketch: self, plan };
        asking.spanset(&plan.spansets) && plan.stages.iter().all(|stage| asking.stage(stage))
    }
}

struct Asking<'a> {
    sketch: &'a Sketch,
    plan: &'a Plan,
}

impl Asking<'_> {
    fn spanset(&self, plan: &SpansetPlan) -> bool {
        match plan {
            SpansetPlan::Filter(expr) => self.holds(expr),
            SpansetPlan::Binary(op, sides) => {
                let [left, right] = &**sides;
                match op {
                    SpansetOp::Or => self.spanset(left) || self.spanset(right),
                    // Whoever is not related needs nobody to be related to.
                    SpansetOp::Structural { keep: Keep::Unrelated, .. } => self.spanset(right),
                    SpansetOp::And | SpansetOp::Structural { .. } => {
                        self.spanset(left) && self.spanset(right)
                    }
                }
            }
            SpansetPlan::Not(_) => true,
            SpansetPlan::Pipeline(first, stages) => {
                self.spanset(first) && stages.iter().all(|stage| self.stage(stage))
            }
        }
    }

    /// Whether anything may be left after a stage: what it leaves nothing of is no match.
    fn stage(&self, stage: &StagePlan) -> bool {
        match stage {
            StagePlan::Filter(plan) => self.spanset(plan),
            // Without a number on both sides there is no match.
            StagePlan::Scalars { left, right, .. } => self.has_number(left) && self.has_number(right),
            StagePlan::By { .. } | StagePlan::Coalesce => true,
        }
    }

    /// Whether a scalar may have a value. Spans can be counted also where there are none.
    fn has_number(&self, scalar: &ScalarPlan) -> bool {
        match scalar {
            ScalarPlan::Constant(_) => true,
            ScalarPlan::Aggregate { of, .. } => of.as_ref().is_none_or(|of| self.has_value(of)),
            ScalarPlan::Pipeline { of, .. } => self.has_number(of),
            ScalarPlan::Binary(_, sides) => sides.iter().all(|side| self.has_number(side)),
        }
    }

    /// Whether an expression may be true for a span.
    fn holds(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Constant(literal) => *literal != Literal::Bool(false),
            Expr::Field(id) => self.is(*id, true),
            Expr::Test(id, condition) => self.test(*id, condition),
            Expr::Exists(id) => self.exists(*id),
            Expr::Missing(id) => match self.asked(*id) {
                Some(Asked::Attribute(Attribute { scope: Scope::Event, .. })) => self.sketch.numbers.events,
                Some(Asked::Attribute(Attribute { scope: Scope::Link, .. })) => self.sketch.numbers.links,
                _ => true,
            },
            Expr::All(all) => all.iter().all(|expr| self.holds(expr)),
            Expr::Any(any) => any.iter().any(|expr| self.holds(expr)),
            Expr::Not(inner) => match &**inner {
                Expr::Field(id) => self.is(*id, false),
                _ => true,
            },
            Expr::Binary(BinaryOp::Compare(_), sides) => sides.iter().all(|side| self.has_value(side)),
            Expr::OneOf(Scope::Event, inner) => self.sketch.numbers.events && self.holds(inner),
            Expr::OneOf(_, inner) => self.sketch.numbers.links && self.holds(inner),
            Expr::Negative(_) | Expr::Binary(..) => true,
        }
    }

    /// Whether an expression may have a value for a span, so that it can be compared or aggregated.
    fn has_value(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Field(id) => self.exists(*id),
            Expr::Negative(inner) => self.has_value(inner),
            Expr::Binary(op, sides) if !matches!(op, BinaryOp::Compare(_)) => {
                sides.iter().all(|side| self.has_value(side))
            }
            _ => true,
        }
    }

    fn is(&self, id: FieldId, value: bool) -> bool {
        self.test(id, &Condition { op: Compare::Eq, value: Matcher::Literal(Literal::Bool(value)) })
    }

    fn asked(&self, id: FieldId) -> Option<&Asked> {
        self.plan.sources.get(id).map(|source| &source.field)
    }

    fn exists(&self, id: FieldId) -> bool {
        let numbers = &self.sketch.numbers;
        match self.asked(id) {
            None => true,
            Some(Asked::Intrinsic(intrinsic) | Asked::OfParent(intrinsic)) => match intrinsic {
                Intrinsic::EventName | Intrinsic::EventTime => numbers.events,
                Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => numbers.links,
                _ => true,
            },
            Some(Asked::Attribute(attribute)) => any_place(attribute, |place| {
                if is_service(place, attribute) {
                    return true;
                }
                let field = self.sketch.field(place, &attribute.name);
                field.map_or(!self.sketch.is_complete(place), |field| field.searchable)
            }),
        }
    }

    fn test(&self, id: FieldId, condition: &Condition) -> bool {
        if let Matcher::AnyOf(any) = &condition.value {
            let one = |value: &Matcher| self.test(id, &Condition { op: condition.op, value: value.clone() });
            return if condition.op.is_negative() { any.iter().all(one) } else { any.iter().any(one) };
        }
        match self.asked(id) {
            None => true,
            Some(Asked::Attribute(attribute)) => any_place(attribute, |place| {
                let field = self.sketch.field(place, &attribute.name);
                field.map_or(!self.sketch.is_complete(place), |field| {
                    field.may_satisfy(condition, &self.sketch.filter)
                })
            }),
            Some(Asked::Intrinsic(intrinsic) | Asked::OfParent(intrinsic)) => {
                self.test_intrinsic(*intrinsic, condition)
            }
        }
    }

    fn test_intrinsic(&self, intrinsic: Intrinsic, condition: &Condition) -> bool {
        let numbers = &self.sketch.numbers;
        let column = |place| {
            let field = self.sketch.field(place, "");
            field.map_or(!self.sketch.is_complete(place), |field| {
                field.may_satisfy(condition, &self.sketch.filter)
            })
        };
        let bits = |bits: u8, datum: &dyn Fn(usize) -> Option<Datum<'static>>| {
            let set = (0..8).filter(|bit| bits >> bit & 1 == 1);
            set.filter_map(datum).any(|datum| satisfies(condition, datum))
        };
        match intrinsic {
            Intrinsic::Name => column(Place::Name),
            Intrinsic::StatusMessage => column(Place::StatusMessage),
            Intrinsic::RootName => column(Place::RootName),
            Intrinsic::RootService => column(Place::RootService),
            Intrinsic::EventName => column(Place::EventName),
            Intrinsic::ScopeName => column(Place::ScopeName),
            Intrinsic::ScopeVersion => column(Place::ScopeVersion),
            Intrinsic::Status => {
                bits(numbers.statuses, &|bit| Status::ALL.get(bit).copied().map(Datum::Status))
            }
            Intrinsic::Kind => bits(numbers.kinds, &|bit| Kind::ALL.get(bit).copied().map(Datum::Kind)),
            Intrinsic::Duration => within(numbers.duration, condition),
            Intrinsic::TraceDuration => within(numbers.trace_duration, condition),
            Intrinsic::EventTime => numbers.events,
            Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => numbers.links,
            Intrinsic::SpanId
            | Intrinsic::ParentId
            | Intrinsic::ChildCount
            | Intrinsic::TraceId
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
            | Intrinsic::Parent => true,
        }
    }
}

/// Whether something is so at any of the places where an attribute may stand.
fn any_place(attribute: &Attribute, mut each: impl FnMut(Place) -> bool) -> bool {
    let mut at = |level| each(Place::Attribute(level));
    match attribute.scope {
        Scope::Any => at(Level::Span) || at(Level::Resource),
        Scope::Span => at(Level::Span),
        Scope::Resource => at(Level::Resource),
        Scope::Event => at(Level::Event),
        Scope::Link => at(Level::Link),
        Scope::Instrumentation => at(Level::Scope),
    }
}

/// Whether a number between two bounds may satisfy a condition.
fn within(bounds: Option<(u64, u64)>, condition: &Condition) -> bool {
    let Some((least, most)) = bounds else { return false };
    let datum = |ns: u64| Datum::Duration(i64::try_from(ns).unwrap_or(i64::MAX));
    between(datum(least), datum(most), condition)
}

fn between(least: Datum<'_>, most: Datum<'_>, condition: &Condition) -> bool {
    let literal = match &condition.value {
        Matcher::Literal(literal) => literal,
        Matcher::Regex(_) => return false,
        Matcher::Contains(_) | Matcher::AnyOf(_) => return true,
    };
    let Some(literal) = Datum::from_literal(literal) else { return true };
    match condition.op {
        Compare::Eq => compare(Compare::Le, least, literal) && compare(Compare::Ge, most, literal),
        Compare::Lt | Compare::Le => compare(condition.op, least, literal),
        Compare::Gt | Compare::Ge => compare(condition.op, most, literal),
        Compare::Ne => compare(Compare::Ne, least, literal) || compare(Compare::Ne, most, literal),
        Compare::Match | Compare::NotMatch => true,
    }
}

fn is_service(place: Place, attribute: &Attribute) -> bool {
    place == Place::Attribute(Level::Resource) && attribute.name == "service.name"
}

impl Field {
    /// Whether one of its values may satisfy a condition.
    fn may_satisfy(&self, condition: &Condition, filter: &Filter) -> bool {
        let bools = [(1, false), (2, true)].into_iter().filter(|(bit, _)| self.bools & bit != 0);
        bools.into_iter().any(|(_, value)| satisfies(condition, Datum::Bool(value)))
            || self.text_may(condition, filter)
            || self.int_may(condition, filter)
            || self.double_may(condition)
    }

    fn text_may(&self, condition: &Condition, filter: &Filter) -> bool {
        if let Values::Exact(texts) = &self.texts {
            return texts.iter().any(|text| satisfies(condition, Datum::Text(text)));
        }
        let hashed = matches!(self.texts, Values::Hashed(_));
        match (condition.op, &condition.value) {
            (Compare::Eq, Matcher::Literal(Literal::String(text))) => {
                !hashed || filter.may_hold(Seed::new(self.place, &self.name).text(text))
            }
            (
                _,
                Matcher::Literal(Literal::String(_))
                | Matcher::Regex(_)
                | Matcher::Contains(_)
                | Matcher::AnyOf(_),
            ) => true,
            // A text and a value of another type do not compare.
            (_, Matcher::Literal(_)) => false,
        }
    }

    fn int_may(&self, condition: &Condition, filter: &Filter) -> bool {
        let bounds = match &self.ints {
            Values::Exact(ints) => return ints.iter().any(|int| satisfies(condition, Datum::Int(*int))),
            Values::Hashed(bounds) | Values::Any(bounds) => *bounds,
        };
        if let (
            Values::Hashed(_),
            Compare::Eq,
            Matcher::Literal(Literal::Int(value) | Literal::Duration(value)),
        ) = (&self.ints, condition.op, &condition.value)
        {
            return filter.may_hold(Seed::new(self.place, &self.name).int(*value));
        }
        bounds.is_none_or(|(least, most)| between(Datum::Int(least), Datum::Int(most), condition))
    }

    fn double_may(&self, condition: &Condition) -> bool {
        let datum = |bits: u64| Datum::Float(f64::from_bits(bits));
        match &self.doubles {
            Values::Exact(doubles) => doubles.iter().any(|bits| satisfies(condition, datum(*bits))),
            // What is not a number lies within no bounds, and satisfies nothing but a search by tags.
            Values::Hashed(bounds) | Values::Any(bounds) => {
                bounds.is_none_or(|(least, most)| between(datum(least), datum(most), condition))
            }
        }
    }
}
