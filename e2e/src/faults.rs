//! Load while the object store is killed, deaf, slow and full: every span that was acknowledged is found afterwards, and every block is sound.

pub(crate) mod minio;
mod proxy;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::crash::decode;
use crate::home::Home;
use crate::http::Client;
use crate::otlp::{Trace, hex, request};
use crate::report::Report;
use crate::server::{Server, Setup};
use crate::shop::{Shop, now};
use crate::stack::{spans_of, wait};
use crate::{artifacts, blocks};

use self::minio::{BUCKET, Disk, KEY, Minio, SECRET};
use self::proxy::Proxy;

/// Senders; each waits for its answer and sends a refused batch again, as a collector does.
const WRITERS: u64 = 4;
/// Traces of a batch.
const BATCH: usize = 40;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// MiB of OTLP to send in all; the faults are spread over it
    #[arg(long, default_value_t = 64)]
    pub(crate) mib: u64,
    /// Seconds that each fault lasts
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,
    /// Look for every so manieth acknowledged trace
    #[arg(long, default_value_t = 1)]
    pub(crate) every: usize,
    /// MiB of the store's disk
    #[arg(long, default_value_t = 512)]
    pub(crate) disk: u64,
}

/// A batch that was acknowledged: the state of the shop that makes it again, and the time it was made for.
#[derive(Debug, Clone)]
struct Sent {
    shop: Shop,
    now: u64,
}

/// What the senders share.
#[derive(Debug, Default)]
struct Load {
    stop: AtomicBool,
    bytes: AtomicU64,
    spans: AtomicU64,
    refused: AtomicU64,
    sent: Mutex<Vec<Sent>>,
    /// Bytes that may have been sent by now: the load is spread evenly over the faults.
    allowed: AtomicU64,
}

/// Load, faults, and the search for what was acknowledged.
pub(crate) fn run(home: &Home, options: &Options, report: &mut Report) -> Result<()> {
    let binary = artifacts::vivace(home)?;
    let place = tempfile::tempdir().context("make a folder for the server")?;
    let data = place.path().join("minio");
    std::fs::create_dir_all(&data)?;
    let disk = Disk::mount(&data, options.disk)?;
    let mut minio = Minio::start(home, &data)?;
    let proxy = Proxy::start(minio.address.clone())?;
    let setup = Setup { store: Some(store(&proxy)), compacts: true, ..Setup::default() };
    let server = Server::start_as(&setup, &binary, place.path())?;
    let load = Load::default();
    report.check("faults: load while the store is killed, deaf, slow and full", || {
        let said = under_load(&load, &server, options, |name| match name {
            "killed" => minio.kill(),
            "back" => minio.resume(),
            "deaf" => {
                proxy.deaf(true);
                Ok(())
            }
            "slow" => {
                proxy.slow(Duration::from_millis(120), 400_000);
                Ok(())
            }
            "full" => disk.as_ref().map_or(Ok(()), Disk::fill),
            "free" => disk.as_ref().map_or(Ok(()), Disk::free),
            _ => {
                proxy.deaf(false);
                proxy.slow(Duration::ZERO, 0);
                Ok(())
            }
        })?;
        let left_out = if disk.is_none() { "; only root can fill a disk" } else { "" };
        Ok(format!("{said}{left_out}"))
    });
    let server = verify_all(server, &load, options, &setup, &binary, place.path(), report)?;
    server.stop()?;
    report.check("faults: blocks check finds nothing wrong", || blocks::check(&binary, &minio.url()));
    let acknowledged = load.spans.load(Ordering::Relaxed);
    report.check("faults: the blocks hold what was acknowledged", || {
        let listed = blocks::list(&binary, &minio.url())?;
        let live = listed["blocks"]
            .as_array()
            .context("no blocks")?
            .iter()
            .filter(|block| block["compacted"].is_null());
        let stored: u64 = live.filter_map(|block| block["spans"].as_u64()).sum();
        ensure!(stored >= acknowledged, "{stored} spans are stored, {acknowledged} were acknowledged");
        Ok(format!("{stored} spans stored, {acknowledged} acknowledged"))
    });
    Ok(())
}

fn store(proxy: &Proxy) -> String {
    let Proxy { address, .. } = proxy;
    format!(
        "    backend: s3
    s3: {{bucket: {BUCKET}, endpoint: '{address}', insecure: true, forcepathstyle: true, access_key: {KEY}, secret_key: {SECRET}}}"
    )
}

