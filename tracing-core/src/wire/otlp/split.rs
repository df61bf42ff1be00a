//! Cuts a request by trace: the received bytes of each span are copied once, next to those of its trace,
//! below their resource and scope.

use std::collections::HashMap;

use bytes::Bytes;

use super::check::{self, Ids, RESOURCE_SPANS, SCOPE_SPANS};
use super::tags;
use crate::model::{SpanId, TraceId};
use crate::wire::WireError;
use crate::wire::protobuf::{Reader, put_varint, varint_len};

/// A request cut by trace.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// One slice for each trace in the request, in order of first appearance.
    pub traces: Vec<TraceSlice>,
    /// Spans in the slices.
    pub spans: u64,
    /// Spans that are in no slice, and why.
    pub rejected: Rejected,
}

/// The spans of one trace.
#[derive(Clone, Debug)]
pub struct TraceSlice {
    /// The trace.
    pub id: TraceId,
    /// Spans in the slice.
    pub spans: u32,
    /// A TracesData with this trace's spans alone. All slices of a request share one buffer.
    pub otlp: Bytes,
}

/// Spans whose ids name nothing. The other spans of their request are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// All spans rejected.
    pub spans: u64,
    /// Those rejected for their trace id.
    pub invalid_trace_id: u64,
    /// Those rejected for their own or their parent's span id.
    pub invalid_span_id: u64,
    /// Why the first one was rejected, in Tempo's words; empty where none was.
    pub first_reason: String,
}

/// Room that the slices may take beyond four times the request's size: the head of a resource or scope is
/// copied into the slice of every trace that has spans below it.
const WIDENING: u64 = 64 << 20;

/// Cuts an ExportTraceServiceRequest (or TracesData) by trace. Everything in it is checked to decode, so
/// that what is acknowledged can be read later.
///
/// # Errors
/// [`WireError`] for the whole request where it is malformed, or its slices would be out of proportion.
pub fn split(body: &Bytes) -> Result<Split, WireError> {
    let limit = u32::MAX as usize;
    if body.len() > limit {
        return Err(WireError::TooLarge { bytes: body.len(), limit });
    }
    let mut walk = Walk::default();
    walk.request(body)?;
    let spans = walk.spans.len() as u64;
    if let ([only], 0) = (walk.traces.as_slice(), walk.rejected.spans) {
        let slice = TraceSlice { id: only.0, spans: only.1, otlp: body.clone() };
        return Ok(Split { traces: vec![slice], spans, rejected: walk.rejected });
    }
    let traces = walk.recut(body)?;
    Ok(Split { traces, spans, rejected: walk.rejected })
}

/// What was found in a request; everything refers to ranges of its bytes.
#[derive(Default)]
struct Walk {
    pieces: Vec<(u32, u32)>,
    resources: Vec<Head>,
    scopes: Vec<Head>,
    spans: Vec<Span>,
    /// Id and number of spans.
    traces: Vec<(TraceId, u32)>,
    by_id: HashMap<TraceId, u32>,
    rejected: Rejected,
}

/// The fields of a ResourceSpans or ScopeSpans beside its children.
#[derive(Clone, Copy)]
struct Head {
    /// Range of `Walk::pieces`.
    pieces: (u32, u32),
    bytes: u32,
    /// The resource of a scope.
    parent: u32,
}

#[derive(Clone, Copy, Default)]
struct Span {
    trace: u32,
    scope: u32,
    /// The field with its tag and length.
    start: u32,
    end: u32,
}

/// Spans of one trace side by side below one scope.
struct Run {
    scope: u32,
    spans: std::ops::Range<usize>,
    bytes: u64,
}

impl Walk {
    fn request(&mut self, body: &Bytes) -> Result<(), WireError> {
        let mut at = Reader::new(body);
        while let Some(tag) = at.tag("TracesData")? {
            match tag {
                tags::RESOURCE_SPANS => self.resource(at.message("TracesData.resource_spans")?)?,
                other => at.skip(other, "TracesData", 1)?,
            }
        }
        Ok(())
    }

