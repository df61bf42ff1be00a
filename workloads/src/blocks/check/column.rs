//! One column of one row group: its pages, their checksums, its page index, and its values.

use parquet::file::metadata::ColumnChunkMetaData;
use tracing_core::block::inspect::{self, ColumnIndex, PageHead, PageKind, PageOffset};

use super::Findings;
use crate::blocks::data::{self, Data, Decoded, Values};

/// Parquet's number of PLAIN, and of RLE.
const RLE: i64 = 3;

/// Checks a column; answers with what it decodes to, if it can be decoded.
pub(super) async fn check(
    findings: &mut Findings,
    data: &Data,
    at: &str,
    rows: i64,
    chunk: &ColumnChunkMetaData,
) -> anyhow::Result<Option<Decoded>> {
    let Some(range) = data::range(chunk).filter(|range| range.end <= data.end()) else { return Ok(None) };
    let bytes = data.bytes(range.clone()).await?;
    let heads = match inspect::page_heads(&bytes) {
        Ok(heads) => heads,
        Err(error) => {
            findings.wrong(at, error.to_string());
            return Ok(None);
        }
    };
    pages(findings, at, range.start, chunk, &heads);
    let rows = usize::try_from(rows).unwrap_or(0);
    let decoded = match data::decode(chunk, rows, range.start, bytes) {
        Ok(decoded) => decoded,
        Err(error) => {
            findings.wrong(at, format!("{error:#}"));
            return Ok(None);
        }
    };
    let entries = entries(&decoded);
    findings.values += entries as u64;
    findings.same(at, "values and nulls", entries as i64, chunk.num_values());
    let found = if decoded.rep.is_empty() { entries } else { starts(&decoded.rep) };
    findings.same(at, "rows", found, rows);
    let pages = Pages { at, first: range.start, heads: &heads, decoded: &decoded };
    pages.index(findings, data, chunk).await?;
    Ok(Some(decoded))
}

/// The pages, against their checksums and what the footer says of the column.
fn pages(findings: &mut Findings, at: &str, start: u64, chunk: &ColumnChunkMetaData, heads: &[PageHead]) {
    findings.pages += heads.len() as u64;
    for (number, head) in heads.iter().enumerate() {
        match head.checksum {
            Some(true) => findings.checksums += 1,
            Some(false) => {
                findings.wrong(format!("{at}, page {number}"), "its checksum is not that of its bytes");
            }
            None => {}
        }
        if chunk.column_type() == parquet::basic::Type::BOOLEAN && head.kind.is_data() && head.encoding == RLE
        {
            findings.wrong(format!("{at}, page {number}"), "booleans encoded RLE, which Tempo misreads");
        }
        if head.kind == PageKind::Other {
            findings.wrong(format!("{at}, page {number}"), "neither data nor a dictionary");
        }
    }
    let uncompressed: u64 = heads.iter().map(|head| head.header + head.uncompressed).sum();
    findings.same(at, "total_uncompressed_size", chunk.uncompressed_size(), uncompressed as i64);
    let data = heads.iter().filter(|head| head.kind.is_data());
    let values: u64 = data.clone().map(|head| head.values).sum();
    findings.same(at, "values in the headers of its pages", values as i64, chunk.num_values());
    if let Some(first) = data.clone().next() {
        findings.same(at, "data_page_offset", chunk.data_page_offset(), (start + first.at) as i64);
    }
    let dictionary = heads.iter().position(|head| head.kind == PageKind::Dictionary);
    if dictionary.is_some_and(|number| number != 0) {
        findings.wrong(at, "its dictionary is not its first page");
    }
}

/// Values and nulls.
fn entries(decoded: &Decoded) -> usize {
    match (&decoded.def, &decoded.values) {
        (def, _) if !def.is_empty() => def.len(),
        (_, Values::Bool(values)) => values.len(),
        (_, Values::Int32(values)) => values.len(),
        (_, Values::Int64(values)) => values.len(),
        (_, Values::Double(values)) => values.len(),
        (_, Values::Bytes(values)) => values.len(),
    }
}

fn starts(rep: &[i16]) -> usize {
    rep.iter().filter(|level| **level == 0).count()
}

/// A column's pages with their values.
struct Pages<'a> {
    at: &'a str,
    /// Where the column starts in the file.
    first: u64,
    heads: &'a [PageHead],
    decoded: &'a Decoded,
}

