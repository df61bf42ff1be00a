//! The file data.parquet: its length, its footer, and where its columns and indexes lie.

use std::ops::Range;

use parquet::file::metadata::RowGroupMetaData;
use tracing_core::{
    block::Meta,
    model::TraceId,
    store::{DATA, Objects},
};

use super::{Content, Findings, column, levels::Lists};
use crate::blocks::{
    data::{self, Data, Values, bare},
    survey::Block,
};

/// Checks the file, and every column of it.
pub(super) async fn check(
    findings: &mut Findings,
    objects: &Objects,
    block: &Block,
    meta: &Meta,
) -> anyhow::Result<Content> {
    let data = Data::open(objects, block).await?;
    findings.same("meta.json", "size", meta.size, data.size);
    findings.same("meta.json", "footerSize", u64::from(meta.footer_size), data.footer);
    let groups = data.meta.row_groups();
    findings.same("meta.json", "totalRecords", u64::from(meta.row_groups), groups.len() as u64);
    let rows: i64 = groups.iter().map(RowGroupMetaData::num_rows).sum();
    findings.same("meta.json", "totalObjects", meta.traces, rows.max(0) as u64);
    findings.same("footer", "num_rows", data.meta.file_metadata().num_rows(), rows);
    let magic = data.bytes(0..4).await?;
    if magic != "PAR1" {
        findings.wrong(DATA, "PAR1 expected at its start");
    }
    findings.spans = data.spans();
    findings.columns = data.meta.file_metadata().schema_descr().num_columns() as u64;
    places(findings, &data);
    let mut content = Content { whole: true, ..Content::default() };
    for (number, group) in groups.iter().enumerate() {
        let before = content.ids.len();
        row_group(findings, &data, number, group, &mut content).await?;
        content.groups.push(content.ids.len() - before);
    }
    ascending(findings, &content);
    Ok(content)
}

/// Columns and indexes lie within the file, and none in another.
fn places(findings: &mut Findings, data: &Data) {
    let mut taken: Vec<(Range<u64>, String)> = Vec::new();
    for (number, group) in data.meta.row_groups().iter().enumerate() {
        let mut uncompressed = 0_i64;
        for column in group.columns() {
            let name = || format!("row group {number}, column {}", column.column_path().string());
            uncompressed = uncompressed.saturating_add(column.uncompressed_size());
            let parts = [
                (data::range(column), "its pages"),
                (column.offset_index_range(), "its offset index"),
                (column.column_index_range(), "its column index"),
            ];
            for (range, part) in parts {
                match range {
                    Some(range) if range.start >= 4 && range.end <= data.end() => {
                        taken.push((range, format!("{}, {part}", name())));
                    }
                    Some(range) => {
                        findings.wrong(
                            name(),
                            format!("{part}: bytes {range:?}, the data ends at {}", data.end()),
                        );
                    }
                    None => findings.wrong(name(), format!("{part} are missing")),
                }
            }
        }
        let at = format!("row group {number}");
        findings.same(&at, "total_byte_size", group.total_byte_size(), uncompressed);
    }
    taken.sort_by_key(|(range, _)| (range.start, range.end));
    for pair in taken.windows(2) {
        if let [(before, first), (after, second)] = pair
            && before.end > after.start
        {
            findings.wrong(second.clone(), format!("begins at byte {} within {first}", after.start));
        }
    }
}

async fn row_group(
    findings: &mut Findings,
    data: &Data,
    number: usize,
    group: &RowGroupMetaData,
    content: &mut Content,
) -> anyhow::Result<()> {
    let mut lists = Lists::default();
    let (mut ids, mut texts) = (None, None);
    for chunk in group.columns() {
        let at = format!("row group {number}, column {}", chunk.column_path().string());
        let Some(decoded) = column::check(findings, data, &at, group.num_rows(), chunk).await? else {
            content.whole = false;
            continue;
        };
        lists.add(findings, &at, chunk.column_descr(), data.meta.file_metadata().schema(), &decoded);
        match bare(&chunk.column_path().string()).as_str() {
            "TraceID" => ids = Some(decoded.values),
            "TraceIDText" => texts = Some(decoded.values),
            _ => {}
        }
    }
    let Some(Values::Bytes(ids)) = ids else {
        findings.wrong(format!("row group {number}"), "its trace ids are missing");
        content.whole = false;
        return Ok(());
    };
    for (row, bytes) in ids.iter().enumerate() {
        let Ok(id) = TraceId::from_slice(bytes.data()) else {
            let length = bytes.len();
            findings.wrong(
                format!("row group {number}, row {row}"),
                format!("TraceID of {length} bytes, expected 16"),
            );
            content.whole = false;
            continue;
        };
        if let Some(Values::Bytes(texts)) = &texts
            && texts.get(row).is_none_or(|text| text.data() != id.trimmed_hex().as_bytes())
        {
            findings
                .wrong(format!("row group {number}, row {row}"), format!("TraceIDText is not that of {id}"));
        }
        content.ids.push(id);
    }
    Ok(())
}

/// Trace ids ascend over the row groups, and each is there once.
fn ascending(findings: &mut Findings, content: &Content) {
    for pair in content.ids.windows(2) {
        match pair {
            [a, b] if a == b => findings.wrong("column TraceID", format!("{a} is there more than once")),
            [a, b] if a > b => findings.wrong("column TraceID", format!("{b} stands behind {a}")),
            _ => {}
        }
    }
}
