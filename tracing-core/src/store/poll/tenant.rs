//! The blocks of one tenant: out of its index, or listed. IO.
//!
//! A flat listing tells in one walk which blocks are live, compacted or not yet visible; a listing by
//! delimiter would need a second request a block to see that it was compacted since.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::time::sleep;

use super::random_up_to;
use crate::{
    block::Meta,
    model::{BlockId, Tenant},
    store::{
        Store, StoreError,
        blocks::{COMPACTED, META},
        disk,
        index::{self, Index, IndexError},
        list::{Found, Since},
        objects::{Place, blocking, path},
        orphans::block_and_name,
    },
};

/// Pause before a tenant is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// An index is believed to show everything that was done so long before it was made: it was made from a
/// listing that took its time, by another clock.
const INDEX_MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);

/// A meta that the store did not hand out, for now.
struct Unread;

/// What a listing says of a block.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    live: bool,
    compacted: Option<Timestamp>,
}

impl Store {
    /// The blocks of a tenant, as the options say that they are found.
    pub(super) async fn poll_tenant(&self, tenant: &Tenant) -> Result<Found, StoreError> {
        sleep(random_up_to(self.poll.jitter)).await;
        let builder = self.elected.get().is_some_and(|elected| elected(tenant));
        self.stats.with(tenant, |poll| poll.builder = builder);
        let mut left = self.poll.tolerate_errors;
        loop {
            match self.look(tenant, builder).await {
                Err(error) if left > 0 => {
                    tracing::debug!(%tenant, %error, "the blocks of a tenant are listed again");
                    left -= 1;
                    sleep(AGAIN).await;
                }
                other => return other,
            }
        }
    }

    async fn look(&self, tenant: &Tenant, builder: bool) -> Result<Found, StoreError> {
        if builder {
            let found = self.list_tenant(tenant).await?;
            self.write_index(tenant, &found).await;
            return Ok(found);
        }
        if self.poll.index_builders > 0 {
            match self.read_index(tenant).await {
                Ok(Some(found)) => return Ok(found),
                Err(error) if !error.is_not_found() => {
                    tracing::warn!(%tenant, %error, "the index of a tenant cannot be read");
                    self.stats.with(tenant, |poll| poll.index_errors += 1);
                }
                // None, or an old one.
                Ok(None) | Err(_) => {}
            }
            if !self.poll.fallback {
                return Err(StoreError::Unindexed { tenant: tenant.clone() });
            }
        }
        self.list_tenant(tenant).await
    }

    /// The blocks that the index names; `None` for an index that is too old.
    async fn read_index(&self, tenant: &Tenant) -> Result<Option<Found>, StoreError> {
        let index = match self.fetch_index(tenant, index::PROTO, Index::from_proto).await {
            Ok(index) => index,
            Err(first) => match self.fetch_index(tenant, index::JSON, Index::from_json).await {
                Ok(index) => index,
                // A damaged one is worth more words than one that is not there.
                Err(second) => return Err(if first.is_not_found() { second } else { first }),
            },
        };
        self.stats.with(tenant, |poll| poll.index = Some(index.created_at));
        let stale = self.poll.stale_index;
        let age = self.now().duration_since(index.created_at);
        if !stale.is_zero() && Duration::try_from(age).is_ok_and(|age| age > stale) {
            return Ok(None);
        }
        let as_of = index.created_at.saturating_sub(INDEX_MARGIN).unwrap_or(index.created_at);
        let known = self.known(tenant);
        let keep = |metas: Vec<Meta>| {
            let ours = metas.into_iter().filter(|meta| meta.tenant == *tenant);
            // What is known already is kept, so that an index costs no memory twice.
            let metas = ours.map(|mut meta| match known.get(&meta.id) {
                Some(known) => {
                    // An index by Tempo does not know our own fields.
                    meta.retained = meta.retained.or_else(|| known.retained.clone());
                    if meta.replaces.is_empty() {
                        meta.replaces.clone_from(&known.replaces);
                    }
                    if **known == meta { known.clone() } else { Arc::new(meta) }
                }
                None => Arc::new(meta),
            });
            metas.collect()
        };
        let (live, compacted) = (keep(index.live), keep(index.compacted));
        // By this process's clock, so that it can be compared with what happens here.
        let age = Duration::try_from(self.now().duration_since(as_of)).unwrap_or_default();
        let Some(complete) = Instant::now().checked_sub(age) else { return Ok(None) };
        let complete = Some(complete);
        Ok(Some(Found { live, compacted, since: Since::Time(as_of), as_of, complete }))
    }

