//! Integration tests of the workloads, one binary.

mod admin;
mod authority;
mod blocks;
mod cluster;
mod ingest;
mod merging;
mod parts;
mod process;
mod proto;
mod query;
mod secure;
mod stream;
mod tls;
mod whole;
