//! Writing a block: rows of tables become the columns of vParquet4 or vParquet5, page by page.
//!
//! Flow: traces are collected until they make a page; each column of the page is then encoded straight
//! from the tables' columns, and dictionary codes of the tables become those of the column without a look
//! at the text. A row group is a number of pages, whose compressed bytes are held until it ends, since
//! Parquet wants each column in one piece. Each column ends its pages by its own size.
//! Guarantees: memory is bounded by one row group's compressed bytes and its distinct strings, whatever
//! the block's size; a row group ends at [`MAX_HELD`] bytes of them even if its estimate is smaller.

mod chunk;
mod complete;
mod encoder;
mod gather;
mod group;
mod levels;
mod pending;
mod press;

use std::{borrow::Borrow, io::Write, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use parquet::file::{
    properties::{WriterProperties, WriterVersion},
    writer::SerializedFileWriter,
};

use super::{
    BlockError, Bloom, BloomOptions, Continued, Dedicated, DedicatedColumn, Meta, Sketch, Version,
    schema::Schema,
};
use crate::{
    model::{BlockId, Tenant, TraceId},
    table::SpanTable,
};
use group::Group;

/// How a block is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// The format.
    pub version: Version,
    /// Attributes that get a column of their own.
    pub dedicated: Dedicated,
    /// A row group is ended when the estimated size of its traces goes over this many bytes. Tempo's
    /// estimate is used: 35 a span, 7 an attribute, and so on, which is about the number of values.
    pub row_group_bytes: u64,
    /// The Bloom filter over the trace ids.
    pub bloom: BloomOptions,
    /// `compactionLevel` of the meta: 0 for a block that an ingester builds.
    pub compaction_level: u32,
}

/// A written block, its data aside.
#[derive(Clone, Debug)]
pub struct Written {
    /// To be stored last, as `meta.json`.
    pub meta: Meta,
    /// To be stored as `bloom-0`, `bloom-1`, …
    pub bloom: Vec<Bytes>,
    /// To be stored as `index`.
    pub index: Bytes,
    /// To be stored beside them, by name: what other readers pass over.
    pub extra: Vec<(&'static str, Bytes)>,
}

impl Written {
    /// Notes which of the traces an earlier block has spans of, too.
    ///
    /// # Errors
    /// [`BlockError::Sink`] where the list cannot be compressed.
    pub fn note_continued(&mut self, continued: &Continued) -> Result<(), BlockError> {
        self.meta.continued = continued.entries().len() as u32;
        if self.meta.continued > 0 {
            self.extra.push((Continued::NAME, continued.encode()?.into()));
        }
        Ok(())
    }
}

/// Spans, or traces, that make a page.
pub(crate) const PAGE_ROWS: usize = 4 << 10;
/// Compressed bytes, or text of distinct strings, at which a row group ends in any case.
const MAX_HELD: usize = 32 << 20;

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            version: Version::default(),
            dedicated: Dedicated::default(),
            row_group_bytes: 100_000_000,
            bloom: BloomOptions::default(),
            compaction_level: 0,
        }
    }
}

/// Writes data.parquet to `sink` and returns what belongs beside it. `rows` are traces as (table, trace
/// number), ascending by trace id and each id once; the table is anything that borrows one (`&SpanTable`,
/// `Arc<SpanTable>`) and has all its columns.
///
/// # Errors
/// [`BlockError::Empty`] without rows, [`BlockError::Order`], [`BlockError::Row`],
/// [`BlockError::Dedicated`], [`BlockError::Corrupt`] for a table that lacks columns, and
/// [`BlockError::Sink`] where the sink fails. What was written to the sink is then worth nothing.
pub fn write<T: Borrow<SpanTable>, W: Write + Send>(
    rows: impl IntoIterator<Item = (T, u32)>,
    options: &WriteOptions,
    tenant: &Tenant,
    id: BlockId,
    sink: W,
) -> Result<Written, BlockError> {
    write_pages(rows, options, tenant, id, sink, PAGE_ROWS)
}

