//! The single binary from end to end: what is acknowledged is found at once, after a flush, and after a restart.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;
use vivace::proto::tempopb::{
    Trace,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};

use crate::process::Process;

const ID: &str = "0102030405060708090a0b0c0d0e0f10";

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

/// A checkout of the shop: one span and its child.
fn checkout() -> Vec<u8> {
    let end = now();
    let root = Span {
        trace_id: (1..=16).collect::<Vec<u8>>().into(),
        span_id: vec![1; 8].into(),
        name: "checkout".to_owned(),
        start_time_unix_nano: end - 2_000_000_000,
        end_time_unix_nano: end,
        attributes: vec![attribute("http.request.method", "POST")],
        ..Span::default()
    };
    let child = Span {
        span_id: vec![2; 8].into(),
        parent_span_id: vec![1; 8].into(),
        name: "pay".to_owned(),
        ..root.clone()
    };
    let resource = Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![root, child], ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    Trace { resource_spans: vec![spans] }.encode_to_vec()
}

/// The trace is found by its id, by TraceQL and by tags, each once.
async fn found(process: &Process, when: &str) {
    let query = "%7Bresource.service.name%20%3D%20%22shop%22%20%26%26%20name%20%3D%20%22pay%22%7D";
    let since = now() / 1_000_000_000 - 3600;
    let range = format!("start={since}&end={}", since + 7200);
    for path in
        [format!("/api/search?q={query}&{range}"), format!("/api/search?tags=service.name%3Dshop&{range}")]
    {
        let answer = process.get(&path).await;
        assert_eq!(answer.code, 200, "{when}: {}", answer.text());
        let answer = answer.json();
        let traces = answer["traces"].as_array().cloned().unwrap_or_default();
        assert_eq!(traces.len(), 1, "{when}: {answer}");
        assert_eq!(traces[0]["traceID"], ID.trim_start_matches('0'), "{when}");
        assert_eq!(traces[0]["rootServiceName"], "shop", "{when}");
    }
    let answer = process.get(&format!("/api/traces/{ID}")).await;
    assert_eq!(answer.code, 200, "{when}: {}", answer.text());
    let spans = answer.json()["batches"][0]["scopeSpans"][0]["spans"].as_array().map_or(0, Vec::len);
    assert_eq!(spans, 2, "{when}: {}", answer.text());
    assert_eq!(process.get("/api/traces/ffff").await.code, 404, "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_found_at_once_after_a_flush_and_after_a_restart() {
    let process = Process::start("").await;
    let answer = process.export(&[("content-type", "application/x-protobuf")], checkout()).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    found(&process, "live").await;
    assert_eq!(process.get("/flush").await.code, 204);
    found(&process, "after a flush").await;
    let dir = process.stop().await;
    let process = Process::start_in(dir, "").await;
    found(&process, "after a restart").await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_flushed_is_found_after_a_crash() {
    let process = Process::start("").await;
    process.export(&[("content-type", "application/x-protobuf")], checkout()).await;
    let copy = tempfile::tempdir().unwrap();
    copy_files(process.dir.path(), copy.path());
    let again = Process::start_in(copy, "").await;
    found(&again, "after a crash").await;
    again.stop().await;
    process.stop().await;
}

/// What a process that is killed now leaves behind.
fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_uploads_what_is_held_and_ends_the_process() {
    let process = Process::start("").await;
    process.export(&[("content-type", "application/x-protobuf")], checkout()).await;
    assert_eq!(process.get("/shutdown").await.code, 204);
    process.app.ended().await;
    assert_eq!(process.get("/ready").await.code, 503);
    let blocks = std::fs::read_dir(process.dir.path().join("blocks/single-tenant")).unwrap().count();
    assert_eq!(blocks, 1);
    process.stop().await;
}
