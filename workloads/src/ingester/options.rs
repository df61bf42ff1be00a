//! What an ingester may hold, and for how long.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::writing::Writing;

/// Where the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalHome {
    /// On the local disk.
    Disk,
    /// In the object store.
    Object,
}

/// What is done with pushes while the object store that is the log's home is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAway {
    /// They are refused, and may be sent again.
    Refuse,
    /// They are kept on the local disk.
    Disk,
}

/// Settings of an ingester.
#[derive(Clone, Debug)]
pub struct IngesterOptions {
    /// Directory of the log (`storage.trace.wal.path` and below).
    pub wal_dir: PathBuf,
    /// Directory of blocks that wait for their upload. On the same disk, so that it is sized once.
    pub stage_dir: PathBuf,
    /// Directory of blocks that the log in the object store can build again.
    pub scratch_dir: PathBuf,
    /// Where the log is kept (`ingester.wal.home`).
    pub home: WalHome,
    /// `ingester.wal.when_store_is_away`.
    pub when_away: WhenAway,
    /// Bytes that log and stage may take of the local disk (`ingester.wal.max_disk_bytes`).
    pub max_disk_bytes: Option<u64>,
    /// A head is cut when its first span is this old (`ingester.max_block_duration`).
    pub max_block_duration: Duration,
    /// A head is cut when it has received this many bytes: the smaller of `ingester.max_block_bytes` and
    /// what may be held in memory.
    pub cut_bytes: u64,
    /// Heads that may wait for their blocks while another takes pushes.
    pub max_frozen: usize,
    /// Cuts of a log in the object store whose blocks may wait for their publication.
    pub max_unpublished: usize,
    /// How long a push waits for room before it is refused.
    pub push_wait: Duration,
    /// Bytes that may wait for the log.
    pub queue_bytes: u32,
    /// Received spans are decoded ahead of searches once their trace was quiet for this long.
    pub settle_after: Duration,
    /// How long a block that was uploaded is named to queriers: a few intervals of their polls.
    pub recent_for: Duration,
    /// How blocks are written.
    pub write: Writing,
}

impl IngesterOptions {
    /// Bytes received into one head by default: what keeps a process within 500 MB while it is loaded.
    pub const MEMORY_CUT: u64 = 48 << 20;

    /// Tempo's defaults with our bound on memory, below one directory.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            wal_dir: dir.join("log"),
            stage_dir: dir.join("blocks"),
            scratch_dir: dir.join("scratch"),
            home: WalHome::Disk,
            when_away: WhenAway::Refuse,
            max_disk_bytes: None,
            max_block_duration: Duration::from_mins(30),
            cut_bytes: Self::MEMORY_CUT,
            max_frozen: 2,
            max_unpublished: 4,
            push_wait: Duration::from_secs(5),
            queue_bytes: 16 << 20,
            settle_after: Duration::from_secs(1),
            recent_for: Duration::from_mins(15),
            write: Writing::default(),
        }
    }

    /// Bytes at which a head takes no more until it is cut.
    pub(super) fn max_head_bytes(&self) -> u64 {
        self.cut_bytes + self.cut_bytes / 4
    }
}
