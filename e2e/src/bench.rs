//! The figures of one server on this machine: how fast it starts, how soon it finds what it acknowledged, how much it takes, with how much memory.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::artifacts;
use crate::home::Home;
use crate::http::Client;
use crate::otlp::{Template, request};
use crate::server::{Server, Setup};
use crate::shop::{Shop, now};
use crate::stack::{search, spans_of};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds of load in each part
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Connections that send at once
    #[arg(long, default_value_t = 6)]
    connections: u64,
    /// Spans in a request, about
    #[arg(long, default_value_t = 500)]
    batch: usize,
}

/// What a load came to.
#[derive(Debug)]
struct Load {
    spans: u64,
    bytes: u64,
    took: Duration,
    cpu: Duration,
    /// From sending a request to its acknowledgement, ascending.
    waits: Vec<Duration>,
}

/// Measure and print.
pub(crate) fn run(home: &Home, options: &Options) -> Result<()> {
    let binary = artifacts::vivace(home)?;
    let cores = thread::available_parallelism()?.get();
    println!(
        "{cores} cores; load over OTLP/HTTP, {} connections, about {} spans a request",
        options.connections, options.batch
    );
    idle(&binary)?;
    println!("\nserver on one core:");
    load(&["taskset", "-c", "0"], &binary, options)?;
    if cores > 1 {
        println!("\nserver on all cores:");
        load(&[], &binary, options)?;
    }
    Ok(())
}

/// Start, memory at rest, and the time from acknowledgement to being found.
fn idle(binary: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let server = Server::start(binary, folder.path())?;
    thread::sleep(Duration::from_secs(3));
    println!("start to ready           {:>9.1} ms", server.ready_after.as_secs_f64() * 1e3);
    println!("resident at rest         {:>9.1} MB", server.memory_kib("VmRSS")? as f64 / 1e3);
    let (client, mut shop) = (Client::new(Duration::from_secs(20)), Shop::new(now()));
    let (mut by_id, mut by_search) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let traces = shop.traces(1, now());
        client.export(&server.otlp, &request(&traces))?;
        let (acknowledged, id) = (Instant::now(), traces[0].hex());
        while spans_of(&client, &server.api, &id)?.len() < traces[0].spans.len() {}
        by_id.push(acknowledged.elapsed());
        let query = format!("{{ trace:id = \"{id}\" }}");
        while search(&client, &server.api, &query, 1)?.is_empty() {}
        by_search.push(acknowledged.elapsed());
    }
    for (name, mut times) in [("acknowledged to by id   ", by_id), ("acknowledged to searched", by_search)] {
        times.sort_unstable();
        println!(
            "{name} {:>9.1} ms p50, {:.1} ms worst of {}",
            millis(&times, 50),
            millis(&times, 100),
            times.len()
        );
    }
    server.stop()
}

fn load(wrapper: &[&str], binary: &Path, options: &Options) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let server = Server::start_under(wrapper, binary, folder.path(), &Setup::default())?;
    let load = send(&server, options)?;
    let rate = load.spans as f64 / load.took.as_secs_f64();
    println!(
        "accepted                 {:>9.0} spans/s ({:.1} MB/s)",
        rate,
        load.bytes as f64 / 1e6 / load.took.as_secs_f64()
    );
    println!("accepted per CPU second  {:>9.0} spans/s/core", load.spans as f64 / load.cpu.as_secs_f64());
    println!(
        "acknowledged             {:>9.1} ms p50, {:.1} ms p99",
        millis(&load.waits, 50),
        millis(&load.waits, 99)
    );
    let before = server.cpu()?;
    server.flush()?;
    let all = load.cpu + server.cpu()?.saturating_sub(before);
    println!("same with blocks written {:>9.0} spans/s/core", load.spans as f64 / all.as_secs_f64());
    println!("peak resident            {:>9.1} MB", server.memory_kib("VmHWM")? as f64 / 1e3);
    server.stop()
}

fn send(server: &Server, options: &Options) -> Result<Load> {
    let (before, began) = (server.cpu()?, Instant::now());
    let limit = Duration::from_secs(options.seconds);
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = (0..options.connections)
            .map(|worker| scope.spawn(move || connection(&server.otlp, worker, options.batch, began + limit)))
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().map_err(|_| anyhow!("a sender panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    let (took, cpu) = (began.elapsed(), server.cpu()?.saturating_sub(before));
    let mut load = Load { spans: 0, bytes: 0, took, cpu, waits: Vec::new() };
    for (spans, bytes, waits) in parts {
        load.spans += spans;
        load.bytes += bytes;
        load.waits.extend(waits);
    }
    load.waits.sort_unstable();
    Ok(load)
}

/// Send one connection's requests until the time is over: spans, bytes, and the wait of each.
fn connection(otlp: &str, worker: u64, batch: usize, until: Instant) -> Result<(u64, u64, Vec<Duration>)> {
    let (client, mut shop) = (Client::new(Duration::from_secs(30)), Shop::new(now() ^ worker << 40));
    let mut templates: Vec<_> = (0..8).map(|_| Template::new(&batch_of(&mut shop, batch))).collect();
    let mut last = vec![now(); templates.len()];
    let (mut spans, mut bytes, mut waits) = (0, 0, Vec::new());
    while Instant::now() < until {
        for (template, last) in templates.iter_mut().zip(&mut last) {
            let time = now();
            template.renew(shop.next(), time - *last);
            *last = time;
            let began = Instant::now();
            client.export(otlp, &template.body)?;
            waits.push(began.elapsed());
            spans += template.spans;
            bytes += template.body.len() as u64;
        }
    }
    Ok((spans, bytes, waits))
}

fn batch_of(shop: &mut Shop, spans: usize) -> Vec<crate::otlp::Trace> {
    let (mut traces, mut count) = (Vec::new(), 0);
    while count < spans {
        let some = shop.traces(1, now());
        count += some.iter().map(|t| t.spans.len()).sum::<usize>();
        traces.extend(some);
    }
    traces
}

/// A percentile of sorted times.
fn millis(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |d| d.as_secs_f64() * 1e3)
}
