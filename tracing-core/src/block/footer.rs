//! The end of data.parquet: where each column of each row group lies. Only what reading needs is kept.
//!
//! Guarantees: every range that comes out of here lies within the file's data, before its footer.

use std::ops::Range;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{
    BlockError, Meta,
    schema::{Kind, Leaf, Schema, Spec},
    thrift::{Fields, Reader, Wire},
};
use crate::model::TraceId;

/// What the end of data.parquet says: decoded once, kept in memory, shared by all scans of the block.
#[derive(Debug)]
pub struct Footer {
    schema: Schema,
    /// The columns this block has, and which of its columns each is.
    columns: FxHashMap<Leaf, (usize, Spec)>,
    pub(crate) row_groups: Vec<RowGroup>,
    tail: Tail,
}

/// One row group.
#[derive(Debug)]
pub(crate) struct RowGroup {
    pub(crate) rows: u64,
    chunks: Vec<Chunk>,
}

/// One column of a row group.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// All its pages.
    pub(crate) range: Range<u64>,
    /// Where the dictionary page lies, which is then the first.
    pub(crate) dictionary: Option<Range<u64>>,
    pub(crate) codec: Codec,
    /// Values and nulls, which is what its pages count.
    pub(crate) values: u64,
    pub(crate) offset_index: Option<Range<u64>>,
    pub(crate) column_index: Option<Range<u64>>,
    /// First and last trace id, of the column that holds them.
    pub(crate) bounds: Option<(TraceId, TraceId)>,
    /// How many of the values are nulls, where the file says it.
    pub(crate) nulls: Option<u64>,
    /// Of numbers: whether all that are there are 0, or false, by the file's statistics.
    pub(crate) zeros: bool,
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Snappy,
    Zstd,
}

/// A data page's range in the file, and the first row it holds.
pub(crate) type PagePlace = (Range<u64>, u64);

/// The last bytes of the file, as they were fetched.
#[derive(Debug)]
struct Tail {
    start: u64,
    bytes: Bytes,
}

const PART: &str = "footer of data.parquet";
/// Longest footer that is read, in bytes: some 50,000 row groups.
const MAX_FOOTER: u64 = 1 << 30;
/// Most values (nulls included) that one column of a row group may hold.
const MAX_VALUES: u64 = 1 << 26;

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
    /// [`BlockError::Format`] for formats that are not read here, else [`BlockError::Corrupt`] and
    /// [`BlockError::Limit`].
    pub fn decode(meta: &Meta, tail: Bytes) -> Result<Self, BlockError> {
        let ours = Schema::new(meta.version()?, &meta.dedicated);
        let corrupt = |reason: String| BlockError::corrupt(PART, reason);
        let trailer = tail.len().checked_sub(8).and_then(|at| Some((at, tail.get(at..)?)));
        let Some((end, [a, b, c, d, b'P', b'A', b'R', b'1'])) = trailer else {
            return Err(corrupt("no Parquet file: PAR1 expected at its end".to_owned()));
        };
        let length = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
        if length > MAX_FOOTER {
            let limit = MAX_FOOTER;
            return Err(BlockError::Limit {
                part: PART.to_owned(),
                what: "its length",
                found: length,
                limit,
            });
        }
        let start = end.checked_sub(length as usize);
        let Some((start, bytes)) = start.and_then(|start| Some((start, tail.get(start..end)?))) else {
            return Err(corrupt(format!("{length} bytes long, {end} were fetched")));
        };
        let Some(tail_start) = meta.size.checked_sub(tail.len() as u64) else {
            return Err(corrupt(format!("file of {} bytes, {} were fetched", meta.size, tail.len())));
        };
        let (schema, groups) = file_metadata(bytes, tail_start + start as u64)?;
        let columns = resolve(&ours, &schema)?;
        let wrong = groups.iter().find(|group| group.chunks.len() != schema.len());
        if let Some(group) = wrong {
            return Err(corrupt(format!("{} columns, the schema has {}", group.chunks.len(), schema.len())));
        }
        Ok(Self { schema: ours, columns, row_groups: groups, tail: Tail { start: tail_start, bytes: tail } })
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let chunks: usize = self.row_groups.iter().map(|group| group.chunks.len()).sum();
        self.tail.bytes.len() + chunks * size_of::<Chunk>() + self.columns.len() * 160
    }

    /// Number of row groups.
    #[must_use]
    pub fn row_groups(&self) -> usize {
        self.row_groups.len()
    }

    /// Traces in the block.
    #[must_use]
    pub fn traces(&self) -> u64 {
        self.row_groups.iter().fold(0, |sum: u64, group| sum.saturating_add(group.rows))
    }

    /// The columns that a block of this format and these dedicated columns has.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The column, in row group `group`.
    pub(crate) fn chunk(&self, group: usize, leaf: Leaf) -> Result<(&Spec, &Chunk), BlockError> {
        let (column, spec) = self
            .columns
            .get(&leaf)
            .ok_or_else(|| BlockError::corrupt("data.parquet", format!("column of {leaf:?} is missing")))?;
        let chunk = self.row_groups.get(group).and_then(|group| group.chunks.get(*column));
        chunk.map(|chunk| (spec, chunk)).ok_or_else(|| BlockError::corrupt(PART, "no such row group"))
    }

    /// Whether a column of a row group holds no value at all, by its statistics.
    pub(crate) fn is_empty(&self, group: usize, leaf: Leaf) -> bool {
        self.chunk(group, leaf).is_ok_and(|(_, chunk)| chunk.nulls == Some(chunk.values))
    }

    /// Whether all numbers of a column of a row group are 0, by its statistics.
    pub(crate) fn is_zero(&self, group: usize, leaf: Leaf) -> bool {
        self.chunk(group, leaf)
            .is_ok_and(|(spec, chunk)| chunk.zeros && !matches!(spec.kind, Kind::Text | Kind::Id))
    }

    /// Bytes of the file that came with the footer.
    pub(crate) fn fetched(&self, range: &Range<u64>) -> Option<Bytes> {
        let from = usize::try_from(range.start.checked_sub(self.tail.start)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(self.tail.start)?).ok()?;
        (from <= to && to <= self.tail.bytes.len()).then(|| self.tail.bytes.slice(from..to))
    }
}

