//! The role that keeps what was acknowledged until it is in a block. IO.
//!
//! Flow: a push is appended to the write-ahead log, put into the live head, and acknowledged after both. A
//! head that is old or large is cut: its log generation ends, its spans become one block a tenant on the
//! stage (a local directory), the generation leaves the log, the block is uploaded and leaves the stage. Where
//! the log is in the object store, the stage is scratch: the block is uploaded, decided on, made visible, and
//! then the generation leaves the log (`publish`). What ingesters left there that are gone is claimed (`claims`).
//!
//! Guarantees, each with a test that stops between the two steps:
//! - *wal-before-ack*: what is acknowledged is in the log;
//! - *cut-whole*: a generation holds exactly the spans of one head, since no push is under way at a cut;
//! - *block-before-wal-removal*: a generation is removed after its blocks are durable on the stage;
//! - *one-block-a-generation*: a block's id is derived from generation and tenant, and spans whose block is on
//!   the stage are not replayed;
//! - *wal-removal-before-upload*: a block leaves the stage only when no log can replay its spans;
//! - *upload-before-unstage*: a block leaves the stage after its `meta.json` is visible in the store.

mod claims;
mod error;
mod head;
mod journal;
mod met;
mod metrics;
mod options;
mod pipeline;
mod publish;
mod replay;
mod state;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{Notify, RwLock},
    task::{JoinHandle, spawn_blocking},
    time::timeout_at,
};
use tokio_util::sync::CancellationToken;
use tracing_core::{
    block::Meta,
    engine::{Combiner, Engine, EngineError, SearchLimits, SearchPart},
    model::{Tenant, TraceId},
    store::{Stage, Store, StoreError},
    table::{LiveView, Projection},
    traceql::Plan,
    wal::{Disk, DiskOptions, Log, LogOptions, Logs, Record},
    wire::otlp::TraceSlice,
};
use uuid::Uuid;

pub(crate) use claims::{CLAIMED, HELD, entries, parse as parse_claim};

/// Key under which an ingester publishes its process.
pub(crate) const PROCESS: &str = "process";

pub use error::{PushError, StartError};
use journal::Journal;
use metrics::Metrics;
pub use options::{IngesterOptions, WalHome, WhenAway};
use state::State;

use crate::membership::Membership;

/// Spans of one tenant that were received together.
#[derive(Clone, Debug)]
pub struct Push {
    /// Whose they are.
    pub tenant: Tenant,
    /// By trace; a trace may occur more than once.
    pub slices: Vec<TraceSlice>,
}

/// What an ingester holds of a trace.
#[derive(Clone, Debug, Default)]
pub struct LiveTrace {
    /// Protobuf TracesData, each of some of the spans.
    pub parts: Vec<Bytes>,
    /// Blocks that left the ingester so recently that a querier's list may not have them yet.
    pub recent_blocks: Vec<Arc<Meta>>,
}

/// What an ingester found of its own.
#[derive(Clone, Debug, Default)]
pub struct LiveSearch {
    /// The answer of everything it holds.
    pub part: SearchPart,
    /// As [`LiveTrace::recent_blocks`].
    pub recent_blocks: Vec<Arc<Meta>>,
}

/// How an ingester is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngesterStatus {
    /// Bytes received into the head that takes pushes.
    pub live_bytes: u64,
    /// Heads that wait for their blocks.
    pub frozen: usize,
    /// Blocks that wait for their upload.
    pub staged: usize,
    /// Why the last upload failed, while it keeps failing.
    pub upload_error: Option<String>,
    /// Why the last block could not be built, while it keeps failing.
    pub build_error: Option<String>,
    /// Writes are refused for good: the process is ending.
    pub leaving: bool,
    /// Where what is pushed is kept until it is in a block.
    pub wal: String,
    /// Why the object store takes no log, while it is to.
    pub store_away: Option<String>,
}

