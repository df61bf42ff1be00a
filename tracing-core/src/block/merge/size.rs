//! How long a trace is as OTLP, by an estimate that looks at no text: what the limit on traces is held against.

use std::ops::Range;

use crate::table::{Attributes, Code, SpanTable, ValueKind};

/// Ids, times, kind, status, and the tags and lengths of their fields.
const SPAN: u64 = 80;
const EVENT: u64 = 14;
const LINK: u64 = 32;
/// Tags and lengths of a key and a value.
const ENTRY: u64 = 8;
/// A number with its tag.
const NUMBER: u64 = 9;

/// Bytes of a trace, without its resources and scopes.
pub(super) fn trace(table: &SpanTable, row: usize) -> u64 {
    table.spans_of_trace(row).map(|at| span(table, at)).sum()
}

/// Bytes of a span with its events and links.
pub(super) fn span(table: &SpanTable, at: usize) -> u64 {
    let text =
        |codes: &[Code], at: usize| codes.get(at).map_or(0, |code| table.strings.text(*code).len() as u64);
    let spans = &table.spans;
    let own = SPAN
        + text(&spans.name, at)
        + text(&spans.trace_state, at)
        + text(&spans.status_message, at)
        + entries(table, &spans.attributes, at..at + 1);
    let (events, links) = (spans.events.range(at), spans.links.range(at));
    let named: u64 = events.clone().map(|event| EVENT + text(&table.events.name, event)).sum();
    let linked: u64 = links.clone().map(|link| LINK + text(&table.links.trace_state, link)).sum();
    own + named
        + linked
        + entries(table, &table.events.attributes, events)
        + entries(table, &table.links.attributes, links)
}

/// Bytes of the attributes of some owners, which stand side by side.
fn entries(table: &SpanTable, of: &Attributes, owners: Range<usize>) -> u64 {
    let length = |payload: u64| table.strings.text(Code::from_payload(payload)).len() as u64;
    let mut bytes = 0;
    for owner in owners {
        for entry in of.offsets.range(owner) {
            let (Some(key), Some(kind), Some(&value)) =
                (of.key.get(entry), of.kind.get(entry), of.value.get(entry))
            else {
                continue;
            };
            let (start, count) = ((value >> 32) as usize, (value & 0xffff_ffff) as usize);
            bytes += ENTRY + length(key.payload());
            bytes += match kind {
                ValueKind::String | ValueKind::Unsupported => length(value),
                ValueKind::Strings => {
                    let elements = of.elements.get(start..start + count).unwrap_or_default();
                    elements.iter().map(|element| ENTRY + length(*element)).sum()
                }
                ValueKind::Ints | ValueKind::Doubles | ValueKind::Bools => NUMBER * count as u64,
                ValueKind::Int | ValueKind::Double | ValueKind::Bool | ValueKind::EmptyArray => NUMBER,
            };
        }
    }
    bytes
}
