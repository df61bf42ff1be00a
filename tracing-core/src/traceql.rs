//! The TraceQL language: text to syntax tree, syntax tree to plan, and back to text.
//!
//! The whole grammar of Tempo 3.0 is read and checked here; what a [`Plan`] cannot answer yet is refused by
//! [`Plan::search`] with an error that says so. Pure, and without knowledge of tables or blocks: how a plan is
//! held against spans stands in `table::evaluate`.

pub(crate) mod arithmetic;
mod display;
mod duration;
mod error;
mod field;
mod hints;
mod legacy;
mod lexer;
mod operator;
mod parser;
mod places;
mod plan;
mod regex;
mod strict;
mod strings;
mod suggest;
pub mod syntax;
#[cfg(test)]
mod tests;
mod validate;
mod value;

pub use duration::{parse_duration, write_duration};
pub use error::{Problem, QueryError};
pub use field::{Attribute, Field, Intrinsic, Scope};
pub use legacy::{parse_bound, parse_tags};
pub use operator::{BinaryOp, Compare, Keep, Relation, SpansetOp, UnaryOp};
pub use plan::{
    Condition, Expr, FieldId, Matcher, Order, Plan, SKIP_HINT, ScalarPlan, Source, SpansetPlan, StagePlan,
    Visible,
};
pub use syntax::Query;
pub use value::{Kind, Literal, Status, Type};

/// Longest query read, in bytes; Tempo's default for `max_query_expression_size_bytes`.
pub const MAX_QUERY_BYTES: usize = 128 * 1024;

/// Reads and checks a query.
///
/// # Errors
/// A [`QueryError`] that names the position, what was expected there, and, where one can be told, a query
/// that would have been valid.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    read(text).map(|parsed| parsed.query)
}

/// As [`parse`], and refuses what Tempo refuses though it could be answered: operators between a pipeline in
/// parentheses and spansets without them (`({ … } | count() > 3) && { … }`), and comparisons of scalars other than an
/// aggregate with a value. docs/traceql.md lists them all.
///
/// # Errors
/// As [`parse`].
pub fn parse_strict(text: &str) -> Result<Query, QueryError> {
    let parser::Parsed { query, beyond_tempo, .. } = read(text)?;
    beyond_tempo.or_else(|| strict::refusal(&query)).map_or(Ok(query), Err)
}

fn read(text: &str) -> Result<parser::Parsed, QueryError> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(QueryError::too_long(text.len()));
    }
    let parsed = checked(text);
    parsed.map_err(|error| error.with_suggestion(suggest::valid_form(text)))
}

/// Reads and checks a query, without a suggestion where it is none.
fn checked(text: &str) -> Result<parser::Parsed, QueryError> {
    let parsed = parser::parse(text)?;
    validate::check(&parsed.query, text, &parsed.places)?;
    Ok(parsed)
}
