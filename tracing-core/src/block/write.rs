//! Writing a block.

use std::{borrow::Borrow, io::Write};

use bytes::Bytes;

use super::{BlockError, BloomOptions, DedicatedColumn, Meta};
use crate::{
    model::{BlockId, Tenant},
    table::SpanTable,
};

/// How a block is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Attributes that get a column of their own: at most ten strings on the resource and ten on the span.
    pub dedicated: Vec<DedicatedColumn>,
    /// A row group is ended when the estimated size of its traces goes over this many bytes.
    pub row_group_bytes: u64,
    /// The Bloom filter over the trace ids.
    pub bloom: BloomOptions,
    /// `compactionLevel` of the meta: 0 for a block that an ingester builds.
    pub compaction_level: u32,
}

/// A written block, its data aside.
#[derive(Clone, Debug)]
pub struct Written {
    /// To be stored last, as `meta.json`.
    pub meta: Meta,
    /// To be stored as `bloom-0`, `bloom-1`, …
    pub bloom: Vec<Bytes>,
    /// To be stored as `index`.
    pub index: Bytes,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            dedicated: DedicatedColumn::defaults(),
            row_group_bytes: 100_000_000,
            bloom: BloomOptions::default(),
            compaction_level: 0,
        }
    }
}

/// Writes data.parquet to `sink` and returns what belongs beside it. `rows` are traces as (table, trace
/// number), ascending by trace id and each id once; the table is anything that borrows one (`&SpanTable`,
/// `Arc<SpanTable>`).
///
/// # Errors
/// [`BlockError::Empty`] without rows, [`BlockError::Order`], [`BlockError::Row`],
/// [`BlockError::Dedicated`], and [`BlockError::Sink`] where the sink fails. What was written to the sink is
/// then worth nothing.
pub fn write<T: Borrow<SpanTable>, W: Write + Send>(
    rows: impl IntoIterator<Item = (T, u32)>,
    _options: &WriteOptions,
    _tenant: &Tenant,
    _id: BlockId,
    _sink: W,
) -> Result<Written, BlockError> {
    if rows.into_iter().next().is_none() {
        return Err(BlockError::Empty);
    }
    Err(BlockError::corrupt("data.parquet", "writing is being built"))
}