/// A column as the file's own schema describes it.
struct Column {
    path: String,
    physical: i64,
    def: u8,
    rep: u8,
}

/// Finds our columns among the file's, and holds their types and levels against what is expected.
fn resolve(ours: &Schema, columns: &[Column]) -> Result<FxHashMap<Leaf, (usize, Spec)>, BlockError> {
    let by_path: FxHashMap<_, _> =
        columns.iter().enumerate().map(|(at, c)| (c.path.as_str(), (at, c))).collect();
    let mut found = FxHashMap::default();
    for spec in ours.specs() {
        let Some((at, column)) = by_path.get(spec.path.as_str()) else { continue };
        let physical = match spec.kind {
            Kind::Bool => 0,
            Kind::Int32 | Kind::Uint32 => 1,
            Kind::Int64 | Kind::Uint64 => 2,
            Kind::Double => 5,
            Kind::Text | Kind::Id => 6,
        };
        let (is, expected) = ((column.physical, column.def, column.rep), (physical, spec.def, spec.rep));
        if is != expected {
            let reason = format!("(type, definition, repetition) is {is:?}, expected {expected:?}");
            return Err(BlockError::corrupt(format!("column {}", spec.path), reason));
        }
        found.insert(spec.leaf, (*at, spec.clone()));
    }
    Ok(found)
}

