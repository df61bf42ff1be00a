//! Several blocks become one, without IO: a merge says which bytes of which input it needs, is handed them,
//! and writes the output as it goes.
//!
//! Flow: of each input one *window* of rows is decoded at a time. Traces go to the output in the order of
//! their ids. One that a single input holds goes from the window's columns to the writer's as it is, codes
//! of strings included; one that several hold is put together: equal spans become one, and what is known of
//! the trace as a whole is worked out anew.
//! Guarantees: memory is bounded by one window an input, the writer's row group, and the parts of one trace;
//! a window is about [`WINDOW_SPANS`] spans, or the rows of one page where that holds more. A trace of
//! several inputs that is longer than the limit loses spans until it is not. One that a single input holds
//! is copied whatever its length: it takes the memory of a window of that one row.

mod combine;
mod input;
mod size;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::Write,
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    BlockError, Continued, Footer, Meta, WriteOptions, Written,
    write::{PAGE_ROWS, Writer},
};
use crate::{
    model::{BlockId, Tenant, TraceId},
    table::{Recode, SpanTable, TableBuilder},
};
use input::Input;

/// Spans of an input that are decoded at a time.
const WINDOW_SPANS: u64 = 16 << 10;

/// Which traces go to the output of a merge, and what sort each is of.
pub trait Sift: Send {
    /// For each trace of `table`, every column of which is there: its class, or `None` where it is left out.
    fn sift(&self, table: &SpanTable) -> Vec<Option<usize>>;
}

/// What is done to traces on the way.
#[derive(Default)]
pub struct MergeRules {
    /// Longest trace that is put together of several inputs, in bytes of OTLP by an estimate. What is more
    /// loses spans.
    pub max_trace_bytes: Option<u64>,
    /// Leaves traces out.
    pub sift: Option<Box<dyn Sift>>,
    /// Of each input, the traces that it continues; of those that are not named here, none.
    pub continued: Vec<Arc<Continued>>,
}

impl fmt::Debug for MergeRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_trace_bytes, sift, .. } = self;
        let sift = sift.is_some();
        let mut debug = f.debug_struct("MergeRules");
        debug.field("max_trace_bytes", max_trace_bytes).field("sift", &sift).finish_non_exhaustive()
    }
}

/// What a merge does next.
#[derive(Debug)]
pub enum MergeStep {
    /// Fetch these ranges of this input's data.parquet, ascending and disjoint, for [`Merge::supply`].
    Need {
        /// Its place among the inputs.
        input: usize,
        /// The ranges.
        ranges: Vec<Range<u64>>,
    },
    /// The output is written.
    Done(Box<Merged>),
}

/// What a merge came to.
#[derive(Debug)]
pub struct Merged {
    /// The new block; `None` where no trace was left, and what the sink holds is then no block.
    pub written: Option<Written>,
    /// Traces of all inputs, those that several hold counted as often.
    pub traces_read: u64,
    /// Traces that were put together of several inputs.
    pub traces_combined: u64,
    /// Traces that were left out.
    pub traces_dropped: u64,
    /// Spans that traces lost because they were too long.
    pub spans_discarded: u64,
    /// End of the newest trace of each class that was written, nanoseconds since 1970.
    pub newest: BTreeMap<usize, u64>,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct MergeError {
    /// The input that is at fault; `None` where it is the output.
    pub input: Option<usize>,
    /// What is wrong.
    pub error: BlockError,
}

/// Blocks on their way into one.
pub struct Merge<W: Write + Send> {
    inputs: Vec<Input>,
    rules: MergeRules,
    writer: Option<Writer<Arc<SpanTable>, W>>,
    batch: Batch,
    merged: Merged,
    /// The traces that the output continues: those that every input that has them continues.
    continued: Vec<(TraceId, u64)>,
    /// Traces that were left out.
    dropped: HashSet<TraceId>,
}

/// Traces that wait for those put together before them.
#[derive(Default)]
struct Batch {
    builder: Option<TableBuilder>,
    /// What the strings of each input's window are in the builder.
    recodes: Vec<Option<Recode>>,
    waiting: Vec<Waiting>,
}

enum Waiting {
    /// A trace of a window, and its class.
    Row(Arc<SpanTable>, u32, Option<usize>),
    /// A trace of the builder.
    Built(usize),
}

impl<W: Write + Send> Merge<W> {
    /// Merges `inputs`, each of a format that is read here, into a block of the options' format.
    ///
    /// # Errors
    /// [`BlockError::Format`] where one is of another, and what the writer refuses of `options`.
    pub fn new(
        inputs: Vec<(Arc<Meta>, Arc<Footer>)>,
        options: &WriteOptions,
        tenant: &Tenant,
        id: BlockId,
        sink: W,
        rules: MergeRules,
    ) -> Result<Self, BlockError> {
        Self::with_window(inputs, options, (tenant, id), sink, rules, (WINDOW_SPANS, PAGE_ROWS))
    }

