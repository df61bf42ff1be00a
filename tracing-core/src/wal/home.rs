//! The seam between the log and where it is kept: an ordered set of immutable segments.
//!
//! Written for both homes. On disk a segment is a file that several commits share; in an object store it is
//! one object a commit, put only if absent below the epoch that this writer has claimed, so that a writer
//! whose epoch was taken over can acknowledge nothing more.

use std::{fmt, io, io::Read, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use uuid::Uuid;

use crate::store::StoreError;

/// The part of a log between two cuts. Its segments go together, once the blocks that hold its records are
/// stored (rule *block-before-wal-removal*).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Rises with each opening of the log.
    pub epoch: u64,
    /// Counts the cuts within an epoch, from 0.
    pub number: u64,
    /// Drawn at random when the log was opened, so that no two generations anywhere are equal, also after
    /// the log was lost and began anew.
    pub log: Uuid,
}

/// The name of a segment. Segments sort in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Generation that its records belong to.
    pub generation: Generation,
    /// Sequence number of its first commit; rises throughout an epoch.
    pub sequence: u64,
}

/// What is to be made durable together.
#[derive(Debug)]
pub struct Commit {
    /// Generation that the records belong to.
    pub generation: Generation,
    /// Number of this commit within the epoch, from 0 and without gaps.
    pub sequence: u64,
    /// Encoded records, in order.
    pub frames: Vec<Bytes>,
}

/// Why the home refused. A commit that failed is as if it had never been asked for; its records may
/// nonetheless be found at a replay.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No space is left where the log is kept.
    #[error("no space left for the write-ahead log at {at}")]
    Full {
        /// Directory or prefix.
        at: String,
    },
    /// Another process keeps its log in the same place.
    #[error("write-ahead log at {at} is in use by another process")]
    InUse {
        /// Directory or prefix.
        at: String,
    },
    /// Another process holds this epoch of the log by now; what it holds is there, and nothing is added to it.
    #[error("write-ahead log {at} was taken over: {reason}")]
    Fenced {
        /// The epoch.
        at: String,
        /// How that was noticed.
        reason: Arc<str>,
    },
    /// The object store did not do what the log needs of it.
    #[error("write-ahead log: {0}")]
    Store(#[source] StoreError),
    /// Any other failure.
    #[error("write-ahead log: cannot {action} {at}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// File or object.
        at: String,
        /// The cause.
        source: io::Error,
    },
    /// The thread or task that writes has ended.
    #[error("write-ahead log is closed")]
    Closed,
}

/// How commits are spaced where each costs a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The first append after an idle time waits so long for others.
    pub first: Duration,
    /// Least time between the beginnings of two commits.
    pub least: Duration,
    /// Greatest such time while something waits.
    pub most: Duration,
    /// Bytes of a commit that was worth its request: the time between commits falls while they have as many,
    /// and rises while they have less.
    pub worth: u64,
}

/// Bytes of a segment, read once from its start.
pub type Source = Box<dyn Read + Send>;

/// Keeps segments. What is durable when a future resolves survives the home's kind of failure: of the
/// process and the machine's power (disk), of the node and the zone (object store).
pub trait Home: fmt::Debug + Send + Sync + 'static {
    /// Commits that may be under way at once; they resolve in order. One on disk.
    fn depth(&self) -> usize;

    /// The first generation of the epoch that the home has claimed for this writer; none where the log is to
    /// count its openings itself.
    fn epoch(&self) -> Option<Generation> {
        None
    }

    /// How commits are spaced; none where a commit follows as soon as the one before has ended.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// Makes a commit durable. Commits are asked for in order of their sequence numbers; where one fails,
    /// those asked for after it and before its failure was known fail too.
    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<(), Arc<HomeError>>>;

    /// All segments there are, in order.
    fn segments(&self) -> BoxFuture<'static, Result<Vec<Segment>, Arc<HomeError>>>;

    /// The bytes of a segment's records, without the home's own framing around them.
    fn read(&self, segment: &Segment) -> BoxFuture<'static, Result<Source, Arc<HomeError>>>;

    /// Cuts a torn tail off: keeps the first `keep` bytes of records. An immutable segment has no torn tail.
    fn cut(&self, segment: &Segment, keep: u64) -> BoxFuture<'static, Result<(), Arc<HomeError>>>;

    /// Keeps bytes that are no records for a human to look at; `at` is their offset in the segment.
    fn set_aside(
        &self,
        segment: &Segment,
        at: u64,
        bytes: Bytes,
    ) -> BoxFuture<'static, Result<(), Arc<HomeError>>>;

    /// Removes all segments of a generation, durably. None is not an error.
    fn remove(&self, generation: &Generation) -> BoxFuture<'static, Result<(), Arc<HomeError>>>;
}

impl Generation {
    /// 16 bytes that are the same whenever they are asked for and differ from those of any other pair of
    /// generation and name: FNV-1a of 128 bits, which begins with the log's random id.
    #[must_use]
    pub fn derive(&self, name: &str) -> [u8; 16] {
        let parts = [self.log.as_bytes().as_slice(), &self.epoch.to_be_bytes(), &self.number.to_be_bytes()];
        let bytes = parts.into_iter().flatten().chain(name.as_bytes());
        // Offset basis and prime of FNV: draft-eastlake-fnv, section 5.
        let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        hash.to_be_bytes()
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}-{}", self.epoch, self.number, self.log.simple())
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Generation { epoch, number, log } = &self.generation;
        write!(f, "{epoch:08x}-{number:08x}-{:016x}-{}", self.sequence, log.simple())
    }
}

impl Segment {
    /// Reads what `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let mut hex = || u64::from_str_radix(parts.next()?, 16).ok();
        let (epoch, number, sequence) = (hex()?, hex()?, hex()?);
        let log = Uuid::try_parse(parts.next()?).ok()?;
        let segment = Self { generation: Generation { epoch, number, log }, sequence };
        (segment.to_string() == name).then_some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u64) -> Generation {
        Generation { epoch: 3, number, log: Uuid::from_u128(7) }
    }

    #[test]
    fn a_segments_name_reads_back_and_sorts_as_written() {
        let first = Segment { generation: generation(9), sequence: 0x10 };
        let second = Segment { generation: generation(10), sequence: 0x11 };
        assert_eq!(Segment::parse(&first.to_string()), Some(first.clone()));
        assert!(first < second && first.to_string() < second.to_string());
        assert_eq!(Segment::parse("LOCK"), None);
        assert_eq!(Segment::parse(&format!("{first}-x")), None);
    }

    #[test]
    fn derived_names_are_stable_and_differ_by_generation_and_name() {
        let a = generation(1).derive("tenant");
        assert_eq!(a, generation(1).derive("tenant"));
        assert_ne!(a, generation(2).derive("tenant"));
        assert_ne!(a, generation(1).derive("tenant2"));
    }
}
