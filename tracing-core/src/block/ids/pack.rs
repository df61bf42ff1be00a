//! Entries as bytes, and the merge of several sorted sources of them into shards, without IO.
//!
//! A chunk: the CRC-32 of what follows, then for each entry the difference of its hash to the one before (of the
//! first: to the hash in the directory) and its block's number, as varints. Entries of one hash stand in one
//! chunk.

use bytes::Bytes;
use uuid::Uuid;

use super::directory::{Chunk, Shard};
use crate::block::{BlockError, decode::varint, thrift::put_varint};

/// Entries after which a chunk ends.
const CHUNK: usize = 4096;
/// Bytes after which a shard ends.
const SHARD: usize = 4 << 20;

/// An entry: a hash and a block's number.
pub(crate) type Entry = (u64, u16);

/// The numbers of the blocks that may hold an id with this hash, from the chunk that [`IdSet::locate`] names.
///
/// [`IdSet::locate`]: super::IdSet::locate
///
/// # Errors
/// [`BlockError::Corrupt`] where the chunk's bytes are not what they were.
pub fn find(bytes: &[u8], first: u64, hash: u64) -> Result<Vec<u16>, BlockError> {
    let mut found = Vec::new();
    each(bytes, first, |(entry, number)| {
        if entry == hash {
            found.push(number);
        }
        entry <= hash
    })?;
    Ok(found)
}

/// Calls `each` with the entries of a chunk, in order, until it says that it has enough.
fn each(bytes: &[u8], first: u64, mut each: impl FnMut(Entry) -> bool) -> Result<(), BlockError> {
    let corrupt = |reason: &str| BlockError::corrupt("chunk of trace ids", reason);
    let Some((checksum, mut left)) = bytes.split_first_chunk::<4>() else { return Err(corrupt("too short")) };
    if crc32fast::hash(left) != u32::from_le_bytes(*checksum) {
        return Err(corrupt("its checksum is another"));
    }
    let mut hash = first;
    while !left.is_empty() {
        let (gap, number) = varint(&mut left).zip(varint(&mut left)).ok_or_else(|| corrupt("too short"))?;
        let number = u16::try_from(number).map_err(|_| corrupt("a block's number is over 65535"))?;
        hash = hash.checked_add(gap).ok_or_else(|| corrupt("a hash is over 64 bits"))?;
        if !each((hash, number)) {
            break;
        }
    }
    Ok(())
}

/// Merges sources of sorted entries. Memory: a shard of each source, and the shard that is written.
#[derive(Debug)]
pub struct MergeIds {
    sources: Vec<Source>,
    shard: Building,
    shards: Vec<Shard>,
}

/// What a merge does next.
#[derive(Debug)]
pub enum MergeIdsStep {
    /// Fetch this object, a shard of the source with this number, and hand it to [`MergeIds::supply`].
    Need(usize, Uuid),
    /// Store this object; it is the last of the shards.
    Store(Uuid, Bytes),
    /// Nothing more: these are the shards.
    Done(Vec<Shard>),
}

#[derive(Debug)]
struct Source {
    /// Shards that were not read yet, the next one last.
    shards: Vec<Shard>,
    /// What becomes of each block's number; `None` drops its entries.
    numbers: Vec<Option<u16>>,
    /// Bytes of the shard that is being read, and its chunks that were not read yet, the next one last.
    bytes: Bytes,
    chunks: Vec<Chunk>,
    /// Entries of the chunk that is being read, the next one last.
    entries: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Building {
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
    /// Entries of the chunk that is being written.
    entries: Vec<Entry>,
}

impl MergeIds {
    /// A merge of `ids`, which need no order, and of other sets: their shards, and what becomes of the number
    /// of each of their blocks.
    #[must_use]
    pub fn new(mut ids: Vec<(u64, u16)>, sets: Vec<(Vec<Shard>, Vec<Option<u16>>)>) -> Self {
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let new = Source { entries: ids, ..Source::of(Vec::new(), Vec::new()) };
        let sets = sets.into_iter().map(|(shards, numbers)| Source::of(shards, numbers));
        let sources = std::iter::once(new).chain(sets).collect();
        Self { sources, shard: Building::default(), shards: Vec::new() }
    }

