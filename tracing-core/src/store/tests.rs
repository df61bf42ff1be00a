//! Commit, poll, marking and deletion, over a directory and over the code for buckets, with the process
//! dying between two steps.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use object_store::{ObjectStore, memory::InMemory};

use super::*;
use crate::{
    block::{Meta, Written},
    model::{BlockId, Tenant},
};

/// Larger than one part of an upload, and no multiple of it.
const SIZE: usize = (17 << 20) + 5;

fn tenant() -> Tenant {
    Tenant::new("team-*a").unwrap()
}

fn written(id: BlockId) -> Written {
    let json = format!(
        r#"{{"format":"vParquet4","blockID":"{id}","tenantID":"team-*a","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","totalObjects":3,"size":{SIZE},"totalRecords":1,"bloomShards":2,"footerSize":9,"replicationFactor":1}}"#
    );
    let bloom = vec![Bytes::from_static(b"bloom zero"), Bytes::from_static(b"bloom one")];
    Written {
        meta: Meta::from_json(json.as_bytes()).unwrap(),
        bloom,
        index: Bytes::from_static(b"{}"),
        extra: vec![("sketch", Bytes::from_static(b"sketch"))],
    }
}

fn data() -> Vec<u8> {
    (0..SIZE).map(|i| (i % 251) as u8).collect()
}

fn stage(dir: &Path) -> (Stage, Staged) {
    let (stage, _) = Stage::open(dir).unwrap();
    let id = BlockId::random();
    std::fs::write(stage.begin(&tenant(), id).unwrap(), data()).unwrap();
    let staged = stage.finish(&written(id)).unwrap();
    (stage, staged)
}

/// Two views of the same blocks, as two processes have them, for each kind of place.
fn places(dir: &Path) -> [[Arc<Store>; 2]; 2] {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let local = || Store::open(StoreOptions::local(dir.join("store"))).unwrap();
    [[local(), local()], [Store::over(bucket.clone(), "pre/fix"), Store::over(bucket, "pre/fix")]]
}

fn ids(blocks: &[Arc<Meta>]) -> Vec<BlockId> {
    blocks.iter().map(|m| m.id).collect()
}

#[tokio::test]
async fn a_committed_block_is_listed_at_once_here_and_by_a_poll_elsewhere_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    for [here, there] in places(dir.path()) {
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        assert_eq!(ids(&here.blocks(&tenant())), [staged.meta.id]);
        assert!(there.blocks(&tenant()).is_empty());
        let polled = there.poll().await.unwrap();
        assert_eq!((polled.tenants, polled.blocks, polled.failed), (1, 1, 0));
        assert_eq!(there.blocks(&tenant())[..], *std::slice::from_ref(&staged.meta));
        let bloom = there.read(&tenant(), staged.meta.id, "bloom-1").await.unwrap();
        assert_eq!(bloom, "bloom one");
        assert_eq!(there.read(&tenant(), staged.meta.id, "sketch").await.unwrap(), "sketch");
        let ranges = [5..8, 0..2, SIZE as u64 - 1..SIZE as u64];
        let parts = there.read_ranges(&tenant(), staged.meta.id, DATA, &ranges).await.unwrap();
        let data = data();
        assert_eq!(parts, [&data[5..8], &data[0..2], &data[SIZE - 1..]]);
        assert_eq!(there.read(&tenant(), staged.meta.id, DATA).await.unwrap(), data);
        let past = [0..2, 0..SIZE as u64 + 1];
        assert!(here.read_ranges(&tenant(), staged.meta.id, DATA, &past).await.is_err());
    }
}

#[tokio::test]
async fn meta_last_a_crash_before_meta_json_leaves_no_visible_block_and_the_commit_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    for [here, there] in places(dir.path()) {
        *here.stop_before.lock().unwrap() = Some(META);
        here.commit(&staged.meta, &staged.dir).await.unwrap_err();
        assert!(here.blocks(&tenant()).is_empty());
        assert_eq!(there.poll().await.unwrap().blocks, 0);
        *here.stop_before.lock().unwrap() = None;
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        assert_eq!(there.poll().await.unwrap().blocks, 1);
        assert_eq!(there.read(&tenant(), staged.meta.id, DATA).await.unwrap(), data());
    }
}

