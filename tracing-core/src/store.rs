//! Blocks in a bucket or a directory: object layout, range reads, the list of blocks, commit. IO.
//!
//! A block is visible when its `meta.json` exists, which is written last (rule *meta-last*); it is gone
//! when that is deleted, which is done first. Every step can be repeated. Layout: reference of Tempo's
//! `tempodb/backend`, `<tenant>/<block>/{data.parquet, bloom-<n>, index, meta.json}`.

mod announced;
mod blocks;
pub mod cache;
mod commit;
mod connect;
mod disk;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod fault;
mod federation;
mod ids;
mod index;
mod label;
mod list;
mod machine;
mod object;
mod objects;
mod options;
mod orphans;
mod poll;
mod range;
mod requests;
mod stage;
mod tls;

pub use blocks::{DATA, META, Store};
pub use disk::read_local;
pub use error::StoreError;
pub use ids::{Narrowed, Refreshed};
pub use index::IndexError;
#[cfg(fuzzing)]
pub use index::fuzz_index;
pub use machine::Machine;
pub use objects::{Created, Object, Objects};
pub use options::{
    Access, AzureLogin, AzureOptions, Backend, Encryption, GcsOptions, PollOptions, S3Login, S3Options,
    S3Style, StoreOptions,
};
pub use orphans::{CLAIMS, DECIDED, FRESH, JOBS, ORPHAN_AGE, Swept, Uploaded};
pub use poll::{POLL_BUCKETS, PollStats, Polled, TenantPoll};
pub use range::Hedge;
pub use requests::{REQUEST_BUCKETS, RequestStats, RequestTimes};
pub use stage::{Stage, Staged};
pub use tls::{Anyone, Tls};

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
