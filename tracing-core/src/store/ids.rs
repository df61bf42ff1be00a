//! The packed filter over trace ids: reading it, and building it anew as blocks come and go. IO.
//!
//! Objects of ours, `~vivace/ids/<tenant>/directory` and `~vivace/ids/<tenant>/<uuid>`: no tenant's name begins
//! so. Shards never change; a directory is written over the last one once its shards are there. It names the
//! blocks it covers, so one that is out of date, or that another builder has written over, hides nothing:
//! what it does not name is looked into by its own Bloom filter, and what cannot be read is not used.

mod build;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use uuid::Uuid;

use super::{
    Store, StoreError,
    cache::{Key, Role, Weigh},
    objects::blocking,
};
use crate::{
    block::{
        Meta,
        ids::{self, Chunk, Directory, IdSet},
    },
    model::{BlockId, Tenant, TraceId},
};

pub use build::Refreshed;

/// Blocks that are looked into one by one rather than with a filter.
const FEW: usize = 3;
/// How long a directory is believed that does not name all blocks.
const FRESH: Duration = Duration::from_secs(30);

/// Blocks by what the filter says of them.
#[derive(Clone, Debug, Default)]
pub struct Narrowed {
    /// They hold one of the traces, but for a few in ten thousand.
    pub holding: Vec<Arc<Meta>>,
    /// Nothing is known of these.
    pub unknown: Vec<Arc<Meta>>,
}

/// Directories that were read.
#[derive(Debug, Default)]
pub(super) struct Directories(Mutex<HashMap<Tenant, Arc<tokio::sync::Mutex<Known>>>>);

/// What is known of a tenant's directory: when it was asked for, and what there was.
#[derive(Debug, Default)]
struct Known {
    read: Option<Instant>,
    directory: Option<Arc<Directory>>,
}

/// The bytes of a chunk.
struct ChunkBytes(Bytes);

impl Weigh for ChunkBytes {
    fn weight(&self) -> usize {
        self.0.len()
    }
}

impl Directories {
    fn of(&self, tenant: &Tenant) -> Arc<tokio::sync::Mutex<Known>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(tenant.clone()).or_default())
    }
}

impl Store {
    /// Which of `metas`, blocks of `tenant`, may hold one of some traces. What cannot be found out is unknown,
    /// and no error. Costs a read for the directory where that is not known, and one for each of its sets (two,
    /// unless there are tens of millions of traces) and trace.
    pub async fn narrow(&self, tenant: &Tenant, ids: &[TraceId], metas: &[Arc<Meta>]) -> Narrowed {
        let all = || Narrowed { holding: Vec::new(), unknown: metas.to_vec() };
        if metas.len() <= FEW {
            return all();
        }
        let mut known = self.directory(tenant, metas, None).await;
        for _ in 0..2 {
            let Some(directory) = known else { return all() };
            match self.narrow_by(tenant, &directory, ids, metas).await {
                Ok(narrowed) => return narrowed,
                // The directory was replaced, and its shards are gone.
                Err(error) if error.is_not_found() => {
                    known = self.directory(tenant, metas, Some(&directory)).await;
                }
                Err(error) => {
                    tracing::debug!(%tenant, %error, "the filter over trace ids was not read");
                    return all();
                }
            }
        }
        all()
    }

    async fn narrow_by(
        &self,
        tenant: &Tenant,
        directory: &Directory,
        ids: &[TraceId],
        metas: &[Arc<Meta>],
    ) -> Result<Narrowed, StoreError> {
        let mut narrowed = Narrowed::default();
        let mut by_set: Vec<Vec<(u16, &Arc<Meta>)>> = vec![Vec::new(); directory.sets.len()];
        for meta in metas {
            let of =
                directory.sets.iter().zip(&mut by_set).find_map(|(set, of)| Some((set.number(meta.id)?, of)));
            match of {
                Some((number, of)) => of.push((number, meta)),
                None => narrowed.unknown.push(Arc::clone(meta)),
            }
        }
        let asked = directory.sets.iter().zip(&by_set).filter(|(_, of)| !of.is_empty());
        let asked: Vec<_> =
            asked.flat_map(|(set, of)| ids.iter().map(move |id| (set, of, ids::hash(*id)))).collect();
        let found = join_all(asked.iter().map(|(set, _, hash)| self.numbers(tenant, set, *hash))).await;
        for ((_, of, _), numbers) in asked.into_iter().zip(found) {
            let numbers = numbers?;
            let holding = of.iter().filter(|(number, _)| numbers.contains(number));
            narrowed.holding.extend(holding.map(|(_, meta)| Arc::clone(meta)));
        }
        narrowed.holding.sort_by_key(|meta| meta.id);
        narrowed.holding.dedup_by_key(|meta| meta.id);
        Ok(narrowed)
    }

    /// The numbers of a set's blocks that may hold an id.
    async fn numbers(&self, tenant: &Tenant, set: &IdSet, hash: u64) -> Result<Vec<u16>, StoreError> {
        let Some((object, chunk)) = set.locate(hash) else { return Ok(Vec::new()) };
        let Chunk { first, offset, length } = chunk;
        let key = Key { role: Role::Ids, of: BlockId(object), part: (offset.into(), length.into()) };
        let load = async {
            let bytes = self.objects().get_range(&shard_key(tenant, object), chunk.range()).await?;
            Ok::<_, StoreError>(ChunkBytes(bytes))
        };
        let bytes = self.cache().get_or(key, load).await?;
        ids::find(&bytes.0, first, hash)
            .map_err(|source| StoreError::Block { key: shard_key(tenant, object), source })
    }

    /// The tenant's directory: as it is known where it names all `metas` or was read a moment ago, and is not
    /// the one that does not hold any more.
    async fn directory(
        &self,
        tenant: &Tenant,
        metas: &[Arc<Meta>],
        not: Option<&Arc<Directory>>,
    ) -> Option<Arc<Directory>> {
        let of_tenant = self.directories.of(tenant);
        let mut known = of_tenant.lock().await;
        let covers = |directory: &Directory| {
            metas.iter().all(|meta| directory.sets.iter().any(|set| set.number(meta.id).is_some()))
        };
        let replaced = not.zip(known.directory.as_ref()).is_some_and(|(not, known)| Arc::ptr_eq(not, known));
        let fresh = known.read.is_some_and(|read| read.elapsed() < FRESH);
        if !replaced && (fresh || known.directory.as_ref().is_some_and(|directory| covers(directory))) {
            return known.directory.clone();
        }
        match self.read_directory(tenant).await {
            Ok(directory) => *known = Known { read: Some(Instant::now()), directory },
            Err(error) => {
                tracing::warn!(%tenant, %error, "the directory of trace ids was not read");
                // Not asked for again at once, and what is known is as good as before.
                known.read = Some(Instant::now());
            }
        }
        known.directory.clone()
    }

    async fn read_directory(&self, tenant: &Tenant) -> Result<Option<Arc<Directory>>, StoreError> {
        let key = directory_key(tenant);
        let bytes = match self.objects().get(&key).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let decoded =
            blocking(move || Directory::decode(&bytes).map_err(|source| StoreError::Block { key, source }));
        Ok(Some(Arc::new(decoded.await?)))
    }
}

fn directory_key(tenant: &Tenant) -> String {
    format!("{}/directory", prefix(tenant))
}

fn shard_key(tenant: &Tenant, object: Uuid) -> String {
    format!("{}/{object}", prefix(tenant))
}

fn prefix(tenant: &Tenant) -> String {
    format!("~vivace/ids/{tenant}")
}
