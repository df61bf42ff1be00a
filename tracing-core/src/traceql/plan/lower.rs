//! Syntax tree to plan.

use std::sync::Arc;

use super::rewrite::Rewriter;
use super::{Condition, Expr, FieldId, Matcher, Plan, ScalarPlan, Source, SpansetPlan, StagePlan, Visible};
use crate::traceql::arithmetic;
use crate::traceql::error::QueryError;
use crate::traceql::field::{Field, Intrinsic, Scope};
use crate::traceql::hints::Hints;
use crate::traceql::operator::{BinaryOp, Compare, SpansetOp, UnaryOp};
use crate::traceql::syntax::{self, Aggregate, Metrics, Query, Root, Scalar, Spansets, Stage};
use crate::traceql::validate::regex;
use crate::traceql::value::Literal;

type Result<T> = std::result::Result<T, QueryError>;

impl Plan {
    /// The plan of a search. Of a query for series it is the spans that these count, as Tempo searches it.
    ///
    /// # Errors
    /// A [`QueryError`] that names the part of a valid query that is not answered yet.
    pub fn search(query: &Query) -> Result<Self> {
        let mut builder = Builder::default();
        let (spansets, stages) = match &query.root {
            Root::Pipeline(pipeline) => builder.pipeline(&pipeline.stages)?,
            Root::Metrics(metrics) => (builder.counted(metrics)?, Vec::new()),
        };
        let rules = Rewriter::new(&query.hints, &builder.sources);
        let (spansets, stages) = (rules.spansets(spansets), rules.stages(stages));
        let Hints { orphans, order } = Hints::read(&query.hints)?;
        Ok(Self { sources: builder.sources, spansets, stages, lists_spans: true, orphans, order })
    }
}

/// Collects the fields of a plan while it is built.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) sources: Vec<Source>,
}

impl Builder {
    fn pipeline(&mut self, written: &[Stage]) -> Result<(SpansetPlan, Vec<StagePlan>)> {
        let mut spansets = None;
        let mut stages = Vec::new();
        for stage in written {
            // A pipeline that begins with another stage begins with all spans.
            match (stage, &spansets) {
                (Stage::Spansets(first), None) => spansets = Some(self.spansets(first)?),
                (stage, _) => {
                    spansets.get_or_insert(SpansetPlan::Filter(Expr::Constant(Literal::Bool(true))));
                    stages.extend(self.stage(stage)?);
                }
            }
        }
        let everything = SpansetPlan::Filter(Expr::Constant(Literal::Bool(true)));
        Ok((spansets.unwrap_or(everything), stages))
    }

    /// The spans that a pipeline leaves.
    fn left_by(&mut self, written: &[Stage]) -> Result<SpansetPlan> {
        Ok(match self.pipeline(written)? {
            (first, stages) if stages.is_empty() => first,
            (first, stages) => SpansetPlan::Pipeline(Box::new(first), stages),
        })
    }

    /// The spans that a query for series counts: those of any of its parts.
    fn counted(&mut self, metrics: &Metrics) -> Result<SpansetPlan> {
        Ok(match metrics {
            Metrics::Query { spans, .. } => self.left_by(&spans.stages)?,
            Metrics::Number(_) => SpansetPlan::Filter(Expr::Constant(Literal::Bool(false))),
            Metrics::Binary { left, right, .. } => {
                let sides = [self.counted(left)?, self.counted(right)?];
                SpansetPlan::Binary(SpansetOp::Or, Box::new(sides))
            }
        })
    }

    fn stage(&mut self, stage: &Stage) -> Result<Option<StagePlan>> {
        Ok(Some(match stage {
            Stage::Spansets(spansets) => StagePlan::Filter(self.spansets(spansets)?),
            Stage::ScalarFilter { left, op, right } => self.scalar_filter(left, *op, right)?,
            Stage::Scalar(scalar) => {
                return Err(QueryError::not_answered(&format!("a scalar without comparison ({scalar}) is")));
            }
            Stage::By(of) => StagePlan::By { name: format!("by({of})"), of: self.expression(of)? },
            Stage::Coalesce => StagePlan::Coalesce,
            Stage::Select(fields) => {
                for field in fields {
                    self.all_of(field);
                }
                return Ok(None);
            }
        }))
    }

    fn spansets(&mut self, spansets: &Spansets) -> Result<SpansetPlan> {
        Ok(match spansets {
            Spansets::Filter(None) => SpansetPlan::Filter(Expr::Constant(Literal::Bool(true))),
            Spansets::Filter(Some(of)) => SpansetPlan::Filter(self.expression(of)?),
            Spansets::Binary { op, left, right } => {
                SpansetPlan::Binary(*op, Box::new([self.spansets(left)?, self.spansets(right)?]))
            }
            Spansets::Pipeline(inner) => {
                let (first, stages) = self.pipeline(&inner.stages)?;
                SpansetPlan::Pipeline(Box::new(first), stages)
            }
            Spansets::Not(inner) => SpansetPlan::Not(Box::new(self.spansets(inner)?)),
        })
    }

