//! Whether a table has all its columns, each as long as its level: a block keeps every one of them.

use crate::{
    block::BlockError,
    table::{Attributes, Events, Links, Resources, Scopes, SpanTable, Spans, Traces},
};

/// Refuses a table that was read with a projection, or that does not hang together.
pub(super) fn check(table: &SpanTable) -> Result<(), BlockError> {
    let SpanTable { strings: _, traces, resources, scopes, spans, events, links } = table;
    let complete = traces_fit(traces, table.trace_count())
        && resources_fit(resources, traces.resources.children())
        && scopes_fit(scopes, resources.scopes.children())
        && spans_fit(spans, table.span_count())
        && events_fit(events, spans.events.children())
        && links_fit(links, spans.links.children());
    if complete {
        return Ok(());
    }
    Err(BlockError::corrupt("table", "not every column is there, as a block needs it"))
}

fn all(lengths: &[usize], rows: usize) -> bool {
    lengths.iter().all(|length| *length == rows)
}

fn attributes_fit(attributes: &Attributes, owners: usize) -> bool {
    let Attributes { offsets, key, kind, value, elements: _ } = attributes;
    offsets.parents() == owners && all(&[key.len(), kind.len(), value.len()], offsets.children())
}

fn traces_fit(traces: &Traces, rows: usize) -> bool {
    let Traces {
        id,
        start,
        end,
        root_service,
        root_name,
        resources: _,
        stats,
        stats_service,
        stats_spans,
        stats_errors,
    } = traces;
    let own = [id.len(), start.len(), end.len(), root_service.len(), root_name.len(), stats.parents()];
    all(&own, rows) && all(&[stats_service.len(), stats_spans.len(), stats_errors.len()], stats.children())
}

fn resources_fit(resources: &Resources, rows: usize) -> bool {
    let Resources { service, has_service: _, attributes, dropped_attributes, scopes } = resources;
    attributes_fit(attributes, rows)
        && all(&[service.len(), dropped_attributes.len(), scopes.parents()], rows)
}

fn scopes_fit(scopes: &Scopes, rows: usize) -> bool {
    let Scopes { name, version, attributes, dropped_attributes, spans } = scopes;
    attributes_fit(attributes, rows)
        && all(&[name.len(), version.len(), dropped_attributes.len(), spans.parents()], rows)
}

fn spans_fit(spans: &Spans, rows: usize) -> bool {
    let Spans {
        id,
        parent_id,
        left,
        right,
        parent,
        name,
        kind,
        trace_state,
        start,
        duration,
        status,
        status_message,
        attributes,
        dropped_attributes,
        dropped_events,
        dropped_links,
        arrival: _,
        events,
        links,
    } = spans;
    let ids = [id.len(), parent_id.len(), left.len(), right.len(), parent.len()];
    let texts = [name.len(), trace_state.len(), status_message.len()];
    let numbers = [kind.len(), start.len(), duration.len(), status.len()];
    let dropped = [dropped_attributes.len(), dropped_events.len(), dropped_links.len()];
    attributes_fit(attributes, rows)
        && [&ids[..], &texts, &numbers, &dropped, &[events.parents(), links.parents()]]
            .iter()
            .all(|lengths| all(lengths, rows))
}

fn events_fit(events: &Events, rows: usize) -> bool {
    let Events { since_start, name, attributes, dropped_attributes } = events;
    attributes_fit(attributes, rows) && all(&[since_start.len(), name.len(), dropped_attributes.len()], rows)
}

fn links_fit(links: &Links, rows: usize) -> bool {
    let Links { trace_id, span_id, trace_state, attributes, dropped_attributes } = links;
    let own = [trace_id.len(), span_id.len(), trace_state.len(), dropped_attributes.len()];
    attributes_fit(attributes, rows) && all(&own, rows)
}
