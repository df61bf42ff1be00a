//! Who lists and who reads the index, and what a bucket may hold besides.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use object_store::memory::InMemory;
use uuid::Uuid;

use crate::{
    block::Meta,
    model::{BlockId, Tenant},
    store::{
        Access, DATA, Objects, PollOptions, Store, StoreError,
        fault::{FaultStore, Faults},
        index::{self, Index},
    },
};

fn tenant() -> Tenant {
    Tenant::new("t").unwrap()
}

fn bucket() -> FaultStore {
    FaultStore::new(Arc::new(InMemory::new()), 1)
}

fn open(bucket: &FaultStore, poll: PollOptions) -> Arc<Store> {
    Store::over_with(Arc::new(bucket.clone()), "pre", Access::default(), poll)
}

fn builder(bucket: &FaultStore) -> Arc<Store> {
    let store = open(bucket, PollOptions::default());
    store.elect(|_| true);
    store
}

async fn commit(store: &Store, dir: &Path, n: u128) -> BlockId {
    let id = BlockId(Uuid::from_u128(n));
    let from = dir.join(id.to_string());
    std::fs::create_dir(&from).unwrap();
    std::fs::write(from.join(DATA), "data").unwrap();
    let json = format!(
        r#"{{"format":"vParquet4","blockID":"{id}","tenantID":"t","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","size":4}}"#
    );
    store.commit(&Arc::new(Meta::from_json(json.as_bytes()).unwrap()), &from).await.unwrap();
    id
}

fn ids(store: &Store) -> Vec<u128> {
    store.blocks(&tenant()).iter().map(|meta| meta.id.0.as_u128()).collect()
}

#[tokio::test]
async fn one_lists_and_writes_the_index_and_all_others_read_it_by_one_request_a_tenant() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let writer = builder(&bucket);
    for n in 1..=20 {
        commit(&writer, dir.path(), n).await;
    }
    writer.mark_compacted(&tenant(), BlockId(Uuid::from_u128(20))).await.unwrap();
    writer.poll().await.unwrap();
    let before = bucket.requests();
    let reader = open(&bucket, PollOptions::default());
    let polled = reader.poll().await.unwrap();
    assert_eq!((polled.tenants, polled.failed), (1, 0));
    let after = bucket.requests();
    assert_eq!((after.lists - before.lists, after.gets - before.gets), (1, 1));
    assert_eq!(reader.blocks(&tenant())[..], writer.blocks(&tenant())[..]);
    assert_eq!(reader.compacted(&tenant()).len(), 1);
    let of = |store: &Store| store.poll_stats().tenants()[0].1;
    assert!(of(&writer).builder && !of(&reader).builder);
    assert!(of(&reader).index.is_some());
}

#[tokio::test]
async fn what_is_known_is_not_read_again() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let writer = open(&bucket, PollOptions { index_builders: 0, ..PollOptions::default() });
    for n in 1..=10 {
        commit(&writer, dir.path(), n).await;
    }
    let reader = open(&bucket, PollOptions { index_builders: 0, ..PollOptions::default() });
    for (gets, lists) in [(10, 2), (0, 2)] {
        let before = bucket.requests();
        reader.poll().await.unwrap();
        let after = bucket.requests();
        assert_eq!((after.gets - before.gets, after.lists - before.lists), (gets, lists));
    }
}

#[tokio::test]
async fn the_json_stands_in_for_a_damaged_protobuf_and_a_listing_for_both() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let writer = builder(&bucket);
    commit(&writer, dir.path(), 1).await;
    writer.poll().await.unwrap();
    let damage = async |name: &str| {
        writer.objects().put(&format!("t/{name}"), Bytes::from_static(b"odd")).await.unwrap();
    };
    damage(index::PROTO).await;
    let (reader, before) = (open(&bucket, PollOptions::default()), bucket.requests());
    reader.poll().await.unwrap();
    assert_eq!(ids(&reader), [1]);
    assert_eq!(bucket.requests().lists - before.lists, 1);
    damage(index::JSON).await;
    let reader = open(&bucket, PollOptions::default());
    reader.poll().await.unwrap();
    assert_eq!(ids(&reader), [1]);
    assert_eq!(reader.poll_stats().tenants()[0].1.index_errors, 1);
    let never = PollOptions { fallback: false, tolerate_errors: 0, ..PollOptions::default() };
    let reader = open(&bucket, never);
    assert_eq!(reader.poll().await.unwrap().failed, 1);
    assert!(ids(&reader).is_empty());
}

#[tokio::test]
async fn an_index_that_nobody_renews_is_not_believed_for_ever() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let writer = open(&bucket, PollOptions::default());
    let old = Index { created_at: "2026-01-01T00:00:00Z".parse().unwrap(), ..Index::default() };
    writer.objects().put("t/index.pb.zst", old.to_proto().unwrap().into()).await.unwrap();
    commit(&writer, dir.path(), 1).await;
    for (stale_index, expected) in [(Duration::ZERO, vec![]), (Duration::from_mins(15), vec![1])] {
        let reader = open(&bucket, PollOptions { stale_index, ..PollOptions::default() });
        reader.poll().await.unwrap();
        assert_eq!(ids(&reader), expected);
    }
}

#[tokio::test]
async fn what_was_committed_here_after_the_index_was_made_is_not_forgotten_by_a_poll() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let (compactor, other) = (builder(&bucket), open(&bucket, PollOptions::default()));
    commit(&compactor, dir.path(), 1).await;
    compactor.poll().await.unwrap();
    commit(&other, dir.path(), 2).await;
    other.poll().await.unwrap();
    assert_eq!(ids(&other), [1, 2]);
    other.mark_compacted(&tenant(), BlockId(Uuid::from_u128(1))).await.unwrap();
    other.poll().await.unwrap();
    assert_eq!(ids(&other), [2]);
    compactor.poll_now(&tenant()).await.unwrap();
    assert!(ids(&compactor).contains(&2), "told that the tenant changed");
}

