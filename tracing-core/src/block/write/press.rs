//! Pages are compressed, each as hard as what it holds is worth.

use crate::block::{BlockError, page::MAX_PAGE, thrift::put_ints};

/// How hard it is tried to make a page small. Half of the time of a write is spent on that, and what a level of
/// Zstandard's is worth depends on what a page holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effort {
    /// Integers of all kinds in turn, and hexadecimal digits, of which no level makes less.
    Noise,
    /// Times: their upper bytes are alike.
    Times,
    /// Ids, of which only those of parents are there twice.
    Ids,
    /// Levels and small numbers, which are most of a block's columns.
    Numbers,
    /// Text in full.
    Text,
}

impl Effort {
    const ALL: [Self; 5] = [Self::Noise, Self::Times, Self::Ids, Self::Numbers, Self::Text];

    /// Of Zstandard.
    pub(super) fn level(self) -> i32 {
        match self {
            Self::Noise => 1,
            Self::Times => 2,
            Self::Ids => 4,
            Self::Numbers => 5,
            Self::Text => 6,
        }
    }
}

/// Compression, with the buffers that every page needs.
pub(super) struct Press {
    /// By effort.
    zstd: [zstd::bulk::Compressor<'static>; Effort::ALL.len()],
    /// The page that is being made, before compression.
    pub(super) raw: Vec<u8>,
    packed: Vec<u8>,
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press").finish_non_exhaustive()
    }
}

impl Press {
    pub(super) fn new() -> Result<Self, BlockError> {
        let new = |effort: Effort| zstd::bulk::Compressor::new(effort.level()).map_err(BlockError::Sink);
        let [noise, times, ids, numbers, text] = Effort::ALL.map(new);
        let zstd = [noise?, times?, ids?, numbers?, text?];
        Ok(Self { zstd, raw: Vec::new(), packed: Vec::new() })
    }

    /// Appends a page to `out`: `header` is what follows the sizes.
    pub(super) fn page(
        &mut self,
        out: &mut Vec<u8>,
        kind: i64,
        header: &[u8],
        effort: Effort,
    ) -> Result<usize, BlockError> {
        if self.raw.len() as u64 > MAX_PAGE {
            let (part, found) = ("page".to_owned(), self.raw.len() as u64);
            return Err(BlockError::Limit { part, what: "its size in bytes", found, limit: MAX_PAGE });
        }
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.raw.len()));
        let [noise, times, ids, numbers, text] = &mut self.zstd;
        let zstd = match effort {
            Effort::Noise => noise,
            Effort::Times => times,
            Effort::Ids => ids,
            Effort::Numbers => numbers,
            Effort::Text => text,
        };
        zstd.compress_to_buffer(&self.raw, &mut self.packed).map_err(BlockError::Sink)?;
        let before = out.len();
        put_ints(out, &[kind, self.raw.len() as i64, self.packed.len() as i64]);
        out.extend_from_slice(header);
        let headers = out.len() - before;
        out.extend_from_slice(&self.packed);
        Ok(headers + self.raw.len())
    }
}
