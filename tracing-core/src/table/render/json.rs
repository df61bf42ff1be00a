//! A trace as Tempo's JSON.

use super::at;
use super::protobuf::element_value;
use crate::table::columns::{Attributes, SpanTable, Value};
use crate::table::strings::{Code, Strings};
use crate::wire::json::{push_base64, push_display, push_double, push_string};

const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Writes the fields of an object or the elements of an array, with commas between them.
struct Writer<'a> {
    out: &'a mut String,
    empty: bool,
}

pub(super) fn push(out: &mut String, table: &SpanTable, trace: usize) {
    array(out, |array| {
        for row in table.traces.resources.range(trace) {
            object(array.element(), |object| {
                object.object("resource", |object| resource(object, table, row));
                object.array("scopeSpans", table.resources.scopes.range(row), |out, scope| {
                    self::object(out, |object| scope_spans(object, table, scope, trace));
                });
            });
        }
    });
}

fn resource(object: &mut Writer<'_>, table: &SpanTable, row: usize) {
    let service = table.strings.text(at(&table.resources.service, row));
    attributes(object, &table.resources.attributes, row, &table.strings, service);
    object.number("droppedAttributesCount", u64::from(at(&table.resources.dropped_attributes, row)));
}

fn scope_spans(object: &mut Writer<'_>, table: &SpanTable, row: usize, trace: usize) {
    object.object("scope", |object| {
        object.text("name", table, &table.scopes.name, row);
        object.text("version", table, &table.scopes.version, row);
        attributes(object, &table.scopes.attributes, row, &table.strings, "");
        object.number("droppedAttributesCount", u64::from(at(&table.scopes.dropped_attributes, row)));
    });
    object.array("spans", table.scopes.spans.range(row), |out, row| {
        self::object(out, |object| span(object, table, row, trace));
    });
}

fn span(object: &mut Writer<'_>, table: &SpanTable, row: usize, trace: usize) {
    let spans = &table.spans;
    object.bytes("traceId", &at(&table.traces.id, trace).0);
    object.bytes("spanId", &at(&spans.id, row).0);
    object.text("traceState", table, &spans.trace_state, row);
    let parent = at(&spans.parent_id, row);
    object.bytes("parentSpanId", if parent.is_zero() { &[] } else { &parent.0 });
    object.text("name", table, &spans.name, row);
    object.name("kind", at(&spans.kind, row), &KINDS);
    let start = at(&spans.start, row);
    object.long("startTimeUnixNano", start);
    object.long("endTimeUnixNano", start.saturating_add(at(&spans.duration, row)));
    attributes(object, &spans.attributes, row, &table.strings, "");
    object.number("droppedAttributesCount", u64::from(at(&spans.dropped_attributes, row)));
    object.array("events", spans.events.range(row), |out, row| {
        self::object(out, |object| event(object, table, row, start));
    });
    object.number("droppedEventsCount", u64::from(at(&spans.dropped_events, row)));
    object.array("links", spans.links.range(row), |out, row| {
        self::object(out, |object| link(object, table, row));
    });
    object.number("droppedLinksCount", u64::from(at(&spans.dropped_links, row)));
    object.object("status", |object| {
        object.text("message", table, &spans.status_message, row);
        object.name("code", at(&spans.status, row), &STATUSES);
    });
}

fn event(object: &mut Writer<'_>, table: &SpanTable, row: usize, start: u64) {
    let events = &table.events;
    object.long("timeUnixNano", start.wrapping_add(at(&events.since_start, row)));
    object.text("name", table, &events.name, row);
    attributes(object, &events.attributes, row, &table.strings, "");
    object.number("droppedAttributesCount", u64::from(at(&events.dropped_attributes, row)));
}

fn link(object: &mut Writer<'_>, table: &SpanTable, row: usize) {
    let links = &table.links;
    object.bytes("traceId", links.trace_id.get(row).map_or(&[], |id| id));
    object.bytes("spanId", links.span_id.get(row).map_or(&[], |id| id));
    object.text("traceState", table, &links.trace_state, row);
    attributes(object, &links.attributes, row, &table.strings, "");
    object.number("droppedAttributesCount", u64::from(at(&links.dropped_attributes, row)));
}

