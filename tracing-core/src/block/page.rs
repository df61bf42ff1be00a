//! A column's pages: headers, decompression, levels and values, of data page versions 1 and 2.
//!
//! Strings are not copied: a decoded column refers to the decompressed pages, and its dictionary's entries
//! are looked at once each, however many values refer to them.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    BlockError, decode, encode,
    entries::{Dictionary, Entries},
    footer::Codec,
    scan::Stop,
    schema::{Kind, Spec},
    thrift::{Fields, Reader, Wire},
};

/// A decoded column of some rows.
#[derive(Debug, Default)]
pub(crate) struct Column {
    /// Repetition levels; empty where the column has none.
    pub(crate) rep: Vec<u8>,
    /// Definition levels; empty where the column has none.
    pub(crate) def: Vec<u8>,
    /// Values of the entries that have one.
    pub(crate) values: Values,
}

/// A column's values.
#[derive(Debug)]
pub(crate) enum Values {
    /// Numbers as 64 bits: integers with their sign, floats as bits, booleans as 0 and 1.
    Numbers(Vec<u64>),
    /// Text and bytes.
    Bytes(Entries),
}

/// Largest page, decompressed, in bytes.
pub(crate) const MAX_PAGE: u64 = 1 << 28;

impl Default for Values {
    fn default() -> Self {
        Self::Numbers(Vec::new())
    }
}

impl Values {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Bytes(entries) => entries.indexes.len(),
        }
    }
}

/// A page's header.
#[derive(Debug, Default)]
struct Header {
    kind: i64,
    uncompressed: u64,
    compressed: u64,
    values: u64,
    encoding: i64,
    /// Of version 2: lengths of definition and repetition levels, which are not compressed.
    levels: Option<(u64, u64)>,
    is_plain: bool,
}

fn header(reader: &mut Reader<'_>) -> Result<Header, BlockError> {
    let mut header = Header { kind: -1, ..Header::default() };
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (1, Wire::Int) => header.kind = reader.int()?,
            (2, Wire::Int) => header.uncompressed = reader.count()?,
            (3, Wire::Int) => header.compressed = reader.count()?,
            (5 | 7, Wire::Struct) => data_header(reader, &mut header)?,
            (8, Wire::Struct) => data_header_v2(reader, &mut header)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(header)
}

/// Of a data page of version 1 or a dictionary page, which start alike.
fn data_header(reader: &mut Reader<'_>, header: &mut Header) -> Result<(), BlockError> {
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (1, Wire::Int) => header.values = reader.count()?,
            (2, Wire::Int) => header.encoding = reader.int()?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(())
}

fn data_header_v2(reader: &mut Reader<'_>, header: &mut Header) -> Result<(), BlockError> {
    let mut fields = Fields::default();
    let (mut def, mut rep) = (0, 0);
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (1, Wire::Int) => header.values = reader.count()?,
            (4, Wire::Int) => header.encoding = reader.int()?,
            (5, Wire::Int) => def = reader.count()?,
            (6, Wire::Int) => rep = reader.count()?,
            (7, Wire::False) => header.is_plain = true,
            (_, wire) => reader.skip(wire)?,
        }
    }
    header.levels = Some((def, rep));
    Ok(())
}

/// Reads pages of one column, in the order of the file.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    spec: &'a Spec,
    codec: Codec,
    column: Column,
    /// Values and nulls that the column may still hold.
    budget: u64,
    /// The rows that are wanted, counted from the first of the first page; all where there is no range.
    rows: Option<Range<u64>>,
    /// Rows that began in the pages so far.
    begun: u64,
    stop: Option<&'a Stop>,
}

/// What is wanted of a page.
struct Part {
    /// Of all values and nulls.
    entries: Range<usize>,
    /// Of its values.
    values: Range<usize>,
    /// Number of its values, where their encoding says it too.
    all: usize,
}

