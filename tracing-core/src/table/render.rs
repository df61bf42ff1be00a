//! A trace of a table as Tempo answers a lookup: OTLP TracesData, or the JSON of it that Tempo writes
//! (ids in base64, 64-bit integers as strings, zero values left out, enums by name).

mod json;
mod protobuf;

use bytes::Bytes;

use super::columns::SpanTable;

/// Trace `trace` as a TracesData. Empty where the table has no such trace.
#[must_use]
pub fn otlp(table: &SpanTable, trace: usize) -> Bytes {
    let mut out = Vec::new();
    protobuf::push(&mut out, table, trace);
    out.into()
}

/// The ResourceSpans of trace `trace` as a JSON array: what stands at `batches` in Tempo's first lookup
/// API and at `trace.resourceSpans` in the second.
#[must_use]
pub fn resource_spans_json(table: &SpanTable, trace: usize) -> String {
    let mut out = String::new();
    json::push(&mut out, table, trace);
    out
}

/// A column's value at a row, or its default where the column was not asked for.
fn at<T: Copy + Default>(column: &[T], row: usize) -> T {
    column.get(row).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
