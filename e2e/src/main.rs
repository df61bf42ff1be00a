//! `cargo e2e`: the local cluster, the demonstration on it, and every check of the project. This file reads the command line and calls; it decides nothing.
//! It drives programs (cargo, kubectl, helm, bash) and HTTP, and links none of the product's crates.

mod artifacts;
mod bad_input;
mod bench;
mod blocks;
mod cluster;
mod conformance;
mod crash;
mod faults;
mod gate;
mod golden;
mod heir;
mod home;
mod http;
mod install;
mod many;
mod otlp;
mod ports;
mod progress;
mod reconcile;
mod report;
mod roles;
mod scenarios;
mod server;
mod shop;
mod stack;
mod stores;
mod streaming;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::home::Home;
use crate::report::Report;

/// The local cluster, the demonstration on it, and every check of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo e2e", bin_name = "cargo e2e")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything, start a cluster if none is given by KUBECONFIG, deploy the sample TempoStack, send traces and ask for them
    Up(up::Options),
    /// Remove all that `up` made
    Down,
    /// Run kubectl against the cluster that `up` started
    Kubectl {
        /// kubectl's own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Every check: formatting, clippy, unit tests, conformance, crashes, bad input, scenarios on the cluster
    Test(gate::Options),
    /// Replay the corpus into a server and hold its answers against the recorded ones
    Conformance(conformance::Options),
    /// Point a server at blocks that Tempo wrote and ask the recorded questions
    Golden,
    /// Load a server while its object store is killed, deaf, slow and full, and look for every span that it had acknowledged
    Faults(faults::Options),
    /// Kill a loaded server with SIGKILL and look for every span that it had acknowledged
    Crash(crash::Options),
    /// Send what a server must refuse, and fill its disk
    BadInput,
    /// Write what is rendered from the chart: deploy/ with the single manifest, the kustomize base and the OLM bundle
    Render(install::Options),
    /// The operator over a real API server with seeded faults between the two
    Reconcile(reconcile::Options),
    /// The scenarios on the cluster
    Scenarios(scenarios::Options),
    /// Measure one server: accepted spans per second, latencies, memory, lag
    Bench(bench::Options),
    /// Measure the operator: how soon it serves many stacks that are made at one time, its writes, memory and CPU
    Many(many::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let home = Home::locate()?;
    let mut report = Report::default();
    match arguments.command {
        Command::Up(options) => up::up(&home, &options)?,
        Command::Down => up::down(&home)?,
        Command::Kubectl { arguments } => return up::kubectl(&home, &arguments),
        Command::Test(options) => gate::run(&home, &options, &mut report),
        Command::Conformance(options) => conformance::run(&home, &options, &mut report)?,
        Command::Golden => golden::run(&home, &mut report)?,
        Command::Faults(options) => faults::run(&home, &options, &mut report)?,
        Command::Crash(options) => crash::run(&home, &options, &mut report)?,
        Command::BadInput => bad_input::run(&home, &mut report)?,
        Command::Render(options) => install::render(&home, &options, &mut report)?,
        Command::Reconcile(options) => reconcile::run(&home, &options, &mut report)?,
        Command::Scenarios(options) => scenarios::run(&home, &options, &mut report)?,
        Command::Bench(options) => bench::run(&home, &options)?,
        Command::Many(options) => many::run(&home, &options)?,
    }
    Ok(report.close())
}
