//! Integration tests of the workloads, one binary.

mod admin;
mod process;
mod proto;
