//! `vivace`: flags and file to a configuration, a configuration to a running process, until it is told to stop.

use std::{process::ExitCode, time::Instant};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use vivace::{
    app::{self, App},
    membership::Role,
};
use vivace_config::{CommandLine, Config, Loaded};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Memory that is free goes back to the system soon, and in the background.
#[expect(unsafe_code, reason = "jemalloc reads its settings from a symbol of this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 85] =
    b"background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0,narenas:2,abort_conf:true\0";

/// Exit code of a process that was told to stop and could not upload all that its ingester holds. The operator goes by it: a
/// volume is only given up after an ingester that ended well.
const NOT_UPLOADED: u8 = 3;

fn main() -> ExitCode {
    let begin = Instant::now();
    let mut arguments = std::env::args().skip(1).peekable();
    let done = match arguments.next_if(|word| word == "blocks") {
        Some(_) => vivace::blocks::run(arguments),
        None => run(begin, arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vivace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(begin: Instant, arguments: impl Iterator<Item = String>) -> anyhow::Result<ExitCode> {
    let line = CommandLine::parse(arguments)?;
    if line.help {
        print!("{}", vivace_config::help());
        return Ok(ExitCode::SUCCESS);
    }
    if line.version {
        println!("vivace, version {} (speaks Tempo {})", app::VERSION, app::TEMPO_VERSION);
        return Ok(ExitCode::SUCCESS);
    }
    let Loaded { config, warnings } = app::configuration(&line)?;
    vivace::telemetry::start(&config.server)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let target = app::check(&config)?;
    if line.verify {
        println!("the configuration is sound: target {}, {} unknown keys", target.name(), warnings.len());
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(64)
        .thread_name("vivace")
        .build()
        .context("threads")?;
    // A log that was not opened may hold what has to be uploaded.
    let unopened = if target.has(Role::Ingester) { ExitCode::from(NOT_UPLOADED) } else { ExitCode::SUCCESS };
    runtime.block_on(serve(config, begin, unopened))
}

/// Serves until it is told to stop; `unopened` is the answer where that was before it began.
async fn serve(config: Config, begin: Instant, unopened: ExitCode) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let target = config.target().to_owned();
    let app = tokio::select! {
        app = App::start(config) => app?,
        _ = terminate.recv() => return Ok(unopened),
        _ = interrupt.recv() => return Ok(unopened),
    };
    let took = begin.elapsed().as_millis() as u64;
    tracing::info!(version = app::VERSION, target, http = %app.http(), grpc = %app.grpc(), took_ms = took, "ready");
    for (name, address) in app.receivers() {
        tracing::info!(receiver = name, %address, "receiver is open");
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = app.ended() => tracing::info!("stopping, as was asked for"),
    }
    let is_drained = app.stop().await;
    tracing::info!("stopped");
    Ok(if is_drained { ExitCode::SUCCESS } else { ExitCode::from(NOT_UPLOADED) })
}
