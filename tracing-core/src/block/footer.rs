//! The end of data.parquet: where each column of each row group lies.

use std::ops::Range;

use bytes::Bytes;

use super::{BlockError, Meta};

/// What the end of data.parquet says: decoded once, kept in memory, shared by all scans of the block.
#[derive(Debug)]
pub struct Footer {}

impl Footer {
    /// The bytes of data.parquet to hand to [`Footer::decode`]: the footer itself and, by an estimate, the
    /// page indexes that stand before it. What the estimate misses, a scan asks for.
    #[must_use]
    pub fn range(meta: &Meta) -> Range<u64> {
        let footer = u64::from(meta.footer_size) + 8;
        let indexes = (meta.size / 64).clamp(64 << 10, 1 << 20);
        meta.size.saturating_sub(footer + indexes)..meta.size
    }

    /// Reads the end of data.parquet, from anywhere at or before the footer's start up to the last byte.
    ///
    /// # Errors
    /// [`BlockError::Format`] for other formats than vParquet4, else [`BlockError::Corrupt`] and
    /// [`BlockError::Limit`].
    pub fn decode(meta: &Meta, _tail: Bytes) -> Result<Self, BlockError> {
        meta.readable()?;
        Err(BlockError::corrupt("data.parquet", "reading is being built"))
    }
}
