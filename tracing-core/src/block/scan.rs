//! Reading a block without IO: a scan says which bytes it needs, is handed them, and yields tables.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{BlockError, Footer, Meta};
use crate::{
    model::TraceId,
    table::{Projection, SpanTable},
};

/// What a scan does next.
#[derive(Debug)]
pub enum Step {
    /// Fetch these ranges of data.parquet, ascending and disjoint, and hand them to [`Scan::supply`].
    Need(Vec<Range<u64>>),
    /// The traces of one row group (or the one trace asked for). Row groups without traces are left out.
    Table(SpanTable),
    /// Nothing more.
    Done,
}

/// A walk over row groups of one block.
#[derive(Debug)]
pub struct Scan {}

impl Scan {
    /// Reads what `projection` wants of the row groups `row_groups` (those the block does not have are
    /// left out), one table a row group.
    ///
    /// # Errors
    /// [`BlockError::Format`] for formats that are not read here; [`BlockError::Corrupt`].
    pub fn new(
        meta: &Meta,
        _footer: Arc<Footer>,
        _row_groups: Range<usize>,
        _projection: Projection,
    ) -> Result<Self, BlockError> {
        meta.readable()?;
        Err(BlockError::corrupt("data.parquet", "reading is being built"))
    }

    /// Reads one trace whole. Yields one table of that trace, or none where the block does not hold it.
    ///
    /// # Errors
    /// As [`Scan::new`].
    pub fn trace(meta: &Meta, _footer: Arc<Footer>, _id: TraceId) -> Result<Self, BlockError> {
        meta.readable()?;
        Err(BlockError::corrupt("data.parquet", "reading is being built"))
    }

    /// What to do next.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] and [`BlockError::Limit`]; the scan is then over.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and needs bytes between two calls")]
    pub fn next(&mut self) -> Result<Step, BlockError> {
        Ok(Step::Done)
    }

    /// Hands over bytes that were asked for, each with its range.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] where the bytes are not as long as their range.
    pub fn supply(&mut self, _bytes: Vec<(Range<u64>, Bytes)>) -> Result<(), BlockError> {
        Ok(())
    }
}
