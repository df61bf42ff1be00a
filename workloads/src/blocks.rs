//! `vivace blocks`: looks at the blocks of a store, checks them, prints their traces, rewrites and moves them. IO.
//!
//! The store is that of a configuration (`-config.file`, and Tempo's flags over it), or `--store`: a directory,
//! a configuration file, or a URL such as `s3://bucket/prefix?endpoint=minio:9000&insecure=true`.

mod cat;
mod check;
mod columns;
mod data;
mod list;
mod migrate;
mod place;
mod print;
mod rewrite;
mod survey;
mod tables;
mod view;

#[cfg(test)]
pub(crate) use check::problems;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tracing_core::model::Tenant;
use vivace_config::CommandLine;

use place::Place;

/// Looks at the blocks of a store, checks them, prints their traces, rewrites and moves them.
///
/// Tempo's flags name the store too: -config.file=tempo.yaml, -storage.trace.backend=s3, and so on.
#[derive(Debug, Parser)]
#[command(name = "vivace blocks", bin_name = "vivace blocks", version = crate::app::VERSION)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What all commands have in common.
#[derive(Debug, Args)]
struct Common {
    /// Where the blocks are: a directory, a configuration file (*.yaml), or a URL (s3://bucket/prefix?endpoint=…)
    #[arg(long, visible_alias = "path", value_name = "DIR|FILE|URL")]
    store: Option<String>,
    /// Only this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The blocks there are, newest first, and their sums
    List(list::Options),
    /// One block: its meta, row groups, columns, Bloom filter, and what lies beside it
    View(view::Options),
    /// Verify every checksum, offset, size, order, level and Bloom bit; exit code 1 and a list where something is wrong
    Check(check::Options),
    /// Print traces as JSON lines of OTLP
    Cat(cat::Options),
    /// What each column is and takes
    DumpColumns(columns::Options),
    /// Write a block again, in another format or with other dedicated columns
    Rewrite(rewrite::Options),
    /// Copy the blocks of a tenant, or of all, into another store; what is there already is passed over
    Migrate(migrate::Options),
}

impl Common {
    fn tenant(&self) -> anyhow::Result<Option<Tenant>> {
        let tenant = self.tenant.as_deref().map(Tenant::new).transpose();
        tenant.context("--tenant")
    }

    fn place(&self, line: &CommandLine) -> anyhow::Result<Place> {
        Place::open(self.store.as_deref(), line).context("the store")
    }
}

/// Runs the command that `arguments`, those after `blocks`, ask for.
///
/// # Errors
/// What keeps it from being run; blocks that are damaged are exit code 1 of a check and no error.
pub fn run(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<ExitCode> {
    let (line, own) = CommandLine::extract(arguments)?;
    let asked = match Arguments::try_parse_from(std::iter::once("vivace blocks".to_owned()).chain(own)) {
        Ok(asked) => asked,
        Err(error) => {
            // Help is one of these too, and is none.
            error.print().context("print the help")?;
            return Ok(if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS });
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    runtime.block_on(command(asked.command, &line))
}

async fn command(command: Command, line: &CommandLine) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list::run(&options, line).await?,
        Command::View(options) => view::run(&options, line).await?,
        Command::Check(options) => return check::run(&options, line).await,
        Command::Cat(options) => cat::run(&options, line).await?,
        Command::DumpColumns(options) => columns::run(&options, line).await?,
        Command::Rewrite(options) => rewrite::run(&options, line).await?,
        Command::Migrate(options) => return migrate::run(&options, line).await,
    }
    Ok(ExitCode::SUCCESS)
}
