//! What is wrong with a query, and where.

use std::fmt;
use std::ops::Range;

use super::MAX_QUERY_BYTES;

/// How much of a long line is shown on each side of the caret, in characters.
const EXCERPT: usize = 60;

/// A query that cannot be answered. `Display` is what a client is told: Tempo's own first line, below it
/// the place in the query with what was expected, and a query that would have been valid where one can be
/// told. All of these are the client's error (HTTP 400).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError(Box<Details>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Details {
    problem: Problem,
    message: String,
    place: Option<Place>,
    expected: Option<String>,
    suggestion: Option<String>,
}

/// Of what sort the error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The text is no TraceQL.
    Syntax,
    /// The text is TraceQL, and makes no sense.
    Invalid,
    /// The query is valid, and not answered by this version.
    NotAnswered,
    /// A limit is exceeded.
    TooLarge,
}

/// A position with the line it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    /// The part of the line that is shown.
    excerpt: String,
    /// Where the caret stands below it, and how wide, in characters.
    caret: Range<usize>,
}

impl QueryError {
    pub(crate) fn new(problem: Problem, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Details { problem, message, place: None, expected: None, suggestion: None }))
    }

    /// A syntax error at `span` of `text`: `what` is Tempo's wording without the position.
    pub(crate) fn syntax(text: &str, span: Range<usize>, what: &str) -> Self {
        let place = Place::of(text, span);
        let message = format!("parse error at line {}, col {}: {what}", place.line, place.column);
        let mut error = Self::new(Problem::Syntax, message);
        error.0.place = Some(place);
        error
    }

    /// Says where in `text` it is, where that is not said yet. The first line stays as it is.
    pub(crate) fn placed(mut self, text: &str, span: Range<usize>) -> Self {
        self.0.place.get_or_insert_with(|| Place::of(text, span));
        self
    }

    /// A valid query that this version does not answer; `what` names the part.
    pub(crate) fn not_answered(what: &str) -> Self {
        let message =
            format!("{what} not yet supported: this version reads and checks it, but cannot answer it");
        Self::new(Problem::NotAnswered, message)
    }

    pub(crate) fn too_long(bytes: usize) -> Self {
        let message = format!(
            "TraceQL expression exceeds the configured maximum size of {MAX_QUERY_BYTES} bytes, reduce the \
             query expression size or contact your system administrator (received {bytes} bytes)"
        );
        Self::new(Problem::TooLarge, message)
    }

    pub(crate) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    pub(crate) fn with_suggestion(mut self, suggestion: Option<String>) -> Self {
        self.0.suggestion = self.0.suggestion.take().or(suggestion);
        self
    }

    /// Of what sort the error is.
    #[must_use]
    pub fn problem(&self) -> Problem {
        self.0.problem
    }

    /// The first line without its prefix, as Tempo words it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// A query that would have been valid and may be what was meant.
    #[must_use]
    pub fn suggestion(&self) -> Option<&str> {
        self.0.suggestion.as_deref()
    }
}

impl Place {
    fn of(text: &str, span: Range<usize>) -> Self {
        let at = floor(text, span.start);
        let before = text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line: &str = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let from = column.saturating_sub(EXCERPT);
        let excerpt: String = line.chars().skip(from).take(2 * EXCERPT).collect();
        let marked = text.get(at..floor(text, span.end)).unwrap_or_default();
        let width = marked.lines().next().unwrap_or_default().chars().count();
        let shown = excerpt.chars().count();
        let start = column - from;
        let end = (start + width.max(1)).min(shown.max(start + 1));
        Self { line: before.matches('\n').count() + 1, column: column + 1, excerpt, caret: start..end }
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.0.problem == Problem::TooLarge { "" } else { "invalid TraceQL query: " };
        write!(f, "{prefix}{}", self.0.message)?;
        if let Some(place) = &self.0.place {
            let caret = "^".repeat(place.caret.len());
            write!(f, "\n  {}\n  {}{caret}", place.excerpt, " ".repeat(place.caret.start))?;
            if let Some(expected) = &self.0.expected {
                write!(f, " expected {expected}")?;
            }
        } else if let Some(expected) = &self.0.expected {
            write!(f, "\n  expected {expected}")?;
        }
        match &self.0.suggestion {
            Some(suggestion) => write!(f, "\n  did you mean: {suggestion}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for QueryError {}
