//! Finding out which blocks there are: one flat listing a tenant, and the `meta.json` of blocks not seen yet. IO.
//!
//! A flat listing tells in one walk which blocks are live, compacted or not yet visible; a listing by
//! delimiter would need a second request a block to see that it was compacted since.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Store, StoreError,
    blocks::{COMPACTED, META},
    list::Found,
    objects::{Place, blocking, path},
};
use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

/// Tenants that are listed at the same time.
const TENANTS_AT_ONCE: usize = 8;

/// The first and the longest pause after a poll that failed. A process is not ready before its first poll, so
/// it must not wait for the next regular one, minutes away.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// Counters of polls.
#[derive(Debug, Default)]
pub struct PollStats {
    /// Polls that ended.
    pub polls: AtomicU64,
    /// Tenants that could not be listed, and listings of tenants that failed.
    pub errors: AtomicU64,
    /// How long the last poll took, in milliseconds.
    pub last_millis: AtomicU64,
}

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

/// What a listing says of a block.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    live: bool,
    compacted: Option<Timestamp>,
}

impl Store {
    /// Lists all blocks of all tenants and replaces the snapshot. A tenant that cannot be listed keeps what it
    /// had, a block whose meta cannot be read is left out; both are logged and counted.
    ///
    /// # Errors
    /// Where not even the tenants can be listed; the snapshot then stays as it is.
    pub async fn poll(&self) -> Result<Polled, StoreError> {
        let _one_at_a_time = self.polling.lock().await;
        let (clock, began) = (std::time::Instant::now(), Timestamp::now());
        if let Ok(mut lists) = self.lists.write() {
            lists.begin();
        }
        let tenants = self.list_tenants().await.inspect_err(|_| self.count_error())?;
        let results = stream::iter(tenants)
            .map(async |tenant| (self.poll_tenant(&tenant).await, tenant))
            .buffer_unordered(TENANTS_AT_ONCE);
        let mut results = std::pin::pin!(results);
        let (mut found, mut polled) = (BTreeMap::new(), Polled::default());
        while let Some((result, tenant)) = results.next().await {
            let blocks = result.unwrap_or_else(|error| {
                tracing::warn!(%tenant, %error, "the blocks of a tenant could not be listed");
                self.count_error();
                polled.failed += 1;
                Found { live: self.blocks(&tenant).to_vec(), compacted: self.compacted(&tenant).to_vec() }
            });
            polled.tenants += 1;
            polled.blocks += blocks.live.len();
            found.insert(tenant, blocks);
        }
        if let Ok(mut lists) = self.lists.write() {
            lists.install(began, found);
        }
        self.stats.polls.fetch_add(1, Ordering::Relaxed);
        self.stats.last_millis.store(clock.elapsed().as_millis() as u64, Ordering::Relaxed);
        Ok(polled)
    }