/// Columns and row groups of the file; no range of these reaches over `end`, the footer's start.
fn file_metadata(bytes: &[u8], end: u64) -> Result<(Vec<Column>, Vec<RowGroup>), BlockError> {
    let mut reader = Reader::new(bytes, PART);
    let (mut columns, mut groups) = (Vec::new(), Vec::new());
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (2, Wire::List) => columns = schema_tree(&mut reader)?,
            (4, Wire::List) => {
                let (_, count) = reader.list()?;
                for _ in 0..count {
                    groups.push(row_group(&mut reader, end)?);
                }
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok((columns, groups))
}

/// One element of the schema, which is a tree written depth first.
struct Element {
    name: String,
    physical: i64,
    repetition: i64,
    children: u64,
}

fn element(reader: &mut Reader<'_>) -> Result<Element, BlockError> {
    let mut element = Element { name: String::new(), physical: -1, repetition: 0, children: 0 };
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (1, Wire::Int) => element.physical = reader.int()?,
            (3, Wire::Int) => element.repetition = reader.int()?,
            (4, Wire::Binary) => element.name = String::from_utf8_lossy(reader.binary()?).into_owned(),
            (5, Wire::Int) => element.children = reader.count()?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(element)
}

/// Deepest schema that is read; vParquet4 has 14 groups within one another.
const MAX_GROUPS: usize = 32;

fn schema_tree(reader: &mut Reader<'_>) -> Result<Vec<Column>, BlockError> {
    let (_, count) = reader.list()?;
    let mut columns = Vec::new();
    // Groups that are open: children left, length of the path before, levels.
    let mut open: Vec<(u64, usize, u8, u8)> = Vec::new();
    let mut path = String::new();
    for at in 0..count {
        let element = element(reader)?;
        let (mut def, mut rep) = open.last().map_or((0, 0), |(.., def, rep)| (*def, *rep));
        let parent_path = path.len();
        if at > 0 {
            match open.last_mut() {
                Some((left, ..)) => *left = left.saturating_sub(1),
                None => return Err(reader.error("schema with more than one root")),
            }
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&element.name);
            def += u8::from(element.repetition != 0);
            rep += u8::from(element.repetition == 2);
        }
        if element.children > 0 {
            if open.len() == MAX_GROUPS {
                return Err(reader.error("schema nested too deeply"));
            }
            open.push((element.children, parent_path, def, rep));
            continue;
        }
        columns.push(Column { path: path.clone(), physical: element.physical, def, rep });
        path.truncate(parent_path);
        while let Some((0, before, ..)) = open.last() {
            path.truncate(*before);
            open.pop();
        }
    }
    Ok(columns)
}

fn row_group(reader: &mut Reader<'_>, end: u64) -> Result<RowGroup, BlockError> {
    let mut group = RowGroup { rows: 0, chunks: Vec::new() };
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (1, Wire::List) => {
                let (_, count) = reader.list()?;
                for _ in 0..count {
                    group.chunks.push(chunk(reader, end)?);
                }
            }
            (3, Wire::Int) => group.rows = reader.count()?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    if group.rows > MAX_VALUES {
        let part = PART.to_owned();
        return Err(BlockError::Limit {
            part,
            what: "rows of a group",
            found: group.rows,
            limit: MAX_VALUES,
        });
    }
    Ok(group)
}

/// A column chunk as it stands in the file.
#[derive(Default)]
struct RawChunk {
    codec: i64,
    values: u64,
    size: u64,
    data: u64,
    dictionary: u64,
    offset_index: (u64, u64),
    column_index: (u64, u64),
    bounds: (Option<TraceId>, Option<TraceId>),
    nulls: Option<u64>,
    /// Of the least and the greatest value, whether it is made of zeros alone.
    zeros: (bool, bool),
}

fn chunk(reader: &mut Reader<'_>, end: u64) -> Result<Chunk, BlockError> {
    let mut raw = RawChunk::default();
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (3, Wire::Struct) => chunk_metadata(reader, &mut raw)?,
            (4, Wire::Int) => raw.offset_index.0 = reader.count()?,
            (5, Wire::Int) => raw.offset_index.1 = reader.count()?,
            (6, Wire::Int) => raw.column_index.0 = reader.count()?,
            (7, Wire::Int) => raw.column_index.1 = reader.count()?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    raw.check(end)
}

