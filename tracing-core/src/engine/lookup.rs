//! One trace out of many blocks: the Bloom filter says which may hold it, the page index of the ids where.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};

use super::{Engine, EngineError};
use crate::{
    block::{Bloom, Footer, Meta, Scan, Step},
    model::{Tenant, TraceId},
    store::DATA,
    table::render,
};

/// Blocks that one lookup reads at the same time.
const CONCURRENT_BLOCKS: usize = 16;

impl Engine {
    /// What `metas`, blocks of `tenant`, hold of the trace `id`: a TracesData of each block that holds some
    /// of it, in no order.
    ///
    /// # Errors
    /// Whatever keeps one of the blocks from being read: an answer without it could lack spans.
    pub async fn find_trace(
        &self,
        tenant: &Tenant,
        id: TraceId,
        metas: &[Arc<Meta>],
    ) -> Result<Vec<Bytes>, EngineError> {
        // Boxed one by one: a closure over borrowed metas would keep this future from being `Send`.
        let mut lookups: Vec<BoxFuture<'_, _>> = Vec::with_capacity(metas.len());
        for meta in metas {
            lookups.push(self.find_in_block(tenant, id, meta.clone()).boxed());
        }
        let mut found = stream::iter(lookups).buffer_unordered(CONCURRENT_BLOCKS);
        let mut parts = Vec::new();
        while let Some(part) = found.try_next().await? {
            parts.extend(part);
        }
        Ok(parts)
    }

    async fn find_in_block(
        &self,
        tenant: &Tenant,
        id: TraceId,
        meta: Arc<Meta>,
    ) -> Result<Option<Bytes>, EngineError> {
        let shard = format!("bloom-{}", Bloom::shard_of(id, meta.bloom_shards));
        let bloom = Bloom::decode(self.store.read(tenant, meta.id, &shard).await?)?;
        if !bloom.may_hold(id) {
            return Ok(None);
        }
        let footer = self.footer(tenant, &meta).await?;
        let mut scan = Scan::trace(&meta, footer, id)?;
        loop {
            let (step, back) = self.pool.run(move || (scan.next(), scan)).await?;
            scan = back;
            match step? {
                Step::Done => return Ok(None),
                Step::Table(table) => {
                    return self.pool.run(move || Some(render::otlp(&table, 0))).await;
                }
                Step::Need(ranges) => {
                    let bytes = self.store.read_ranges(tenant, meta.id, DATA, &ranges).await?;
                    scan.supply(ranges.into_iter().zip(bytes).collect())?;
                }
            }
        }
    }

    /// The footer of a block.
    pub(super) async fn footer(&self, tenant: &Tenant, meta: &Arc<Meta>) -> Result<Arc<Footer>, EngineError> {
        let tail = self.store.read_cached(tenant, meta.id, DATA, Footer::range(meta)).await?;
        let meta = meta.clone();
        Ok(Arc::new(self.pool.run(move || Footer::decode(&meta, tail)).await??))
    }
}
