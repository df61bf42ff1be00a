//! The traces that a plan can match at all, where it says so: `{ trace:id = "…" && … }`.

use super::{Condition, Expr, Matcher, Plan, SpansetPlan, StagePlan};
use crate::{
    model::TraceId,
    traceql::{Compare, Field, Intrinsic, Keep, Literal, SpansetOp},
};

impl Plan {
    /// The ids of the only traces that can match, sorted; `None` where any may.
    #[must_use]
    pub fn trace_ids(&self) -> Option<Vec<TraceId>> {
        self.stages.iter().fold(self.of_spanset(&self.spansets), |ids, stage| both(ids, self.of_stage(stage)))
    }

    fn of_spanset(&self, plan: &SpansetPlan) -> Option<Vec<TraceId>> {
        match plan {
            SpansetPlan::Filter(expr) => self.of_expr(expr),
            SpansetPlan::Binary(op, sides) => {
                let [left, right] = &**sides;
                let (left, right) = (self.of_spanset(left), self.of_spanset(right));
                match op {
                    SpansetOp::Or => either(left, right),
                    SpansetOp::Structural { keep: Keep::Unrelated, .. } => right,
                    // Both sides' spans are of one trace.
                    SpansetOp::And | SpansetOp::Structural { .. } => both(left, right),
                }
            }
            SpansetPlan::Not(_) => None,
            SpansetPlan::Pipeline(first, stages) => {
                stages.iter().fold(self.of_spanset(first), |ids, stage| both(ids, self.of_stage(stage)))
            }
        }
    }

    fn of_stage(&self, stage: &StagePlan) -> Option<Vec<TraceId>> {
        match stage {
            StagePlan::Filter(plan) => self.of_spanset(plan),
            _ => None,
        }
    }

    fn of_expr(&self, expr: &Expr) -> Option<Vec<TraceId>> {
        match expr {
            Expr::Test(id, Condition { op: Compare::Eq, value: Matcher::Literal(Literal::String(text)) }) => {
                let source = self.sources.get(*id)?;
                // What is no id is no trace's.
                (source.field == Field::Intrinsic(Intrinsic::TraceId))
                    .then(|| TraceId::from_hex(text.trim_start_matches('0')).into_iter().collect())
            }
            Expr::All(all) => all.iter().fold(None, |ids, expr| both(ids, self.of_expr(expr))),
            Expr::Any(any) => {
                any.iter().map(|expr| self.of_expr(expr)).reduce(either).unwrap_or(Some(Vec::new()))
            }
            _ => None,
        }
    }
}

fn both(left: Option<Vec<TraceId>>, right: Option<Vec<TraceId>>) -> Option<Vec<TraceId>> {
    match (left, right) {
        (Some(mut left), Some(right)) => {
            left.retain(|id| right.contains(id));
            Some(left)
        }
        (left, right) => left.or(right),
    }
}

fn either(left: Option<Vec<TraceId>>, right: Option<Vec<TraceId>>) -> Option<Vec<TraceId>> {
    let mut all = left?;
    all.extend(right?);
    all.sort_unstable();
    all.dedup();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traceql::parse;

    fn ids(query: &str) -> Option<Vec<u128>> {
        let ids = Plan::search(&parse(query).unwrap()).unwrap().trace_ids();
        ids.map(|ids| ids.into_iter().map(|id| u128::from_be_bytes(id.0)).collect())
    }

    #[test]
    fn a_plan_names_the_only_traces_that_can_match() {
        for (query, expected) in [
            ("{ trace:id = `00ff` }", Some(vec![0xff])),
            ("{ trace:id = `FF` && name = `a` } | count() > 1", Some(vec![0xff])),
            ("{ trace:id = `2` || trace:id = `1` }", Some(vec![1, 2])),
            ("{ trace:id = `1` && trace:id = `2` }", Some(vec![])),
            ("{ trace:id = `1` } >> { status = error }", Some(vec![1])),
            ("{ trace:id = `1` } && !{ trace:id = `2` }", Some(vec![1])),
            ("!{ trace:id = `1` }", None),
            ("{ name = `a` } | { trace:id = `1` }", Some(vec![1])),
            ("{ trace:id = `no id` }", Some(vec![])),
            ("{ trace:id = `` }", Some(vec![0])),
            ("{ trace:id = `1` } !>> { status = error }", None),
            ("{ trace:id = `1` } || { status = error }", None),
            ("{ trace:id = `1` || status = error }", None),
            ("{ trace:id != `1` }", None),
            ("{ !(trace:id = `1`) }", None),
            ("{ span:id = `1` }", None),
        ] {
            assert_eq!(ids(query), expected, "{query}");
        }
    }
}