fn chunk_metadata(reader: &mut Reader<'_>, raw: &mut RawChunk) -> Result<(), BlockError> {
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (4, Wire::Int) => raw.codec = reader.int()?,
            (5, Wire::Int) => raw.values = reader.count()?,
            (7, Wire::Int) => raw.size = reader.count()?,
            (9, Wire::Int) => raw.data = reader.count()?,
            (11, Wire::Int) => raw.dictionary = reader.count()?,
            (12, Wire::Struct) => {
                let mut fields = Fields::default();
                while let Some((id, wire)) = reader.field(&mut fields)? {
                    match (id, wire) {
                        (3, Wire::Int) => raw.nulls = Some(reader.count()?),
                        (5 | 6, Wire::Binary) => {
                            let value = reader.binary()?;
                            let zeros = !value.is_empty() && value.iter().all(|byte| *byte == 0);
                            let value = TraceId::from_slice(value).ok();
                            if id == 5 {
                                (raw.bounds.1, raw.zeros.1) = (value, zeros);
                            } else {
                                (raw.bounds.0, raw.zeros.0) = (value, zeros);
                            }
                        }
                        (_, wire) => reader.skip(wire)?,
                    }
                }
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(())
}

impl RawChunk {
    fn check(self, end: u64) -> Result<Chunk, BlockError> {
        let part = || PART.to_owned();
        let within = |start: u64, size: u64| {
            let range = start..start.saturating_add(size);
            (range.start >= 4 && range.end <= end).then_some(range)
        };
        let index = |(start, size)| if size == 0 { None } else { within(start, size) };
        let dictionary = self.dictionary > 0 && self.dictionary < self.data;
        let start = if dictionary { self.dictionary } else { self.data };
        let range = within(start, self.size).filter(|range| self.size == 0 || range.contains(&self.data));
        let range = range.ok_or_else(|| BlockError::corrupt(part(), "column outside the file's data"))?;
        if self.values > MAX_VALUES {
            let (found, limit) = (self.values, MAX_VALUES);
            return Err(BlockError::Limit { part: part(), what: "values of a column", found, limit });
        }
        let codec = match self.codec {
            0 => Codec::None,
            1 => Codec::Snappy,
            6 => Codec::Zstd,
            other => {
                let reason = format!("codec {other}, expected uncompressed, snappy or zstd");
                return Err(BlockError::corrupt(part(), reason));
            }
        };
        Ok(Chunk {
            dictionary: dictionary.then_some(self.dictionary..self.data),
            range,
            codec,
            values: self.values,
            offset_index: index(self.offset_index),
            column_index: index(self.column_index),
            bounds: self.bounds.0.zip(self.bounds.1),
            nulls: self.nulls,
            zeros: self.zeros.0 && self.zeros.1,
        })
    }
}

const OFFSET_INDEX: &str = "offset index";

/// A page as an offset index names it: first byte, bytes, first row of its row group.
type Entry = (u64, u64, u64);

/// Places of a column's data pages.
pub(crate) fn offset_index(bytes: &[u8], chunk: &Chunk) -> Result<Vec<PagePlace>, BlockError> {
    let mut pages: Vec<PagePlace> = Vec::new();
    each_page(bytes, |reader, (offset, size, row)| {
        let end = offset.saturating_add(size);
        let (before, first) = pages.last().map_or((chunk.range.start, 0), |(r, row)| (r.end, *row));
        if offset < before || end > chunk.range.end || row < first {
            return Err(reader.error("pages out of order or outside their column"));
        }
        pages.push((offset..end, row));
        Ok(())
    })?;
    if pages.first().is_some_and(|(_, row)| *row != 0) {
        return Err(BlockError::corrupt(OFFSET_INDEX, "the first page does not start at the first row"));
    }
    Ok(pages)
}

/// Calls `each` with the pages of an offset index, in its order.
pub(crate) fn each_page(
    bytes: &[u8],
    mut each: impl FnMut(&Reader<'_>, Entry) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    let mut reader = Reader::new(bytes, OFFSET_INDEX);
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        if (id, wire) != (1, Wire::List) {
            reader.skip(wire)?;
            continue;
        }
        for _ in 0..reader.list()?.1 {
            let (mut offset, mut size, mut row) = (0, 0, 0);
            let mut fields = Fields::default();
            while let Some((id, wire)) = reader.field(&mut fields)? {
                match (id, wire) {
                    (1, Wire::Int) => offset = reader.count()?,
                    (2, Wire::Int) => size = reader.count()?,
                    (3, Wire::Int) => row = reader.count()?,
                    (_, wire) => reader.skip(wire)?,
                }
            }
            each(&reader, (offset, size, row))?;
        }
    }
    Ok(())
}

/// First and last trace id of each page, from the column index of the column that holds them; empty where
/// a page has none.
pub(crate) fn page_bounds(bytes: &[u8]) -> Result<Vec<Option<(TraceId, TraceId)>>, BlockError> {
    let mut reader = Reader::new(bytes, "column index");
    let mut bounds: [Vec<Option<TraceId>>; 2] = Default::default();
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (2 | 3, Wire::List) => {
                for _ in 0..reader.list()?.1 {
                    let id_of_page = TraceId::from_slice(reader.binary()?).ok();
                    if let Some(bounds) = bounds.get_mut((id - 2) as usize) {
                        bounds.push(id_of_page);
                    }
                }
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    let [first, last] = bounds;
    Ok(first.into_iter().zip(last).map(|(first, last)| first.zip(last)).collect())
}
