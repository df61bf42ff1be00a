//! One trace out of many blocks: the filter over trace ids says which hold it, of blocks that it does not name
//! their Bloom filters; the page index of the ids says where.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};

use super::{Engine, EngineError, excerpt::Excerpt};
use crate::{
    block::{Meta, Scan},
    model::{Tenant, TraceId},
    table::{Projection, SpanTable, render},
};

/// Blocks that one lookup reads at the same time.
const CONCURRENT_BLOCKS: usize = 16;

impl Engine {
    /// What `metas`, blocks of `tenant`, hold of the trace `id`, as far as `projection` wants it: a TracesData of each
    /// block that holds some of it, in no order.
    ///
    /// # Errors
    /// Whatever keeps one of the blocks from being read: an answer without it could lack spans.
    pub async fn find_trace(
        &self,
        tenant: &Tenant,
        id: TraceId,
        metas: &[Arc<Meta>],
        projection: &Projection,
    ) -> Result<Vec<Bytes>, EngineError> {
        let narrowed = self.store.narrow(tenant, &[id], metas).await;
        // Boxed one by one: a closure over borrowed metas would keep this future from being `Send`.
        let unknown =
            narrowed.unknown.into_iter().map(|meta| self.find_in_block(id, meta, projection).boxed());
        let holding =
            narrowed.holding.into_iter().map(|meta| self.read_from_block(id, meta, projection).boxed());
        all(holding.chain(unknown).collect()).await
    }

    /// As [`Engine::find_trace`], of blocks that are known to hold the trace, or believed to: none of their
    /// filters is asked.
    ///
    /// # Errors
    /// As [`Engine::find_trace`].
    pub async fn read_trace(
        &self,
        id: TraceId,
        metas: &[Arc<Meta>],
        projection: &Projection,
    ) -> Result<Vec<Bytes>, EngineError> {
        let mut lookups: Vec<BoxFuture<'_, _>> = Vec::with_capacity(metas.len());
        for meta in metas {
            lookups.push(self.read_from_block(id, Arc::clone(meta), projection).boxed());
        }
        all(lookups).await
    }

    async fn find_in_block(
        &self,
        id: TraceId,
        meta: Arc<Meta>,
        projection: &Projection,
    ) -> Result<Option<Bytes>, EngineError> {
        if !self.bloom(&meta, id).await? {
            return Ok(None);
        }
        self.read_from_block(id, meta, projection).await
    }

    async fn read_from_block(
        &self,
        id: TraceId,
        meta: Arc<Meta>,
        projection: &Projection,
    ) -> Result<Option<Bytes>, EngineError> {
        // Whoever asks for a trace whole has seen it then; a search is asked again and again.
        let key = (*projection != Projection::Everything).then(|| Excerpt::key(id, &meta, projection));
        let is_it = |excerpt: &Arc<Excerpt>| excerpt.is_of(id, projection);
        if let Some(key) = &key
            && let Some(excerpt) = self.store.cache().get::<Excerpt>(key).filter(is_it)
        {
            return Ok(excerpt.otlp.clone());
        }
        let table = self.trace_of_block(&meta, id, projection.clone()).await?;
        let otlp = match table {
            None => None,
            Some((table, _)) => Some(self.pool.run(move || render::otlp(&table, 0)).await?),
        };
        if let Some(key) = key {
            self.store.cache().put(key, Arc::new(Excerpt::new(id, projection, otlp.clone())));
        }
        Ok(otlp)
    }

    /// A trace of a block as far as `projection` wants it, with the number of bytes that were read for it.
    pub(super) async fn trace_of_block(
        &self,
        meta: &Arc<Meta>,
        id: TraceId,
        projection: Projection,
    ) -> Result<Option<(SpanTable, u64)>, EngineError> {
        let scan = Scan::excerpt(meta, self.footer(meta).await?, id, projection.clone())?;
        let scan = scan.with_dictionaries(self.dictionaries(meta.id));
        let scan = self.hand_columns(meta, scan, &projection).await?;
        let mut bytes = 0;
        let table = self.drive(meta, scan, &mut bytes).await?;
        Ok(table.map(|table| (table, bytes)))
    }
}

/// What some lookups find, a few of them at a time.
async fn all(
    lookups: Vec<BoxFuture<'_, Result<Option<Bytes>, EngineError>>>,
) -> Result<Vec<Bytes>, EngineError> {
    let mut found = stream::iter(lookups).buffer_unordered(CONCURRENT_BLOCKS);
    let mut parts = Vec::new();
    while let Some(part) = found.try_next().await? {
        parts.extend(part);
    }
    Ok(parts)
}
