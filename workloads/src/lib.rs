//! The tracing workloads: the roles that the binary `vivace` runs, alone or all in one process.

pub mod api;
pub mod app;
pub mod blocklist;
pub mod blocks;
pub mod caches;
pub mod compactor;
pub mod distributor;
pub mod frontend;
pub mod ids;
pub mod ingester;
pub mod membership;
pub mod overrides;
pub mod proto;
pub mod querier;
pub mod receiver;
pub mod rpc;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod writing;
