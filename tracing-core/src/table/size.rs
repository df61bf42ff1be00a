//! How much memory a table holds, and giving back what it does not use.

use super::SpanTable;
use super::columns::{Attributes, Events, Links, Offsets, Resources, Scopes, Spans, Traces};

/// A column, or some of them.
trait Columns {
    /// Memory on the heap, in bytes.
    fn held(&self) -> usize;
    /// Gives back room that is not used.
    fn shrink(&mut self);
}

impl<T> Columns for Vec<T> {
    fn held(&self) -> usize {
        self.capacity() * size_of::<T>()
    }

    fn shrink(&mut self) {
        self.shrink_to_fit();
    }
}

impl Columns for Offsets {
    fn held(&self) -> usize {
        self.0.held()
    }

    fn shrink(&mut self) {
        self.0.shrink();
    }
}

/// Every field named, so that none is forgotten when one is added.
macro_rules! columns {
    ($($of:ident { $($field:ident),* })*) => {$(
        impl Columns for $of {
            fn held(&self) -> usize {
                let Self { $($field),* } = self;
                0 $(+ $field.held())*
            }

            fn shrink(&mut self) {
                let Self { $($field),* } = self;
                $($field.shrink();)*
            }
        }
    )*};
}

columns! {
    Traces {
        id, start, end, root_service, root_name, resources, stats, stats_service, stats_spans, stats_errors
    }
    Resources { service, has_service, attributes, dropped_attributes, scopes }
    Scopes { name, version, attributes, dropped_attributes, spans }
    Spans {
        id, parent_id, left, right, parent, name, kind, trace_state, start, duration, status,
        status_message, attributes, dropped_attributes, dropped_events, dropped_links, arrival, events,
        links
    }
    Events { since_start, name, attributes, dropped_attributes }
    Links { trace_id, span_id, trace_state, attributes, dropped_attributes }
    Attributes { offsets, key, kind, value, elements }
}

impl SpanTable {
    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Self { strings, traces, resources, scopes, spans, events, links } = self;
        let ids = links.trace_id.iter().chain(&links.span_id).map(|id| id.len()).sum::<usize>();
        let heads = traces.held() + resources.held() + scopes.held();
        size_of::<Self>() + strings.bytes() + heads + spans.held() + events.held() + links.held() + ids
    }

    /// Gives back room that the columns do not use.
    pub(crate) fn shrink(&mut self) {
        let Self { strings, traces, resources, scopes, spans, events, links } = self;
        strings.shrink();
        traces.shrink();
        resources.shrink();
        scopes.shrink();
        spans.shrink();
        events.shrink();
        links.shrink();
    }
}
