//! Finding out which blocks there are: one listing of the tenants, and for each of them either its index or
//! one flat listing and the `meta.json` of blocks not seen yet. IO.
//!
//! Few processes list and write the index, the others read it: the number of listings does not grow with the
//! number of processes. What was done by this process is never forgotten for the sake of an older index.

mod stats;
mod tenant;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Store, StoreError, disk,
    list::{Found, Since},
    objects::{Place, blocking, path},
};
use crate::model::Tenant;

pub use stats::{POLL_BUCKETS, PollStats, TenantPoll};

/// The first and the longest pause after a poll that failed. A process is not ready before its first poll, so
/// it must not wait for the next regular one, minutes away.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// What a poll found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Tenants with blocks.
    pub tenants: usize,
    /// Blocks to be read.
    pub blocks: usize,
    /// Tenants that could not be listed: their blocks are as the poll before left them.
    pub failed: usize,
}

impl Store {
    /// Finds all blocks of all tenants and replaces the snapshot. A tenant that cannot be read keeps what it
    /// had, a block whose meta cannot be read is left out; both are logged and counted.
    ///
    /// # Errors
    /// Where not even the tenants can be listed; the snapshot then stays as it is.
    pub async fn poll(&self) -> Result<Polled, StoreError> {
        let _one_at_a_time = self.polling.lock().await;
        let (clock, begin) = (Instant::now(), self.begin());
        let tenants = self.list_tenants().await.inspect_err(|error| self.stats.failed(error))?;
        let results = stream::iter(tenants)
            .map(async |tenant| (self.poll_tenant(&tenant).await, tenant))
            .buffer_unordered(self.poll.tenant_concurrency.max(1));
        let mut results = std::pin::pin!(results);
        let (mut found, mut polled) = (BTreeMap::new(), Polled::default());
        while let Some((result, tenant)) = results.next().await {
            let blocks = result.unwrap_or_else(|error| {
                tracing::warn!(%tenant, %error, "the blocks of a tenant could not be listed");
                self.stats.count_error_of(&tenant);
                polled.failed += 1;
                self.as_before(&tenant, begin)
            });
            polled.tenants += usize::from(!blocks.is_empty());
            polled.blocks += blocks.live.len();
            found.insert(tenant, blocks);
        }
        self.stats.keep(&found);
        if let Ok(mut lists) = self.lists.write() {
            lists.install(begin, clock, found);
        }
        self.stats.ended(clock.elapsed());
        Ok(polled)
    }

    /// Lists the blocks of one tenant now: someone said that they changed.
    ///
    /// # Errors
    /// As [`Store::complete_to`].
    pub async fn poll_now(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.complete_to(tenant, Instant::now()).await
    }

    /// Returns when the list of a tenant holds all that was committed before `moment`, by whomever: at once
    /// where that is so, else after a listing, which all who wait for it share (rule *listed-or-named*).
    ///
    /// # Errors
    /// What the store says; the snapshot then stays as it is. [`StoreError::Unread`] where a meta could not be
    /// read, so that nobody knows what was committed.
    pub async fn complete_to(&self, tenant: &Tenant, moment: Instant) -> Result<(), StoreError> {
        let is_complete = || {
            let lists = self.lists.read();
            lists.is_ok_and(|lists| lists.complete(tenant).is_some_and(|complete| complete >= moment))
        };
        if is_complete() {
            return Ok(());
        }
        let turn = self.listings.lock().map(|mut turns| turns.entry(tenant.clone()).or_default().clone());
        let turn = turn.unwrap_or_default();
        let _one_at_a_time = turn.lock().await;
        let listed = if is_complete() { Ok(()) } else { self.list_now(tenant).await };
        if let Ok(mut turns) = self.listings.lock()
            && Arc::strong_count(&turn) <= 2
        {
            turns.remove(tenant);
        }
        listed
    }

    async fn list_now(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let found = self.list_tenant(tenant).await?;
        let complete = found.complete.is_some();
        if let Ok(mut lists) = self.lists.write() {
            lists.install_one(tenant, found);
        }
        if complete { Ok(()) } else { Err(StoreError::Unread { tenant: tenant.clone() }) }
    }

    /// Polls now and then about every `every`, until cancelled. A poll that failed is repeated sooner.
    pub fn spawn_poller(self: &Arc<Self>, every: Duration, until: CancellationToken) -> JoinHandle<()> {
        let store = self.clone();
        tokio::spawn(async move {
            let every = every.max(Duration::from_millis(100));
            let (mut pause, mut retry) = (Duration::ZERO, FIRST_RETRY);
            loop {
                tokio::select! {
                    () = until.cancelled() => return,
                    () = sleep(pause) => {}
                }
                tokio::select! {
                    () = until.cancelled() => return,
                    polled = store.poll() => {
                        let failed = match polled {
                            Ok(polled) => {
                                tracing::debug!(?polled, "listed the blocks");
                                polled.failed > store.poll.tolerate_tenants as usize
                            }
                            Err(error) => {
                                tracing::warn!(%error, "the blocks could not be listed");
                                true
                            }
                        };
                        (pause, retry) = if failed {
                            (retry.min(every), (retry * 2).min(LONGEST_RETRY))
                        } else {
                            // Processes that were started together do not poll together.
                            (every.mul_f64(0.95) + random_up_to(every / 10), FIRST_RETRY)
                        };
                    }
                }
            }
        })
    }

    /// Has this process write the index of the tenants for which `elected` says so, each time it polls. Set
    /// once.
    pub fn elect(&self, elected: impl Fn(&Tenant) -> bool + Send + Sync + 'static) {
        let _ = self.elected.set(Box::new(elected));
    }

    /// How often this process changed the blocks of each tenant: for telling others, who then may
    /// [`Store::poll_now`].
    #[must_use]
    pub fn own_changes(&self) -> BTreeMap<Tenant, u64> {
        self.lists.read().map(|lists| lists.own()).unwrap_or_default()
    }

    /// Counters of polls.
    #[must_use]
    pub fn poll_stats(&self) -> &PollStats {
        &self.stats
    }

    fn begin(&self) -> u64 {
        self.lists.write().map_or(0, |mut lists| lists.begin())
    }

    fn as_before(&self, tenant: &Tenant, begin: u64) -> Found {
        Found {
            live: self.listed(tenant),
            compacted: self.compacted(tenant).to_vec(),
            since: Since::Change(begin),
            as_of: Timestamp::UNIX_EPOCH,
            complete: self.lists.read().ok().and_then(|lists| lists.complete(tenant)),
        }
    }

    /// All tenants of which there is anything in the store, blocks or not.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let names: Vec<String> = match &self.place {
            Place::Disk(root) => {
                let root = root.clone();
                blocking(move || disk::directories(&root)).await?
            }
            Place::Bucket { store, .. } => {
                let prefix = self.place.prefix().trim_end_matches('/');
                let list = async {
                    let below = if prefix.is_empty() { None } else { Some(path(prefix)?) };
                    store.list_with_delimiter(below.as_ref()).await
                };
                let listed = list.await.map_err(|e| StoreError::object("list", prefix, e))?;
                listed.common_prefixes.iter().filter_map(|p| p.filename().map(str::to_owned)).collect()
            }
        };
        // Names of our own begin with a tilde, which no tenant's name may hold.
        let mut tenants: Vec<_> = names.iter().filter_map(|name| Tenant::new(name).ok()).collect();
        tenants.sort_unstable();
        Ok(tenants)
    }
}

/// A time below `most`, at random.
fn random_up_to(most: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() as u32;
    most.mul_f64(f64::from(random) / f64::from(u32::MAX))
}
