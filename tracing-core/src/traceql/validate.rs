//! Whether a query makes sense: types, nil, regular expressions, arguments. The rules are Tempo's.

use regex::Regex;

use super::error::{Problem, QueryError};
use super::field::{Attribute, Field, Intrinsic, Scope};
use super::hints::Hints;
use super::operator::{BinaryOp, Compare, UnaryOp};
use super::places::{Node, Places};
use super::regex::whole_match;
use super::syntax::{
    Aggregate, Expr, Function, FunctionKind, Link, Metrics, Pipeline, Query, Root, Scalar, SecondStage,
    Spansets, Stage,
};
use super::value::{Literal, Type};

type Result<'q, T> = std::result::Result<T, Refusal<'q>>;

/// Why a query makes no sense, and the part of it that does not, where it is one that has a place.
struct Refusal<'q> {
    error: QueryError,
    at: Option<Node<'q>>,
}

impl From<QueryError> for Refusal<'_> {
    fn from(error: QueryError) -> Self {
        Self { error, at: None }
    }
}

impl<'q> Refusal<'q> {
    /// The innermost part that is named counts.
    fn at(mut self, it: Node<'q>) -> Self {
        self.at.get_or_insert(it);
        self
    }

    fn expecting(mut self, expected: &str) -> Self {
        self.error = self.error.expecting(expected);
        self
    }
}

/// Checks a query, which was read from `text` with the places of its parts.
pub(crate) fn check(query: &Query, text: &str, places: &Places) -> std::result::Result<(), QueryError> {
    let checked = match &query.root {
        Root::Pipeline(stages) => pipeline(stages),
        Root::Metrics(series) => metrics(series),
    };
    checked.map_err(|Refusal { error, at }| match at.and_then(|at| places.of(query, at)) {
        Some(span) => error.placed(text, span),
        None => error,
    })?;
    Hints::read(&query.hints).map(drop)
}

/// Compiles a regular expression that must match the whole text, in which a dot matches any character.
pub(crate) fn regex(pattern: &str) -> std::result::Result<Regex, QueryError> {
    whole_match(pattern).map_err(|why| QueryError::new(Problem::Invalid, format!("invalid regex: {why}")))
}

/// `resource.service.name`, which every block stores as a column of its own and which is never nil.
pub(crate) fn is_service_name(field: &Field) -> bool {
    matches!(field, Field::Attribute(Attribute { scope: Scope::Resource, name, .. }) if name == "service.name")
}

fn invalid<'q>(message: impl Into<String>) -> Refusal<'q> {
    QueryError::new(Problem::Invalid, message).into()
}

fn pipeline(pipeline: &Pipeline) -> Result<'_, ()> {
    pipeline.stages.iter().try_for_each(stage)
}

fn stage<'q>(stage: &'q Stage) -> Result<'q, ()> {
    match stage {
        Stage::Spansets(spansets) => self::spansets(spansets),
        Stage::ScalarFilter { left, op, right } => {
            let types = (scalar(left)?, scalar(right)?);
            let text = || format!("{left} {op} {right}");
            let here = |refusal: Refusal<'q>| refusal.at(Node::Filter(stage));
            if !types.0.matches(types.1) {
                let message = format!("binary operations must operate on the same type: {}", text());
                return Err(here(invalid(message)).expecting("a number or a duration on both sides"));
            }
            if !types.0.is_numeric() && types.0 != Type::Attribute {
                let message = format!("illegal operation for the given types: {}", text());
                return Err(here(invalid(message)).expecting("a number or a duration on both sides"));
            }
            Ok(())
        }
        Stage::Scalar(of) => scalar(of).map(drop),
        Stage::By(of) => {
            expression(of)?;
            if looks_at_span(of) {
                return Ok(());
            }
            let message = format!("grouping field expressions must reference the span: {of}");
            Err(invalid(message).at(Node::Expr(of)).expecting("an attribute or an intrinsic among it"))
        }
        Stage::Coalesce => Ok(()),
        Stage::Select(fields) => fields.iter().try_for_each(field),
    }
}

