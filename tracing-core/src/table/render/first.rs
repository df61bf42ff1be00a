//! The first spans of a trace that is too large to be answered whole.

use super::{Excerpt, at, protobuf};
use crate::table::{Bitmap, SpanTable};

/// Tag and length of a message within another take at most so many bytes.
const FRAME: usize = 6;

/// Of trace `trace`, or of its spans in `only`, the first ones whose TracesData has at most `max` bytes: those without a parent, then all others, in the order in
/// which they started. So what is answered begins where the trace does, and few spans lack their parent.
#[must_use]
pub fn first_spans(table: &SpanTable, trace: usize, only: Option<&Bitmap>, max: u64) -> Bitmap {
    let excerpt = Excerpt { table, trace, only };
    let mut spans: Vec<Place> = Vec::new();
    for resource in excerpt.resources() {
        for scope in excerpt.scopes(resource) {
            spans.extend(excerpt.spans(scope).map(|span| Place { span, scope, resource }));
        }
    }
    spans.sort_by_key(|of| {
        let is_root = at(&table.spans.parent_id, of.span).is_zero();
        (!is_root, at(&table.spans.start, of.span))
    });
    let mut kept = Kept::new(table);
    for place in spans {
        if kept.take(table, trace, place) > max {
            break;
        }
        kept.spans.set(place.span);
    }
    kept.spans
}

#[derive(Clone, Copy)]
struct Place {
    span: usize,
    scope: usize,
    resource: usize,
}

/// What is kept so far, and how long it is.
struct Kept {
    spans: Bitmap,
    scopes: Bitmap,
    resources: Bitmap,
    bytes: u64,
    scratch: Vec<u8>,
}

impl Kept {
    fn new(table: &SpanTable) -> Self {
        let none = |rows| Bitmap::none(rows);
        Self {
            spans: none(table.span_count()),
            scopes: none(table.scopes.spans.parents()),
            resources: none(table.resources.scopes.parents()),
            bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// Counts a span, and its scope and resource where they are new; answers how long all is, at most.
    fn take(&mut self, table: &SpanTable, trace: usize, of: Place) -> u64 {
        if !self.resources.get(of.resource) {
            self.resources.set(of.resource);
            self.count(2, |out| protobuf::push_resource(out, table, of.resource));
        }
        if !self.scopes.get(of.scope) {
            self.scopes.set(of.scope);
            self.count(2, |out| protobuf::push_scope(out, table, of.scope));
        }
        let id = at(&table.traces.id, trace);
        self.count(1, |out| protobuf::push_span(out, table, of.span, id));
        self.bytes
    }

    fn count(&mut self, frames: usize, push: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        push(&mut self.scratch);
        self.bytes += (self.scratch.len() + frames * FRAME) as u64;
    }
}
