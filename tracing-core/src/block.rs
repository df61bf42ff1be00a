//! Blocks: SpanTables as immutable files in Tempo's vParquet4 and vParquet5, with their meta.json and Bloom filter.
//!
//! Pure: bytes in, bytes out. Writing goes to any `std::io::Write`; reading says which bytes it needs next
//! and is handed them ([`Scan`]). Bytes come from a bucket that others write to: whatever they hold, the
//! answer is a table or an error, in bounded memory.

mod bloom;
mod continued;
mod decode;
mod dedicate;
mod encode;
mod entries;
mod envelope;
mod error;
mod footer;
#[cfg(fuzzing)]
mod fuzz;
pub mod ids;
pub mod inspect;
mod merge;
mod meta;
mod page;
mod scan;
mod schema;
mod sketch;
mod thrift;
mod write;

pub use bloom::{Bloom, BloomOptions};
pub use continued::Continued;
pub use dedicate::Dedicated;
pub use entries::Dictionary;
pub use error::BlockError;
pub use footer::Footer;
#[cfg(fuzzing)]
pub use fuzz::fuzz_pages;
pub use merge::{Merge, MergeError, MergeRules, MergeStep, Merged, Sift};
pub use meta::{DedicatedColumn, DedicatedKind, DedicatedScope, Meta, Retained, Version};
pub(crate) use scan::disjoint;
pub use scan::{Decoded, Dictionaries, Scan, Step, Stop, StopOnDrop, Task};
pub use sketch::Sketch;
pub use write::{WriteOptions, Written, write};

#[cfg(test)]
mod tests;
