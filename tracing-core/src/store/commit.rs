//! Making a block visible, and taking it away again. IO.
//!
//! Steps of a commit: data, whatever else lies beside it, `meta.json`. Steps of marking: `meta.compacted.json`,
//! then `meta.json` goes. Steps of a deletion: `meta.json`, everything else, `meta.compacted.json`, so that
//! what a crash leaves behind is either invisible or found again by the next deletion. All can be repeated.

use std::{path::Path, sync::Arc};

use super::{
    Created, Store, StoreError, Uploaded, announced,
    blocks::{COMPACTED, DATA, META, key},
    disk, object,
    objects::{Place, blocking},
};
use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

impl Store {
    /// Stores a block whose files lie in `dir` under the names they have in the store, `meta.json` last and
    /// only if there is none, and lists it. When this answers `Ok`, the block survives what the store
    /// survives. A block that was stored, and was marked compacted or deleted since, is stored: it does not come back.
    ///
    /// # Errors
    /// What reading `dir` or writing to the store says; may be repeated. [`StoreError::Conflict`] where
    /// another block has this id.
    pub async fn commit(&self, meta: &Arc<Meta>, dir: &Path) -> Result<(), StoreError> {
        if self.exists(&meta.tenant, meta.id, COMPACTED).await? || self.was_deleted(meta, dir).await? {
            tracing::info!(tenant = %meta.tenant, block = %meta.id, "the block was stored before, and replaced since");
            return Ok(());
        }
        let uploaded = self.upload(meta, dir).await?;
        if !uploaded.is_fresh() {
            return Err(StoreError::Stale { block: meta.id });
        }
        let (beside, place, now) = (dir.to_owned(), self.place.clone(), self.now());
        blocking(move || {
            announced::note(&beside, &place, now);
            Ok(())
        })
        .await?;
        self.reached("put meta.json")?;
        self.make_visible(meta).await?;
        // It slept in between: what was uploaded may have been swept away by then.
        if !uploaded.is_fresh() && !self.has_data(meta).await? {
            let _ = self.upload(meta, dir).await?;
        }
        Ok(())
    }

    /// Whether an earlier attempt made the block visible, and nothing is left of it since.
    async fn was_deleted(&self, meta: &Meta, dir: &Path) -> Result<bool, StoreError> {
        let (beside, place, now) = (dir.to_owned(), self.place.clone(), self.now());
        Ok(blocking(move || Ok(announced::is_recent(&beside, &place, now))).await?
            && !self.has_data(meta).await?
            && !self.exists(&meta.tenant, meta.id, META).await?)
    }

