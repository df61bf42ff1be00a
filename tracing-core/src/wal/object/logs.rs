//! All logs of an object store: opening one's own, finding those without a holder, claiming them. IO.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Held, HomeError, Object,
    held::{Decision, delete_all},
    layout::{CLAIMS, Claim, Epoch, spelled},
    replay::Claimed,
    segment::{self, Head},
    store,
};
use crate::store::{Created, Objects};

/// What is left of an epoch that has ended stays for so long: its fence holds back a writer that slept.
const FENCES_STAY: Duration = Duration::from_hours(24);
/// Records of holders that are remembered.
const REMEMBERED: usize = 10_000;

/// The logs of an object store, for one ingester.
pub struct Logs {
    objects: Objects,
    name: String,
    instance: Uuid,
    /// Milliseconds since 1970: epochs are numbered by it, so that no number is ever used twice.
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// What was read of terms, which never change.
    holders: Mutex<HashMap<String, Holder>>,
}

/// Who put a term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// The ingester's name.
    name: String,
    /// Its process.
    instance: Uuid,
    /// The random id of the epoch's writer.
    log: Uuid,
}

/// An epoch that was found, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The epoch.
    pub epoch: Epoch,
    /// Its greatest term.
    pub term: u64,
    /// Name of the holder.
    pub name: String,
    /// Process of the holder.
    pub instance: Uuid,
    /// The writer's random id.
    log: Uuid,
}

impl Logs {
    /// The logs in `objects` for the ingester `name`, of which `instance` is this process.
    #[must_use]
    pub fn new(objects: Objects, name: &str, instance: Uuid) -> Self {
        let clock = || u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        Self::with_clock(objects, name, instance, Arc::new(clock))
    }

    /// As [`Logs::new`], by another clock.
    #[must_use]
    pub(crate) fn with_clock(
        objects: Objects,
        name: &str,
        instance: Uuid,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Self { objects, name: spelled(name), instance, clock, holders: Mutex::default() }
    }

