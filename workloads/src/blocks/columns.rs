//! `vivace blocks dump-columns`: what each column is and takes.

use std::collections::BTreeSet;

use clap::Args;
use parquet::{file::metadata::ColumnChunkMetaData, schema::types::ColumnDescriptor};
use serde::Serialize;
use tracing_core::block::inspect;
use vivace_config::CommandLine;

use super::{
    Common,
    data::Data,
    print::{self, Table},
    survey::Survey,
};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// The block, or the beginning of its id
    block: String,
    /// The largest columns first
    #[arg(long)]
    by_size: bool,
}

/// A column over all row groups.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    pub(super) path: String,
    pub(super) physical: String,
    pub(super) logical: String,
    pub(super) max_def: i16,
    pub(super) max_rep: i16,
    pub(super) encodings: String,
    pub(super) codec: String,
    pub(super) compressed: u64,
    pub(super) uncompressed: u64,
    pub(super) pages: u64,
    pub(super) values: u64,
    pub(super) bytes_per_span: f64,
}

pub(super) async fn run(options: &Options, line: &CommandLine) -> anyhow::Result<()> {
    let place = options.common.place(line)?;
    let survey = Survey::take(&place.objects, options.common.tenant()?.as_ref()).await?;
    let data = Data::open(&place.objects, &survey.find(&options.block)?).await?;
    let mut columns = columns(&data).await?;
    if options.by_size {
        columns.sort_by_key(|column| std::cmp::Reverse(column.compressed));
    }
    if options.common.json {
        return print::json(&columns);
    }
    table(&columns).print();
    let (size, spans) = (data.size, data.spans());
    let rate = size as f64 / spans.max(1) as f64;
    println!("\n{} columns, {} for {spans} spans: {rate:.1} bytes a span", columns.len(), print::size(size));
    Ok(())
}

/// The columns as a table.
pub(super) fn table(columns: &[Column]) -> Table {
    let mut table = Table::new(&[
        "column",
        "physical",
        "logical",
        ">def",
        ">rep",
        "encodings",
        "codec",
        ">compressed",
        ">uncompressed",
        ">pages",
        ">values",
        ">B/span",
    ]);
    for column in columns {
        table.row([
            column.path.clone(),
            column.physical.clone(),
            column.logical.clone(),
            column.max_def.to_string(),
            column.max_rep.to_string(),
            column.encodings.clone(),
            column.codec.clone(),
            column.compressed.to_string(),
            column.uncompressed.to_string(),
            column.pages.to_string(),
            column.values.to_string(),
            format!("{:.2}", column.bytes_per_span),
        ]);
    }
    table
}

/// All columns, in the file's order.
pub(super) async fn columns(data: &Data) -> anyhow::Result<Vec<Column>> {
    let spans = data.spans().max(1) as f64;
    let schema = data.meta.file_metadata().schema_descr();
    let mut columns = Vec::new();
    for (at, descr) in schema.columns().iter().enumerate() {
        let chunks: Vec<_> =
            data.meta.row_groups().iter().filter_map(|group| group.columns().get(at)).collect();
        let mut pages = 0;
        for chunk in &chunks {
            pages += page_count(data, chunk).await?;
        }
        let sum =
            |of: fn(&ColumnChunkMetaData) -> i64| chunks.iter().map(|chunk| of(chunk).max(0) as u64).sum();
        let compressed: u64 = sum(ColumnChunkMetaData::compressed_size);
        columns.push(Column {
            path: descr.path().string(),
            physical: descr.physical_type().to_string(),
            logical: logical(descr),
            max_def: descr.max_def_level(),
            max_rep: descr.max_rep_level(),
            encodings: distinct(chunks.iter().flat_map(|chunk| chunk.encodings().map(|e| e.to_string()))),
            codec: distinct(chunks.iter().map(|chunk| codec(chunk))),
            compressed,
            uncompressed: sum(ColumnChunkMetaData::uncompressed_size),
            pages,
            values: sum(ColumnChunkMetaData::num_values),
            bytes_per_span: compressed as f64 / spans,
        });
    }
    Ok(columns)
}

/// Data pages, by the offset index; 0 where there is none.
async fn page_count(data: &Data, chunk: &ColumnChunkMetaData) -> anyhow::Result<u64> {
    let Some(range) = chunk.offset_index_range() else { return Ok(0) };
    Ok(inspect::offset_index(&data.bytes(range).await?)?.len() as u64)
}

fn codec(chunk: &ColumnChunkMetaData) -> String {
    let name = chunk.compression().to_string();
    name.split('(').next().unwrap_or_default().to_owned()
}

fn logical(descr: &ColumnDescriptor) -> String {
    match descr.converted_type() {
        parquet::basic::ConvertedType::NONE => String::new(),
        converted => converted.to_string(),
    }
}

fn distinct(names: impl Iterator<Item = String>) -> String {
    names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",")
}
