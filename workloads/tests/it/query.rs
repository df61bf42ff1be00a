//! Questions to a running process, and to roles in processes of their own: what was acknowledged is found,
//! from the moment of the acknowledgement and wherever it has gone since.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use prost::Message as _;
use vivace::{
    app::App,
    membership::{Role, State},
    proto::tempopb::{
        Trace, TraceByIdResponse,
        common::v1::{AnyValue, KeyValue, any_value},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
};

use crate::process::{self, Process};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const ID: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

/// One trace: a root of the service `shop` and `children` below it, a second apart since `start` (seconds).
pub(crate) fn trace(id: u8, start: u64, children: u8) -> Vec<u8> {
    let span = |n: u8| Span {
        trace_id: vec![id; 16].into(),
        span_id: vec![n + 1; 8].into(),
        parent_span_id: if n == 0 { Vec::new().into() } else { vec![1; 8].into() },
        name: if n == 0 { "GET /".to_owned() } else { "select".to_owned() },
        start_time_unix_nano: (start + u64::from(n)) * 1_000_000_000,
        end_time_unix_nano: (start + u64::from(n)) * 1_000_000_000 + 5_000_000,
        ..Span::default()
    };
    let service = any_value::Value::StringValue("shop".to_owned());
    let attribute = KeyValue { key: "service.name".into(), value: Some(AnyValue { value: Some(service) }) };
    let resource = Resource { attributes: vec![attribute], ..Resource::default() };
    let scope = ScopeSpans { spans: (0..=children).map(span).collect(), ..ScopeSpans::default() };
    let spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..ResourceSpans::default() };
    Trace { resource_spans: vec![spans] }.encode_to_vec()
}

pub(crate) fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("the clock is past 1970").as_secs()
}

pub(crate) async fn export(process: &Process, body: Vec<u8>) {
    let answer = process.export(&[PROTOBUF], body).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
}

