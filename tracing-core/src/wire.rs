//! Bytes of tracing protocols: walked, cut by trace and checked without building an object per span.
//!
//! Nothing here panics on any input, and nesting and output are bounded. Strings that are not UTF-8 are
//! taken here and repaired when they are decoded, as Tempo takes them.

mod error;
pub(crate) mod json;
pub mod otlp;
pub(crate) mod protobuf;

pub use error::{Problem, WireError};
