//! `cargo e2e test`: every check of the project, cheapest first, closed by one line with the sums.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::home::Home;
use crate::report::Report;
use crate::{
    artifacts, bad_input, conformance, crash, faults, golden, install, reconcile, scenarios, stores,
};

/// The parts of the whole, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// cargo fmt --check
    Format,
    /// cargo clippy, warnings are errors
    Clippy,
    /// cargo test of the whole workspace
    Unit,
    /// Recorded questions against a real server
    Conformance,
    /// Blocks that Tempo wrote
    Golden,
    /// kill -9 under load
    Crash,
    /// Load while the object store fails
    Faults,
    /// The same suite on each kind of object store
    Stores,
    /// What a server must refuse
    BadInput,
    /// Charts, manifests, the kustomize base and the OLM bundle
    Install,
    /// The operator over an API server with faults between the two
    Reconcile,
    /// On the cluster
    Scenarios,
}

const ALL: [Part; 12] = [
    Part::Format,
    Part::Clippy,
    Part::Unit,
    Part::Conformance,
    Part::Golden,
    Part::Crash,
    Part::Faults,
    Part::Stores,
    Part::BadInput,
    Part::Install,
    Part::Reconcile,
    Part::Scenarios,
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How many times the server is killed
    #[arg(long, default_value_t = 4)]
    runs: u32,
    /// Seconds in which an idle operator may not write
    #[arg(long, default_value_t = 30)]
    idle: u64,
}

/// Run the parts. A part that cannot even start is a failure and does not stop the others.
pub(crate) fn run(home: &Home, options: &Options, report: &mut Report) {
    let chosen = ALL.into_iter().filter(|part| options.only.is_empty() || options.only.contains(part));
    let mut product = None;
    for part in chosen {
        println!("\n== {part:?}");
        let needs_product = !matches!(part, Part::Format | Part::Clippy | Part::Unit);
        if needs_product && !*product.get_or_insert_with(|| report.check("release build", || built(home))) {
            continue;
        }
        let outcome = match part {
            Part::Format => {
                report.check("cargo fmt --check", || cargo(home, &["fmt", "--all", "--check"]));
                Ok(())
            }
            Part::Clippy => {
                let words =
                    ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
                report.check("cargo clippy", || cargo(home, &words));
                Ok(())
            }
            Part::Unit => unit(home, report),
            Part::Conformance => conformance::run(home, &conformance::Options::default(), report),
            Part::Golden => golden::run(home, report),
            Part::Faults => {
                let small = faults::Options { mib: 32, seconds: 2, every: 4, disk: 384 };
                faults::run(home, &small, report)
            }
            Part::Crash => crash::run(home, &crash::Options { runs: options.runs }, report),
            Part::Stores => stores::run(home, report),
            Part::BadInput => bad_input::run(home, report),
            Part::Install => install::run(home, report),
            Part::Reconcile => reconcile::run(home, &reconcile::Options::default(), report),
            Part::Scenarios => {
                scenarios::run(home, &scenarios::Options { only: Vec::new(), idle: options.idle }, report)
            }
        };
        if let Err(error) = outcome {
            report.check(&format!("{part:?}"), || Err(error));
        }
    }
}

fn built(home: &Home) -> Result<String> {
    artifacts::product(home).map(|_| String::new())
}

/// cargo with its own output on this terminal.
fn cargo(home: &Home, arguments: &[&str]) -> Result<String> {
    let status = home.cargo(arguments).stdin(Stdio::null()).status().context("cargo")?;
    ensure!(status.success(), "cargo {}: {status}", arguments.join(" "));
    Ok(String::new())
}

/// cargo test with its output passed on, and its sums taken over.
fn unit(home: &Home, report: &mut Report) -> Result<()> {
    let mut test = home.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    let mut child = test.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cargo test")?;
    let out = child.stdout.take().context("cargo test has no output")?;
    let (mut passed, mut failed) = (0, Vec::new());
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("{line}");
        if let Some((good, _)) = summary(&line) {
            passed += good;
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            failed.push(format!("cargo test: {name}"));
        }
    }
    let status = child.wait()?;
    let silent = failed.is_empty() && !status.success();
    report.count(passed, failed);
    if silent || passed == 0 {
        bail!("cargo test: {status}, {passed} tests passed");
    }
    Ok(())
}

/// The numbers of a line `test result: ok. 12 passed; 0 failed; …`.
fn summary(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        rest.split([';', '.']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn the_sums_of_cargo_test_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(summary(line), Some((12, 3)));
        assert_eq!(summary("test wire::a ... ok"), None);
    }
}
