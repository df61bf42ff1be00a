//! The same suite on each kind of object store, through the real binary: what was pushed is flushed into the
//! store, found again by a server that starts with an empty disk, listed, verified, and deleted when it expires.

mod servers;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::artifacts;
use crate::blocks;
use crate::home::Home;
use crate::http::Client;
use crate::otlp::{Trace, request};
use crate::report::Report;
use crate::server::{Server, Setup};
use crate::shop::{Shop, now};
use crate::stack::{search, spans_of, wait};

use self::servers::Store;

/// Batches, each of which is flushed; the first is large enough for an upload in parts.
const BATCHES: [usize; 3] = [3000, 40, 40];

/// Of each batch so many traces are asked for one by one.
const ASKED: usize = 60;

/// Run the suite on all of them.
pub(crate) fn run(home: &Home, report: &mut Report) -> Result<()> {
    let binary = artifacts::vivace(home)?;
    servers::build(home)?;
    for (name, start) in servers::ALL {
        let place = tempfile::tempdir().context("make a folder for the stores")?;
        let store = match start(home, place.path()) {
            Ok(store) => store,
            Err(error) => {
                report.check(&format!("stores: {name} starts"), || Err(error));
                continue;
            }
        };
        suite(name, &binary, &store, place.path(), report);
    }
    Ok(())
}

fn suite(name: &str, binary: &Path, store: &Store, place: &Path, report: &mut Report) {
    let mut pushed = Vec::new();
    let written = report.check(&format!("stores: {name}: blocks are written"), || {
        pushed = write(binary, store, &place.join("first"))?;
        let listed = live(binary, store)?;
        ensure!(listed == BATCHES.len(), "{listed} blocks in the store, {} were flushed", BATCHES.len());
        blocks::check(binary, &store.url)
    });
    if !written {
        return;
    }
    report.check(&format!("stores: {name}: a server with an empty disk finds everything"), || {
        read(binary, store, &place.join("second"), &pushed)
    });
    report.check(&format!("stores: {name}: what has expired is deleted"), || {
        expire(binary, store, &place.join("third"))
    });
    report.check(&format!("stores: {name}: no secret is in any log"), || {
        let secret = store.secret;
        for run in ["first", "second", "third"] {
            let log = place.join(run).join("server.log");
            let said = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
            ensure!(secret.is_empty() || !said.contains(secret), "{}", log.display());
        }
        Ok(String::new())
    });
}

fn start(binary: &Path, store: &Store, folder: &Path, retention: Option<&'static str>) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let setup = Setup { store: Some(store.keys.clone()), retention, ..Setup::default() };
    Server::start_as(&setup, binary, folder)
}

/// Push each batch and have it written as a block of its own.
fn write(binary: &Path, store: &Store, folder: &Path) -> Result<Vec<Trace>> {
    let server = start(binary, store, folder, None)?;
    let (client, mut shop, mut all) = (Client::new(Duration::from_mins(1)), Shop::new(now()), Vec::new());
    for count in BATCHES {
        let traces = shop.traces(count, now());
        for part in traces.chunks(200) {
            client.export(&server.otlp, &request(part))?;
        }
        server.flush()?;
        all.extend(traces.into_iter().take(ASKED));
    }
    find(&server, &all).context("before the restart")?;
    server.stop()?;
    Ok(all)
}

fn read(binary: &Path, store: &Store, folder: &Path, pushed: &[Trace]) -> Result<String> {
    let server = start(binary, store, folder, None)?;
    find(&server, pushed)?;
    let client = Client::new(Duration::from_secs(30));
    let found = search(&client, &server.api, "{ resource.service.name = \"frontend\" }", 100_000)?;
    let ids: BTreeSet<_> =
        found.iter().filter_map(|trace| trace["traceID"].as_str()).map(|id| format!("{id:0>32}")).collect();
    let missing = pushed.iter().filter(|trace| !ids.contains(&trace.hex())).count();
    ensure!(
        missing == 0,
        "{missing} of {} traces are not in the {} that a search finds",
        pushed.len(),
        ids.len()
    );
    let metrics = client.get(&format!("{}/metrics", server.api), &[])?.text_whole();
    let requests = metrics
        .lines()
        .filter(|line| line.starts_with("tempodb_backend_request_duration_seconds_count{"))
        .count();
    ensure!(requests > 0, "no request to the store is in the metrics");
    server.stop()?;
    Ok(format!("{} traces by id, {} by search", pushed.len(), ids.len()))
}

/// Every trace has all its spans, each once.
fn find(server: &Server, pushed: &[Trace]) -> Result<()> {
    let client = Client::new(Duration::from_secs(30));
    for trace in pushed {
        let found = spans_of(&client, &server.api, &trace.hex())?;
        let (wanted, got) = (trace.spans.len(), found.len());
        ensure!(wanted == got, "trace {}: {got} of {wanted} spans", trace.hex());
    }
    Ok(())
}

fn expire(binary: &Path, store: &Store, folder: &Path) -> Result<String> {
    let server = start(binary, store, folder, Some("1s"))?;
    wait(Duration::from_mins(1), "the blocks are gone", || {
        let left = listed(binary, store)?.len();
        ensure!(left == 0, "{left} blocks are left");
        Ok(())
    })?;
    server.stop()?;
    Ok(String::new())
}

fn live(binary: &Path, store: &Store) -> Result<usize> {
    Ok(listed(binary, store)?.iter().filter(|block| block["state"] != "compacted").count())
}

fn listed(binary: &Path, store: &Store) -> Result<Vec<Value>> {
    let answer = blocks::list(binary, &store.url)?;
    Ok(answer["blocks"].as_array().or_else(|| answer.as_array()).cloned().unwrap_or_default())
}
