//! The traces themselves, as our own reader reads them: times, nested sets, roots and statistics that follow
//! from the spans.

use std::collections::BTreeMap;

use tracing_core::{block::Meta, model::SpanId, store::Objects, table::SpanTable};

use super::{Findings, sketch::Asked};
use crate::blocks::{survey::Block, tables::Tables};

/// OTLP's status code of an error.
const ERROR: u8 = 2;

/// Reads all row groups as tables and checks each trace.
pub(super) async fn check(
    findings: &mut Findings,
    objects: &Objects,
    block: &Block,
    meta: &Meta,
) -> anyhow::Result<()> {
    let mut sketch = Asked::open(findings, objects, block).await;
    let mut tables = Tables::open(objects, block, meta).await?;
    let (mut start, mut end) = (u64::MAX, 0);
    while let Some(table) = tables.next().await? {
        if let Some(sketch) = &mut sketch {
            sketch.table(findings, &table);
        }
        for trace in 0..table.trace_count() {
            one(findings, &table, trace);
            start = start.min(table.traces.start.get(trace).copied().unwrap_or(start));
            end = end.max(table.traces.end.get(trace).copied().unwrap_or(end));
        }
    }
    let (from, to) = meta.nanos();
    // Tempo clamps these to when the spans came in, and cuts off fractions of a second.
    let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1_000_000_000;
    if start != u64::MAX && seconds(start, from) > 0 {
        findings.note(format!("a trace begins {} s before startTime", seconds(start, from)));
    }
    if seconds(to, end) > 0 {
        findings.note(format!("a trace ends {} s after endTime", seconds(to, end)));
    }
    Ok(())
}

fn one(findings: &mut Findings, table: &SpanTable, trace: usize) {
    let traces = &table.traces;
    let at = format!("trace {}", traces.id.get(trace).copied().unwrap_or_default());
    let spans = table.spans_of_trace(trace);
    if spans.is_empty() {
        findings.wrong(at, "has no span");
        return;
    }
    let starts = table.spans.start.get(spans.clone()).unwrap_or_default();
    let durations = table.spans.duration.get(spans.clone()).unwrap_or_default();
    let start = starts.iter().copied().min().unwrap_or_default();
    let end = starts.iter().zip(durations).map(|(start, length)| start.saturating_add(*length)).max();
    findings.same(&at, "StartTimeUnixNano", traces.start.get(trace).copied().unwrap_or_default(), start);
    // A span that ends before it starts counts with its own end in some writers, and with none in ours.
    let stored = traces.end.get(trace).copied().unwrap_or_default();
    if stored < start || end.is_some_and(|end| stored > end.max(start)) {
        findings
            .wrong(&at, format!("EndTimeUnixNano is {stored}, its spans end at {}", end.unwrap_or(start)));
    }
    statistics(findings, table, trace, &at);
    nested(findings, table, spans, &at);
}

/// Spans and errors of each service.
fn statistics(findings: &mut Findings, table: &SpanTable, trace: usize, at: &str) {
    let mut counted: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for resource in table.traces.resources.range(trace) {
        let Some(service) = table.resources.service.get(resource) else { continue };
        let spans = table.spans_of_resources(resource..resource + 1);
        let status = table.spans.status.get(spans.clone()).unwrap_or_default();
        let errors = status.iter().map(|status| u32::from(*status == ERROR)).sum::<u32>();
        let entry = counted.entry(table.strings.text(*service)).or_default();
        *entry = (entry.0 + spans.len() as u32, entry.1 + errors);
    }
    let mut stored = BTreeMap::new();
    for entry in table.traces.stats.range(trace) {
        let (Some(service), Some(spans), Some(errors)) = (
            table.traces.stats_service.get(entry),
            table.traces.stats_spans.get(entry),
            table.traces.stats_errors.get(entry),
        ) else {
            continue;
        };
        stored.insert(table.strings.text(*service), (*spans, *errors));
    }
    counted.retain(|_, (spans, _)| *spans > 0);
    if stored != counted {
        findings.wrong(at, format!("ServiceStats are {stored:?}, its spans make {counted:?}"));
    }
}

/// A span's place in the nested set.
struct Place {
    left: i32,
    right: i32,
    parent: i32,
    id: SpanId,
    parent_id: SpanId,
}

/// The numbers are each there once, each span lies within its parent, and the parent is the one it names.
fn nested(findings: &mut Findings, table: &SpanTable, spans: std::ops::Range<usize>, at: &str) {
    let mut places = Vec::new();
    for span in spans {
        let of = |column: &[i32]| column.get(span).copied().unwrap_or_default();
        let (left, right, parent) = (of(&table.spans.left), of(&table.spans.right), of(&table.spans.parent));
        let ids =
            [&table.spans.id, &table.spans.parent_id].map(|ids| ids.get(span).copied().unwrap_or_default());
        let [id, parent_id] = ids;
        if left == 0 && right == 0 {
            if parent != 0 {
                findings
                    .wrong(at, format!("span {id}: has a parent in the nested set and no place of its own"));
            }
            continue;
        }
        places.push(Place { left, right, parent, id, parent_id });
    }
    places.sort_by_key(|place| place.left);
    let mut numbers: Vec<_> = places.iter().flat_map(|place| [place.left, place.right]).collect();
    numbers.sort_unstable();
    if numbers.iter().zip(1..).any(|(number, expected)| *number != expected) {
        findings.wrong(at, format!("nested set: its numbers are not 1 to {}", numbers.len()));
        return;
    }
    let mut open: Vec<&Place> = Vec::new();
    for place in &places {
        while open.last().is_some_and(|last| last.right < place.left) {
            open.pop();
        }
        let wrong = |what: &str| format!("nested set: span {} {what}", place.id);
        match open.last() {
            _ if place.left >= place.right => findings.wrong(at, wrong("ends before it begins")),
            Some(above) if place.right > above.right => findings.wrong(at, wrong("reaches over its parent")),
            Some(above) if place.parent != above.left => {
                findings.wrong(at, wrong("names another parent than it lies in"));
            }
            Some(above) if place.parent_id != above.id => {
                findings.wrong(at, wrong("lies in a span that is not its parent"));
            }
            None if place.parent != -1 => findings.wrong(at, wrong("lies in no span and is no root")),
            _ => {}
        }
        open.push(place);
    }
}