/// The faults, one after the other, each with a pause behind it; blocks are written all the while.
fn under_load(
    load: &Load,
    server: &Server,
    options: &Options,
    mut fault: impl FnMut(&str) -> Result<()>,
) -> Result<String> {
    let target = options.mib << 20;
    let began = Instant::now();
    let planned = Duration::from_secs(options.seconds * 9);
    let outcome = thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || write(load, &server.otlp, writer));
        }
        scope.spawn(|| {
            while !load.stop.load(Ordering::Relaxed) {
                let share = began.elapsed().as_secs_f64() / planned.as_secs_f64();
                load.allowed.store((target as f64 * share.clamp(0.01, 1.0)) as u64, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        scope.spawn(|| {
            while !load.stop.load(Ordering::Relaxed) {
                // no answer is needed: the store may be away
                let _ = Client::new(Duration::from_secs(20)).get(&format!("{}/flush", server.api), &[]);
                thread::sleep(Duration::from_secs(2));
            }
        });
        let stepped = one_after_the_other(load, options, &mut fault);
        while stepped.is_ok()
            && load.bytes.load(Ordering::Relaxed) < target
            && began.elapsed() < Duration::from_hours(1)
        {
            thread::sleep(Duration::from_millis(20));
        }
        load.stop.store(true, Ordering::Relaxed);
        stepped
    });
    outcome?;
    let (bytes, spans) = (load.bytes.load(Ordering::Relaxed), load.spans.load(Ordering::Relaxed));
    ensure!(bytes >= target, "{} MiB were acknowledged within an hour", bytes >> 20);
    Ok(format!(
        "{} MiB and {spans} spans acknowledged in {:.0} s, {} answers were refusals",
        bytes >> 20,
        began.elapsed().as_secs_f64(),
        load.refused.load(Ordering::Relaxed)
    ))
}

/// Begins and ends the faults, each after its share of the load, or when that does not come.
fn one_after_the_other(
    load: &Load,
    options: &Options,
    fault: &mut impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let faults = ["killed", "back", "deaf", "well", "slow", "well", "full", "free"];
    for (name, at) in faults.into_iter().zip(1..) {
        let share = (options.mib << 20) * at / 9;
        let began = Instant::now();
        let (least, most) = (Duration::from_secs(options.seconds), Duration::from_secs(options.seconds * 4));
        while began.elapsed() < least || began.elapsed() < most && load.bytes.load(Ordering::Relaxed) < share
        {
            thread::sleep(Duration::from_millis(20));
        }
        fault(name).with_context(|| format!("the fault `{name}`"))?;
    }
    Ok(())
}

fn write(load: &Load, otlp: &str, writer: u64) {
    let client = Client::new(Duration::from_secs(30));
    let mut shop = Shop::new(now() ^ writer << 48);
    while !load.stop.load(Ordering::Relaxed) {
        if load.bytes.load(Ordering::Relaxed) > load.allowed.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        let sent = Sent { shop: shop.clone(), now: now() };
        let traces = shop.traces(BATCH, sent.now);
        let body = request(&traces);
        while client.export(otlp, &body).is_err() {
            load.refused.fetch_add(1, Ordering::Relaxed);
            if load.stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
        load.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        load.spans.fetch_add(traces.iter().map(|trace| trace.spans.len() as u64).sum(), Ordering::Relaxed);
        if let Ok(mut all) = load.sent.lock() {
            all.push(sent);
        }
    }
}

/// Look for everything three times: as it is, when all is in blocks, and after a restart.
fn verify_all(
    server: Server,
    load: &Load,
    options: &Options,
    setup: &Setup,
    binary: &Path,
    folder: &Path,
    report: &mut Report,
) -> Result<Server> {
    report.check("faults: every acknowledged span is found", || verify(&server, load, options.every));
    report.check("faults: everything is written to blocks once the store is well", || {
        wait(Duration::from_mins(3), "the flush", || server.flush())?;
        verify(&server, load, options.every)
    });
    server.kill()?;
    let server = Server::start_as(setup, binary, folder)?;
    report.check("faults: every acknowledged span is found after kill -9 and a restart", || {
        verify(&server, load, options.every)
    });
    server.flush()?;
    Ok(server)
}

fn verify(server: &Server, load: &Load, every: usize) -> Result<String> {
    let sent = load.sent.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?.clone();
    let (next, looked, spans) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let lost = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let client = Client::new(Duration::from_mins(1));
                while let Some(batch) = sent.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let traces = batch.shop.clone().traces(BATCH, batch.now);
                    for trace in traces.iter().step_by(every.max(1)) {
                        if let Err(error) = found(&client, &server.api, trace)
                            && let Ok(mut lost) = lost.lock()
                        {
                            lost.push(format!("{error:#}"));
                        }
                        looked.fetch_add(1, Ordering::Relaxed);
                        spans.fetch_add(trace.spans.len() as u64, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let lost = lost.into_inner().unwrap_or_default();
    let first = lost.first().cloned().unwrap_or_default();
    ensure!(lost.is_empty(), "{} of {} traces: {first}", lost.len(), looked.load(Ordering::Relaxed));
    Ok(format!("{} spans of {} traces", spans.load(Ordering::Relaxed), looked.load(Ordering::Relaxed)))
}

fn found(client: &Client, api: &str, trace: &Trace) -> Result<()> {
    let given: BTreeSet<_> =
        spans_of(client, api, &trace.hex())?.iter().filter_map(|id| decode(id)).collect();
    let lost = trace.spans.iter().filter(|span| !given.contains(&hex(&span.id))).count();
    ensure!(lost == 0, "trace {}: {lost} of {} acknowledged spans are lost", trace.hex(), trace.spans.len());
    Ok(())
}
