//! A trace as OTLP protobuf.

use super::{Excerpt, at};
use crate::model::TraceId;
use crate::table::columns::{Attributes, SpanTable, Value, ValueKind};
use crate::table::strings::{Code, Strings};
use crate::wire::otlp::any_value_from_json;
use crate::wire::otlp::tags::{
    self, event, link, resource, resource_spans, scope, scope_spans, span, status,
};
use crate::wire::protobuf::{put_bytes, put_fixed64, put_message, put_uint, put_varint};

pub(super) fn push(out: &mut Vec<u8>, excerpt: Excerpt<'_>) {
    let table = excerpt.table;
    let id = at(&table.traces.id, excerpt.trace);
    for row in excerpt.resources() {
        put_message(out, tags::RESOURCE_SPANS, |out| {
            put_message(out, resource_spans::RESOURCE, |out| push_resource(out, table, row));
            for scope in excerpt.scopes(row) {
                put_message(out, resource_spans::SCOPE_SPANS, |out| {
                    put_message(out, scope_spans::SCOPE, |out| push_scope(out, table, scope));
                    for row in excerpt.spans(scope) {
                        put_message(out, scope_spans::SPANS, |out| push_span(out, table, row, id));
                    }
                });
            }
        });
    }
}

pub(super) fn push_resource(out: &mut Vec<u8>, table: &SpanTable, row: usize) {
    push_attributes(out, resource::ATTRIBUTES, &table.resources.attributes, row, &table.strings);
    let service = table.strings.text(at(&table.resources.service, row));
    if !service.is_empty() {
        push_attribute(out, resource::ATTRIBUTES, "service.name", &Value::String(service), &table.strings);
    }
    put_uint(out, resource::DROPPED, u64::from(at(&table.resources.dropped_attributes, row)));
}

pub(super) fn push_scope(out: &mut Vec<u8>, table: &SpanTable, row: usize) {
    put_text(out, scope::NAME, table, &table.scopes.name, row);
    put_text(out, scope::VERSION, table, &table.scopes.version, row);
    push_attributes(out, scope::ATTRIBUTES, &table.scopes.attributes, row, &table.strings);
    put_uint(out, scope::DROPPED, u64::from(at(&table.scopes.dropped_attributes, row)));
}

pub(super) fn push_span(out: &mut Vec<u8>, table: &SpanTable, row: usize, id: TraceId) {
    let spans = &table.spans;
    put_bytes(out, span::TRACE_ID, &id.0);
    put_bytes(out, span::SPAN_ID, &at(&spans.id, row).0);
    put_text(out, span::TRACE_STATE, table, &spans.trace_state, row);
    let parent = at(&spans.parent_id, row);
    if !parent.is_zero() {
        put_bytes(out, span::PARENT_SPAN_ID, &parent.0);
    }
    put_text(out, span::NAME, table, &spans.name, row);
    put_uint(out, span::KIND, u64::from(at(&spans.kind, row)));
    let start = at(&spans.start, row);
    put_fixed64(out, span::START, start);
    put_fixed64(out, span::END, start.saturating_add(at(&spans.duration, row)));
    push_attributes(out, span::ATTRIBUTES, &spans.attributes, row, &table.strings);
    put_uint(out, span::DROPPED_ATTRIBUTES, u64::from(at(&spans.dropped_attributes, row)));
    for event in spans.events.range(row) {
        put_message(out, span::EVENTS, |out| push_event(out, table, event, start));
    }
    put_uint(out, span::DROPPED_EVENTS, u64::from(at(&spans.dropped_events, row)));
    for link in spans.links.range(row) {
        put_message(out, span::LINKS, |out| push_link(out, table, link));
    }
    put_uint(out, span::DROPPED_LINKS, u64::from(at(&spans.dropped_links, row)));
    put_message(out, span::STATUS, |out| {
        put_text(out, status::MESSAGE, table, &spans.status_message, row);
        put_uint(out, status::CODE, u64::from(at(&spans.status, row)));
    });
}