    /// The first part of a commit: all objects of a block but `meta.json`. Nobody sees the block yet, and nobody
    /// may be told of it when the answer is no longer fresh: then it has to be uploaded again.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn upload(&self, meta: &Meta, dir: &Path) -> Result<Uploaded, StoreError> {
        self.make_room(meta, dir).await?;
        let mut at = self.now();
        let from = dir.to_owned();
        let names = blocking(move || disk::block_files(&from)).await?;
        match &self.place {
            Place::Disk(root) => {
                let to = root.join(meta.tenant.as_str()).join(meta.id.to_string());
                let (root, from) = (root.clone(), dir.to_owned());
                blocking(move || {
                    disk::create_dir(&root, &to)?;
                    names.iter().try_for_each(|name| disk::place(&from.join(name), &to.join(name)))
                })
                .await?;
            }
            Place::Bucket { store, access, .. } => {
                for name in names {
                    at = self.now();
                    let key = self.place.key(&key(&meta.tenant, meta.id, &name))?;
                    object::upload(store.as_ref(), &key, &dir.join(name), access).await?;
                }
            }
        }
        self.reached(META)?;
        Ok(Uploaded { at, machine: self.machine.clone() })
    }

    /// The second part of a commit, which anyone may do, as often as they like: makes a block visible whose
    /// other objects were uploaded, unless it was visible before and was replaced or deleted since.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn publish(&self, meta: &Arc<Meta>) -> Result<(), StoreError> {
        if !self.exists(&meta.tenant, meta.id, META).await?
            && (self.exists(&meta.tenant, meta.id, COMPACTED).await? || !self.has_data(meta).await?)
        {
            tracing::info!(tenant = %meta.tenant, block = %meta.id, "the block was visible before, and replaced since");
            return Ok(());
        }
        self.make_visible(meta).await
    }

    async fn has_data(&self, meta: &Meta) -> Result<bool, StoreError> {
        let key = key(&meta.tenant, meta.id, DATA);
        match self.objects().get_range(&key, 0..1).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn make_visible(&self, meta: &Arc<Meta>) -> Result<(), StoreError> {
        let key = key(&meta.tenant, meta.id, META);
        if self.objects().put_new(&key, meta.to_json().into()).await? == Created::Exists {
            return Err(StoreError::Conflict { key, block: meta.id });
        }
        if let Ok(mut lists) = self.lists.write() {
            lists.added(self.now(), meta.clone());
        }
        Ok(())
    }

    pub(super) async fn exists(
        &self,
        tenant: &Tenant,
        block: BlockId,
        name: &str,
    ) -> Result<bool, StoreError> {
        match self.get(tenant, block, name).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Replaces `meta.json` by `meta.compacted.json`: the block is read no more, and deleted later.
    ///
    /// # Errors
    /// What the store says; may be repeated. [`StoreError::NotFound`] where there is no such block.
    pub async fn mark_compacted(&self, tenant: &Tenant, block: BlockId) -> Result<(), StoreError> {
        match self.get(tenant, block, META).await {
            Ok(json) => {
                self.objects().put(&key(tenant, block, COMPACTED), json).await?;
                self.reached("delete meta.json")?;
                self.remove(tenant, block, META).await?;
            }
            Err(e) if e.is_not_found() => {
                self.get(tenant, block, COMPACTED).await?;
            }
            Err(e) => return Err(e),
        }
        let known = self.listed(tenant).into_iter().find(|meta| meta.id == block);
        if let (Some(meta), Ok(mut lists)) = (known, self.lists.write()) {
            let now = self.now();
            let compacted = Some(now);
            lists.compacted(now, Arc::new(Meta { compacted, ..Meta::clone(&meta) }));
        }
        Ok(())
    }

    /// Deletes all objects of a block.
    ///
    /// # Errors
    /// What the store says; may be repeated. No such block is none.
    pub async fn delete(&self, tenant: &Tenant, block: BlockId) -> Result<(), StoreError> {
        self.remove(tenant, block, META).await?;
        self.reached("delete data")?;
        match &self.place {
            Place::Disk(root) => {
                let dir = root.join(tenant.as_str()).join(block.to_string());
                blocking(move || disk::remove_block(&dir)).await?;
            }
            Place::Bucket { .. } => {
                let compacted = key(tenant, block, COMPACTED);
                let objects = self.objects();
                for object in objects.list(&format!("{tenant}/{block}")).await? {
                    if object.key != compacted {
                        objects.delete(&object.key).await?;
                    }
                }
                objects.delete(&compacted).await?;
            }
        }
        if let Ok(mut lists) = self.lists.write() {
            lists.deleted(self.now(), tenant, block);
        }
        Ok(())
    }

    async fn remove(&self, tenant: &Tenant, block: BlockId, name: &str) -> Result<(), StoreError> {
        self.objects().delete(&key(tenant, block, name)).await
    }

    /// Where a test makes the process die between two steps.
    #[cfg(test)]
    fn reached(&self, step: &'static str) -> Result<(), StoreError> {
        let stop = self.stop_before.lock().is_ok_and(|at| *at == Some(step));
        if stop { Err(StoreError::Closed) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "a test's build can stop here")]
    fn reached(&self, _: &'static str) -> Result<(), StoreError> {
        Ok(())
    }
}
