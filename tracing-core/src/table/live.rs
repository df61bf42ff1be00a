//! What an ingester took in and has not yet written to a block, searchable at once.
//!
//! Slices are kept as received until someone looks, or the trace has been quiet for a while; then each
//! trace that changed is decoded once, together with its earlier rows, into a new table, and its earlier
//! row is struck out. Small tables are merged as they gather. No IO, no clock, no lock of its own.

mod merge;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::bitmap::Bitmap;
use super::build::TableBuilder;
use super::columns::SpanTable;
use super::render;
use crate::model::TraceId;

/// Spans after which a table is neither added to nor merged: some ten milliseconds of work at a time, for which
/// pushes wait.
const TABLE_SPANS: usize = 1 << 14;

/// The traces of one tenant in one shard.
#[derive(Debug, Default)]
pub struct Live {
    traces: HashMap<TraceId, Trace>,
    /// Traces with pending slices, in the order in which they came to have some.
    dirty: Vec<TraceId>,
    tables: BTreeMap<u32, Table>,
    next_table: u32,
    pending_bytes: usize,
    oldest: Option<Instant>,
    undecodable: u64,
}

#[derive(Debug)]
struct Trace {
    pending: Vec<Bytes>,
    row: Option<Row>,
    last: Instant,
    received: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    table: u32,
    trace: u32,
}

#[derive(Clone, Debug)]
struct Table {
    table: Arc<SpanTable>,
    alive: Bitmap,
    alive_spans: usize,
    bytes: usize,
}

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The trace was not there before.
    pub new_trace: bool,
    /// Bytes received for this trace so far, as OTLP.
    pub trace_bytes: u64,
}

/// Everything acknowledged until the moment it was taken.
#[derive(Clone, Debug, Default)]
pub struct LiveView {
    /// Each live trace is alive in exactly one of them.
    pub tables: Vec<LiveTable>,
}

/// A table some of whose traces were replaced by later ones.
#[derive(Clone, Debug)]
pub struct LiveTable {
    /// The table.
    pub table: Arc<SpanTable>,
    /// The traces that count.
    pub alive: Bitmap,
}

/// Spans of one trace, decoded or not.
#[derive(Clone, Debug)]
pub enum Part {
    /// A row of a table.
    Row(Arc<SpanTable>, usize),
    /// A TracesData as received.
    Otlp(Bytes),
}

impl Part {
    /// The part as a TracesData.
    #[must_use]
    pub fn to_otlp(&self) -> Bytes {
        match self {
            Self::Row(table, trace) => render::otlp(table, *trace),
            Self::Otlp(bytes) => bytes.clone(),
        }
    }
}

impl Live {
    /// Takes in a slice of a trace: a TracesData as [`crate::wire::otlp::split()`] makes it.
    pub fn push(&mut self, id: TraceId, otlp: Bytes, now: Instant) -> Pushed {
        let len = otlp.len();
        self.pending_bytes += len;
        self.oldest.get_or_insert(now);
        let mut new_trace = false;
        let trace = self.traces.entry(id).or_insert_with(|| {
            new_trace = true;
            Trace { pending: Vec::new(), row: None, last: now, received: 0 }
        });
        if trace.pending.is_empty() {
            self.dirty.push(id);
        }
        trace.pending.push(otlp);
        trace.last = now;
        trace.received += len as u64;
        Pushed { new_trace, trace_bytes: trace.received }
    }

    /// Everything pushed so far, as tables. Decodes what changed since the last time.
    pub fn snapshot(&mut self) -> LiveView {
        let dirty = std::mem::take(&mut self.dirty);
        self.build(dirty);
        let tables = self.tables.values();
        LiveView { tables: tables.map(Table::view).collect() }
    }

    /// Decodes traces that nothing was pushed to since `idle_since`, up to `limit` bytes of slices, so that
    /// a search finds little left to do and the received bytes can go. Answers whether there is more.
    pub fn settle(&mut self, idle_since: Instant, limit: usize) -> bool {
        let (mut ready, mut bytes, mut more) = (Vec::new(), 0, false);
        let traces = &self.traces;
        self.dirty.retain(|id| {
            let Some(trace) = traces.get(id) else { return false };
            if trace.last > idle_since {
                return true;
            }
            if bytes >= limit {
                more = true;
                return true;
            }
            bytes += trace.pending.iter().map(Bytes::len).sum::<usize>();
            ready.push(*id);
            false
        });
        self.build(ready);
        more
    }

    /// Everything pushed of one trace.
    #[must_use]
    pub fn find(&self, id: TraceId) -> Option<Vec<Part>> {
        let trace = self.traces.get(&id)?;
        let row = trace.row.and_then(|row| {
            let table = Arc::clone(&self.tables.get(&row.table)?.table);
            Some(Part::Row(table, row.trace as usize))
        });
        Some(row.into_iter().chain(trace.pending.iter().cloned().map(Part::Otlp)).collect())
    }

    /// Start of a trace, nanoseconds since 1970, as far as it is decoded.
    #[must_use]
    pub fn start(&self, id: TraceId) -> Option<u64> {
        start(&self.tables, self.traces.get(&id)?.row?)
    }

