//! Which columns a plan needs: fewer to decide what matches than to show it.

use super::context::Place;
use crate::table::{Column, Level, Projection};
use crate::traceql::{Field, Intrinsic, Plan, ScalarPlan, SpansetOp, SpansetPlan, StagePlan};

/// What must be read to decide what matches.
#[must_use]
pub fn predicate(plan: &Plan) -> Projection {
    let mut wanted = Wanted { columns: vec![Column::TraceTime], attributes: Vec::new() };
    wanted.sources(plan);
    if is_structural(&plan.spansets) || plan.stages.iter().any(is_structural_stage) {
        wanted.columns.push(Column::NestedSet);
    }
    wanted.projection(plan)
}

/// What must be read of the traces that match, to show them.
#[must_use]
pub fn output(plan: &Plan) -> Projection {
    let mut wanted =
        Wanted { columns: vec![Column::TraceId, Column::TraceTime, Column::Root], attributes: Vec::new() };
    if plan.lists_spans {
        wanted.columns.extend([Column::ServiceStats, Column::SpanId, Column::Start, Column::Duration]);
        wanted.sources(plan);
    }
    wanted.projection(plan)
}

/// What must be read of the parts of a trace so that, put together, they answer what the whole trace does: all that
/// the plan looks at or shows, and of the spans what makes a tree of them and a summary of the trace. What is known of a
/// part as a whole is of no use.
#[must_use]
pub fn whole(plan: &Plan) -> Projection {
    let mut wanted = Wanted { columns: vec![Column::TraceId, Column::Service], attributes: Vec::new() };
    wanted.columns.extend(FAMILY);
    wanted.columns.extend([Column::Name, Column::Status, Column::Start, Column::Duration]);
    wanted.sources(plan);
    let of_parts = [Column::TraceTime, Column::Root, Column::ServiceStats, Column::NestedSet];
    wanted.columns.retain(|column| !of_parts.contains(column));
    wanted.projection(plan)
}

/// What says who is whose parent. Kinds tell apart a client and a server of one id.
const FAMILY: [Column; 3] = [Column::SpanId, Column::ParentSpanId, Column::Kind];

struct Wanted {
    columns: Vec<Column>,
    attributes: Vec<(Level, String)>,
}

impl Wanted {
    fn sources(&mut self, plan: &Plan) {
        for source in &plan.sources {
            if source.of_parent {
                self.columns.extend(FAMILY);
            }
            match &source.field {
                Field::Intrinsic(intrinsic) | Field::OfParent(intrinsic) => {
                    self.columns.extend(columns(*intrinsic));
                }
                Field::Attribute(attribute) => match Place::of(attribute.scope) {
                    Place::At(level) => self.attribute(level, &attribute.name),
                    Place::SpanOrResource => {
                        self.attribute(Level::Span, &attribute.name);
                        self.attribute(Level::Resource, &attribute.name);
                    }
                },
            }
        }
    }

    fn attribute(&mut self, level: Level, name: &str) {
        if level == Level::Resource && name == "service.name" {
            self.columns.push(Column::Service);
        }
        self.attributes.push((level, name.to_owned()));
    }

    fn projection(mut self, plan: &Plan) -> Projection {
        if plan.orphans && self.columns.contains(&Column::NestedSet) {
            self.columns.retain(|column| *column != Column::NestedSet);
            self.columns.extend(FAMILY);
        }
        self.columns.sort_unstable();
        self.columns.dedup();
        self.attributes.sort_unstable();
        self.attributes.dedup();
        Projection::Some { columns: self.columns, attributes: self.attributes }
    }
}

fn columns(intrinsic: Intrinsic) -> &'static [Column] {
    match intrinsic {
        Intrinsic::Duration => &[Column::Duration],
        Intrinsic::Name => &[Column::Name],
        Intrinsic::Status => &[Column::Status],
        Intrinsic::StatusMessage => &[Column::StatusMessage],
        Intrinsic::Kind => &[Column::Kind],
        Intrinsic::SpanId => &[Column::SpanId],
        Intrinsic::ParentId => &[Column::ParentSpanId],
        Intrinsic::ChildCount => &FAMILY,
        Intrinsic::NestedSetLeft | Intrinsic::NestedSetRight | Intrinsic::NestedSetParent => {
            &[Column::NestedSet]
        }
        Intrinsic::TraceDuration => &[Column::TraceTime],
        Intrinsic::RootName | Intrinsic::RootService => &[Column::Root],
        Intrinsic::TraceId => &[Column::TraceId],
        Intrinsic::EventName => &[Column::EventName],
        Intrinsic::EventTime => &[Column::EventTime],
        Intrinsic::LinkTraceId => &[Column::LinkTraceId],
        Intrinsic::LinkSpanId => &[Column::LinkSpanId],
        Intrinsic::ScopeName => &[Column::ScopeName],
        Intrinsic::ScopeVersion => &[Column::ScopeVersion],
        Intrinsic::Parent => &[],
    }
}

fn is_structural(plan: &SpansetPlan) -> bool {
    match plan {
        SpansetPlan::Filter(_) => false,
        SpansetPlan::Binary(SpansetOp::Structural { .. }, _) => true,
        SpansetPlan::Binary(_, sides) => sides.iter().any(is_structural),
        SpansetPlan::Not(inner) => is_structural(inner),
        SpansetPlan::Pipeline(first, stages) => {
            is_structural(first) || stages.iter().any(is_structural_stage)
        }
    }
}

fn is_structural_stage(stage: &StagePlan) -> bool {
    match stage {
        StagePlan::Filter(plan) => is_structural(plan),
        StagePlan::Scalars { left, right, .. } => is_structural_scalar(left) || is_structural_scalar(right),
        StagePlan::By { .. } | StagePlan::Coalesce => false,
    }
}

fn is_structural_scalar(scalar: &ScalarPlan) -> bool {
    match scalar {
        ScalarPlan::Constant(_) | ScalarPlan::Aggregate { .. } => false,
        ScalarPlan::Pipeline { spans, of, .. } => is_structural(spans) || is_structural_scalar(of),
        ScalarPlan::Binary(_, sides) => sides.iter().any(is_structural_scalar),
    }
}