impl<'a> Pages<'a> {
    /// Of a column that counts `values` values and nulls.
    pub(crate) fn new(spec: &'a Spec, codec: Codec, values: u64) -> Self {
        let values_of = match spec.kind {
            Kind::Text | Kind::Id => Values::Bytes(Entries::default()),
            _ => Values::Numbers(Vec::new()),
        };
        let column = Column { values: values_of, ..Column::default() };
        Self { spec, codec, column, budget: values, rows: None, begun: 0, stop: None }
    }

    /// Only these rows, counted from the first of the first page that is read.
    pub(crate) fn only(self, rows: Range<u64>) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// Ends between two pages when it is told to.
    pub(crate) fn until(self, stop: &'a Stop) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// With the column's dictionary, whose page is then not among those that are read.
    pub(crate) fn with(mut self, dictionary: Option<Arc<Dictionary>>) -> Self {
        if let (Values::Bytes(entries), Some(dictionary)) = (&mut self.column.values, dictionary) {
            *entries = Entries::of(dictionary);
        }
        self
    }

    /// What was read.
    pub(crate) fn finish(self) -> Column {
        self.column
    }

    /// Reads all pages of `bytes`.
    pub(crate) fn read(&mut self, bytes: &Bytes) -> Result<(), BlockError> {
        self.read_all(bytes).map_err(|error| match error {
            BlockError::Corrupt { reason, .. } => {
                BlockError::corrupt(format!("column {}", self.spec.path), reason)
            }
            other => other,
        })
    }

    fn read_all(&mut self, bytes: &Bytes) -> Result<(), BlockError> {
        let mut at = 0;
        while at < bytes.len() {
            if self.stop.is_some_and(Stop::is_told) {
                return Err(BlockError::Stopped);
            }
            let mut reader = Reader::new(bytes.get(at..).unwrap_or_default(), "page header");
            let header = header(&mut reader)?;
            let start = bytes.len() - reader.remaining();
            let end = usize::try_from(header.compressed).ok().and_then(|size| start.checked_add(size));
            let Some(end) = end.filter(|end| *end <= bytes.len()) else {
                let reason = format!("{} bytes, {} are left", header.compressed, reader.remaining());
                return Err(BlockError::corrupt("page", reason));
            };
            let body = bytes.slice(start..end);
            at = end;
            match header.kind {
                0 | 3 => self.data(&header, &body)?,
                2 => self.read_dictionary(&header, &body)?,
                // Index pages, which nothing writes, and what may come.
                _ => {}
            }
        }
        Ok(())
    }

    fn read_dictionary(&mut self, header: &Header, body: &Bytes) -> Result<(), BlockError> {
        let body = decompress(self.codec, body, header.uncompressed)?;
        let count = self.count(header)?;
        match &mut self.column.values {
            Values::Bytes(entries) if entries.count() == 0 && entries.dictionary().is_none() => {
                *entries = Entries::of(Arc::new(Dictionary::read(body, count)?));
                Ok(())
            }
            Values::Bytes(_) => Err(BlockError::corrupt("page", "dictionary after the first page")),
            Values::Numbers(_) => Err(BlockError::corrupt("page", "dictionary of numbers")),
        }
    }

    fn count(&self, header: &Header) -> Result<usize, BlockError> {
        if header.values > self.budget {
            let reason = format!("{} values, {} are left of the column", header.values, self.budget);
            return Err(BlockError::corrupt("page", reason));
        }
        Ok(header.values as usize)
    }

    fn data(&mut self, header: &Header, body: &Bytes) -> Result<(), BlockError> {
        let count = self.count(header)?;
        self.budget -= header.values;
        let short = || BlockError::corrupt("page", "levels end too early");
        let (def, rep, values) = if let Some((def, rep)) = header.levels {
            let (def, rep) = (def as usize, rep as usize);
            let levels = def.checked_add(rep).filter(|levels| *levels <= body.len()).ok_or_else(short)?;
            (body.slice(rep..levels), body.slice(..rep), None)
        } else {
            let body = decompress(self.codec, body, header.uncompressed)?;
            let mut left = &*body;
            let mut part = |max| if max == 0 { Some(&[][..]) } else { decode::prefixed(&mut left) };
            let rep = part(self.spec.rep).map(|rep| body.slice_ref(rep)).ok_or_else(short)?;
            let def = part(self.spec.def).map(|def| body.slice_ref(def)).ok_or_else(short)?;
            (def, rep, Some(body.slice(body.len() - left.len()..)))
        };
        let is_counted = matches!(header.encoding, 5 | 6);
        let part = self.part(count, &def, &rep, is_counted)?;
        self.column.levels(self.spec, part.entries.clone(), &def, &rep)?;
        if part.values.is_empty() {
            return Ok(());
        }
        let values = match values {
            Some(values) => values,
            None => self.values_of(header, &body.slice(def.len() + rep.len()..))?,
        };
        self.values(header.encoding, &values, &part)
    }

    /// The values of a page whose levels stand before them by themselves.
    fn values_of(&self, header: &Header, values: &Bytes) -> Result<Bytes, BlockError> {
        let levels = header.levels.map_or(0, |(def, rep)| def + rep);
        let size = header.uncompressed.saturating_sub(levels);
        // A page without values has no bytes, not even compressed ones.
        let codec = if header.is_plain || values.is_empty() { Codec::None } else { self.codec };
        decompress(codec, values, size)
    }

    /// What of a page is wanted. `is_counted` where its encoding counts values, too.
    fn part(&mut self, count: usize, def: &[u8], rep: &[u8], is_counted: bool) -> Result<Part, BlockError> {
        let begun = self.begun;
        let place = |row: u64| match usize::try_from(row.saturating_sub(begun)).unwrap_or(usize::MAX) {
            _ if row < begun => Ok(0),
            nth if self.spec.rep == 0 => Ok(nth.min(count)),
            nth => decode::nth_zero(rep, width(self.spec.rep), count, nth),
        };
        let entries = match &self.rows {
            None => 0..count,
            Some(rows) => place(rows.start)?..place(rows.end)?,
        };
        if self.rows.is_some() {
            self.begun = match self.spec.rep {
                // Nothing of the pages behind it is wanted.
                _ if entries.end < count => u64::MAX,
                0 => self.begun.saturating_add(count as u64),
                most => self.begun.saturating_add(decode::count(rep, width(most), count, 0)? as u64),
            };
        }
        let defined = |upto| match (upto, self.spec.def) {
            (upto, 0) | (upto @ 0, _) => Ok(upto),
            (upto, most) => decode::count(def, width(most), upto, most.into()),
        };
        let first = defined(entries.start)?;
        let whole = entries == (0..count);
        let last = if entries.is_empty() { first } else { defined(entries.end)? };
        // Of a page in part, only encodings that say it too need the number of all values.
        let all = if whole || entries.is_empty() || !is_counted { last } else { defined(count)? };
        Ok(Part { entries, values: first..last, all })
    }

    fn values(&mut self, encoding: i64, page: &Bytes, part: &Part) -> Result<(), BlockError> {
        let kind = self.spec.kind;
        let (range, count) = (part.values.clone(), part.all);
        match (&mut self.column.values, encoding) {
            (Values::Bytes(entries), 2 | 8) => {
                let most = entries.most().ok_or_else(|| {
                    BlockError::corrupt("page", "indexes, and no dictionary or one without entries")
                })?;
                let (&width, packed) = page
                    .split_first()
                    .ok_or_else(|| BlockError::corrupt("page", "indexes without their width"))?;
                decode::part(&mut entries.indexes, packed, width, range, most)
            }
            (Values::Bytes(entries), 0 | 6) => {
                entries.begin(page.clone());
                let push = |start, length| entries.push(start, length);
                match encoding {
                    0 => decode::plain_bytes(page, range, push),
                    _ => decode::delta_length(page, count, range, push),
                }
            }
            (Values::Numbers(out), 0) => match kind {
                Kind::Bool => decode::plain_bools(out, page, range),
                Kind::Int32 | Kind::Uint32 => decode::plain(out, page, range, |bytes: [u8; 4]| {
                    i64::from(i32::from_le_bytes(bytes)).cast_unsigned()
                }),
                _ => decode::plain(out, page, range, u64::from_le_bytes),
            },
            (Values::Numbers(out), 3) if kind == Kind::Bool => {
                let mut left = &**page;
                let packed = decode::prefixed(&mut left)
                    .ok_or_else(|| BlockError::corrupt("page", "booleans end too early"))?;
                let mut bools: Vec<u8> = Vec::new();
                decode::part(&mut bools, packed, 1, range, 1)?;
                out.extend(bools.into_iter().map(u64::from));
                Ok(())
            }
            (Values::Numbers(out), 5) if kind != Kind::Bool && kind != Kind::Double => {
                let bits = if matches!(kind, Kind::Int32 | Kind::Uint32) { 32 } else { 64 };
                let first = out.len();
                decode::delta(out, page, count, range.end, bits)?;
                out.drain(first..first + range.start.min(out.len() - first));
                Ok(())
            }
            (_, encoding) => {
                Err(BlockError::corrupt("page", format!("encoding {encoding} is not read for {kind:?}")))
            }
        }
    }
}

impl Column {
    /// One without entries.
    pub(crate) fn empty(spec: &Spec) -> Self {
        Pages::new(spec, Codec::None, 0).finish()
    }

