//! Proves that a message decodes, without keeping anything: what passes here is acknowledged, so nothing
//! may fail later.

use super::MAX_VALUE_DEPTH;
use super::tags::{self, VALUES, VALUES_KNOWN, event, key_value, link, resource, scope, span, status, value};
use crate::wire::protobuf::Reader;
use crate::wire::{Problem, WireError};

/// The ids of a span as they stand in the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids<'a> {
    pub(super) trace: &'a [u8],
    pub(super) span: &'a [u8],
    pub(super) parent: &'a [u8],
}

pub(super) fn resource(mut at: Reader<'_>) -> Result<(), WireError> {
    while let Some(tag) = at.tag("Resource")? {
        match tag {
            resource::ATTRIBUTES => key_value(at.message("Resource.attributes")?, 0)?,
            resource::DROPPED => drop(at.varint("Resource.dropped_attributes_count")?),
            other => at.skip(other, "Resource", resource::KNOWN)?,
        }
    }
    Ok(())
}

pub(super) fn scope(mut at: Reader<'_>) -> Result<(), WireError> {
    while let Some(tag) = at.tag("InstrumentationScope")? {
        match tag {
            scope::NAME => drop(at.bytes("InstrumentationScope.name")?),
            scope::VERSION => drop(at.bytes("InstrumentationScope.version")?),
            scope::ATTRIBUTES => key_value(at.message("InstrumentationScope.attributes")?, 0)?,
            scope::DROPPED => drop(at.varint("InstrumentationScope.dropped_attributes_count")?),
            other => at.skip(other, "InstrumentationScope", scope::KNOWN)?,
        }
    }
    Ok(())
}

