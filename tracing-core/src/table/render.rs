//! A trace of a table as Tempo answers a lookup: OTLP TracesData, the JSON of it that Tempo writes (ids in base64, 64-bit
//! integers as strings, zero values left out, enums by name), the JSON that OTLP itself defines, and a plain one for language models.

mod first;
mod json;
mod plain;
mod protobuf;

use bytes::Bytes;

use super::{bitmap::Bitmap, columns::SpanTable};

pub use first::first_spans;

/// A trace of a table, or some of its spans with the resources and scopes that they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a> {
    table: &'a SpanTable,
    trace: usize,
    only: Option<&'a Bitmap>,
}

/// Which JSON of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// Tempo's: ids in base64, enums by name.
    Tempo,
    /// OTLP/JSON: ids in hex, enums by number (opentelemetry-proto, "JSON Protobuf Encoding").
    Otlp,
}

impl<'a> Excerpt<'a> {
    /// Trace `trace` whole. It is empty where the table has no such trace.
    #[must_use]
    pub fn whole(table: &'a SpanTable, trace: usize) -> Self {
        Self { table, trace, only: None }
    }

    /// Of trace `trace` the spans whose rows are in `only`.
    #[must_use]
    pub fn of(table: &'a SpanTable, trace: usize, only: &'a Bitmap) -> Self {
        Self { table, trace, only: Some(only) }
    }

    /// As a TracesData.
    #[must_use]
    pub fn otlp(self) -> Bytes {
        let mut out = Vec::new();
        protobuf::push(&mut out, self);
        out.into()
    }

    /// The ResourceSpans as a JSON array: what stands at `batches` in Tempo's first lookup API, at `trace.resourceSpans` in the
    /// second, and at `resourceSpans` in OTLP.
    #[must_use]
    pub fn resource_spans_json(self, form: JsonForm) -> String {
        let mut out = String::new();
        json::push(&mut out, self, form);
        out
    }

    /// The trace as Tempo writes it for language models: a JSON object with the spans by service and scope, and attributes as plain
    /// values by key.
    #[must_use]
    pub fn plain_json(self) -> String {
        plain::trace(self)
    }

    fn resources(self) -> impl Iterator<Item = usize> {
        self.table.traces.resources.range(self.trace).filter(move |&row| self.has_span_of_resource(row))
    }

    fn scopes(self, resource: usize) -> impl Iterator<Item = usize> {
        self.table.resources.scopes.range(resource).filter(move |&row| self.has_span_of_scope(row))
    }

    fn spans(self, scope: usize) -> impl Iterator<Item = usize> {
        self.table.scopes.spans.range(scope).filter(move |&row| self.only.is_none_or(|only| only.get(row)))
    }

    fn has_span_of_resource(self, resource: usize) -> bool {
        self.only.is_none()
            || self.table.resources.scopes.range(resource).any(|scope| self.has_span_of_scope(scope))
    }

    fn has_span_of_scope(self, scope: usize) -> bool {
        self.only.is_none() || self.spans(scope).next().is_some()
    }
}

/// Trace `trace` as a TracesData. Empty where the table has no such trace.
#[must_use]
pub fn otlp(table: &SpanTable, trace: usize) -> Bytes {
    Excerpt::whole(table, trace).otlp()
}

/// The ResourceSpans of trace `trace` as Tempo's JSON.
#[must_use]
pub fn resource_spans_json(table: &SpanTable, trace: usize) -> String {
    Excerpt::whole(table, trace).resource_spans_json(JsonForm::Tempo)
}

/// A column's value at a row, or its default where the column was not asked for.
fn at<T: Copy + Default>(column: &[T], row: usize) -> T {
    column.get(row).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
