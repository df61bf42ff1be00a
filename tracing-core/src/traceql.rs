//! The TraceQL language: text to syntax tree, syntax tree to plan, and back to text.
//!
//! The whole grammar of Tempo 3.0 is read and checked here; what a [`Plan`] cannot answer yet is refused by
//! with an error that says so. Pure, and without knowledge of tables or blocks: how a plan is held against
//! spans stands in `table::evaluate`.

mod duration;
mod error;
mod field;
mod operator;
mod plan;
mod strings;
pub mod syntax;
mod value;

pub use duration::{parse_duration, write_duration};
pub use error::{Problem, QueryError};
pub use field::{Attribute, Field, Intrinsic, Scope};
pub use operator::{BinaryOp, Compare, Keep, Relation, SpansetOp, UnaryOp};
pub use plan::{Condition, Expr, FieldId, Matcher, Plan, Source, SpansetPlan, StagePlan, Visible};
pub use syntax::Query;
pub use value::{Kind, Literal, Status, Type};

/// Longest query read, in bytes; Tempo's default for `max_query_expression_size_bytes`.
pub const MAX_QUERY_BYTES: usize = 128 * 1024;
