//! The log's home in an object store: one object a commit, put only if absent. IO.
//!
//! An *epoch* is one opening of one ingester's log. Its segments are numbered without gaps, and a commit is
//! acknowledged only after all before it. Who finds an ingester gone claims the epoch by a conditional put of
//! its next *term*, and then puts a *fence* at the first sequence number that is free: the writer's put of that
//! number fails from then on, so nothing after it is ever acknowledged (rule *fence-before-replay*). Since
//! every opening has an epoch of its own, an ingester that comes back writes at once, and leaves what it wrote
//! before to whoever claimed it.
//!
//! Several may believe that they hold an epoch; each has a term of its own, and block ids are derived from
//! generation and term, so that no two of them write the same objects. Which blocks hold the spans of a
//! generation is *decided* by a conditional put once their data is there: the first is right, and whoever holds
//! the epoch makes those visible (rule *decided-before-visible*). Segments go after that (rule
//! *visible-before-segments-go*).

mod held;
mod layout;
mod logs;
mod replay;
mod segment;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{
    sync::{oneshot, watch},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use super::home::{Commit, Generation, Home, HomeError, Pace, Segment, Source};
use crate::store::{Created, Objects, StoreError};

pub use held::{Held, Verdict};
pub use layout::Epoch;
pub use logs::{Found, Logs};
pub use replay::{Claimed, Part};
use segment::Head;

/// Commits under way at once: what a store that takes half a second an object needs at 20 commits a second.
const DEPTH: usize = 10;
/// A put that was not answered for so long is tried again beside the first attempt.
const ATTEMPT: Duration = Duration::from_secs(4);
/// Pauses between attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A commit that took longer than this, by a clock that runs while the machine sleeps, is not acknowledged:
/// fences are removed after a day, so a writer must not rely on them for longer.
const LATEST: Duration = Duration::from_hours(1);
/// Bodies up to this many bytes are packed where they are; longer ones on a thread that may block.
const INLINE: usize = 64 << 10;
/// How commits are spaced: at most 20 a second, 5 where they are small, and soon after an idle time.
const PACE: Pace = Pace {
    first: Duration::from_millis(20),
    least: Duration::from_millis(50),
    most: Duration::from_millis(200),
    worth: 128 << 10,
};

type Done = Result<(), Arc<HomeError>>;

/// The home of a log that is appended to: an epoch that this process opened.
pub struct Object {
    objects: Objects,
    held: Arc<Held>,
    log: uuid::Uuid,
    /// Resolves to true when the commit asked for last was acknowledged.
    last: Mutex<Option<oneshot::Receiver<bool>>>,
    away: Arc<watch::Sender<Option<Away>>>,
}

/// Since when the store does not take commits, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// When the first attempt failed.
    pub since: Instant,
    /// What the last attempt said.
    pub reason: String,
}

impl Object {
    fn new(objects: Objects, held: Arc<Held>, log: uuid::Uuid) -> Self {
        Self { objects, held, log, last: Mutex::default(), away: Arc::new(watch::Sender::new(None)) }
    }

    /// The epoch, as its holder.
    #[must_use]
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Follows whether the store takes commits.
    #[must_use]
    pub fn away(&self) -> watch::Receiver<Option<Away>> {
        self.away.subscribe()
    }

