//! Whether a query makes sense: types, nil, regular expressions, arguments. The rules are Tempo's.

use regex::{Regex, RegexBuilder};

use super::error::{Problem, QueryError};
use super::field::{Attribute, Field, Intrinsic, Scope};
use super::operator::{BinaryOp, Compare, UnaryOp};
use super::syntax::{
    Aggregate, Expr, Function, FunctionKind, Link, Metrics, Pipeline, Query, Root, Scalar, SecondStage,
    Spansets, Stage,
};
use super::value::{Literal, Type};

/// Largest compiled regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

type Result<T> = std::result::Result<T, QueryError>;

/// Checks a query.
pub(crate) fn check(query: &Query) -> Result<()> {
    match &query.root {
        Root::Pipeline(stages) => pipeline(stages),
        Root::Metrics(series) => metrics(series),
    }
}

/// Compiles a regular expression that must match the whole text, in which a dot matches any character.
pub(crate) fn regex(pattern: &str) -> Result<Regex> {
    let built = RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build();
    built.map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(limit) => format!("compiles to more than {limit} bytes"),
            other => other.to_string(),
        };
        invalid(format!("invalid regex: {why}"))
    })
}

/// `resource.service.name`, which every block stores as a column of its own and which is never nil.
pub(crate) fn is_service_name(field: &Field) -> bool {
    matches!(field, Field::Attribute(Attribute { scope: Scope::Resource, name, .. }) if name == "service.name")
}

fn invalid(message: impl Into<String>) -> QueryError {
    QueryError::new(Problem::Invalid, message)
}

fn pipeline(pipeline: &Pipeline) -> Result<()> {
    pipeline.stages.iter().try_for_each(stage)
}

fn stage(stage: &Stage) -> Result<()> {
    match stage {
        Stage::Spansets(spansets) => self::spansets(spansets),
        Stage::ScalarFilter { left, op, right } => {
            let types = (scalar(left)?, scalar(right)?);
            let text = || format!("{left} {op} {right}");
            if !types.0.matches(types.1) {
                return Err(invalid(format!("binary operations must operate on the same type: {}", text())));
            }
            if !types.0.is_numeric() && types.0 != Type::Attribute {
                return Err(invalid(format!("illegal operation for the given types: {}", text())));
            }
            Ok(())
        }
        Stage::Scalar(of) => scalar(of).map(drop),
        Stage::By(of) => {
            expression(of)?;
            if looks_at_span(of) {
                return Ok(());
            }
            Err(invalid(format!("grouping field expressions must reference the span: {of}")))
        }
        Stage::Coalesce => Ok(()),
        Stage::Select(fields) => fields.iter().try_for_each(field),
    }
}

fn spansets(it: &Spansets) -> Result<()> {
    match it {
        Spansets::Filter(None) => Ok(()),
        Spansets::Filter(Some(of)) => match expression(of)? {
            Type::Bool | Type::Attribute => Ok(()),
            _ => Err(invalid(format!("span filter field expressions must resolve to a boolean: {it}"))
                .expecting("a comparison, such as name = \"x\"")),
        },
        Spansets::Binary { left, right, .. } => {
            spansets(left)?;
            spansets(right)
        }
        Spansets::Pipeline(inner) => pipeline(inner),
    }
}

fn field(it: &Field) -> Result<()> {
    match it {
        Field::Attribute(Attribute { of_parent: true, .. }) | Field::Intrinsic(Intrinsic::Parent) => {
            Err(QueryError::new(Problem::NotAnswered, "parent not yet supported"))
        }
        _ => Ok(()),
    }
}

/// The type of an expression that makes sense. Left sides are walked in a loop, since a chain of operators is
/// as deep as it is long.
fn expression(it: &Expr) -> Result<Type> {
    let (first, chain) = it.left_chain();
    let mut kind = operand(first)?;
    for link in chain {
        kind = binary(&link, kind, expression(link.right)?)?;
    }
    Ok(kind)
}

fn operand(it: &Expr) -> Result<Type> {
    match it {
        Expr::Literal(literal) => Ok(literal.kind()),
        Expr::Field(of) => field(of).map(|()| of.kind()),
        Expr::Binary { .. } => expression(it),
        Expr::Unary(op, inner) => {
            let kind = expression(inner)?;
            let fits = match op {
                UnaryOp::Neg => kind.is_numeric(),
                UnaryOp::Not => kind == Type::Bool,
            };
            if fits || kind == Type::Attribute {
                return Ok(kind);
            }
            Err(invalid(format!("illegal operation for the given type: {it}")))
        }
    }
}

