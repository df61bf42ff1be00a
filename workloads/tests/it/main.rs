//! Integration tests of the workloads, one binary.

mod proto;
