//! What was uploaded for a block that never came to be: its writer died between the upload and `meta.json`. IO.
//!
//! Flow of a sweep: a tenant is listed; of the blocks that have no meta of either kind and of which every object
//! is older than [`ORPHAN_AGE`], those stay that a decision or the record of a job names, for anyone may still
//! make these visible; of each of the others all is looked at once more, and goes.
//! Guarantees (rule *young-or-named*): what is uploaded can be made visible for [`ORPHAN_AGE`], and for as long
//! as it is named after that. A writer tells of what it uploaded within [`FRESH`], or uploads it again; and it
//! uploads nothing over what a sweep may be taking away.
//! Assumptions: ages are told by the store's clock alone. No request is under way for longer than
//! [`SWEEP_TAKES`]. Tempo, in the same bucket, writes a block's `meta.json` within minutes of its data.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::time::sleep;

use super::{
    Machine, Object, Store, StoreError, announced,
    blocks::{COMPACTED, META},
    disk,
    index::MAX_METAS,
    objects::{Place, blocking},
};
use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

/// An object of no block is deleted when it is as old as this. What could still need it takes less: an upload
/// is repeated whole, and is told of within [`FRESH`] of its end; a log is claimed, and a job taken over, within
/// minutes, and what they find decided is named and so stays however long they take; Tempo writes `meta.json`
/// right behind the data, of which nothing can be seen until all of it is there. Fences of logs stay as long.
pub const ORPHAN_AGE: Duration = Duration::from_hours(24);

/// Who uploaded a block tells of it within this, by a clock that runs while the machine sleeps, or has to upload
/// it again: far from [`ORPHAN_AGE`], so that neither a slow store nor a wrong clock brings the two together.
pub const FRESH: Duration = Duration::from_hours(1);

/// A block is taken away within this after it was looked at last: what is not deleted by half of it waits for
/// the next sweep, and a request with its repetitions ends within the other half.
const SWEEP_TAKES: Duration = Duration::from_mins(5);

/// Where it is decided which blocks hold the spans of a log's generation, see `wal::object`.
pub const CLAIMS: &str = "~vivace/claims";
/// What the names of decisions begin with.
pub const DECIDED: &str = "decided";
/// Where the records of jobs stand, tenant by tenant.
pub const JOBS: &str = "~vivace/jobs";
/// Where the store's clock is read.
const CLOCK: &str = "~vivace/clock";

/// Objects that are deleted at the same time.
const DELETES: usize = 16;

/// What a sweep took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blocks that never were.
    pub blocks: u64,
    /// Their objects.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// An upload that ended: nobody sees the block yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct Uploaded {
    /// When its last object was begun.
    pub(super) at: Timestamp,
    pub(super) machine: Machine,
}

/// What a listing says of a block.
struct Seen {
    newest: Timestamp,
    /// It has a meta, or is none of our making.
    stays: bool,
}

impl Uploaded {
    /// Whether it may still be told to others that this block is in the store.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        // A clock that was put back says nothing: then it is uploaded once more.
        Duration::try_from(self.machine.now().duration_since(self.at)).is_ok_and(|age| age < FRESH)
    }
}

impl Store {
    /// Takes away what is left of a tenant's blocks that never came to be. May be done by several at once.
    ///
    /// # Errors
    /// What the store says; what it could not tell is left alone, and it may be repeated.
    pub async fn sweep_orphans(&self, tenant: &Tenant) -> Result<Swept, StoreError> {
        self.sweep_older(tenant, ORPHAN_AGE).await
    }

