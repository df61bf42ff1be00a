//! Finished blocks on this machine that wait for their upload. IO, blocking.
//!
//! A staged block is durable and can be read, so the records it was built from may leave the log (rule
//! *block-before-wal-removal*) and memory, whether the bucket can be reached or not. Layout as in the store;
//! `meta.json` last, also here (rule *meta-last*).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    StoreError,
    blocks::{DATA, META},
    disk,
};
use crate::{
    block::{Meta, Written},
    model::{BlockId, Tenant},
};

/// A directory of blocks that wait for their upload.
#[derive(Debug)]
pub struct Stage {
    root: PathBuf,
}

/// A block in it.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The block.
    pub meta: Arc<Meta>,
    /// Where its files lie.
    pub dir: PathBuf,
}

impl Stage {
    /// Opens the directory and answers with the blocks in it, oldest first. What a crash left unfinished is
    /// removed.
    ///
    /// # Errors
    /// What the disk says. A block whose meta was damaged is none: its files are kept beside the directory,
    /// below a name that ends in `.corrupt`, and everything else goes on.
    pub fn open(root: impl Into<PathBuf>) -> Result<(Self, Vec<Staged>), StoreError> {
        let root = root.into();
        disk::create_root(&root)?;
        let mut staged = Vec::new();
        for tenant in sub(&root)? {
            for dir in sub(&tenant)? {
                let meta = dir.join(META);
                if !meta.exists() {
                    disk::remove_block(&dir)?;
                    continue;
                }
                match Meta::from_json(&disk::read(&meta)?) {
                    Ok(meta) => staged.push(Staged { meta: Arc::new(meta), dir }),
                    Err(error) => {
                        let aside = set_aside(&root, &dir)?;
                        tracing::error!(block = %dir.display(), aside = %aside.display(), %error, "a staged block is damaged and was set aside");
                    }
                }
            }
        }
        staged.sort_by(|a, b| a.meta.end.cmp(&b.meta.end).then(a.meta.id.cmp(&b.meta.id)));
        Ok((Self { root }, staged))
    }

    /// Begins a block: makes its directory, empty, and answers with the path to write its data to.
    ///
    /// # Errors
    /// What the disk says.
    pub fn begin(&self, tenant: &Tenant, block: BlockId) -> Result<PathBuf, StoreError> {
        let dir = self.dir(tenant, block);
        disk::remove_block(&dir)?;
        disk::create_dir(&self.root, &dir)?;
        Ok(dir.join(DATA))
    }

    /// Ends a block whose data was written where [`Stage::begin`] said. When this answers `Ok`, the block
    /// survives a loss of power.
    ///
    /// # Errors
    /// What the disk says; the block is then not there.
    pub fn finish(&self, written: &Written) -> Result<Staged, StoreError> {
        let Written { meta, bloom, index, extra } = written;
        let dir = self.dir(&meta.tenant, meta.id);
        disk::sync_data(&dir)?;
        for (n, shard) in bloom.iter().enumerate() {
            disk::write(&dir.join(format!("bloom-{n}")), shard)?;
        }
        disk::write(&dir.join("index"), index)?;
        for (name, bytes) in extra {
            disk::write(&dir.join(name), bytes)?;
        }
        disk::write(&dir.join(META), &meta.to_json())?;
        Ok(Staged { meta: Arc::new(meta.clone()), dir })
    }

    /// Removes a block, finished or not.
    ///
    /// # Errors
    /// What the disk says; may be repeated.
    pub fn remove(&self, tenant: &Tenant, block: BlockId) -> Result<(), StoreError> {
        disk::remove_block(&self.dir(tenant, block))
    }

    fn dir(&self, tenant: &Tenant, block: BlockId) -> PathBuf {
        self.root.join(tenant.as_str()).join(block.to_string())
    }
}

fn set_aside(root: &Path, dir: &Path) -> Result<PathBuf, StoreError> {
    let aside = root.with_added_extension("corrupt");
    let to = aside.join(dir.file_name().unwrap_or_default());
    let moved = fs::create_dir_all(&aside).and_then(|()| fs::rename(dir, &to));
    moved.map_err(|e| StoreError::disk("set aside", dir, e))?;
    Ok(to)
}

fn sub(dir: &Path) -> Result<BTreeSet<PathBuf>, StoreError> {
    let entries = fs::read_dir(dir).map_err(|e| StoreError::disk("list", dir, e))?;
    let mut found = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(|e| StoreError::disk("list", dir, e))?.path();
        if path.is_dir() {
            found.insert(path);
        }
    }
    Ok(found)
}
