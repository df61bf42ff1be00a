//! Why a block cannot be written or read.

/// What is wrong with a block, or with what should become one.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// A block of a format that is not read here.
    #[error("block format {found:?} is not read: expected vParquet4 or vParquet5")]
    Format {
        /// `format` of the block's meta.json.
        found: String,
    },
    /// Bytes that are not what the format says they are.
    #[error("{part}: {reason}")]
    Corrupt {
        /// Which part of the block: a file, a column, a page.
        part: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// Well formed, but larger than what is read.
    #[error("{part}: {what} is {found}, over the limit of {limit}")]
    Limit {
        /// Which part of the block.
        part: String,
        /// What is counted, with its unit.
        what: &'static str,
        /// How many were found.
        found: u64,
        /// How many are read at most.
        limit: u64,
    },
    /// Whoever waited for it is gone (see [`Stop`](super::Stop)).
    #[error("reading was stopped")]
    Stopped,
    /// meta.json that cannot be read.
    #[error("meta.json cannot be read")]
    Meta(#[source] serde_json::Error),
    /// Rows that do not come in the order of a block: ascending by trace id, each id once.
    #[error("trace {next} follows {last}: a block's traces stand in ascending order, each once")]
    Order {
        /// The id written before.
        last: crate::model::TraceId,
        /// The id that should follow.
        next: crate::model::TraceId,
    },
    /// A row that its table does not hold.
    #[error("table of {traces} traces holds no trace number {row}")]
    Row {
        /// Traces in the table.
        traces: usize,
        /// The row asked for.
        row: u32,
    },
    /// A block without rows: Tempo has none either.
    #[error("a block needs at least one trace")]
    Empty,
    /// Dedicated columns that the format does not take.
    #[error("dedicated column {name:?}: {reason}")]
    Dedicated {
        /// The attribute's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The sink refused bytes.
    #[error("block cannot be written to its sink")]
    Sink(#[source] std::io::Error),
    /// The Parquet metadata cannot be put together.
    #[error("parquet metadata cannot be written")]
    Parquet(#[source] parquet::errors::ParquetError),
}

impl BlockError {
    /// A [`BlockError::Corrupt`].
    pub(crate) fn corrupt(part: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { part: part.into(), reason: reason.into() }
    }
}
