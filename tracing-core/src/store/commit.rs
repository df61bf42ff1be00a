//! Making a block visible, and taking it away again. IO.
//!
//! Steps of a commit: data, Bloom filter, index, `meta.json`. Steps of marking: `meta.compacted.json`, then
//! `meta.json` goes. Steps of a deletion: `meta.json`, everything else, `meta.compacted.json`, so that what a
//! crash leaves behind is either invisible or found again by the next deletion. All can be repeated.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use object_store::{ObjectStore, PutPayload};

use super::{
    Store, StoreError,
    blocks::{COMPACTED, DATA, META, Place, blocking, path},
    disk, object,
};
use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

impl Store {
    /// Stores a block whose files lie in `dir` under the names they have in the store, `meta.json` last,
    /// and lists it. When this answers `Ok`, the block survives what the store survives.
    ///
    /// # Errors
    /// What reading `dir` or writing to the store says; may be repeated.
    pub async fn commit(&self, meta: &Arc<Meta>, dir: &Path) -> Result<(), StoreError> {
        let blooms = (0..meta.bloom_shards).map(|n| format!("bloom-{n}"));
        let small: Vec<_> = blooms.chain(["index".to_owned()]).collect();
        match &self.place {
            Place::Disk(root) => self.commit_to_disk(root, meta, dir, small).await?,
            Place::Bucket { store, .. } => self.commit_to_bucket(store.as_ref(), meta, dir, small).await?,
        }
        if let Ok(mut lists) = self.lists.write() {
            lists.added(meta.clone());
        }
        Ok(())
    }

    async fn commit_to_disk(
        &self,
        root: &Path,
        meta: &Meta,
        from: &Path,
        small: Vec<String>,
    ) -> Result<(), StoreError> {
        let to = root.join(meta.tenant.as_str()).join(meta.id.to_string());
        let (root, from, dir) = (root.to_owned(), from.to_owned(), to.clone());
        blocking(move || {
            disk::create_dir(&root, &dir)?;
            for name in std::iter::once(DATA).chain(small.iter().map(String::as_str)) {
                disk::place(&from.join(name), &dir.join(name))?;
            }
            Ok(())
        })
        .await?;
        self.reached(META)?;
        let json = meta.to_json();
        blocking(move || disk::write(&to.join(META), &json)).await
    }

    async fn commit_to_bucket(
        &self,
        store: &dyn ObjectStore,
        meta: &Meta,
        from: &Path,
        small: Vec<String>,
    ) -> Result<(), StoreError> {
        let key = |name: &str| self.key(&meta.tenant, meta.id, name);
        object::upload(store, &key(DATA), &from.join(DATA)).await?;
        for name in &small {
            let file: PathBuf = from.join(name);
            let bytes = blocking(move || disk::read(&file)).await?;
            object::put(store, &key(name), bytes.into()).await?;
        }
        self.reached(META)?;
        object::put(store, &key(META), meta.to_json().into()).await
    }

    /// Replaces `meta.json` by `meta.compacted.json`: the block is read no more, and deleted later.
    ///
    /// # Errors
    /// What the store says; may be repeated. [`StoreError::NotFound`] where there is no such block.
    pub async fn mark_compacted(&self, tenant: &Tenant, block: BlockId) -> Result<(), StoreError> {
        match self.get(tenant, block, META).await {
            Ok(json) => {
                self.put(tenant, block, COMPACTED, json.into()).await?;
                self.reached("delete meta.json")?;
                self.remove(tenant, block, META).await?;
            }
            Err(e) if e.is_not_found() => {
                self.get(tenant, block, COMPACTED).await?;
            }
            Err(e) => return Err(e),
        }
        let known = self.blocks(tenant).iter().find(|meta| meta.id == block).cloned();
        if let (Some(meta), Ok(mut lists)) = (known, self.lists.write()) {
            let compacted = Some(jiff::Timestamp::now());
            lists.compacted(Arc::new(Meta { compacted, ..Meta::clone(&meta) }));
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
            Place::Bucket { store, .. } => {
                let prefix = self.key(tenant, block, "");
                let prefix = prefix.trim_end_matches('/');
                let list = async { store.list(Some(&path(prefix)?)).try_collect::<Vec<_>>().await };
                let objects = list.await.map_err(|e| StoreError::object("list", prefix, e))?;
                for object in objects.iter().filter(|o| o.location.filename() != Some(COMPACTED)) {
                    object::delete(store.as_ref(), object.location.as_ref()).await?;
                }
                self.remove(tenant, block, COMPACTED).await?;
            }
        }
        if let Ok(mut lists) = self.lists.write() {
            lists.deleted(tenant, block);
        }
        Ok(())
    }

    async fn put(
        &self,
        tenant: &Tenant,
        block: BlockId,
        name: &str,
        payload: PutPayload,
    ) -> Result<(), StoreError> {
        let key = self.key(tenant, block, name);
        match &self.place {
            Place::Disk(root) => {
                let path = root.join(key);
                let bytes = bytes::Bytes::from(payload);
                blocking(move || disk::write(&path, &bytes)).await
            }
            Place::Bucket { store, .. } => object::put(store.as_ref(), &key, payload).await,
        }
    }

    async fn remove(&self, tenant: &Tenant, block: BlockId, name: &str) -> Result<(), StoreError> {
        let key = self.key(tenant, block, name);
        match &self.place {
            Place::Disk(root) => {
                let path = root.join(key);
                blocking(move || disk::remove(&path)).await
            }
            Place::Bucket { store, .. } => object::delete(store.as_ref(), &key).await,
        }
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
