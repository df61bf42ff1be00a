//! OTLP/JSON (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding") into the same protobuf: trace
//! and span ids in hex, other bytes in base64, field names in lowerCamelCase or as in the .proto,
//! integers as numbers or strings, enums as numbers or names. Unknown fields are ignored.

mod field;

use bytes::Bytes;

use self::field::{Object, Path, Place};
use super::MAX_VALUE_DEPTH;
use super::tags::{
    self, event, key_value, link, resource, resource_spans, scope, scope_spans, span, status, value,
};
use crate::wire::WireError;
use crate::wire::json::parse;
use crate::wire::protobuf::{put_bytes, put_message, put_varint};

const KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

type Read = Result<(), WireError>;

/// An ExportTraceServiceRequest (or TracesData) in JSON as protobuf. What Tempo's blocks do not hold
/// (flags, schema URLs) is left out.
///
/// # Errors
/// [`WireError::NoJson`] where the text is none, [`WireError::Json`] with the field's path where a value is
/// not what the field takes.
pub fn json_to_proto(json: &[u8]) -> Result<Bytes, WireError> {
    let body = parse(json).map_err(WireError::NoJson)?;
    let mut out = Vec::with_capacity(json.len() / 2);
    let root = Object::of(Place { value: &body, path: &Path::Root })?;
    root.each(["resourceSpans", "resource_spans"], |place| {
        message(&mut out, tags::RESOURCE_SPANS, place, resource_spans)
    })?;
    Ok(out.into())
}

/// An AnyValue's JSON as the bytes of its protobuf.
///
/// # Errors
/// As [`json_to_proto`].
pub(crate) fn any_value_from_json(json: &str) -> Result<Vec<u8>, WireError> {
    let body = parse(json.as_bytes()).map_err(WireError::NoJson)?;
    let mut out = Vec::new();
    any_value(&mut out, &Object::of(Place { value: &body, path: &Path::Root })?, 0)?;
    Ok(out)
}