fn spansets(it: &Spansets) -> Result<'_, ()> {
    match it {
        Spansets::Filter(None) => Ok(()),
        Spansets::Filter(Some(of)) => match expression(of)? {
            Type::Bool | Type::Attribute => Ok(()),
            _ => Err(invalid(format!("span filter field expressions must resolve to a boolean: {it}"))
                .at(Node::Expr(of))
                .expecting("a comparison, such as name = \"x\"")),
        },
        Spansets::Binary { left, right, .. } => {
            spansets(left)?;
            spansets(right)
        }
        Spansets::Pipeline(inner) => pipeline(inner),
        Spansets::Not(inner) => spansets(inner),
    }
}

fn field(it: &Field) -> Result<'_, ()> {
    match it {
        Field::Intrinsic(Intrinsic::Parent) => {
            Err(QueryError::new(Problem::NotAnswered, "parent not yet supported").into())
        }
        _ => Ok(()),
    }
}

/// The type of an expression that makes sense. Left sides are walked in a loop, since a chain of operators is
/// as deep as it is long.
fn expression(it: &Expr) -> Result<'_, Type> {
    let (first, chain) = it.left_chain();
    let mut kind = operand(first)?;
    for link in chain {
        kind = binary(&link, kind, expression(link.right)?)?;
    }
    Ok(kind)
}

fn operand(it: &Expr) -> Result<'_, Type> {
    match it {
        Expr::Literal(literal) => Ok(literal.kind()),
        Expr::Field(of) => match field(of) {
            Ok(()) => Ok(of.kind()),
            Err(refusal) => Err(refusal.at(Node::Expr(it))),
        },
        Expr::Binary { .. } => expression(it),
        Expr::OneOf(_, inner) => {
            let refused = |message: String, expected: &str| {
                Err(invalid(message).at(Node::Expr(inner)).expecting(expected))
            };
            if !matches!(expression(inner)?, Type::Bool | Type::Attribute) {
                let expected = "a comparison, such as event:name = \"x\"";
                return refused(format!("expression must resolve to a boolean: {it}"), expected);
            }
            if has_one_of(inner) {
                let expected = "none of them within the parentheses of another";
                return refused(format!("event(…) and link(…) cannot stand in each other: {it}"), expected);
            }
            Ok(Type::Bool)
        }
        Expr::Unary(op, inner) => {
            let kind = expression(inner)?;
            let fits = match op {
                UnaryOp::Neg => kind.is_numeric(),
                UnaryOp::Not => kind == Type::Bool,
            };
            if fits || kind == Type::Attribute {
                return Ok(kind);
            }
            let expected = match op {
                UnaryOp::Neg => "a number after the minus",
                UnaryOp::Not => "a boolean after the !; parentheses around a comparison",
            };
            let message = format!("illegal operation for the given type: {it}");
            Err(invalid(message).at(Node::Expr(it)).expecting(expected))
        }
    }
}

fn binary<'q>(link: &Link<'q>, a: Type, b: Type) -> Result<'q, Type> {
    let Link { it, op, left, right } = *link;
    binary_types(it, op, left, right, a, b).map_err(|refusal| refusal.at(Node::Expr(it)))
}

