//! Copies ranges of rows from one set of columns to another, turning string codes as told.

use std::ops::Range;

use crate::model::SpanId;
use crate::table::columns::{Attributes, Events, Links, Offsets, Spans, ValueKind};
use crate::table::strings::Code;

/// How codes of the source become codes of the target.
pub(super) trait Codes {
    /// True where they stay as they are, so that whole columns can be copied at once.
    const SAME: bool;
    fn code(&mut self, code: Code) -> Code;
}

/// Source and target share their strings.
pub(super) struct Same;

impl Codes for Same {
    const SAME: bool = true;
    fn code(&mut self, code: Code) -> Code {
        code
    }
}

/// Appends `from[range]`; a column that the source lacks becomes defaults, so that columns stay even.
fn column<T: Clone + Default>(to: &mut Vec<T>, from: &[T], range: &Range<usize>) {
    match from.get(range.clone()) {
        Some(part) => to.extend_from_slice(part),
        None => to.resize(to.len() + range.len(), T::default()),
    }
}

fn code_column(to: &mut Vec<Code>, from: &[Code], range: &Range<usize>, codes: &mut impl Codes) {
    match from.get(range.clone()) {
        Some(part) => to.extend(part.iter().map(|&code| codes.code(code))),
        None => to.resize(to.len() + range.len(), Code::EMPTY),
    }
}

/// Appends the children counts of `owners` and answers the range of their children.
fn offsets(to: &mut Offsets, from: &Offsets, owners: &Range<usize>) -> Range<usize> {
    let Some(bounds) = from.0.get(owners.start..=owners.end).filter(|_| !owners.is_empty()) else {
        let end = to.children();
        owners.clone().for_each(|_| to.close(end));
        return 0..0;
    };
    let (first, last) = (bounds.first().copied().unwrap_or(0), bounds.last().copied().unwrap_or(0));
    let base = to.children() as u32;
    to.0.extend(bounds.iter().skip(1).map(|end| base + (end - first)));
    first as usize..last as usize
}

/// Appends the attributes of `owners`.
pub(super) fn attributes<C: Codes>(
    to: &mut Attributes,
    from: &Attributes,
    owners: &Range<usize>,
    codes: &mut C,
) {
    let entries = offsets(&mut to.offsets, &from.offsets, owners);
    code_column(&mut to.key, &from.key, &entries, codes);
    column_of_kinds(&mut to.kind, &from.kind, &entries);
    if C::SAME && from.elements.is_empty() {
        column(&mut to.value, &from.value, &entries);
        return;
    }
    let kinds = from.kind.get(entries.clone()).unwrap_or_default();
    let values = from.value.get(entries).unwrap_or_default();
    for (kind, &payload) in kinds.iter().zip(values) {
        let value = payload_of(*kind, payload, &mut to.elements, &from.elements, codes);
        to.value.push(value);
    }
}

fn column_of_kinds(to: &mut Vec<ValueKind>, from: &[ValueKind], range: &Range<usize>) {
    to.extend_from_slice(from.get(range.clone()).unwrap_or_default());
}

fn payload_of(kind: ValueKind, payload: u64, to: &mut Vec<u64>, from: &[u64], codes: &mut impl Codes) -> u64 {
    match kind {
        ValueKind::String | ValueKind::Unsupported => codes.code(Code::from_payload(payload)).payload(),
        ValueKind::Int | ValueKind::Double | ValueKind::Bool | ValueKind::EmptyArray => payload,
        ValueKind::Strings | ValueKind::Ints | ValueKind::Doubles | ValueKind::Bools => {
            let (start, len) = ((payload >> 32) as usize, (payload & 0xffff_ffff) as usize);
            let elements = from.get(start..start + len).unwrap_or_default();
            let at = to.len() as u64;
            if kind == ValueKind::Strings {
                to.extend(elements.iter().map(|&e| codes.code(Code::from_payload(e)).payload()));
            } else {
                to.extend_from_slice(elements);
            }
            at << 32 | elements.len() as u64
        }
    }
}

