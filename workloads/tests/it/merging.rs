//! Blocks that were merged, and went, since a frontend last listed them: questions are answered all the same.

use std::{path::Path, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing_core::{
    engine::Engine,
    model::Tenant,
    store::{Store, StoreOptions},
};
use vivace::{compactor::Compactor, membership, overrides::Overrides};

use crate::{
    process::{self, Process},
    query::{export, now, trace},
};

/// Lets another process merge what is in the store, until there is one block.
async fn merge(dir: &Path) {
    let yaml = "compactor: {compaction: {compaction_window: 1s, compaction_cycle: 1s}}";
    let config = process::config(dir, yaml);
    let store = Store::open(StoreOptions::local(dir.join("blocks"))).expect("a directory");
    let mut registry = Registry::default();
    let overrides = Overrides::open(&config.overrides, &mut registry).expect("no overrides");
    let local = ([127, 0, 0, 1], 0).into();
    let members = membership::Membership::start(membership::Options {
        id: "other".to_owned(),
        roles: vec![membership::Role::Compactor],
        grpc: local,
        zone: String::new(),
        join: Vec::new(),
        bind: local,
        advertise: local,
        cluster: "test".to_owned(),
        interval: Duration::from_secs(1),
    });
    let members = Box::pin(members).await.expect("a cluster of one");
    members.set_state(membership::State::Active).await;
    store.poll().await.expect("a store that lists");
    let blocks = (Arc::clone(&store), Engine::new(Arc::clone(&store), 1));
    let compactor = Compactor::new(&config, blocks, members, overrides, &mut registry);
    let compactor = compactor.expect("sound settings");
    let stop = CancellationToken::new();
    let running = tokio::spawn(compactor.run(stop.clone()));
    let merged = async {
        while store.blocks(&Tenant::single()).len() != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), merged).await.expect("the blocks are merged");
    stop.cancel();
    running.await.expect("it ends when told");
    for meta in store.compacted(&Tenant::single()).iter() {
        store.delete(&Tenant::single(), meta.id).await.expect("deleted");
    }
}

/// A process whose list has three blocks that another one has merged and deleted since, and where they are.
async fn out_of_date() -> (Process, tempfile::TempDir) {
    let process = Process::start("compactor: {disabled: true}").await;
    let start = now() - 60;
    for id in [10, 11, 12] {
        export(&process, trace(id, start, 3)).await;
        assert_eq!(process.get("/flush").await.code, 204);
    }
    // What an ingester has flushed of late it would name itself; another process does not.
    let dir = process.stop().await;
    let blocks = dir.path().join("blocks");
    let yaml = format!(
        "compactor: {{disabled: true}}\nstorage: {{trace: {{blocklist_poll: 1h, local: {{path: {}}}}}}}",
        blocks.display()
    );
    let process = Process::start(&yaml).await;
    merge(dir.path()).await;
    (process, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_in_blocks_that_were_merged_and_deleted_since_is_answered_from_what_they_became() {
    let (process, _blocks) = out_of_date().await;
    for id in ["0a", "0b", "0c"] {
        let found = process.get(&format!("/api/traces/{}", id.repeat(16))).await;
        assert_eq!(found.code, 200, "{id}: {}", found.text());
        let spans = &found.json()["batches"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans.as_array().map(Vec::len), Some(4), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_in_blocks_that_were_merged_and_deleted_since_is_answered_from_what_they_became() {
    let (process, _blocks) = out_of_date().await;
    let window = format!("start={}&end={}", now() - 3600, now() + 3600);
    let found = process.get(&format!("/api/search?q=%7B+name+%3D+%22select%22+%7D&{window}")).await;
    assert_eq!(found.code, 200, "{}", found.text());
    let json = found.json();
    let traces = json["traces"].as_array().expect("traces");
    assert_eq!(traces.len(), 3, "{json}");
    assert!(traces.iter().all(|hit| hit["spanSets"][0]["matched"] == 3), "each once: {json}");
}
