//! The log over real files: what is acknowledged is replayed, whatever fails in between.

use std::{fs, io, path::Path};

use super::*;
use crate::{
    model::{Tenant, TraceId},
    wal::{
        Disk, DiskOptions,
        disk::{Faults, Step},
    },
};

fn record(n: u8) -> Record {
    Record { tenant: Tenant::single(), id: TraceId([n; 16]), otlp: Bytes::from(vec![n; 100]) }
}

async fn open(path: &Path) -> (Log, Vec<Generation>) {
    let disk = Disk::open(DiskOptions::new(path)).unwrap();
    Log::open(Arc::new(disk), LogOptions::default()).await.unwrap()
}

async fn open_failing(
    path: &Path,
    hook: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static,
) -> (Log, Vec<Generation>) {
    let faults = Faults { hook: Some(Arc::new(hook)) };
    let disk = Disk::open_with(DiskOptions::new(path), faults).unwrap();
    Log::open(Arc::new(disk), LogOptions::default()).await.unwrap()
}

/// Fails the `nth` time (from 0) that `step` is reached.
fn fail_once(step: Step, nth: u64, kind: io::ErrorKind) -> impl Fn(Step) -> io::Result<()> {
    let seen = AtomicU64::new(0);
    move |at| {
        let hit = at == step && seen.fetch_add(1, Ordering::SeqCst) == nth;
        if hit { Err(kind.into()) } else { Ok(()) }
    }
}

/// As the end of a process does, gives the directory free.
async fn close(log: Log) {
    log.close().await;
}

async fn replay(path: &Path) -> (Vec<u8>, Replayed) {
    let (log, generations) = open(path).await;
    let (mut ids, mut total) = (Vec::new(), Replayed::default());
    for generation in &generations {
        let found = Arc::new(Mutex::new(Vec::new()));
        let into = found.clone();
        let replayed = log.replay(generation, move |r| into.lock().unwrap().push(r.id.0[0])).await.unwrap();
        ids.append(&mut found.lock().unwrap());
        total.records += replayed.records;
        total.damaged += replayed.damaged;
        total.torn_bytes += replayed.torn_bytes;
    }
    close(log).await;
    (ids, total)
}

fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "wal"));
    files.sort();
    files
}

#[tokio::test]
async fn what_is_acknowledged_is_replayed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (log, found) = open(dir.path()).await;
    assert!(found.is_empty());
    for n in 1..=5 {
        log.append(&[record(n)]).await.unwrap();
    }
    close(log).await;
    assert_eq!(replay(dir.path()).await.0, [1, 2, 3, 4, 5]);
    assert_eq!(replay(dir.path()).await.0, [1, 2, 3, 4, 5], "a replay removes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_at_the_same_time_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open_failing(dir.path(), |step| {
        if step == Step::Sync {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    })
    .await;
    let log = Arc::new(log);
    let appends = (0..200_u8).map(|n| {
        let log = log.clone();
        tokio::spawn(async move { log.append(&[record(n)]).await })
    });
    for done in futures::future::join_all(appends).await {
        done.unwrap().unwrap();
    }
    let commits = log.stats().commits.load(Ordering::SeqCst);
    assert!(commits < 50, "{commits} commits for 200 appends");
    close(Arc::into_inner(log).unwrap()).await;
    assert_eq!(replay(dir.path()).await.0.len(), 200);
}

#[tokio::test]
async fn a_rotation_parts_what_was_queued_before_from_what_came_after() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).await;
    let (first, second) = (&[record(1)], &[record(2)]);
    let (before, ended, after) =
        tokio::join!(biased_first(log.append(first)), log.rotate(), log.append(second));
    let (before, ended, after) = (before.unwrap(), ended.unwrap(), after.unwrap());
    assert_eq!(before, ended);
    assert_eq!(after.number, ended.number + 1);
    log.remove(&ended).await.unwrap();
    close(log).await;
    assert_eq!(replay(dir.path()).await.0, [2]);
}

/// `join!` polls in turn; named so that the reader sees that the order matters.
async fn biased_first<T>(future: impl Future<Output = T>) -> T {
    future.await
}