/// An ingester. Dropping it ends its tasks; what it holds is in the log or on the stage.
pub struct Ingester {
    inner: Arc<Inner>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What the ingester and its tasks share.
struct Inner {
    process: Uuid,
    options: IngesterOptions,
    store: Arc<Store>,
    engine: Arc<Engine>,
    membership: Arc<Membership>,
    journal: Journal,
    /// Epochs that were claimed of late, as they are published.
    claimed: Mutex<Vec<String>>,
    stage: Stage,
    /// Blocks of logs in the object store.
    scratch: Arc<Stage>,
    state: State,
    /// Held for reading by pushes, for writing by a cut (rule *cut-whole*).
    gate: RwLock<()>,
    /// Wakes the task that cuts.
    full: Notify,
    leaving: AtomicBool,
    /// When a head was full last.
    filled: Mutex<Option<Instant>>,
    until: CancellationToken,
    metrics: Metrics,
    problems: Mutex<Problems>,
    #[cfg(test)]
    stop_before: Mutex<Option<&'static str>>,
}

#[derive(Default)]
struct Problems {
    upload: Option<String>,
    build: Option<String>,
}

impl Ingester {
    /// Opens log and stage, replays what a crash left in them, and starts to take pushes. What was
    /// acknowledged before is searchable when this answers.
    ///
    /// # Errors
    /// [`StartError`] where the directories cannot be used or another process uses them.
    pub async fn start(
        options: IngesterOptions,
        store: Arc<Store>,
        engine: Arc<Engine>,
        membership: Arc<Membership>,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, StartError> {
        let disk = Disk::open(DiskOptions::new(&options.wal_dir))?;
        let queue = LogOptions { queue_bytes: options.queue_bytes, ..LogOptions::default() };
        let (log, generations) = Log::open(Arc::new(disk), queue).await?;
        let (root, scratch) = (options.stage_dir.clone(), options.scratch_dir.clone());
        let opened = spawn_blocking(move || {
            let (stage, staged) = Stage::open(root)?;
            Ok::<_, StoreError>((stage, staged, Self::open_scratch(scratch)?))
        });
        let (stage, staged, scratch) = opened.await.map_err(|_| StartError::Stopped)??;
        let process = Uuid::new_v4();
        membership.publish(PROCESS, &process.to_string()).await;
        let logs =
            (options.home == WalHome::Object).then(|| Logs::new(store.objects(), &membership.id(), process));
        let inner = Arc::new(Inner {
            process,
            metrics: Metrics::register(registry),
            state: State::new(),
            gate: RwLock::default(),
            full: Notify::new(),
            leaving: AtomicBool::new(false),
            filled: Mutex::default(),
            until: CancellationToken::new(),
            problems: Mutex::default(),
            #[cfg(test)]
            stop_before: Mutex::default(),
            options,
            store,
            engine,
            membership,
            journal: Journal::new(log, logs),
            claimed: Mutex::default(),
            stage,
            scratch,
        });
        inner.remember_blocks().await;
        inner.replay(generations, staged).await?;
        inner.first_epoch().await;
        inner.claim_own().await;
        let tasks = Mutex::new(inner.spawn_tasks());
        Ok(Arc::new(Self { inner, tasks }))
    }

    /// What is left in it can be built again from the log.
    fn open_scratch(dir: std::path::PathBuf) -> Result<Arc<Stage>, StoreError> {
        let (stage, left) = Stage::open(dir)?;
        for block in left {
            stage.remove(&block.meta.tenant, block.meta.id)?;
        }
        Ok(Arc::new(stage))
    }

    /// Gives up what others say that they have claimed: `claims` are entries as ingesters publish them.
    pub(crate) fn heed<'a>(&self, claims: impl Iterator<Item = &'a str>) {
        self.inner.heed(claims);
    }

    /// Tells this process from the one before and after it.
    pub(crate) fn process(&self) -> Uuid {
        self.inner.process
    }

    /// What is to be known of an ingester that is ready.
    pub fn note(&self) -> Option<String> {
        let away = self.inner.journal.away()?;
        let home = self.inner.journal.home();
        Some(format!("the object store is away ({away}); spans are kept: {home}"))
    }

