//! Merging blocks whose data lies on this machine, on the threads that compute: a window at a time, so that
//! queries get their turn in between.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{Engine, EngineError};
use crate::{
    block::{BlockError, Footer, Merge, MergeError, MergeRules, MergeStep, Merged, Meta, WriteOptions},
    model::{BlockId, Tenant},
};

/// A block, and a file of this machine that holds its data.
#[derive(Clone, Debug)]
pub struct LocalBlock {
    /// What is known of it.
    pub meta: Arc<Meta>,
    /// Its data.parquet.
    pub data: PathBuf,
}

/// Why blocks did not become one.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct MergeFailed {
    /// The block that is at fault, where it is one of the inputs.
    pub block: Option<BlockId>,
    /// What is wrong.
    pub error: Box<EngineError>,
}

/// A merge with the files that it reads.
struct Running {
    merge: Merge<File>,
    files: Vec<Input>,
}

struct Input {
    meta: Arc<Meta>,
    data: PathBuf,
    file: File,
}

impl MergeFailed {
    /// What failed is none of the inputs.
    pub fn output(error: impl Into<EngineError>) -> Self {
        Self { block: None, error: Box::new(error.into()) }
    }

    fn input(meta: &Meta, error: impl Into<EngineError>) -> Self {
        Self { block: Some(meta.id), error: Box::new(error.into()) }
    }
}

impl Engine {
    /// Merges `inputs` into the block `id`, whose data is written to the file `to`.
    ///
    /// # Errors
    /// [`MergeFailed`]; what the file holds is then worth nothing.
    pub async fn merge(
        &self,
        inputs: Vec<LocalBlock>,
        options: WriteOptions,
        (tenant, id): (Tenant, BlockId),
        to: PathBuf,
        rules: MergeRules,
    ) -> Result<Merged, MergeFailed> {
        let open = move || Running::open(inputs, &options, (&tenant, id), &to, rules);
        let mut running = Box::new(self.pool.run(open).await.map_err(MergeFailed::output)??);
        loop {
            let stepped = move || {
                let step = running.step();
                (running, step)
            };
            let (back, step) = self.pool.run(stepped).await.map_err(MergeFailed::output)?;
            running = back;
            if let Some(merged) = step? {
                return Ok(merged);
            }
        }
    }
}

impl Running {
    fn open(
        inputs: Vec<LocalBlock>,
        options: &WriteOptions,
        (tenant, id): (&Tenant, BlockId),
        to: &Path,
        rules: MergeRules,
    ) -> Result<Self, MergeFailed> {
        let (mut files, mut footers) = (Vec::new(), Vec::new());
        for LocalBlock { meta, data } in inputs {
            let file = File::open(&data).map_err(|error| failed(&data, error))?;
            let tail = read(&meta, &file, &data, &Footer::range(&meta))?;
            let footer = Footer::decode(&meta, tail).map_err(|error| MergeFailed::input(&meta, error))?;
            footers.push((Arc::clone(&meta), Arc::new(footer)));
            files.push(Input { meta, data, file });
        }
        let sink = File::create(to).map_err(|error| failed(to, error))?;
        let merge = Merge::new(footers, options, tenant, id, sink, rules).map_err(MergeFailed::output)?;
        Ok(Self { merge, files })
    }

    /// Goes on until a window is used up, or to the end.
    fn step(&mut self) -> Result<Option<Merged>, MergeFailed> {
        let named = |files: &[Input], error: MergeError| {
            let block = error.input.and_then(|input| files.get(input)).map(|input| input.meta.id);
            MergeFailed { block, error: Box::new(error.error.into()) }
        };
        match self.merge.next().map_err(|error| named(&self.files, error))? {
            MergeStep::Done(merged) => Ok(Some(*merged)),
            MergeStep::Need { input, ranges } => {
                let mut bytes = Vec::with_capacity(ranges.len());
                if let Some(Input { meta, data, file }) = self.files.get(input) {
                    for range in ranges {
                        let part = read(meta, file, data, &range)?;
                        bytes.push((range, part));
                    }
                }
                self.merge.supply(input, bytes).map_err(|error| named(&self.files, error))?;
                Ok(None)
            }
        }
    }
}

/// A part of an input. One that ends too early is damaged; all else is this machine's fault.
fn read(meta: &Meta, mut file: &File, path: &Path, range: &Range<u64>) -> Result<Bytes, MergeFailed> {
    let short = || {
        let reason = format!("{range:?} is wanted, and the file ends before");
        MergeFailed::input(meta, BlockError::corrupt("data.parquet", reason))
    };
    let length = file.metadata().map_err(|error| failed(path, error))?.len();
    if range.end > length || range.start > range.end {
        return Err(short());
    }
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let read = file.seek(SeekFrom::Start(range.start)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|error| failed(path, error))?;
    Ok(bytes.into())
}

fn failed(path: &Path, source: std::io::Error) -> MergeFailed {
    MergeFailed::output(EngineError::File { path: path.to_owned(), source })
}
