//! IO: drives plans over live tables and blocks, and brings partial answers together.

mod combine;
mod error;
mod lookup;
mod pool;

use std::{ops::Range, sync::Arc};

use tokio_util::sync::CancellationToken;

pub use combine::{Combiner, SearchLimits, SearchPart, SearchStats};
pub use error::EngineError;

use crate::{block::Meta, store::Store, table::LiveView, traceql::Plan};
use pool::Pool;

/// Answers questions to blocks and live tables.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    pool: Pool,
}

impl Engine {
    /// An engine over the blocks of `store` that computes on at most `threads` threads at once.
    #[must_use]
    pub fn new(store: Arc<Store>, threads: usize) -> Arc<Self> {
        Arc::new(Self { store, pool: Pool::new(threads) })
    }

    /// The traces of some row groups of a block that match.
    ///
    /// # Errors
    /// [`EngineError`].
    #[expect(clippy::unused_async, reason = "evaluation over blocks lands next")]
    pub async fn search_block(
        &self,
        _meta: &Arc<Meta>,
        _row_groups: Range<usize>,
        _plan: &Arc<Plan>,
        _limits: SearchLimits,
        _cancel: CancellationToken,
    ) -> Result<SearchPart, EngineError> {
        Err(EngineError::NotAnswered("searches of blocks are"))
    }

    /// The traces of live tables that match.
    ///
    /// # Errors
    /// [`EngineError`].
    #[expect(clippy::unused_async, reason = "evaluation over live tables lands next")]
    pub async fn search_live(
        &self,
        _view: LiveView,
        _plan: &Arc<Plan>,
        _limits: SearchLimits,
        _cancel: CancellationToken,
    ) -> Result<SearchPart, EngineError> {
        Err(EngineError::NotAnswered("searches of live traces are"))
    }
}