    /// Takes spans in. When this answers `Ok`, they survive the loss of the process and of power, and a search
    /// finds them.
    ///
    /// # Errors
    /// [`PushError`]; where it has a [`PushError::retry_after`], the same push may be tried again.
    pub async fn push(&self, push: Push) -> Result<(), PushError> {
        let inner = &*self.inner;
        let pushed = inner.push(push).await;
        if let Err(error) = &pushed {
            inner.metrics.refused(error);
        }
        pushed
    }

    /// What is held of a trace.
    ///
    /// # Errors
    /// Where a block that waits for its upload cannot be read.
    pub async fn find_trace(&self, tenant: &Tenant, id: TraceId) -> Result<LiveTrace, EngineError> {
        let seen = self.inner.state.see(tenant);
        let metas: Vec<_> = seen.staged.iter().map(|staged| staged.meta.clone()).collect();
        let mut parts = self.inner.engine.find_trace(tenant, id, &metas, &Projection::Everything).await?;
        // A head's shard may be decoding, which is why this does not run here.
        let heads = seen.heads;
        let live = spawn_blocking(move || heads.iter().flat_map(|head| head.find(id)).collect::<Vec<_>>());
        parts.extend(live.await.unwrap_or_default());
        Ok(LiveTrace { parts, recent_blocks: seen.recent })
    }

    /// Searches what is held.
    ///
    /// # Errors
    /// Where a block that waits for its upload cannot be read.
    pub async fn search(
        &self,
        tenant: &Tenant,
        plan: &Arc<Plan>,
        limits: SearchLimits,
    ) -> Result<LiveSearch, EngineError> {
        let seen = self.inner.state.see(tenant);
        let heads = seen.heads;
        let view = spawn_blocking(move || {
            let tables = heads.iter().flat_map(|head| head.view().tables).collect();
            let continued = heads.iter().flat_map(|head| head.continued()).collect();
            (LiveView { tables }, SearchPart { continued, ..SearchPart::default() })
        });
        let engine = &self.inner.engine;
        // Ends with this call: a client that goes away drops it.
        let cancel = CancellationToken::new();
        let _cancelled_when_dropped = cancel.clone().drop_guard();
        let mut combiner = Combiner::new(limits.limit, plan.order);
        let (view, continued) = view.await.unwrap_or_default();
        combiner.add(continued);
        combiner.add(engine.search_live(view, plan, limits, cancel.clone()).await?);
        for staged in seen.staged {
            let groups = 0..staged.meta.row_groups as usize;
            combiner.add(engine.search_block(&staged.meta, groups, plan, limits, cancel.clone()).await?);
        }
        Ok(LiveSearch { part: combiner.finish(), recent_blocks: seen.recent })
    }

    /// Cuts what is held, and waits until all of it is visible in the store.
    ///
    /// # Errors
    /// [`PushError::Leaving`] where the ingester has ended.
    pub async fn flush(&self) -> Result<(), PushError> {
        self.inner.flush().await
    }

    /// Refuses pushes from now on, cuts, uploads, and ends. What is not uploaded by `deadline` is left in the
    /// log and on the stage, from where the next start takes it.
    ///
    /// # Errors
    /// The status at the deadline.
    pub async fn shutdown(&self, deadline: Instant) -> Result<(), Box<IngesterStatus>> {
        self.inner.leaving.store(true, Ordering::SeqCst);
        let flushed = timeout_at(deadline.into(), self.inner.flush()).await;
        self.inner.until.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // They end at their next step; a block that is being built is not waited for.
            let _ = timeout_at(deadline.into(), task).await;
        }
        self.inner.journal.close().await;
        match flushed {
            Ok(Ok(())) => {
                self.inner.end_own().await;
                Ok(())
            }
            _ => Err(Box::new(self.status())),
        }
    }

