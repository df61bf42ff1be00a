//! Byte arrays of a column: those of its dictionary, which all scans of the row group can share, and those that
//! stand in its pages.

use std::sync::Arc;

use bytes::Bytes;

use super::{BlockError, decode};

/// The dictionary of a column of a row group, decompressed.
#[derive(Debug, Default)]
pub struct Dictionary {
    page: Bytes,
    /// Where each entry starts; its length stands before it.
    starts: Vec<u32>,
}

impl Dictionary {
    /// Reads a decompressed dictionary page of `count` byte arrays.
    pub(crate) fn read(page: Bytes, count: usize) -> Result<Self, BlockError> {
        // Not more than the page has room for, whatever its header says.
        let mut starts = Vec::with_capacity(count.min(page.len() / 4));
        decode::plain_bytes(&page, 0..count, |start, _| starts.push(start as u32))?;
        Ok(Self { page, starts })
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.page.len() + self.starts.capacity() * size_of::<u32>()
    }

    fn entry(&self, at: usize) -> Option<&[u8]> {
        let start = *self.starts.get(at)? as usize;
        let (head, rest) = self.page.split_at_checked(start)?;
        rest.get(..u32::from_le_bytes(*head.last_chunk()?) as usize)
    }
}

/// Byte arrays: distinct entries of a dictionary and single values alike, and which of them each value is.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    dictionary: Option<Arc<Dictionary>>,
    buffers: Vec<Bytes>,
    /// Those that stand in pages; they count on from the dictionary's.
    places: Vec<Place>,
    /// For each value, its entry.
    pub(crate) indexes: Vec<u32>,
}

/// Where an entry's bytes are.
#[derive(Clone, Copy, Debug)]
struct Place {
    buffer: u32,
    start: u32,
    length: u32,
}

impl Entries {
    /// Of a column with this dictionary.
    pub(crate) fn of(dictionary: Arc<Dictionary>) -> Self {
        Self { dictionary: Some(dictionary), ..Self::default() }
    }

    /// The dictionary, where the column has one.
    pub(crate) fn dictionary(&self) -> Option<&Arc<Dictionary>> {
        self.dictionary.as_ref()
    }

    /// The greatest index into the dictionary; none where there is no entry in one.
    pub(crate) fn most(&self) -> Option<u32> {
        self.shared().checked_sub(1).map(|most| most as u32)
    }

    /// Number of the dictionary's entries.
    fn shared(&self) -> usize {
        self.dictionary.as_ref().map_or(0, |dictionary| dictionary.starts.len())
    }

    /// Number of entries.
    pub(crate) fn count(&self) -> usize {
        self.shared() + self.places.len()
    }

    /// An entry's bytes; empty past the end.
    pub(crate) fn entry(&self, at: u32) -> &[u8] {
        let at = at as usize;
        let found = match at.checked_sub(self.shared()) {
            None => self.dictionary.as_ref().and_then(|dictionary| dictionary.entry(at)),
            Some(at) => self.places.get(at).and_then(|place| {
                let start = place.start as usize;
                self.buffers.get(place.buffer as usize)?.get(start..start + place.length as usize)
            }),
        };
        found.unwrap_or_default()
    }

    /// Starts on a page whose values are entries of their own.
    pub(crate) fn begin(&mut self, page: Bytes) {
        self.buffers.push(page);
    }

    /// Adds an entry of that page, and a value that is this entry.
    pub(crate) fn push(&mut self, start: usize, length: usize) {
        let buffer = (self.buffers.len() as u32).saturating_sub(1);
        self.indexes.push(self.count() as u32);
        self.places.push(Place { buffer, start: start as u32, length: length as u32 });
    }
}