    /// This process.
    #[must_use]
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// The ingester's name as epochs spell it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins an epoch of one's own.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(&self) -> Result<Object, Arc<HomeError>> {
        let own = format!("{CLAIMS}/{}", self.name);
        let there = self.objects.list(&own).await.map_err(store)?;
        let last = there.iter().filter_map(|object| Epoch::parse_claim(&object.key)).map(|(e, _)| e.number);
        let mut number = (self.clock)().max(last.max().unwrap_or(0) + 1);
        loop {
            let epoch = Epoch { ingester: self.name.clone(), number };
            let log = derived(self.instance, number);
            let holder = Holder { name: self.name.clone(), instance: self.instance, log };
            if self.put_term(&epoch, 0, &holder).await? {
                let held = Arc::new(Held::new(self.objects.clone(), epoch, 0, log));
                return Ok(Object::new(self.objects.clone(), held, log));
            }
            number += 1;
        }
    }

    /// All epochs that have not ended, by whoever they were opened. What has ended long ago is removed.
    ///
    /// # Errors
    /// What the store says.
    pub async fn find(&self) -> Result<Vec<Found>, Arc<HomeError>> {
        self.find_below(CLAIMS).await
    }

    /// As [`Logs::find`], of this ingester's name alone.
    ///
    /// # Errors
    /// What the store says.
    pub async fn find_own(&self) -> Result<Vec<Found>, Arc<HomeError>> {
        self.find_below(&format!("{CLAIMS}/{}", self.name)).await
    }

    async fn find_below(&self, prefix: &str) -> Result<Vec<Found>, Arc<HomeError>> {
        #[derive(Default)]
        struct Seen {
            term: Option<u64>,
            ended: Option<Timestamp>,
        }
        let mut epochs = BTreeMap::<Epoch, Seen>::new();
        for object in self.objects.list(prefix).await.map_err(store)? {
            let Some((epoch, claim)) = Epoch::parse_claim(&object.key) else { continue };
            let seen = epochs.entry(epoch).or_default();
            match claim {
                Claim::Term(term) => seen.term = seen.term.max(Some(term)),
                Claim::Ended => seen.ended = Some(object.modified),
                Claim::Decided(_) => {}
            }
        }
        let mut found = Vec::new();
        for (epoch, seen) in epochs {
            match (seen.term, seen.ended) {
                (_, Some(ended)) => self.sweep(&epoch, ended).await?,
                (Some(term), None) => found.extend(self.found(epoch, term).await?),
                // A decision that came too late to be of any use.
                (None, None) => {}
            }
        }
        Ok(found)
    }

    async fn found(&self, epoch: Epoch, term: u64) -> Result<Option<Found>, Arc<HomeError>> {
        let key = epoch.claim(Claim::Term(term));
        let known = self.holders.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let holder = match known {
            Some(holder) => holder,
            None => match self.objects.get(&key).await {
                Ok(json) => match serde_json::from_slice::<Holder>(&json) {
                    Ok(holder) => {
                        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
                        if holders.len() >= REMEMBERED {
                            holders.clear();
                        }
                        holders.insert(key, holder.clone());
                        holder
                    }
                    Err(error) => {
                        tracing::error!(key, %error, "a claim cannot be read: its log is left alone");
                        return Ok(None);
                    }
                },
                // Ended meanwhile.
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(store(error)),
            },
        };
        let Holder { name, instance, log } = holder;
        Ok(Some(Found { epoch, term, name, instance, log }))
    }

    /// Removes what was left of an epoch that ended so long ago that nobody writes to it any more. What says
    /// that it has ended goes last.
    async fn sweep(&self, epoch: &Epoch, ended: Timestamp) -> Result<(), Arc<HomeError>> {
        let age = Timestamp::now().duration_since(ended);
        if age.as_secs() < FENCES_STAY.as_secs() as i64 {
            return Ok(());
        }
        let mark = epoch.claim(Claim::Ended);
        for prefix in [epoch.segments(), epoch.claims()] {
            let there = self.objects.list(&prefix).await.map_err(store)?;
            let keys = there.into_iter().map(|object| object.key).filter(|key| *key != mark);
            delete_all(&self.objects, keys).await?;
        }
        delete_all(&self.objects, [mark]).await
    }

    /// Takes an epoch over; none where another was first. Puts the next term, then the fence.
    ///
    /// # Errors
    /// What the store says. The term may then be ours: the next [`Logs::find`] tells.
    pub async fn claim(&self, found: &Found) -> Result<Option<Claimed>, Arc<HomeError>> {
        let Some(held) = self.take_term(found).await? else { return Ok(None) };
        self.fence(held).await.map(Some)
    }

    /// The first step of a claim.
    pub(crate) async fn take_term(&self, found: &Found) -> Result<Option<Arc<Held>>, Arc<HomeError>> {
        let holder = Holder { name: self.name.clone(), instance: self.instance, log: found.log };
        let term = found.term + 1;
        if !self.put_term(&found.epoch, term, &holder).await? {
            return Ok(None);
        }
        let held = Held::new(self.objects.clone(), found.epoch.clone(), term, found.log);
        Ok(Some(Arc::new(held)))
    }

    /// The second step of a claim: what is decided already is read, and the fence put at the first number
    /// behind it that is free.
    pub(crate) async fn fence(&self, held: Arc<Held>) -> Result<Claimed, Arc<HomeError>> {
        let epoch = held.epoch().clone();
        let decided = self.last_decided(&epoch).await?;
        let begin = decided.as_ref().map_or(0, |decision| decision.through + 1);
        let head = Head { log: self.instance, epoch: epoch.number, generation: held.term(), sequence: 0 };
        loop {
            let there = self.objects.list(&epoch.segments()).await.map_err(store)?;
            let sequences = there.iter().filter_map(|object| Epoch::sequence(&object.key));
            let sequences: Vec<u64> = sequences.filter(|sequence| *sequence >= begin).collect();
            let free = (begin..).zip(&sequences).take_while(|(want, at)| want == *at).count() as u64 + begin;
            let fence = segment::fence(&Head { sequence: free, ..head });
            let created = self.objects.put_new(&epoch.segment(free), fence).await.map_err(store)?;
            if created == Created::New {
                let decided = decided.map(|decision| decision.blocks);
                let older = there
                    .iter()
                    .filter_map(|object| Epoch::sequence(&object.key))
                    .filter(|sequence| *sequence < begin)
                    .collect();
                return Ok(Claimed::new(self.objects.clone(), held, decided, older, begin..free));
            }
            // The writer was faster: its segment is acknowledged, and the fence stands behind it.
        }
    }

    /// The decision on the latest generation. Generations are decided in order, each after the blocks of the one
    /// before are visible; a decision on an earlier one that is there may be that of a stale holder, which came
    /// so late that the right one was gone already (rule *last-decision-counts*).
    async fn last_decided(&self, epoch: &Epoch) -> Result<Option<Decision>, Arc<HomeError>> {
        let there = self.objects.list(&epoch.claims()).await.map_err(store)?;
        let decided = there.iter().filter_map(|object| match Epoch::parse_claim(&object.key) {
            Some((_, Claim::Decided(number))) => Some((number, &object.key)),
            _ => None,
        });
        let Some((_, key)) = decided.max() else { return Ok(None) };
        let json = self.objects.get(key).await.map_err(store)?;
        Decision::read(key, &json).map(Some)
    }

    async fn put_term(&self, epoch: &Epoch, term: u64, holder: &Holder) -> Result<bool, Arc<HomeError>> {
        let json = Bytes::from(serde_json::to_vec(holder).unwrap_or_default());
        let key = epoch.claim(Claim::Term(term));
        Ok(self.objects.put_new(&key, json).await.map_err(store)? == Created::New)
    }
}

/// A random id for an epoch: the process's, mixed with the epoch's number.
fn derived(instance: Uuid, number: u64) -> Uuid {
    let mixed =
        (instance.as_u128() ^ u128::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Uuid::from_u128(mixed ^ (mixed >> 64))
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs")
            .field("name", &self.name)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}