    /// Memory held by slices and tables, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pending_bytes + self.tables.values().map(|table| table.bytes).sum::<usize>()
    }

    /// Bytes of slices that are not decoded yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Spans in tables: those of slices that are not decoded yet are not counted.
    #[must_use]
    pub fn spans(&self) -> usize {
        self.tables.values().map(|table| table.alive_spans).sum()
    }

    /// Number of traces.
    #[must_use]
    pub fn traces(&self) -> usize {
        self.traces.len()
    }

    /// When the first slice was pushed.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.oldest
    }

    /// Slices that did not decode, in all. They were checked when they were received, so that anything but
    /// 0 means broken memory, a broken log, or an error of ours.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Decodes what is left, for a block to be written.
    #[must_use]
    pub fn freeze(mut self) -> Frozen {
        let dirty = std::mem::take(&mut self.dirty);
        self.build(dirty);
        let mut rows: Vec<(TraceId, Row)> =
            self.traces.iter().filter_map(|(&id, trace)| Some((id, trace.row?))).collect();
        rows.sort_unstable_by_key(|&(id, _)| id);
        Frozen { rows, tables: self.tables }
    }

    /// Decodes the pending slices of these traces into new tables.
    fn build(&mut self, ids: Vec<TraceId>) {
        let mut ids = ids.into_iter();
        while ids.len() > 0 {
            let mut builder = TableBuilder::keeping_duplicates().tidily();
            let mut built = Vec::new();
            while builder.table().span_count() < TABLE_SPANS
                && let Some(id) = ids.next()
            {
                if let Some(trace) = self.build_trace(&mut builder, id) {
                    built.push((id, trace as u32));
                }
            }
            self.install(builder.finish(), &built);
            self.merge();
        }
    }

    /// The trace's row in the builder's table; its earlier row is struck out.
    fn build_trace(&mut self, builder: &mut TableBuilder, id: TraceId) -> Option<usize> {
        let trace = self.traces.get_mut(&id)?;
        builder.begin(id);
        if let Some(row) = trace.row
            && let Some(table) = self.tables.get_mut(&row.table)
        {
            builder.add_rows(&table.table, row.trace as usize);
            table.strike(row.trace as usize);
        }
        for slice in std::mem::take(&mut trace.pending) {
            self.pending_bytes = self.pending_bytes.saturating_sub(slice.len());
            if let Err(error) = builder.add_otlp(&slice) {
                self.undecodable += 1;
                tracing::error!(trace = %id, %error, "acknowledged spans do not decode");
            }
        }
        trace.row = None;
        builder.end()
    }

    fn install(&mut self, table: SpanTable, built: &[(TraceId, u32)]) {
        if built.is_empty() {
            return;
        }
        let number = self.next_table;
        self.next_table += 1;
        for (id, row) in built {
            if let Some(trace) = self.traces.get_mut(id) {
                trace.row = Some(Row { table: number, trace: *row });
            }
        }
        self.tables.insert(number, Table::new(table));
    }
}

fn start(tables: &BTreeMap<u32, Table>, row: Row) -> Option<u64> {
    tables.get(&row.table)?.table.traces.start.get(row.trace as usize).copied()
}

impl Table {
    fn new(table: SpanTable) -> Self {
        Self {
            alive: Bitmap::all(table.trace_count()),
            alive_spans: table.span_count(),
            bytes: table.bytes(),
            table: Arc::new(table),
        }
    }

    fn view(&self) -> LiveTable {
        LiveTable { table: Arc::clone(&self.table), alive: self.alive.clone() }
    }

    fn strike(&mut self, trace: usize) {
        self.alive.clear(trace);
        self.alive_spans = self.alive_spans.saturating_sub(self.table.spans_of_trace(trace).len());
    }
}

/// What a [`Live`] held when it was cut: it does not change any more and can be searched while it is
/// written to a block.
#[derive(Debug)]
pub struct Frozen {
    /// By trace id, ascending.
    rows: Vec<(TraceId, Row)>,
    tables: BTreeMap<u32, Table>,
}

impl Frozen {
    /// Every trace once, by id, ascending: its table and its ordinal there.
    #[must_use]
    pub fn rows(&self) -> Vec<(Arc<SpanTable>, u32)> {
        let table = |row: &Row| Some((Arc::clone(&self.tables.get(&row.table)?.table), row.trace));
        self.rows.iter().filter_map(|(_, row)| table(row)).collect()
    }

    /// For searching.
    #[must_use]
    pub fn view(&self) -> LiveView {
        LiveView { tables: self.tables.values().map(Table::view).collect() }
    }

    fn row(&self, id: TraceId) -> Option<Row> {
        let at = self.rows.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        self.rows.get(at).map(|(_, row)| *row)
    }

    /// Start of a trace, nanoseconds since 1970.
    #[must_use]
    pub fn start(&self, id: TraceId) -> Option<u64> {
        start(&self.tables, self.row(id)?)
    }

    /// The spans of one trace.
    #[must_use]
    pub fn find(&self, id: TraceId) -> Option<Part> {
        let row = self.row(id)?;
        Some(Part::Row(Arc::clone(&self.tables.get(&row.table)?.table), row.trace as usize))
    }

    /// Number of traces.
    #[must_use]
    pub fn traces(&self) -> usize {
        self.rows.len()
    }

    /// Number of spans.
    #[must_use]
    pub fn spans(&self) -> usize {
        self.tables.values().map(|table| table.alive_spans).sum()
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tables.values().map(|table| table.bytes).sum()
    }
}
