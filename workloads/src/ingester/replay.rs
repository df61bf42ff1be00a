//! What a start finds in the log and on the stage. IO.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing_core::{
    model::{BlockId, Tenant},
    store::Staged,
    wal::{Generation, Record},
    wire::otlp::TraceSlice,
};

use super::{Inner, StartError, head::Head};

/// The block of a generation and a tenant (rule *one-block-a-generation*).
pub(super) fn block_id(generation: &Generation, tenant: &Tenant) -> BlockId {
    BlockId(uuid::Builder::from_random_bytes(generation.derive(tenant.as_str())).into_uuid())
}

impl Inner {
    /// Each generation becomes a frozen head of its own again, without the tenants whose block is on the stage
    /// already. Those blocks wait with it: they are uploaded after the generation has left the log.
    pub(super) async fn replay(
        &self,
        generations: Vec<Generation>,
        staged: Vec<Staged>,
    ) -> Result<(), StartError> {
        for staged in &staged {
            self.store.read_from(staged.meta.id, staged.dir.clone());
        }
        let mut staged: HashMap<_, _> = staged.into_iter().map(|block| (block.meta.id, block)).collect();
        for generation in generations {
            let known = Arc::new(Mutex::new((Head::new(), HashMap::<Tenant, bool>::new())));
            let on_stage: Arc<HashMap<_, _>> = Arc::new(staged.clone());
            let (into, of) = (known.clone(), generation.clone());
            let replayed = self
                .log
                .replay(&generation, move |record| {
                    let (head, skipped) = &mut *into.lock().unwrap_or_else(PoisonError::into_inner);
                    let Record { tenant, id, otlp } = record;
                    let done = || on_stage.contains_key(&block_id(&of, &tenant));
                    if !*skipped.entry(tenant.clone()).or_insert_with(done) {
                        head.push(&tenant, vec![TraceSlice { id, spans: 0, otlp }], Instant::now());
                    }
                })
                .await?;
            let (head, tenants) = std::mem::replace(
                &mut *known.lock().unwrap_or_else(PoisonError::into_inner),
                (Head::new(), HashMap::new()),
            );
            let already: Vec<_> =
                tenants.keys().filter_map(|tenant| staged.remove(&block_id(&generation, tenant))).collect();
            tracing::info!(%generation, ?replayed, staged = already.len(), "replayed the write-ahead log");
            self.metrics.replayed(&replayed);
            self.state.replayed(generation, head, &already);
        }
        let rest: Vec<_> = staged.into_values().collect();
        self.state.found(&rest);
        Ok(())
    }
}
