//! Several processes that find each other by gossip, on loopback ports.

use std::{net::SocketAddr, time::Duration};

use prost::Message as _;
use tracing_core::store::{Store, StoreOptions};
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

pub(crate) fn traces(count: u32) -> Vec<u8> {
    let span = |id: u32| Span {
        trace_id: [&id.to_be_bytes()[..], &[7; 12]].concat().into(),
        span_id: vec![1; 8].into(),
        start_time_unix_nano: 5_000_000_000,
        end_time_unix_nano: 5_000_000_001,
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

/// A bucket whose index names one block, and is not made anew.
async fn indexed() -> (tempfile::TempDir, String) {
    let (bucket, first) = (tempfile::tempdir().expect("a directory"), Process::start("target: all").await);
    let protobuf = [("content-type", "application/x-protobuf")];
    assert_eq!(first.export(&protobuf, traces(1)).await.code, 200);
    assert_eq!(first.get("/flush").await.code, 204);
    let dir = first.stop().await;
    let blocks = dir.path().join("blocks").join("single-tenant");
    let to = bucket.path().join("single-tenant");
    std::fs::create_dir(&to).expect("a directory of a tenant");
    for block in std::fs::read_dir(blocks).expect("the tenant's blocks") {
        let block = block.expect("an entry");
        if block.path().is_dir() {
            std::fs::rename(block.path(), to.join(block.file_name())).expect("the block moves");
        }
    }
    let compactor = Store::open(StoreOptions::local(bucket.path())).expect("a store");
    compactor.elect(|_| true);
    compactor.poll().await.expect("an index is written");
    let storage = format!(
        "storage: {{trace: {{backend: local, blocklist_poll: 1h, local: {{path: {}}}}}}}\n",
        bucket.path().display()
    );
    (bucket, storage)
}

/// Asks for trace `n` of [`traces`] by its id, and for all of them by a search.
async fn finds_all(frontend: &Process, n: u32, when: &str) {
    let id = format!("{:08x}{}", n - 1, "07".repeat(12));
    let found = frontend.get(&format!("/api/traces/{id}")).await;
    assert_eq!(found.code, 200, "{when}: {}", found.text());
    let found = frontend.get("/api/search?q=%7B%7D&start=1&end=100&limit=1000").await;
    assert_eq!(found.code, 200, "{when}: {}", found.text());
    assert_eq!(found.json()["traces"].as_array().map(Vec::len), Some(n as usize), "{when}: {}", found.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_or_named_what_was_flushed_is_found_at_once_whoever_starts_anew_and_however_old_the_index_is()
{
    let (_bucket, storage) = indexed().await;
    let protobuf = [("content-type", "application/x-protobuf")];
    let distributor = join("distributor", "distributor", SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let seed = gossip(&distributor);
    let start = async |name: &str, target: &str| {
        let process = Process::start(&(yaml(name, target, seed) + &storage)).await;
        sees(&process, 0).await;
        process
    };
    let read = async || {
        let frontend = start("frontend", "query-frontend").await;
        let worker =
            format!("querier: {{frontend_worker: {{frontend_address: '{}'}}}}\n", frontend.app.grpc());
        let querier = Process::start(&(yaml("querier", "querier", seed) + &storage + &worker)).await;
        ready(&frontend).await;
        (frontend, querier)
    };

    // The ingester flushes while it leaves, and the frontend starts on an index that is older than that.
    let ingester = Process::start(&(yaml("ingester-0", "ingester", seed) + &storage)).await;
    sees(&distributor, 1).await;
    assert_eq!(distributor.export(&protobuf, traces(2)).await.code, 200);
    ingester.stop().await;
    sees(&distributor, 0).await;
    let (frontend, querier) = read().await;
    finds_all(&frontend, 2, "started after the flush").await;

    // The next one comes, is asked, and goes.
    let ingester = Process::start(&(yaml("ingester-0", "ingester", seed) + &storage)).await;
    sees(&distributor, 1).await;
    sees(&frontend, 1).await;
    assert_eq!(distributor.export(&protobuf, traces(3)).await.code, 200);
    finds_all(&frontend, 3, "held").await;
    let dir = ingester.stop().await;
    finds_all(&frontend, 3, "just flushed by one that left").await;

    // It is back before anybody asks.
    sees(&distributor, 0).await;
    let again = yaml("ingester-0", "ingester", seed) + &storage;
    let ingester = Process::start_in(dir, &again).await;
    sees(&distributor, 1).await;
    assert_eq!(distributor.export(&protobuf, traces(4)).await.code, 200);
    let ingester = Process::start_in(ingester.stop().await, &again).await;
    sees(&frontend, 1).await;
    finds_all(&frontend, 4, "flushed by the process before").await;
    for process in [ingester, distributor, querier, frontend] {
        process.stop().await;
    }
}