/// The trace `ID` is found with four spans by its id in both forms, by TraceQL and by tags.
async fn assert_found(process: &Process, when: &str) {
    let v1 = process.get(&format!("/api/traces/{ID}")).await;
    assert_eq!(v1.code, 200, "{when}: {}", v1.text());
    let spans = &v1.json()["batches"][0]["scopeSpans"][0]["spans"];
    assert_eq!(spans.as_array().map(Vec::len), Some(4), "{when}");
    let v2 = process.ask(&format!("/api/v2/traces/{ID}"), &[("accept", "application/protobuf")]).await;
    let found = TraceByIdResponse::decode(&v2.body[..]).expect("a TraceByIDResponse");
    let found = Trace::decode(found.trace).expect("a Trace");
    assert_eq!(found.resource_spans[0].scope_spans[0].spans.len(), 4, "{when}");

    let window = format!("start={}&end={}", now() - 3600, now() + 3600);
    let query = "%7B+resource.service.name+%3D+%22shop%22+%26%26+name+%3D+%22select%22+%7D";
    let found = process.get(&format!("/api/search?q={query}&{window}")).await;
    assert_eq!(found.code, 200, "{when}: {}", found.text());
    let json = found.json();
    assert_eq!(json["traces"].as_array().map(Vec::len), Some(1), "{when}: {json}");
    let hit = &json["traces"][0];
    assert_eq!(hit["traceID"], ID.trim_start_matches('0'));
    assert_eq!((&hit["rootServiceName"], &hit["rootTraceName"]), (&"shop".into(), &"GET /".into()));
    assert_eq!(hit["spanSets"][0]["matched"], 3);
    let found = process.get(&format!("/api/search?tags=service.name%3DSHO&{window}")).await;
    assert_eq!(found.json()["traces"][0]["traceID"], ID.trim_start_matches('0'), "{when}: {}", found.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_as_tempo_says_it() {
    let process = Process::start("").await;
    let v1 = process.get("/api/traces/12345").await;
    assert_eq!((v1.code, v1.text().as_str()), (404, ""));
    let v2 = process.get("/api/v2/traces/12345").await;
    assert_eq!((v2.code, v2.text().as_str()), (200, r#"{"trace":{},"metrics":{}}"#));
    let none = process.get("/api/search?q=%7B%7D").await;
    assert_eq!(none.json()["traces"], serde_json::json!([]));
    let wrong = process.get("/api/search?q=service+%3D+%22x%22").await;
    assert_eq!(wrong.code, 400);
    assert!(
        wrong.text().starts_with("invalid TraceQL query: parse error at line 1, col 1"),
        "{}",
        wrong.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_traces_are_answered_newest_first_and_zipped_on_request() {
    let process = Process::start("").await;
    for id in 1..=30 {
        export(&process, trace(id, now() - 1000 + u64::from(id), 0)).await;
    }
    let path = format!("/api/search?limit=5&start={}&end={}", now() - 3600, now() + 60);
    let answer = process.get(&path).await;
    let newest: Vec<_> = answer.json()["traces"].as_array().unwrap().iter().map(first_byte).collect();
    assert_eq!(newest, ["1e", "1d", "1c", "1b", "1a"]);
    let zipped = process.ask(&path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(zipped.json()["traces"], answer.json()["traces"]);
}

fn first_byte(hit: &serde_json::Value) -> String {
    let id = hit["traceID"].as_str().expect("an id");
    format!("{id:0>32}")[..2].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tenants_are_asked_at_once_and_see_only_their_own_alone() {
    let process = Process::start("multitenancy_enabled: true").await;
    for (tenant, id) in [("a", 1), ("b", 2)] {
        let headers = [PROTOBUF, ("X-Scope-OrgID", tenant)];
        assert_eq!(process.export(&headers, trace(id, now() - 10, 0)).await.code, 200);
    }
    for (tenants, hits) in [("a", 1), ("b", 1), ("a|b", 2)] {
        let found = process.ask("/api/search", &[("X-Scope-OrgID", tenants)]).await;
        assert_eq!(
            found.json()["traces"].as_array().map(Vec::len),
            Some(hits),
            "{tenants}: {}",
            found.text()
        );
    }
    assert_eq!(process.get("/api/search").await.code, 401);
}

/// Waits until `condition` holds.
async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process of one role over the blocks in `blocks`, which joins by way of `seed`.
async fn join(target: &str, blocks: &Path, seed: SocketAddr, frontend: SocketAddr) -> Process {
    let yaml = format!(
        "target: {target}\n\
         memberlist: {{bind_addr: [127.0.0.1], bind_port: 0, advertise_addr: 127.0.0.1, node_name: {target}, \
         join_members: ['{seed}']}}\n\
         querier: {{frontend_worker: {{frontend_address: '{frontend}'}}}}\n"
    );
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = process::config(dir.path(), &yaml);
    config.storage.trace.local.path = Some(blocks.display().to_string());
    let app = App::start(config).await.unwrap_or_else(|error| panic!("{target}: {error:#}"));
    Process { app, dir }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_in_processes_of_their_own_answer_together() {
    let blocks = tempfile::tempdir().expect("a directory");
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let frontend = join("query-frontend", blocks.path(), nobody, nobody).await;
    let seed = frontend.app.membership().gossip_address().expect("gossip runs");
    assert!(frontend.app.health().ready().is_err(), "no querier is connected");
    let at = SocketAddr::from(([127, 0, 0, 1], frontend.app.grpc().port()));
    let querier = join("querier", blocks.path(), seed, at).await;
    let ingester = join("ingester", blocks.path(), seed, at).await;
    let distributor = join("distributor", blocks.path(), seed, at).await;
    eventually("the querier is connected", async || frontend.app.health().ready().is_ok()).await;
    for process in [&frontend, &distributor] {
        let members = || process.app.membership().members(Role::Ingester);
        let active = async || members().iter().any(|member| member.state == State::Active);
        eventually("the ingester is known", active).await;
    }
    export(&distributor, trace(10, now() - 60, 3)).await;
    assert_found(&frontend, "live").await;
    // The frontend's list knows nothing of the block; the ingester's answer names it.
    let flushed = ingester.get("/flush").await;
    assert_eq!(flushed.code, 204, "{}", flushed.text());
    assert_found(&frontend, "flushed").await;
    // Nobody names it any more when the ingester has gone: the list is fetched anew.
    ingester.stop().await;
    let path = format!("/api/traces/{ID}");
    eventually("found without the ingester", async || frontend.get(&path).await.code == 200).await;
    querier.stop().await;
    eventually("no querier is left", async || frontend.app.health().ready().is_err()).await;
    distributor.stop().await;
    frontend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_tempo_refuses_are_answered_unless_the_configuration_is_strict() {
    let query = "/api/search?q=(%7B%7D%20%7C%20count()%20%3E%203)%20%26%26%20%7B%7D";
    let process = Process::start("").await;
    assert_eq!(process.get(query).await.code, 200);
    let strict = Process::start("query_frontend: {traceql_strict: true}").await;
    let refused = strict.get(query).await;
    assert_eq!(refused.code, 400);
    assert!(refused.text().contains("syntax error: unexpected &&"), "{}", refused.text());
}
