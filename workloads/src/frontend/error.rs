//! Why a query has no answer.

use std::time::Duration;

/// A query's end without an answer. The HTTP status of each stands in `api::reply`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The text is no query, or one that is not answered.
    #[error(transparent)]
    Query(#[from] Box<tracing_core::traceql::QueryError>),
    /// The tenant has too many jobs waiting.
    #[error("too many outstanding requests: tenant {tenant} has {max} jobs waiting, the most it may have")]
    TooMany { tenant: String, max: usize },
    /// Time is up.
    #[error(
        "unable to process request in the configured timeout of {timeout:?}: {waiting} of {jobs} jobs unanswered, {queriers} queriers connected"
    )]
    Deadline { timeout: Duration, waiting: u64, jobs: u64, queriers: usize },
    /// A job failed on every attempt.
    #[error("{what}: {reason}")]
    Failed { what: String, reason: String },
    /// The trace is longer than the tenant may have traces read.
    #[error("trace exceeds max size (max bytes: {max})")]
    TraceTooLarge { max: u64 },
    /// The answer would take more memory than an answer may.
    #[error(
        "the answer takes more than {max} bytes of memory (query_frontend.search.max_answer_bytes): expected a smaller limit or spss, or a query that matches less"
    )]
    AnswerTooLarge { max: usize },
    /// What was found could not be combined.
    #[error("the parts of the trace could not be combined: {0}")]
    Combine(String),
}