fn push_event(out: &mut Vec<u8>, table: &SpanTable, row: usize, start: u64) {
    let events = &table.events;
    put_fixed64(out, event::TIME, start.wrapping_add(at(&events.since_start, row)));
    put_text(out, event::NAME, table, &events.name, row);
    push_attributes(out, event::ATTRIBUTES, &events.attributes, row, &table.strings);
    put_uint(out, event::DROPPED, u64::from(at(&events.dropped_attributes, row)));
}

fn push_link(out: &mut Vec<u8>, table: &SpanTable, row: usize) {
    let links = &table.links;
    for (tag, ids) in [(link::TRACE_ID, &links.trace_id), (link::SPAN_ID, &links.span_id)] {
        if let Some(id) = ids.get(row).filter(|id| !id.is_empty()) {
            put_bytes(out, tag, id);
        }
    }
    put_text(out, link::TRACE_STATE, table, &links.trace_state, row);
    push_attributes(out, link::ATTRIBUTES, &links.attributes, row, &table.strings);
    put_uint(out, link::DROPPED, u64::from(at(&links.dropped_attributes, row)));
}

fn put_text(out: &mut Vec<u8>, tag: u32, table: &SpanTable, column: &[Code], row: usize) {
    let text = table.strings.text(at(column, row));
    if !text.is_empty() {
        put_bytes(out, tag, text.as_bytes());
    }
}

fn push_attributes(out: &mut Vec<u8>, tag: u32, of: &Attributes, owner: usize, strings: &Strings) {
    for entry in of.offsets.range(owner) {
        if let Some(value) = of.get(entry, strings) {
            push_attribute(out, tag, strings.text(at(&of.key, entry)), &value, strings);
        }
    }
}

fn push_attribute(out: &mut Vec<u8>, tag: u32, key: &str, value: &Value<'_>, strings: &Strings) {
    put_message(out, tag, |out| {
        put_bytes(out, tags::key_value::KEY, key.as_bytes());
        put_message(out, tags::key_value::VALUE, |out| push_value(out, value, strings));
    });
}

/// The content of an AnyValue. A member of a `oneof` is written even where it is zero.
fn push_value(out: &mut Vec<u8>, value: &Value<'_>, strings: &Strings) {
    match value {
        Value::String(text) => put_bytes(out, tags::value::STRING, text.as_bytes()),
        Value::Int(int) => put_tagged(out, tags::value::INT, int.cast_unsigned()),
        Value::Bool(bool) => put_tagged(out, tags::value::BOOL, u64::from(*bool)),
        Value::Double(double) => {
            put_varint(out, u64::from(tags::value::DOUBLE));
            out.extend_from_slice(&double.to_le_bytes());
        }
        Value::Array(kind, elements) => put_message(out, tags::value::ARRAY, |out| {
            for &element in *elements {
                let element = element_value(*kind, element, strings);
                put_message(out, tags::VALUES, |out| push_value(out, &element, strings));
            }
        }),
        Value::Unsupported(json) => match any_value_from_json(json) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            // a block of somebody else's may hold anything; better shown as it is than lost
            Err(_) => put_bytes(out, tags::value::STRING, json.as_bytes()),
        },
    }
}

fn put_tagged(out: &mut Vec<u8>, tag: u32, value: u64) {
    put_varint(out, u64::from(tag));
    put_varint(out, value);
}

/// An element of an array as the value that it is.
pub(super) fn element_value(kind: ValueKind, payload: u64, strings: &Strings) -> Value<'_> {
    match kind {
        ValueKind::Int => Value::Int(payload.cast_signed()),
        ValueKind::Double => Value::Double(f64::from_bits(payload)),
        ValueKind::Bool => Value::Bool(payload != 0),
        _ => Value::String(strings.text(Code::from_payload(payload))),
    }
}
