//! Several processes that find each other by gossip, on loopback ports.

use std::{net::SocketAddr, time::Duration};

use prost::Message as _;
use vivace::{
    membership::{Membership, Options, Role, State},
    proto::tempopb::{
        Trace,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
};

use crate::process::Process;

/// A process of one role that joins by way of `seed`.
async fn join(name: &str, target: &str, seed: SocketAddr) -> Process {
    Process::start(&yaml(name, target, seed)).await
}

fn yaml(name: &str, target: &str, seed: SocketAddr) -> String {
    format!(
        "target: {target}\nmemberlist: {{node_name: {name}, bind_port: 0, bind_addr: [127.0.0.1], advertise_addr: \
         127.0.0.1, join_members: ['{seed}']}}\nserver: {{graceful_shutdown_timeout: 5s}}\n"
    )
}

fn gossip(process: &Process) -> SocketAddr {
    process.app.membership().gossip_address().expect("gossip runs")
}

/// Waits until `process` sees so many active ingesters.
async fn sees(process: &Process, ingesters: usize) {
    let mut view = process.app.membership().watch();
    let active = |view: &std::sync::Arc<vivace::membership::View>| {
        view.members(Role::Ingester).iter().filter(|member| member.state == State::Active).count()
            == ingesters
    };
    let found = tokio::time::timeout(Duration::from_secs(15), view.wait_for(active)).await.map(drop);
    assert!(
        found.is_ok(),
        "{ingesters} active ingesters: {:?}",
        process.app.membership().watch().borrow().all()
    );
}

fn traces(count: u32) -> Vec<u8> {
    let span = |id: u32| Span {
        trace_id: [&id.to_be_bytes()[..], &[7; 12]].concat().into(),
        span_id: vec![1; 8].into(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (0..count).map(span).collect(), ..ScopeSpans::default() }];
    Trace { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_spread_over_ingesters_and_go_to_the_next_when_one_is_gone() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let protobuf = [("content-type", "application/x-protobuf")];
    let distributor = join("distributor", "distributor", nobody).await;
    let refused = distributor.export(&protobuf, traces(10)).await;
    assert_eq!((refused.code, refused.header("retry-after")), (503, "1"), "{}", refused.text());

    let first = join("ingester-0", "ingester", gossip(&distributor)).await;
    let second = join("ingester-1", "ingester", gossip(&distributor)).await;
    sees(&distributor, 2).await;
    assert_eq!(distributor.export(&protobuf, traces(200)).await.code, 200);
    let metrics = distributor.get("/metrics").await.text();
    for name in ["ingester-0", "ingester-1"] {
        let taken = format!("tempo_distributor_ingester_appends_total{{ingester=\"{name}\"}} 1");
        assert!(metrics.contains(&taken), "{metrics}");
    }

    // A member that still counts as active, and that nobody reaches: it crashed a moment ago.
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let crashed = Options {
        id: "ingester-2".to_owned(),
        roles: vec![Role::Ingester],
        grpc: nobody,
        zone: String::new(),
        join: vec![gossip(&distributor).to_string()],
        bind: loopback,
        advertise: loopback,
        cluster: "vivace".to_owned(),
        interval: Duration::from_millis(100),
    };
    let crashed = Membership::start(crashed).await.unwrap();
    crashed.set_state(State::Active).await;
    sees(&distributor, 3).await;
    let answer = distributor.export(&protobuf, traces(200)).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let metrics = distributor.get("/metrics").await.text();
    let failed = "tempo_distributor_ingester_append_failures_total{ingester=\"ingester-2\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
    crashed.leave().await;

    first.stop().await;
    let answer = distributor.export(&protobuf, traces(200)).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    second.stop().await;
    distributor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_in_a_process_of_its_own_answers_before_and_after_a_flush() {
    let bucket = tempfile::tempdir().unwrap();
    let storage = format!(
        "storage: {{trace: {{backend: local, blocklist_poll: 1s, local: {{path: {}}}}}}}\n",
        bucket.path().display()
    );
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let frontend = Process::start(&(yaml("frontend", "query-frontend", nobody) + &storage)).await;
    assert_eq!(frontend.get("/ready").await.code, 503);
    let seed = gossip(&frontend);
    let worker = format!("querier: {{frontend_worker: {{frontend_address: '{}'}}}}\n", frontend.app.grpc());
    let querier = Process::start(&(yaml("querier", "querier", seed) + &storage + &worker)).await;
    let ingester = Process::start(&(yaml("ingester", "ingester", seed) + &storage)).await;
    let distributor = join("distributor", "distributor", seed).await;
    sees(&distributor, 1).await;
    sees(&frontend, 1).await;
    ready(&frontend).await;

    let answer = distributor.export(&[("content-type", "application/x-protobuf")], traces(3)).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let id = "00000002070707070707070707070707";
    let live = frontend.get(&format!("/api/traces/{id}")).await;
    assert_eq!(live.code, 200, "{}", live.text());
    assert_eq!(ingester.get("/flush").await.code, 204);
    let flushed = frontend.get(&format!("/api/traces/{id}")).await;
    assert_eq!(flushed.json(), live.json());

    ingester.stop().await;
    let alone = frontend.get(&format!("/api/traces/{id}")).await;
    assert_eq!(alone.code, 200, "the block is found without its ingester: {}", alone.text());
    for process in [distributor, querier, frontend] {
        process.stop().await;
    }
}

async fn ready(process: &Process) {
    let answer = async {
        while process.get("/ready").await.code != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(15), answer).await;
    assert!(outcome.is_ok(), "ready: {}", process.get("/ready").await.text());
}
