//! `vivace blocks cat`.

use std::io::{ErrorKind, Write};

use anyhow::{Context as _, bail};
use clap::Args;
use tracing_core::{
    model::TraceId,
    table::{SpanTable, render},
};
use vivace_config::CommandLine;

use super::{Common, survey::Survey, tables::Tables};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// The block, or the beginning of its id
    block: String,
    /// Only this trace
    #[arg(long, value_name = "HEX")]
    trace: Option<String>,
    /// Stop after so many traces; 0 for none
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

pub(super) async fn run(options: &Options, line: &CommandLine) -> anyhow::Result<()> {
    let place = options.common.place(line)?;
    let survey = Survey::take(&place.objects, options.common.tenant()?.as_ref()).await?;
    let block = survey.find(&options.block)?;
    let meta = block.meta(&place.objects).await?;
    let mut tables = Tables::open(&place.objects, &block, &meta).await?;
    let mut out = std::io::stdout().lock();
    if let Some(hex) = &options.trace {
        let id = TraceId::from_hex(hex).context("--trace")?;
        let Some(table) = tables.trace(id).await? else { bail!("trace {id} is not in block {}", block.id) };
        return heard(print(&mut out, &table, 0)).map(drop);
    }
    let mut printed = 0;
    while let Some(table) = tables.next().await? {
        for trace in 0..table.trace_count() {
            if !heard(print(&mut out, &table, trace))? {
                return Ok(());
            }
            printed += 1;
            if printed == options.limit {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn print(out: &mut impl Write, table: &SpanTable, trace: usize) -> std::io::Result<()> {
    let id = table.traces.id.get(trace).copied().unwrap_or_default();
    let spans = render::resource_spans_json(table, trace);
    writeln!(out, "{{\"traceID\":\"{id}\",\"resourceSpans\":{spans}}}")
}

/// Whether anybody still listens: `head` closes its end of a pipe.
fn heard(written: std::io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("print a trace"),
    }
}
