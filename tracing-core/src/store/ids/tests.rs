//! The filter over real blocks in a bucket that counts what is asked of it.

use jiff::SignedDuration;
use object_store::memory::InMemory;

use super::*;
use crate::{
    block::{self, WriteOptions},
    store::{DATA, fault::FaultStore},
    table::{SpanTable, TableBuilder},
    wire::otlp,
};
use jiff::Timestamp;

fn tenant() -> Tenant {
    Tenant::new("a").unwrap()
}

fn id(n: u64) -> TraceId {
    TraceId((u128::from(n) << 64 | 0xabc).to_be_bytes())
}

/// Traces of one span each.
fn table(ids: &[u64]) -> SpanTable {
    let mut builder = TableBuilder::new();
    for &n in ids {
        let json = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"00000000000000ab",
            "name":"op","startTimeUnixNano":"1000000000","endTimeUnixNano":"2000000000"}}]}}]}}]}}"#,
            id(n)
        );
        for slice in otlp::split(&otlp::json_to_proto(json.as_bytes()).unwrap()).unwrap().traces {
            builder.begin(slice.id);
            builder.add_otlp(&slice.otlp).unwrap();
            builder.end();
        }
    }
    builder.finish()
}

/// Commits a block of these traces, which stand in ascending order.
async fn commit(store: &Store, ids: &[u64]) -> Arc<Meta> {
    let (table, name, mut data) = (table(ids), BlockId::random(), Vec::new());
    let rows = (0..table.trace_count() as u32).map(|row| (&table, row));
    let written = block::write(rows, &WriteOptions::default(), &tenant(), name, &mut data).unwrap();
    let meta = Arc::new(written.meta);
    let key = |part: &str| format!("{}/{name}/{part}", tenant());
    store.objects().put(&key(DATA), data.into()).await.unwrap();
    store.publish(&meta).await.unwrap();
    meta
}

fn bucket() -> (FaultStore, Arc<Store>) {
    let bucket = FaultStore::new(Arc::new(InMemory::new()), 1);
    let store = Store::over(Arc::new(bucket.clone()), "pre");
    (bucket, store)
}

fn names(metas: &[Arc<Meta>]) -> Vec<BlockId> {
    metas.iter().map(|meta| meta.id).collect()
}

/// Of a process that has read nothing yet.
async fn cold(bucket: &FaultStore, ids: &[TraceId], metas: &[Arc<Meta>]) -> (Narrowed, u64) {
    let store = Store::over(Arc::new(bucket.clone()), "pre");
    let before = bucket.requests().gets;
    let narrowed = store.narrow(&tenant(), ids, metas).await;
    (narrowed, bucket.requests().gets - before)
}

#[tokio::test]
async fn the_blocks_of_a_trace_among_a_thousand_are_found_with_three_gets() {
    let (bucket, store) = bucket();
    let mut metas = Vec::new();
    for n in 0..900 {
        metas.push(commit(&store, &[n, n + 10_000]).await);
    }
    let mut now = Timestamp::now();
    let first = store.refresh_ids(&tenant(), now).await.unwrap().unwrap();
    assert_eq!((first.blocks, first.added), (900, 900));
    for n in 900..1000 {
        metas.push(commit(&store, &[n - 400, n + 10_000]).await);
    }
    now += SignedDuration::from_secs(30);
    let second = store.refresh_ids(&tenant(), now).await.unwrap().unwrap();
    assert_eq!((second.blocks, second.added), (1000, 100));
    let (found, gets) = cold(&bucket, &[id(550)], &metas).await;
    let mut expected = vec![metas[550].id, metas[950].id];
    expected.sort();
    assert_eq!((names(&found.holding), found.unknown.len()), (expected, 0));
    assert!(gets <= 3, "{gets} GETs");
    let (found, gets) = cold(&bucket, &[id(77_777)], &metas).await;
    assert_eq!((found.holding.len(), found.unknown.len()), (0, 0));
    assert!(gets <= 3, "{gets} GETs");
    let before = bucket.requests().gets;
    store.narrow(&tenant(), &[id(550)], &metas).await;
    store.narrow(&tenant(), &[id(550)], &metas).await;
    assert!(bucket.requests().gets - before <= 2, "what was read is kept");
}

