//! Spansets, scalars and the stages between `|`.
//!
//! What an opening parenthesis holds — spansets, a scalar, a pipeline, series — is known only at its end;
//! so operands are read as [`Term`]s and each operator asks its two sides what they are.

use super::{Parser, Result};
use crate::traceql::operator::{BinaryOp, SpansetOp};
use crate::traceql::syntax::{Aggregate, FunctionKind, Metrics, Pipeline, Scalar, Spansets, Stage};

/// A pipeline, or the series made of one.
pub(super) enum Piped {
    Pipeline(Pipeline),
    Metrics(Metrics),
}

/// An operand, or several with their operators.
enum Term {
    Spansets(Spansets, Shape),
    Scalar(Scalar),
    /// A comparison of scalars: a whole stage.
    Filter(Stage),
    Metrics(Metrics),
}

/// How spansets are written, which is what Tempo goes by when it joins them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `{ … }`, or several that are not all in parentheses.
    Bare,
    /// In parentheses.
    Wrapped,
    /// A pipeline in parentheses is among them.
    Piped,
}

const OPERAND: &str = "{ … }, a pipeline in parentheses, or an aggregate such as count()";

impl Parser<'_> {
    /// Reads stages up to what cannot be one.
    pub(super) fn piped(&mut self) -> Result<Piped> {
        let first = match self.named_stage()? {
            Some(stage) => stage,
            None => match self.term(0)? {
                Term::Metrics(metrics) => return Ok(Piped::Metrics(metrics)),
                Term::Spansets(spansets, _) => Stage::Spansets(spansets),
                Term::Scalar(scalar) => Stage::Scalar(scalar),
                Term::Filter(stage) => stage,
            },
        };
        let mut stages = vec![first];
        while self.is_pipe_after(&stages)? {
            self.at += 1;
            if let Some(kind) = self.word().and_then(FunctionKind::from_word) {
                let metrics = self.metrics_query(Pipeline { stages }, kind)?;
                return Ok(Piped::Metrics(metrics));
            }
            let stage = match self.named_stage()? {
                Some(stage) => stage,
                None => match self.term(0)? {
                    Term::Spansets(spansets, _) => Stage::Spansets(spansets),
                    Term::Filter(stage) => stage,
                    Term::Scalar(scalar) => Stage::Scalar(scalar),
                    Term::Metrics(_) => return Err(self.unexpected(OPERAND)),
                },
            };
            stages.push(stage);
        }
        Ok(Piped::Pipeline(Pipeline { stages }))
    }

    /// Whether another stage follows; a bare scalar must be the last.
    fn is_pipe_after(&mut self, stages: &[Stage]) -> Result<bool> {
        if self.sign() != Some("|") {
            return Ok(false);
        }
        if matches!(stages.last(), Some(Stage::Scalar(_))) {
            return Err(self.unexpected("a comparison such as > 2"));
        }
        self.count_stage()?;
        Ok(true)
    }

    /// Reads `by(…)`, `coalesce()` or `select(…)`, if it is one.
    fn named_stage(&mut self) -> Result<Option<Stage>> {
        let Some(word @ ("by" | "coalesce" | "select")) = self.word() else { return Ok(None) };
        self.at += 1;
        self.expect("(", "(")?;
        Ok(Some(match word {
            "by" => {
                let of = self.expression()?;
                self.expect(")", ")")?;
                Stage::By(of)
            }
            "coalesce" => {
                self.expect(")", ")")?;
                Stage::Coalesce
            }
            _ => Stage::Select(self.list(Self::field)?),
        }))
    }

    /// Reads a filter in braces; the opening one is next.
    pub(super) fn filter(&mut self) -> Result<Spansets> {
        self.expect("{", "{ … }")?;
        if self.eat("}") {
            return Ok(Spansets::Filter(None));
        }
        let expression = self.expression()?;
        self.expect("}", "an operator or }")?;
        Ok(Spansets::Filter(Some(expression)))
    }

    fn term(&mut self, level: u8) -> Result<Term> {
        self.deeper(|parser| {
            let first = parser.at;
            let mut left = parser.operand_term()?;
            while let Some(sign) = parser.sign() {
                let Some(bound) = binding(sign).filter(|&bound| bound >= level) else { break };
                parser.count_stage()?;
                let at = parser.at;
                parser.at += 1;
                let right = parser.term(if sign == "^" { bound } else { bound + 1 })?;
                if let (Some(Shape::Piped), Some(Shape::Bare)) | (Some(Shape::Bare), Some(Shape::Piped)) =
                    (left.shape(), right.shape())
                {
                    parser.goes_beyond_tempo(at, "parentheses around both sides, or around neither");
                }
                let Some(joined) = join(sign, left, right) else {
                    parser.at = at;
                    return Err(parser.unexpected("spansets on both sides, or scalars on both sides"));
                };
                if let Term::Filter(_) = joined {
                    let span = parser.since(first);
                    parser.places.filters.push(span);
                }
                left = joined;
            }
            Ok(left)
        })
    }

    /// Reads `!{ … }` or `!( … )`; the sign is next.
    fn none(&mut self) -> Result<Term> {
        self.goes_beyond_tempo(self.at, OPERAND);
        self.count_stage()?;
        self.at += 1;
        let operand = self.at;
        let Term::Spansets(inner, shape) = self.deeper(Self::operand_term)? else {
            self.at = operand;
            return Err(self.unexpected("{ … } or spansets in parentheses after the !"));
        };
        Ok(Term::Spansets(Spansets::Not(Box::new(inner)), shape))
    }

    fn operand_term(&mut self) -> Result<Term> {
        match self.sign() {
            Some("{") => return self.filter().map(|filter| Term::Spansets(filter, Shape::Bare)),
            Some("(") => {
                self.at += 1;
                let inner = self.deeper(Self::piped)?;
                self.expect(")", "an operator, | or )")?;
                return Ok(in_parentheses(inner));
            }
            Some("!") => return self.none(),
            _ => {}
        }
        if let Some(aggregate) = self.word().and_then(Aggregate::from_word).filter(|_| self.is_call()) {
            self.at += 2;
            let of = if self.eat(")") {
                None
            } else {
                let of = self.expression()?;
                self.expect(")", "an operator or )")?;
                Some(of)
            };
            return Ok(Term::Scalar(Scalar::Aggregate(aggregate, of)));
        }
        if self.is_call() {
            let word = self.word().unwrap_or_default();
            return Err(self.unknown_identifier(word, OPERAND));
        }
        let starts_value = self.sign() == Some("-") || self.peek_literal().is_some();
        if starts_value {
            return self.literal(OPERAND).map(|literal| Term::Scalar(Scalar::Literal(literal)));
        }
        Err(self.unexpected(OPERAND))
    }
}

