//! A row group while it is written: pages are collected, encoded column by column, and held.

use std::{borrow::Borrow, ops::Range, sync::Arc};

use bytes::Bytes;
use parquet::{column::writer::ColumnCloseResult, schema::types::ColumnDescPtr};

use super::{
    chunk::Chunk,
    encoder::Encoder,
    gather::{Gathered, Placing, Rows, Shape, Sources},
    levels::Levels,
    press::Press,
};
use crate::{
    block::{
        BlockError, Sketch, Version,
        schema::{Leaf, Schema, Slots, Spec},
        sketch::SketchBuilder,
    },
    table::{Code, Level, Offsets, SpanTable, ValueKind},
};

/// Estimated bytes, text included, that make a page.
const PAGE_BYTES: u64 = 16 << 20;
pub(super) const LEVELS: [Level; 5] = [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link];

/// A row group.
#[derive(Debug)]
pub(super) struct Group<T> {
    specs: Vec<Arc<Spec>>,
    slots: Slots,
    /// Whether slots take arrays.
    arrays: bool,
    sources: Sources<T>,
    placing: Vec<Placing>,
    chunks: Vec<Chunk>,
    press: Press,
    /// Of all row groups so far.
    sketch: SketchBuilder,
    /// Traces of the page that is being collected.
    page: Rows,
    page_estimate: u64,
    /// Spans, or traces, that make a page.
    page_rows: usize,
    rows: usize,
    estimate: u64,
    held: usize,
}

/// One page, with what its columns have in common.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) traces: usize,
    pub(super) rows: Rows,
    pub(super) shape: Shape,
    /// By level, in the order of [`LEVELS`]: the attributes, and the levels of their entries.
    pub(super) attributes: Vec<(Gathered, Levels)>,
}

impl<T: Borrow<SpanTable>> Group<T> {
    pub(super) fn new(schema: &Schema, page_rows: usize) -> Result<Self, BlockError> {
        let mut group = Self {
            specs: schema.specs().iter().cloned().map(Arc::new).collect(),
            slots: schema.slots().clone(),
            arrays: schema.version() == Version::V5,
            sources: Sources::new(),
            placing: Vec::new(),
            chunks: Vec::new(),
            press: Press::new()?,
            sketch: SketchBuilder::default(),
            page: Rows::default(),
            page_rows,
            page_estimate: 0,
            rows: 0,
            estimate: 0,
            held: 0,
        };
        group.begin();
        Ok(group)
    }

    fn begin(&mut self) {
        self.sources = Sources::new();
        let strings = &mut self.sources.strings;
        let placing = |level: &Level| Placing::new(self.slots.at(*level), self.arrays, strings);
        self.placing = LEVELS.iter().map(placing).collect();
        let chunk = |spec: &Arc<Spec>| Chunk::new(Arc::clone(spec), self.page_rows);
        self.chunks = self.specs.iter().map(chunk).collect();
        (self.rows, self.estimate, self.held) = (0, 0, 0);
    }

    /// Traces taken in.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Size by Tempo's estimate, in bytes.
    pub(super) fn estimate(&self) -> u64 {
        self.estimate
    }

    /// Compressed bytes, and text of distinct strings.
    pub(super) fn held(&self) -> usize {
        self.held + self.sources.text
    }

    /// Takes a trace in.
    pub(super) fn push(&mut self, table: T, row: u32) -> Result<(), BlockError> {
        let number = self.sources.add(table)?;
        self.sources.rows(&mut self.page, number, row as usize);
        self.sources.sketch(&mut self.sketch, number, row as usize);
        self.rows += 1;
        let estimate = self.sources.table(number).map_or(0, |table| estimate(table, row as usize));
        self.estimate += estimate;
        self.page_estimate +=
            estimate + self.sources.table(number).map_or(0, |table| text(table, row as usize));
        let full = self.page.spans.len() >= self.page_rows || self.page.traces.len() >= self.page_rows;
        if full || self.page_estimate >= PAGE_BYTES {
            self.end_page()?;
        }
        Ok(())
    }

    /// The sketch of all that was pushed; the block's data take `size` bytes.
    pub(super) fn sketch(self, size: u64) -> Sketch {
        self.sketch.finish(size)
    }

