//! `vivace blocks` on what a server wrote.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Have every block of a store verified; answers with the sums. A store without blocks is an error.
pub(crate) fn check(binary: &Path, store: &str) -> Result<String> {
    let verdict = ask(binary, &["check", "--store", store, "--json"])?;
    let blocks = verdict["blocks"].as_array().context("blocks check: no blocks in its answer")?;
    for block in blocks {
        let problems = block["problems"].as_array().context("blocks check: no problems in its answer")?;
        if let Some(problem) = problems.first() {
            let more = problems.len() - 1;
            bail!("block {}: {}: {}, and {more} more", block["block"], problem["at"], problem["what"]);
        }
    }
    ensure!(!blocks.is_empty(), "no block in {store}");
    let sum = |key: &str| blocks.iter().filter_map(|block| block[key].as_u64()).sum::<u64>();
    Ok(format!(
        "{} blocks, {} traces, {} spans, {} pages",
        blocks.len(),
        sum("traces"),
        sum("spans"),
        sum("pages")
    ))
}

/// The blocks of a store, those that were replaced included, as `vivace blocks list --json` answers.
pub(crate) fn list(binary: &Path, store: &str) -> Result<Value> {
    ask(binary, &["list", "--store", store, "--json", "--spans", "--compacted"])
}

fn ask(binary: &Path, words: &[&str]) -> Result<Value> {
    let output = Command::new(binary).arg("blocks").args(words).output().context("vivace blocks")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("vivace blocks {}: {}: {}", words.first().unwrap_or(&""), output.status, said.trim())
    })
}
