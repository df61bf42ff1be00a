//! What goes wrong between us and the blocks.

use std::{io, path::Path};

use super::index::IndexError;
use crate::{
    block::BlockError,
    model::{BlockId, Tenant},
};

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object; a block that was just deleted looks so.
    #[error("{key} is not in the store")]
    NotFound {
        /// The object's key.
        key: String,
    },
    /// The object store refused or could not be reached.
    #[error("cannot {action} {key}: {source}")]
    Object {
        /// What was being done.
        action: &'static str,
        /// The object's key, or the prefix listed.
        key: String,
        /// The cause.
        source: object_store::Error,
    },
    /// The local disk refused.
    #[error("cannot {action} {path}: {source}")]
    Disk {
        /// What was being done.
        action: &'static str,
        /// File or directory.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// An object is not what its name says.
    #[error("{key}: {source}")]
    Block {
        /// The object's key.
        key: String,
        /// The cause.
        source: BlockError,
    },
    /// A range was asked for that the object does not have.
    #[error("{key} is shorter than expected: {got} of {wanted} bytes at {start}")]
    Short {
        /// The object's key.
        key: String,
        /// Where the range starts.
        start: u64,
        /// Bytes asked for.
        wanted: u64,
        /// Bytes there are.
        got: u64,
    },
    /// A key that names no object.
    #[error(
        "key `{key}`: expected segments joined by /, none empty or of points, the last without one in front"
    )]
    Key {
        /// The key.
        key: String,
    },
    /// An object that is too large to be read whole.
    #[error("{key} has {size} bytes, expected at most {limit}")]
    TooLarge {
        /// The object's key.
        key: String,
        /// Its length in bytes.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A listing that is too long.
    #[error("below {prefix} are more than {limit} objects")]
    TooMany {
        /// What was listed.
        prefix: String,
        /// Objects allowed.
        limit: usize,
    },
    /// An object that is said to exist whenever it is put, and is not there whenever it is read.
    #[error("{key} is written and deleted by others again and again")]
    Contended {
        /// The object's key.
        key: String,
    },
    /// A block of the same id is in the store, and is another one.
    #[error("{key} is in the store with other content: block {block} was not stored")]
    Conflict {
        /// The key of its meta.
        key: String,
        /// The block.
        block: BlockId,
    },
    /// An upload that was not told of in time: what it left may be swept away, so it has to be repeated.
    #[error("block {block} was uploaded too long ago to be made visible: it has to be uploaded again")]
    Stale {
        /// The block.
        block: BlockId,
    },
    /// An index of blocks that cannot be read or written.
    #[error("{key}: {source}")]
    Index {
        /// The object's key.
        key: String,
        /// The cause.
        source: IndexError,
    },
    /// What was committed is not known, since the store did not hand out a meta.
    #[error("{tenant}: a block's meta could not be read, so that nobody knows which blocks there are")]
    Unread {
        /// The tenant.
        tenant: Tenant,
    },
    /// A tenant without a usable index, where listing was forbidden.
    #[error("{tenant} has no index that is fresh and can be read, and blocklist_poll_fallback is off")]
    Unindexed {
        /// The tenant.
        tenant: Tenant,
    },
    /// A setting that cannot be used.
    #[error("storage: {0}")]
    Options(String),
    /// The process is ending, or a task of ours has died.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// True where the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub(super) fn object(action: &'static str, key: &str, source: object_store::Error) -> Self {
        let key = key.to_owned();
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound { key },
            source => Self::Object { action, key, source },
        }
    }

    pub(super) fn disk(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.display().to_string();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { key: path },
            _ => Self::Disk { action, path, source },
        }
    }
}
