//! A trace as Tempo writes it for language models (`application/vnd.grafana.llm`): spans by service and scope, attributes by key as
//! plain JSON values, no types and no nesting that a reader has to undo.

use rustc_hash::FxHashSet;

use super::json::{KINDS, STATUSES, Writer, array, inside_of_object, object};
use super::protobuf::element_value;
use super::{Excerpt, at};
use crate::table::columns::{Attributes, SpanTable, Value};
use crate::table::strings::Strings;
use crate::wire::json::{push_display, push_double, push_hex, push_string};

pub(super) fn trace(excerpt: Excerpt<'_>) -> String {
    let mut out = String::new();
    let table = excerpt.table;
    object(&mut out, |object| {
        push_hex(object.key("traceId"), &at(&table.traces.id, excerpt.trace).0);
        array(object.key("services"), |services| {
            for row in excerpt.resources() {
                self::object(services.element(), |object| service(object, excerpt, row));
            }
        });
    });
    out
}

fn service(object: &mut Writer<'_>, excerpt: Excerpt<'_>, row: usize) {
    let table = excerpt.table;
    object.text("serviceName", table, &table.resources.service, row);
    attributes(object, "resource", &table.resources.attributes, row, &table.strings);
    object.array("scopes", excerpt.scopes(row), |out, row| {
        self::object(out, |object| {
            object.text("name", table, &table.scopes.name, row);
            object.text("version", table, &table.scopes.version, row);
            object.array("spans", excerpt.spans(row), |out, row| {
                self::object(out, |object| span(object, table, row));
            });
        });
    });
}

fn span(object: &mut Writer<'_>, table: &SpanTable, row: usize) {
    let spans = &table.spans;
    push_hex(object.key("spanId"), &at(&spans.id, row).0);
    let parent = at(&spans.parent_id, row);
    if !parent.is_zero() {
        push_hex(object.key("parentSpanId"), &parent.0);
    }
    object.text("name", table, &spans.name, row);
    if let Some(kind) = KINDS.get(usize::from(at(&spans.kind, row))) {
        push_string(object.key("kind"), kind);
    }
    let (start, duration) = (at(&spans.start, row), at(&spans.duration, row));
    push_display(object.key("startTimeUnixNano"), format_args!("\"{start}\""));
    push_display(object.key("endTimeUnixNano"), format_args!("\"{}\"", start.saturating_add(duration)));
    push_double(object.key("durationMs"), duration as f64 / 1e6);
    attributes(object, "attributes", &spans.attributes, row, &table.strings);
    object.array("events", spans.events.range(row), |out, row| {
        let events = &table.events;
        self::object(out, |object| {
            object.text("name", table, &events.name, row);
            let time = start.wrapping_add(at(&events.since_start, row));
            push_display(object.key("timeUnixNano"), format_args!("\"{time}\""));
            attributes(object, "attributes", &events.attributes, row, &table.strings);
        });
    });
    object.object("status", |object| {
        if let Some(code) = STATUSES.get(usize::from(at(&spans.status, row))) {
            push_string(object.key("code"), code);
        }
        object.text("message", table, &spans.status_message, row);
    });
}

/// By key; of a key that occurs twice the first counts, since a JSON object has each once.
fn attributes(object: &mut Writer<'_>, name: &str, of: &Attributes, owner: usize, strings: &Strings) {
    object.object(name, |object| {
        let mut seen = FxHashSet::default();
        for entry in of.offsets.range(owner) {
            let key = at(&of.key, entry);
            if let Some(value) = of.get(entry, strings).filter(|_| seen.insert(key)) {
                let out = object.element();
                push_string(out, strings.text(key));
                out.push(':');
                plain(out, &value, strings);
            }
        }
    });
}

fn plain(out: &mut String, value: &Value<'_>, strings: &Strings) {
    match value {
        Value::String(text) => push_string(out, text),
        Value::Int(int) => push_display(out, int),
        Value::Double(double) => push_double(out, *double),
        Value::Bool(bool) => push_display(out, bool),
        Value::Array(kind, elements) => array(out, |array| {
            for &element in *elements {
                plain(array.element(), &element_value(*kind, element, strings), strings);
            }
        }),
        // An AnyValue of any other shape is shown as OTLP's JSON has it.
        Value::Unsupported(json) => match inside_of_object(json) {
            Some(inside) => object(out, |object| object.inside(inside)),
            None => push_string(out, json),
        },
    }
}