    /// Polls now and then every `every`, until cancelled. A poll that failed is repeated sooner.
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
                    polled = store.poll() => match polled {
                        Ok(polled) => {
                            tracing::debug!(?polled, "listed the blocks");
                            (pause, retry) = (every, FIRST_RETRY);
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the blocks could not be listed");
                            (pause, retry) = (retry.min(every), (retry * 2).min(LONGEST_RETRY));
                        }
                    },
                }
            }
        })
    }

    /// Counters of polls.
    #[must_use]
    pub fn poll_stats(&self) -> &PollStats {
        &self.stats
    }

    fn count_error(&self) {
        self.stats.errors.fetch_add(1, Ordering::Relaxed);
    }

    async fn poll_tenant(&self, tenant: &Tenant) -> Result<Found, StoreError> {
        let known: HashMap<_, _> = self.blocks(tenant).iter().map(|m| (m.id, m.clone())).collect();
        let gone: HashMap<_, _> = self.compacted(tenant).iter().map(|m| (m.id, m.clone())).collect();
        let seen = self.list_blocks(tenant).await?;
        let metas = stream::iter(seen)
            .map(async |(id, seen)| {
                let known = if seen.compacted.is_some() { gone.get(&id) } else { known.get(&id) };
                match known.filter(|meta| meta.compacted.is_some() == seen.compacted.is_some()) {
                    Some(meta) => Some(meta.clone()),
                    None => self.fetch_meta(tenant, id, seen).await,
                }
            })
            .buffer_unordered(self.poll.concurrency.max(1));
        let mut metas = std::pin::pin!(metas);
        let mut found = Found::default();
        while let Some(meta) = metas.next().await {
            match meta {
                Some(meta) if meta.compacted.is_some() => found.compacted.push(meta),
                Some(meta) => found.live.push(meta),
                None => {}
            }
        }
        Ok(found)
    }

    async fn fetch_meta(&self, tenant: &Tenant, id: BlockId, seen: Seen) -> Option<Arc<Meta>> {
        let name = if seen.compacted.is_some() { COMPACTED } else { META };
        let json = match self.get(tenant, id, name).await {
            Ok(json) => json,
            // Compacted or deleted while we listed: the next poll sees what became of it.
            Err(e) if e.is_not_found() => return None,
            Err(error) => {
                tracing::warn!(%tenant, block = %id, %error, "a block's meta could not be read");
                self.count_error();
                return None;
            }
        };
        match Meta::from_json(&json) {
            Ok(meta) if meta.id == id && meta.tenant == *tenant => {
                Some(Arc::new(Meta { compacted: seen.compacted, ..meta }))
            }
            Ok(meta) => {
                tracing::warn!(%tenant, block = %id, names = %meta.id, "a block's meta names another block");
                self.count_error();
                None
            }
            Err(error) => {
                tracing::warn!(%tenant, block = %id, %error, "a block's meta cannot be read");
                self.count_error();
                None
            }
        }
    }

    async fn list_tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let names: Vec<String> = match &self.place {
            Place::Disk(root) => {
                let root = root.clone();
                blocking(move || directories(&root)).await?
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
        Ok(names.iter().filter_map(|name| Tenant::new(name).ok()).collect())
    }

    async fn list_blocks(&self, tenant: &Tenant) -> Result<HashMap<BlockId, Seen>, StoreError> {
        let mut blocks = HashMap::new();
        match &self.place {
            Place::Disk(root) => {
                let dir = root.join(tenant.as_str());
                return blocking(move || list_dir(&dir)).await;
            }
            Place::Bucket { store, .. } => {
                let prefix = format!("{}{tenant}", self.place.prefix());
                let below = path(&prefix).map_err(|e| StoreError::object("list", &prefix, e))?;
                let mut objects = store.list(Some(&below));
                while let Some(object) =
                    objects.try_next().await.map_err(|e| StoreError::object("list", &prefix, e))?
                {
                    let mut names = object.location.as_ref().rsplit('/');
                    let (Some(name), Some(block)) = (names.next(), names.next()) else { continue };
                    let at = Timestamp::from_millisecond(object.last_modified.timestamp_millis());
                    note(&mut blocks, block, name, at.unwrap_or_default());
                }
            }
        }
        Ok(blocks)
    }
}

fn note(blocks: &mut HashMap<BlockId, Seen>, block: &str, name: &str, at: Timestamp) {
    let Ok(id) = uuid::Uuid::try_parse(block) else { return };
    match name {
        META => blocks.entry(BlockId(id)).or_default().live = true,
        COMPACTED => blocks.entry(BlockId(id)).or_default().compacted = Some(at),
        _ => {}
    }
}

fn directories(path: &std::path::Path) -> Result<Vec<String>, StoreError> {
    let entries = std::fs::read_dir(path).map_err(|e| StoreError::disk("list", path, e))?;
    let names = entries.filter_map(|entry| {
        let entry = entry.ok().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()))?;
        entry.file_name().into_string().ok()
    });
    Ok(names.collect())
}

fn list_dir(dir: &std::path::Path) -> Result<HashMap<BlockId, Seen>, StoreError> {
    let mut blocks = HashMap::new();
    for block in directories(dir)? {
        for name in [META, COMPACTED] {
            if let Ok(file) = dir.join(&block).join(name).metadata() {
                let at = file.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
                note(&mut blocks, &block, name, at.unwrap_or_default());
            }
        }
    }
    Ok(blocks)
}