/// Writes a nested message whose fields `write` reads from the object at `place`.
fn message(
    out: &mut Vec<u8>,
    tag: u32,
    place: Place<'_>,
    write: impl FnOnce(&mut Vec<u8>, &Object<'_>) -> Read,
) -> Read {
    let object = Object::of(place)?;
    let mut read = Ok(());
    put_message(out, tag, |out| read = write(out, &object));
    read
}

fn resource_spans(out: &mut Vec<u8>, object: &Object<'_>) -> Read {
    object.one(["resource", "resource"], |place| {
        message(out, resource_spans::RESOURCE, place, |out, object| {
            attributes(out, resource::ATTRIBUTES, object, 0)?;
            object.count(out, resource::DROPPED, ["droppedAttributesCount", "dropped_attributes_count"])
        })
    })?;
    object.each(["scopeSpans", "scope_spans"], |place| {
        message(out, resource_spans::SCOPE_SPANS, place, scope_spans)
    })
}

fn scope_spans(out: &mut Vec<u8>, object: &Object<'_>) -> Read {
    object.one(["scope", "scope"], |place| {
        message(out, scope_spans::SCOPE, place, |out, object| {
            object.text(out, scope::NAME, ["name", "name"])?;
            object.text(out, scope::VERSION, ["version", "version"])?;
            attributes(out, scope::ATTRIBUTES, object, 0)?;
            object.count(out, scope::DROPPED, ["droppedAttributesCount", "dropped_attributes_count"])
        })
    })?;
    object.each(["spans", "spans"], |place| message(out, scope_spans::SPANS, place, span))
}

fn span(out: &mut Vec<u8>, object: &Object<'_>) -> Read {
    object.id(out, span::TRACE_ID, ["traceId", "trace_id"])?;
    object.id(out, span::SPAN_ID, ["spanId", "span_id"])?;
    object.text(out, span::TRACE_STATE, ["traceState", "trace_state"])?;
    object.id(out, span::PARENT_SPAN_ID, ["parentSpanId", "parent_span_id"])?;
    object.text(out, span::NAME, ["name", "name"])?;
    object.choice(out, span::KIND, ["kind", "kind"], KINDS)?;
    object.fixed64(out, span::START, ["startTimeUnixNano", "start_time_unix_nano"])?;
    object.fixed64(out, span::END, ["endTimeUnixNano", "end_time_unix_nano"])?;
    attributes(out, span::ATTRIBUTES, object, 0)?;
    object.count(out, span::DROPPED_ATTRIBUTES, ["droppedAttributesCount", "dropped_attributes_count"])?;
    object.each(["events", "events"], |place| message(out, span::EVENTS, place, event))?;
    object.count(out, span::DROPPED_EVENTS, ["droppedEventsCount", "dropped_events_count"])?;
    object.each(["links", "links"], |place| message(out, span::LINKS, place, link))?;
    object.count(out, span::DROPPED_LINKS, ["droppedLinksCount", "dropped_links_count"])?;
    object.one(["status", "status"], |place| {
        message(out, span::STATUS, place, |out, object| {
            object.text(out, status::MESSAGE, ["message", "message"])?;
            object.choice(out, status::CODE, ["code", "code"], CODES)
        })
    })
}

fn event(out: &mut Vec<u8>, object: &Object<'_>) -> Read {
    object.fixed64(out, event::TIME, ["timeUnixNano", "time_unix_nano"])?;
    object.text(out, event::NAME, ["name", "name"])?;
    attributes(out, event::ATTRIBUTES, object, 0)?;
    object.count(out, event::DROPPED, ["droppedAttributesCount", "dropped_attributes_count"])
}

fn link(out: &mut Vec<u8>, object: &Object<'_>) -> Read {
    object.id(out, link::TRACE_ID, ["traceId", "trace_id"])?;
    object.id(out, link::SPAN_ID, ["spanId", "span_id"])?;
    object.text(out, link::TRACE_STATE, ["traceState", "trace_state"])?;
    attributes(out, link::ATTRIBUTES, object, 0)?;
    object.count(out, link::DROPPED, ["droppedAttributesCount", "dropped_attributes_count"])
}

fn attributes(out: &mut Vec<u8>, tag: u32, object: &Object<'_>, depth: usize) -> Read {
    object.each(["attributes", "attributes"], |place| {
        message(out, tag, place, |out, object| key_value(out, object, depth))
    })
}

fn key_value(out: &mut Vec<u8>, object: &Object<'_>, depth: usize) -> Read {
    object.text(out, key_value::KEY, ["key", "key"])?;
    object.one(["value", "value"], |place| {
        message(out, key_value::VALUE, place, |out, object| any_value(out, object, depth))
    })
}

fn any_value(out: &mut Vec<u8>, object: &Object<'_>, depth: usize) -> Read {
    let deeper = |place: &Place<'_>| {
        let error = || place.error(format!("values are nested deeper than {MAX_VALUE_DEPTH} levels"));
        (depth < MAX_VALUE_DEPTH).then_some(depth + 1).ok_or_else(error)
    };
    object.one(["stringValue", "string_value"], |place| {
        put_bytes(out, value::STRING, place.text()?.as_bytes());
        Ok(())
    })?;
    object.one(["boolValue", "bool_value"], |place| {
        put_varint(out, u64::from(value::BOOL));
        put_varint(out, u64::from(place.boolean()?));
        Ok(())
    })?;
    object.one(["intValue", "int_value"], |place| {
        put_varint(out, u64::from(value::INT));
        put_varint(out, place.signed()?.cast_unsigned());
        Ok(())
    })?;
    object.one(["doubleValue", "double_value"], |place| {
        put_varint(out, u64::from(value::DOUBLE));
        out.extend_from_slice(&place.double()?.to_le_bytes());
        Ok(())
    })?;
    object.one(["bytesValue", "bytes_value"], |place| {
        put_bytes(out, value::BYTES, &place.base64()?);
        Ok(())
    })?;
    object.one(["arrayValue", "array_value"], |place| {
        let depth = deeper(&place)?;
        message(out, value::ARRAY, place, |out, object| {
            object.each(["values", "values"], |place| {
                message(out, tags::VALUES, place, |out, object| any_value(out, object, depth))
            })
        })
    })?;
    object.one(["kvlistValue", "kvlist_value"], |place| {
        let depth = deeper(&place)?;
        message(out, value::KVLIST, place, |out, object| {
            object.each(["values", "values"], |place| {
                message(out, tags::VALUES, place, |out, object| key_value(out, object, depth))
            })
        })
    })
}

#[cfg(test)]
mod tests;
