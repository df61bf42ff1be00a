//! An epoch that this process holds: its own, or one that it claimed. Decides which blocks hold the spans of
//! its generations, and removes what they made superfluous. IO.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    HomeError,
    layout::{Claim, Epoch},
    store,
};
use crate::store::{Created, Objects};

/// Objects that are deleted at the same time.
const DELETES: usize = 16;

/// An epoch and the term under which it is held.
pub struct Held {
    objects: Objects,
    epoch: Epoch,
    term: u64,
    /// The writer's random id.
    log: Uuid,
    /// First and last sequence number of each generation that is not removed yet.
    ranges: Mutex<BTreeMap<u64, (u64, u64)>>,
    /// Where the first fence stands, once there is one.
    fence: Mutex<Option<u64>>,
    lost: watch::Sender<Option<Arc<str>>>,
}

/// Which blocks hold the spans of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Those that were proposed.
    Ours,
    /// Those that another holder proposed before; their data is in the store.
    Theirs(String),
}

/// The record of a decision.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Decision {
    /// Sequence number of the generation's last segment.
    pub(super) through: u64,
    /// Term of who decided.
    pub(super) term: u64,
    /// As proposed.
    pub(super) blocks: String,
}

impl Held {
    pub(super) fn new(objects: Objects, epoch: Epoch, term: u64, log: Uuid) -> Self {
        let lost = watch::Sender::new(None);
        Self { objects, epoch, term, log, ranges: Mutex::default(), fence: Mutex::default(), lost }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// 0 for the epoch's writer, greater for each that claimed it since.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The writer's random id, which is that of its generations.
    #[must_use]
    pub fn log(&self) -> Uuid {
        self.log
    }

    /// Whether another holds it now.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// Resolves, with the reason, when another holds it.
    pub async fn lost(&self) -> Arc<str> {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as this.
        let reason = lost.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "unknown".into())
    }

