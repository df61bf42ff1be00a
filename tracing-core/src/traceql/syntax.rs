//! The syntax tree of a query, as written: nothing is folded or rewritten here.

use super::error::{Problem, QueryError};
use super::field::{Field, Scope};
use super::operator::{BinaryOp, SpansetOp, UnaryOp};
use super::value::Literal;

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What is asked.
    pub root: Root,
    /// `with (name=value, …)`
    pub hints: Vec<Hint>,
}

impl Query {
    /// The query, if it asks for spans.
    ///
    /// # Errors
    /// It asks for series.
    pub fn of_spans(self) -> Result<Self, QueryError> {
        match self.root {
            Root::Pipeline(_) => Ok(self),
            Root::Metrics(_) => {
                Err(QueryError::new(Problem::Invalid, "a query for series selects no traces")
                    .expecting("a query for spans, such as { status = error }"))
            }
        }
    }
}

/// What a query asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Root {
    /// Spansets.
    Pipeline(Pipeline),
    /// Time series.
    Metrics(Metrics),
}

/// One `name=value` of `with (…)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Literal,
}

/// Stages joined by `|`. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The stages, first to last.
    pub stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// `{ … }` and operators between spansets.
    Spansets(Spansets),
    /// `count() > 2`
    ScalarFilter {
        /// What is computed.
        left: Scalar,
        /// A comparison.
        op: BinaryOp,
        /// What it is held against.
        right: Scalar,
    },
    /// A bare scalar, last stage of a pipeline that is itself an operand: `({ } | count())`.
    Scalar(Scalar),
    /// `by(…)`
    By(Expr),
    /// `coalesce()`
    Coalesce,
    /// `select(a, b)`
    Select(Vec<Field>),
}

/// An expression whose value is a spanset of each trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Spansets {
    /// `{ expression }`; `None` for `{ }`.
    Filter(Option<Expr>),
    /// Two spansets of a trace and how they are combined.
    Binary {
        /// The operator.
        op: SpansetOp,
        /// Its left side.
        left: Box<Self>,
        /// Its right side.
        right: Box<Self>,
    },
    /// `( pipeline )` of more than one stage as operand.
    Pipeline(Box<Pipeline>),
    /// `!{ … }`: that the trace has no such span.
    Not(Box<Self>),
}

/// An expression over one span.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A value.
    Literal(Literal),
    /// An attribute or intrinsic.
    Field(Field),
    /// `-x`, `!x`
    Unary(UnaryOp, Box<Self>),
    /// `x op y`
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Its left side.
        left: Box<Self>,
        /// Its right side.
        right: Box<Self>,
    },
    /// `event(…)`, `link(…)`: the span has an event or link of which this is true.
    OneOf(Scope, Box<Self>),
}

/// An expression over one spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A value.
    Literal(Literal),
    /// `count()`, `avg(duration)` …
    Aggregate(Aggregate, Option<Expr>),
    /// A pipeline that ends in a scalar.
    Pipeline(Box<Pipeline>),
    /// `x op y`
    Binary {
        /// An arithmetic operator.
        op: BinaryOp,
        /// Its left side.
        left: Box<Self>,
        /// Its right side.
        right: Box<Self>,
    },
}

/// How the spans of a spanset become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// `count()`
    Count,
    /// `min(x)`
    Min,
    /// `max(x)`
    Max,
    /// `avg(x)`
    Avg,
    /// `sum(x)`
    Sum,
}

/// An expression whose value is time series.
#[derive(Clone, Debug, PartialEq)]
pub enum Metrics {
    /// `pipeline | function by(…) | second stages`
    Query {
        /// The spans that are counted.
        spans: Pipeline,
        /// How they are counted.
        function: Function,
        /// What becomes of the series.
        second: Vec<SecondStage>,
    },
    /// A number in an expression between series.
    Number(Literal),
    /// `(…) / (…)`
    Binary {
        /// `+ - * /`
        op: BinaryOp,
        /// Its left side.
        left: Box<Self>,
        /// Its right side.
        right: Box<Self>,
    },
}

/// The first stage of a metrics query.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// `rate`, `count_over_time`, `quantile_over_time` …
    pub kind: FunctionKind,
    /// The argument, where the function takes one.
    pub of: Option<Field>,
    /// Quantiles, or the numbers of `compare`.
    pub numbers: Vec<Literal>,
    /// The selection of `compare`.
    pub selection: Option<Spansets>,
    /// `by(a, b)`
    pub by: Vec<Field>,
}

/// Names of the functions that make series of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// `rate()`
    Rate,
    /// `count_over_time()`
    CountOverTime,
    /// `min_over_time(x)`
    MinOverTime,
    /// `max_over_time(x)`
    MaxOverTime,
    /// `avg_over_time(x)`
    AvgOverTime,
    /// `sum_over_time(x)`
    SumOverTime,
    /// `quantile_over_time(x, q, …)`
    QuantileOverTime,
    /// `histogram_over_time(x)`
    HistogramOverTime,
    /// `compare({ … }, n, from, to)`
    Compare,
}

/// A later stage of a metrics query.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondStage {
    /// `topk(n)`
    TopK(i64),
    /// `bottomk(n)`
    BottomK(i64),
    /// `> 10`
    Filter(BinaryOp, Literal),
}

/// One operator of a chain such as `a && b && c`, with the expression that ends at it.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    pub(crate) it: &'a Expr,
    pub(crate) op: BinaryOp,
    pub(crate) left: &'a Expr,
    pub(crate) right: &'a Expr,
}

impl Expr {
    /// The leftmost operand, and the operators from it to this one.
    pub(crate) fn left_chain(&self) -> (&Self, Vec<Link<'_>>) {
        let mut first = self;
        let mut chain = Vec::new();
        while let Self::Binary { op, left, right } = first {
            chain.push(Link { it: first, op: *op, left, right });
            first = left;
        }
        chain.reverse();
        (first, chain)
    }
}

impl Aggregate {
    /// The word before the parenthesis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Sum => "sum",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Count, Self::Min, Self::Max, Self::Avg, Self::Sum].into_iter().find(|it| it.as_str() == word)
    }
}

impl FunctionKind {
    const ALL: [Self; 9] = [
        Self::Rate,
        Self::CountOverTime,
        Self::MinOverTime,
        Self::MaxOverTime,
        Self::AvgOverTime,
        Self::SumOverTime,
        Self::QuantileOverTime,
        Self::HistogramOverTime,
        Self::Compare,
    ];

    /// The word before the parenthesis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::CountOverTime => "count_over_time",
            Self::MinOverTime => "min_over_time",
            Self::MaxOverTime => "max_over_time",
            Self::AvgOverTime => "avg_over_time",
            Self::SumOverTime => "sum_over_time",
            Self::QuantileOverTime => "quantile_over_time",
            Self::HistogramOverTime => "histogram_over_time",
            Self::Compare => "compare",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// Whether the function looks at a value of each span.
    #[must_use]
    pub fn takes_field(self) -> bool {
        !matches!(self, Self::Rate | Self::CountOverTime | Self::Compare)
    }
}