    /// As [`Merge::new`], with windows of about so many spans, and pages of so many rows.
    pub(super) fn with_window(
        inputs: Vec<(Arc<Meta>, Arc<Footer>)>,
        options: &WriteOptions,
        (tenant, id): (&Tenant, BlockId),
        sink: W,
        rules: MergeRules,
        (window, page_rows): (u64, usize),
    ) -> Result<Self, BlockError> {
        for (meta, _) in &inputs {
            meta.version()?;
        }
        let metas = inputs.iter().map(|(meta, _)| &**meta);
        let dedicated = options.dedicated.merged(options.version, metas);
        let writer = Writer::new(options, dedicated, tenant, id, sink, page_rows)?;
        let inputs: Vec<_> =
            inputs.into_iter().map(|(meta, footer)| Input::new(meta, footer, window)).collect();
        let batch = Batch::default();
        let merged = Merged {
            written: None,
            traces_read: 0,
            traces_combined: 0,
            traces_dropped: 0,
            spans_discarded: 0,
            newest: BTreeMap::new(),
        };
        Ok(Self {
            inputs,
            rules,
            writer: Some(writer),
            batch,
            merged,
            continued: Vec::new(),
            dropped: HashSet::new(),
        })
    }

    /// What to do next.
    ///
    /// # Errors
    /// [`MergeError`]; the merge is then over, and what the sink holds is worth nothing.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and needs bytes between two calls")]
    pub fn next(&mut self) -> Result<MergeStep, MergeError> {
        loop {
            for (at, input) in self.inputs.iter_mut().enumerate() {
                let loaded = input.load(self.rules.sift.as_deref());
                let needed = loaded.map_err(|error| MergeError { input: Some(at), error })?;
                if let Some(ranges) = needed {
                    return Ok(MergeStep::Need { input: at, ranges });
                }
            }
            let output = |error| MergeError { input: None, error };
            if self.inputs.iter().all(|input| input.head().is_none()) {
                return self.finish().map_err(output);
            }
            self.advance().map_err(output)?;
        }
    }

    /// Hands over bytes that were asked for, each with its range.
    ///
    /// # Errors
    /// [`MergeError`] where the bytes are not as long as their range.
    pub fn supply(&mut self, input: usize, bytes: Vec<(Range<u64>, Bytes)>) -> Result<(), MergeError> {
        let Some(from) = self.inputs.get_mut(input) else { return Ok(()) };
        from.supply(bytes).map_err(|error| MergeError { input: Some(input), error })
    }

    /// Writes traces until a window is used up.
    fn advance(&mut self) -> Result<(), BlockError> {
        let mut heads: Vec<(TraceId, usize)> = Vec::with_capacity(self.inputs.len());
        loop {
            heads.clear();
            heads.extend(self.inputs.iter().enumerate().filter_map(|(at, input)| Some((input.head()?, at))));
            heads.sort_unstable();
            let Some(&(id, first)) = heads.first() else { break };
            let same = heads.iter().take_while(|(other, _)| *other == id).count();
            let parts: Vec<usize> = heads.iter().take(same).map(|(_, at)| *at).collect();
            if parts.len() == 1 {
                let upto = heads.get(1).map(|(next, _)| *next);
                self.copy(first, upto)?;
            } else {
                self.combine(id, &parts);
            }
            let ended =
                parts.iter().any(|at| self.inputs.get(*at).is_some_and(|input| input.head().is_none()));
            if ended {
                break;
            }
        }
        self.flush()
    }

    /// Takes traces of one input, up to another's next.
    fn copy(&mut self, from: usize, upto: Option<TraceId>) -> Result<(), BlockError> {
        while let Some(input) = self.inputs.get_mut(from)
            && let Some(id) = input.head()
            && upto.is_none_or(|upto| id < upto)
            && let Some((table, row, class)) = input.take()
        {
            self.merged.traces_read += 1;
            self.note_continued(id, &[(from, &table, row)]);
            if self.batch.waiting.is_empty() {
                self.write(table, row, class)?;
            } else {
                self.batch.waiting.push(Waiting::Row(table, row, class));
            }
        }
        Ok(())
    }