    fn resource(&mut self, mut at: Reader<'_>) -> Result<(), WireError> {
        let resource = self.resources.len() as u32;
        let head = self.head(at, &RESOURCE_SPANS, 0)?;
        self.resources.push(head);
        while let Some(tag) = at.tag(RESOURCE_SPANS.message)? {
            if tag == RESOURCE_SPANS.children {
                self.scope(at.message("ResourceSpans.scope_spans")?, resource)?;
            } else {
                at.pass(tag, RESOURCE_SPANS.message)?;
            }
        }
        Ok(())
    }

    fn scope(&mut self, mut at: Reader<'_>, resource: u32) -> Result<(), WireError> {
        let scope = self.scopes.len() as u32;
        let head = self.head(at, &SCOPE_SPANS, resource)?;
        self.scopes.push(head);
        loop {
            let start = at.offset() as u32;
            let Some(tag) = at.tag(SCOPE_SPANS.message)? else { return Ok(()) };
            if tag != SCOPE_SPANS.children {
                at.pass(tag, SCOPE_SPANS.message)?;
                continue;
            }
            let ids = check::span(at.message("ScopeSpans.spans")?)?;
            if let Some(id) = self.accept(ids) {
                let trace = self.trace(id);
                self.spans.push(Span { trace, scope, start, end: at.offset() as u32 });
            }
        }
    }

    fn head(&mut self, at: Reader<'_>, shape: &check::Shape, parent: u32) -> Result<Head, WireError> {
        let from = self.pieces.len() as u32;
        let mut bytes = 0;
        check::header(at, shape, |start, end| {
            self.pieces.push((start as u32, end as u32));
            bytes += (end - start) as u32;
        })?;
        Ok(Head { pieces: (from, self.pieces.len() as u32), bytes, parent })
    }

    /// The trace of a span whose ids are valid. Ids that are all zero count as absent, as they do for
    /// Tempo, whose receiver drops them.
    fn accept(&mut self, ids: Ids<'_>) -> Option<TraceId> {
        let trace = TraceId::from_slice(ids.trace).ok().filter(|id| *id != TraceId::default());
        let span = SpanId::from_slice(ids.span).ok().filter(|id| !id.is_zero());
        let parent_fits = matches!(ids.parent.len(), 0 | 8);
        if let (Some(id), Some(_), true) = (trace, span, parent_fits) {
            return Some(id);
        }
        self.rejected.spans += 1;
        let words = |expected: &str, id: &[u8], len: usize| {
            let zero = if id.len() == len { " (all zero)" } else { "" };
            format!("{expected}, received {} bits{zero}", id.len() * 8)
        };
        let reason = if trace.is_none() {
            self.rejected.invalid_trace_id += 1;
            words("trace ids must be 128 bit", ids.trace, 16)
        } else if span.is_none() {
            self.rejected.invalid_span_id += 1;
            words("span ids must be 64 bit and not all zero", ids.span, 8)
        } else {
            self.rejected.invalid_span_id += 1;
            words("parent span ids must be 64 bit or absent", ids.parent, 8)
        };
        if self.rejected.first_reason.is_empty() {
            self.rejected.first_reason = reason;
        }
        None
    }

    fn trace(&mut self, id: TraceId) -> u32 {
        let last = self.spans.last().map(|span| span.trace);
        let known = last.filter(|&at| self.traces.get(at as usize).is_some_and(|(known, _)| *known == id));
        let at = known.unwrap_or_else(|| {
            *self.by_id.entry(id).or_insert_with(|| {
                self.traces.push((id, 0));
                self.traces.len() as u32 - 1
            })
        });
        if let Some((_, spans)) = self.traces.get_mut(at as usize) {
            *spans += 1;
        }
        at
    }

    fn recut(&self, body: &Bytes) -> Result<Vec<TraceSlice>, WireError> {
        let spans = self.by_trace();
        let (runs, runs_of) = self.runs(&spans);
        let bytes: u64 = runs_of.iter().map(|range| self.size(runs.get(range.clone()))).sum();
        let limit = 4 * body.len() as u64 + WIDENING;
        if bytes > limit {
            return Err(WireError::TooWide { bytes, limit });
        }
        let mut out = Vec::with_capacity(bytes as usize);
        let mut ends = Vec::with_capacity(self.traces.len());
        for range in runs_of {
            self.write(body, &spans, runs.get(range).unwrap_or_default(), &mut out);
            ends.push(out.len());
        }
        let shared = Bytes::from(out);
        let mut start = 0;
        let slices = self.traces.iter().zip(ends).map(|(&(id, spans), end)| {
            let otlp = shared.slice(start..end);
            start = end;
            TraceSlice { id, spans, otlp }
        });
        Ok(slices.collect())
    }