    /// One commit, until it is durable or the epoch is lost. While the store is away it is tried again and
    /// again: its number cannot be given to another commit, since an attempt may still arrive.
    async fn put(put: Put) -> Done {
        let Put { objects, held, away, head, frames, before, done } = put;
        let began = SystemTime::now();
        let len: usize = frames.iter().map(Bytes::len).sum();
        let bytes = if len <= INLINE {
            segment::encode(&head, &frames)
        } else {
            let packed = spawn_blocking(move || segment::encode(&head, &frames)).await;
            packed.map_err(|_| Arc::new(HomeError::Closed))?
        };
        let key = held.epoch().segment(head.sequence);
        let mut wait = BACKOFF.0;
        loop {
            let attempt = timeout(ATTEMPT, objects.put_new(&key, bytes.clone()));
            let attempt = tokio::select! {
                biased;
                by = held.lost() => return Err(held.fenced(by)),
                attempt = attempt => attempt,
            };
            let reason = match attempt {
                Ok(Ok(Created::New)) => break,
                Ok(Ok(Created::Exists)) => {
                    held.lose("another put an object where its next commit was to be");
                    return Err(held.fenced(held.lost().await));
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", ATTEMPT.as_secs()),
            };
            away.send_modify(|at| {
                let since = at.as_ref().map_or_else(Instant::now, |at| at.since);
                *at = Some(Away { since, reason });
            });
            tokio::select! {
                biased;
                by = held.lost() => return Err(held.fenced(by)),
                () = sleep(wait) => wait = (wait * 2).min(BACKOFF.1),
            }
        }
        away.send_if_modified(|at| at.take().is_some());
        if began.elapsed().is_ok_and(|took| took > LATEST) {
            held.lose("it slept for longer than fences are kept");
        }
        // In order, and none after one that failed.
        let in_order = match before {
            Some(before) => before.await.unwrap_or(false),
            None => true,
        };
        if !in_order || held.is_lost() {
            return Err(if held.is_lost() {
                held.fenced(held.lost().await)
            } else {
                Arc::new(HomeError::Closed)
            });
        }
        let _ = done.send(true);
        Ok(())
    }
}

/// What a commit is made of.
struct Put {
    objects: Objects,
    held: Arc<Held>,
    away: Arc<watch::Sender<Option<Away>>>,
    head: Head,
    frames: Vec<Bytes>,
    before: Option<oneshot::Receiver<bool>>,
    done: oneshot::Sender<bool>,
}

impl Home for Object {
    fn depth(&self) -> usize {
        DEPTH
    }

    fn epoch(&self) -> Option<Generation> {
        Some(Generation { epoch: self.held.epoch().number, number: 0, log: self.log })
    }

    fn pace(&self) -> Option<Pace> {
        Some(PACE)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Done> {
        let Commit { generation, sequence, frames } = commit;
        let (done, after) = oneshot::channel();
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(after);
        self.held.note(generation.number, sequence);
        let head = Head { log: self.log, epoch: generation.epoch, generation: generation.number, sequence };
        let (objects, held, away) = (self.objects.clone(), self.held.clone(), self.away.clone());
        Box::pin(Self::put(Put { objects, held, away, head, frames, before, done }))
    }

    /// None: what earlier openings left is claimed, not found.
    fn segments(&self) -> BoxFuture<'static, Result<Vec<Segment>, Arc<HomeError>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn read(&self, segment: &Segment) -> BoxFuture<'static, Result<Source, Arc<HomeError>>> {
        let (objects, key) = (self.objects.clone(), self.held.epoch().segment(segment.sequence));
        Box::pin(async move {
            let bytes = objects.get(&key).await.map_err(store)?;
            let unreadable = || std::io::Error::from(std::io::ErrorKind::InvalidData);
            let source = match segment::decode(&bytes) {
                Some(segment::Object::Segment(_, body)) => body.source(),
                _ => Err(unreadable()),
            };
            source.map_err(|source| Arc::new(HomeError::Io { action: "read", at: key, source }))
        })
    }

    /// Nothing to do: an object is there whole or not at all.
    fn cut(&self, _: &Segment, _: u64) -> BoxFuture<'static, Done> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn set_aside(&self, segment: &Segment, _: u64, bytes: Bytes) -> BoxFuture<'static, Done> {
        let (objects, key) = (self.objects.clone(), self.held.epoch().damaged(segment.sequence));
        Box::pin(async move { objects.put(&key, bytes).await.map_err(store) })
    }

    fn remove(&self, generation: &Generation) -> BoxFuture<'static, Done> {
        let (held, number) = (self.held.clone(), generation.number);
        Box::pin(async move { held.remove(number).await })
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("held", &self.held).finish_non_exhaustive()
    }
}

fn store(error: StoreError) -> Arc<HomeError> {
    Arc::new(HomeError::Store(error))
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
