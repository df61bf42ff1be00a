//! Logs in the object store: of two servers one is killed with SIGKILL under load, its disk is wiped, and it never
//! comes back. The other one makes every acknowledged span searchable within ten seconds, and in the end it
//! stands in one block.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::blocks;
use crate::crash::{Acknowledged, verify, write};
use crate::faults::minio::{BUCKET, KEY, Minio, SECRET};
use crate::home::Home;
use crate::ports::free_port;
use crate::report::Report;
use crate::server::{Member, Server, Setup};
use crate::stack::wait;

/// Writers to each server.
const WRITERS: u64 = 2;
/// Traces that are looked for at once.
const SAMPLE: usize = 50;
/// Everything is to be found again so soon after the kill.
const LIMIT: Duration = Duration::from_secs(10);

/// Kill one of two as often as asked.
pub(crate) fn run(home: &Home, binary: &Path, runs: u32, report: &mut Report) {
    for run in 1..=runs {
        let name = format!(
            "heir {run}: what one of two acknowledged is found from the other when it never comes back"
        );
        report.check(&name, || once(home, binary, run));
    }
}

fn once(home: &Home, binary: &Path, run: u32) -> Result<String> {
    let folder = tempfile::tempdir().context("make a folder for the servers")?;
    let minio = Minio::start(home, &folder.path().join("minio"))?;
    let store = format!(
        "    backend: s3\n    s3: {{bucket: {BUCKET}, endpoint: '{}', access_key: {KEY}, secret_key: {SECRET}, insecure: true, forcepathstyle: true}}",
        minio.address
    );
    let ports = [free_port()?, free_port()?];
    let start = |name: &str, gossip: u16| {
        let own = folder.path().join(name);
        fs::create_dir_all(&own)?;
        let member = Member { name: name.to_owned(), gossip, all: ports.to_vec() };
        let setup = Setup { store: Some(store.clone()), member: Some(member), ..Setup::default() };
        Server::start_as(&setup, binary, &own)
    };
    let (first, second) = (start("first", ports[0])?, start("second", ports[1])?);
    wait(Duration::from_secs(20), "both know each other", || knows_both(&second))?;
    let alive = Duration::from_millis(1500 + 700 * u64::from(run % 4));
    let (acknowledged, killed) = load_and_kill(first, &second, alive, &folder.path().join("first"))?;
    let spans: usize = acknowledged.values().map(std::collections::BTreeSet::len).sum();
    ensure!(spans > 0, "nothing was acknowledged in {} ms", alive.as_millis());
    // A query meanwhile waits for the heir: it never says that a trace is not there.
    let every = acknowledged.len().div_ceil(SAMPLE).max(1);
    let sample = acknowledged.iter().step_by(every).map(|(id, spans)| (id.clone(), spans.clone())).collect();
    verify(&second, &sample).context("at once after the kill")?;
    let took = killed.elapsed();
    ensure!(took < LIMIT, "searchable {} ms after the kill, at most 10 s are allowed", took.as_millis());
    verify(&second, &acknowledged).context("from the heir")?;
    second.flush()?;
    verify(&second, &acknowledged).context("after a flush")?;
    second.stop()?;
    let checked = blocks::check(binary, &minio.url())?;
    Ok(format!(
        "{spans} acknowledged spans of {} traces, searchable {} ms after the kill; {checked}",
        acknowledged.len(),
        took.as_millis()
    ))
}

/// Load both for a while, kill the first and wipe its disk; what was acknowledged, and when it was killed.
fn load_and_kill(
    first: Server,
    second: &Server,
    alive: Duration,
    disk: &Path,
) -> Result<(Acknowledged, Instant)> {
    let stop = AtomicBool::new(false);
    let stop = &stop;
    let (one, other) = (first.otlp.clone(), second.otlp.clone());
    let (one, other) = (one.as_str(), other.as_str());
    thread::scope(|scope| {
        let writer = |writer: u64| {
            let to = if writer.is_multiple_of(2) { one } else { other };
            scope.spawn(move || write(to, writer, stop))
        };
        let writers: Vec<_> = (0..2 * WRITERS).map(writer).collect();
        thread::sleep(alive);
        let gone = first.kill();
        let killed = Instant::now();
        stop.store(true, Ordering::Relaxed);
        let mut all = Acknowledged::new();
        for writer in writers {
            all.extend(writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?);
        }
        gone?;
        fs::remove_dir_all(disk).context("wipe the disk of the first")?;
        Ok((all, killed))
    })
}

fn knows_both(server: &Server) -> Result<()> {
    ensure!(server.log_text()?.contains("member found"), "it knows of no other");
    Ok(())
}
