//! The log that holds spans between their acknowledgement and their block: one ordered log of immutable
//! segments. IO.
//!
//! [`Log`] makes group commits and acknowledges them in order; a [`Home`] makes a commit durable. The disk
//! home is [`Disk`]; the object store is to be the second. Nothing is acknowledged before its home says
//! that it is durable (rule *wal-before-ack*), and nothing here decides when a segment may go.

mod disk;
mod home;
mod log;
mod record;

pub use disk::{Disk, DiskOptions};
pub use home::{Commit, Generation, Home, HomeError, Segment, Source};
pub use log::{AppendError, Log, LogOptions, Replayed, Stats};
#[cfg(fuzzing)]
pub use record::fuzz_records;
pub use record::{MAX_RECORD_BYTES, Record, RecordError};