    /// Reads the levels of some entries of a page.
    fn levels(
        &mut self,
        spec: &Spec,
        entries: Range<usize>,
        def: &[u8],
        rep: &[u8],
    ) -> Result<(), BlockError> {
        if spec.rep > 0 {
            decode::part(&mut self.rep, rep, width(spec.rep), entries.clone(), spec.rep.into())?;
        }
        if spec.def > 0 {
            decode::part(&mut self.def, def, width(spec.def), entries, spec.def.into())?;
        }
        Ok(())
    }
}

/// Bits of a level of which `max` is the greatest.
fn width(max: u8) -> u8 {
    encode::width(max.into())
}

thread_local! {
    /// Making one for each page costs more than many a page.
    static ZSTD: std::cell::RefCell<zstd::bulk::Decompressor<'static>> = std::cell::RefCell::default();
}

/// A page's bytes, `size` of them when decompressed.
fn decompress(codec: Codec, bytes: &Bytes, size: u64) -> Result<Bytes, BlockError> {
    if size > MAX_PAGE {
        let part = "page".to_owned();
        return Err(BlockError::Limit { part, what: "its size in bytes", found: size, limit: MAX_PAGE });
    }
    let size = size as usize;
    let wrong = |found: usize| BlockError::corrupt("page", format!("{found} bytes, its header says {size}"));
    match codec {
        Codec::None if bytes.len() == size => Ok(bytes.clone()),
        Codec::None => Err(wrong(bytes.len())),
        Codec::Snappy => {
            let failed = |error: snap::Error| BlockError::corrupt("page", format!("snappy: {error}"));
            let found = snap::raw::decompress_len(bytes).map_err(failed)?;
            if found != size {
                return Err(wrong(found));
            }
            snap::raw::Decoder::new().decompress_vec(bytes).map(Bytes::from).map_err(failed)
        }
        Codec::Zstd => {
            let failed = |error| BlockError::corrupt("page", format!("zstd: {error}"));
            let page = ZSTD.with_borrow_mut(|zstd| zstd.decompress(bytes, size)).map_err(failed)?;
            if page.len() == size { Ok(page.into()) } else { Err(wrong(page.len())) }
        }
    }
}