    /// Notes that another holds it: from now on nothing is acknowledged, decided or removed.
    pub fn lose(&self, reason: &str) {
        let first = self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                *lost = Some(reason.into());
            }
            first
        });
        if first {
            tracing::warn!(epoch = %self.epoch, term = self.term, reason, "the log was taken over: what it holds is answered for by another");
        }
    }

    pub(super) fn fenced(&self, by: Arc<str>) -> Arc<HomeError> {
        Arc::new(HomeError::Fenced { at: self.epoch.to_string(), reason: by })
    }

    /// A segment belongs to a generation.
    pub(super) fn note(&self, generation: u64, sequence: u64) {
        let mut ranges = lock(&self.ranges);
        let range = ranges.entry(generation).or_insert((sequence, sequence));
        *range = (range.0.min(sequence), range.1.max(sequence));
    }

    pub(super) fn note_fence(&self, sequence: u64) {
        let mut fence = lock(&self.fence);
        *fence = Some(fence.map_or(sequence, |at| at.min(sequence)));
    }

    /// Generations that are not removed yet.
    #[must_use]
    pub fn generations(&self) -> Vec<u64> {
        lock(&self.ranges).keys().copied().collect()
    }

    /// Decides that `blocks`, whose data is in the store, hold the spans of a generation, unless that was
    /// decided before (rule *decided-before-visible*). Generations are decided in their order. Whichever it
    /// is, the caller makes it visible and may then [`Held::remove`] the generation.
    ///
    /// # Errors
    /// [`HomeError::Fenced`] where another holds the epoch by now: nothing may be made visible then. What the
    /// store says; may be repeated with the same blocks.
    pub async fn decide(&self, generation: u64, blocks: &str) -> Result<Verdict, Arc<HomeError>> {
        let Some((_, through)) = lock(&self.ranges).get(&generation).copied() else {
            return Err(Arc::new(HomeError::Closed));
        };
        self.confirm().await?;
        let key = self.epoch.claim(Claim::Decided(generation));
        let decision = Decision { through, term: self.term, blocks: blocks.to_owned() };
        let json = serde_json::to_vec(&decision).unwrap_or_default();
        let created = self.objects.put_new(&key, Bytes::from(json)).await.map_err(store)?;
        // Who held the epoch when the decision was put has its way: a later holder looks for decisions only
        // after it has put its term.
        self.confirm().await?;
        match created {
            Created::New => Ok(Verdict::Ours),
            Created::Exists => {
                let there = self.objects.get(&key).await.map_err(store)?;
                Ok(Verdict::Theirs(Decision::read(&key, &there)?.blocks))
            }
        }
    }

    /// Looks whether this is still the holder.
    ///
    /// # Errors
    /// [`HomeError::Fenced`] where it is not, else what the store says.
    pub async fn confirm(&self) -> Result<(), Arc<HomeError>> {
        if self.is_lost() {
            return Err(self.fenced(self.lost().await));
        }
        let claims = self.objects.list(&self.epoch.claims()).await.map_err(store)?;
        let (mut own, mut other) = (false, false);
        for claim in claims.iter().filter_map(|object| Epoch::parse_claim(&object.key)) {
            match claim.1 {
                Claim::Term(term) if term == self.term => own = true,
                Claim::Term(term) => other |= term > self.term,
                Claim::Ended => other = true,
                Claim::Decided(_) => {}
            }
        }
        if !own || other {
            self.lose("another claimed it");
            return Err(self.fenced(self.lost().await));
        }
        Ok(())
    }

    /// Removes the segments of a generation whose blocks are visible (rule *visible-before-segments-go*).
    ///
    /// # Errors
    /// What the store says; may be repeated.
    pub async fn remove(&self, generation: u64) -> Result<(), Arc<HomeError>> {
        let Some((first, last)) = lock(&self.ranges).get(&generation).copied() else { return Ok(()) };
        self.delete((first..=last).map(|sequence| self.epoch.segment(sequence))).await?;
        // The last decision says where the segments begin; those before it are of no more use.
        if let Some(before) = generation.checked_sub(1) {
            self.delete([self.epoch.claim(Claim::Decided(before))]).await?;
        }
        lock(&self.ranges).remove(&generation);
        Ok(())
    }

    /// Ends an epoch whose generations are all removed. Nothing of it is left where its writer ends it; where
    /// it was claimed, the fence stays for a day, since the writer may only sleep.
    ///
    /// # Errors
    /// What the store says; may be repeated, also by another.
    pub async fn end(&self) -> Result<(), Arc<HomeError>> {
        self.confirm().await?;
        let fence = *lock(&self.fence);
        if fence.is_some() || self.term > 0 {
            let key = self.epoch.claim(Claim::Ended);
            self.objects.put(&key, Bytes::from_static(b"{}")).await.map_err(store)?;
        }
        let keep = fence.map(|at| self.epoch.segment(at));
        let segments = self.keys(&self.epoch.segments()).await?;
        self.delete(segments.into_iter().filter(|key| Some(key) != keep.as_ref())).await?;
        let claims = self.keys(&self.epoch.claims()).await?;
        let stays = |key: &String| match Epoch::parse_claim(key) {
            Some((_, Claim::Term(term))) => self.term > 0 && term == self.term,
            Some((_, Claim::Ended)) => true,
            _ => false,
        };
        self.delete(claims.into_iter().filter(|key| !stays(key))).await
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, Arc<HomeError>> {
        Ok(self.objects.list(prefix).await.map_err(store)?.into_iter().map(|object| object.key).collect())
    }

    async fn delete(&self, keys: impl IntoIterator<Item = String>) -> Result<(), Arc<HomeError>> {
        delete_all(&self.objects, keys).await
    }
}

pub(super) async fn delete_all(
    objects: &Objects,
    keys: impl IntoIterator<Item = String>,
) -> Result<(), Arc<HomeError>> {
    let deletes = keys.into_iter().map(|key| async move { objects.delete(&key).await });
    stream::iter(deletes).buffer_unordered(DELETES).try_collect::<()>().await.map_err(store)
}

impl Decision {
    pub(super) fn read(key: &str, json: &[u8]) -> Result<Self, Arc<HomeError>> {
        serde_json::from_slice(json).map_err(|error| {
            Arc::new(HomeError::Io { action: "read", at: key.to_owned(), source: error.into() })
        })
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.lost.borrow().clone();
        f.debug_struct("Held")
            .field("epoch", &self.epoch.to_string())
            .field("term", &self.term)
            .field("lost", &lost)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
