//! Bytes that anybody may send: none panic, what is accepted decodes, and what is decoded comes back.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tracing_core::model::TraceId;
use tracing_core::table::{SpanTable, TableBuilder, render};
use tracing_core::wire::otlp::{self, Split};

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("service.name".to_owned()), Just("http.method".to_owned()), "[a-z.]{0,6}", ".{0,4}"]
}

fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        ".{0,8}".prop_map(|text| json!({"stringValue": text})),
        any::<i64>().prop_map(|int| json!({"intValue": int.to_string()})),
        any::<f64>().prop_map(|double| json!({"doubleValue": double})),
        Just(json!({"doubleValue": "NaN"})),
        any::<bool>().prop_map(|bool| json!({"boolValue": bool})),
        Just(json!({"bytesValue": "AAFyYXc="})),
        Just(json!({})),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        let keyed = (key(), inner.clone()).prop_map(|(key, value)| json!({"key": key, "value": value}));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|values| json!({"arrayValue": {"values": values}})),
            prop::collection::vec(keyed, 0..4).prop_map(|values| json!({"kvlistValue": {"values": values}})),
            prop::collection::vec(any::<i64>(), 0..4).prop_map(|ints| {
                let values: Vec<_> = ints.iter().map(|int| json!({"intValue": int.to_string()})).collect();
                json!({"arrayValue": {"values": values}})
            }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<Value>> {
    let entry = (key(), any_value()).prop_map(|(key, value)| json!({"key": key, "value": value}));
    prop::collection::vec(entry, 0..5)
}

/// One of few ids, so that spans are parents, children and duplicates of each other.
fn span() -> impl Strategy<Value = Value> {
    let ids = (1..4_u8, 1..8_u8, 0..8_u8);
    let event = (any::<u64>(), "[a-z]{0,3}", attributes()).prop_map(|(time, name, attributes)| {
        json!({"timeUnixNano": time.to_string(), "name": name, "attributes": attributes})
    });
    let link = (0..4_u8, attributes()).prop_map(|(id, attributes)| {
        json!({"traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "attributes": attributes})
    });
    let times = (any::<u64>(), any::<u64>(), 0..7_u8, 0..4_u8, any::<u32>());
    let inside = (prop::collection::vec(event, 0..3), prop::collection::vec(link, 0..2), attributes());
    (ids, "[a-z ]{0,5}", times, inside).prop_map(|((trace, id, parent), name, times, inside)| {
        let (start, length, kind, code, dropped) = times;
        let (events, links, attributes) = inside;
        let end = start.saturating_add(length % 1_000_000);
        json!({
            "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"),
            "parentSpanId": if parent == 0 { String::new() } else { format!("{parent:016x}") },
            "name": name, "kind": kind, "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string(),
            "attributes": attributes, "events": events, "links": links, "droppedEventsCount": dropped,
            "status": {"code": code, "message": "m"}, "traceState": "a=b"
        })
    })
}

fn request() -> impl Strategy<Value = Bytes> {
    let scope_spans = ("[a-c]{0,1}", attributes(), prop::collection::vec(span(), 0..5)).prop_map(
        |(name, attributes, spans)| json!({"scope": {"name": name, "attributes": attributes}, "spans": spans}),
    );
    let resource_spans = (attributes(), prop::collection::vec(scope_spans, 0..3)).prop_map(
        |(attributes, scopes)| json!({"resource": {"attributes": attributes}, "scopeSpans": scopes}),
    );
    prop::collection::vec(resource_spans, 0..4).prop_map(|batches| {
        let json = json!({"resourceSpans": batches}).to_string();
        otlp::json_to_proto(json.as_bytes()).expect("the generator writes OTLP/JSON")
    })
}

fn build(split: &Split) -> SpanTable {
    let mut builder = TableBuilder::keeping_duplicates();
    for slice in &split.traces {
        builder.begin(slice.id);
        builder.add_otlp(&slice.otlp).expect("what is accepted decodes");
        assert_eq!(builder.staged_spans(), slice.spans as usize);
        assert!(builder.end().is_some());
    }
    builder.finish()
}

/// Every trace of a table, written out.
fn written(table: &SpanTable) -> Vec<(TraceId, Bytes, String)> {
    let traces = table.traces.id.iter().enumerate();
    traces.map(|(at, &id)| (id, render::otlp(table, at), render::resource_spans_json(table, at))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn spans_come_back_as_they_were_however_often_they_are_written_and_read(body in request()) {
        let split = otlp::split(&body).expect("the generator writes OTLP");
        let first = build(&split);
        prop_assert_eq!(first.span_count() as u64, split.spans);
        let traces = written(&first);
        let joined: Vec<u8> = traces.iter().flat_map(|(_, otlp, _)| otlp.to_vec()).collect();
        let again = build(&otlp::split(&joined.into()).expect("what is written is OTLP"));
        prop_assert_eq!(&again.spans.left, &first.spans.left);
        prop_assert_eq!(&again.spans.parent, &first.spans.parent);
        prop_assert_eq!(&again.traces.stats_spans, &first.traces.stats_spans);
        prop_assert_eq!(written(&again), traces);
    }

    #[test]
    fn rows_that_are_copied_read_as_those_that_were_decoded(body in request()) {
        let source = build(&otlp::split(&body).expect("the generator writes OTLP"));
        let mut builder = TableBuilder::keeping_duplicates();
        for (trace, &id) in source.traces.id.iter().enumerate() {
            builder.begin(id);
            builder.add_rows(&source, trace);
            builder.end();
        }
        let copy = builder.finish();
        prop_assert_eq!(&copy.spans.right, &source.spans.right);
        prop_assert_eq!(written(&copy), written(&source));
    }

    #[test]
    fn a_trace_added_twice_is_there_once_where_duplicates_are_dropped(body in request()) {
        for slice in otlp::split(&body).expect("the generator writes OTLP").traces {
            let mut once = TableBuilder::new();
            let mut twice = TableBuilder::new();
            once.begin(slice.id);
            twice.begin(slice.id);
            once.add_otlp(&slice.otlp).expect("what is accepted decodes");
            twice.add_otlp(&slice.otlp).expect("what is accepted decodes");
            twice.add_otlp(&slice.otlp).expect("what is accepted decodes");
            once.end();
            twice.end();
            prop_assert_eq!(written(&once.finish()), written(&twice.finish()));
        }
    }

    #[test]
    fn what_is_accepted_decodes_however_it_was_damaged(
        body in request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = body.to_vec();
        if !bytes.is_empty() {
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len() * 4).max(1));
        }
        if let Ok(split) = otlp::split(&Bytes::from(bytes)) {
            let table = build(&split);
            prop_assert_eq!(table.span_count() as u64, split.spans);
            for (_, otlp, json) in written(&table) {
                prop_assert!(otlp::split(&otlp).is_ok());
                prop_assert!(serde_json::from_str::<Value>(&json).is_ok());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_answered_with_spans_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = otlp::json_to_proto(&bytes);
        let mut builder = TableBuilder::new();
        builder.begin(TraceId([1; 16]));
        let _ = builder.add_otlp(&bytes);
        builder.end();
        if let Ok(split) = otlp::split(&bytes.into()) {
            build(&split);
        }
    }
}
