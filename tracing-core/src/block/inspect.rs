//! What a reader never looks at, for tools that do: the headers of a column's pages with their checksums, and
//! the page indexes as they stand in the file. Source: parquet-format 2.10, `parquet.thrift`.

use super::{
    BlockError, footer,
    thrift::{Fields, Reader, Wire},
};

/// A page as its header describes it, the header's own length and the checksum of its body included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageHead {
    /// Where the header starts, from the start of the column.
    pub at: u64,
    /// Length of the header in bytes.
    pub header: u64,
    /// Length of what follows the header in bytes.
    pub body: u64,
    /// Length of what follows the header once it is decompressed.
    pub uncompressed: u64,
    /// Which sort of page.
    pub kind: PageKind,
    /// Values and nulls; entries of a dictionary.
    pub values: u64,
    /// Rows that begin in the page; only version 2 says so.
    pub rows: Option<u64>,
    /// Nulls; only version 2 says so.
    pub nulls: Option<u64>,
    /// Parquet's number of the values' encoding.
    pub encoding: i64,
    /// Whether the CRC-32 of the body is the one in the header; `None` where the header has none.
    pub checksum: Option<bool>,
}

/// Sorts of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Values, with levels compressed along with them.
    Data,
    /// Values, with levels before them that are not compressed.
    DataV2,
    /// Distinct values.
    Dictionary,
    /// Anything else.
    Other,
}

/// An entry of a column's offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOffset {
    /// Where the page's header starts in the file.
    pub offset: u64,
    /// Bytes of header and body.
    pub size: u64,
    /// The row group's row that is the page's first.
    pub first_row: u64,
}

/// A column index: one entry a data page in each list; lists that the file leaves out are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnIndex {
    /// A lower bound of the page's values, in Parquet's PLAIN encoding.
    pub min: Vec<Vec<u8>>,
    /// An upper bound.
    pub max: Vec<Vec<u8>>,
    /// Nulls of the page.
    pub nulls: Vec<u64>,
}

impl PageKind {
    /// Whether it is a data page of either version.
    #[must_use]
    pub fn is_data(self) -> bool {
        matches!(self, Self::Data | Self::DataV2)
    }
}

impl PageHead {
    /// Bytes of header and body.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.header + self.body
    }
}

/// The pages of a column, from all its bytes.
///
/// # Errors
/// [`BlockError::Corrupt`] at the first header that is none, or whose page reaches over the end.
pub fn page_heads(column: &[u8]) -> Result<Vec<PageHead>, BlockError> {
    let (mut heads, mut at) = (Vec::new(), 0);
    while at < column.len() {
        let left = column.get(at..).unwrap_or_default();
        let mut reader = Reader::new(left, "page header");
        let (mut head, crc) = page_head(&mut reader)?;
        let header = left.len() - reader.remaining();
        let body = usize::try_from(head.body).ok().and_then(|size| left.get(header..)?.get(..size));
        let Some(body) = body else {
            let reason =
                format!("page {} at {at} has {} bytes, the column ends before", heads.len(), head.body);
            return Err(BlockError::corrupt("page", reason));
        };
        head.at = at as u64;
        head.header = header as u64;
        head.checksum = crc.map(|crc| crc32fast::hash(body) == crc);
        at += header + body.len();
        heads.push(head);
    }
    Ok(heads)
}

fn page_head(reader: &mut Reader<'_>) -> Result<(PageHead, Option<u32>), BlockError> {
    let mut head = PageHead {
        at: 0,
        header: 0,
        body: 0,
        uncompressed: 0,
        kind: PageKind::Other,
        values: 0,
        rows: None,
        nulls: None,
        encoding: -1,
        checksum: None,
    };
    let mut crc = None;
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (1, Wire::Int) => {
                head.kind = match reader.int()? {
                    0 => PageKind::Data,
                    2 => PageKind::Dictionary,
                    3 => PageKind::DataV2,
                    _ => PageKind::Other,
                }
            }
            (2, Wire::Int) => head.uncompressed = reader.count()?,
            (3, Wire::Int) => head.body = reader.count()?,
            (4, Wire::Int) => crc = Some(reader.int()? as u32),
            (5 | 7, Wire::Struct) => page_counts(reader, &mut head, false)?,
            (8, Wire::Struct) => page_counts(reader, &mut head, true)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok((head, crc))
}

/// `DataPageHeader`, `DictionaryPageHeader`, and `DataPageHeaderV2`, which begin with their counts.
fn page_counts(reader: &mut Reader<'_>, head: &mut PageHead, second: bool) -> Result<(), BlockError> {
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire, second) {
            (1, Wire::Int, _) => head.values = reader.count()?,
            (2, Wire::Int, false) | (4, Wire::Int, true) => head.encoding = reader.int()?,
            (2, Wire::Int, true) => head.nulls = Some(reader.count()?),
            (3, Wire::Int, true) => head.rows = Some(reader.count()?),
            (_, wire, _) => reader.skip(wire)?,
        }
    }
    Ok(())
}

/// Reads an offset index.
///
/// # Errors
/// [`BlockError::Corrupt`] where it is none.
pub fn offset_index(bytes: &[u8]) -> Result<Vec<PageOffset>, BlockError> {
    let mut pages = Vec::new();
    footer::each_page(bytes, |_, (offset, size, first_row)| {
        pages.push(PageOffset { offset, size, first_row });
        Ok(())
    })?;
    Ok(pages)
}

/// Reads a column index.
///
/// # Errors
/// [`BlockError::Corrupt`] where it is none.
pub fn column_index(bytes: &[u8]) -> Result<ColumnIndex, BlockError> {
    let mut reader = Reader::new(bytes, "column index");
    let mut index = ColumnIndex::default();
    let mut fields = Fields::default();
    while let Some((id, wire)) = reader.field(&mut fields)? {
        match (id, wire) {
            (2 | 3, Wire::List) => {
                for _ in 0..reader.list()?.1 {
                    let bound = reader.binary()?.to_vec();
                    if id == 2 { &mut index.min } else { &mut index.max }.push(bound);
                }
            }
            (5, Wire::List) => {
                for _ in 0..reader.list()?.1 {
                    index.nulls.push(reader.count()?);
                }
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 1 data page of the four bytes 1, 2, 3, 4 with this checksum.
    fn page(crc: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let zigzag = |value: i64| (value << 1 ^ value >> 63).cast_unsigned();
        let int = |out: &mut Vec<u8>, value: i64| {
            out.push(0x15);
            super::super::thrift::put_varint(out, zigzag(value));
        };
        for value in [0, 4, 4, i64::from(crc as i32)] {
            int(&mut out, value);
        }
        out.push(0x1c);
        for value in [3, 0, 3, 3] {
            int(&mut out, value);
        }
        out.extend([0, 0, 1, 2, 3, 4]);
        out
    }

    #[test]
    fn the_checksum_of_a_page_is_held_against_its_body() {
        let right = crc32fast::hash(&[1, 2, 3, 4]);
        let heads = page_heads(&[page(right), page(right ^ 1)].concat()).unwrap();
        assert_eq!(heads.iter().map(|head| head.checksum).collect::<Vec<_>>(), [Some(true), Some(false)]);
        assert_eq!((heads[1].at, heads[1].values, heads[1].kind), (heads[0].size(), 3, PageKind::Data));
    }

    #[test]
    fn a_page_that_reaches_over_its_column_is_an_error() {
        let page = page(0);
        for end in 1..page.len() {
            assert!(page_heads(&page[..end]).is_err(), "{end}");
        }
    }
}