    async fn fetch_index(
        &self,
        tenant: &Tenant,
        name: &str,
        read: fn(&[u8]) -> Result<Index, IndexError>,
    ) -> Result<Index, StoreError> {
        let key = format!("{tenant}/{name}");
        let bytes = self.objects().get(&key).await?;
        blocking(move || read(&bytes).map_err(|source| StoreError::Index { key, source })).await
    }

    /// Writes both indexes, or takes them away where there is nothing left; what fails is counted, for the
    /// next poll does it again.
    async fn write_index(&self, tenant: &Tenant, found: &Found) {
        let written = if found.is_empty() {
            self.clear(tenant, found.as_of).await
        } else {
            self.put_index(tenant, found).await
        };
        match written {
            Ok(()) => self.stats.with(tenant, |poll| poll.index = Some(found.as_of)),
            Err(error) => {
                tracing::warn!(%tenant, %error, "the index of a tenant could not be written");
                self.stats.with(tenant, |poll| poll.index_errors += 1);
            }
        }
    }

    async fn put_index(&self, tenant: &Tenant, found: &Found) -> Result<(), StoreError> {
        let plain = |metas: &[Arc<Meta>]| metas.iter().map(|meta| Meta::clone(meta)).collect();
        let (live, compacted) = (plain(&found.live), plain(&found.compacted));
        let index = Index { created_at: found.as_of, live, compacted };
        let key = |name| format!("{tenant}/{name}");
        let (proto, json) = (key(index::PROTO), key(index::JSON));
        let failed = proto.clone();
        let (proto_bytes, json_bytes) = blocking(move || {
            let encode = || Ok((index.to_proto()?, index.to_json()?));
            encode().map_err(|source| StoreError::Index { key: failed, source })
        })
        .await?;
        // The one that readers prefer first: it must never be the older one for long.
        self.objects().put(&proto, proto_bytes.into()).await?;
        self.objects().put(&json, json_bytes.into()).await
    }

    /// Takes away the indexes of a tenant without blocks, and all else where that is asked for and old
    /// enough: what a crash left of blocks that never were.
    async fn clear(&self, tenant: &Tenant, now: Timestamp) -> Result<(), StoreError> {
        let objects = self.objects();
        for name in [index::PROTO, index::JSON] {
            objects.delete(&format!("{tenant}/{name}")).await?;
        }
        if !self.poll.delete_empty {
            return Ok(());
        }
        let left = objects.list(tenant.as_str()).await?;
        let old = |at: Timestamp| {
            Duration::try_from(now.duration_since(at)).is_ok_and(|age| age >= self.poll.empty_age)
        };
        let of_block = |key: &str| {
            block_and_name(key, tenant).is_some_and(|(_, name)| name != META && name != COMPACTED)
        };
        // Overrides of a tenant's own, or what someone else put there, keep it.
        if !left.iter().all(|object| old(object.modified) && of_block(&object.key)) {
            return Ok(());
        }
        // Nothing of what a decision or a job names, which is a block yet to be.
        self.sweep_older(tenant, self.poll.empty_age).await?;
        self.remove_empty(tenant.to_string()).await
    }

    fn known(&self, tenant: &Tenant) -> HashMap<BlockId, Arc<Meta>> {
        let (listed, compacted) = (self.listed(tenant), self.compacted(tenant));
        listed.iter().chain(compacted.iter()).map(|meta| (meta.id, meta.clone())).collect()
    }

