//! What goes, what stays, and who is in the way of whom. Time is tokio's, paused.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use bytes::Bytes;
use object_store::memory::InMemory;
use uuid::Uuid;

use super::*;
use crate::{
    block::Meta,
    store::{
        Access, DATA, Objects, PollOptions,
        fault::{Clocked, FaultStore, Faults},
    },
};

struct World {
    bucket: Arc<Clocked>,
    dir: tempfile::TempDir,
}

fn tenant() -> Tenant {
    Tenant::new("t").unwrap()
}

fn id(n: u128) -> BlockId {
    BlockId(Uuid::from_u128(n))
}

fn meta(n: u128) -> Arc<Meta> {
    let id = id(n);
    let json = format!(
        r#"{{"format":"vParquet4","blockID":"{id}","tenantID":"t","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","size":4}}"#
    );
    Arc::new(Meta::from_json(json.as_bytes()).unwrap())
}

impl World {
    fn new() -> Self {
        let bucket = Arc::new(Clocked::new(Arc::new(InMemory::new())));
        Self { bucket, dir: tempfile::tempdir().unwrap() }
    }

    /// The store as a process sees it, and what goes wrong for it.
    fn process(&self, seed: u64) -> (Arc<Store>, FaultStore) {
        let faults = FaultStore::new(self.bucket.clone(), seed);
        let store = Store::over_with(
            Arc::new(faults.clone()),
            "pre",
            Access { part_bytes: 2, ..Access::default() },
            PollOptions { index_builders: 0, ..PollOptions::default() },
        );
        (store, faults)
    }

    fn store(&self) -> Arc<Store> {
        self.process(1).0
    }

    fn objects(&self) -> Objects {
        self.store().objects()
    }

    async fn put(&self, keys: &[String]) {
        for key in keys {
            self.objects().put(key, Bytes::from_static(b"data")).await.unwrap();
        }
    }

    async fn keys(&self) -> BTreeSet<String> {
        self.objects().list("").await.unwrap().into_iter().map(|object| object.key).collect()
    }

    /// The files of a block, as its writer has them.
    fn files(&self, n: u128) -> std::path::PathBuf {
        let dir = self.dir.path().join(n.to_string());
        if !dir.exists() {
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join(DATA), "data").unwrap();
            std::fs::write(dir.join("bloom-0"), "bloom").unwrap();
        }
        dir
    }
}

fn data(n: u128) -> Vec<String> {
    [DATA, "bloom-0"].map(|name| format!("t/{}/{name}", id(n))).to_vec()
}

async fn hours(n: u64) {
    sleep(Duration::from_hours(n)).await;
}

