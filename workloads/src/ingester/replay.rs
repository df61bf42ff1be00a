//! What a start finds in the log and on the stage. IO.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tracing_core::{
    block::Meta,
    model::{BlockId, Tenant},
    store::Staged,
    wal::{Generation, Record},
    wire::otlp::TraceSlice,
};

use super::{Inner, StartError, head::Head, met::Salt, state::Keep};

/// Blocks that ended so long ago at most may hold traces that go on.
const RECENT: SignedDuration = SignedDuration::from_mins(30);
/// The newest so many of a tenant, at most.
const RECENT_BLOCKS: usize = 64;
/// A start waits for them so long at most.
const REMEMBER: Duration = Duration::from_secs(3);
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
        for staged in &staged {
            self.remember(&staged.meta).await;
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

    /// Takes note of the traces of a block. What cannot be read is not known: a trace that goes on is then searched
    /// part by part.
    async fn remember(&self, meta: &Arc<Meta>) {
        match self.store.trace_hashes(meta).await {
            Ok(hashes) => {
                let salt = Salt::of(&meta.tenant);
                for hash in hashes {
                    self.state.met().meet_hash(salt, hash);
                }
            }
            Err(error) => {
                tracing::warn!(tenant = %meta.tenant, block = %meta.id, %error, "the trace ids of a block were not read");
            }
        }
    }

    /// Takes note of the traces of the last blocks: some of them go on here that another process began.
    pub(super) async fn remember_blocks(&self) {
        let since = Timestamp::now() - RECENT;
        let remember = async {
            if let Err(error) = self.store.poll().await {
                tracing::debug!(%error, "the blocks of before were not listed");
            }
            for tenant in self.store.tenants() {
                let blocks = self.store.blocks(&tenant);
                for meta in blocks.iter().filter(|meta| meta.end >= since).take(RECENT_BLOCKS) {
                    self.remember(meta).await;
                }
            }
        };
        if tokio::time::timeout(REMEMBER, remember).await.is_err() {
            tracing::info!(
                "not all blocks of before were read: a trace that goes on may be searched part by part"
            );
        }
    }

    /// A generation as a head, and all its tenants, those left out among them.
    async fn replay_one(
        &self,
        generation: Generation,
        on_stage: Arc<HashMap<BlockId, Staged>>,
    ) -> Result<(Generation, Arc<Head>, HashMap<Tenant, bool>), StartError> {
        let (head, tenants) = (self.state.new_head(), Arc::new(RwLock::new(HashMap::<Tenant, bool>::new())));
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
