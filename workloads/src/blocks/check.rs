//! `vivace blocks check`: is what is stored what its parts say it is? IO.
//!
//! Flow: the listing and the metas; the footer of the data against them; every page of every column against
//! its header, its checksum and the page index; levels and values decoded by the Parquet crate; then the same
//! row groups as tables by our own reader, held against what they say of themselves; then what lies beside the
//! data against the ids and values in it.

mod beside;
mod column;
mod file;
mod levels;
mod rows;
mod sketch;

use std::{fmt::Display, process::ExitCode};

use clap::Args;
use serde::Serialize;
use tracing_core::{
    block::Meta,
    model::TraceId,
    store::{DATA, META},
};
use vivace_config::CommandLine;

use super::{
    Common,
    place::Place,
    print,
    survey::{Block, COMPACTED, Survey},
};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// The blocks, or the beginnings of their ids; all blocks where none is named
    blocks: Vec<String>,
    /// Also blocks that were replaced or have expired
    #[arg(long)]
    compacted: bool,
}

/// Problems of a block that are listed; the rest is counted.
const LISTED: usize = 100;

/// What was found in one block.
#[derive(Debug, Default, Serialize)]
struct Findings {
    tenant: String,
    block: String,
    format: String,
    traces: u64,
    spans: u64,
    columns: u64,
    pages: u64,
    /// Checksums of pages that were there and right.
    checksums: u64,
    values: u64,
    bytes: u64,
    problems: Vec<Problem>,
    /// Problems beyond those that are listed.
    more: u64,
    /// What is no damage, and yet not as it usually is.
    notes: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Problem {
    /// The object, row group, column, page or trace.
    at: String,
    /// What is wrong with it.
    what: String,
}

/// What the checks of a block's data leave for those after them.
#[derive(Debug, Default)]
struct Content {
    ids: Vec<TraceId>,
    /// Number of traces in each row group.
    groups: Vec<usize>,
    /// Whether the ids are all there.
    whole: bool,
}

#[derive(Debug, Serialize)]
struct Verdict {
    blocks: Vec<Findings>,
    /// Problems in all.
    problems: u64,
}

impl Findings {
    fn wrong(&mut self, at: impl Into<String>, what: impl Into<String>) {
        if self.problems.len() < LISTED {
            self.problems.push(Problem { at: at.into(), what: what.into() });
        } else {
            self.more += 1;
        }
    }

