//! A trace whose parts are longer together than a trace may be.

use super::size;
use crate::{
    model::TraceId,
    table::{SpanTable, TableBuilder},
};

/// The trace of its parts, as long as `limit` allows, and how many spans it lost. Parts join one by one and
/// copies of spans go before anything is lost, so that no more is held than the limit and the largest part.
pub(super) fn within<'a>(
    id: TraceId,
    parts: impl Iterator<Item = (&'a SpanTable, usize)>,
    limit: u64,
) -> (SpanTable, u64) {
    let (mut whole, mut lost) = (SpanTable::default(), 0);
    for (part, row) in parts {
        let mut builder = TableBuilder::new();
        builder.begin(id);
        if whole.trace_count() > 0 {
            builder.add_rows(&whole, 0);
        }
        builder.add_rows(part, row);
        builder.end();
        whole = builder.finish();
        if size::trace(&whole, 0) > limit {
            let shorter = shorten(id, &whole, limit);
            lost += (whole.span_count() - shorter.span_count()) as u64;
            whole = shorter;
        }
    }
    (whole, lost)
}

/// The spans of the one trace of `table` that come first, as many as fit; at least one.
fn shorten(id: TraceId, table: &SpanTable, limit: u64) -> SpanTable {
    let mut bytes = 0;
    let mut builder = TableBuilder::new();
    builder.begin(id);
    builder.add_rows_where(table, 0, |span| {
        let first = bytes == 0;
        let with_it = bytes + size::span(table, span);
        let fits = first || with_it <= limit;
        if fits {
            bytes = with_it;
        }
        fits
    });
    builder.end();
    builder.finish()
}
