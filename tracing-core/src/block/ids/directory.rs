//! The directory: which sets there are, what they cover, and where their chunks lie.
//!
//! Format: `VID1`, the CRC-32 of what follows (4 bytes, little-endian), the length of the body (varint), the
//! body compressed with zstd. The body: numbers as varints, ids as 16 bytes, in the order of [`Directory`].

use std::{collections::HashMap, ops::Range};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    block::{
        BlockError,
        decode::varint,
        envelope::Envelope,
        thrift::{put_varint, unzigzag, zigzag},
    },
    model::BlockId,
};

/// The longest body is that of some twenty million blocks of a thousand traces.
const ENVELOPE: Envelope = Envelope { magic: b"VID1", part: "directory of trace ids", max_body: 64 << 20 };

/// All sets of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// When it was written.
    pub built: Timestamp,
    /// Its sets. A block is in one of them at most.
    pub sets: Vec<IdSet>,
}

/// A set: some blocks, and entries of all their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSet {
    /// The blocks, by their number in the set.
    pub blocks: Vec<Covered>,
    /// Objects with the entries, ascending by hash.
    pub shards: Vec<Shard>,
    numbers: HashMap<BlockId, u16>,
}

/// A block that a set covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The block.
    pub id: BlockId,
    /// Its traces.
    pub traces: u64,
}

/// An object with entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The object's name.
    pub object: Uuid,
    /// Its chunks, ascending by hash.
    pub chunks: Vec<Chunk>,
}

/// Some thousand entries of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Hash of its first entry.
    pub first: u64,
    /// Where it begins in its shard.
    pub offset: u32,
    /// Its length in bytes.
    pub length: u32,
}

impl IdSet {
    /// Most blocks of a set.
    pub const MAX_BLOCKS: usize = 1 << 16;

    /// A set over blocks, by their numbers, and shards, ascending.
    #[must_use]
    pub fn new(blocks: Vec<Covered>, shards: Vec<Shard>) -> Self {
        let numbers = blocks.iter().zip(0..=u16::MAX).map(|(covered, number)| (covered.id, number)).collect();
        Self { blocks, shards, numbers }
    }

    /// The number of a block in the set, where it is covered.
    #[must_use]
    pub fn number(&self, block: BlockId) -> Option<u16> {
        self.numbers.get(&block).copied()
    }

    /// Traces of its blocks: about the number of its entries.
    #[must_use]
    pub fn traces(&self) -> u64 {
        self.blocks.iter().map(|covered| covered.traces).sum()
    }

    /// Where the entries of a hash lie, if there are any: the shard's object and the chunk in it.
    #[must_use]
    pub fn locate(&self, hash: u64) -> Option<(Uuid, Chunk)> {
        let first = |shard: &Shard| shard.chunks.first().is_some_and(|chunk| chunk.first <= hash);
        let shard = self.shards.get(self.shards.partition_point(first).checked_sub(1)?)?;
        let at = shard.chunks.partition_point(|chunk| chunk.first <= hash).checked_sub(1)?;
        Some((shard.object, *shard.chunks.get(at)?))
    }
}

impl Shard {
    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.chunks.last().map_or(0, |chunk| chunk.range().end)
    }
}

impl Chunk {
    /// Where it lies in its shard.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        u64::from(self.offset)..u64::from(self.offset) + u64::from(self.length)
    }
}

impl Directory {
    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let set = |set: &IdSet| {
            let chunks: usize = set.shards.iter().map(|shard| shard.chunks.len()).sum();
            set.blocks.len() * 64 + chunks * size_of::<Chunk>()
        };
        self.sets.iter().map(set).sum()
    }

    /// The object to be stored.
    ///
    /// # Errors
    /// [`BlockError::Sink`] where it cannot be compressed.
    pub fn encode(&self) -> Result<Vec<u8>, BlockError> {
        let mut body = Vec::new();
        put_varint(&mut body, zigzag(self.built.as_second()));
        put_varint(&mut body, self.sets.len() as u64);
        for IdSet { blocks, shards, numbers: _ } in &self.sets {
            put_varint(&mut body, blocks.len() as u64);
            for Covered { id, traces } in blocks {
                body.extend_from_slice(id.0.as_bytes());
                put_varint(&mut body, *traces);
            }
            put_varint(&mut body, shards.len() as u64);
            for Shard { object, chunks } in shards {
                body.extend_from_slice(object.as_bytes());
                put_varint(&mut body, chunks.len() as u64);
                let mut last = 0;
                for Chunk { first, offset: _, length } in chunks {
                    put_varint(&mut body, first.wrapping_sub(last));
                    put_varint(&mut body, u64::from(*length));
                    last = *first;
                }
            }
        }
        ENVELOPE.seal(&body, 1)
    }

    /// Reads the object.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] and [`BlockError::Limit`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let body = ENVELOPE.open(bytes)?;
        read(&mut body.as_slice())
            .ok_or_else(|| ENVELOPE.corrupt("its body ends too early, or is out of order"))
    }
}

fn read(left: &mut &[u8]) -> Option<Directory> {
    let built = Timestamp::from_second(unzigzag(varint(left)?)).ok()?;
    let mut sets = Vec::new();
    // Counts are not believed before what they count is read: each takes bytes.
    for _ in 0..varint(left)? {
        let mut blocks = Vec::new();
        for _ in 0..varint(left)? {
            blocks.push(Covered { id: BlockId(uuid(left)?), traces: varint(left)? });
        }
        if blocks.len() > IdSet::MAX_BLOCKS {
            return None;
        }
        let mut shards = Vec::new();
        for _ in 0..varint(left)? {
            shards.push(Shard { object: uuid(left)?, chunks: chunks(left)? });
        }
        let first = |shard: &Shard| shard.chunks.first().map(|chunk| chunk.first);
        if !shards.is_sorted_by(|a, b| first(a) < first(b)) {
            return None;
        }
        sets.push(IdSet::new(blocks, shards));
    }
    left.is_empty().then_some(Directory { built, sets })
}

fn chunks(left: &mut &[u8]) -> Option<Vec<Chunk>> {
    let (mut chunks, mut last, mut offset) = (Vec::new(), 0_u64, 0_u32);
    for _ in 0..varint(left)? {
        let first = last.checked_add(varint(left)?)?;
        let length = u32::try_from(varint(left)?).ok()?;
        chunks.push(Chunk { first, offset, length });
        (last, offset) = (first, offset.checked_add(length)?);
    }
    Some(chunks)
}

fn uuid(left: &mut &[u8]) -> Option<Uuid> {
    let (bytes, rest) = left.split_first_chunk::<16>()?;
    *left = rest;
    Some(Uuid::from_bytes(*bytes))
}