#[tokio::test]
async fn a_full_disk_fails_the_commit_takes_back_its_bytes_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let hook = fail_once(Step::Write, 1, io::ErrorKind::StorageFull);
    let (log, _) = open_failing(dir.path(), hook).await;
    log.append(&[record(1)]).await.unwrap();
    let refused = log.append(&[record(2)]).await.unwrap_err();
    assert!(matches!(&refused, AppendError::Home(e) if matches!(**e, HomeError::Full { .. })), "{refused}");
    log.append(&[record(3)]).await.unwrap();
    close(log).await;
    let (ids, replayed) = replay(dir.path()).await;
    assert_eq!((ids, replayed.damaged, replayed.torn_bytes), (vec![1, 3], 0, 0));
    assert_eq!(files(dir.path()).len(), 1, "the file goes on to be used");
}

#[tokio::test]
async fn torn_bytes_that_cannot_be_taken_back_are_left_behind_in_their_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = fail_once(Step::Write, 1, io::ErrorKind::StorageFull);
    let cut = fail_once(Step::Cut, 0, io::ErrorKind::Other);
    let (log, _) = open_failing(dir.path(), move |step| write(step).and_then(|()| cut(step))).await;
    log.append(&[record(1)]).await.unwrap();
    log.append(&[record(2)]).await.unwrap_err();
    log.append(&[record(3)]).await.unwrap();
    close(log).await;
    let (ids, replayed) = replay(dir.path()).await;
    assert_eq!((ids, replayed.damaged), (vec![1, 3], 1));
}

#[tokio::test]
async fn after_a_failed_fsync_the_commit_is_written_again_to_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let hook = fail_once(Step::Sync, 1, io::ErrorKind::Other);
    let (log, _) = open_failing(dir.path(), hook).await;
    for n in 1..=3 {
        log.append(&[record(n)]).await.unwrap();
    }
    close(log).await;
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(replay(dir.path()).await.0, [1, 2, 3]);
}

#[tokio::test]
async fn a_commit_whose_fsync_fails_twice_is_refused_and_the_next_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let first = fail_once(Step::Sync, 0, io::ErrorKind::Other);
    let second = fail_once(Step::Sync, 1, io::ErrorKind::Other);
    let (log, _) = open_failing(dir.path(), move |step| first(step).and(second(step))).await;
    log.append(&[record(1)]).await.unwrap_err();
    log.append(&[record(2)]).await.unwrap();
    close(log).await;
    assert_eq!(replay(dir.path()).await.0, [2]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_once_and_is_not_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).await;
    log.append(&[record(1)]).await.unwrap();
    log.append(&[record(2)]).await.unwrap();
    close(log).await;
    let file = files(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    let (ids, replayed) = replay(dir.path()).await;
    assert_eq!((ids, replayed.damaged), (vec![1], 0));
    assert!(replayed.torn_bytes > 0);
    assert_eq!(replay(dir.path()).await.1.torn_bytes, 0);
}

#[tokio::test]
async fn damage_in_the_middle_is_passed_over_counted_and_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).await;
    for n in 1..=3 {
        log.append(&[record(n)]).await.unwrap();
    }
    close(log).await;
    let file = files(dir.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (ids, replayed) = replay(dir.path()).await;
    assert_eq!((ids, replayed.damaged), (vec![1, 3], 1));
    assert_eq!(fs::read_dir(dir.path().join("corrupt")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).await;
    let refused = Disk::open(DiskOptions::new(dir.path())).unwrap_err().to_string();
    assert!(refused.contains("in use by another process"), "{refused}");
}

#[tokio::test]
async fn a_file_that_has_grown_is_followed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(DiskOptions { path: dir.path().to_owned(), segment_bytes: 200 }).unwrap();
    let (log, _) = Log::open(Arc::new(disk), LogOptions::default()).await.unwrap();
    for n in 1..=4 {
        log.append(&[record(n)]).await.unwrap();
    }
    close(log).await;
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(replay(dir.path()).await.0, [1, 2, 3, 4]);
}
