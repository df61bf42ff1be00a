//! Live traces: nothing acknowledged is missing from a search, whatever was asked before and whenever.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing_core::model::{SpanId, TraceId};
use tracing_core::table::{Live, LiveTable, LiveView, Part, TableBuilder};
use tracing_core::wire::otlp;

/// One span, as `split` would hand it on.
fn slice(id: TraceId, span: u32) -> Bytes {
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{id}","spanId":"{span:016x}",
        "name":"span {}","startTimeUnixNano":"{}"}}]}}]}}]}}"#,
        span % 50,
        1000 + span
    );
    otlp::json_to_proto(json.as_bytes()).expect("the text is OTLP/JSON")
}

fn id(n: u32) -> TraceId {
    TraceId(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
}

/// Trace and span ids of all that is alive, sorted.
fn spans(view: &LiveView) -> Vec<(TraceId, SpanId)> {
    let mut found = Vec::new();
    for LiveTable { table, alive } in &view.tables {
        for trace in alive.iter() {
            let id = table.traces.id[trace];
            found.extend(table.spans_of_trace(trace).map(|span| (id, table.spans.id[span])));
        }
    }
    found.sort_unstable();
    found
}

fn span(n: u32) -> SpanId {
    SpanId(u64::from(n).to_be_bytes())
}

#[test]
fn what_was_pushed_is_in_the_next_snapshot_with_what_was_there_before() {
    let now = Instant::now();
    let mut live = Live::default();
    assert!(live.push(id(1), slice(id(1), 1), now).new_trace);
    live.push(id(2), slice(id(2), 2), now);
    let first = live.snapshot();
    assert_eq!(live.pending_bytes(), 0);
    assert!(!live.push(id(1), slice(id(1), 3), now).new_trace);
    let second = live.snapshot();
    let mut expected = vec![(id(1), span(1)), (id(2), span(2))];
    expected.sort_unstable();
    assert_eq!(spans(&first), expected);
    expected.push((id(1), span(3)));
    expected.sort_unstable();
    assert_eq!(spans(&second), expected);
    assert_eq!((live.spans(), live.traces(), live.undecodable()), (3, 2, 0));
}

#[test]
fn many_snapshots_of_a_slowly_filling_table_leave_few_tables_and_lose_nothing() {
    let now = Instant::now();
    let mut live = Live::default();
    let mut expected = Vec::new();
    for n in 0..3000 {
        let trace = id(n % 700);
        live.push(trace, slice(trace, n + 1), now);
        expected.push((trace, span(n + 1)));
        let view = live.snapshot();
        assert!(view.tables.len() <= 28, "{} tables", view.tables.len());
    }
    expected.sort_unstable();
    assert_eq!(spans(&live.snapshot()), expected);
    assert_eq!(live.spans(), 3000);
    let held: usize = live.snapshot().tables.iter().map(|live| live.table.span_count()).sum();
    assert!(held < 3000 * 2 + 4096, "{held} spans held for 3000");
}

#[test]
fn quiet_traces_are_decoded_without_being_asked_for_and_busy_ones_left() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut live = Live::default();
    for n in 0..10 {
        live.push(id(n), slice(id(n), 1), now);
    }
    live.push(id(3), slice(id(3), 2), later);
    let bytes = live.pending_bytes();
    assert!(live.settle(now, 1), "a limit of one byte decodes one trace");
    assert_eq!(live.spans(), 1);
    assert!(!live.settle(now, bytes));
    assert_eq!(live.spans(), 9);
    assert!(live.pending_bytes() > 0);
    assert!(!live.settle(later, bytes));
    assert_eq!((live.spans(), live.pending_bytes()), (11, 0));
}

#[test]
fn a_trace_is_found_whether_decoded_or_not() {
    let now = Instant::now();
    let mut live = Live::default();
    live.push(id(1), slice(id(1), 1), now);
    live.snapshot();
    live.push(id(1), slice(id(1), 2), now);
    let parts = live.find(id(1)).expect("the trace is there");
    assert!(matches!(parts.as_slice(), [Part::Row(..), Part::Otlp(_)]));
    let mut builder = TableBuilder::new();
    builder.begin(id(1));
    for part in &parts {
        builder.add_otlp(&part.to_otlp()).expect("parts decode");
    }
    builder.end();
    assert_eq!(builder.finish().spans.id, [span(1), span(2)]);
    assert!(live.find(id(2)).is_none());
}

#[test]
fn frozen_rows_are_every_trace_once_in_order_of_id() {
    let now = Instant::now();
    let mut live = Live::default();
    for n in 0..500 {
        live.push(id(n % 100), slice(id(n % 100), n + 1), now);
        if n % 60 == 0 {
            live.snapshot();
        }
    }
    let frozen = live.freeze();
    let rows = frozen.rows();
    let ids: Vec<_> = rows.iter().map(|(table, row)| table.traces.id[*row as usize]).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert_eq!(ids.len(), 100);
    assert_eq!(rows.iter().map(|(table, row)| table.spans_of_trace(*row as usize).len()).sum::<usize>(), 500);
    assert_eq!(spans(&frozen.view()).len(), 500);
    assert!(frozen.find(id(7)).is_some() && frozen.find(id(100)).is_none());
}

/// A span without a parent, of a service with as many further spans.
fn roots(id: TraceId, first: u32, service: &str, more: u32) -> Bytes {
    let spans = (first..=first + more).map(|span| {
        let parent = if span == first { String::new() } else { format!("{first:016x}") };
        format!(
            r#"{{"traceId":"{id}","spanId":"{span:016x}","parentSpanId":"{parent}","name":"span {span}",
            "startTimeUnixNano":"{}"}}"#,
            1000 + span
        )
    });
    let spans = spans.collect::<Vec<_>>().join(",");
    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":
        {{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#
    );
    otlp::json_to_proto(json.as_bytes()).expect("the text is OTLP/JSON")
}

#[test]
fn a_trace_with_several_roots_is_the_same_however_often_it_was_looked_at() {
    let now = Instant::now();
    let (mut seldom, mut often) = (Live::default(), Live::default());
    for (first, service, more) in [(1, "large", 5), (11, "small", 0), (21, "middle", 2), (31, "small", 1)] {
        for n in 0..40 {
            let slice = roots(id(n), first, service, more + n % 3);
            seldom.push(id(n), slice.clone(), now);
            often.push(id(n), slice, now);
            often.snapshot();
        }
    }
    let facts = |live: Live| {
        let rows = live.freeze().rows();
        let facts = rows.iter().map(|(table, row)| {
            let (at, spans) = (*row as usize, &table.spans);
            let text = |codes: &[_]| table.strings.text(codes[at]).to_owned();
            let (service, name) = (text(&table.traces.root_service), text(&table.traces.root_name));
            let mut sets: Vec<_> = table
                .spans_of_trace(at)
                .map(|span| (spans.id[span], spans.left[span], spans.right[span], spans.parent[span]))
                .collect();
            sets.sort_unstable();
            (service, name, sets)
        });
        facts.collect::<Vec<_>>()
    };
    assert_eq!(facts(often), facts(seldom));
}