pub(super) fn span(mut at: Reader<'_>) -> Result<Ids<'_>, WireError> {
    let mut ids = Ids::default();
    while let Some(tag) = at.tag("Span")? {
        match tag {
            span::TRACE_ID => ids.trace = at.bytes("Span.trace_id")?,
            span::SPAN_ID => ids.span = at.bytes("Span.span_id")?,
            span::PARENT_SPAN_ID => ids.parent = at.bytes("Span.parent_span_id")?,
            span::NAME => drop(at.bytes("Span.name")?),
            span::ATTRIBUTES => key_value(at.message("Span.attributes")?, 0)?,
            span::START => drop(at.fixed64("Span.start_time_unix_nano")?),
            span::END => drop(at.fixed64("Span.end_time_unix_nano")?),
            span::EVENTS => event(at.message("Span.events")?)?,
            span::LINKS => link(at.message("Span.links")?)?,
            span::STATUS => status(at.message("Span.status")?)?,
            span::TRACE_STATE => drop(at.bytes("Span.trace_state")?),
            span::KIND => drop(at.varint("Span.kind")?),
            span::DROPPED_ATTRIBUTES => drop(at.varint("Span.dropped_attributes_count")?),
            span::DROPPED_EVENTS => drop(at.varint("Span.dropped_events_count")?),
            span::DROPPED_LINKS => drop(at.varint("Span.dropped_links_count")?),
            span::FLAGS => at.pass(tag, "Span.flags")?,
            other => at.skip(other, "Span", span::KNOWN)?,
        }
    }
    Ok(ids)
}

fn event(mut at: Reader<'_>) -> Result<(), WireError> {
    while let Some(tag) = at.tag("Span.Event")? {
        match tag {
            event::TIME => drop(at.fixed64("Span.Event.time_unix_nano")?),
            event::NAME => drop(at.bytes("Span.Event.name")?),
            event::ATTRIBUTES => key_value(at.message("Span.Event.attributes")?, 0)?,
            event::DROPPED => drop(at.varint("Span.Event.dropped_attributes_count")?),
            other => at.skip(other, "Span.Event", event::KNOWN)?,
        }
    }
    Ok(())
}

fn link(mut at: Reader<'_>) -> Result<(), WireError> {
    while let Some(tag) = at.tag("Span.Link")? {
        match tag {
            link::TRACE_ID => drop(at.bytes("Span.Link.trace_id")?),
            link::SPAN_ID => drop(at.bytes("Span.Link.span_id")?),
            link::TRACE_STATE => drop(at.bytes("Span.Link.trace_state")?),
            link::ATTRIBUTES => key_value(at.message("Span.Link.attributes")?, 0)?,
            link::DROPPED => drop(at.varint("Span.Link.dropped_attributes_count")?),
            link::FLAGS => at.pass(tag, "Span.Link.flags")?,
            other => at.skip(other, "Span.Link", link::KNOWN)?,
        }
    }
    Ok(())
}

fn status(mut at: Reader<'_>) -> Result<(), WireError> {
    while let Some(tag) = at.tag("Status")? {
        match tag {
            status::MESSAGE => drop(at.bytes("Status.message")?),
            status::CODE | status::DEPRECATED => drop(at.varint("Status.code")?),
            other => at.skip(other, "Status", status::KNOWN)?,
        }
    }
    Ok(())
}

fn key_value(mut at: Reader<'_>, depth: usize) -> Result<(), WireError> {
    while let Some(tag) = at.tag("KeyValue")? {
        match tag {
            key_value::KEY => drop(at.bytes("KeyValue.key")?),
            key_value::VALUE => any_value(at.message("KeyValue.value")?, depth)?,
            other => at.skip(other, "KeyValue", key_value::KNOWN)?,
        }
    }
    Ok(())
}

fn any_value(mut at: Reader<'_>, depth: usize) -> Result<(), WireError> {
    while let Some(tag) = at.tag("AnyValue")? {
        match tag {
            value::STRING => drop(at.bytes("AnyValue.string_value")?),
            value::INT => drop(at.varint("AnyValue.int_value")?),
            value::BOOL => drop(at.varint("AnyValue.bool_value")?),
            value::DOUBLE => drop(at.fixed64("AnyValue.double_value")?),
            value::BYTES => drop(at.bytes("AnyValue.bytes_value")?),
            value::ARRAY => values(at.message("AnyValue.array_value")?, depth + 1, any_value)?,
            value::KVLIST => values(at.message("AnyValue.kvlist_value")?, depth + 1, key_value)?,
            other => at.skip(other, "AnyValue", value::KNOWN)?,
        }
    }
    Ok(())
}

fn values<'a>(
    mut at: Reader<'a>,
    depth: usize,
    each: fn(Reader<'a>, usize) -> Result<(), WireError>,
) -> Result<(), WireError> {
    if depth > MAX_VALUE_DEPTH {
        return Err(at.error("AnyValue", Problem::Depth(MAX_VALUE_DEPTH)));
    }
    while let Some(tag) = at.tag("AnyValue.values")? {
        match tag {
            VALUES => each(at.message("AnyValue.values")?, depth)?,
            other => at.skip(other, "AnyValue.values", VALUES_KNOWN)?,
        }
    }
    Ok(())
}

/// The fields of a ResourceSpans or ScopeSpans, checked but for the children with `children`'s tag.
pub(super) fn header(
    mut at: Reader<'_>,
    shape: &Shape,
    mut keep: impl FnMut(usize, usize),
) -> Result<(), WireError> {
    loop {
        let start = at.offset();
        let Some(tag) = at.tag(shape.message)? else { return Ok(()) };
        if tag == shape.head {
            (shape.check)(at.message(shape.message)?)?;
            keep(start, at.offset());
        } else if tag == shape.children || tag == shape.schema_url {
            at.pass(tag, shape.message)?;
        } else {
            at.skip(tag, shape.message, shape.known)?;
        }
    }
}

/// What ResourceSpans and ScopeSpans have in common: a head, children, and a schema URL, which Tempo's
/// blocks do not hold.
pub(super) struct Shape {
    pub(super) message: &'static str,
    head: u32,
    pub(super) children: u32,
    schema_url: u32,
    known: u32,
    check: fn(Reader<'_>) -> Result<(), WireError>,
}

pub(super) const RESOURCE_SPANS: Shape = Shape {
    message: "ResourceSpans",
    head: tags::resource_spans::RESOURCE,
    children: tags::resource_spans::SCOPE_SPANS,
    schema_url: tags::resource_spans::SCHEMA_URL,
    known: tags::resource_spans::KNOWN,
    check: resource,
};

pub(super) const SCOPE_SPANS: Shape = Shape {
    message: "ScopeSpans",
    head: tags::scope_spans::SCOPE,
    children: tags::scope_spans::SPANS,
    schema_url: tags::scope_spans::SCHEMA_URL,
    known: tags::scope_spans::KNOWN,
    check: scope,
};
