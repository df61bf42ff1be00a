//! OpenTelemetry's trace protocol (opentelemetry/proto/trace/v1/trace.proto, stable since 1.0).
//!
//! `ExportTraceServiceRequest` and `TracesData` have the same bytes: field 1 holds the ResourceSpans.

mod check;
mod json;
mod split;
pub(crate) mod tags;
mod value;

pub(crate) use json::any_value_from_json;
pub use json::json_to_proto;
pub use split::{Rejected, Split, TraceSlice, split};
pub(crate) use value::push_any_value;

/// How deep arrays and key-value lists may stand inside each other.
pub const MAX_VALUE_DEPTH: usize = 24;
