//! The packed filter over trace ids: which of many blocks may hold a trace, found by reading a directory, which
//! is kept, and one small piece of one object for each set of blocks.
//!
//! An entry is 40 bits of an id's hash and the number of a block within its set. The entries of a set, sorted,
//! are cut into *chunks* of a few thousand, which are found by their first hash; chunks stand one after the
//! other in *shards*, objects of a few megabytes that are never changed. The *directory* names the sets, the
//! blocks that each covers, and the place and first hash of each chunk.
//! Guarantees: an id that a covered block holds is found; one that it does not hold is found for fewer than one
//! in ten thousand even beside 20 million others. Nothing is said of a block that no set names.

mod directory;
mod pack;

pub use directory::{Chunk, Covered, Directory, IdSet, Shard};
pub use pack::{MergeIds, MergeIdsStep, find};

use std::sync::Arc;

use super::{BlockError, Footer, Meta, Scan, bloom::murmur3};
use crate::{
    model::TraceId,
    table::{Column, Projection},
};

/// Bits of a hash that are kept.
const HASH_BITS: u32 = 40;

/// What an id is found by: the first bits of the first half of its MurmurHash3.
#[must_use]
pub fn hash(id: TraceId) -> u64 {
    let [first, _] = murmur3(&id.0);
    first >> (64 - HASH_BITS)
}

/// A scan of a block's trace ids, in tables of nothing else.
///
/// # Errors
/// As [`Scan::new`].
pub fn scan(meta: &Meta, footer: Arc<Footer>) -> Result<Scan, BlockError> {
    let ids = Projection::Some { columns: vec![Column::TraceId], attributes: Vec::new() };
    let all = 0..footer.row_groups();
    Scan::new(meta, footer, all, ids)
}

#[cfg(test)]
mod tests;
