//! Blocks that Tempo wrote: a server is pointed at a copy of a bucket of Tempo's and asked the recorded questions.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::blocks;
use crate::conformance::{self, Recording};
use crate::home::Home;
use crate::report::Report;
use crate::server::{Server, Setup};
use crate::stack::wait;
use crate::{artifacts, http::Client};

/// The folders of data/tempo-blocks.
const FOLDERS: [&str; 3] = ["vparquet4", "vparquet5", "vparquet5-dedicated"];

/// Ask the recorded questions of every folder.
pub(crate) fn run(home: &Home, report: &mut Report) -> Result<()> {
    let recording = Recording::open(home, &conformance::Options::default())?;
    let binary = artifacts::vivace(home)?;
    for folder in FOLDERS {
        let place = tempfile::tempdir().context("make a folder for the server")?;
        let store = place.path().join("traces");
        copy(&home.part("data/tempo-blocks").join(folder), &store)?;
        let store = store.display().to_string();
        report.check(&format!("golden: Tempo's {folder} passes blocks check"), || {
            blocks::check(&binary, &store)
        });
        let server = Server::start_as(&Setup::default(), &binary, place.path())?;
        report.check(&format!("golden: Tempo's {folder} is listed"), || listed(&server));
        recording.check(&server.api, &format!("on Tempo's {folder}"), report);
        server.stop()?;
    }
    Ok(())
}

/// Wait for the first poll: the block is then asked.
fn listed(server: &Server) -> Result<String> {
    let client = Client::new(Duration::from_secs(20));
    wait(Duration::from_secs(20), "the block is found", || {
        let url = format!("{}/api/search?q=%7B%7D&limit=1&start=1795330800&end=1795334400", server.api);
        let found = client.get(&url, &[])?.json()?;
        ensure!(found["traces"].as_array().is_some_and(|traces| !traces.is_empty()), "no trace is found");
        Ok(String::new())
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}