#[tokio::test]
async fn what_others_keep_in_the_bucket_is_no_tenant_and_no_block() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let store = builder(&bucket);
    let id = commit(&store, dir.path(), 1).await;
    let meta = store.objects().get(&format!("t/{id}/meta.json")).await.unwrap();
    let stranger = Uuid::from_u128(9);
    for key in [
        "tempo_cluster_seed.json".to_owned(),
        "work.json".to_owned(),
        "t/overrides.json".to_owned(),
        format!("t/{id}/deeper/meta.json"),
        format!("t/{id}/sketch"),
        "t/no-block/meta.json".to_owned(),
        format!("t/deep/{stranger}/meta.json"),
        format!("~vivace/wal/ingester-0/1/{stranger}/meta.json"),
        format!("~vivace/{stranger}/meta.json"),
    ] {
        store.objects().put(&key, meta.clone()).await.unwrap();
    }
    let polled = store.poll().await.unwrap();
    assert_eq!((polled.tenants, polled.blocks, polled.failed), (1, 1, 0));
    assert_eq!(store.tenants(), [tenant()]);
    assert_eq!(store.poll_stats().errors.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_left_of_a_tenant_without_blocks_is_deleted_when_that_is_asked_for_and_old() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let open = |empty_age| {
        let store = open(&bucket, PollOptions { delete_empty: true, empty_age, ..PollOptions::default() });
        store.elect(|_| true);
        store
    };
    let store = open(Duration::from_hours(1));
    let id = commit(&store, dir.path(), 1).await;
    store.poll().await.unwrap();
    store.mark_compacted(&tenant(), id).await.unwrap();
    store.delete(&tenant(), id).await.unwrap();
    let orphan = format!("t/{}/{DATA}", Uuid::from_u128(2));
    store.objects().put(&orphan, Bytes::from_static(b"never finished")).await.unwrap();
    store.poll().await.unwrap();
    let keys = async || {
        let listed = Objects::list(&store.objects(), "").await.unwrap();
        listed.into_iter().map(|object| object.key).collect::<Vec<_>>()
    };
    assert_eq!(keys().await, [orphan.as_str()], "the index went, and what is young stays");
    store.objects().put("t/overrides.json", Bytes::from_static(b"{}")).await.unwrap();
    open(Duration::ZERO).poll().await.unwrap();
    assert_eq!(keys().await.len(), 2, "a tenant with overrides of its own stays");
    store.objects().delete("t/overrides.json").await.unwrap();
    let decision = "~vivace/claims/ingester-0/0000000000000001/decided-0000000000000000";
    store.objects().put(decision, Uuid::from_u128(2).to_string().into()).await.unwrap();
    open(Duration::ZERO).poll().await.unwrap();
    assert!(keys().await.contains(&orphan), "a block yet to be, whose decision is carried through some day");
    store.objects().delete(decision).await.unwrap();
    open(Duration::ZERO).poll().await.unwrap();
    assert!(keys().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_fails_now_and_then_is_tried_again_and_one_that_fails_keeps_its_blocks() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let tolerant = PollOptions { tolerate_errors: 20, ..PollOptions::default() };
    let store = open(&bucket, tolerant);
    commit(&store, dir.path(), 1).await;
    bucket.set(Faults { error: 300, ..Faults::NONE });
    let mut polled = 0;
    while polled < 20 {
        if let Ok(found) = store.poll().await {
            assert_eq!((found.failed, ids(&store)), (0, vec![1]));
            polled += 1;
        }
    }
    bucket.set(Faults::NONE);
    let store = open(&bucket, PollOptions { tolerate_errors: 0, ..PollOptions::default() });
    store.poll().await.unwrap();
    // The listing of tenants is the last request that is answered.
    bucket.die_after(1);
    let found = store.poll().await.unwrap();
    assert_eq!((found.failed, ids(&store)), (1, vec![1]));
    assert_eq!(store.poll_stats().tenants()[0].1.errors, 1);
}

#[tokio::test]
async fn listed_or_named_a_list_that_has_to_be_complete_is_made_when_the_index_is_older_and_by_one_for_all() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), bucket());
    let (compactor, other) = (builder(&bucket), open(&bucket, PollOptions::default()));
    commit(&compactor, dir.path(), 1).await;
    compactor.poll().await.unwrap();
    commit(&other, dir.path(), 2).await;
    let (reader, tenant) = (open(&bucket, PollOptions::default()), tenant());
    reader.poll().await.unwrap();
    assert_eq!(ids(&reader), [1], "the index is older");
    let (moment, before) = (std::time::Instant::now(), bucket.requests());
    let listed = futures::future::join_all((0..20).map(|_| reader.complete_to(&tenant, moment)));
    assert!(listed.await.into_iter().all(|listed| listed.is_ok()));
    let after = bucket.requests();
    assert_eq!(ids(&reader), [1, 2]);
    assert_eq!((after.lists - before.lists, after.gets - before.gets), (1, 1), "one listing, one meta");
    // The index is still the old one.
    reader.poll().await.unwrap();
    assert_eq!(ids(&reader), [1, 2], "never back");
    commit(&other, dir.path(), 3).await;
    bucket.die_after(1);
    let listed = reader.complete_to(&tenant, std::time::Instant::now()).await;
    assert!(matches!(listed, Err(StoreError::Unread { .. })), "{listed:?}");
    assert!(reader.complete_to(&tenant, std::time::Instant::now()).await.is_err());
}
