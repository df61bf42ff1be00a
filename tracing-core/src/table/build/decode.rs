//! TracesData bytes into the stage, without an object per span.

use super::heads::Heads;
use super::values::{Memo, intern, intern_like, push_key_value};
use super::{Group, Stage};
use crate::model::SpanId;
use crate::table::strings::{Code, Strings};
use crate::wire::otlp::tags::{self, event, link, resource_spans, scope_spans, span, status};
use crate::wire::protobuf::Reader;
use crate::wire::{Problem, WireError};

pub(super) struct Decoder<'a> {
    pub(super) strings: &'a mut Strings,
    pub(super) heads: &'a mut Heads,
    pub(super) stage: &'a mut Stage,
    pub(super) memo: &'a mut Memo,
}

/// The fields of a span that are known only when all of it was read.
#[derive(Default)]
struct Fields<'a> {
    /// Of a field that is there twice the last one counts, as everywhere in Protobuf; so only that has to be an id.
    id: &'a [u8],
    parent_id: &'a [u8],
    name: Code,
    kind: u8,
    trace_state: Code,
    start: u64,
    end: u64,
    status: u8,
    status_message: Code,
    dropped_attributes: u32,
    dropped_events: u32,
    dropped_links: u32,
}

impl Decoder<'_> {
    pub(super) fn traces_data(&mut self, otlp: &[u8]) -> Result<(), WireError> {
        let mut at = Reader::new(otlp);
        while let Some(tag) = at.tag("TracesData")? {
            let read = match tag {
                tags::RESOURCE_SPANS => {
                    at.message("TracesData.resource_spans").and_then(|inside| self.resource_spans(inside))
                }
                other => at.skip(other, "TracesData", 1),
            };
            if read.is_err() {
                self.stage.forget_open();
                return read;
            }
        }
        Ok(())
    }

    fn resource_spans(&mut self, mut at: Reader<'_>) -> Result<(), WireError> {
        let head = head(at, "ResourceSpans", resource_spans::RESOURCE)?;
        let resource = self.heads.resource(self.strings, &head)?;
        while let Some(tag) = at.tag("ResourceSpans")? {
            match tag {
                resource_spans::SCOPE_SPANS => {
                    self.scope_spans(at.message("ResourceSpans.scope_spans")?, resource)?;
                }
                other => at.pass(other, "ResourceSpans")?,
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, mut at: Reader<'_>, resource: u32) -> Result<(), WireError> {
        let head = head(at, "ScopeSpans", scope_spans::SCOPE)?;
        let scope = self.heads.scope(self.strings, &head)?;
        let mut group = None;
        while let Some(tag) = at.tag("ScopeSpans")? {
            match tag {
                scope_spans::SPANS => {
                    self.span(at.message("ScopeSpans.spans")?)?;
                    let group = *group.get_or_insert_with(|| self.stage.group(Group { resource, scope }));
                    self.stage.group_of.push(group);
                }
                other => at.pass(other, "ScopeSpans")?,
            }
        }
        Ok(())
    }

    fn span(&mut self, mut at: Reader<'_>) -> Result<(), WireError> {
        let mut fields = Fields::default();
        let first_event = self.stage.events.since_start.len();
        self.memo.restart();
        while let Some(tag) = at.tag("Span")? {
            match tag {
                span::ATTRIBUTES => {
                    let inside = at.message("Span.attributes")?;
                    push_key_value(&mut self.stage.spans.attributes, self.strings, self.memo, inside)?;
                }
                span::EVENTS => self.event(at.message("Span.events")?)?,
                span::LINKS => self.link(at.message("Span.links")?)?,
                span::STATUS => self.status(at.message("Span.status")?, &mut fields)?,
                other => self.field(&mut at, other, &mut fields)?,
            }
        }
        let id = span_id(&at, "Span.span_id", fields.id)?;
        let parent_id = match fields.parent_id {
            [] => SpanId::default(),
            parent => span_id(&at, "Span.parent_span_id", parent)?,
        };
        self.push(id, parent_id, &fields, first_event);
        Ok(())
    }

    fn field<'a>(&mut self, at: &mut Reader<'a>, tag: u32, to: &mut Fields<'a>) -> Result<(), WireError> {
        match tag {
            span::SPAN_ID => to.id = at.bytes("Span.span_id")?,
            span::PARENT_SPAN_ID => to.parent_id = at.bytes("Span.parent_span_id")?,
            span::NAME => {
                let mut last = self.stage.spans.name.last().copied().unwrap_or_default();
                to.name = intern_like(self.strings, at.bytes("Span.name")?, &mut last);
            }
            span::TRACE_STATE => to.trace_state = intern(self.strings, at.bytes("Span.trace_state")?),
            span::START => to.start = at.fixed64("Span.start_time_unix_nano")?,
            span::END => to.end = at.fixed64("Span.end_time_unix_nano")?,
            span::KIND => to.kind = u8::try_from(at.varint("Span.kind")?).unwrap_or(0),
            span::DROPPED_ATTRIBUTES => {
                to.dropped_attributes = at.varint("Span.dropped_attributes_count")? as u32;
            }
            span::DROPPED_EVENTS => to.dropped_events = at.varint("Span.dropped_events_count")? as u32,
            span::DROPPED_LINKS => to.dropped_links = at.varint("Span.dropped_links_count")? as u32,
            span::TRACE_ID | span::FLAGS => at.pass(tag, "Span")?,
            other => at.skip(other, "Span", span::KNOWN)?,
        }
        Ok(())
    }

    fn push(&mut self, id: SpanId, parent_id: SpanId, fields: &Fields<'_>, first_event: usize) {
        let Stage { spans, events, links, .. } = &mut *self.stage;
        for time in events.since_start.iter_mut().skip(first_event) {
            *time = time.wrapping_sub(fields.start);
        }
        spans.id.push(id);
        spans.parent_id.push(parent_id);
        spans.name.push(fields.name);
        spans.kind.push(fields.kind);
        spans.trace_state.push(fields.trace_state);
        spans.start.push(fields.start);
        spans.duration.push(fields.end.saturating_sub(fields.start));
        spans.status.push(fields.status);
        spans.status_message.push(fields.status_message);
        spans.attributes.offsets.close(spans.attributes.key.len());
        spans.dropped_attributes.push(fields.dropped_attributes);
        spans.dropped_events.push(fields.dropped_events);
        spans.dropped_links.push(fields.dropped_links);
        spans.events.close(events.since_start.len());
        spans.links.close(links.trace_id.len());
    }

    fn event(&mut self, mut at: Reader<'_>) -> Result<(), WireError> {
        let to = &mut self.stage.events;
        let (mut time, mut name, mut dropped) = (0, Code::EMPTY, 0);
        while let Some(tag) = at.tag("Span.Event")? {
            match tag {
                event::TIME => time = at.fixed64("Span.Event.time_unix_nano")?,
                event::NAME => name = intern(self.strings, at.bytes("Span.Event.name")?),
                event::ATTRIBUTES => {
                    let inside = at.message("Span.Event.attributes")?;
                    push_key_value(&mut to.attributes, self.strings, self.memo, inside)?;
                }
                event::DROPPED => dropped = at.varint("Span.Event.dropped_attributes_count")? as u32,
                other => at.skip(other, "Span.Event", event::KNOWN)?,
            }
        }
        to.since_start.push(time);
        to.name.push(name);
        to.attributes.offsets.close(to.attributes.key.len());
        to.dropped_attributes.push(dropped);
        Ok(())
    }

    fn link(&mut self, mut at: Reader<'_>) -> Result<(), WireError> {
        let to = &mut self.stage.links;
        let (mut trace, mut id, mut state, mut dropped) = (&[][..], &[][..], Code::EMPTY, 0);
        while let Some(tag) = at.tag("Span.Link")? {
            match tag {
                link::TRACE_ID => trace = at.bytes("Span.Link.trace_id")?,
                link::SPAN_ID => id = at.bytes("Span.Link.span_id")?,
                link::TRACE_STATE => state = intern(self.strings, at.bytes("Span.Link.trace_state")?),
                link::ATTRIBUTES => {
                    let inside = at.message("Span.Link.attributes")?;
                    push_key_value(&mut to.attributes, self.strings, self.memo, inside)?;
                }
                link::DROPPED => dropped = at.varint("Span.Link.dropped_attributes_count")? as u32,
                link::FLAGS => at.pass(tag, "Span.Link")?,
                other => at.skip(other, "Span.Link", link::KNOWN)?,
            }
        }
        to.trace_id.push(trace.into());
        to.span_id.push(id.into());
        to.trace_state.push(state);
        to.attributes.offsets.close(to.attributes.key.len());
        to.dropped_attributes.push(dropped);
        Ok(())
    }

    fn status(&mut self, mut at: Reader<'_>, to: &mut Fields<'_>) -> Result<(), WireError> {
        while let Some(tag) = at.tag("Status")? {
            match tag {
                status::MESSAGE => to.status_message = intern(self.strings, at.bytes("Status.message")?),
                status::CODE => to.status = u8::try_from(at.varint("Status.code")?).unwrap_or(0),
                other => at.pass(other, "Status")?,
            }
        }
        Ok(())
    }
}

/// The fields with `tag`, in the unlikely case of several joined, which is how protobuf merges them.
fn head<'a>(
    mut at: Reader<'a>,
    message: &'static str,
    wanted: u32,
) -> Result<std::borrow::Cow<'a, [u8]>, WireError> {
    let mut head = std::borrow::Cow::Borrowed(&[][..]);
    while let Some(tag) = at.tag(message)? {
        if tag != wanted {
            at.pass(tag, message)?;
            continue;
        }
        let part = at.bytes(message)?;
        if head.is_empty() {
            head = part.into();
        } else {
            head.to_mut().extend_from_slice(part);
        }
    }
    Ok(head)
}

/// An id of 8 bytes.
fn span_id(at: &Reader<'_>, field: &'static str, bytes: &[u8]) -> Result<SpanId, WireError> {
    let wrong = |_| at.error(field, Problem::Id { expected: 8, received: bytes.len() });
    SpanId::from_slice(bytes).map_err(wrong)
}
