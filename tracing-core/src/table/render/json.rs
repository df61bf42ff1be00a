//! A trace as JSON of OTLP, in Tempo's form or in OTLP's own.

use super::protobuf::element_value;
use super::{Excerpt, JsonForm, at};
use crate::table::columns::{Attributes, SpanTable, Value};
use crate::table::strings::{Code, Strings};
use crate::wire::json::{push_base64, push_display, push_double, push_hex, push_string};

pub(super) const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
pub(super) const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Writes the fields of an object or the elements of an array, with commas between them.
pub(super) struct Writer<'a> {
    out: &'a mut String,
    empty: bool,
}

pub(super) fn push(out: &mut String, excerpt: Excerpt<'_>, form: JsonForm) {
    let table = excerpt.table;
    array(out, |array| {
        for row in excerpt.resources() {
            object(array.element(), |object| {
                object.object("resource", |object| resource(object, table, row));
                object.array("scopeSpans", excerpt.scopes(row), |out, row| {
                    self::object(out, |object| scope_spans(object, excerpt, row, form));
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

fn scope_spans(object: &mut Writer<'_>, excerpt: Excerpt<'_>, row: usize, form: JsonForm) {
    let table = excerpt.table;
    object.object("scope", |object| {
        object.text("name", table, &table.scopes.name, row);
        object.text("version", table, &table.scopes.version, row);
        attributes(object, &table.scopes.attributes, row, &table.strings, "");
        object.number("droppedAttributesCount", u64::from(at(&table.scopes.dropped_attributes, row)));
    });
    object.array("spans", excerpt.spans(row), |out, row| {
        self::object(out, |object| span(object, excerpt, row, form));
    });
}

fn span(object: &mut Writer<'_>, excerpt: Excerpt<'_>, row: usize, form: JsonForm) {
    let table = excerpt.table;
    let spans = &table.spans;
    object.id("traceId", &at(&table.traces.id, excerpt.trace).0, form);
    object.id("spanId", &at(&spans.id, row).0, form);
    object.text("traceState", table, &spans.trace_state, row);
    let parent = at(&spans.parent_id, row);
    object.id("parentSpanId", if parent.is_zero() { &[] } else { &parent.0 }, form);
    object.text("name", table, &spans.name, row);
    object.name("kind", at(&spans.kind, row), &KINDS, form);
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
        self::object(out, |object| link(object, table, row, form));
    });
    object.number("droppedLinksCount", u64::from(at(&spans.dropped_links, row)));
    object.object("status", |object| {
        object.text("message", table, &spans.status_message, row);
        object.name("code", at(&spans.status, row), &STATUSES, form);
    });
}

fn event(object: &mut Writer<'_>, table: &SpanTable, row: usize, start: u64) {
    let events = &table.events;
    object.long("timeUnixNano", start.wrapping_add(at(&events.since_start, row)));
    object.text("name", table, &events.name, row);
    attributes(object, &events.attributes, row, &table.strings, "");
    object.number("droppedAttributesCount", u64::from(at(&events.dropped_attributes, row)));
}

fn link(object: &mut Writer<'_>, table: &SpanTable, row: usize, form: JsonForm) {
    let links = &table.links;
    object.id("traceId", links.trace_id.get(row).map_or(&[], |id| id), form);
    object.id("spanId", links.span_id.get(row).map_or(&[], |id| id), form);
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
pub(super) fn inside_of_object(json: &str) -> Option<&str> {
    let json = json.trim();
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    Some(json.strip_prefix('{')?.strip_suffix('}')?.trim())
}

pub(super) fn object(out: &mut String, fields: impl FnOnce(&mut Writer<'_>)) {
    out.push('{');
    fields(&mut Writer { out, empty: true });
    out.push('}');
}

pub(super) fn array(out: &mut String, elements: impl FnOnce(&mut Writer<'_>)) {
    out.push('[');
    elements(&mut Writer { out, empty: true });
    out.push(']');
}

impl Writer<'_> {
    /// Begins an element of an array.
    pub(super) fn element(&mut self) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out
    }

    /// Begins a field of an object. Names are our own and need no escaping.
    pub(super) fn key(&mut self, name: &str) -> &mut String {
        let out = self.element();
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out
    }

    /// Fields that are JSON already.
    pub(super) fn inside(&mut self, fields: &str) {
        if !fields.is_empty() {
            self.element().push_str(fields);
        }
    }

    pub(super) fn object(&mut self, name: &str, fields: impl FnOnce(&mut Writer<'_>)) {
        object(self.key(name), fields);
    }

    pub(super) fn array(
        &mut self,
        name: &str,
        rows: impl Iterator<Item = usize>,
        each: impl Fn(&mut String, usize),
    ) {
        let mut rows = rows.peekable();
        if rows.peek().is_some() {
            array(self.key(name), |array| rows.for_each(|row| each(array.element(), row)));
        }
    }

    pub(super) fn text(&mut self, name: &str, table: &SpanTable, column: &[Code], row: usize) {
        let text = table.strings.text(at(column, row));
        if !text.is_empty() {
            push_string(self.key(name), text);
        }
    }

    fn id(&mut self, name: &str, bytes: &[u8], form: JsonForm) {
        if !bytes.is_empty() {
            match form {
                JsonForm::Tempo => push_base64(self.key(name), bytes),
                JsonForm::Otlp => push_hex(self.key(name), bytes),
            }
        }
    }

    /// An integer of at most 32 bits.
    pub(super) fn number(&mut self, name: &str, value: u64) {
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

    /// An enum: in Tempo's form by its name, or by its number where it has none.
    fn name(&mut self, name: &str, value: u8, names: &[&str], form: JsonForm) {
        match names.get(usize::from(value)) {
            _ if value == 0 => {}
            Some(known) if form == JsonForm::Tempo => push_string(self.key(name), known),
            _ => push_display(self.key(name), value),
        }
    }
}