    /// What to do next.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] for a shard that is not what it was. The merge is then over.
    pub fn next(&mut self, name: impl FnOnce() -> Uuid) -> Result<MergeIdsStep, BlockError> {
        while self.shard.bytes.len() < SHARD {
            for (number, source) in self.sources.iter_mut().enumerate() {
                if let Some(object) = source.fill()? {
                    // The first of the sources is in memory from the start.
                    return Ok(MergeIdsStep::Need(number, object));
                }
            }
            let heads = self.sources.iter().enumerate();
            let heads = heads.filter_map(|(at, source)| Some((*source.entries.last()?, at)));
            let Some((entry, at)) = heads.min() else {
                self.shard.end_chunk();
                break;
            };
            if let Some(source) = self.sources.get_mut(at) {
                source.entries.pop();
            }
            self.shard.push(entry);
        }
        // Entries that are in no chunk yet go on in the next shard.
        let (bytes, chunks) = (std::mem::take(&mut self.shard.bytes), std::mem::take(&mut self.shard.chunks));
        if chunks.is_empty() {
            return Ok(MergeIdsStep::Done(std::mem::take(&mut self.shards)));
        }
        let object = name();
        self.shards.push(Shard { object, chunks });
        Ok(MergeIdsStep::Store(object, bytes.into()))
    }

    /// Hands over a shard that was asked for.
    pub fn supply(&mut self, source: usize, bytes: Bytes) {
        if let Some(source) = self.sources.get_mut(source)
            && let Some(shard) = source.shards.pop()
        {
            source.bytes = bytes;
            source.chunks = shard.chunks.into_iter().rev().collect();
        }
    }
}

impl Source {
    fn of(mut shards: Vec<Shard>, numbers: Vec<Option<u16>>) -> Self {
        shards.reverse();
        Self { shards, numbers, bytes: Bytes::new(), chunks: Vec::new(), entries: Vec::new() }
    }

    /// Makes sure that there is a next entry, if there is one at all; answers with a shard that this needs.
    fn fill(&mut self) -> Result<Option<Uuid>, BlockError> {
        while self.entries.is_empty() {
            let Some(chunk) = self.chunks.pop() else {
                return Ok(self.shards.last().map(|shard| shard.object));
            };
            let range = chunk.offset as usize..chunk.offset as usize + chunk.length as usize;
            let bytes = self.bytes.get(range).ok_or_else(|| {
                BlockError::corrupt("shard of trace ids", format!("{} bytes long", self.bytes.len()))
            })?;
            let (entries, numbers) = (&mut self.entries, &self.numbers);
            each(bytes, chunk.first, |(hash, number)| {
                entries
                    .extend(numbers.get(usize::from(number)).copied().flatten().map(|number| (hash, number)));
                true
            })?;
            self.entries.reverse();
        }
        Ok(None)
    }
}

impl Building {
    fn push(&mut self, entry: Entry) {
        let last = self.entries.last().copied();
        if last == Some(entry) {
            return;
        }
        if self.entries.len() >= CHUNK && last.is_some_and(|(hash, _)| hash != entry.0) {
            self.end_chunk();
        }
        self.entries.push(entry);
    }

    fn end_chunk(&mut self) {
        let Some(&(first, _)) = self.entries.first() else { return };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let mut last = first;
        for (hash, number) in self.entries.drain(..) {
            put_varint(&mut self.bytes, hash - last);
            put_varint(&mut self.bytes, u64::from(number));
            last = hash;
        }
        let checksum = crc32fast::hash(self.bytes.get(start + 4..).unwrap_or_default()).to_le_bytes();
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&checksum);
        }
        let (offset, length) = (start as u32, (self.bytes.len() - start) as u32);
        self.chunks.push(Chunk { first, offset, length });
    }
}
