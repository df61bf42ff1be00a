//! Why an ingester does not take spans, or does not start.

use std::{sync::Arc, time::Duration};

use tracing_core::{
    store::StoreError,
    wal::{AppendError, HomeError, RecordError},
};

use super::RETRY;

/// Why a push was refused. None of its spans is promised.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PushError {
    /// A trace's spans are too many for one record.
    #[error(transparent)]
    Record(RecordError),
    /// The log cannot be written, for want of space or otherwise. It tries again with every push.
    #[error(transparent)]
    Log(Arc<HomeError>),
    /// The object store is the log's home and cannot be reached.
    #[error("the object store, where the write-ahead log is kept, is away: {reason}")]
    StoreAway {
        /// What the last attempt said.
        reason: String,
    },
    /// Log and waiting blocks take as much of the local disk as they may.
    #[error(
        "the write-ahead log and the blocks that wait for their upload take {bytes} bytes of the local disk, \
         the limit is {limit} (ingester.wal.max_disk_bytes)"
    )]
    DiskBudget {
        /// Bytes they take.
        bytes: u64,
        /// Bytes they may take.
        limit: u64,
    },
    /// As much is held as may be, and the blocks do not get away fast enough.
    #[error(
        "the ingester holds as many unflushed spans as it may, and no room was made within {} s",
        waited.as_secs_f32()
    )]
    Busy {
        /// How long the push waited.
        waited: Duration,
    },
    /// The process is ending.
    #[error("the ingester is leaving")]
    Leaving,
}

/// Why an ingester did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be opened or read.
    #[error(transparent)]
    Log(#[from] Arc<HomeError>),
    /// The stage cannot be opened or read.
    #[error(transparent)]
    Stage(#[from] StoreError),
    /// The process is ending.
    #[error("stopped before it had started")]
    Stopped,
}

impl PushError {
    /// After how long the same push may succeed here; `None` where it never will.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Record(_) => None,
            Self::Log(_)
            | Self::StoreAway { .. }
            | Self::DiskBudget { .. }
            | Self::Busy { .. }
            | Self::Leaving => Some(RETRY),
        }
    }

    /// The reason as a metric's label.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Record(_) => "record_too_large",
            Self::Log(home) if matches!(**home, HomeError::Full { .. }) => "disk_full",
            Self::Log(home) if matches!(**home, HomeError::Fenced { .. }) => "wal_taken_over",
            Self::Log(_) => "wal",
            Self::StoreAway { .. } => "store_away",
            Self::DiskBudget { .. } => "disk_budget",
            Self::Busy { .. } => "busy",
            Self::Leaving => "leaving",
        }
    }
}

impl From<AppendError> for PushError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Record(error) => Self::Record(error),
            AppendError::Home(error) => Self::Log(error),
        }
    }
}

impl From<HomeError> for StartError {
    fn from(error: HomeError) -> Self {
        Self::Log(Arc::new(error))
    }
}