/// The level at which a sign binds between terms.
fn binding(sign: &str) -> Option<u8> {
    SpansetOp::from_sign(sign)
        .map(SpansetOp::level)
        .or_else(|| BinaryOp::from_sign(sign).map(BinaryOp::level))
}

fn in_parentheses(inner: Piped) -> Term {
    let mut pipeline = match inner {
        Piped::Metrics(metrics) => return Term::Metrics(metrics),
        Piped::Pipeline(pipeline) => pipeline,
    };
    if pipeline.stages.len() == 1 {
        match pipeline.stages.pop() {
            Some(Stage::Spansets(spansets)) => {
                let shape = if has_pipeline(&spansets) { Shape::Piped } else { Shape::Wrapped };
                return Term::Spansets(spansets, shape);
            }
            Some(Stage::Scalar(scalar)) => return Term::Scalar(scalar),
            other => pipeline.stages.extend(other),
        }
    }
    match pipeline.stages.last() {
        Some(Stage::Scalar(_)) => Term::Scalar(Scalar::Pipeline(Box::new(pipeline))),
        _ => Term::Spansets(Spansets::Pipeline(Box::new(pipeline)), Shape::Piped),
    }
}

/// Whether a pipeline in parentheses is among the operands.
fn has_pipeline(mut spansets: &Spansets) -> bool {
    loop {
        match spansets {
            Spansets::Filter(_) => return false,
            Spansets::Pipeline(_) => return true,
            Spansets::Not(inner) => spansets = inner,
            Spansets::Binary { left, right, .. } => {
                if has_pipeline(right) {
                    return true;
                }
                spansets = left;
            }
        }
    }
}

impl Term {
    fn shape(&self) -> Option<Shape> {
        match self {
            Self::Spansets(_, shape) => Some(*shape),
            _ => None,
        }
    }
}

/// Two terms as the operands of a sign, where it can stand between them.
fn join(sign: &str, left: Term, right: Term) -> Option<Term> {
    let op = BinaryOp::from_sign(sign);
    let between_series =
        op.filter(|op| matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div));
    Some(match (left, right) {
        (Term::Spansets(left, a), Term::Spansets(right, b)) => {
            let op = SpansetOp::from_sign(sign)?;
            let shape = match (a, b) {
                (Shape::Piped, _) | (_, Shape::Piped) => Shape::Piped,
                (Shape::Wrapped, Shape::Wrapped) => Shape::Wrapped,
                _ => Shape::Bare,
            };
            Term::Spansets(Spansets::Binary { op, left: Box::new(left), right: Box::new(right) }, shape)
        }
        (Term::Scalar(left), Term::Scalar(right)) => match op? {
            op @ BinaryOp::Compare(compare) if !compare.is_regex() => {
                Term::Filter(Stage::ScalarFilter { left, op, right })
            }
            op if op.is_arithmetic() => {
                Term::Scalar(Scalar::Binary { op, left: Box::new(left), right: Box::new(right) })
            }
            _ => return None,
        },
        (Term::Metrics(left), Term::Metrics(right)) => series(between_series?, left, right),
        (Term::Metrics(left), Term::Scalar(Scalar::Literal(right))) => {
            series(between_series?, left, Metrics::Number(right))
        }
        (Term::Scalar(Scalar::Literal(left)), Term::Metrics(right)) => {
            series(between_series?, Metrics::Number(left), right)
        }
        _ => return None,
    })
}

fn series(op: BinaryOp, left: Metrics, right: Metrics) -> Term {
    Term::Metrics(Metrics::Binary { op, left: Box::new(left), right: Box::new(right) })
}