fn binary(link: &Link<'_>, a: Type, b: Type) -> Result<Type> {
    let Link { it, op, left, right } = *link;
    if a == Type::Nil || b == Type::Nil {
        return nil(it, op, left, right);
    }
    if !a.matches(b) {
        let error = invalid(format!("binary operations must operate on the same type: {it}"));
        return Err(match hint(a, b) {
            Some(expected) => error.expecting(expected),
            None => error,
        });
    }
    if !operates_on(op, a) || !operates_on(op, b) {
        return Err(invalid(format!("illegal operation for the given types: {it}")));
    }
    if let BinaryOp::Compare(compare) = op
        && compare.is_regex()
    {
        let Expr::Literal(Literal::String(pattern)) = right else {
            return Err(invalid(format!("illegal operation for the given types: {it}"))
                .expecting("a string on the right of =~ and !~"));
        };
        regex(pattern)?;
    }
    Ok(match op {
        BinaryOp::And | BinaryOp::Or | BinaryOp::Compare(_) => Type::Bool,
        _ if a == Type::Attribute || b == Type::Attribute => Type::Attribute,
        _ if a == Type::Duration || b == Type::Duration => Type::Duration,
        _ if a == Type::Float || b == Type::Float => Type::Float,
        _ => Type::Int,
    })
}

/// `x = nil` and `x != nil`: nil goes with these two operators alone, and some fields always are.
fn nil(it: &Expr, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Type> {
    if !matches!(op, BinaryOp::Compare(Compare::Eq | Compare::Ne)) {
        return Err(
            invalid(format!("illegal operation for the given types: {it}")).expecting("= nil or != nil")
        );
    }
    if op == BinaryOp::Compare(Compare::Eq) {
        for side in [left, right] {
            match side {
                Expr::Field(of @ Field::Intrinsic(_)) => {
                    return Err(invalid(format!("{of}=nil is not valid because intrinsics cannot be nil")));
                }
                Expr::Field(of) if is_service_name(of) => {
                    return Err(invalid(format!(
                        "{of}=nil is not valid because resource.service.name cannot be nil"
                    )));
                }
                _ => {}
            }
        }
    }
    Ok(Type::Bool)
}

fn operates_on(op: BinaryOp, kind: Type) -> bool {
    match kind {
        Type::Attribute => true,
        Type::Bool => {
            matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Compare(Compare::Eq | Compare::Ne))
        }
        Type::Int | Type::Float | Type::Duration => match op {
            BinaryOp::Compare(compare) => !compare.is_regex(),
            other => other.is_arithmetic(),
        },
        Type::String => matches!(op, BinaryOp::Compare(_)),
        Type::Nil | Type::Status | Type::Kind => {
            matches!(op, BinaryOp::Compare(Compare::Eq | Compare::Ne))
        }
    }
}

/// What a value that is held against the wrong type would have to be.
fn hint(a: Type, b: Type) -> Option<&'static str> {
    [a, b].into_iter().find_map(|kind| match kind {
        Type::Status => Some("error, ok or unset, without quotes"),
        Type::Kind => Some("server, client, producer, consumer, internal or unspecified, without quotes"),
        Type::Duration => Some("a duration without quotes, such as 10ms or 1.5s"),
        _ => None,
    })
}

/// Whether an expression depends on the span.
fn looks_at_span(it: &Expr) -> bool {
    match it {
        Expr::Literal(_) => false,
        Expr::Field(_) => true,
        Expr::Unary(_, inner) => looks_at_span(inner),
        Expr::Binary { left, right, .. } => looks_at_span(left) || looks_at_span(right),
    }
}

