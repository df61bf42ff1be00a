//! Traces whose spans lie in several blocks and in memory answer as the whole that they are.

use prost::Message as _;
use vivace::proto::tempopb::{
    Trace,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};

use crate::{
    process::Process,
    query::{export, now, trace},
};

/// Span `n` of a trace, a child of span `n - 1`, and a second after it.
fn span(id: u8, n: u8, start: u64) -> Vec<u8> {
    let nanos = (start + u64::from(n)) * 1_000_000_000;
    let span = Span {
        trace_id: vec![id; 16].into(),
        span_id: vec![n; 8].into(),
        parent_span_id: if n == 1 { Vec::new().into() } else { vec![n - 1; 8].into() },
        name: format!("step {n}"),
        start_time_unix_nano: nanos,
        end_time_unix_nano: nanos + 1_000_000,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let spans = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    Trace { resource_spans: vec![spans] }.encode_to_vec()
}

async fn flush(process: &Process) {
    assert!(process.get("/flush").await.code < 300, "flushed");
}

/// The ids of the traces that match, by their first byte, and the first of the answer.
async fn found(process: &Process, query: &str, limit: usize) -> (Vec<String>, serde_json::Value) {
    let q = query.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
    let path = format!("/api/search?q={q}&limit={limit}&start={}&end={}", now() - 3600, now() + 60);
    let answer = process.get(&path).await;
    assert_eq!(answer.code, 200, "{query}: {}", answer.text());
    let traces = answer.json()["traces"].as_array().cloned().unwrap_or_default();
    let id =
        |hit: &serde_json::Value| format!("{:0>32}", hit["traceID"].as_str().expect("an id"))[..2].to_owned();
    (traces.iter().map(id).collect(), traces.first().cloned().unwrap_or_default())
}

/// Of a trace (11) of three spans, one below the other, and an older one (22) of a single span.
async fn assert_whole(process: &Process, when: &str) {
    for query in [
        "{ name = `step 1` } && { name = `step 3` }",
        "{ name = `step 1` } >> { name = `step 3` }",
        "{ name = `step 2` } > { name = `step 3` }",
        "{} | count() = 3",
        "{ traceDuration > 1500ms }",
        "{ rootName = `step 1` && name = `step 3` }",
        "{ nestedSetRight - nestedSetLeft = 5 }",
    ] {
        assert_eq!(found(process, query, 20).await.0, ["11"], "{when}: {query}");
    }
    for query in ["{ name = `step 1` } !>> { name = `step 3` }", "{ name = `step 3` } >> { name = `step 1` }"]
    {
        assert!(found(process, query, 20).await.0.is_empty(), "{when}: {query}");
    }
    // Each part of the newest trace would answer this, and be all that there is room for.
    assert_eq!(found(process, "{} | count() = 1", 1).await.0, ["22"], "{when}");
    for n in 1..=3 {
        let (ids, hit) = found(process, &format!("{{ name = `step {n}` }}"), 20).await;
        assert_eq!(ids, ["11"], "{when}");
        let shown = (&hit["rootTraceName"], &hit["durationMs"], &hit["spanSets"][0]["matched"]);
        assert_eq!(shown, (&"step 1".into(), &2001.into(), &1.into()), "{when}: {hit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_in_two_blocks_and_in_memory_answers_as_a_whole_and_so_it_does_after_a_restart() {
    let process = Process::start("").await;
    let start = now() - 100;
    export(&process, trace(0x22, start - 50, 0)).await;
    export(&process, span(0x11, 2, start)).await;
    flush(&process).await;
    export(&process, span(0x11, 1, start)).await;
    flush(&process).await;
    // The next process goes on with the trace.
    let process = Process::start_in(process.stop().await, "").await;
    export(&process, span(0x11, 3, start)).await;
    assert_whole(&process, "in two blocks and in memory").await;
    flush(&process).await;
    assert_whole(&process, "in three blocks").await;
    let process = Process::start_in(process.stop().await, "").await;
    assert_whole(&process, "in three blocks, by another process").await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_trace_of_which_a_part_matched_is_said_of_the_whole_without_asking() {
    let process = Process::start("").await;
    let start = now() - 100;
    export(&process, trace(0x22, start - 50, 0)).await;
    for n in [2, 1, 3] {
        flush(&process).await;
        export(&process, span(0x11, n, start)).await;
    }
    assert_eq!(found(&process, "{} | count() = 1", 1).await.0, ["22"]);
    let (ids, hit) = found(&process, "{ name =~ `step .` }", 20).await;
    assert_eq!(ids, ["11"]);
    let shown = (&hit["rootTraceName"], &hit["durationMs"], &hit["spanSets"][0]["matched"]);
    assert_eq!(shown, (&"step 1".into(), &2001.into(), &3.into()), "{hit}");
}