impl Pages<'_> {
    /// The page indexes, against the pages.
    async fn index(
        &self,
        findings: &mut Findings,
        data: &Data,
        chunk: &ColumnChunkMetaData,
    ) -> anyhow::Result<()> {
        let pages: Vec<_> = self.heads.iter().filter(|head| head.kind.is_data()).collect();
        if let Some(range) = chunk.offset_index_range().filter(|range| range.end <= data.end()) {
            match inspect::offset_index(&data.bytes(range).await?) {
                Ok(offsets) => self.offsets(findings, &pages, &offsets),
                Err(error) => findings.wrong(self.at, error.to_string()),
            }
        }
        if let Some(range) = chunk.column_index_range().filter(|range| range.end <= data.end()) {
            match inspect::column_index(&data.bytes(range).await?) {
                Ok(index) => self.bounds(findings, chunk, &pages, &index),
                Err(error) => findings.wrong(self.at, error.to_string()),
            }
        }
        Ok(())
    }

    fn offsets(&self, findings: &mut Findings, pages: &[&PageHead], offsets: &[PageOffset]) {
        let at = format!("{}, offset index", self.at);
        if offsets.len() != pages.len() {
            findings.wrong(at, format!("{} pages, the column has {}", offsets.len(), pages.len()));
            return;
        }
        let (mut entry, mut row) = (0_usize, 0_u64);
        for (number, (page, offset)) in pages.iter().zip(offsets).enumerate() {
            let at = format!("{at}, page {number}");
            findings.same(&at, "offset", offset.offset, self.first + page.at);
            findings.same(&at, "compressed_page_size", offset.size, page.size());
            findings.same(&at, "first_row_index", offset.first_row, row);
            let values = page.values as usize;
            let rep = self.decoded.rep.get(entry..entry + values).unwrap_or_default();
            let rows = if self.decoded.rep.is_empty() { values } else { starts(rep) };
            if rep.first().is_some_and(|level| *level != 0) {
                findings.wrong(&at, "begins within a row");
            }
            if let Some(said) = page.rows {
                findings.same(&at, "num_rows", said, rows as u64);
            }
            entry += values;
            row += rows as u64;
        }
    }

    /// Bounds and nulls of each page. Bounds may be shorter than the values that they bound.
    fn bounds(
        &self,
        findings: &mut Findings,
        chunk: &ColumnChunkMetaData,
        pages: &[&PageHead],
        index: &ColumnIndex,
    ) {
        let at = format!("{}, column index", self.at);
        let counts = [("bounds", index.min.len()), ("bounds", index.max.len())];
        for (what, count) in counts {
            if count != pages.len() {
                findings.wrong(&at, format!("{what} of {count} pages, the column has {}", pages.len()));
                return;
            }
        }
        let most = chunk.column_descr().max_def_level();
        let (mut entry, mut value) = (0, 0);
        for (number, page) in pages.iter().enumerate() {
            let at = format!("{at}, page {number}");
            let entries = page.values as usize;
            let def = self.decoded.def.get(entry..entry + entries);
            let there = def.map_or(entries, |def| def.iter().filter(|level| **level == most).count());
            let nulls = (entries - there.min(entries)) as u64;
            if let Some(said) = index.nulls.get(number) {
                findings.same(&at, "null_count", *said, nulls);
            }
            if let Some(said) = page.nulls {
                findings.same(&at, "num_nulls of its header", said, nulls);
            }
            let bounds = index.min.get(number).zip(index.max.get(number));
            if let Some((min, max)) = bounds.filter(|_| there > 0)
                && self.outside(value..value + there, min, max)
            {
                findings.wrong(&at, "a value lies outside its bounds");
            }
            entry += entries;
            value += there;
        }
    }

    /// Whether any of the values lies outside the bounds. Columns whose pages have no bounds have empty ones.
    fn outside(&self, values: std::ops::Range<usize>, min: &[u8], max: &[u8]) -> bool {
        if min.is_empty() && max.is_empty() {
            return false;
        }
        let unsigned = self.at.ends_with("Nano") || self.at.ends_with("Count");
        match &self.decoded.values {
            Values::Bytes(all) => {
                let mut all = all.get(values).unwrap_or_default().iter();
                // A bound of 16 bytes or more may have been cut, and is then still one.
                all.any(|value| value.data() < min || (value.data() > max && !value.data().starts_with(max)))
            }
            Values::Int64(all) => {
                let bounds = min
                    .try_into()
                    .map(i64::from_le_bytes)
                    .ok()
                    .zip(max.try_into().map(i64::from_le_bytes).ok());
                let Some((min, max)) = bounds else { return true };
                let all = all.get(values).unwrap_or_default();
                if unsigned {
                    let (min, max) = (min.cast_unsigned(), max.cast_unsigned());
                    return all.iter().any(|v| !(min..=max).contains(&v.cast_unsigned()));
                }
                all.iter().any(|value| !(min..=max).contains(value))
            }
            Values::Int32(all) => {
                let bounds = min
                    .try_into()
                    .map(i32::from_le_bytes)
                    .ok()
                    .zip(max.try_into().map(i32::from_le_bytes).ok());
                let Some((min, max)) = bounds else { return true };
                all.get(values).unwrap_or_default().iter().any(|value| !(min..=max).contains(value))
            }
            // Doubles have values that are in no order, booleans no bounds to speak of.
            Values::Bool(_) | Values::Double(_) => false,
        }
    }
}
