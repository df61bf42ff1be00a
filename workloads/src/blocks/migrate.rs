//! `vivace blocks migrate`: blocks of one store copied into another. IO.
//!
//! A block is passed over where the other store has it whole, live or compacted since, so that a migration can
//! be cut short and repeated as often as one likes. A block's objects are fetched into a local directory, and
//! committed from there as an ingester commits its own: `meta.json` last (rule *meta-last*).

use std::{io::IsTerminal, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context as _, ensure};
use clap::Args;
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tracing_core::{
    block::Meta,
    store::{DATA, META},
};
use vivace_config::CommandLine;

use super::{
    place::Place,
    print,
    rewrite::Form,
    survey::{Block, COMPACTED, Survey},
};

/// Bytes of an object that are fetched by one request.
const PART: u64 = 8 << 20;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the blocks are: a directory, a configuration file (*.yaml), or a URL; else as -config.file says
    #[arg(long, value_name = "DIR|FILE|URL")]
    from: Option<String>,
    /// Where they are to be
    #[arg(long, value_name = "DIR|FILE|URL")]
    to: String,
    /// Only this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Blocks that are copied at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// For blocks under way; the system's directory for temporary files if not given
    #[arg(long, value_name = "DIR")]
    scratch: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    form: Form,
}

/// What became of the blocks.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    copied: usize,
    /// They were there already.
    skipped: usize,
    failed: Vec<Failure>,
    traces: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Failure {
    tenant: String,
    block: String,
    error: String,
}

/// One block's end.
enum End {
    Copied(Arc<Meta>),
    Skipped,
}

/// From where to where, and how.
struct Migration {
    from: Place,
    to: Place,
    /// What was there when it began.
    there: Survey,
    form: Form,
    scratch: tempfile::TempDir,
}

