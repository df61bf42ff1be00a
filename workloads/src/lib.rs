//! The tracing workloads: the roles that the binary `vivace` runs, alone or all in one process.

pub mod app;
pub mod distributor;
pub mod membership;
pub mod overrides;
pub mod proto;
pub mod receiver;
pub mod server;
pub mod telemetry;