#[tokio::test]
async fn blocks_that_the_filter_does_not_name_are_unknown_and_those_that_are_gone_leave_it() {
    let (bucket, store) = bucket();
    let mut metas = Vec::new();
    for n in 0..20 {
        metas.push(commit(&store, &[n]).await);
    }
    let now = Timestamp::now();
    assert_eq!(
        cold(&bucket, &[id(3)], &metas).await.0.unknown.len(),
        20,
        "without a filter nothing is known"
    );
    store.refresh_ids(&tenant(), now).await.unwrap().unwrap();
    let late = commit(&store, &[3]).await;
    metas.push(Arc::clone(&late));
    let (found, _) = cold(&bucket, &[id(3)], &metas).await;
    assert_eq!((names(&found.holding), names(&found.unknown)), (vec![metas[3].id], vec![late.id]));
    assert_eq!(store.refresh_ids(&tenant(), now).await.unwrap(), None, "one more block can wait");
    for meta in &metas[..15] {
        store.mark_compacted(&tenant(), meta.id).await.unwrap();
    }
    let refreshed = store.refresh_ids(&tenant(), now).await.unwrap().unwrap();
    assert_eq!((refreshed.blocks, refreshed.added), (6, 1));
    let (found, _) = cold(&bucket, &[id(3), id(17)], &metas[15..]).await;
    let mut expected = vec![metas[17].id, late.id];
    expected.sort();
    assert_eq!((names(&found.holding), found.unknown.len()), (expected, 0));
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_hides_no_block() {
    let (bucket, store) = bucket();
    let mut metas = Vec::new();
    for n in 0..10 {
        metas.push(commit(&store, &[n]).await);
    }
    store.refresh_ids(&tenant(), Timestamp::now()).await.unwrap().unwrap();
    let objects = store.objects();
    let listed = objects.list("~vivace/ids/a").await.unwrap();
    assert_eq!(listed.len(), 2, "a directory and a shard");
    for object in &listed {
        let bytes = objects.get(&object.key).await.unwrap();
        let mut damaged = bytes.to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        objects.put(&object.key, damaged.into()).await.unwrap();
        assert_eq!(cold(&bucket, &[id(3)], &metas).await.0.unknown.len(), 10, "{}", object.key);
        objects.delete(&object.key).await.unwrap();
        assert_eq!(cold(&bucket, &[id(3)], &metas).await.0.unknown.len(), 10, "{}", object.key);
        objects.put(&object.key, bytes).await.unwrap();
    }
    // Whose shards were deleted by another builder is built anew.
    let shard = listed.iter().find(|object| !object.key.ends_with("directory")).unwrap();
    objects.delete(&shard.key).await.unwrap();
    for n in 10..20 {
        metas.push(commit(&store, &[n]).await);
    }
    for _ in 0..2 {
        store.refresh_ids(&tenant(), Timestamp::now()).await.unwrap().unwrap();
    }
    let (found, _) = cold(&bucket, &[id(3)], &metas).await;
    assert_eq!((names(&found.holding), found.unknown.len()), (vec![metas[3].id], 0));
}

#[tokio::test]
async fn shards_that_no_directory_names_are_deleted_after_an_hour() {
    let (_, store) = bucket();
    for n in 0..10 {
        commit(&store, &[n]).await;
    }
    let now = Timestamp::now();
    store.refresh_ids(&tenant(), now).await.unwrap().unwrap();
    let listed = async || store.objects().list("~vivace/ids/a").await.unwrap().len();
    for n in 10..20 {
        commit(&store, &[n]).await;
    }
    store.refresh_ids(&tenant(), now).await.unwrap().unwrap();
    assert_eq!(listed().await, 3, "who builds at the same time may still name the old one");
    for n in 20..30 {
        commit(&store, &[n]).await;
    }
    store.refresh_ids(&tenant(), now + SignedDuration::from_hours(2)).await.unwrap().unwrap();
    assert_eq!(listed().await, 2);
}
