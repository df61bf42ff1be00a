//! IO: drives plans over live tables and blocks, and brings partial answers together.

mod block;
mod combine;
mod error;
mod excerpt;
mod live;
mod lookup;
mod merge;
mod parts;
mod pieces;
mod pool;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use combine::{Combiner, SearchLimits, SearchPart, SearchStats};
pub use error::EngineError;
pub use merge::{LocalBlock, MergeFailed};

use crate::store::Store;
use pool::Pool;

/// Answers questions to blocks and live tables.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    pool: Pool,
    threads: usize,
    /// Row groups that may be decoded at once, over all searches.
    row_groups: Semaphore,
}

impl Engine {
    /// An engine over the blocks of `store` that computes on at most `threads` threads at once, and decodes
    /// at most twice as many row groups at once.
    #[must_use]
    pub fn new(store: Arc<Store>, threads: usize) -> Arc<Self> {
        let threads = threads.max(1);
        let row_groups = Semaphore::new(threads * 2);
        Arc::new(Self { store, pool: Pool::new(threads), threads, row_groups })
    }
}
