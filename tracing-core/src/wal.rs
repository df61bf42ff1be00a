//! The log that holds spans between their acknowledgement and their block: one ordered log of immutable
//! segments. IO.
//!
//! [`Log`] makes group commits and acknowledges them in order; a [`Home`] makes a commit durable: [`Disk`] on
//! this machine, [`Object`] in an object store, where [`Logs`] opens one's own log and claims those of
//! ingesters that are gone. Nothing is acknowledged before its home says that it is durable (rule
//! *wal-before-ack*), and nothing here decides when a segment may go.

mod disk;
mod home;
mod log;
mod object;
mod record;
mod replay;
mod rhythm;

pub use disk::{Disk, DiskOptions};
pub use home::{Commit, Generation, Home, HomeError, Pace, Segment, Source};
pub use log::{AppendError, Log, LogOptions, Replayed, Stats};
pub use object::{Away, Claimed, Epoch, Found, Held, Logs, Object, Part, Verdict};
#[cfg(fuzzing)]
pub use record::fuzz_records;
pub use record::{MAX_RECORD_BYTES, Record, RecordError};