/// As [`write`], with pages of `page_rows` spans or traces.
pub(crate) fn write_pages<T: Borrow<SpanTable>, W: Write + Send>(
    rows: impl IntoIterator<Item = (T, u32)>,
    options: &WriteOptions,
    tenant: &Tenant,
    id: BlockId,
    sink: W,
    page_rows: usize,
) -> Result<Written, BlockError> {
    let rows: Vec<_> = rows.into_iter().collect();
    let dedicated = options.dedicated.columns(options.version, &rows);
    let mut writer = Writer::new(options, dedicated, tenant, id, sink, page_rows)?;
    for (table, row) in rows {
        writer.push(table, row)?;
    }
    writer.finish()
}

/// A block that is written trace by trace, for who has no iterator to hand over.
pub(crate) struct Writer<T, W: Write + Send> {
    file: File<W>,
    group: Group<T>,
    seen: Seen,
    options: WriteOptions,
    dedicated: Vec<DedicatedColumn>,
    tenant: Tenant,
    id: BlockId,
}

impl<T: Borrow<SpanTable>, W: Write + Send> Writer<T, W> {
    /// With these dedicated columns, whatever the options say of them, and pages of `page_rows` spans or
    /// traces.
    pub(crate) fn new(
        options: &WriteOptions,
        dedicated: Vec<DedicatedColumn>,
        tenant: &Tenant,
        id: BlockId,
        sink: W,
        page_rows: usize,
    ) -> Result<Self, BlockError> {
        let schema = Schema::checked(options.version, &dedicated)?;
        let (file, group) = (File::new(&schema, sink)?, Group::new(&schema, page_rows)?);
        let (options, tenant) = (options.clone(), tenant.clone());
        Ok(Self { file, group, seen: Seen::default(), options, dedicated, tenant, id })
    }

    /// Takes the next trace. Its table is held no longer than one page beyond the last that it is in.
    pub(crate) fn push(&mut self, table: T, row: u32) -> Result<(), BlockError> {
        self.seen.add(table.borrow(), row)?;
        self.group.push(table, row)?;
        if self.group.estimate() > self.options.row_group_bytes || self.group.held() > MAX_HELD {
            self.file.add(&mut self.group, &mut self.seen)?;
        }
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<Written, BlockError> {
        if self.group.rows() > 0 {
            self.file.add(&mut self.group, &mut self.seen)?;
        }
        let (row_groups, size, footer_size) = self.file.finish()?;
        let sketch = self.group.sketch(size).encode()?;
        let (seen, options) = (self.seen, self.options);
        let bloom = Bloom::build(&seen.ids, options.bloom);
        let (start, end) = seen.seconds()?;
        let meta = Meta {
            format: options.version.name().to_owned(),
            id: self.id,
            tenant: self.tenant,
            start,
            end,
            traces: seen.ids.len() as u64,
            size,
            compaction_level: options.compaction_level,
            index_page_size: 0,
            row_groups,
            bloom_shards: bloom.len() as u32,
            footer_size,
            dedicated: self.dedicated,
            replication_factor: 1,
            compacted: None,
            retained: None,
            replaces: Vec::new(),
            continued: 0,
        };
        let extra = vec![(Sketch::NAME, sketch.into())];
        Ok(Written { meta, bloom, index: seen.index(), extra })
    }
}

/// What is remembered of the rows for the files beside the data.
#[derive(Default)]
struct Seen {
    ids: Vec<TraceId>,
    /// Last id of each row group.
    last: Vec<TraceId>,
    start: Option<u64>,
    end: u64,
}

impl Seen {
    fn add(&mut self, table: &SpanTable, row: u32) -> Result<(), BlockError> {
        let traces = &table.traces;
        let at = row as usize;
        let (Some(&next), Some(&start), Some(&end)) =
            (traces.id.get(at), traces.start.get(at), traces.end.get(at))
        else {
            return Err(BlockError::Row { traces: table.trace_count(), row });
        };
        if let Some(&last) = self.ids.last()
            && last >= next
        {
            return Err(BlockError::Order { last, next });
        }
        self.ids.push(next);
        self.start = Some(self.start.map_or(start, |first| first.min(start)));
        self.end = self.end.max(end);
        Ok(())
    }