    /// Whether pushes are taken.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.inner.leaving.load(Ordering::SeqCst) {
            return Err("the ingester is leaving: it cuts and uploads what it holds".to_owned());
        }
        if self.inner.journal.open().is_none() {
            let away = self.inner.journal.away().unwrap_or_default();
            return Err(format!(
                "the object store, where the write-ahead log is to be kept, is away: {away}"
            ));
        }
        Ok(())
    }

    /// Whether heads are filled within seconds.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        let filled = *self.inner.filled.lock().unwrap_or_else(PoisonError::into_inner);
        filled.is_some_and(|at| at.elapsed() < LOADED)
    }

    /// How it is doing.
    pub fn status(&self) -> IngesterStatus {
        self.inner.status()
    }

    /// Ends as a killed process does: nothing is flushed.
    #[cfg(test)]
    pub(crate) async fn kill(self: Arc<Self>) {
        self.inner.until.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        let inner = self.inner.clone();
        drop(self);
        while Arc::strong_count(&inner) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        inner.journal.kill().await;
    }
}

impl Inner {
    async fn push(&self, push: Push) -> Result<(), PushError> {
        let Push { tenant, slices } = push;
        if slices.is_empty() {
            return Ok(());
        }
        self.disk_budget()?;
        self.wait_for_room().await?;
        let records: Vec<_> = slices
            .iter()
            .map(|slice| Record { tenant: tenant.clone(), id: slice.id, otlp: slice.otlp.clone() })
            .collect();
        let _no_cut_meanwhile = self.gate.read().await;
        if self.leaving.load(Ordering::SeqCst) {
            return Err(PushError::Leaving);
        }
        self.append(&records).await?;
        let head = self.state.current();
        let pushed = head.push(&tenant, slices, Instant::now());
        self.metrics.pushed(&tenant, pushed);
        if head.bytes() >= self.options.cut_bytes {
            self.full.notify_one();
        }
        Ok(())
    }

    fn disk_budget(&self) -> Result<(), PushError> {
        let Some(limit) = self.options.max_disk_bytes else { return Ok(()) };
        let to_disk = self.journal.open().is_none_or(|open| open.keep.epoch().is_none());
        let bytes = if to_disk { self.state.disk_bytes() } else { 0 };
        if bytes >= limit {
            // What makes room is an upload, which begins with a cut.
            self.full.notify_one();
            return Err(PushError::DiskBudget { bytes, limit });
        }
        Ok(())
    }

    /// Waits while as much is held as may be, for as long as a client can be kept waiting.
    async fn wait_for_room(&self) -> Result<(), PushError> {
        if self.state.current().bytes() < self.options.max_head_bytes() {
            return Ok(());
        }
        self.full.notify_one();
        let waited = self.options.push_wait;
        let room = self.state.until(|| self.state.current().bytes() < self.options.max_head_bytes());
        let room = async {
            tokio::select! {
                () = room => Ok(()),
                () = self.until.cancelled() => Err(PushError::Leaving),
            }
        };
        tokio::time::timeout(waited, room).await.unwrap_or(Err(PushError::Busy { waited }))
    }

    fn status(&self) -> IngesterStatus {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let (frozen, staged) = self.state.waiting();
        IngesterStatus {
            live_bytes: self.state.current().bytes(),
            frozen,
            staged,
            upload_error: problems.upload.clone(),
            build_error: problems.build.clone(),
            leaving: self.leaving.load(Ordering::SeqCst),
            wal: self.journal.home(),
            store_away: self.journal.away(),
        }
    }

    /// Where a test makes the process die between two steps.
    #[cfg(test)]
    fn dies_before(&self, step: &str) -> bool {
        *self.stop_before.lock().unwrap() == Some(step)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "a test's build can stop here")]
    fn dies_before(&self, _: &str) -> bool {
        false
    }
}

impl Drop for Ingester {
    fn drop(&mut self) {
        self.inner.until.cancel();
    }
}

impl fmt::Debug for Ingester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wal: &Path = &self.inner.options.wal_dir;
        f.debug_struct("Ingester").field("wal", &wal).field("status", &self.status()).finish_non_exhaustive()
    }
}

/// An ingester whose head was full so lately takes in as much as it can.
const LOADED: Duration = Duration::from_secs(10);
/// How long a client that was refused is asked to wait.
const RETRY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