    /// The same from another age on.
    pub(super) async fn sweep_older(&self, tenant: &Tenant, age: Duration) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let mut blocks = self.without_meta(tenant).await?;
        if blocks.is_empty() {
            return Ok(swept);
        }
        let now = self.store_time().await?;
        blocks.retain(|_, newest| is_old(*newest, now, age));
        let mut ids: BTreeSet<BlockId> = blocks.into_keys().collect();
        self.keep_named(tenant, &mut ids).await?;
        for block in ids {
            let taken = self.take_away(tenant, block, now, age).await?;
            swept.blocks += u64::from(taken.objects > 0);
            swept.objects += taken.objects;
            swept.bytes += taken.bytes;
        }
        Ok(swept)
    }

    /// Blocks of which there are objects and no meta, each with the time of its newest object.
    async fn without_meta(&self, tenant: &Tenant) -> Result<BTreeMap<BlockId, Timestamp>, StoreError> {
        let mut blocks = BTreeMap::<BlockId, Seen>::new();
        let mut note = |object: Object| {
            let Some((block, name)) = block_and_name(&object.key, tenant) else { return true };
            let seen = blocks.entry(block).or_insert(Seen { newest: object.modified, stays: false });
            seen.newest = seen.newest.max(object.modified);
            // Nothing of a block lies deeper than it.
            seen.stays |= name == META || name == COMPACTED || name.contains('/');
            blocks.len() <= MAX_METAS
        };
        self.objects().each(tenant.as_str(), &mut note).await?;
        Ok(blocks.into_iter().filter(|(_, seen)| !seen.stays).map(|(id, seen)| (id, seen.newest)).collect())
    }

    /// Removes from `ids` what decisions and records of jobs name. They are searched as text, so that one that
    /// cannot be read, or is a later version's, still keeps what it names.
    async fn keep_named(&self, tenant: &Tenant, ids: &mut BTreeSet<BlockId>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let objects = self.objects();
        let mut names = objects.list(CLAIMS).await?;
        names.retain(|object| object.key.rsplit('/').next().is_some_and(|name| name.starts_with(DECIDED)));
        names.extend(objects.list(&format!("{JOBS}/{tenant}")).await?);
        for object in names {
            match objects.get(&object.key).await {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    ids.retain(|id| !text.contains(&id.to_string()));
                }
                // Carried through since: its blocks have their metas, and are looked at once more.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn take_away(
        &self,
        tenant: &Tenant,
        block: BlockId,
        now: Timestamp,
        age: Duration,
    ) -> Result<Swept, StoreError> {
        let began = self.now();
        let objects = self.objects();
        let left = objects.list(&format!("{tenant}/{block}")).await?;
        // Another took it away, or someone goes on with it.
        if left.is_empty() || left.iter().any(|object| !is_old(object.modified, now, age)) {
            return Ok(Swept::default());
        }
        // In this order: a block that is marked has its second meta before it loses the first.
        if self.exists(tenant, block, META).await? || self.exists(tenant, block, COMPACTED).await? {
            return Ok(Swept::default());
        }
        let took = || Duration::try_from(self.now().duration_since(began));
        let in_time = || took().is_ok_and(|took| took < SWEEP_TAKES / 2);
        let mut swept = Swept { blocks: 1, ..Swept::default() };
        for some in left.chunks(DELETES) {
            if !in_time() {
                break;
            }
            self.delete_all(some).await?;
            swept.objects += some.len() as u64;
            swept.bytes += some.iter().map(|object| object.size).sum::<u64>();
        }
        self.remove_empty(format!("{tenant}/{block}")).await?;
        let newest = left.iter().map(|object| object.modified).max();
        tracing::info!(
            %tenant, %block, objects = swept.objects, bytes = swept.bytes, newest = ?newest,
            "what was uploaded of a block that never came to be was deleted"
        );
        Ok(swept)
    }

    /// Before an upload: what an earlier attempt left so long ago that a sweep may be at it is taken away, and
    /// the sweep waited for.
    pub(super) async fn make_room(&self, meta: &Meta, dir: &Path) -> Result<(), StoreError> {
        let (tenant, block) = (&meta.tenant, meta.id);
        let left = self.objects().list(&format!("{tenant}/{block}")).await?;
        let is_meta = |object: &Object| object.key.ends_with(META) || object.key.ends_with(COMPACTED);
        if left.is_empty() || left.iter().any(is_meta) {
            return Ok(());
        }
        let now = self.store_time().await?;
        if !left.iter().any(|object| is_old(object.modified, now, ORPHAN_AGE / 2)) {
            return Ok(());
        }
        tracing::info!(%tenant, %block, "what an earlier upload left long ago is taken away before the next");
        let beside = dir.to_owned();
        blocking(move || announced::retract(&beside)).await?;
        self.delete_all(&left).await?;
        sleep(SWEEP_TAKES).await;
        Ok(())
    }

    async fn delete_all(&self, left: &[Object]) -> Result<(), StoreError> {
        let objects = self.objects();
        let deletes = left.iter().map(|object| object.key.clone()).map(|key| {
            let objects = objects.clone();
            async move { objects.delete(&key).await }
        });
        stream::iter(deletes.collect::<Vec<_>>()).buffer_unordered(DELETES).try_collect::<()>().await
    }

    /// Removes the empty directories below a key, where the store is one of this machine.
    pub(super) async fn remove_empty(&self, below: String) -> Result<(), StoreError> {
        let Place::Disk(root) = &self.place else { return Ok(()) };
        let dir = root.join(below);
        blocking(move || {
            disk::remove_empty(&dir);
            Ok(())
        })
        .await
    }

    /// What time it is by the store's clock, by which the ages of its objects count.
    async fn store_time(&self) -> Result<Timestamp, StoreError> {
        let (objects, own) = (self.objects(), format!("{CLOCK}/{}", self.machine.id()));
        objects.put(&own, bytes::Bytes::new()).await?;
        let there = objects.list(CLOCK).await?;
        let now = there.iter().find(|object| object.key == own).map(|object| object.modified);
        let now = now.ok_or(StoreError::NotFound { key: own.clone() })?;
        let done = |object: &Object| object.key == own || is_old(object.modified, now, ORPHAN_AGE);
        let done: Vec<Object> = there.into_iter().filter(done).collect();
        self.delete_all(&done).await?;
        Ok(now)
    }
}

fn is_old(modified: Timestamp, now: Timestamp, age: Duration) -> bool {
    Duration::try_from(now.duration_since(modified)).is_ok_and(|past| past >= age)
}

/// The block that an object belongs to, and what follows in its key.
pub(super) fn block_and_name<'a>(key: &'a str, tenant: &Tenant) -> Option<(BlockId, &'a str)> {
    let (block, name) = key.strip_prefix(tenant.as_str())?.strip_prefix('/')?.split_once('/')?;
    Some((BlockId(uuid::Uuid::try_parse(block).ok()?), name))
}

#[cfg(test)]
mod tests;
