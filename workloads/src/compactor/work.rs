//! The local directory in which blocks are put together. Nothing in it survives the process.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use tokio::task::spawn_blocking;
use tracing_core::{
    block::{Meta, Written},
    engine::LocalBlock,
    model::{BlockId, Tenant},
    store::{DATA, Stage, Staged, Store},
};

use super::{WorkError, file_error};

/// An input is fetched in pieces of so many bytes.
const PIECE: u64 = 8 << 20;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Workplace {
    inputs: PathBuf,
    blocks: Arc<Stage>,
}

/// Local copies of inputs, which go when this does.
#[derive(Debug, Default)]
pub(super) struct Copies {
    files: Vec<PathBuf>,
}

impl Drop for Copies {
    fn drop(&mut self) {
        for file in &self.files {
            // The next start removes what is left.
            let _ = fs::remove_file(file);
        }
    }
}

impl Workplace {
    /// Opens the directory, and removes what an earlier process left in its places there.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let (inputs, blocks) = (dir.join("inputs"), dir.join("blocks"));
        for place in [&inputs, &blocks] {
            match fs::remove_dir_all(place) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("compactor: directory {}", place.display()));
                }
                _ => {}
            }
        }
        let made = fs::create_dir_all(&inputs);
        made.with_context(|| format!("compactor: directory {}", inputs.display()))?;
        let (blocks, _) = Stage::open(blocks).context("compactor: directory of blocks")?;
        Ok(Self { inputs, blocks: Arc::new(blocks) })
    }

    /// The data of a block as a file of this machine: where it lies, or a copy.
    pub(super) async fn fetch(
        &self,
        store: &Store,
        meta: &Arc<Meta>,
        copies: &mut Copies,
    ) -> Result<LocalBlock, WorkError> {
        if let Some(data) = store.path_of(&meta.tenant, meta.id, DATA) {
            return Ok(LocalBlock { meta: Arc::clone(meta), data });
        }
        let data = self.inputs.join(format!("{}.parquet", meta.id));
        copies.files.push(data.clone());
        let key = format!("{}/{}/{DATA}", meta.tenant, meta.id);
        let mut file = File::create(&data).map_err(file_error(&data))?;
        let mut at = 0;
        while at < meta.size {
            let end = meta.size.min(at + PIECE);
            let piece = store.objects().get_range(&key, at..end).await?;
            let write = move || file.write_all(&piece).map(|()| file);
            let written = spawn_blocking(write).await.map_err(|_| WorkError::Ending)?;
            file = written.map_err(file_error(&data))?;
            at = end;
        }
        Ok(LocalBlock { meta: Arc::clone(meta), data })
    }

    /// Begins an output; answers where its data is to be written.
    pub(super) fn begin(&self, tenant: &Tenant, id: BlockId) -> Result<PathBuf, WorkError> {
        Ok(self.blocks.begin(tenant, id)?)
    }

    /// Puts beside the data what belongs there.
    pub(super) async fn end(&self, written: Written) -> Result<Staged, WorkError> {
        let blocks = Arc::clone(&self.blocks);
        let ended = spawn_blocking(move || blocks.finish(&written)).await;
        Ok(ended.map_err(|_| WorkError::Ending)??)
    }

    /// Removes an output, whatever there is of it.
    pub(super) fn remove(&self, tenant: &Tenant, id: BlockId) {
        if let Err(error) = self.blocks.remove(tenant, id) {
            tracing::warn!(%tenant, block = %id, %error, "a local copy of a block was not removed");
        }
    }
}
