//! Whether a query can be asked of the parts of a trace, one by one.

use super::{FieldId, Order, Plan, SpansetPlan, StagePlan};
use crate::traceql::field::{Field, Intrinsic};
use crate::traceql::operator::SpansetOp;

impl Plan {
    /// Whether a trace may match as a whole and none of its parts alone, or a part and not the whole: the query looks
    /// at how its spans hang together, counts them, or asks for what the trace has as one. Otherwise a trace matches
    /// where one of its parts does.
    #[must_use]
    pub fn needs_whole_traces(&self) -> bool {
        let fields = (0..self.sources.len()).any(|field| self.is_of_the_trace(field));
        // A part is shorter than its trace.
        let by_length = self.order == Order::Longest;
        by_length
            || fields
            || !self.stages.iter().all(is_of_spans_alone)
            || !selects_spans_alone(&self.spansets)
    }

    fn is_of_the_trace(&self, field: FieldId) -> bool {
        let Some(source) = self.sources.get(field) else { return false };
        source.of_parent
            || match &source.field {
                Field::Attribute(attribute) => attribute.of_parent,
                Field::OfParent(_) => true,
                Field::Intrinsic(intrinsic) => matches!(
                    intrinsic,
                    Intrinsic::ChildCount
                        | Intrinsic::TraceDuration
                        | Intrinsic::RootName
                        | Intrinsic::RootService
                        | Intrinsic::NestedSetLeft
                        | Intrinsic::NestedSetRight
                        | Intrinsic::NestedSetParent
                        | Intrinsic::Parent
                ),
            }
    }
}

fn is_of_spans_alone(stage: &StagePlan) -> bool {
    match stage {
        StagePlan::Filter(spansets) => selects_spans_alone(spansets),
        StagePlan::Coalesce => true,
        _ => false,
    }
}

fn selects_spans_alone(spansets: &SpansetPlan) -> bool {
    match spansets {
        SpansetPlan::Filter(_) => true,
        SpansetPlan::Binary(SpansetOp::Or, sides) => sides.iter().all(selects_spans_alone),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::traceql::{Plan, parse};

    #[test]
    fn what_one_span_decides_can_be_asked_of_parts_and_nothing_else() {
        let needs = |query: &str| Plan::search(&parse(query).unwrap()).unwrap().needs_whole_traces();
        for query in [
            "{}",
            "{ status = error && .a = 1 }",
            "{ name = `a` } || { span.b > 2 }",
            "{ event:name = `x` } | select(name)",
            "{ .a = 1 } | { .b = 2 }",
        ] {
            assert!(!needs(query), "{query}");
        }
        for query in [
            "{ .a = 1 } && { .b = 2 }",
            "{ .a = 1 } >> { .b = 2 }",
            "{ .a = 1 } !>> { .b = 2 }",
            "{ .a = 1 } &~ { .b = 2 }",
            "{} | count() > 3",
            "{} | by(name)",
            "{ traceDuration > 1s }",
            "{ rootName = `a` }",
            "{ nestedSetParent < 0 }",
            "{ parent.a = 1 }",
            "!{ .a = 1 }",
            "{ .a = 1 } with (order_by=\"duration\")",
            "({ .a = 1 } | count() > 1) || { .b = 2 }",
        ] {
            assert!(needs(query), "{query}");
        }
    }
}