    fn scalar_filter(&mut self, left: &Scalar, op: BinaryOp, right: &Scalar) -> Result<StagePlan> {
        let BinaryOp::Compare(op) = op else {
            return Err(QueryError::not_answered(&format!("comparing scalars with {op} is")));
        };
        Ok(match (self.scalar(left)?, self.scalar(right)?) {
            (left @ ScalarPlan::Constant(_), right) => {
                StagePlan::Scalars { left: right, op: op.mirrored(), right: left }
            }
            (left, right) => StagePlan::Scalars { left, op, right },
        })
    }

    fn scalar(&mut self, it: &Scalar) -> Result<ScalarPlan> {
        Ok(match it {
            Scalar::Literal(literal) => ScalarPlan::Constant(literal.clone()),
            Scalar::Aggregate(aggregate, of) => {
                let of = match of {
                    Some(of) if *aggregate != Aggregate::Count => Some(self.expression(of)?),
                    _ => None,
                };
                ScalarPlan::Aggregate { name: it.to_string(), aggregate: *aggregate, of }
            }
            Scalar::Pipeline(inner) => {
                let Some((Stage::Scalar(last), before)) = inner.stages.split_last() else {
                    return Err(QueryError::not_answered(&format!("a pipeline without a scalar ({it}) is")));
                };
                let spans = self.left_by(before)?;
                ScalarPlan::Pipeline { name: it.to_string(), spans, of: Box::new(self.scalar(last)?) }
            }
            Scalar::Binary { op, left, right } => match (self.scalar(left)?, self.scalar(right)?) {
                (ScalarPlan::Constant(left), ScalarPlan::Constant(right)) => {
                    ScalarPlan::Constant(arithmetic::binary(*op, &left, &right))
                }
                (left, right) => ScalarPlan::Binary(*op, Box::new([left, right])),
            },
        })
    }

    /// Left sides are walked in a loop, since a chain of operators is as deep as it is long.
    pub(crate) fn expression(&mut self, it: &syntax::Expr) -> Result<Expr> {
        let (mut first, mut chain) = it.left_chain();
        // A comparison looks at both of its sides as they were written.
        let comparison = chain.iter().rposition(|link| matches!(link.op, BinaryOp::Compare(_)));
        if let Some(at) = comparison {
            first = chain.get(at).map_or(first, |link| link.it);
            chain.drain(..=at);
        }
        let mut left = self.operand(first)?;
        for link in chain {
            let right = self.expression(link.right)?;
            left = match (link.op, left, right) {
                (BinaryOp::And, left, right) => both(left, right),
                (BinaryOp::Or, left, right) => either(left, right),
                (op, Expr::Constant(left), Expr::Constant(right)) => {
                    Expr::Constant(arithmetic::binary(op, &left, &right))
                }
                (op, left, right) => Expr::Binary(op, Box::new([left, right])),
            };
        }
        Ok(left)
    }

    fn operand(&mut self, it: &syntax::Expr) -> Result<Expr> {
        Ok(match it {
            syntax::Expr::Literal(literal) => Expr::Constant(literal.clone()),
            syntax::Expr::Field(field) => Expr::Field(self.all_of(field)),
            syntax::Expr::Binary { op: BinaryOp::Compare(op), left, right } => {
                self.comparison(*op, left, right)?
            }
            syntax::Expr::Binary { .. } => self.expression(it)?,
            syntax::Expr::OneOf(scope, inner) => {
                // So that events and links are read also where nothing of theirs is asked. No value of it is seen.
                let any = if *scope == Scope::Link { Intrinsic::LinkSpanId } else { Intrinsic::EventTime };
                self.find(&Field::Intrinsic(any));
                Expr::OneOf(*scope, Box::new(self.expression(inner)?))
            }
            syntax::Expr::Unary(UnaryOp::Not, inner) => match self.expression(inner)? {
                Expr::Constant(Literal::Bool(value)) => Expr::Constant(Literal::Bool(!value)),
                inner => Expr::Not(Box::new(inner)),
            },
            syntax::Expr::Unary(UnaryOp::Neg, inner) => match self.expression(inner)? {
                Expr::Constant(literal) => Expr::Constant(arithmetic::negative(&literal)),
                inner => Expr::Negative(Box::new(inner)),
            },
        })
    }