#[tokio::test]
async fn whatever_lies_beside_a_block_is_stored_with_it_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    std::fs::write(staged.dir.join("sketch"), "keys").unwrap();
    std::fs::write(staged.dir.join(".half"), "written").unwrap();
    for [here, there] in places(dir.path()) {
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        let id = staged.meta.id;
        assert_eq!(there.read(&tenant(), id, "sketch").await.unwrap(), "keys");
        let names = async || {
            let listed = here.objects().list(&format!("{}/{id}", tenant())).await.unwrap();
            listed.iter().map(|o| o.key.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["bloom-0", "bloom-1", DATA, "index", META, "sketch"]);
        here.mark_compacted(&tenant(), id).await.unwrap();
        here.delete(&tenant(), id).await.unwrap();
        assert!(names().await.is_empty());
    }
}

#[tokio::test]
async fn one_meta_a_block_of_the_same_id_and_other_content_does_not_replace_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    for [here, there] in places(dir.path()) {
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        let other = Arc::new(Meta { traces: 4, ..Meta::clone(&staged.meta) });
        let error = there.commit(&other, &staged.dir).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
        there.poll().await.unwrap();
        assert_eq!(there.blocks(&tenant())[0].traces, 3);
    }
}

#[tokio::test]
async fn no_return_a_commit_repeated_after_the_block_was_replaced_does_not_bring_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    for [here, there] in places(dir.path()) {
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        there.poll().await.unwrap();
        there.mark_compacted(&tenant(), staged.meta.id).await.unwrap();
        // The uploader never heard that it was done.
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        here.poll().await.unwrap();
        assert!(here.compacted(&tenant()).len() == 1 && there.blocks(&tenant()).is_empty());
        assert!(here.get(&tenant(), staged.meta.id, META).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn no_return_a_commit_repeated_after_the_block_was_deleted_does_not_bring_it_back() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..2 {
        let (_, staged) = stage(&dir.path().join(format!("stage-{n}")));
        let [here, there] = &places(dir.path())[n];
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        there.poll().await.unwrap();
        there.mark_compacted(&tenant(), staged.meta.id).await.unwrap();
        there.delete(&tenant(), staged.meta.id).await.unwrap();
        // The uploader never heard that it was done.
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        assert!(here.get(&tenant(), staged.meta.id, META).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn no_return_a_block_that_was_uploaded_and_never_visible_is_made_visible_by_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..2 {
        let (_, staged) = stage(&dir.path().join(format!("stage-{n}")));
        let [here, there] = &places(dir.path())[n];
        *here.stop_before.lock().unwrap() = Some("put meta.json");
        here.commit(&staged.meta, &staged.dir).await.unwrap_err();
        *here.stop_before.lock().unwrap() = None;
        // What is there so long that a sweep may be at it goes before the next upload, and that dies, too.
        announced::retract(&staged.dir).unwrap();
        here.delete(&tenant(), staged.meta.id).await.unwrap();
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        there.poll().await.unwrap();
        assert_eq!(ids(&there.blocks(&tenant())), [staged.meta.id]);
    }
}

#[tokio::test]
async fn marked_before_unlisted_a_crash_between_the_two_metas_is_a_compacted_block() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    for [here, there] in places(dir.path()) {
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        *here.stop_before.lock().unwrap() = Some("delete meta.json");
        here.mark_compacted(&tenant(), staged.meta.id).await.unwrap_err();
        there.poll().await.unwrap();
        assert_eq!(ids(&there.compacted(&tenant())), [staged.meta.id]);
        *here.stop_before.lock().unwrap() = None;
        for _ in 0..2 {
            here.mark_compacted(&tenant(), staged.meta.id).await.unwrap();
            assert!(here.blocks(&tenant()).is_empty());
        }
        assert!(here.compacted(&tenant())[0].compacted.is_some());
        assert_eq!(there.poll().await.unwrap().failed, 0);
        assert_eq!(ids(&there.compacted(&tenant())), [staged.meta.id]);
    }
}

#[tokio::test]
async fn hidden_before_deleted_a_crash_within_a_deletion_leaves_nothing_visible_and_is_finished_later() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    for [here, there] in places(dir.path()) {
        here.commit(&staged.meta, &staged.dir).await.unwrap();
        here.mark_compacted(&tenant(), staged.meta.id).await.unwrap();
        *here.stop_before.lock().unwrap() = Some("delete data");
        here.delete(&tenant(), staged.meta.id).await.unwrap_err();
        there.poll().await.unwrap();
        assert_eq!(ids(&there.compacted(&tenant())), [staged.meta.id], "found again by the next round");
        *here.stop_before.lock().unwrap() = None;
        for _ in 0..2 {
            here.delete(&tenant(), staged.meta.id).await.unwrap();
        }
        let polled = there.poll().await.unwrap();
        assert_eq!(polled.blocks, 0);
        assert!(there.compacted(&tenant()).is_empty() && there.tenants().is_empty());
        let gone = there.read_ranges(&tenant(), staged.meta.id, DATA, &[0..1, 2..3]).await.unwrap_err();
        assert!(gone.is_not_found(), "{gone}");
    }
}

#[tokio::test]
async fn a_meta_that_cannot_be_read_hides_its_block_only() {
    let dir = tempfile::tempdir().unwrap();
    let (_, staged) = stage(&dir.path().join("stage"));
    let store = Store::open(StoreOptions::local(dir.path().join("store"))).unwrap();
    store.commit(&staged.meta, &staged.dir).await.unwrap();
    let broken = dir.path().join("store/team-*a").join(BlockId::random().to_string());
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join(META), "{\"format\":").unwrap();
    assert_eq!(store.poll().await.unwrap().blocks, 1);
    assert_eq!(store.poll_stats().errors.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_staged_block_is_read_from_disk_and_after_its_removal_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    for [store, _] in places(dir.path()) {
        let (stage, staged) = stage(&dir.path().join("stage"));
        let id = staged.meta.id;
        let read = async || store.read_ranges(&tenant(), id, DATA, &[1..4, 7..8]).await;
        let expected = [&data()[1..4], &data()[7..8]];
        assert!(read().await.unwrap_err().is_not_found());
        store.read_from(id, staged.dir.clone());
        assert_eq!(read().await.unwrap(), expected);
        store.commit(&staged.meta, &staged.dir).await.unwrap();
        stage.remove(&tenant(), id).unwrap();
        assert_eq!(read().await.unwrap(), expected, "a read that began before the upload ended");
        assert_eq!(store.read(&tenant(), id, "bloom-1").await.unwrap(), "bloom one");
        store.read_from_store(id);
        assert_eq!(read().await.unwrap(), expected);
    }
}

#[test]
fn meta_last_on_the_stage_what_a_crash_left_unfinished_is_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (begun, finished) = stage(dir.path());
    let left = begun.begin(&tenant(), BlockId::random()).unwrap();
    std::fs::write(&left, "half").unwrap();
    let (_, found) = Stage::open(dir.path()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].meta, finished.meta);
    assert!(!left.exists());
}

#[test]
fn a_staged_block_that_was_damaged_is_set_aside_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("blocks");
    let (_, damaged) = stage(&root);
    std::fs::write(damaged.dir.join(META), "{\"form").unwrap();
    let (_, found) = Stage::open(&root).unwrap();
    assert!(found.is_empty());
    let kept = dir.path().join("blocks.corrupt").join(damaged.meta.id.to_string());
    assert_eq!(std::fs::metadata(kept.join(DATA)).unwrap().len(), SIZE as u64);
}
