//! What a start finds in the log and on the stage. IO.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use futures::{StreamExt, stream};

use tracing_core::{
    model::{BlockId, Tenant},
    store::Staged,
    wal::{Generation, Record},
    wire::otlp::TraceSlice,
};

use super::{Inner, StartError, head::Head, state::Keep};

/// Generations that are read at the same time.
const READERS: usize = 4;

/// The block of a generation and a tenant (rule *one-block-a-generation*). Where the log is in the object
/// store, several may build the same generation, each under a term of its own: no two write the same objects.
pub(super) fn block_id(generation: &Generation, keep: &Keep, tenant: &Tenant) -> BlockId {
    match keep {
        Keep::Disk => derived(generation, tenant.as_str()),
        Keep::Object(epoch) => block_id_of_term(generation, epoch.term(), tenant),
    }
}

/// As [`block_id`], by whoever holds or held an epoch in the object store under `term`.
pub(super) fn block_id_of_term(generation: &Generation, term: u64, tenant: &Tenant) -> BlockId {
    derived(generation, &format!("{tenant}/{term}"))
}

fn derived(generation: &Generation, name: &str) -> BlockId {
    BlockId(uuid::Builder::from_random_bytes(generation.derive(name)).into_uuid())
}

impl Inner {
    /// Each generation of the log on disk becomes a frozen head of its own again, without the tenants whose
    /// block is on the stage already. Those blocks wait with it: they are uploaded after the generation has
    /// left the log.
    pub(super) async fn replay(
        &self,
        generations: Vec<Generation>,
        staged: Vec<Staged>,
    ) -> Result<(), StartError> {
        for staged in &staged {
            self.store.read_from(staged.meta.id, staged.dir.clone());
        }
        let mut staged: HashMap<_, _> = staged.into_iter().map(|block| (block.meta.id, block)).collect();
        let on_stage: Arc<HashMap<_, _>> = Arc::new(staged.clone());
        let mut replays = stream::iter(generations)
            .map(|generation| self.replay_one(generation, on_stage.clone()))
            .buffered(READERS);
        while let Some(replay) = replays.next().await {
            let (generation, head, tenants) = replay?;
            let id = |tenant| block_id(&generation, &Keep::Disk, tenant);
            let already: Vec<_> = tenants.keys().filter_map(|tenant| staged.remove(&id(tenant))).collect();
            self.state.replayed(generation, Keep::Disk, head, &already);
        }
        let rest: Vec<_> = staged.into_values().collect();
        self.state.found(&rest);
        Ok(())
    }

    /// A generation as a head, and all its tenants, those left out among them.
    async fn replay_one(
        &self,
        generation: Generation,
        on_stage: Arc<HashMap<BlockId, Staged>>,
    ) -> Result<(Generation, Arc<Head>, HashMap<Tenant, bool>), StartError> {
        let (head, tenants) = (Arc::new(Head::new()), Arc::new(RwLock::new(HashMap::<Tenant, bool>::new())));
        let (into, skipped, of) = (head.clone(), tenants.clone(), generation.clone());
        let visit = move |record| {
            let Record { tenant, id, otlp } = record;
            let known = skipped.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).copied();
            let skip = known.unwrap_or_else(|| {
                let skip = on_stage.contains_key(&block_id(&of, &Keep::Disk, &tenant));
                skipped.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), skip);
                skip
            });
            if !skip {
                into.push(&tenant, vec![TraceSlice { id, spans: 0, otlp }], Instant::now());
            }
        };
        let replayed = self.journal.disk().replay(&generation, visit).await?;
        let tenants = std::mem::take(&mut *tenants.write().unwrap_or_else(PoisonError::into_inner));
        tracing::info!(%generation, ?replayed, "replayed the write-ahead log");
        self.metrics.replayed(&replayed);
        Ok((generation, head, tenants))
    }
}