#[tokio::test(start_paused = true)]
async fn young_or_named_what_no_meta_came_to_is_swept_when_it_is_a_day_old_and_nothing_else_is() {
    let world = World::new();
    let store = world.store();
    world.put(&data(1)).await;
    world.put(&data(2)).await;
    store.commit(&meta(3), &world.files(3)).await.unwrap();
    store.commit(&meta(4), &world.files(4)).await.unwrap();
    store.mark_compacted(&tenant(), id(4)).await.unwrap();
    // What decisions and jobs name, also where nobody can read them.
    for n in 5..8 {
        world.put(&data(n)).await;
    }
    let blocks = serde_json::to_string(&[String::from_utf8(meta(5).to_json()).unwrap()]).unwrap();
    let decision =
        format!(r#"{{"through":1,"term":0,"blocks":{}}}"#, serde_json::to_string(&blocks).unwrap());
    let claims = "~vivace/claims/ingester-0/0000000000000001";
    let named = [
        (format!("{claims}/decided-0000000000000000"), decision),
        ("~vivace/jobs/t/00".to_owned(), format!(r#"{{"inputs":[],"output":{{"blockID":"{}"}}}}"#, id(6))),
        ("~vivace/jobs/t/torn".to_owned(), format!(r#"{{"inputs":["{}"#, id(7))),
        // Who holds an epoch names no block.
        (format!("{claims}/term-0000000000000000"), id(1).to_string()),
        ("~vivace/jobs/other/00".to_owned(), id(2).to_string()),
    ];
    for (key, text) in named {
        store.objects().put(&key, text.into()).await.unwrap();
    }
    // What is no block of anybody's.
    let others = ["t/overrides.json", "t/no-block/data.parquet", "other/overrides.json"].map(str::to_owned);
    world.put(&others).await;
    world.put(&[format!("t/{}/deeper/{DATA}", id(8)), format!("t/{}/{DATA}", id(8))]).await;
    let before = world.keys().await;
    hours(20).await;
    world.put(&[format!("t/{}/index", id(2))]).await;
    hours(3).await;
    assert_eq!(store.sweep_orphans(&tenant()).await.unwrap(), Swept::default(), "not a day old");
    hours(2).await;
    let swept = store.sweep_orphans(&tenant()).await.unwrap();
    assert_eq!(swept, Swept { blocks: 1, objects: 2, bytes: 8 });
    let young = format!("t/{}/index", id(2));
    let gone = data(1);
    let left = before.iter().filter(|key| !gone.contains(key)).chain([&young]).cloned().collect();
    assert_eq!(world.keys().await, left, "one object that is young keeps its block");
    assert_eq!(store.sweep_orphans(&tenant()).await.unwrap(), Swept::default());
    hours(24).await;
    assert_eq!(store.sweep_orphans(&tenant()).await.unwrap().objects, 3);
}

#[tokio::test(start_paused = true)]
async fn young_or_named_a_block_that_became_visible_while_it_was_swept_stays() {
    let world = World::new();
    let store = world.store();
    world.put(&data(1)).await;
    hours(30).await;
    let now = store.store_time().await.unwrap();
    for name in [META, COMPACTED] {
        let key = format!("t/{}/{name}", id(1));
        store.objects().put(&key, meta(1).to_json().into()).await.unwrap();
        // Its put is as old as the rest: it took long, or the listing passed by before it.
        hours(30).await;
        let later = store.store_time().await.unwrap();
        for now in [now, later] {
            let taken = store.take_away(&tenant(), id(1), now, ORPHAN_AGE).await.unwrap();
            assert_eq!(taken, Swept::default(), "{name}");
        }
        store.objects().delete(&key).await.unwrap();
    }
    let later = store.store_time().await.unwrap();
    assert_eq!(store.take_away(&tenant(), id(1), later, ORPHAN_AGE).await.unwrap().objects, 2);
}

/// A writer whose first attempt was cut short comes back after a day, in the middle of a sweep.
async fn returns(seed: u64, world: &World) -> Result<(), StoreError> {
    let (sweeper, faults) = world.process(seed);
    world.put(&data(1)).await;
    hours(24).await;
    faults.set(Faults { delay: 900, longest: Duration::from_mins(1), ..Faults::NONE });
    let writer = world.store();
    let (block, files, tenant) = (meta(1), world.files(1), tenant());
    let commit = async {
        sleep(Duration::from_secs(faults.random(240))).await;
        writer.commit(&block, &files).await
    };
    let (swept, committed) = tokio::join!(sweeper.sweep_orphans(&tenant), commit);
    swept.unwrap();
    hours(1).await;
    committed
}

#[tokio::test(start_paused = true)]
async fn young_or_named_an_upload_over_what_a_sweep_may_be_taking_away_waits_for_it() {
    for seed in 0..60 {
        let world = World::new();
        returns(seed, &world).await.unwrap();
        let keys = world.keys().await;
        for key in data(1).into_iter().chain([format!("t/{}/{META}", id(1))]) {
            assert!(keys.contains(&key), "seed {seed}: {key} is missing");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn young_or_named_a_sweep_that_dies_at_any_request_is_finished_by_the_next() {
    let (mut requests, mut died) = (0, true);
    while died {
        let world = World::new();
        for n in 1..4 {
            world.put(&data(n)).await;
        }
        world.store().commit(&meta(9), &world.files(9)).await.unwrap();
        let visible: BTreeSet<_> =
            world.keys().await.into_iter().filter(|key| key.contains(&id(9).to_string())).collect();
        hours(25).await;
        let (dying, faults) = world.process(1);
        faults.die_after(requests);
        died = dying.sweep_orphans(&tenant()).await.is_err();
        // Two days on, so that what it left of its own is old too.
        hours(48).await;
        let (one, two) = (world.store(), world.store());
        let tenant = tenant();
        let (first, second) = tokio::join!(one.sweep_orphans(&tenant), two.sweep_orphans(&tenant));
        first.unwrap();
        second.unwrap();
        world.put(&data(8)).await;
        hours(24).await;
        one.sweep_orphans(&tenant).await.unwrap();
        assert_eq!(world.keys().await, visible, "died after {requests} requests");
        requests += 1;
    }
    assert!(requests > 12, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn young_or_named_what_goes_wrong_takes_nothing_that_is_named() {
    for seed in 0..100 {
        let world = World::new();
        let (store, faults) = world.process(seed);
        world.put(&data(1)).await;
        world.put(&data(2)).await;
        let record = format!(r#"{{"output":"{}"}}"#, id(2));
        store.objects().put("~vivace/jobs/t/00", record.into()).await.unwrap();
        hours(25).await;
        faults.set(Faults::ALL);
        for _ in 0..5 {
            let _ = store.sweep_orphans(&tenant()).await;
        }
        let keys = world.keys().await;
        assert!(data(2).iter().all(|key| keys.contains(key)), "seed {seed}");
    }
}

#[test]
fn what_was_uploaded_is_told_of_within_an_hour_or_not_at_all() {
    let uploaded = |at| Uploaded { at, machine: Machine::default() };
    let before = |age: Duration| uploaded(Timestamp::now() - age);
    assert!(before(Duration::from_mins(59)).is_fresh());
    assert!(!before(Duration::from_mins(61)).is_fresh());
    assert!(!uploaded(Timestamp::now() + Duration::from_mins(9)).is_fresh(), "the clock was put back");
}

#[tokio::test]
async fn in_a_directory_an_object_is_as_old_as_its_place_there_and_what_is_swept_leaves_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(crate::store::StoreOptions::local(dir.path().join("store"))).unwrap();
    let world = World::new();
    let files = world.files(1);
    let long_ago = std::time::SystemTime::now() - ORPHAN_AGE * 2;
    let age = |path: &Path| std::fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    age(&files.join(DATA));
    age(&files.join("bloom-0"));
    let _ = store.upload(&meta(1), &files).await.unwrap();
    assert_eq!(store.sweep_orphans(&tenant()).await.unwrap(), Swept::default());
    let there = dir.path().join("store/t").join(id(1).to_string());
    age(&there.join(DATA));
    age(&there.join("bloom-0"));
    assert_eq!(store.sweep_orphans(&tenant()).await.unwrap().objects, 2);
    assert!(!there.exists());
}