    /// Ends the row group and hands its columns to `emit`, in the order of the file; the next row group
    /// begins empty.
    pub(super) fn end(
        &mut self,
        columns: &[ColumnDescPtr],
        mut emit: impl FnMut(Bytes, ColumnCloseResult) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        self.end_page()?;
        for (chunk, column) in std::mem::take(&mut self.chunks).into_iter().zip(columns) {
            let (bytes, close) = chunk.finish(&mut self.press, &self.sources.strings, column, self.rows)?;
            emit(bytes, close)?;
        }
        self.begin();
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), BlockError> {
        let rows = std::mem::take(&mut self.page);
        self.page_estimate = 0;
        if rows.traces.len() == 0 {
            return Ok(());
        }
        for chunk in &self.chunks {
            let Leaf::Slot(level, slot) = chunk.spec.leaf else { continue };
            let placing = LEVELS.iter().zip(&mut self.placing).find(|(of, _)| **of == level);
            if let Some(verbatim) = placing.and_then(|(_, placing)| placing.verbatim.get_mut(slot)) {
                // Elements of arrays are codes among others.
                *verbatim = !self.arrays && chunk.takes_text();
            }
        }
        let shape = self.sources.shape(&rows);
        let mut attributes = Vec::with_capacity(LEVELS.len());
        for (level, placing) in LEVELS.into_iter().zip(&self.placing) {
            let gathered = self.sources.attributes(&rows, level, placing);
            let levels = shape.of(level).below(gathered.counts.iter().map(|count| *count as usize));
            attributes.push((gathered, levels));
        }
        let page = Page { traces: rows.traces.len(), rows, shape, attributes };
        let mut encoder = Encoder::new(&mut self.sources, &mut self.press, &page);
        for chunk in &mut self.chunks {
            encoder.column(chunk)?;
        }
        self.held = self.chunks.iter().map(Chunk::held).sum();
        self.sources.release();
        Ok(())
    }
}

/// Tempo's estimate of a trace's size in bytes, which is about the number of its values.
fn estimate(table: &SpanTable, row: usize) -> u64 {
    let resources = table.traces.resources.range(row);
    let spans = table.spans_of_resources(resources.clone());
    let scopes = scopes_of(table, &resources);
    let below = |offsets: &Offsets, of: &Range<usize>| match of.end.checked_sub(1) {
        Some(last) if !of.is_empty() => offsets.range(last).end - offsets.range(of.start).start,
        _ => 0,
    };
    let events = below(&table.spans.events, &spans);
    let attributes = below(&table.resources.attributes.offsets, &resources)
        + below(&table.scopes.attributes.offsets, &scopes)
        + below(&table.spans.attributes.offsets, &spans);
    (7 + 10 * resources.len() + 2 * scopes.len() + 35 * spans.len() + 7 * attributes + 4 * events) as u64
}

/// Bytes of text in a trace's attributes, which nothing else bounds.
fn text(table: &SpanTable, row: usize) -> u64 {
    let resources = table.traces.resources.range(row);
    let spans = table.spans_of_resources(resources.clone());
    let below = |offsets: &Offsets, of: &Range<usize>| match of.end.checked_sub(1) {
        Some(last) if !of.is_empty() => offsets.range(of.start).start..offsets.range(last).end,
        _ => 0..0,
    };
    let owners = [
        (&table.resources.attributes, resources.clone()),
        (&table.scopes.attributes, scopes_of(table, &resources)),
        (&table.events.attributes, below(&table.spans.events, &spans)),
        (&table.links.attributes, below(&table.spans.links, &spans)),
        (&table.spans.attributes, spans),
    ];
    let length = |payload: u64| table.strings.text(Code::from_payload(payload)).len();
    let mut bytes = 0;
    for (attributes, owners) in owners {
        let entries = below(&attributes.offsets, &owners);
        let kinds = attributes.kind.get(entries.clone()).unwrap_or_default();
        let values = attributes.value.get(entries).unwrap_or_default();
        for (kind, value) in kinds.iter().zip(values) {
            bytes += match kind {
                ValueKind::String | ValueKind::Unsupported => length(*value),
                ValueKind::Strings => {
                    let (start, count) = ((value >> 32) as usize, (value & 0xffff_ffff) as usize);
                    let elements = attributes.elements.get(start..start + count).unwrap_or_default();
                    elements.iter().map(|element| length(*element)).sum()
                }
                _ => 0,
            };
        }
    }
    bytes as u64
}

fn scopes_of(table: &SpanTable, resources: &Range<usize>) -> Range<usize> {
    match resources.end.checked_sub(1) {
        Some(last) if !resources.is_empty() => {
            table.resources.scopes.range(resources.start).start..table.resources.scopes.range(last).end
        }
        _ => 0..0,
    }
}