fn scalar(it: &Scalar) -> Result<Type> {
    match it {
        Scalar::Literal(literal) => Ok(literal.kind()),
        Scalar::Aggregate(Aggregate::Count, None) => Ok(Type::Int),
        Scalar::Aggregate(Aggregate::Count, Some(_)) => {
            Err(invalid(format!("illegal operation for the given types: {it}")).expecting("count()"))
        }
        Scalar::Aggregate(_, None) => Err(invalid(format!("aggregate without an argument: {it}"))
            .expecting("a number of the span, such as duration")),
        Scalar::Aggregate(_, Some(of)) => {
            let kind = expression(of)?;
            if !kind.is_numeric() && kind != Type::Attribute {
                return Err(invalid(format!(
                    "aggregate field expressions must resolve to a number type: {it}"
                )));
            }
            if !looks_at_span(of) {
                return Err(invalid(format!("aggregate field expressions must reference the span: {it}")));
            }
            Ok(kind)
        }
        Scalar::Pipeline(inner) => {
            pipeline(inner)?;
            match inner.stages.last() {
                Some(Stage::Scalar(last)) => scalar(last),
                _ => Err(invalid(format!("pipeline does not end in a scalar: {it}"))),
            }
        }
        Scalar::Binary { left, right, .. } => {
            let (a, b) = (scalar(left)?, scalar(right)?);
            if !a.matches(b) {
                return Err(invalid(format!("binary operations must operate on the same type: {it}")));
            }
            if [a, b].into_iter().any(|kind| !kind.is_numeric() && kind != Type::Attribute) {
                return Err(invalid(format!("illegal operation for the given types: {it}")));
            }
            Ok(if a == Type::Int { b } else { a })
        }
    }
}

fn metrics(it: &Metrics) -> Result<()> {
    match it {
        Metrics::Number(literal) if literal.kind().is_numeric() => Ok(()),
        Metrics::Number(literal) => Err(invalid(format!("illegal operation for the given types: {literal}"))),
        Metrics::Binary { left, right, .. } => {
            metrics(left)?;
            metrics(right)
        }
        Metrics::Query { spans, function, second } => {
            pipeline(spans)?;
            self::function(function)?;
            second.iter().try_for_each(|stage| second_stage(function.kind, stage))
        }
    }
}

fn function(it: &Function) -> Result<()> {
    it.of.iter().chain(&it.by).try_for_each(field)?;
    let kind = it.of.as_ref().map(Field::kind);
    if kind.is_some_and(|kind| !kind.is_numeric() && kind != Type::Attribute) {
        return Err(invalid(format!("aggregate field expressions must resolve to a number type: {it}")));
    }
    let most = match it.kind {
        FunctionKind::QuantileOverTime | FunctionKind::HistogramOverTime => 4,
        FunctionKind::Compare => 0,
        _ => 5,
    };
    if it.by.len() > most {
        return Err(invalid(format!("metrics group by {} values not yet supported", it.by.len())));
    }
    match it.kind {
        FunctionKind::QuantileOverTime => quantiles(it),
        FunctionKind::Compare => compare(it),
        _ => Ok(()),
    }
}

fn quantiles(it: &Function) -> Result<()> {
    if it.numbers.is_empty() {
        return Err(invalid(format!("quantile_over_time without a quantile: {it}"))
            .expecting("one or more numbers from 0 to 1 after the field"));
    }
    for number in &it.numbers {
        let value = match number {
            Literal::Int(value) => *value as f64,
            Literal::Float(value) => *value,
            other => return Err(invalid(format!("quantile must be a number: {other}"))),
        };
        if !(0.0..=1.0).contains(&value) {
            return Err(invalid(format!("quantile must be between 0 and 1: {number}")));
        }
    }
    Ok(())
}

fn compare(it: &Function) -> Result<()> {
    it.selection.iter().try_for_each(spansets)?;
    let whole = it.numbers.iter().all(|number| matches!(number, Literal::Int(value) if *value >= 0));
    if !whole || !matches!(it.numbers.len(), 0 | 1 | 3) {
        return Err(invalid(format!("illegal arguments of compare: {it}")).expecting(
            "{ … }, and after it nothing, a count, or a count with start and end in nanoseconds",
        ));
    }
    Ok(())
}

fn second_stage(kind: FunctionKind, it: &SecondStage) -> Result<()> {
    if kind == FunctionKind::Compare {
        return Err(invalid("`compare()` cannot be used with second stage functions"));
    }
    match it {
        SecondStage::TopK(count) | SecondStage::BottomK(count) if *count <= 0 => {
            Err(invalid("limit must be greater than 0"))
        }
        SecondStage::Filter(_, value) if !value.kind().is_numeric() => {
            Err(invalid(format!("illegal operation for the given types: {it}")))
        }
        _ => Ok(()),
    }
}