    /// As [`Findings::wrong`], where two values differ that must not.
    fn same(&mut self, at: &str, what: &str, found: impl Display, expected: impl Display) {
        let (found, expected) = (found.to_string(), expected.to_string());
        if found != expected {
            self.wrong(at, format!("{what}: {found}, expected {expected}"));
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn problems(&self) -> u64 {
        self.problems.len() as u64 + self.more
    }
}

pub(super) async fn run(options: &Options, line: &CommandLine) -> anyhow::Result<ExitCode> {
    let place = options.common.place(line)?;
    let survey = Survey::take(&place.objects, options.common.tenant()?.as_ref()).await?;
    let blocks = match &options.blocks[..] {
        [] => survey.blocks().filter(|block| options.compacted || is_checked(block)).collect(),
        named => named.iter().map(|text| survey.find(text)).collect::<anyhow::Result<Vec<_>>>()?,
    };
    // Decoders that give up are reported as problems of the block, in one line.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut verdict = Verdict { blocks: Vec::new(), problems: 0 };
    for block in &blocks {
        let findings = one(&place, block).await;
        if !options.common.json {
            show(&findings);
        }
        verdict.problems += findings.problems();
        verdict.blocks.push(findings);
    }
    std::panic::set_hook(hook);
    if options.common.json {
        print::json(&verdict)?;
    } else {
        let sum = |of: fn(&Findings) -> u64| verdict.blocks.iter().map(of).sum::<u64>();
        println!(
            "{} blocks, {} traces, {} spans, {} pages ({} checksums), {}: {} problems",
            verdict.blocks.len(),
            sum(|f| f.traces),
            sum(|f| f.spans),
            sum(|f| f.pages),
            sum(|f| f.checksums),
            print::size(sum(|f| f.bytes)),
            verdict.problems
        );
    }
    Ok(if verdict.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong with the blocks of a store that are to be read: for tests of who writes them.
#[cfg(test)]
pub(crate) async fn problems(store: std::sync::Arc<tracing_core::store::Store>) -> Vec<String> {
    let place = Place::of(store);
    let survey = Survey::take(&place.objects, None).await.expect("a store that works");
    let mut problems = Vec::new();
    for block in survey.blocks().filter(|block| block.seen.is_live() && is_checked(block)) {
        let findings = one(&place, &block).await;
        problems.extend(findings.problems.iter().map(|found| format!("{}: {found:?}", block.id)));
    }
    problems
}

/// A block that was marked and whose deletion has begun lacks objects, and is none any more.
fn is_checked(block: &Block) -> bool {
    block.seen.is_live() || !block.seen.objects.contains_key(COMPACTED)
}

fn show(findings: &Findings) {
    let Findings { tenant, block, format, traces, spans, columns, pages, checksums, .. } = findings;
    let verdict = if findings.problems.is_empty() { "ok " } else { "BAD" };
    println!(
        "{verdict} {tenant}/{block}  {format}  {traces} traces, {spans} spans, {columns} columns, {pages} pages, {checksums} checksums, {}",
        print::size(findings.bytes)
    );
    for Problem { at, what } in &findings.problems {
        println!("    {at}: {what}");
    }
    if findings.more > 0 {
        println!("    and {} more", findings.more);
    }
    for note in &findings.notes {
        println!("    note: {note}");
    }
}

/// Checks a block whole.
async fn one(place: &Place, block: &Block) -> Findings {
    let mut findings = Findings {
        tenant: block.tenant.to_string(),
        block: block.id.to_string(),
        bytes: block.seen.bytes(),
        ..Findings::default()
    };
    let Some(name) = block.seen.meta_name() else {
        findings.note(format!("not visible, {META} is missing: its upload is under way, or was given up"));
        return findings;
    };
    if block.seen.is_live() && block.seen.objects.contains_key(COMPACTED) {
        findings.note(format!(
            "{META} and {COMPACTED} are both there: its marking is under way, or was given up"
        ));
    }
    let meta = match block.meta(&place.objects).await {
        Ok(meta) => meta,
        Err(error) => {
            findings.wrong(name, format!("{error:#}"));
            return findings;
        }
    };
    meta_itself(&mut findings, block, &meta, name);
    let mut content = Content::default();
    match file::check(&mut findings, &place.objects, block, &meta).await {
        Ok(found) => content = found,
        Err(error) => findings.wrong(DATA, format!("{error:#}")),
    }
    if let Err(error) = rows::check(&mut findings, &place.objects, block, &meta).await {
        findings.wrong(format!("{DATA}, read as tables"), format!("{error:#}"));
    }
    beside::check(&mut findings, &place.objects, block, &meta, &content).await;
    findings
}

/// What a meta says of itself.
fn meta_itself(findings: &mut Findings, block: &Block, meta: &Meta, name: &str) {
    findings.format.clone_from(&meta.format);
    findings.traces = meta.traces;
    findings.same(name, "blockID", meta.id.to_string(), block.id.to_string());
    findings.same(name, "tenantID", meta.tenant.to_string(), block.tenant.to_string());
    if meta.start > meta.end {
        findings.wrong(name, format!("startTime {} is after endTime {}", meta.start, meta.end));
    }
    for missing in [(meta.traces, "totalObjects"), (meta.row_groups.into(), "totalRecords")] {
        if missing.0 == 0 {
            findings.wrong(name, format!("{} is 0", missing.1));
        }
    }
}
