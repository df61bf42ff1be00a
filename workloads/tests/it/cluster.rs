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
    let yaml = format!(
        "target: {target}\nmemberlist: {{node_name: {name}, bind_port: 0, bind_addr: [127.0.0.1], advertise_addr: \
         127.0.0.1, join_members: ['{seed}']}}\nserver: {{graceful_shutdown_timeout: 5s}}\n"
    );
    Process::start(&yaml).await
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