    /// Puts one trace together of several inputs.
    fn combine(&mut self, id: TraceId, parts: &[usize]) {
        let taken = parts.iter().filter_map(|at| {
            let (table, row, _) = self.inputs.get_mut(*at)?.take()?;
            Some((*at, table, row))
        });
        let taken: Vec<_> = taken.collect();
        let parts: Vec<_> = taken.iter().map(|(at, table, row)| (*at, table, *row)).collect();
        self.note_continued(id, &parts);
        self.merged.traces_read += taken.len() as u64;
        self.merged.traces_combined += 1;
        let bytes: u64 = taken.iter().map(|(_, table, row)| size::trace(table, *row as usize)).sum();
        let Batch { builder, recodes, waiting } = &mut self.batch;
        let builder = builder.get_or_insert_with(|| TableBuilder::new().tidily());
        recodes.resize_with(self.inputs.len(), || None);
        match self.rules.max_trace_bytes.filter(|limit| bytes > *limit) {
            None => {
                builder.begin(id);
                for (at, table, row) in &taken {
                    let Some(recode) = recodes.get_mut(*at) else { continue };
                    let recode = recode.get_or_insert_with(|| Recode::of(table));
                    builder.add_rows_with(table, *row as usize, recode);
                }
            }
            Some(limit) => {
                let parts = taken.iter().map(|(_, table, row)| (&**table, *row as usize));
                let (whole, lost) = combine::within(id, parts, limit);
                self.merged.spans_discarded += lost;
                builder.begin(id);
                builder.add_rows(&whole, 0);
            }
        }
        waiting.extend(builder.end().map(Waiting::Built));
    }

    /// Takes note of a trace, of which these are the parts, where none of them is its first.
    fn note_continued(&mut self, id: TraceId, parts: &[(usize, &Arc<SpanTable>, u32)]) {
        let names = |(at, ..): &(usize, _, _)| self.rules.continued.get(*at).is_some_and(|it| it.names(id));
        if self.rules.continued.is_empty() || !parts.iter().all(names) {
            return;
        }
        let start =
            |(_, table, row): &(_, &Arc<SpanTable>, u32)| table.traces.start.get(*row as usize).copied();
        self.continued.extend(parts.iter().filter_map(start).min().map(|start| (id, start)));
    }

    /// Writes what waits.
    fn flush(&mut self) -> Result<(), BlockError> {
        let Batch { builder, waiting, .. } = std::mem::take(&mut self.batch);
        let Some(builder) = builder else { return Ok(()) };
        let built = Arc::new(builder.finish());
        let classes = self.rules.sift.as_deref().map(|sift| sift.sift(&built));
        for trace in waiting {
            match trace {
                Waiting::Row(table, row, class) => self.write(table, row, class)?,
                Waiting::Built(row) => {
                    let class = classes.as_ref().map_or(Some(0), |all| all.get(row).copied().flatten());
                    self.write(Arc::clone(&built), row as u32, class)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, table: Arc<SpanTable>, row: u32, class: Option<usize>) -> Result<(), BlockError> {
        let Some(class) = class else {
            self.merged.traces_dropped += 1;
            if !self.rules.continued.is_empty() {
                self.dropped.extend(table.traces.id.get(row as usize));
            }
            return Ok(());
        };
        let end = table.traces.end.get(row as usize).copied().unwrap_or_default();
        let newest = self.merged.newest.entry(class).or_default();
        *newest = end.max(*newest);
        match &mut self.writer {
            Some(writer) => writer.push(table, row),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<MergeStep, BlockError> {
        let newest = std::mem::take(&mut self.merged.newest);
        let writer = self.writer.take().filter(|_| !newest.is_empty());
        let mut written = writer.map(Writer::finish).transpose()?;
        if let Some(written) = &mut written {
            self.continued.retain(|(id, _)| !self.dropped.contains(id));
            written.note_continued(&Continued::new(std::mem::take(&mut self.continued)))?;
        }
        let Merged { traces_read, traces_combined, traces_dropped, spans_discarded, .. } = self.merged;
        Ok(MergeStep::Done(Box::new(Merged {
            written,
            traces_read,
            traces_combined,
            traces_dropped,
            spans_discarded,
            newest,
        })))
    }
}

impl<W: Write + Send> fmt::Debug for Merge<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge").field("inputs", &self.inputs.len()).finish_non_exhaustive()
    }
}