/// Appends spans with their events and links; nested sets and order of arrival are left to the caller.
pub(super) fn spans(
    (to, to_events, to_links): (&mut Spans, &mut Events, &mut Links),
    (from, from_events, from_links): (&Spans, &Events, &Links),
    rows: &Range<usize>,
    codes: &mut impl Codes,
) {
    column(&mut to.id, &from.id, rows);
    column::<SpanId>(&mut to.parent_id, &from.parent_id, rows);
    code_column(&mut to.name, &from.name, rows, codes);
    column(&mut to.kind, &from.kind, rows);
    code_column(&mut to.trace_state, &from.trace_state, rows, codes);
    column(&mut to.start, &from.start, rows);
    column(&mut to.duration, &from.duration, rows);
    column(&mut to.status, &from.status, rows);
    code_column(&mut to.status_message, &from.status_message, rows, codes);
    attributes(&mut to.attributes, &from.attributes, rows, codes);
    column(&mut to.dropped_attributes, &from.dropped_attributes, rows);
    column(&mut to.dropped_events, &from.dropped_events, rows);
    column(&mut to.dropped_links, &from.dropped_links, rows);
    let inside = offsets(&mut to.events, &from.events, rows);
    events(to_events, from_events, &inside, codes);
    let inside = offsets(&mut to.links, &from.links, rows);
    links(to_links, from_links, &inside, codes);
}

fn events(to: &mut Events, from: &Events, rows: &Range<usize>, codes: &mut impl Codes) {
    column(&mut to.since_start, &from.since_start, rows);
    code_column(&mut to.name, &from.name, rows, codes);
    attributes(&mut to.attributes, &from.attributes, rows, codes);
    column(&mut to.dropped_attributes, &from.dropped_attributes, rows);
}

fn links(to: &mut Links, from: &Links, rows: &Range<usize>, codes: &mut impl Codes) {
    column(&mut to.trace_id, &from.trace_id, rows);
    column(&mut to.span_id, &from.span_id, rows);
    code_column(&mut to.trace_state, &from.trace_state, rows, codes);
    attributes(&mut to.attributes, &from.attributes, rows, codes);
    column(&mut to.dropped_attributes, &from.dropped_attributes, rows);
}

/// Empties the columns, keeping their room.
pub(super) fn clear_spans(spans: &mut Spans) {
    let Spans {
        id,
        parent_id,
        left,
        right,
        parent,
        name,
        kind,
        trace_state,
        start,
        duration,
        status,
        status_message,
        attributes,
        dropped_attributes,
        dropped_events,
        dropped_links,
        arrival,
        events,
        links,
    } = spans;
    id.clear();
    parent_id.clear();
    left.clear();
    right.clear();
    parent.clear();
    name.clear();
    kind.clear();
    trace_state.clear();
    start.clear();
    duration.clear();
    status.clear();
    status_message.clear();
    clear_attributes(attributes);
    dropped_attributes.clear();
    dropped_events.clear();
    dropped_links.clear();
    arrival.clear();
    events.0.truncate(1);
    links.0.truncate(1);
}

pub(super) fn clear_events(events: &mut Events) {
    let Events { since_start, name, attributes, dropped_attributes } = events;
    since_start.clear();
    name.clear();
    clear_attributes(attributes);
    dropped_attributes.clear();
}

pub(super) fn clear_links(links: &mut Links) {
    let Links { trace_id, span_id, trace_state, attributes, dropped_attributes } = links;
    trace_id.clear();
    span_id.clear();
    trace_state.clear();
    clear_attributes(attributes);
    dropped_attributes.clear();
}

/// Takes away the entries of the owner that is not closed yet.
pub(super) fn forget_open(attributes: &mut Attributes) {
    let entries = attributes.offsets.children();
    attributes.key.truncate(entries);
    attributes.kind.truncate(entries);
    attributes.value.truncate(entries);
}

fn clear_attributes(attributes: &mut Attributes) {
    let Attributes { offsets, key, kind, value, elements } = attributes;
    offsets.0.truncate(1);
    key.clear();
    kind.clear();
    value.clear();
    elements.clear();
}
