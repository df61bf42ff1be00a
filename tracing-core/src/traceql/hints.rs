//! Hints of ours, which change what is answered. All others are ignored, as Tempo ignores those that it does not know.

use super::error::{Problem, QueryError};
use super::plan::Order;
use super::syntax::Hint;
use super::value::Literal;

const ORPHANS: &str = "orphans";
const ORDER: &str = "order_by";

/// What the hints of a query ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    /// Spans whose parent is missing count as roots.
    pub(crate) orphans: bool,
    /// Which traces come first.
    pub(crate) order: Order,
}

impl Hints {
    /// # Errors
    /// A hint of ours with a value that says nothing.
    pub(crate) fn read(written: &[Hint]) -> Result<Self, QueryError> {
        let mut hints = Self::default();
        for Hint { name, value } in written {
            match (name.as_str(), value) {
                (ORPHANS, Literal::Bool(orphans)) => hints.orphans = *orphans,
                (ORPHANS, _) => return Err(wrong(name, value, "true or false")),
                (ORDER, Literal::String(by)) if by == "duration" => hints.order = Order::Longest,
                (ORDER, _) => return Err(wrong(name, value, "\"duration\"")),
                _ => {}
            }
        }
        Ok(hints)
    }
}

/// How Tempo's rules refuse a hint, where it is one of ours.
pub(crate) fn refusal(written: &[Hint]) -> Option<QueryError> {
    let hint = written.iter().find(|hint| [ORPHANS, ORDER].contains(&hint.name.as_str()))?;
    let message = format!("hint {} not yet supported", hint.name);
    Some(QueryError::new(Problem::NotAnswered, message))
}

fn wrong(name: &str, value: &Literal, expected: &str) -> QueryError {
    QueryError::new(Problem::Invalid, format!("invalid hint: {name}={value}")).expecting(expected)
}
