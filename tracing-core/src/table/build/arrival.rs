//! In which order the spans of a trace came that stand in another one.
//!
//! Root and nested sets go by it, so that they must come out the same however often a trace is built anew.

use crate::table::SpanTable;

/// Its spans in the order in which they came; `None` where they stand in it.
///
/// A block does not hold that order. What it holds of it is the nested set: the order of the roots, which are of
/// one resource and scope after the other, and of the spans below a parent within theirs.
pub(super) fn order(table: &SpanTable, trace: usize) -> Option<Vec<usize>> {
    let rows = table.spans_of_trace(trace);
    let mut order: Vec<usize> = rows.clone().collect();
    if let Some(places) = table.spans.arrival.get(rows.clone()).filter(|places| !places.is_empty()) {
        if places.is_sorted() {
            return None;
        }
        order.sort_by_key(|row| table.spans.arrival.get(*row));
        return Some(order);
    }
    let (left, above) = (table.spans.left.get(rows.clone())?, table.spans.parent.get(rows.clone())?);
    let root = |at: usize| left.get(at).copied().filter(|_| above.get(at) == Some(&-1));
    if (0..rows.len()).filter_map(root).is_sorted() {
        return None;
    }
    let mut keys = Vec::with_capacity(rows.len());
    for resource in table.traces.resources.range(trace) {
        let first = keys.len();
        for scope in table.resources.scopes.range(resource) {
            let spans = table.scopes.spans.range(scope);
            let of = spans.start - rows.start..spans.end - rows.start;
            // A scope without a root tells nothing, and comes last.
            let least = of.clone().filter_map(root).min().unwrap_or(i32::MAX);
            keys.extend(of.map(|at| (i32::MAX, least, left.get(at).copied().unwrap_or_default())));
        }
        let of = keys.get_mut(first..).unwrap_or_default();
        let least = of.iter().map(|(_, scope, _)| *scope).min().unwrap_or(i32::MAX);
        for (resource, ..) in of {
            *resource = least;
        }
    }
    order.sort_by_key(|row| keys.get(row - rows.start));
    Some(order)
}
