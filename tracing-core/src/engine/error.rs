//! Why a question to blocks or live tables has no answer.

use crate::{block::BlockError, store::StoreError, wire::WireError};

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store did not give what was asked for.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block is not what its meta says.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A part of a trace that is no OTLP.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A file of this machine.
    #[error("file {}", path.display())]
    File {
        /// Its path.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nobody waits for the answer any more.
    #[error("the question was cancelled")]
    Cancelled,
    /// The process is ending, or the work failed in a way that is a bug.
    #[error("the work ended without an answer: {0}")]
    Lost(String),
}

impl EngineError {
    /// True where a block is not in the store: compacted or expired since its meta was read.
    #[must_use]
    pub fn is_block_gone(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_not_found())
    }
}
