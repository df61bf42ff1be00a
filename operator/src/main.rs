//! `vivace-operator`: the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;
use vivace_operator::{GatherOptions, GenerateOptions, RunOptions, api, gather, generate, print, run};

/// Runs TempoStack resources: deploys, scales and heals the tracing workloads.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// What is logged: error, warn, info, debug, or directives such as `info,kube=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", global = true)]
    log_level: String,
    /// How it is logged.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "text", global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run against the cluster of the kubeconfig, or the one this pod is in.
    Run(RunOptions),
    /// Print the custom resource definitions.
    Crds {
        /// Folder to write them to, one file each.
        #[arg(long)]
        output: Option<PathBuf>,
        /// Fail when the files in the folder are not what would be written.
        #[arg(long, requires = "output")]
        check: bool,
    },
    /// Print the objects of a stack without touching a cluster.
    Generate(GenerateOptions),
    /// Collect the state of the operator and its stacks, with secrets left out, for somebody who cannot look at the cluster.
    MustGather(GatherOptions),
    /// Wait until a file is there and holds something, then print it. For pods that wait for their zone.
    AwaitFile {
        /// The file.
        path: PathBuf,
    },
    /// Print the version.
    Version,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Run(options) => {
            log(&arguments.log_level, arguments.log_format)?;
            runtime()?.block_on(run(options))
        }
        Command::MustGather(options) => {
            log(&arguments.log_level, arguments.log_format)?;
            runtime()?.block_on(gather(options))
        }
        Command::Crds { output, check } => crds(output.as_deref(), check),
        Command::Generate(options) => generate(options),
        Command::AwaitFile { path } => await_file(&path),
        Command::Version => Ok(print(concat!("vivace-operator ", env!("CARGO_PKG_VERSION"), "\n"))?),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start the runtime")
}

/// Looks once a second: the kubelet writes the file anew, under the same name.
fn await_file(path: &Path) -> anyhow::Result<()> {
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if !text.trim().is_empty() {
            return Ok(print(&format!("{}\n", text.trim()))?);
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn log(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(level).with_context(|| format!("log level `{level}` is not understood"))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

fn crds(output: Option<&Path>, check: bool) -> anyhow::Result<()> {
    for (at, definition) in api::definitions()?.into_iter().enumerate() {
        let yaml = api::yaml(&definition)?;
        let Some(folder) = output else {
            print(if at == 0 { "" } else { "---\n" })?;
            print(&yaml)?;
            continue;
        };
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
        let path = folder.join(format!("{}_{plural}.yaml", api::GROUP));
        if check {
            if std::fs::read_to_string(&path).unwrap_or_default() != yaml {
                bail!(
                    "{} is stale: run `vivace-operator crds --output {}`",
                    path.display(),
                    folder.display()
                );
            }
        } else {
            std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
