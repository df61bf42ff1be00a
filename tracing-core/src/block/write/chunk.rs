//! One column of one row group: its pages, dictionary, statistics and page index.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::{BoundaryOrder, Compression, Encoding, Type, ZstdLevel},
    column::writer::ColumnCloseResult,
    data_type::ByteArray,
    file::{
        metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder},
        statistics::{Statistics, ValueStatistics},
    },
    schema::types::ColumnDescPtr,
};

use super::{
    pending::{PageSize, Pending},
    press::{Effort, Press},
};
use crate::{
    block::{
        BlockError, encode,
        schema::{Kind, Leaf, Part, Spec},
        thrift::put_ints,
    },
    table::{Code, Strings},
};

/// Bytes of a dictionary above which further pages hold their text themselves. A lookup decodes the whole
/// dictionary for one row.
const MAX_DICTIONARY: usize = 128 << 10;
/// Longest text that statistics hold; longer ones are cut, with bounds that still hold.
const MAX_BOUND: usize = 64;
/// A column that grows page by page.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) spec: Arc<Spec>,
    dictionary: Dictionary,
    pending: Pending,
    page_size: PageSize,
    body: Vec<u8>,
    pages: Vec<Page>,
    uncompressed: usize,
    entries: usize,
    /// Bytes of text that were taken verbatim.
    taken: usize,
}

/// What the page index says of a page.
#[derive(Debug)]
struct Page {
    size: usize,
    rows: usize,
    nulls: usize,
    /// Whether it has no value at all. One with values may still have no bounds.
    is_null: bool,
    bounds: Option<Bounds>,
    encoding: Encoding,
}

/// Least and greatest value, as statistics hold them.
#[derive(Clone, Debug)]
enum Bounds {
    Int(i64, i64),
    Uint(u64, u64),
    Double(f64, f64),
    Bool(bool, bool),
    Bytes(Vec<u8>, Vec<u8>),
}