    /// Lists a tenant, and reads the metas that are not known yet. Where one of them could not be read, the
    /// blocks are not said to be complete.
    pub(super) async fn list_tenant(&self, tenant: &Tenant) -> Result<Found, StoreError> {
        let (begin, as_of, at) = (self.begin(), self.now(), Instant::now());
        let known = self.known(tenant);
        let seen = self.list_blocks(tenant).await?;
        let metas = stream::iter(seen)
            .map(async |(id, seen)| match known.get(&id) {
                Some(meta) if meta.compacted.is_some() == seen.compacted.is_some() => Ok(Some(meta.clone())),
                Some(meta) if seen.compacted.is_some() => {
                    Ok(Some(Arc::new(Meta { compacted: seen.compacted, ..Meta::clone(meta) })))
                }
                _ => self.fetch_meta(tenant, id, seen).await,
            })
            .buffer_unordered(self.poll.concurrency.max(1));
        let mut metas = std::pin::pin!(metas);
        let (since, complete) = (Since::Change(begin), Some(at));
        let mut found = Found { live: vec![], compacted: vec![], since, as_of, complete };
        while let Some(meta) = metas.next().await {
            match meta {
                Ok(Some(meta)) if meta.compacted.is_some() => found.compacted.push(meta),
                Ok(Some(meta)) => found.live.push(meta),
                Ok(None) => {}
                Err(Unread) => found.complete = None,
            }
        }
        Ok(found)
    }

    /// `None` for a block that is gone, or whose meta is damaged.
    async fn fetch_meta(
        &self,
        tenant: &Tenant,
        id: BlockId,
        seen: Seen,
    ) -> Result<Option<Arc<Meta>>, Unread> {
        let name = if seen.compacted.is_some() { COMPACTED } else { META };
        let mut compacted = seen.compacted;
        let mut json = self.get(tenant, id, name).await;
        // Replaced while it was listed, which may have passed by the place of its successor before that was there.
        if seen.compacted.is_none() && json.as_ref().is_err_and(StoreError::is_not_found) {
            json = self.get(tenant, id, COMPACTED).await;
            compacted = Some(self.now());
        }
        let json = match json {
            Ok(json) => json,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(error) => {
                tracing::warn!(%tenant, block = %id, %error, "a block's meta could not be read");
                self.stats.count_error_of(tenant);
                return Err(Unread);
            }
        };
        match Meta::from_json(&json) {
            Ok(meta) if meta.id == id && meta.tenant == *tenant => {
                return Ok(Some(Arc::new(Meta { compacted, ..meta })));
            }
            Ok(meta) => {
                tracing::warn!(%tenant, block = %id, names = %meta.id, "a block's meta names another block");
            }
            Err(error) => {
                tracing::warn!(%tenant, block = %id, %error, "a block's meta cannot be read");
            }
        }
        self.stats.count_error_of(tenant);
        Ok(None)
    }

    async fn list_blocks(&self, tenant: &Tenant) -> Result<BTreeMap<BlockId, Seen>, StoreError> {
        let mut blocks = BTreeMap::new();
        let store = match &self.place {
            Place::Disk(root) => {
                let dir = root.join(tenant.as_str());
                return blocking(move || list_dir(&dir)).await;
            }
            Place::Bucket { store, .. } => store,
        };
        let prefix = self.place.key(tenant.as_str())?;
        let failed = |e| StoreError::object("list", &prefix, e);
        let below = path(&prefix).map_err(failed)?;
        let mut objects = store.list(Some(&below));
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            // Of `<tenant>/<block>/<name>` alone; what is deeper or higher is no block of ours or Tempo's.
            let Some(rest) = object.location.as_ref().strip_prefix(&format!("{prefix}/")) else { continue };
            let Some((block, name)) = rest.split_once('/') else { continue };
            let at = Timestamp::from_millisecond(object.last_modified.timestamp_millis());
            note(&mut blocks, block, name, at.unwrap_or_default());
            if blocks.len() > index::MAX_METAS {
                return Err(StoreError::TooMany { prefix, limit: index::MAX_METAS });
            }
        }
        Ok(blocks)
    }
}

fn note(blocks: &mut BTreeMap<BlockId, Seen>, block: &str, name: &str, at: Timestamp) {
    let Ok(id) = uuid::Uuid::try_parse(block) else { return };
    match name {
        META => blocks.entry(BlockId(id)).or_default().live = true,
        COMPACTED => blocks.entry(BlockId(id)).or_default().compacted = Some(at),
        _ => {}
    }
}

fn list_dir(dir: &std::path::Path) -> Result<BTreeMap<BlockId, Seen>, StoreError> {
    let mut blocks = BTreeMap::new();
    for block in disk::directories(dir)? {
        for name in [META, COMPACTED] {
            if let Ok(file) = dir.join(&block).join(name).metadata() {
                let at = file.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
                note(&mut blocks, &block, name, at.unwrap_or_default());
            }
        }
    }
    Ok(blocks)
}
