//! `vivace blocks list`.

use clap::Args;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use tracing_core::block::{DedicatedColumn, DedicatedScope, Meta};
use vivace_config::CommandLine;

use super::{
    Common,
    data::Data,
    place::Place,
    print::{self, Table},
    survey::{Block, Survey},
};

/// Blocks whose metas are read at the same time.
const AT_ONCE: usize = 32;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// Also blocks that were replaced or have expired
    #[arg(long)]
    compacted: bool,
    /// Also count spans: reads the footer of each block
    #[arg(long)]
    spans: bool,
}

#[derive(Debug, Serialize)]
struct Listing {
    blocks: Vec<Line>,
    total: Total,
}

#[derive(Debug, Serialize)]
struct Line {
    tenant: String,
    id: String,
    format: String,
    level: u32,
    traces: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<u64>,
    size: u64,
    start: Timestamp,
    end: Timestamp,
    row_groups: u32,
    dedicated: Vec<DedicatedColumn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compacted: Option<Timestamp>,
    /// Why the block's meta or footer cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Total {
    tenants: usize,
    blocks: usize,
    compacted: usize,
    unreadable: usize,
    traces: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<u64>,
    size: u64,
}

pub(super) async fn run(options: &Options, line: &CommandLine) -> anyhow::Result<()> {
    let place = options.common.place(line)?;
    let survey = Survey::take(&place.objects, options.common.tenant()?.as_ref()).await?;
    let seen: Vec<_> = survey.blocks().filter(|block| block.seen.meta_name().is_some()).collect();
    let mut total = Total { spans: options.spans.then_some(0), ..Total::default() };
    let lines = stream::iter(seen).map(|block| one(&place, block, options.spans)).buffered(AT_ONCE);
    let mut blocks: Vec<Line> = lines.collect().await;
    total.compacted = blocks.iter().filter(|line| line.compacted.is_some()).count();
    blocks.retain(|line| options.compacted || line.compacted.is_none());
    blocks.sort_by(|a, b| a.tenant.cmp(&b.tenant).then(b.end.cmp(&a.end)).then(a.id.cmp(&b.id)));
    let mut tenants: Vec<_> = blocks.iter().map(|line| &line.tenant).collect();
    tenants.dedup();
    total.tenants = tenants.len();
    for line in &blocks {
        total.blocks += 1;
        total.unreadable += usize::from(line.error.is_some());
        total.traces += line.traces;
        total.size += line.size;
        total.spans = total.spans.zip(line.spans).map(|(sum, spans)| sum + spans).or(total.spans);
    }
    let listing = Listing { blocks, total };
    if options.common.json {
        return print::json(&listing);
    }
    table(&listing, options.spans);
    Ok(())
}

async fn one(place: &Place, block: Block, spans: bool) -> Line {
    let mut line = match block.meta(&place.objects).await {
        Ok(meta) => Line::new(&block, meta),
        Err(error) => return Line { error: Some(format!("{error:#}")), ..Line::unknown(&block) },
    };
    if spans {
        match Data::open(&place.objects, &block).await {
            Ok(data) => line.spans = Some(data.spans()),
            Err(error) => line.error = Some(format!("{error:#}")),
        }
    }
    line
}

impl Line {
    fn new(block: &Block, meta: Meta) -> Self {
        Self {
            tenant: block.tenant.to_string(),
            id: block.id.to_string(),
            format: meta.format,
            level: meta.compaction_level,
            traces: meta.traces,
            spans: None,
            size: meta.size,
            start: meta.start,
            end: meta.end,
            row_groups: meta.row_groups,
            dedicated: meta.dedicated,
            compacted: (!block.seen.is_live()).then_some(meta.compacted).flatten(),
            error: None,
        }
    }

    fn unknown(block: &Block) -> Self {
        Self {
            tenant: block.tenant.to_string(),
            id: block.id.to_string(),
            format: "?".to_owned(),
            level: 0,
            traces: 0,
            spans: None,
            size: 0,
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            row_groups: 0,
            dedicated: Vec::new(),
            compacted: None,
            error: None,
        }
    }
}

/// Dedicated columns in few words: `span 5, resource 3`.
pub(super) fn dedicated(columns: &[DedicatedColumn]) -> String {
    let scopes = [
        (DedicatedScope::Resource, "resource"),
        (DedicatedScope::Span, "span"),
        (DedicatedScope::Event, "event"),
    ];
    let count = |scope| columns.iter().filter(|column| column.scope == scope).count();
    let parts: Vec<_> = scopes
        .into_iter()
        .map(|(scope, name)| (count(scope), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{name} {count}"))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn table(listing: &Listing, spans: bool) {
    let now = Timestamp::now();
    let mut table = Table::new(&[
        "tenant",
        "block",
        "format",
        ">level",
        ">traces",
        ">spans",
        ">size",
        "start",
        "end",
        ">age",
        "compacted",
        ">groups",
        "dedicated",
    ]);
    for line in &listing.blocks {
        if let Some(error) = &line.error {
            eprintln!("vivace: {}/{}: {error}", line.tenant, line.id);
        }
        table.row([
            line.tenant.clone(),
            line.id.clone(),
            line.format.clone(),
            line.level.to_string(),
            line.traces.to_string(),
            line.spans.map_or_else(|| "-".to_owned(), |spans| spans.to_string()),
            print::size(line.size),
            line.start.to_string(),
            line.end.to_string(),
            print::age(now, line.end),
            line.compacted.map_or_else(|| "-".to_owned(), |at| format!("{} ago", print::age(now, at))),
            line.row_groups.to_string(),
            dedicated(&line.dedicated),
        ]);
    }
    table.print();
    let Total { tenants, blocks, compacted, traces, size, .. } = listing.total;
    let sum = listing.total.spans.filter(|_| spans).map(|n| format!(", {n} spans")).unwrap_or_default();
    println!(
        "\n{blocks} blocks of {tenants} tenants, {traces} traces{sum}, {}; {compacted} compacted",
        print::size(size)
    );
}
