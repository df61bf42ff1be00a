//! The home in an object store over one in memory that fails under a seed, by tokio's paused clock.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use object_store::memory::InMemory;
use uuid::Uuid;

use super::*;
use crate::{
    model::{Tenant, TraceId},
    store::fault::{FaultStore, Faults},
    wal::{AppendError, Log, LogOptions, Record},
};

struct Place {
    memory: Arc<InMemory>,
    faults: FaultStore,
}

impl Place {
    fn new() -> Self {
        let memory = Arc::new(InMemory::new());
        Self { faults: FaultStore::new(memory.clone(), 7), memory }
    }

    fn logs(&self, name: &str, instance: u128) -> Logs {
        let objects = Objects::over(Arc::new(self.faults.clone()), "");
        Logs::new(objects, name, Uuid::from_u128(instance << 64))
    }

    /// What is there, whatever fails.
    fn objects(&self) -> Objects {
        Objects::over(self.memory.clone(), "")
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.objects().list(prefix).await.unwrap();
        listed.into_iter().map(|object| object.key).collect()
    }

    /// A log of `name`, and its epoch as its holder.
    async fn open(&self, name: &str, instance: u128) -> (Log, Arc<Held>) {
        let home = self.logs(name, instance).open().await.unwrap();
        let held = home.held().clone();
        (Log::open(Arc::new(home), LogOptions::default()).await.unwrap().0, held)
    }

    async fn find(&self) -> Vec<Found> {
        self.logs("judge", 99).find().await.unwrap()
    }

    /// The only epoch, claimed by another ingester.
    async fn claim(&self, instance: u128) -> Claimed {
        let found = self.find().await;
        let [found] = found.as_slice() else { panic!("{found:?}") };
        self.logs("heir", instance).claim(found).await.unwrap().unwrap()
    }
}

fn record(n: u8) -> Record {
    Record { tenant: Tenant::single(), id: TraceId([n; 16]), otlp: Bytes::from(vec![n; 100]) }
}

async fn replayed(claimed: &Claimed) -> (BTreeSet<u8>, Vec<u64>, u64) {
    let found = Arc::new(Mutex::new(BTreeSet::new()));
    let into = found.clone();
    let visit = move |_, record: Record| {
        assert!(into.lock().unwrap().insert(record.id.0[0]), "a record twice");
    };
    let (parts, replayed) = claimed.replay(Arc::new(visit)).await.unwrap();
    let found = std::mem::take(&mut *found.lock().unwrap());
    (found, parts.iter().map(|part| part.generation.number).collect(), replayed.damaged)
}