    /// The spans ordered by trace, else as received.
    fn by_trace(&self) -> Vec<Span> {
        let mut next: Vec<u32> = Vec::with_capacity(self.traces.len());
        let mut total = 0;
        for (_, spans) in &self.traces {
            next.push(total);
            total += spans;
        }
        let mut ordered = vec![Span::default(); self.spans.len()];
        for span in &self.spans {
            if let Some(at) = next.get_mut(span.trace as usize) {
                if let Some(place) = ordered.get_mut(*at as usize) {
                    *place = *span;
                }
                *at += 1;
            }
        }
        ordered
    }

    /// The runs of all traces, and each trace's range of them.
    fn runs(&self, spans: &[Span]) -> (Vec<Run>, Vec<std::ops::Range<usize>>) {
        let mut runs: Vec<Run> = Vec::with_capacity(self.traces.len());
        let mut runs_of = Vec::with_capacity(self.traces.len());
        for (at, trace) in spans.chunk_by(|a, b| a.trace == b.trace).scan(0, |at, spans| {
            *at += spans.len();
            Some((*at - spans.len(), spans))
        }) {
            let first = runs.len();
            let mut from = at;
            for below in trace.chunk_by(|a, b| a.scope == b.scope) {
                let scope = below.first().map_or(0, |span| span.scope);
                let bytes = below.iter().map(|span| u64::from(span.end - span.start)).sum::<u64>()
                    + self.scopes.get(scope as usize).map_or(0, |head| u64::from(head.bytes));
                runs.push(Run { scope, spans: from..from + below.len(), bytes });
                from += below.len();
            }
            runs_of.push(first..runs.len());
        }
        (runs, runs_of)
    }

    fn resource_of(&self, run: &Run) -> u32 {
        self.scopes.get(run.scope as usize).map_or(0, |head| head.parent)
    }

    /// Bytes of the ResourceSpans that holds these runs, which share a resource.
    fn resource_size(&self, resource: u32, runs: &[Run]) -> u64 {
        let head = self.resources.get(resource as usize).map_or(0, |head| u64::from(head.bytes));
        head + runs.iter().map(|run| field_size(run.bytes)).sum::<u64>()
    }

    fn size(&self, runs: Option<&[Run]>) -> u64 {
        let same = |a: &Run, b: &Run| self.resource_of(a) == self.resource_of(b);
        let groups = runs.unwrap_or_default().chunk_by(same);
        groups
            .filter_map(|group| Some((self.resource_of(group.first()?), group)))
            .map(|(resource, group)| field_size(self.resource_size(resource, group)))
            .sum()
    }

    fn write(&self, body: &[u8], spans: &[Span], runs: &[Run], out: &mut Vec<u8>) {
        for group in runs.chunk_by(|a, b| self.resource_of(a) == self.resource_of(b)) {
            let Some(resource) = group.first().map(|run| self.resource_of(run)) else { continue };
            put_varint(out, u64::from(tags::RESOURCE_SPANS));
            put_varint(out, self.resource_size(resource, group));
            self.write_head(body, self.resources.get(resource as usize), out);
            for run in group {
                put_varint(out, u64::from(tags::resource_spans::SCOPE_SPANS));
                put_varint(out, run.bytes);
                self.write_head(body, self.scopes.get(run.scope as usize), out);
                for span in spans.get(run.spans.clone()).unwrap_or_default() {
                    out.extend_from_slice(piece(body, (span.start, span.end)));
                }
            }
        }
    }

    fn write_head(&self, body: &[u8], head: Option<&Head>, out: &mut Vec<u8>) {
        let range = head.map_or(0..0, |head| head.pieces.0 as usize..head.pieces.1 as usize);
        for &range in self.pieces.get(range).unwrap_or_default() {
            out.extend_from_slice(piece(body, range));
        }
    }
}

/// Bytes of a nested message of `len` bytes with its one-byte tag and its length.
fn field_size(len: u64) -> u64 {
    1 + varint_len(len) + len
}

fn piece(body: &[u8], (start, end): (u32, u32)) -> &[u8] {
    body.get(start as usize..end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests;
