//! Nothing acknowledged is lost: a real server under load by many small batches is killed with SIGKILL, started again, and every acknowledged span is looked for.
//! In every second run blocks are flushed all the while, so that the kill also falls between the steps of writing a block and removing the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::artifacts;
use crate::blocks;
use crate::heir;
use crate::home::Home;
use crate::http::Client;
use crate::otlp::{Span, Trace, hex, request};
use crate::report::Report;
use crate::server::Server;
use crate::shop::{Shop, now};
use crate::stack::spans_of;

const WRITERS: u64 = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many times the server is killed
    #[arg(long, default_value_t = 4)]
    pub(crate) runs: u32,
}

/// Span ids by trace id, both in hex.
pub(crate) type Acknowledged = BTreeMap<String, BTreeSet<String>>;

/// Kill the server as often as asked.
pub(crate) fn run(home: &Home, options: &Options, report: &mut Report) -> Result<()> {
    let binary = artifacts::vivace(home)?;
    for run in 1..=options.runs {
        let flushing = if run.is_multiple_of(2) { " while flushing" } else { "" };
        report.check(&format!("crash {run}: kill -9 under load{flushing} loses nothing"), || {
            once(&binary, run)
        });
    }
    heir::run(home, &binary, options.runs.div_ceil(2), report);
    Ok(())
}

fn once(binary: &Path, run: u32) -> Result<String> {
    let folder = tempfile::tempdir().context("make a folder for the server")?;
    let server = Server::start(binary, folder.path())?;
    let alive = Duration::from_millis(700 + 370 * u64::from(run % 8));
    let acknowledged = load_and_kill(server, alive, run.is_multiple_of(2))?;
    let spans: usize = acknowledged.values().map(BTreeSet::len).sum();
    ensure!(spans > 0, "nothing was acknowledged in {} ms", alive.as_millis());
    let server = Server::start(binary, folder.path())?;
    let replayed = server.ready_after;
    verify(&server, &acknowledged).context("after the restart")?;
    server.flush()?;
    verify(&server, &acknowledged).context("after the restart and a flush")?;
    server.stop()?;
    let checked = blocks::check(binary, &folder.path().join("traces").display().to_string())?;
    let traces = acknowledged.len();
    Ok(format!(
        "{spans} acknowledged spans of {traces} traces found, ready {} ms after the restart; {checked}",
        replayed.as_millis()
    ))
}

/// Load for a while, kill, and return what was acknowledged.
fn load_and_kill(server: Server, alive: Duration, flushing: bool) -> Result<Acknowledged> {
    let (stop, otlp) = (AtomicBool::new(false), server.otlp.clone());
    let (stop, otlp) = (&stop, otlp.as_str());
    thread::scope(|scope| {
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(otlp, writer, stop))).collect();
        let began = Instant::now();
        while began.elapsed() < alive {
            if flushing {
                // an answer is not needed: the kill may come first
                let _ = Client::new(Duration::from_secs(5)).get(&format!("{}/flush", server.api), &[]);
            }
            thread::sleep(Duration::from_millis(50));
        }
        let killed = server.kill();
        stop.store(true, Ordering::Relaxed);
        let mut all = Acknowledged::new();
        for writer in writers {
            all.extend(writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?);
        }
        killed.map(|()| all)
    })
}

/// Send small batches until the server is gone. The spans of a trace come in several batches.
pub(crate) fn write(otlp: &str, writer: u64, stop: &AtomicBool) -> Acknowledged {
    let (client, mut acknowledged) = (Client::new(Duration::from_secs(5)), Acknowledged::new());
    let mut shop = Shop::new(now() ^ writer << 32);
    while !stop.load(Ordering::Relaxed) {
        let traces = shop.traces(3, now());
        let longest = traces.iter().map(|t| t.spans.len()).max().unwrap_or(0);
        for first in (0..longest).step_by(4) {
            let part = |spans: &[Span]| spans.iter().skip(first).take(4).cloned().collect::<Vec<_>>();
            let batch: Vec<_> =
                traces.iter().map(|t| Trace { id: t.id.clone(), spans: part(&t.spans) }).collect();
            if client.export(otlp, &request(&batch)).is_err() {
                return acknowledged;
            }
            for trace in batch.iter().filter(|t| !t.spans.is_empty()) {
                acknowledged.entry(trace.hex()).or_default().extend(trace.spans.iter().map(|s| hex(&s.id)));
            }
        }
    }
    acknowledged
}

pub(crate) fn verify(server: &Server, acknowledged: &Acknowledged) -> Result<()> {
    let client = Client::new(Duration::from_secs(20));
    for (id, wanted) in acknowledged {
        let found = spans_of(&client, &server.api, id)?;
        let unique: BTreeSet<_> = found.iter().filter_map(|base64| decode(base64)).collect();
        let lost = wanted.difference(&unique).count();
        ensure!(lost == 0, "trace {id}: {lost} of {} acknowledged spans are lost", wanted.len());
        ensure!(
            unique.len() == found.len(),
            "trace {id}: {} spans given, {} of them different",
            found.len(),
            unique.len()
        );
    }
    Ok(())
}

/// The hex of a span id that JSON gives as base64.
pub(crate) fn decode(base64: &str) -> Option<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut out) = (0_u32, 0_u32, Vec::with_capacity(8));
    for byte in base64.bytes().filter(|b| *b != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|a| *a == byte)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(hex(&out))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_span_id_in_base64_is_read() {
        assert_eq!(decode("4QAAAQAAAAE=").as_deref(), Some("e100000100000001"));
        assert_eq!(decode("4Q*A"), None);
    }
}
