//! One input of a merge: its rows, window by window, in the order of their ids.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;

use super::Sift;
use crate::{
    block::{
        BlockError, Footer, Meta, Scan, Step,
        footer::{self, Chunk},
        schema::Leaf,
    },
    model::TraceId,
    table::{Projection, SpanTable},
};

/// Bytes of a span's id, which do not compress: so many of a page are a span.
const ID_BYTES: u64 = 8;

/// A block that is read from its first trace to its last.
#[derive(Debug)]
pub(super) struct Input {
    meta: Arc<Meta>,
    footer: Arc<Footer>,
    /// Spans of a window.
    target: u64,
    /// The row group that windows are of.
    group: usize,
    /// Rows of windows that are still to be read; `None` where they are not known yet.
    windows: Option<VecDeque<Range<u64>>>,
    /// The page index that tells the windows, where it had to be asked for.
    index: Option<Bytes>,
    scan: Option<Scan>,
    window: Option<Window>,
    last: Option<TraceId>,
}

/// Decoded rows.
#[derive(Debug)]
struct Window {
    table: Arc<SpanTable>,
    /// The class of each trace; `None` where all are of one.
    classes: Option<Vec<Option<usize>>>,
    next: u32,
}

impl Input {
    pub(super) fn new(meta: Arc<Meta>, footer: Arc<Footer>, target: u64) -> Self {
        let (windows, index, scan, window, last) = (None, None, None, None, None);
        Self { meta, footer, target, group: 0, windows, index, scan, window, last }
    }

    /// Id of the next trace; `None` where the window is used up.
    pub(super) fn head(&self) -> Option<TraceId> {
        let window = self.window.as_ref()?;
        window.table.traces.id.get(window.next as usize).copied()
    }

    /// The next trace and its class; `None` of a class is left out.
    pub(super) fn take(&mut self) -> Option<(Arc<SpanTable>, u32, Option<usize>)> {
        let window = self.window.as_mut()?;
        let row = window.next;
        window.next += 1;
        let class = match &window.classes {
            Some(classes) => classes.get(row as usize).copied().flatten(),
            None => Some(0),
        };
        let table = Arc::clone(&window.table);
        if window.next as usize >= window.table.trace_count() {
            self.window = None;
        }
        Some((table, row, class))
    }

    pub(super) fn supply(&mut self, bytes: Vec<(Range<u64>, Bytes)>) -> Result<(), BlockError> {
        if let Some(scan) = &mut self.scan {
            return scan.supply(bytes);
        }
        for (range, bytes) in bytes {
            if range.end - range.start != bytes.len() as u64 {
                let reason = format!("{} bytes fetched for {range:?}", bytes.len());
                return Err(BlockError::corrupt("data.parquet", reason));
            }
            self.index = Some(bytes);
        }
        Ok(())
    }

    /// Sees to it that there is a window, unless all rows were taken. Answers what is needed for that.
    pub(super) fn load(&mut self, sift: Option<&dyn Sift>) -> Result<Option<Vec<Range<u64>>>, BlockError> {
        while self.window.is_none() && self.group < self.footer.row_groups() {
            if let Some(scan) = &mut self.scan {
                match scan.next()? {
                    Step::Need(ranges) => return Ok(Some(ranges)),
                    Step::Table(table) => self.install(table, sift)?,
                    Step::Done => {}
                }
                self.scan = None;
                continue;
            }
            let Some(windows) = &mut self.windows else {
                if let Some(index) = self.plan()? {
                    return Ok(Some(vec![index]));
                }
                continue;
            };
            let Some(rows) = windows.pop_front() else {
                self.group += 1;
                self.windows = None;
                continue;
            };
            let footer = Arc::clone(&self.footer);
            self.scan = Some(Scan::rows(&self.meta, footer, self.group, rows, Projection::Everything)?);
        }
        Ok(None)
    }

    fn install(&mut self, mut table: SpanTable, sift: Option<&dyn Sift>) -> Result<(), BlockError> {
        let ids = &table.traces.id;
        let ascending = ids.is_sorted_by(|a, b| a < b);
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(()) };
        if !ascending || self.last.is_some_and(|before| before >= *first) {
            return Err(BlockError::corrupt("data.parquet", "its traces are not in the order of their ids"));
        }
        self.last = Some(*last);
        let classes = sift.map(|sift| sift.sift(&table));
        // Ten windows are held at once, and a column that grew by doubling has a third of its room free.
        table.shrink();
        self.window = Some(Window { table: Arc::new(table), classes, next: 0 });
        Ok(())
    }

    /// Works the windows of the row group out. Answers the range of the page index where that must come first.
    fn plan(&mut self) -> Result<Option<Range<u64>>, BlockError> {
        let rows = self.footer.row_groups.get(self.group).map_or(0, |group| group.rows);
        let (_, chunk) = self.footer.chunk(self.group, Leaf::SpanId)?;
        let mut windows = VecDeque::new();
        match &chunk.offset_index {
            // One page a column, or a writer that keeps no index: there is nothing to go by.
            None => windows.push_back(0..rows),
            Some(range) => {
                let Some(index) = self.index.take().or_else(|| self.footer.fetched(range)) else {
                    return Ok(Some(range.clone()));
                };
                windows = cut(&index, chunk, rows, self.target)?;
            }
        }
        self.windows = Some(windows);
        Ok(None)
    }
}

/// Cuts the rows of a row group where pages of the span ids end, or within a page that holds more than a
/// window.
fn cut(index: &Bytes, chunk: &Chunk, rows: u64, target: u64) -> Result<VecDeque<Range<u64>>, BlockError> {
    let pages = footer::offset_index(index, chunk)?;
    let mut windows = VecDeque::new();
    let (mut from, mut spans) = (0, 0);
    for (at, (range, first)) in pages.iter().enumerate() {
        let end = pages.get(at + 1).map_or(rows, |(_, next)| *next).min(rows);
        let held = (range.end - range.start) / ID_BYTES;
        if spans > 0 && spans + held > target + target / 4 {
            windows.push_back(from..*first);
            (from, spans) = (*first, 0);
        }
        spans += held;
        // A large page is decoded once for each of its parts, which costs less than to hold all of it.
        let parts = (held / target.max(1)).min(end.saturating_sub(*first)).min(MAX_PARTS);
        if parts > 1 {
            let step = (end - first).div_ceil(parts);
            while from + step < end {
                windows.push_back(from..from + step);
                from += step;
            }
            spans = held / parts;
        }
    }
    if from < rows {
        windows.push_back(from..rows);
    }
    windows.retain(|window| !window.is_empty());
    Ok(windows)
}

/// Most windows of one page.
const MAX_PARTS: u64 = 8;
