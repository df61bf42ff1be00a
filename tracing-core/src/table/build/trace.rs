//! Appends the staged trace to the table and works out what is known of it as a whole.

use super::copy::{self, Same};
use super::order::{self, Scratch};
use super::{Duplicates, Heads, Stage, TableBuilder, heads};
use crate::model::{SpanId, TraceId};
use crate::table::SpanTable;
use crate::table::columns::{Value, ValueKind};
use crate::table::strings::Code;

const STATUS_ERROR: u8 = 2;

pub(super) fn append(builder: &mut TableBuilder) -> Option<usize> {
    if builder.stage.group_of.is_empty() {
        return None;
    }
    builder.scratch.order(&builder.stage);
    match builder.duplicates {
        Duplicates::Keep => {}
        Duplicates::DropEqual => builder.scratch.drop_duplicates(&builder.stage, order::content),
        Duplicates::DropAlike => builder.scratch.drop_duplicates(&builder.stage, order::outline),
    }
    let TableBuilder { table, heads, stage, scratch, id, tidies, .. } = builder;
    if *tidies {
        scratch.tidy(stage, heads);
    } else {
        scratch.keep();
    }
    scratch.note_places(stage);
    let first_span = table.span_count();
    let first_resource = table.resources.service.len();
    append_rows(table, heads, stage, &scratch.tidy);
    if *tidies {
        let place = |row: &u32| scratch.place.get(*row as usize).copied().unwrap_or_default();
        table.spans.arrival.extend(scratch.tidy.iter().map(place));
    }
    scratch.tree.number(&mut table.spans, &stage.spans, &scratch.rows, &scratch.tidy, &scratch.place);
    let root = root(table, *id, by_arrival(scratch, first_span));
    append_trace(table, *id, root, first_span, first_resource);
    Some(table.trace_count() - 1)
}

/// The trace's rows of the table in the order in which they came, the last one first.
fn by_arrival(scratch: &Scratch, first_span: usize) -> impl Iterator<Item = usize> {
    let mut rows = vec![0; scratch.rows.len()];
    for (at, &row) in scratch.tidy.iter().enumerate() {
        if let Some(&place) = scratch.place.get(row as usize)
            && let Some(place) = rows.get_mut(place as usize)
        {
            *place = first_span + at;
        }
    }
    rows.into_iter().rev()
}

/// Rows come ordered by group, so a change of group opens a scope, and of resource a resource.
fn append_rows(table: &mut SpanTable, heads: &Heads, stage: &Stage, rows: &[u32]) {
    let group_of = |row: u32| {
        let group = stage.group_of.get(row as usize)?;
        stage.groups.get(*group as usize).copied()
    };
    let same_scope = |a: &u32, b: &u32| stage.group_of.get(*a as usize) == stage.group_of.get(*b as usize);
    let mut resource = None;
    for scope_rows in rows.chunk_by(same_scope) {
        let Some(group) = scope_rows.first().and_then(|&row| group_of(row)) else { continue };
        if resource != Some(group.resource) {
            if resource.is_some() {
                table.resources.scopes.close(table.scopes.name.len());
            }
            resource = Some(group.resource);
            let at = group.resource as usize;
            heads::copy_resource(&mut table.resources, &heads.resources, at, &mut Same);
        }
        heads::copy_scope(&mut table.scopes, &heads.scopes, group.scope as usize, &mut Same);
        for run in scope_rows.chunk_by(|a, b| a + 1 == *b) {
            let first = run.first().map_or(0, |&row| row as usize);
            copy::spans(
                (&mut table.spans, &mut table.events, &mut table.links),
                (&stage.spans, &stage.events, &stage.links),
                &(first..first + run.len()),
                &mut Same,
            );
        }
        table.scopes.spans.close(table.spans.id.len());
    }
    table.resources.scopes.close(table.scopes.name.len());
}

fn append_trace(
    table: &mut SpanTable,
    id: TraceId,
    (root_service, root_name): (Code, Code),
    first_span: usize,
    first_resource: usize,
) {
    let spans = &table.spans;
    let starts = spans.start.get(first_span..).unwrap_or_default();
    let durations = spans.duration.get(first_span..).unwrap_or_default();
    let start = starts.iter().copied().min().unwrap_or_default();
    let ends = starts.iter().zip(durations).map(|(start, duration)| start.saturating_add(*duration));
    let end = ends.max().unwrap_or_default();
    append_stats(table, first_resource);
    let traces = &mut table.traces;
    traces.id.push(id);
    traces.start.push(start);
    traces.end.push(end);
    traces.root_service.push(root_service);
    traces.root_name.push(root_name);
    traces.resources.close(table.resources.service.len());
}

/// Service and name of the last span without a parent, other than by an OpenTracing reference.
fn root(table: &SpanTable, id: TraceId, mut last_first: impl Iterator<Item = usize>) -> (Code, Code) {
    let parents = &table.spans.parent_id;
    let is_root =
        |row: &usize| parents.get(*row).is_some_and(SpanId::is_zero) && !is_child_by_link(table, *row, id);
    let Some(row) = last_first.find(is_root) else { return (Code::EMPTY, Code::EMPTY) };
    let scope = table.scopes.spans.0.partition_point(|&start| start as usize <= row) - 1;
    let resource = table.resources.scopes.0.partition_point(|&start| start as usize <= scope) - 1;
    let service = table.resources.service.get(resource).copied().unwrap_or_default();
    (service, table.spans.name.get(row).copied().unwrap_or_default())
}

fn is_child_by_link(table: &SpanTable, row: usize, id: TraceId) -> bool {
    let links = &table.links;
    let child_of = |link: usize| {
        links.attributes.offsets.range(link).any(|entry| {
            let key = links.attributes.key.get(entry).map(|&key| table.strings.text(key));
            key == Some("opentracing.ref_type")
                && links.attributes.kind.get(entry) == Some(&ValueKind::String)
                && links.attributes.get(entry, &table.strings) == Some(Value::String("child_of"))
        })
    };
    let mut links_of = table.spans.links.range(row);
    links_of.any(|link| links.trace_id.get(link).is_some_and(|linked| **linked == id.0) && child_of(link))
}

/// Spans and errors by service, sorted by its name.
fn append_stats(table: &mut SpanTable, first_resource: usize) {
    let mut stats: Vec<(Code, u32, u32)> = Vec::new();
    for resource in first_resource..table.resources.service.len() {
        let service = table.resources.service.get(resource).copied().unwrap_or_default();
        let spans = table.spans_of_resources(resource..resource + 1);
        let status = table.spans.status.get(spans.clone()).unwrap_or_default();
        let errors = status.iter().map(|&status| u32::from(status == STATUS_ERROR)).sum();
        stats.push((service, spans.len() as u32, errors));
    }
    stats.sort_unstable_by_key(|&(service, ..)| service);
    stats.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
            kept.2 += next.2;
        }
        same
    });
    stats.sort_unstable_by(|a, b| table.strings.text(a.0).cmp(table.strings.text(b.0)));
    let traces = &mut table.traces;
    for (service, spans, errors) in stats {
        traces.stats_service.push(service);
        traces.stats_spans.push(spans);
        traces.stats_errors.push(errors);
    }
    traces.stats.close(traces.stats_service.len());
}
