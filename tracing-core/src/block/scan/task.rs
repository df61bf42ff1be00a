//! Columns of a few rows are decoded one by one, on as many threads as whoever drives the scan has.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Dictionaries, Stop};
use crate::block::{
    BlockError, Dictionary, Footer,
    page::{Column, Pages, Values},
    schema::Leaf,
};

/// A column to be decoded, with all that it takes.
#[derive(Debug)]
pub struct Task {
    pub(super) footer: Arc<Footer>,
    pub(super) group: usize,
    pub(super) leaf: Leaf,
    pub(super) pages: Vec<Bytes>,
    pub(super) rows: Option<Range<u64>>,
    pub(super) dictionary: Option<Arc<Dictionary>>,
    pub(super) keeper: Option<Arc<dyn Dictionaries>>,
    pub(super) stop: Stop,
}

/// What a [`Task`] came to.
#[derive(Debug)]
pub struct Decoded {
    pub(super) leaf: Leaf,
    pub(super) column: Result<Column, BlockError>,
}

impl Task {
    /// Bytes to be decoded, about what the work is in proportion to.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pages.iter().map(Bytes::len).sum()
    }

    /// Decodes the column. Blocking.
    #[must_use]
    pub fn run(self) -> Decoded {
        Decoded { leaf: self.leaf, column: self.column() }
    }

    pub(super) fn column(&self) -> Result<Column, BlockError> {
        let (spec, chunk) = self.footer.chunk(self.group, self.leaf)?;
        let mut pages = Pages::new(spec, chunk.codec, chunk.values).with(self.dictionary.clone());
        pages = pages.until(&self.stop);
        if let Some(rows) = &self.rows {
            pages = pages.only(rows.clone());
        }
        for page in &self.pages {
            pages.read(page)?;
        }
        let column = pages.finish();
        if let (None, Some(_), Some(keeper)) = (&self.dictionary, &self.rows, &self.keeper)
            && let Values::Bytes(entries) = &column.values
            && let Some(dictionary) = entries.dictionary()
        {
            keeper.keep(chunk.range.start, dictionary);
        }
        Ok(column)
    }
}
