//! data.parquet, read with the Parquet crate and not with our own reader: a second opinion on the same bytes. IO.
//!
//! One column of one row group is held at a time.

use std::{
    io::{Cursor, Read},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader},
    data_type::{ByteArray, DataType},
    errors::{ParquetError, Result},
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};
use tracing_core::store::{DATA, Objects};

use super::survey::Block;

/// Longest footer that is read, in bytes.
const MAX_FOOTER: u64 = 1 << 30;
/// Rows that are decoded at a time.
const ROWS_AT_ONCE: usize = 16 << 10;

/// A block's data, its footer read.
pub(super) struct Data {
    objects: Objects,
    key: String,
    /// Length of the file in bytes.
    pub(super) size: u64,
    /// Length of the footer in bytes, its 8 trailing bytes not counted.
    pub(super) footer: u64,
    pub(super) meta: ParquetMetaData,
}

/// A decoded column of a row group.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) def: Vec<i16>,
    pub(super) rep: Vec<i16>,
    pub(super) values: Values,
}

/// Its values, those that are null left out.
#[derive(Debug)]
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Bool(Vec::new())
    }
}

impl Data {
    /// Reads the footer of a block's data.
    pub(super) async fn open(objects: &Objects, block: &Block) -> anyhow::Result<Self> {
        let size = *block.seen.objects.get(DATA).with_context(|| format!("no {DATA}"))?;
        ensure!(size >= 12, "{DATA}: {size} bytes, expected a Parquet file");
        let (objects, key) = (objects.clone(), block.key(DATA));
        let trailer = objects.get_range(&key, size - 8..size).await?;
        let (length, magic) = trailer.split_at_checked(4).unwrap_or_default();
        ensure!(magic == b"PAR1", "{DATA}: no Parquet file: PAR1 expected at its end");
        let footer = u64::from(u32::from_le_bytes(length.try_into().unwrap_or_default()));
        ensure!(footer <= MAX_FOOTER, "{DATA}: footer of {footer} bytes, the limit is {MAX_FOOTER}");
        ensure!(footer + 12 <= size, "{DATA}: footer of {footer} bytes in a file of {size}");
        let bytes = objects.get_range(&key, size - 8 - footer..size - 8).await?;
        let meta =
            guarded(|| ParquetMetaDataReader::decode_metadata(&bytes)).context("footer of data.parquet")?;
        Ok(Self { objects, key, size, footer, meta })
    }

    /// Where the footer starts.
    pub(super) fn end(&self) -> u64 {
        self.size - 8 - self.footer
    }

    /// Bytes of the file.
    pub(super) async fn bytes(&self, range: Range<u64>) -> anyhow::Result<Bytes> {
        ensure!(range.start <= range.end && range.end <= self.size, "{range:?} of a file of {}", self.size);
        Ok(self.objects.get_range(&self.key, range).await?)
    }

    /// Spans, as the footer counts them.
    pub(super) fn spans(&self) -> u64 {
        let columns = self.meta.row_groups().iter().flat_map(RowGroupMetaData::columns);
        let ids = columns.filter(|column| bare(&column.column_path().string()).ends_with("ss.Spans.SpanID"));
        ids.map(|column| column.num_values().max(0) as u64).sum()
    }
}

/// A column's path without the groups that only make a list: the same for both formats.
pub(super) fn bare(path: &str) -> String {
    path.replace(".list.element", "").replace(".key_value", "")
}

/// The bytes of a column chunk in the file, or `None` where the footer's numbers are none.
pub(super) fn range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = match column.dictionary_page_offset() {
        // Some writers say 0 for none.
        Some(at) if at > 0 => at.min(column.data_page_offset()),
        _ => column.data_page_offset(),
    };
    let start = u64::try_from(start).ok()?;
    Some(start..start.checked_add(u64::try_from(column.compressed_size()).ok()?)?)
}

/// Decodes a column chunk whose bytes start at `start` of the file.
pub(super) fn decode(
    column: &ColumnChunkMetaData,
    rows: usize,
    start: u64,
    bytes: Bytes,
) -> anyhow::Result<Decoded> {
    let held = Held { start, bytes };
    guarded(|| {
        let pages = SerializedPageReader::new(Arc::new(held), column, rows, None)?;
        let mut out = Decoded::default();
        let (def, rep) = (&mut out.def, &mut out.rep);
        out.values = match get_column_reader(column.column_descr_ptr(), Box::new(pages)) {
            ColumnReader::BoolColumnReader(reader) => Values::Bool(all(reader, def, rep)?),
            ColumnReader::Int32ColumnReader(reader) => Values::Int32(all(reader, def, rep)?),
            ColumnReader::Int64ColumnReader(reader) => Values::Int64(all(reader, def, rep)?),
            ColumnReader::DoubleColumnReader(reader) => Values::Double(all(reader, def, rep)?),
            ColumnReader::ByteArrayColumnReader(reader) => Values::Bytes(all(reader, def, rep)?),
            _ => {
                return Err(ParquetError::General(format!(
                    "{} has no place in a block",
                    column.column_type()
                )));
            }
        };
        Ok(out)
    })
}

fn all<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    def: &mut Vec<i16>,
    rep: &mut Vec<i16>,
) -> Result<Vec<T::T>> {
    let mut values = Vec::new();
    while reader.read_records(ROWS_AT_ONCE, Some(def), Some(rep), &mut values)?.0 > 0 {}
    Ok(values)
}

/// The Parquet crate reads what others wrote, and may panic on what nobody would write.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> anyhow::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Ok(done?),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            anyhow::bail!("cannot be decoded: {}", text.unwrap_or("the decoder gave up"))
        }
    }
}

/// A part of the file.
struct Held {
    start: u64,
    bytes: Bytes,
}

impl Held {
    fn from(&self, start: u64) -> Result<Bytes> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..)).ok_or_else(|| ParquetError::EOF(format!("no bytes at {start}")))
    }
}

impl Length for Held {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Held {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.from(start).map(Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length.min(self.bytes.len())];
        let mut from = self.get_read(start)?;
        let read = from.read_exact(&mut bytes);
        read.map_err(|_| ParquetError::EOF(format!("{length} bytes at {start}")))?;
        if bytes.len() == length {
            Ok(bytes.into())
        } else {
            Err(ParquetError::EOF(format!("{length} bytes")))
        }
    }
}