/// The values of a page.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// Codes of the row group's strings.
    Text(&'a [u32]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    /// Bits of floats.
    Double(&'a [u64]),
    Bool(&'a [bool]),
    /// Ids and other bytes that are not worth a dictionary.
    Bytes(Vec<&'a [u8]>),
    /// Text of a column that has given up its dictionary ([`Chunk::takes_text`]).
    Verbatim(Vec<&'a [u8]>),
}

/// The strings of a column in the order of their first use.
#[derive(Debug, Default)]
struct Dictionary {
    /// Index of each code, plus one; in leaves, as a column has but some of a row group's strings.
    index: Vec<Option<Box<[u32; LEAF]>>>,
    codes: Vec<u32>,
    bytes: usize,
    /// For each entry, the last page it was seen in.
    seen: Vec<u32>,
    /// Whether it grew too large, and later pages hold their text themselves.
    left: bool,
}

const LEAF: usize = 512;

impl Dictionary {
    /// The index of a code, which is added when it is new.
    fn index(&mut self, code: u32, strings: &Strings) -> u32 {
        let (leaf, slot) = (code as usize / LEAF, code as usize % LEAF);
        if leaf >= self.index.len() {
            self.index.resize_with(leaf + 1, || None);
        }
        let Some(leaf) = self.index.get_mut(leaf) else { return 0 };
        let leaf = leaf.get_or_insert_with(|| Box::new([0; LEAF]));
        let known = &mut leaf[slot];
        if *known == 0 {
            self.codes.push(code);
            self.seen.push(u32::MAX);
            self.bytes += strings.text(Code(code)).len() + 4;
            *known = self.codes.len() as u32;
        }
        *known - 1
    }
}

impl Chunk {
    /// That is given so many rows at a time.
    pub(super) fn new(spec: Arc<Spec>, rows: usize) -> Self {
        Self {
            page_size: PageSize::of(&spec, rows),
            spec,
            dictionary: Dictionary::default(),
            pending: Pending::default(),
            body: Vec::new(),
            pages: Vec::new(),
            uncompressed: 0,
            entries: 0,
            taken: 0,
        }
    }

    /// Whether its dictionary is too large by now, so that what it is given is written as it is.
    pub(super) fn takes_text(&self) -> bool {
        self.dictionary.bytes > MAX_DICTIONARY
    }

    /// Bytes held, and half of those of text that was taken verbatim: what searches keep of a row group grows with them.
    pub(super) fn held(&self) -> usize {
        self.body.len() + self.pending.held() + self.taken / 2
    }

    /// Takes in `rows` traces with these levels, and makes a page where there is enough for one.
    pub(super) fn push(
        &mut self,
        press: &mut Press,
        strings: &Strings,
        rows: usize,
        (rep, def): (&[u8], &[u8]),
        values: &Values<'_>,
    ) -> Result<(), BlockError> {
        let text = match values {
            Values::Text(codes) => !codes.is_empty(),
            Values::Verbatim(texts) => !texts.is_empty(),
            _ => false,
        };
        let plain = self.takes_text();
        if text && plain && !self.dictionary.left {
            self.flush(press, strings)?;
            self.dictionary.left = true;
        }
        let pending = &mut self.pending;
        pending.rows += rows;
        pending.entries += rep.len();
        pending.rep.extend_from_slice(if self.spec.rep > 0 { rep } else { &[] });
        pending.def.extend_from_slice(if self.spec.def > 0 { def } else { &[] });
        match values {
            Values::Text(codes) if plain => {
                pending.extend(values);
                for code in *codes {
                    pending.bytes += strings.text(Code(*code)).len();
                    pending.bound(*code, strings);
                }
            }
            Values::Text(codes) => {
                let page = self.pages.len() as u32;
                for &code in *codes {
                    let index = self.dictionary.index(code, strings);
                    pending.codes.push(index);
                    // Bounds are of the distinct values only.
                    if let Some(seen) = self.dictionary.seen.get_mut(index as usize)
                        && *seen != page
                    {
                        *seen = page;
                        pending.bound(code, strings);
                    }
                }
                pending.bytes += 2 * codes.len();
            }
            values => {
                if let Values::Verbatim(texts) = values {
                    self.taken += texts.iter().map(|text| text.len()).sum::<usize>();
                }
                pending.extend(values);
            }
        }
        if self.pending.is_full(self.page_size) {
            self.flush(press, strings)?;
        }
        Ok(())
    }

    /// Makes a page of what was taken in.
    fn flush(&mut self, press: &mut Press, strings: &Strings) -> Result<(), BlockError> {
        if self.pending.rows == 0 {
            return Ok(());
        }
        press.raw.clear();
        if self.spec.rep > 0 {
            encode::levels(&mut press.raw, &self.pending.rep, self.spec.rep);
        }
        if self.spec.def > 0 {
            encode::levels(&mut press.raw, &self.pending.def, self.spec.def);
        }
        let (encoding, bounds) = self.encode(&mut press.raw, strings);
        let number = match encoding {
            Encoding::RLE_DICTIONARY => 8,
            Encoding::DELTA_BINARY_PACKED => 5,
            Encoding::DELTA_LENGTH_BYTE_ARRAY => 6,
            _ => 0,
        };
        let Pending { rows, entries, .. } = self.pending;
        let mut header = vec![0x2c];
        put_ints(&mut header, &[entries as i64, number, 3, 3]);
        header.extend_from_slice(&[0, 0]);
        let before = self.body.len();
        let effort = self.effort(encoding);
        self.uncompressed += press.page(&mut self.body, 0, &header, effort)?;
        self.entries += entries;
        let nulls = entries - self.pending.values();
        let is_null = nulls == entries;
        self.pages.push(Page { size: self.body.len() - before, rows, nulls, is_null, bounds, encoding });
        self.pending.clear();
        Ok(())
    }

    fn effort(&self, encoding: Encoding) -> Effort {
        match self.spec.leaf {
            Leaf::TraceIdText | Leaf::Attribute(_, Part::Int) => Effort::Noise,
            Leaf::Start | Leaf::Duration => Effort::Times,
            _ if self.spec.kind == Kind::Id => Effort::Ids,
            _ if self.spec.kind == Kind::Text && encoding != Encoding::RLE_DICTIONARY => Effort::Text,
            _ => Effort::Numbers,
        }
    }

    fn encode(&self, out: &mut Vec<u8>, strings: &Strings) -> (Encoding, Option<Bounds>) {
        let pending = &self.pending;
        match self.spec.kind {
            Kind::Int32 | Kind::Uint32 => {
                encode::delta(out, &pending.int32);
                let wide = pending.int32.iter().map(|value| i64::from(*value));
                (Encoding::DELTA_BINARY_PACKED, self.int_bounds(wide))
            }
            Kind::Int64 | Kind::Uint64 if self.is_plain() => {
                out.extend(pending.int64.iter().flat_map(|value| value.to_le_bytes()));
                (Encoding::PLAIN, self.int_bounds(pending.int64.iter().copied()))
            }
            Kind::Int64 | Kind::Uint64 => {
                encode::delta(out, &pending.int64);
                (Encoding::DELTA_BINARY_PACKED, self.int_bounds(pending.int64.iter().copied()))
            }
            Kind::Double => {
                pending.double.iter().for_each(|bits| out.extend_from_slice(&bits.to_le_bytes()));
                (Encoding::PLAIN, double_bounds(&pending.double))
            }
            Kind::Bool => {
                encode::plain_bools(out, &pending.bool);
                let all = pending.bool.iter().all(|value| *value);
                let bounds = Bounds::Bool(all, pending.bool.contains(&true));
                (Encoding::PLAIN, (!pending.bool.is_empty()).then_some(bounds))
            }
            Kind::Text | Kind::Id if pending.codes.is_empty() => {
                let bounds = pending.slices().min().zip(pending.slices().max());
                let bounds = bounds.filter(|_| !self.spec.blob);
                let bounds = bounds.map(|(min, max)| Bounds::Bytes(min.to_vec(), max.to_vec()));
                if self.dictionary.left {
                    pending.slices().for_each(|text| encode::plain_bytes(out, text));
                    return (Encoding::PLAIN, bounds);
                }
                encode::delta_length(out, pending.slices());
                (Encoding::DELTA_LENGTH_BYTE_ARRAY, bounds)
            }
            Kind::Text | Kind::Id => self.text(out, strings),
        }
    }

    /// Integers that compress better as they are: those of attributes of all kinds in turn, and times, which
    /// differ within a trace by less than between two, so that a run of differences takes the width of these.
    fn is_plain(&self) -> bool {
        use Leaf::{Attribute, Duration, Slot, Start};
        matches!(self.spec.leaf, Attribute(..) | Slot(..) | Start | Duration)
    }

    fn text(&self, out: &mut Vec<u8>, strings: &Strings) -> (Encoding, Option<Bounds>) {
        let text = |code: u32| strings.text(Code(code)).as_bytes();
        let bounds = self.pending.bounds.map(|(min, max)| Bounds::Bytes(text(min).into(), text(max).into()));
        if self.dictionary.left {
            self.pending.codes.iter().for_each(|code| encode::plain_bytes(out, text(*code)));
            return (Encoding::PLAIN, bounds);
        }
        let width = encode::width((self.dictionary.codes.len() as u32).saturating_sub(1));
        // Whole bytes compress better than what lies across them.
        let width = if width > 2 { width.next_multiple_of(8) } else { width };
        out.push(width);
        encode::hybrid(out, &self.pending.codes, width);
        (Encoding::RLE_DICTIONARY, bounds)
    }

    fn int_bounds(&self, values: impl Iterator<Item = i64> + Clone) -> Option<Bounds> {
        if matches!(self.spec.kind, Kind::Uint32 | Kind::Uint64) {
            let values = values.map(i64::cast_unsigned);
            return Some(Bounds::Uint(values.clone().min()?, values.max()?));
        }
        Some(Bounds::Int(values.clone().min()?, values.max()?))
    }

    /// The column as it goes into the file, and its metadata.
    pub(super) fn finish(
        mut self,
        press: &mut Press,
        strings: &Strings,
        column: &ColumnDescPtr,
        rows: usize,
    ) -> Result<(Bytes, ColumnCloseResult), BlockError> {
        self.flush(press, strings)?;
        let (mut bytes, mut uncompressed) = (Vec::new(), self.uncompressed);
        let codes = &self.dictionary.codes;
        if !codes.is_empty() {
            press.raw.clear();
            for code in codes {
                encode::plain_bytes(&mut press.raw, strings.text(Code(*code)).as_bytes());
            }
            let mut header = vec![0x4c];
            put_ints(&mut header, &[codes.len() as i64, 0]);
            header.extend_from_slice(&[0, 0]);
            uncompressed += press.page(&mut bytes, 2, &header, Effort::Text)?;
        }
        let dictionary = bytes.len();
        bytes.extend_from_slice(&self.body);
        let mut encodings = vec![Encoding::RLE];
        encodings.extend((dictionary > 0).then_some(Encoding::PLAIN));
        encodings.extend(self.pages.iter().map(|page| page.encoding));
        let zstd = Compression::ZSTD(ZstdLevel::try_new(Effort::Text.level()).map_err(BlockError::Parquet)?);
        let mut metadata = ColumnChunkMetaData::builder(Arc::clone(column))
            .set_encodings(encodings)
            .set_compression(zstd)
            .set_num_values(self.entries as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_data_page_offset(dictionary as i64)
            .set_dictionary_page_offset((dictionary > 0).then_some(0));
        if let Some(statistics) = self.statistics() {
            metadata = metadata.set_statistics(statistics);
        }
        let result = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build().map_err(BlockError::Parquet)?,
            bloom_filter: None,
            column_index: Some(self.column_index(column.physical_type())?),
            offset_index: Some(self.offset_index(dictionary)),
        };
        Ok((bytes.into(), result))
    }

    fn statistics(&self) -> Option<Statistics> {
        let nulls = Some(self.pages.iter().map(|page| page.nulls as u64).sum());
        let bounds = self.pages.iter().filter_map(|page| page.bounds.as_ref());
        let bounds = bounds.cloned().reduce(Bounds::join);
        let is_32 = matches!(self.spec.kind, Kind::Int32 | Kind::Uint32);
        Some(match bounds {
            None => match self.spec.kind.physical() {
                Type::BYTE_ARRAY => Statistics::new::<ByteArray>(None, None, None, nulls, false),
                Type::INT32 => Statistics::new::<i32>(None, None, None, nulls, false),
                Type::INT64 => Statistics::new::<i64>(None, None, None, nulls, false),
                Type::DOUBLE => Statistics::new::<f64>(None, None, None, nulls, false),
                Type::BOOLEAN => Statistics::new::<bool>(None, None, None, nulls, false),
                _ => return None,
            },
            Some(Bounds::Int(min, max)) if is_32 => {
                Statistics::new(Some(min as i32), Some(max as i32), None, nulls, false)
            }
            Some(Bounds::Uint(min, max)) if is_32 => {
                Statistics::new(Some(min as i32), Some(max as i32), None, nulls, false)
            }
            Some(Bounds::Int(min, max)) => Statistics::new(Some(min), Some(max), None, nulls, false),
            Some(Bounds::Uint(min, max)) => {
                Statistics::new(Some(min.cast_signed()), Some(max.cast_signed()), None, nulls, false)
            }
            Some(Bounds::Double(min, max)) => Statistics::new(Some(min), Some(max), None, nulls, false),
            Some(Bounds::Bool(min, max)) => Statistics::new(Some(min), Some(max), None, nulls, false),
            Some(Bounds::Bytes(min, max)) => {
                let exact = (min.len() <= MAX_BOUND, max.len() <= MAX_BOUND);
                let max = most(&max).unwrap_or(max);
                let (min, max) = (ByteArray::from(least(&min)), ByteArray::from(max));
                let statistics = ValueStatistics::new(Some(min), Some(max), None, nulls, false);
                statistics.with_min_is_exact(exact.0).with_max_is_exact(exact.1).into()
            }
        })
    }

    fn column_index(
        &self,
        physical: Type,
    ) -> Result<parquet::file::page_index::column_index::ColumnIndexMetaData, BlockError> {
        let mut index = ColumnIndexBuilder::new(physical);
        for page in &self.pages {
            let (min, max) = match &page.bounds {
                Some(bounds) => bounds.bytes(self.spec.kind),
                None => Default::default(),
            };
            index.append(page.is_null, min, max, page.nulls as i64, None);
        }
        if self.spec.leaf == Leaf::TraceId {
            index.set_boundary_order(BoundaryOrder::ASCENDING);
        }
        index.build().map_err(BlockError::Parquet)
    }

    fn offset_index(
        &self,
        dictionary: usize,
    ) -> parquet::file::page_index::offset_index::OffsetIndexMetaData {
        let mut index = OffsetIndexBuilder::new();
        let mut at = dictionary;
        for page in &self.pages {
            index.append_offset_and_size(at as i64, page.size as i32);
            index.append_row_count(page.rows as i64);
            at += page.size;
        }
        index.build()
    }
}

impl Bounds {
    /// The bounds of both; they are of one column and so of one type.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int(a, b), Self::Int(c, d)) => Self::Int(a.min(c), b.max(d)),
            (Self::Uint(a, b), Self::Uint(c, d)) => Self::Uint(a.min(c), b.max(d)),
            (Self::Double(a, b), Self::Double(c, d)) => Self::Double(a.min(c), b.max(d)),
            (Self::Bool(a, b), Self::Bool(c, d)) => Self::Bool(a && c, b || d),
            (Self::Bytes(a, b), Self::Bytes(c, d)) => Self::Bytes(a.min(c), b.max(d)),
            (bounds, _) => bounds,
        }
    }

    /// As the page index holds them.
    fn bytes(&self, kind: Kind) -> (Vec<u8>, Vec<u8>) {
        let is_32 = matches!(kind, Kind::Int32 | Kind::Uint32);
        let number = |value: u64| value.to_le_bytes().into_iter().take(if is_32 { 4 } else { 8 }).collect();
        match self {
            Self::Int(min, max) => (number(min.cast_unsigned()), number(max.cast_unsigned())),
            Self::Uint(min, max) => (number(*min), number(*max)),
            Self::Double(min, max) => (min.to_le_bytes().into(), max.to_le_bytes().into()),
            Self::Bool(min, max) => (vec![u8::from(*min)], vec![u8::from(*max)]),
            // Without a bound of that length there is only the value itself.
            Self::Bytes(min, max) => (least(min), most(max).unwrap_or_else(|| max.clone())),
        }
    }
}

/// Bounds of floats: NaN is left out, and where there is nothing else all is possible.
fn double_bounds(values: &[u64]) -> Option<Bounds> {
    let numbers = values.iter().map(|bits| f64::from_bits(*bits)).filter(|value| !value.is_nan());
    let bounds = numbers.fold(None, |bounds: Option<(f64, f64)>, value| {
        let (min, max) = bounds.unwrap_or((value, value));
        Some((min.min(value), max.max(value)))
    });
    match bounds {
        // Zero has two signs that are equal: the bounds hold both.
        Some((min, max)) => {
            Some(Bounds::Double(if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max }))
        }
        None if values.is_empty() => None,
        None => Some(Bounds::Double(f64::NEG_INFINITY, f64::INFINITY)),
    }
}

/// A lower bound that is not too long: a prefix, cut between two characters.
fn least(value: &[u8]) -> Vec<u8> {
    value.get(..boundary(value)).unwrap_or(value).to_vec()
}

/// An upper bound that is not too long: a prefix whose last character, or byte, is the next one; `None`
/// where there is no next.
fn most(value: &[u8]) -> Option<Vec<u8>> {
    let mut prefix = least(value);
    if prefix.len() == value.len() {
        return Some(prefix);
    }
    if let Ok(text) = std::str::from_utf8(&prefix) {
        // Text sorts by its characters as by its bytes.
        let (at, next) = text.char_indices().rev().find_map(|(at, last)| Some((at, next_char(last)?)))?;
        return Some([&text.as_bytes()[..at], next.encode_utf8(&mut [0; 4]).as_bytes()].concat());
    }
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

fn next_char(last: char) -> Option<char> {
    let next = last as u32 + 1;
    // Behind the gap of the surrogates.
    char::from_u32(next).or_else(|| char::from_u32(next + 0x800))
}

/// Where a text is cut: at most [`MAX_BOUND`] bytes, never within a character.
fn boundary(value: &[u8]) -> usize {
    let mut at = value.len().min(MAX_BOUND);
    while at > 0 && value.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at -= 1;
    }
    at
}
