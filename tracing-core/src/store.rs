//! Blocks in a bucket or a directory: object layout, range reads, the list of blocks, commit. IO.
//!
//! A block is visible when its `meta.json` exists, which is written last (rule *meta-last*); it is gone
//! when that is deleted, which is done first. Every step can be repeated. Layout: reference of Tempo's
//! `tempodb/backend`, `<tenant>/<block>/{data.parquet, bloom-<n>, index, meta.json}`.

mod blocks;
pub mod cache;
mod commit;
mod disk;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod fault;
mod list;
mod object;
mod objects;
mod options;
mod poll;
mod stage;

pub use blocks::{DATA, META, Store};
pub use error::StoreError;
pub use objects::{Created, Object, Objects};
pub use options::{Backend, S3Options, StoreOptions};
pub use poll::{PollStats, Polled};
pub use stage::{Stage, Staged};

#[cfg(test)]
mod tests;
