//! What a trace is, how it is stored, and how TraceQL is answered.
//!
//! Rooms and their arrows stand in ARCHITECTURE.md; `tests/it/house.rs` holds them. No Kubernetes, no
//! server and no configuration file is known here.

pub mod block;
pub mod engine;
pub mod model;
pub mod policy;
pub mod store;
pub mod table;
pub mod traceql;
pub mod wal;
pub mod wire;
