//! What a query asks of spans, in the form in which it is evaluated: constants folded, regular expressions
//! compiled, fields numbered, chains of `&&` and `||` flat. Independent of any table.
//!
//! Tempo fetches only those values that some comparison of the query asks for, and evaluates the query over
//! what it fetched. Two things follow that clients see, and a [`Source`] records: a comparison with a
//! literal sees only attribute values of that literal's type, and an answer shows only values that some
//! comparison of the query was satisfied by.

use std::sync::Arc;

use regex::Regex;

use super::field::{Field, Scope};
use super::operator::{BinaryOp, Compare, SpansetOp};
use super::syntax::Aggregate;
use super::value::Literal;

mod ids;
mod lower;
mod rewrite;
mod whole;

pub(crate) use lower::Builder;
pub use rewrite::SKIP_HINT;

/// A query, ready to be held against spans.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every field that is looked at, by [`FieldId`].
    pub sources: Vec<Source>,
    /// The spans that the first stage selects in each trace.
    pub spansets: SpansetPlan,
    /// What becomes of them.
    pub stages: Vec<StagePlan>,
    /// Whether answers list spans; a search by tags answers with traces alone.
    pub lists_spans: bool,
    /// Whether spans whose parent is missing count as roots.
    pub orphans: bool,
    /// Which traces come first.
    pub order: Order,
}

/// Which traces an answer begins with, and has where there are more than it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that started last.
    #[default]
    Newest,
    /// Those that took longest.
    Longest,
}

impl Order {
    /// Where a trace stands among others: the greater, the earlier. Nanoseconds since 1970, and nanoseconds.
    #[must_use]
    pub fn rank(self, start: u64, duration: u64) -> u64 {
        match self {
            Self::Newest => start,
            Self::Longest => duration,
        }
    }
}

/// Index into [`Plan::sources`].
pub type FieldId = usize;

/// A field and which of its values are seen.
#[derive(Clone, Debug)]
pub struct Source {
    /// The field.
    pub field: Field,
    /// Whether it is looked at on the span's parent.
    pub of_parent: bool,
    /// Which values are seen.
    pub visible: Visible,
    /// Whether an answer shows `nil` for a span without the field: the query asks for `= nil`.
    pub shows_nil: bool,
}

/// Which values of a field a query sees.
#[derive(Clone, Debug)]
pub enum Visible {
    /// All of them.
    Always,
    /// Those that satisfy one of these.
    Where(Vec<Condition>),
}

/// A comparison with a constant on its right side.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The operator.
    pub op: Compare,
    /// The constant.
    pub value: Matcher,
}

/// What a value is compared with.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// A value; never nil.
    Literal(Literal),
    /// A regular expression that must match the whole text.
    Regex(Arc<Regex>),
    /// Text in lower case that must occur in the value's text, its case ignored. For searches by tags.
    Contains(String),
    /// Any of these; with an operator that is negative, none. Made by rules alone.
    AnyOf(Arc<[Self]>),
}

/// An expression over one span.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A value.
    Constant(Literal),
    /// A field's value.
    Field(FieldId),
    /// `field op constant`
    Test(FieldId, Condition),
    /// `field != nil`
    Exists(FieldId),
    /// `field = nil`
    Missing(FieldId),
    /// All of these.
    All(Vec<Self>),
    /// Any of these.
    Any(Vec<Self>),
    /// `!x`
    Not(Box<Self>),
    /// `-x`
    Negative(Box<Self>),
    /// Neither side is constant, or it is computed.
    Binary(BinaryOp, Box<[Self; 2]>),
    /// The span has an event or link, as the scope says, of which this is true.
    OneOf(Scope, Box<Self>),
}

/// An expression whose value is a spanset of each trace.
#[derive(Clone, Debug)]
pub enum SpansetPlan {
    /// The spans for which this is true.
    Filter(Expr),
    /// Two spansets of a trace, combined.
    Binary(SpansetOp, Box<[Self; 2]>),
    /// A pipeline as operand.
    Pipeline(Box<Self>, Vec<StagePlan>),
    /// All spans, where none is selected; else none.
    Not(Box<Self>),
}

impl SpansetPlan {
    /// Whether it only says which traces are meant: it is all spans or none. Such a side of an `&&` adds no spans to
    /// the other's.
    #[must_use]
    pub fn is_condition(&self) -> bool {
        match self {
            Self::Not(_) => true,
            Self::Binary(SpansetOp::And | SpansetOp::Or, sides) => sides.iter().all(Self::is_condition),
            Self::Filter(_) | Self::Binary(..) | Self::Pipeline(..) => false,
        }
    }
}

/// What becomes of the spansets of a trace.
#[derive(Clone, Debug)]
pub enum StagePlan {
    /// Keeps the spans that this selects.
    Filter(SpansetPlan),
    /// Keeps spansets whose numbers compare so.
    Scalars {
        /// The left side.
        left: ScalarPlan,
        /// How it must stand to the right one.
        op: Compare,
        /// The right side.
        right: ScalarPlan,
    },
    /// One spanset for each value.
    By {
        /// The name under which the value is shown: `by(…)` as written.
        name: String,
        /// The value.
        of: Expr,
    },
    /// Merges the spansets of a trace.
    Coalesce,
}

/// A number of a spanset.
#[derive(Clone, Debug)]
pub enum ScalarPlan {
    /// The same for all.
    Constant(Literal),
    /// Of its spans.
    Aggregate {
        /// The name under which it is shown: as written.
        name: String,
        /// How the spans become one number.
        aggregate: Aggregate,
        /// What is aggregated; nothing for `count()`.
        of: Option<Expr>,
    },
    /// Of those of its spans that a pipeline leaves, which may be none.
    Pipeline {
        /// The name under which it is shown: the pipeline as written.
        name: String,
        /// The spans that are left.
        spans: SpansetPlan,
        /// Their number.
        of: Box<Self>,
    },
    /// Computed of two others.
    Binary(BinaryOp, Box<[Self; 2]>),
}
