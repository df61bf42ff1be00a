//! The operator of Vivace: makes the cluster hold what a `TempoStack` asks for, and keeps it so.
//!
//! A reconcile is five steps, see `controller`; all decisions are in the pure ones.

pub mod api;
mod apply;
mod build;
pub mod certificates;
mod compare;
mod controller;
mod dereference;
mod facts;
#[cfg(test)]
mod fixture;
mod gather;
mod generate;
mod kind;
mod managed;
mod manifest;
mod metrics;
mod names;
mod platform;
#[cfg(test)]
mod recorded;
mod references;
mod role;
mod rollout;
mod run;
mod scope;
mod server;
mod status;
mod trouble;
mod validate;

pub use gather::{Options as GatherOptions, gather};
pub use generate::{Options as GenerateOptions, generate};
pub use run::{Options as RunOptions, PlatformOptions, run};

/// Writes text to standard output.
pub fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes())
}