/// The entries of `owner`, and `service.name` where a resource has one.
fn attributes(object: &mut Writer<'_>, of: &Attributes, owner: usize, strings: &Strings, service: &str) {
    let entries = of.offsets.range(owner);
    if entries.is_empty() && service.is_empty() {
        return;
    }
    array(object.key("attributes"), |array| {
        for entry in entries {
            if let Some(value) = of.get(entry, strings) {
                attribute(array.element(), strings.text(at(&of.key, entry)), &value, strings);
            }
        }
        if !service.is_empty() {
            attribute(array.element(), "service.name", &Value::String(service), strings);
        }
    });
}

fn attribute(out: &mut String, key: &str, value: &Value<'_>, strings: &Strings) {
    object(out, |object| {
        if !key.is_empty() {
            push_string(object.key("key"), key);
        }
        any_value(object.key("value"), value, strings);
    });
}

fn any_value(out: &mut String, value: &Value<'_>, strings: &Strings) {
    object(out, |object| match value {
        Value::String(text) => push_string(object.key("stringValue"), text),
        Value::Int(int) => push_display(object.key("intValue"), format_args!("\"{int}\"")),
        Value::Double(double) => push_double(object.key("doubleValue"), *double),
        Value::Bool(bool) => push_display(object.key("boolValue"), bool),
        Value::Array(kind, elements) => object.object("arrayValue", |object| {
            object.array("values", 0..elements.len(), |out, i| {
                let element = element_value(*kind, elements.get(i).copied().unwrap_or_default(), strings);
                any_value(out, &element, strings);
            });
        }),
        Value::Unsupported(json) => match inside_of_object(json) {
            Some(inside) => object.inside(inside),
            // a block of somebody else's may hold anything; better shown as it is than lost
            None => push_string(object.key("stringValue"), json),
        },
    });
}

/// The fields of a JSON object without its braces, or `None` where it is no JSON object.
fn inside_of_object(json: &str) -> Option<&str> {
    let json = json.trim();
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    Some(json.strip_prefix('{')?.strip_suffix('}')?.trim())
}

fn object(out: &mut String, fields: impl FnOnce(&mut Writer<'_>)) {
    out.push('{');
    fields(&mut Writer { out, empty: true });
    out.push('}');
}

fn array(out: &mut String, elements: impl FnOnce(&mut Writer<'_>)) {
    out.push('[');
    elements(&mut Writer { out, empty: true });
    out.push(']');
}

impl Writer<'_> {
    /// Begins an element of an array.
    fn element(&mut self) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out
    }

    /// Begins a field of an object. Names are our own and need no escaping.
    fn key(&mut self, name: &str) -> &mut String {
        let out = self.element();
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out
    }

    /// Fields that are JSON already.
    fn inside(&mut self, fields: &str) {
        if !fields.is_empty() {
            self.element().push_str(fields);
        }
    }

    fn object(&mut self, name: &str, fields: impl FnOnce(&mut Writer<'_>)) {
        object(self.key(name), fields);
    }

    fn array(&mut self, name: &str, rows: std::ops::Range<usize>, each: impl Fn(&mut String, usize)) {
        if !rows.is_empty() {
            array(self.key(name), |array| rows.for_each(|row| each(array.element(), row)));
        }
    }

    fn text(&mut self, name: &str, table: &SpanTable, column: &[Code], row: usize) {
        let text = table.strings.text(at(column, row));
        if !text.is_empty() {
            push_string(self.key(name), text);
        }
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            push_base64(self.key(name), bytes);
        }
    }

    /// An integer of at most 32 bits.
    fn number(&mut self, name: &str, value: u64) {
        if value != 0 {
            push_display(self.key(name), value);
        }
    }

    /// An integer of 64 bits.
    fn long(&mut self, name: &str, value: u64) {
        if value != 0 {
            push_display(self.key(name), format_args!("\"{value}\""));
        }
    }

    /// An enum by its name, or by its number where it has none.
    fn name(&mut self, name: &str, value: u8, names: &[&str]) {
        match names.get(usize::from(value)) {
            _ if value == 0 => {}
            Some(known) => push_string(self.key(name), known),
            None => push_display(self.key(name), value),
        }
    }
}