    /// Start and end in whole seconds, so that all spans lie within.
    fn seconds(&self) -> Result<(Timestamp, Timestamp), BlockError> {
        let nanos = 1_000_000_000;
        let time = |seconds: u64| {
            // The largest u64 of nanoseconds is in the year 2554, which a timestamp holds.
            Timestamp::from_second(seconds.cast_signed())
                .map_err(|error| BlockError::corrupt("trace times", error.to_string()))
        };
        let start = self.start.ok_or(BlockError::Empty)?;
        Ok((time(start / nanos)?, time(self.end.max(start).div_ceil(nanos))?))
    }

    /// The file `index`, as Tempo writes it.
    fn index(&self) -> Bytes {
        let ids: Vec<_> = self.last.iter().map(|id| format!("\"{}\"", STANDARD.encode(id.0))).collect();
        format!("{{\"rowGroups\":[{}]}}", ids.join(",")).into()
    }
}

/// data.parquet while it is written.
struct File<W: Write + Send> {
    writer: SerializedFileWriter<Trailing<W>>,
    row_groups: u32,
}

/// A sink of which the last eight bytes are remembered: they end with the footer's length.
struct Trailing<W> {
    sink: W,
    last: [u8; 8],
}

impl<W: Write> Write for Trailing<W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.sink.write(buffer)?;
        let kept = written.min(8);
        self.last.rotate_left(kept);
        let new = buffer.get(written - kept..written).unwrap_or_default();
        self.last.iter_mut().rev().zip(new.iter().rev()).for_each(|(to, from)| *to = *from);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

impl<W: Write + Send> File<W> {
    fn new(schema: &Schema, sink: W) -> Result<Self, BlockError> {
        let properties = WriterProperties::builder()
            .set_created_by(concat!("vivace version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .build();
        let sink = Trailing { sink, last: [0; 8] };
        let writer = SerializedFileWriter::new(sink, schema.parquet()?, Arc::new(properties));
        Ok(Self { writer: writer.map_err(failed)?, row_groups: 0 })
    }

    /// Writes a row group out, and empties it.
    fn add<T: Borrow<SpanTable>>(&mut self, group: &mut Group<T>, seen: &mut Seen) -> Result<(), BlockError> {
        let columns = self.writer.schema_descr().columns().to_vec();
        let mut writer = self.writer.next_row_group().map_err(failed)?;
        group.end(&columns, |bytes, close| writer.append_column(&bytes, close).map_err(failed))?;
        writer.close().map_err(failed)?;
        self.row_groups += 1;
        seen.last.extend(seen.ids.last().copied());
        Ok(())
    }

    /// Row groups, length of the file, and length of its footer.
    fn finish(mut self) -> Result<(u32, u64, u32), BlockError> {
        self.writer.finish().map_err(failed)?;
        let size = self.writer.bytes_written() as u64;
        let [a, b, c, d, ..] = self.writer.inner().last;
        Ok((self.row_groups, size, u32::from_le_bytes([a, b, c, d])))
    }
}

/// Errors of the Parquet writer, of which those of the sink are told apart.
fn failed(error: parquet::errors::ParquetError) -> BlockError {
    match error {
        parquet::errors::ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => BlockError::Sink(*error),
            Err(source) => BlockError::Parquet(parquet::errors::ParquetError::External(source)),
        },
        error => BlockError::Parquet(error),
    }
}
