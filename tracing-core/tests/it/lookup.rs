//! What Tempo answered to lookups of the conformance corpus (e2e/data), held against what the library
//! makes of the same bytes: cut by trace, taken in live, built, and written out again.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use flate2::read::GzDecoder;
use serde_json::Value;
use tracing_core::model::TraceId;
use tracing_core::table::{Live, TableBuilder, render};
use tracing_core::wire::otlp;

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/data").join(name);
    let bytes = fs::read(&path).expect("the corpus is part of the repository");
    if !name.ends_with("gz") {
        return bytes;
    }
    let mut out = Vec::new();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut out).expect("the corpus is whole");
    out
}

fn lines(name: &str) -> Vec<Value> {
    let text = String::from_utf8(data(name)).expect("JSON lines are text");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The requests of the corpus, each with its length as a varint before it.
fn requests() -> Vec<Bytes> {
    let mut rest = Bytes::from(data("corpus.otlp.gz"));
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|&&byte| byte >= 0x80).count() + 1;
        let len = rest.split_to(digits).iter().rev().fold(0, |len, byte| len << 7 | usize::from(byte & 0x7f));
        requests.push(rest.split_to(len));
    }
    requests
}

/// A trace as a set of (resource, scope, span), whatever the batching. Lists are sorted but for the
/// elements of array values.
fn spans(resource_spans: &Value) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut spans = BTreeSet::new();
    for batch in list(resource_spans) {
        for scope_spans in list(&batch["scopeSpans"]) {
            for span in list(&scope_spans["spans"]) {
                let mut row = serde_json::json!([batch["resource"], scope_spans["scope"], span]);
                sort(&mut row, "");
                spans.insert(row.to_string());
            }
        }
    }
    spans
}

fn sort(value: &mut Value, field: &str) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| sort(value, name)),
        Value::Array(elements) => {
            for element in elements.iter_mut() {
                sort(element, "");
            }
            if field == "attributes" || field == "events" || field == "links" {
                elements.sort_by_key(ToString::to_string);
            }
        }
        // 1 and 1.0 are the same number
        Value::Number(number) => *value = number.as_f64().map_or(Value::Null, Value::from),
        _ => {}
    }
}

/// The recorded lookups that found their trace, by trace.
fn recorded() -> Vec<(TraceId, BTreeSet<String>)> {
    let answers: HashMap<String, Value> =
        lines("expected.jsonl.gz").into_iter().map(|line| (line["id"].to_string(), line)).collect();
    let mut recorded = Vec::new();
    for query in lines("queries.jsonl").iter().filter(|query| query["kind"] == "trace") {
        let body = &answers[&query["id"].to_string()]["body"];
        let found = spans(&body["batches"]).into_iter().chain(spans(&body["trace"]["resourceSpans"]));
        let found: BTreeSet<String> = found.collect();
        if !found.is_empty() {
            let id =
                query["path"].as_str().and_then(|path| path.rsplit('/').next()).expect("an id in the path");
            recorded.push((TraceId::from_hex(id).expect("a trace id"), found));
        }
    }
    recorded
}

#[test]
fn every_recorded_lookup_is_answered_with_the_same_spans() {
    let mut live = Live::default();
    let now = Instant::now();
    for request in requests() {
        for slice in otlp::split(&request).expect("the corpus is OTLP").traces {
            live.push(slice.id, slice.otlp, now);
        }
        live.snapshot();
    }
    let frozen = live.freeze();
    assert_eq!(frozen.traces(), 813);
    let recorded = recorded();
    assert_eq!(recorded.len(), 51, "lookups that found their trace");
    for (id, expected) in recorded {
        let part = frozen.find(id).expect("the trace is there");
        let mut builder = TableBuilder::new();
        builder.begin(id);
        builder.add_otlp(&part.to_otlp()).expect("what was written out reads back");
        builder.end();
        let json = render::resource_spans_json(&builder.finish(), 0);
        let json: Value = serde_json::from_str(&json).expect("the rendered trace is JSON");
        assert_eq!(spans(&json), expected, "{id}");
    }
}
