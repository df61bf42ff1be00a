//! Building the filter: ids are read from the blocks' own columns of them (a hundredth of a block's bytes, and
//! nothing more to store beside each block), sorted, and merged with what the sets had. IO.
//!
//! Flow: shards first, then the directory, then shards that no directory names go. Guarantees: memory is a few
//! megabytes for each set that is merged, and 16 bytes for each new id.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{Known, directory_key, prefix, shard_key};
use crate::{
    block::{
        BlockError, Footer, Meta, Step,
        ids::{self, Covered, Directory, IdSet, MergeIds, MergeIdsStep},
    },
    model::Tenant,
    policy::{self, IdsPlan},
    store::{DATA, Store, StoreError, objects::blocking},
};

/// A shard that no directory names is left for so long: whoever builds may be about to name it.
const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// What a refresh came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Blocks that the filter covers now.
    pub blocks: usize,
    /// Of them, those that it did not cover before.
    pub added: usize,
    /// Bytes of shards that were written.
    pub written: u64,
    /// How long it took.
    pub took: Duration,
}

impl Store {
    /// Brings the tenant's filter over trace ids up to its blocks, where there is enough to do. It may be done
    /// by several at once: the last directory holds.
    ///
    /// # Errors
    /// What the store says; the filter is then as it was.
    pub async fn refresh_ids(
        &self,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<Option<Refreshed>, StoreError> {
        let began = Instant::now();
        let live = self.blocks(tenant);
        let old = self.read_directory(tenant).await.unwrap_or_else(|error| {
            tracing::warn!(%tenant, %error, "the directory of trace ids cannot be read: it is built anew");
            None
        });
        let Some(plan) = policy::id_sets(old.as_deref(), &live, now) else { return Ok(None) };
        let sets = old.as_ref().map(|old| old.sets.clone()).unwrap_or_default();
        let mut refreshed = Refreshed::default();
        let merged = match self.merge(tenant, &plan, &sets, &live, &mut refreshed).await {
            // Another builder has deleted it: what was covered by these sets is no more, and comes again.
            Err(error) if error.is_not_found() => {
                tracing::warn!(%tenant, %error, "sets of trace ids are gone, and are built anew");
                None
            }
            other => other?,
        };
        let kept = plan.keep.iter().filter_map(|at| sets.get(*at).cloned());
        let directory = Directory { built: now, sets: kept.chain(merged).collect() };
        refreshed.blocks = directory.sets.iter().map(|set| set.blocks.len()).sum();
        let key = directory_key(tenant);
        let bytes = directory.encode().map_err(|source| StoreError::Block { key: key.clone(), source })?;
        self.objects().put(&key, bytes.into()).await?;
        self.sweep(tenant, &directory, now).await?;
        *self.directories.of(tenant).lock().await =
            Known { read: Some(Instant::now()), directory: Some(Arc::new(directory)) };
        refreshed.took = began.elapsed();
        Ok(Some(refreshed))
    }

    /// The set that new blocks and old sets become; none where nothing is left of them.
    async fn merge(
        &self,
        tenant: &Tenant,
        plan: &IdsPlan,
        sets: &[IdSet],
        live: &[Arc<Meta>],
        refreshed: &mut Refreshed,
    ) -> Result<Option<IdSet>, StoreError> {
        let names: HashSet<_> = live.iter().map(|meta| meta.id).collect();
        let (mut blocks, mut sources, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for set in plan.merge.iter().filter_map(|at| sets.get(*at)) {
            let numbers = set.blocks.iter().map(|covered| {
                let lives = names.contains(&covered.id) && blocks.len() < IdSet::MAX_BLOCKS;
                lives.then(|| {
                    blocks.push(*covered);
                    (blocks.len() - 1) as u16
                })
            });
            let numbers: Vec<_> = numbers.collect();
            sources.push((set.shards.clone(), numbers));
        }
        for meta in plan.add.iter().take(IdSet::MAX_BLOCKS.saturating_sub(blocks.len())) {
            let number = blocks.len() as u16;
            match self.trace_hashes(meta).await {
                Ok(hashes) => ids.extend(hashes.into_iter().map(|hash| (hash, number))),
                Err(error) => {
                    // It is not covered, and so is looked into.
                    tracing::warn!(%tenant, block = %meta.id, %error, "the ids of a block were not read");
                    continue;
                }
            }
            blocks.push(Covered { id: meta.id, traces: meta.traces });
            refreshed.added += 1;
        }
        let mut merge = MergeIds::new(ids, sources);
        let shards = loop {
            let stepped = blocking(move || {
                let step = merge.next(uuid::Uuid::new_v4);
                Ok((step, merge))
            });
            let (step, back) = stepped.await?;
            merge = back;
            let damaged = |source: BlockError| StoreError::Block { key: prefix(tenant), source };
            match step.map_err(damaged)? {
                MergeIdsStep::Need(source, object) => {
                    merge.supply(source, self.objects().get(&shard_key(tenant, object)).await?);
                }
                MergeIdsStep::Store(object, bytes) => {
                    refreshed.written += bytes.len() as u64;
                    self.objects().put(&shard_key(tenant, object), bytes).await?;
                }
                MergeIdsStep::Done(shards) => break shards,
            }
        };
        Ok((!blocks.is_empty()).then(|| IdSet::new(blocks, shards)))
    }

    /// Hashes ([`ids::hash`]) of a block's trace ids, in their order.
    ///
    /// # Errors
    /// What the store says, and where the block is damaged.
    pub async fn trace_hashes(&self, meta: &Arc<Meta>) -> Result<Vec<u64>, StoreError> {
        let damaged =
            |source: BlockError| StoreError::Block { key: format!("{}/{}", meta.tenant, meta.id), source };
        let tail = self.read_ranges(&meta.tenant, meta.id, DATA, &[Footer::range(meta)]).await?;
        let footer = Footer::decode(meta, tail.into_iter().next().unwrap_or_default()).map_err(damaged)?;
        let mut scan = ids::scan(meta, Arc::new(footer)).map_err(damaged)?;
        let mut hashes = Vec::new();
        loop {
            let stepped = blocking(move || {
                let step = scan.next().map(|step| match step {
                    Step::Table(table) => {
                        (Vec::new(), table.traces.id.iter().map(|id| ids::hash(*id)).collect())
                    }
                    Step::Need(ranges) => (ranges, Vec::new()),
                    Step::Done => (Vec::new(), Vec::new()),
                });
                Ok((step, scan))
            });
            let (step, back) = stepped.await?;
            scan = back;
            let (ranges, found) = step.map_err(damaged)?;
            if ranges.is_empty() && found.is_empty() {
                return Ok(hashes);
            }
            hashes.extend::<Vec<u64>>(found);
            if !ranges.is_empty() {
                let bytes = self.read_ranges(&meta.tenant, meta.id, DATA, &ranges).await?;
                scan.supply(ranges.into_iter().zip(bytes).collect()).map_err(damaged)?;
            }
        }
    }

    /// Deletes shards that the directory does not name and that nobody is about to name.
    async fn sweep(&self, tenant: &Tenant, directory: &Directory, now: Timestamp) -> Result<(), StoreError> {
        let shards = directory.sets.iter().flat_map(|set| &set.shards);
        let mut named: HashSet<String> = shards.map(|shard| shard_key(tenant, shard.object)).collect();
        named.insert(directory_key(tenant));
        for object in self.objects().list(&prefix(tenant)).await? {
            if !named.contains(&object.key) && now.duration_since(object.modified) > GRACE {
                self.objects().delete(&object.key).await?;
            }
        }
        Ok(())
    }
}
