//! Searches by tags, the language before TraceQL: logfmt pairs whose values are parts of texts, ignoring
//! case, and bounds on the trace's duration. They become plans like any other.

use super::duration::parse_duration;
use super::error::{Problem, QueryError};
use super::field::{Attribute, Field, Intrinsic, Scope};
use super::operator::{Compare, SpansetOp};
use super::plan::{Builder, Condition, Expr, Matcher, Order, Plan, SpansetPlan};
use super::value::Literal;

/// Most tags of a search.
const MAX_TAGS: usize = 100;

impl Plan {
    /// The plan of a search by tags: each `(name, value)` must occur on some span of the trace or its
    /// resource, as part of a text and ignoring case; durations bound the trace, in nanoseconds. Answers
    /// list no spans.
    ///
    /// # Errors
    /// More than 100 tags.
    pub fn legacy_tags(
        tags: &[(String, String)],
        min_duration: Option<u64>,
        max_duration: Option<u64>,
    ) -> Result<Self, QueryError> {
        if tags.len() > MAX_TAGS {
            let message = format!("search by more than {MAX_TAGS} tags ({} received)", tags.len());
            return Err(QueryError::new(Problem::TooLarge, message));
        }
        let mut builder = Builder::default();
        let mut filters: Vec<Expr> = Vec::new();
        for (name, value) in tags {
            let field = field(name);
            let condition = Condition { op: Compare::Match, value: Matcher::Contains(value.to_lowercase()) };
            filters.push(Expr::Test(builder.some_of(&field, condition.clone()), condition));
        }
        for (op, bound) in [(Compare::Ge, min_duration), (Compare::Le, max_duration)] {
            let Some(ns) = bound.filter(|&ns| ns > 0) else { continue };
            let literal = Literal::Duration(i64::try_from(ns).unwrap_or(i64::MAX));
            let condition = Condition { op, value: Matcher::Literal(literal) };
            let field = Field::Intrinsic(Intrinsic::TraceDuration);
            filters.push(Expr::Test(builder.some_of(&field, condition.clone()), condition));
        }
        let everything = SpansetPlan::Filter(Expr::Constant(Literal::Bool(true)));
        let spansets = filters
            .into_iter()
            .map(SpansetPlan::Filter)
            .reduce(|left, right| SpansetPlan::Binary(SpansetOp::And, Box::new([left, right])));
        Ok(Self {
            sources: builder.sources,
            spansets: spansets.unwrap_or(everything),
            stages: Vec::new(),
            lists_spans: false,
            orphans: false,
            order: Order::Newest,
        })
    }
}

/// Reads the `tags` parameter: `a=b "c d"="e f"`.
///
/// # Errors
/// A pair without `=`, or a quote that is not closed.
pub fn parse_tags(text: &str) -> Result<Vec<(String, String)>, QueryError> {
    let mut tags = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = part(rest, text)?;
        let wrong = || {
            QueryError::new(Problem::Syntax, format!("invalid tags: {name} without a value"))
                .expecting("pairs such as service.name=shop \"http.url\"=\"/a b\"")
        };
        let after = after.strip_prefix('=').ok_or_else(wrong)?;
        let (value, after) = part(after, text)?;
        tags.push((name, value));
        rest = after.trim_start();
    }
    Ok(tags)
}

/// Reads a bare or quoted part; the rest begins after it.
fn part<'a>(rest: &'a str, text: &str) -> Result<(String, &'a str), QueryError> {
    let Some(body) = rest.strip_prefix('"') else {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        return Ok((rest[..end].to_owned(), &rest[end..]));
    };
    let mut out = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &body[at + 1..])),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    Err(QueryError::new(Problem::Syntax, format!("invalid tags: quote not closed in {text}")))
}

/// Reads a bound such as `minDuration`: a Go duration, in nanoseconds.
#[must_use]
pub fn parse_bound(text: &str) -> Option<u64> {
    parse_duration(text).and_then(|ns| u64::try_from(ns).ok())
}

/// What a tag's name means: a few name columns, all others are attributes.
fn field(name: &str) -> Field {
    match name {
        "name" => Field::Intrinsic(Intrinsic::Name),
        "status.code" | "status" => Field::Intrinsic(Intrinsic::Status),
        "root.name" => Field::Intrinsic(Intrinsic::RootName),
        "root.service.name" => Field::Intrinsic(Intrinsic::RootService),
        "service.name" => Field::Attribute(Attribute::new(Scope::Resource, name)),
        _ => Field::Attribute(Attribute::new(Scope::Any, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_pairs_in_which_either_side_may_be_quoted() {
        let pairs = parse_tags(r#"service.name=shop  "http url"="/a \"b\"" x="#).unwrap();
        let expected = [("service.name", "shop"), ("http url", "/a \"b\""), ("x", "")];
        assert!(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected));
        assert!(parse_tags("lonely").is_err());
        assert!(parse_tags("a=\"b").is_err());
    }

    #[test]
    fn each_tag_may_be_on_another_span_and_the_answer_lists_none() {
        let tags = parse_tags("a=1 b=2").unwrap();
        let plan = Plan::legacy_tags(&tags, Some(5), None).unwrap();
        assert!(!plan.lists_spans);
        assert!(matches!(plan.spansets, SpansetPlan::Binary(SpansetOp::And, _)));
        assert_eq!(plan.sources.len(), 3);
    }
}