fn binary_types<'q>(
    it: &'q Expr,
    op: BinaryOp,
    left: &'q Expr,
    right: &'q Expr,
    a: Type,
    b: Type,
) -> Result<'q, Type> {
    if a == Type::Nil || b == Type::Nil {
        return nil(it, op, left, right);
    }
    if !a.matches(b) {
        let error = invalid(format!("binary operations must operate on the same type: {it}"));
        return Err(error.expecting(hint(a, b)));
    }
    if let Some(kind) = [a, b].into_iter().find(|kind| !operates_on(op, *kind)) {
        let message = format!("illegal operation for the given types: {it}");
        return Err(invalid(message).expecting(operators(kind)));
    }
    if let BinaryOp::Compare(compare) = op
        && compare.is_regex()
    {
        let Expr::Literal(Literal::String(pattern)) = right else {
            return Err(invalid(format!("illegal operation for the given types: {it}"))
                .expecting("a string on the right of =~ and !~"));
        };
        regex(pattern).map_err(|error| Refusal::from(error).at(Node::Expr(right)))?;
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
fn nil<'q>(it: &'q Expr, op: BinaryOp, left: &'q Expr, right: &'q Expr) -> Result<'q, Type> {
    if !matches!(op, BinaryOp::Compare(Compare::Eq | Compare::Ne)) {
        return Err(
            invalid(format!("illegal operation for the given types: {it}")).expecting("= nil or != nil")
        );
    }
    if op == BinaryOp::Compare(Compare::Eq) {
        for side in [left, right] {
            match side {
                Expr::Field(of @ (Field::Intrinsic(_) | Field::OfParent(_))) => {
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
fn hint(a: Type, b: Type) -> &'static str {
    let named = [a, b].into_iter().find_map(|kind| match kind {
        Type::Status => Some("error, ok or unset, without quotes"),
        Type::Kind => Some("server, client, producer, consumer, internal or unspecified, without quotes"),
        Type::Duration => Some("a duration without quotes, such as 10ms or 1.5s"),
        Type::Bool => Some("true or false, or a comparison in parentheses"),
        _ => None,
    });
    named.unwrap_or("two texts, or two numbers")
}

/// What can be done with values of a type.
fn operators(kind: Type) -> &'static str {
    match kind {
        Type::Bool => "&&, ||, = or != between booleans",
        Type::String => "= != =~ !~ < <= > >= between texts",
        Type::Nil | Type::Status | Type::Kind => "= or !=",
        Type::Int | Type::Float | Type::Duration => "= != < <= > >= or arithmetic between numbers",
        Type::Attribute => "an operator that fits the attribute",
    }
}

fn has_one_of(it: &Expr) -> bool {
    match it {
        Expr::Literal(_) | Expr::Field(_) => false,
        Expr::OneOf(..) => true,
        Expr::Unary(_, inner) => has_one_of(inner),
        Expr::Binary { left, right, .. } => has_one_of(left) || has_one_of(right),
    }
}

/// Whether an expression depends on the span.
fn looks_at_span(it: &Expr) -> bool {
    match it {
        Expr::Literal(_) => false,
        Expr::Field(_) | Expr::OneOf(..) => true,
        Expr::Unary(_, inner) => looks_at_span(inner),
        Expr::Binary { left, right, .. } => looks_at_span(left) || looks_at_span(right),
    }
}

fn scalar(it: &Scalar) -> Result<'_, Type> {
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
            let wrong = |must: &str, expected: &str| {
                let message = format!("aggregate field expressions must {must}: {it}");
                Err(invalid(message).at(Node::Expr(of)).expecting(expected))
            };
            if !kind.is_numeric() && kind != Type::Attribute {
                return wrong("resolve to a number type", "a number or a duration of the span");
            }
            if !looks_at_span(of) {
                return wrong("reference the span", "an attribute or an intrinsic among it");
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

fn metrics(it: &Metrics) -> Result<'_, ()> {
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

fn function(it: &Function) -> Result<'_, ()> {
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

fn quantiles(it: &Function) -> Result<'_, ()> {
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

fn compare(it: &Function) -> Result<'_, ()> {
    it.selection.iter().try_for_each(spansets)?;
    let whole = it.numbers.iter().all(|number| matches!(number, Literal::Int(value) if *value >= 0));
    if !whole || !matches!(it.numbers.len(), 0 | 1 | 3) {
        return Err(invalid(format!("illegal arguments of compare: {it}")).expecting(
            "{ … }, and after it nothing, a count, or a count with start and end in nanoseconds",
        ));
    }
    Ok(())
}

fn second_stage(kind: FunctionKind, it: &SecondStage) -> Result<'_, ()> {
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