    fn comparison(&mut self, op: Compare, left: &syntax::Expr, right: &syntax::Expr) -> Result<Expr> {
        if let syntax::Expr::Field(field) = left
            && let Some(constant) = self.constant(right)?
        {
            return self.test(field, op, constant);
        }
        if let syntax::Expr::Field(field) = right
            && !op.is_regex()
            && let Some(constant) = self.constant(left)?
        {
            return self.test(field, op.mirrored(), constant);
        }
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        if let (Expr::Constant(a), Expr::Constant(b)) = (&left, &right) {
            let holds =
                if op.is_regex() { matches_constant(op, a, b)? } else { arithmetic::compare(op, a, b) };
            return Ok(Expr::Constant(Literal::Bool(holds)));
        }
        // A computed value compared with a regular expression or nil is never so: it has another type.
        if op.is_regex() || matches!(right, Expr::Constant(Literal::Nil)) {
            return Ok(Expr::Constant(Literal::Bool(false)));
        }
        Ok(Expr::Binary(BinaryOp::Compare(op), Box::new([left, right])))
    }

    /// The value of an expression without fields.
    fn constant(&mut self, it: &syntax::Expr) -> Result<Option<Literal>> {
        if !is_constant(it) {
            return Ok(None);
        }
        Ok(match self.expression(it)? {
            Expr::Constant(literal) => Some(literal),
            _ => None,
        })
    }

    /// `field op constant`.
    fn test(&mut self, field: &Field, op: Compare, constant: Literal) -> Result<Expr> {
        let value = match constant {
            Literal::Nil if op == Compare::Ne => return Ok(Expr::Exists(self.all_of(field))),
            Literal::Nil => {
                let id = self.all_of(field);
                if let Some(source) = self.sources.get_mut(id) {
                    source.shows_nil = true;
                }
                return Ok(Expr::Missing(id));
            }
            Literal::String(pattern) if op.is_regex() => Matcher::Regex(Arc::new(regex(&pattern)?)),
            literal => Matcher::Literal(literal),
        };
        let condition = Condition { op, value };
        Ok(Expr::Test(self.some_of(field, condition.clone()), condition))
    }

    /// A field of which every value is seen.
    fn all_of(&mut self, field: &Field) -> FieldId {
        let id = self.find(field);
        if let Some(source) = self.sources.get_mut(id) {
            source.visible = Visible::Always;
        }
        id
    }

    /// A field of which the values that satisfy a condition are seen.
    pub(crate) fn some_of(&mut self, field: &Field, condition: Condition) -> FieldId {
        let id = self.find(field);
        if let Some(Source { visible: Visible::Where(conditions), .. }) = self.sources.get_mut(id) {
            conditions.push(condition);
        }
        id
    }

    fn find(&mut self, field: &Field) -> FieldId {
        let parents = field.of_parent();
        let of_parent = parents.is_some();
        let field = parents.unwrap_or_else(|| field.clone());
        let is_known = |source: &Source| source.of_parent == of_parent && source.field == field;
        if let Some(id) = self.sources.iter().position(is_known) {
            return id;
        }
        let source = Source { field, of_parent, visible: Visible::Where(Vec::new()), shows_nil: false };
        self.sources.push(source);
        self.sources.len() - 1
    }
}

fn is_constant(it: &syntax::Expr) -> bool {
    match it {
        syntax::Expr::Literal(_) => true,
        syntax::Expr::Field(_) | syntax::Expr::OneOf(..) => false,
        syntax::Expr::Unary(_, inner) => is_constant(inner),
        syntax::Expr::Binary { left, right, .. } => is_constant(left) && is_constant(right),
    }
}

fn matches_constant(op: Compare, text: &Literal, pattern: &Literal) -> Result<bool> {
    match (text, pattern) {
        (Literal::String(text), Literal::String(pattern)) => {
            Ok(regex(pattern)?.is_match(text) == (op == Compare::Match))
        }
        _ => Ok(false),
    }
}

/// `a && b`, flat and without constants.
fn both(left: Expr, right: Expr) -> Expr {
    let mut all = Vec::new();
    for side in [left, right] {
        match side {
            Expr::Constant(Literal::Bool(true)) => {}
            Expr::Constant(Literal::Bool(false)) => return Expr::Constant(Literal::Bool(false)),
            Expr::All(inner) => all.extend(inner),
            other => all.push(other),
        }
    }
    match all.len() {
        0 => Expr::Constant(Literal::Bool(true)),
        _ => Expr::All(all),
    }
}

/// `a || b`, flat and without constants.
fn either(left: Expr, right: Expr) -> Expr {
    let mut any = Vec::new();
    for side in [left, right] {
        match side {
            Expr::Constant(Literal::Bool(false)) => {}
            Expr::Constant(Literal::Bool(true)) => return Expr::Constant(Literal::Bool(true)),
            Expr::Any(inner) => any.extend(inner),
            other => any.push(other),
        }
    }
    match any.len() {
        0 => Expr::Constant(Literal::Bool(false)),
        _ => Expr::Any(any),
    }
}
