//! Why a request was not taken, for both protocols.

use std::time::Duration;

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender's mistake; sending it again does not help.
    #[error("{0}")]
    Invalid(String),
    /// A content type or encoding that is not read.
    #[error("{0}")]
    Unsupported(String),
    /// No tenant is named.
    #[error("{0}")]
    NoTenant(String),
    /// Over a size limit, which the text names.
    #[error("{0}")]
    TooLarge(String),
    /// Over the tenant's rate.
    #[error("{message}")]
    Limited {
        /// In Tempo's words.
        message: String,
        /// When to come again; `None` where it would be refused again.
        retry_after: Option<Duration>,
    },
    /// No ingester could take it.
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    /// When the sender may come again with the same request; `None` where that does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after, .. } => *retry_after,
            Self::Unavailable(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