pub(super) async fn run(options: &Options, line: &CommandLine) -> anyhow::Result<ExitCode> {
    options.form.check()?;
    let from = Place::open(options.from.as_deref(), line).context("--from")?;
    let to = Place::open_or_make(Some(&options.to), line, true).context("--to")?;
    let tenant =
        options.tenant.as_deref().map(tracing_core::model::Tenant::new).transpose().context("--tenant")?;
    let blocks = Survey::take(&from.objects, tenant.as_ref()).await.context("--from")?;
    let there = Survey::take(&to.objects, tenant.as_ref()).await.context("--to")?;
    let scratch = match &options.scratch {
        Some(dir) => tempfile::tempdir_in(dir).with_context(|| format!("--scratch {dir}"))?,
        None => tempfile::tempdir().context("a directory for blocks under way")?,
    };
    let live: Vec<_> = blocks.blocks().filter(|block| block.seen.is_live()).collect();
    let progress = progress(&live, options.json);
    let migration = Migration { from, to, there, form: options.form.clone(), scratch };
    let all = live.iter().map(|block| {
        let (migration, progress) = (&migration, &progress);
        async move { (block, migration.block(block, progress).await) }
    });
    let mut ends = std::pin::pin!(stream::iter(all).buffer_unordered(options.concurrency.into()));
    let mut outcome = Outcome::default();
    while let Some((block, end)) = ends.next().await {
        outcome.add(block, end, &progress, options.json);
    }
    progress.finish_and_clear();
    if options.json {
        print::json(&outcome)?;
    } else {
        let Outcome { copied, skipped, failed, traces, bytes } = &outcome;
        println!(
            "{} -> {}: {copied} blocks copied ({traces} traces, {}), {skipped} were there, {} failed",
            migration.from,
            migration.to,
            print::size(*bytes),
            failed.len()
        );
    }
    Ok(if outcome.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bar of bytes on a terminal, nothing else.
fn progress(blocks: &[Block], json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(blocks.iter().map(|block| block.seen.bytes()).sum());
    let template = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

impl Outcome {
    fn add(&mut self, block: &Block, end: anyhow::Result<End>, progress: &ProgressBar, json: bool) {
        let name = format!("{}/{}", block.tenant, block.id);
        let line = match end {
            Ok(End::Copied(meta)) => {
                self.copied += 1;
                self.traces += meta.traces;
                self.bytes += meta.size;
                let into = if meta.id == block.id {
                    String::new()
                } else {
                    format!(" as {} {}", meta.format, meta.id)
                };
                format!("copied {name}{into}, {} traces, {}", meta.traces, print::size(meta.size))
            }
            Ok(End::Skipped) => {
                self.skipped += 1;
                format!("there   {name}")
            }
            Err(error) => {
                let error = format!("{error:#}");
                let line = format!("FAILED {name}: {error}");
                let (tenant, block) = (block.tenant.to_string(), block.id.to_string());
                self.failed.push(Failure { tenant, block, error });
                line
            }
        };
        if json {
            return;
        }
        progress.suspend(|| println!("{line}"));
    }
}

impl Migration {
    async fn block(&self, block: &Block, progress: &ProgressBar) -> anyhow::Result<End> {
        let meta = block.meta(&self.from.objects).await?;
        let id = if self.form.is_same() { meta.id } else { self.form.id(&meta) };
        if self.is_there(block, &meta, id).await? {
            progress.inc(block.seen.bytes());
            return Ok(End::Skipped);
        }
        let dir = self.scratch.path().join(format!("{}-{}", block.tenant.as_str().len(), block.id));
        let copied = self.copy(block, meta, &dir, progress).await;
        let removed = tokio::fs::remove_dir_all(&dir).await;
        let copied = copied?;
        removed.with_context(|| dir.display().to_string())?;
        Ok(End::Copied(copied))
    }

    /// Whether the other store has the block whole, or had it.
    async fn is_there(
        &self,
        block: &Block,
        meta: &Meta,
        id: tracing_core::model::BlockId,
    ) -> anyhow::Result<bool> {
        let there = self.there.tenants.get(&block.tenant).and_then(|blocks| blocks.get(&id));
        let Some(seen) = there.filter(|seen| seen.meta_name().is_some()) else { return Ok(false) };
        if seen.objects.contains_key(COMPACTED) {
            return Ok(true);
        }
        let other = Block { tenant: block.tenant.clone(), id, seen: seen.clone() };
        let known = other.meta(&self.to.objects).await?;
        ensure!(
            known.traces == meta.traces,
            "the other store has another block of this id, of {} traces",
            known.traces
        );
        let whole = seen.objects.get(DATA) == Some(&known.size)
            && (0..known.bloom_shards).all(|number| seen.objects.contains_key(&format!("bloom-{number}")));
        ensure!(whole, "the other store has the block's meta.json, but not all of its objects");
        Ok(true)
    }

    async fn copy(
        &self,
        block: &Block,
        meta: Meta,
        dir: &Path,
        progress: &ProgressBar,
    ) -> anyhow::Result<Arc<Meta>> {
        tokio::fs::create_dir_all(dir).await.with_context(|| dir.display().to_string())?;
        if !self.form.is_same() {
            let (written, files) = self.form.write(&self.from.objects, block, &meta, dir).await?;
            self.to.store.commit(&written, &files).await?;
            progress.inc(block.seen.bytes());
            return Ok(written);
        }
        let whole = block.seen.objects.get(DATA) == Some(&meta.size);
        ensure!(whole, "{DATA} is not as long as {META} says: it is not copied, see `vivace blocks check`");
        for (name, size) in block.seen.objects.iter().filter(|(name, _)| *name != META && *name != COMPACTED)
        {
            let (key, path) = (block.key(name), dir.join(name));
            self.fetch(&key, *size, &path, progress).await.with_context(|| name.clone())?;
        }
        let meta = Arc::new(meta);
        self.to.store.commit(&meta, dir).await?;
        Ok(meta)
    }

    /// Fetches an object into a file, part by part.
    async fn fetch(&self, key: &str, size: u64, path: &Path, progress: &ProgressBar) -> anyhow::Result<()> {
        let mut file = tokio::fs::File::create(path).await?;
        let mut at = 0;
        while at < size {
            let end = size.min(at + PART);
            let bytes = self.from.objects.get_range(key, at..end).await?;
            file.write_all(&bytes).await?;
            progress.inc(end - at);
            at = end;
        }
        Ok(file.flush().await?)
    }
}