fn set(records: impl IntoIterator<Item = u8>) -> BTreeSet<u8> {
    records.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_replayed_by_whoever_claims_it() {
    let place = Place::new();
    let (log, _) = place.open("i-0", 1).await;
    for n in 1..=3 {
        log.append(&[record(n)]).await.unwrap();
    }
    log.rotate().await.unwrap();
    log.append(&[record(4), record(5)]).await.unwrap();
    let claimed = place.claim(2).await;
    assert_eq!(replayed(&claimed).await, (set(1..=5), vec![0, 1], 0));
    assert_eq!((claimed.held().term(), claimed.held().generations()), (1, vec![0, 1]));
}

#[tokio::test(start_paused = true)]
async fn at_full_load_at_most_twenty_objects_a_second_are_put_and_none_while_nothing_is_written() {
    let place = Place::new();
    let (log, _) = place.open("i-0", 1).await;
    let log = Arc::new(log);
    let began = Instant::now();
    let before = place.faults.requests();
    let writers = (0..50_u8).map(|n| {
        let log = log.clone();
        let big = Record { otlp: Bytes::from(vec![n; 20_000]), ..record(n) };
        tokio::spawn(async move {
            while began.elapsed() < Duration::from_secs(10) {
                log.append(std::slice::from_ref(&big)).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let puts = place.faults.requests().puts - before.puts;
    assert!((150..=203).contains(&puts), "{puts} puts in 10 s");
    let before = place.faults.requests();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(place.faults.requests(), before, "nothing is asked of the store");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_our_own_put_is_told_from_anothers_object() {
    let place = Place::new();
    let (log, held) = place.open("i-0", 1).await;
    place.faults.set(Faults { lost_answer: 400, late: 200, error: 200, ..Faults::NONE });
    for n in 1..=20 {
        log.append(&[record(n)]).await.unwrap();
    }
    place.faults.set(Faults::NONE);
    assert!(!held.is_lost());
    assert_eq!(replayed(&place.claim(2).await).await.0, set(1..=20));
}

#[tokio::test(start_paused = true)]
async fn fence_before_replay_nothing_is_acknowledged_behind_a_fence() {
    let place = Place::new();
    let (log, held) = place.open("i-0", 1).await;
    log.append(&[record(1)]).await.unwrap();
    let claimed = place.claim(2).await;
    let refused = log.append(&[record(2)]).await.unwrap_err();
    assert!(matches!(&refused, AppendError::Home(e) if matches!(**e, HomeError::Fenced { .. })), "{refused}");
    assert!(held.is_lost());
    log.append(&[record(3)]).await.unwrap_err();
    assert_eq!(replayed(&claimed).await.0, set([1]));
    let refused = held.decide(0, "blocks of the stale").await.unwrap_err();
    assert!(matches!(*refused, HomeError::Fenced { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_arrived_before_one_that_the_fence_kept_out_is_not_acknowledged() {
    let place = Place::new();
    let home = place.logs("i-0", 1).open().await.unwrap();
    let generation = home.epoch().unwrap();
    let commit = |sequence, n| {
        let mut frame = Vec::new();
        crate::wal::record::encode(&record(n), &mut frame).unwrap();
        home.commit(Commit { generation: generation.clone(), sequence, frames: vec![frame.into()] })
    };
    commit(0, 1).await.unwrap();
    // The second is under way for long; the third is there at once.
    let (second, third) = (commit(1, 2), commit(2, 3));
    let third = tokio::spawn(third);
    sleep(Duration::from_millis(10)).await;
    let claimed = place.claim(2).await;
    assert_eq!(place.keys("~vivace/wal").await.len(), 3);
    second.await.unwrap_err();
    third.await.unwrap().unwrap_err();
    assert_eq!(replayed(&claimed).await.0, set([1]));
}

#[tokio::test(start_paused = true)]
async fn a_claimer_that_dies_before_its_fence_or_before_its_replay_is_followed_by_another() {
    let place = Place::new();
    let (log, _) = place.open("i-0", 1).await;
    log.append(&[record(1)]).await.unwrap();
    let found = place.find().await.remove(0);
    let first = place.logs("heir", 2);
    let term = first.take_term(&found).await.unwrap().unwrap();
    // Dead before the fence: the writer, which only slept, still acknowledges.
    log.append(&[record(2)]).await.unwrap();
    let other = place.logs("other", 5);
    assert!(other.claim(&found).await.unwrap().is_none(), "a term is given once");
    let second = place.claim(3).await;
    assert_eq!(second.held().term(), 2);
    log.append(&[record(3)]).await.unwrap_err();
    // Dead before the replay.
    let third = place.claim(4).await;
    assert_eq!(replayed(&third).await.0, set([1, 2]));
    // Each that was overtaken finds out before it decides.
    for stale in [&term, second.held()] {
        stale.confirm().await.unwrap_err();
    }
    third.held().confirm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn decided_before_visible_the_first_decision_counts_and_the_heir_of_who_made_it_finds_it() {
    let place = Place::new();
    let (log, held) = place.open("i-0", 1).await;
    log.append(&[record(1)]).await.unwrap();
    log.rotate().await.unwrap();
    log.append(&[record(2)]).await.unwrap();
    assert_eq!(held.decide(0, "first").await.unwrap(), Verdict::Ours);
    assert_eq!(held.decide(0, "first").await.unwrap(), Verdict::Ours, "may be repeated");
    assert_eq!(held.decide(0, "second").await.unwrap(), Verdict::Theirs("first".to_owned()));
    // Dead before the blocks are visible and the segments go.
    let claimed = place.claim(2).await;
    assert_eq!(claimed.decided(), Some("first"));
    assert_eq!(replayed(&claimed).await.0, set([2]));
    claimed.remove_decided().await.unwrap();
    assert_eq!(claimed.held().decide(1, "third").await.unwrap(), Verdict::Ours);
    claimed.held().remove(1).await.unwrap();
    assert_eq!(place.claim(3).await.decided(), Some("third"));
}

#[tokio::test(start_paused = true)]
async fn last_decision_counts_not_one_that_came_when_the_right_one_was_gone() {
    let place = Place::new();
    let (log, _) = place.open("i-0", 1).await;
    for n in 1..=2 {
        log.append(&[record(n)]).await.unwrap();
        log.rotate().await.unwrap();
    }
    let heir = place.claim(2).await;
    replayed(&heir).await;
    for generation in [0, 1] {
        heir.held().decide(generation, "right").await.unwrap();
        heir.held().remove(generation).await.unwrap();
    }
    let late = format!("{}/decided-{:016x}", heir.held().epoch().claims(), 0);
    let stale = r#"{"through":0,"term":0,"blocks":"stale"}"#;
    assert_eq!(place.objects().put_new(&late, stale.into()).await.unwrap(), Created::New);
    assert_eq!(place.claim(3).await.decided(), Some("right"));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_segment_is_passed_over_counted_and_set_aside() {
    let place = Place::new();
    let (log, held) = place.open("i-0", 1).await;
    for n in 1..=3 {
        log.append(&[record(n)]).await.unwrap();
    }
    let key = held.epoch().segment(1);
    let mut bytes = place.objects().get(&key).await.unwrap().to_vec();
    bytes[70] ^= 1;
    place.objects().put(&key, bytes.into()).await.unwrap();
    let claimed = place.claim(2).await;
    assert_eq!(replayed(&claimed).await, (set([1, 3]), vec![0], 1));
    assert_eq!(place.keys("~vivace/damaged").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_leaves_the_fence_for_a_writer_that_sleeps_and_is_found_no_more() {
    let place = Place::new();
    let (log, _) = place.open("i-0", 1).await;
    log.append(&[record(1)]).await.unwrap();
    let claimed = place.claim(2).await;
    replayed(&claimed).await;
    claimed.held().decide(0, "blocks").await.unwrap();
    claimed.held().remove(0).await.unwrap();
    claimed.held().end().await.unwrap();
    assert_eq!(place.find().await, []);
    assert_eq!(place.keys("~vivace/wal").await.len(), 1);
    log.append(&[record(2)]).await.unwrap_err();
    claimed.held().decide(0, "blocks").await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_ends_its_own_epoch_leaves_nothing() {
    let place = Place::new();
    let (log, held) = place.open("i-0", 1).await;
    log.append(&[record(1)]).await.unwrap();
    log.rotate().await.unwrap();
    held.decide(0, "blocks").await.unwrap();
    held.remove(0).await.unwrap();
    log.close().await;
    held.end().await.unwrap();
    assert_eq!(place.keys("~vivace").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_refuses_commits_wait_and_it_is_said_and_they_go_on_afterwards() {
    let place = Place::new();
    let home = place.logs("i-0", 1).open().await.unwrap();
    let mut away = home.away();
    let log = Arc::new(Log::open(Arc::new(home), LogOptions::default()).await.unwrap().0);
    place.faults.set(Faults { error: 1000, ..Faults::NONE });
    let appending = log.clone();
    let appended = tokio::spawn(async move { appending.append(&[record(1)]).await });
    let reason = away.wait_for(Option::is_some).await.unwrap().clone().unwrap().reason;
    assert!(reason.contains("cannot write"), "{reason}");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(log.stats().commits.load(Ordering::SeqCst), 0);
    place.faults.set(Faults::NONE);
    appended.await.unwrap().unwrap();
    assert_eq!(*away.borrow(), None);
}
