//! A syntax tree as text that parses to the same tree: parentheses stand only where they must.

use std::fmt::{self, Display, Formatter};

use super::operator::{BinaryOp, UnaryOp};
use super::syntax::{
    Expr, Function, FunctionKind, Hint, Metrics, Pipeline, Query, Root, Scalar, SecondStage, Spansets, Stage,
};

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Pipeline(pipeline) => pipeline.fmt(f)?,
            Root::Metrics(metrics) => metrics.fmt(f)?,
        }
        if self.hints.is_empty() {
            return Ok(());
        }
        f.write_str(" with (")?;
        list(f, &self.hints)?;
        f.write_str(")")
    }
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, stage) in self.stages.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            stage.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spansets(spansets) => spansets.fmt(f),
            Self::ScalarFilter { left, op, right } => write!(f, "{left} {op} {right}"),
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::By(of) => write!(f, "by({of})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => {
                f.write_str("select(")?;
                list(f, fields)?;
                f.write_str(")")
            }
        }
    }
}

impl Spansets {
    /// The level at which it binds; operands of a looser level need parentheses.
    fn level(&self) -> u8 {
        match self {
            Self::Filter(_) | Self::Pipeline(_) | Self::Not(_) => u8::MAX,
            Self::Binary { op, .. } => op.level(),
        }
    }
}

impl Display for Spansets {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(None) => f.write_str("{ }"),
            Self::Filter(Some(expr)) => write!(f, "{{ {expr} }}"),
            Self::Pipeline(pipeline) => write!(f, "({pipeline})"),
            Self::Not(inner) => {
                f.write_str("!")?;
                enclosed(f, inner, inner.level() < u8::MAX)
            }
            Self::Binary { op, left, right } => {
                enclosed(f, left, left.level() < op.level())?;
                write!(f, " {op} ")?;
                enclosed(f, right, right.level() <= op.level())
            }
        }
    }
}

impl Expr {
    fn level(&self) -> u8 {
        match self {
            Self::Literal(_) | Self::Field(_) | Self::Unary(UnaryOp::Neg, _) | Self::OneOf(..) => u8::MAX,
            Self::Unary(UnaryOp::Not, _) => 5,
            Self::Binary { op, .. } => op.level(),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Field(field) => field.fmt(f),
            Self::Unary(UnaryOp::Neg, inner) => {
                f.write_str("-")?;
                enclosed(f, inner, inner.level() < u8::MAX)
            }
            Self::Unary(UnaryOp::Not, inner) => {
                f.write_str("!")?;
                enclosed(f, inner, inner.level() < 5)
            }
            Self::Binary { .. } => chain(self, f),
            Self::OneOf(scope, inner) => write!(f, "{}({inner})", scope.as_str()),
        }
    }
}

/// Writes a chain of operators in a loop, since it is as deep as it is long.
fn chain(it: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    let mut first = it;
    let mut links = Vec::new();
    while let Expr::Binary { op, left, right } = first {
        links.push((*op, right));
        first = left;
        let loose = left.level() < op.level() || *op == BinaryOp::Pow && left.level() == op.level();
        if loose {
            break;
        }
    }
    let inner = links.last().map_or(0, |(op, _)| op.level());
    let group = matches!(first, Expr::Binary { .. } | Expr::Unary(UnaryOp::Not, _));
    let at_pow = links.last().is_some_and(|(op, _)| *op == BinaryOp::Pow);
    enclosed(f, first, group && (first.level() < inner || at_pow && first.level() == inner))?;
    for (op, right) in links.into_iter().rev() {
        write!(f, " {op} ")?;
        let loose = right.level() < op.level() || op != BinaryOp::Pow && right.level() == op.level();
        enclosed(f, right, loose)?;
    }
    Ok(())
}

impl Scalar {
    fn level(&self) -> u8 {
        match self {
            Self::Literal(_) | Self::Aggregate(..) | Self::Pipeline(_) => u8::MAX,
            Self::Binary { op, .. } => op.level(),
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Aggregate(aggregate, None) => write!(f, "{}()", aggregate.as_str()),
            Self::Aggregate(aggregate, Some(of)) => write!(f, "{}({of})", aggregate.as_str()),
            Self::Pipeline(pipeline) => write!(f, "({pipeline})"),
            Self::Binary { op, left, right } => {
                let to_the_right = *op == BinaryOp::Pow;
                let level = |side: &Self| side.level();
                enclosed(f, left, level(left) < op.level() || to_the_right && level(left) == op.level())?;
                write!(f, " {op} ")?;
                enclosed(f, right, level(right) < op.level() || !to_the_right && level(right) == op.level())
            }
        }
    }
}

impl Display for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Query { spans, function, second } => {
                write!(f, "{spans} | {function}")?;
                second.iter().try_for_each(|stage| write!(f, " | {stage}"))
            }
            Self::Binary { op, left, right } => {
                enclosed(f, left, !matches!(**left, Self::Number(_)))?;
                write!(f, " {op} ")?;
                enclosed(f, right, !matches!(**right, Self::Number(_)))
            }
        }
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.kind.as_str())?;
        if let Some(selection) = self.selection.as_ref().filter(|_| self.kind == FunctionKind::Compare) {
            selection.fmt(f)?;
        }
        if let Some(of) = &self.of {
            of.fmt(f)?;
        }
        self.numbers.iter().try_for_each(|number| write!(f, ", {number}"))?;
        f.write_str(")")?;
        if self.by.is_empty() {
            return Ok(());
        }
        f.write_str(" by(")?;
        list(f, &self.by)?;
        f.write_str(")")
    }
}

impl Display for SecondStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopK(count) => write!(f, "topk({count})"),
            Self::BottomK(count) => write!(f, "bottomk({count})"),
            Self::Filter(op, value) => write!(f, "{op} {value}"),
        }
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

fn enclosed(f: &mut Formatter<'_>, inner: &impl Display, parentheses: bool) -> fmt::Result {
    if parentheses { write!(f, "({inner})") } else { inner.fmt(f) }
}
