//! The way from a head to the store: cut, build, remove from the log, upload, remove from the stage. IO.
//!
//! Each step is tried until it succeeds, since what it holds was acknowledged. Each can be repeated after a
//! crash at any point; the rules stand at the head of the ingester.

use std::{
    fs::File,
    io::{BufWriter, Write},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tracing_core::{
    block::{self, BlockError, Continued},
    model::{BlockId, Tenant},
    store::{Staged, StoreError},
};

use super::{Inner, Problems, PushError, head::TenantHead, replay::block_id, state::Cut};

/// How often age and quiet traces are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Waits between attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Why a block was not built.
#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(transparent)]
    Stage(#[from] StoreError),
    #[error("cannot write the block's data: {0}")]
    Data(#[from] std::io::Error),
    #[error("the process is ending")]
    Ending,
}

impl Inner {
    pub(super) fn spawn_tasks(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let [cutter, keeper, builder, uploader] = std::array::from_fn(|_| self.clone());
        let [journal, watcher, publisher] = std::array::from_fn(|_| self.clone());
        // Each ends with the ingester, which is what the result of `run_until_cancelled` says.
        vec![
            tokio::spawn(async move { _ = cutter.until.run_until_cancelled(cutter.cut_when_due()).await }),
            tokio::spawn(async move { _ = keeper.until.run_until_cancelled(keeper.keep_house()).await }),
            tokio::spawn(async move { _ = builder.until.run_until_cancelled(builder.build_cuts()).await }),
            tokio::spawn(
                async move { _ = uploader.until.run_until_cancelled(uploader.upload_staged()).await },
            ),
            tokio::spawn(async move { _ = journal.until.run_until_cancelled(journal.keep_journal()).await }),
            tokio::spawn(async move { _ = watcher.until.run_until_cancelled(watcher.watch_logs()).await }),
            tokio::spawn(async move {
                _ = publisher.until.run_until_cancelled(publisher.publish_staged()).await;
            }),
        ]
    }

    /// Cuts everything and waits until it is stored.
    pub(super) async fn flush(&self) -> Result<(), PushError> {
        let stored = async {
            self.cut().await?;
            let order = self.state.next_order();
            self.state.until(|| self.state.stored_below(order)).await;
            Ok(())
        };
        self.until.run_until_cancelled(stored).await.unwrap_or(Err(PushError::Leaving))
    }

    async fn cut_when_due(&self) {
        loop {
            let _ = tokio::time::timeout(TICK, self.full.notified()).await;
            let head = self.state.current();
            let old = head.oldest().is_some_and(|at| at.elapsed() >= self.options.max_block_duration);
            let full = head.bytes() >= self.options.cut_bytes;
            if full {
                *self.filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            if (old || full)
                && let Err(error) = self.cut().await
            {
                tracing::warn!(%error, "the head was not cut");
            }
        }
    }

    /// What is done now and then.
    async fn keep_house(&self) {
        loop {
            sleep(TICK).await;
            self.settle().await;
            let now = Instant::now();
            self.state.forget(now, self.options.recent_for);
            self.forget_lost();
            let open = self.journal.open();
            let stats = open.as_ref().map_or_else(|| self.journal.disk().stats(), |open| open.log.stats());
            self.metrics.observe(&self.state.live_traces(), &self.status(), stats);
        }
    }

    /// Ends the current head, once there is room for another frozen one. An empty head is left as it is.
    pub(super) async fn cut(&self) -> Result<(), PushError> {
        let room = || {
            self.state.waiting().0 < self.options.max_frozen.max(1)
                && self.state.unpublished() < self.options.max_unpublished.max(1)
        };
        self.state.until(room).await;
        let _no_push_meanwhile = self.gate.write().await;
        // A head whose epoch was lost is another's to build.
        let open = self.journal.open().filter(|open| !open.keep.is_lost());
        if let Some(open) = open.filter(|_| self.state.current().oldest().is_some()) {
            let generation = open.rotate().await?;
            self.state.cut(generation);
        }
        Ok(())
    }

    /// Decodes quiet traces of the head ahead of searches and of its cut.
    async fn settle(&self) {
        let Some(idle_since) = Instant::now().checked_sub(self.options.settle_after) else { return };
        let head = self.state.current();
        let settled = spawn_blocking(move || {
            for (_, tenant) in head.tenants() {
                tenant.settle(idle_since);
            }
        });
        // A panic in it was reported by the runtime.
        let _ = settled.await;
    }

    async fn build_cuts(self: &Arc<Self>) {
        loop {
            self.state.until(|| self.state.oldest_cut().is_some()).await;
            let Some(cut) = self.state.oldest_cut() else { continue };
            let mut blocks = Vec::new();
            for (tenant, head) in cut.head.tenants() {
                let Ok(block) = self.build_until_done(&cut, &tenant, &head).await else { return };
                blocks.extend(block);
            }
            for block in &blocks {
                self.store.read_from(block.meta.id, block.dir.clone());
            }
            let known = self.state.staged(&cut, &blocks);
            if cut.keep.epoch().is_some() {
                for block in blocks.iter().filter(|_| !known) {
                    self.store.read_from_store(block.meta.id);
                    self.unstage_scratch(block);
                }
                continue;
            }
            if self.dies_before("wal removal") || !self.remove_until_done(&cut).await {
                return;
            }
            self.state.release(cut.order);
        }
    }

    /// The block of one tenant, or none where nothing was left of its spans; an error where the process ends.
    async fn build_until_done(
        self: &Arc<Self>,
        cut: &Cut,
        tenant: &Tenant,
        head: &Arc<TenantHead>,
    ) -> Result<Option<Staged>, BuildError> {
        let id = block_id(&cut.generation, &cut.keep, tenant);
        let scratch = cut.keep.epoch().is_some();
        let mut wait = BACKOFF.0;
        loop {
            let began = Instant::now();
            let (inner, of, head) = (self.clone(), tenant.clone(), head.clone());
            let built = spawn_blocking(move || inner.build(&of, id, &head, scratch)).await;
            match built.unwrap_or(Err(BuildError::Ending)) {
                Ok(staged) => {
                    self.problem(|problems| problems.build = None);
                    if let Some(Staged { meta, .. }) = &staged {
                        let (traces, bytes, took) = (meta.traces, meta.size, began.elapsed());
                        self.metrics.built(bytes, took);
                        tracing::info!(%tenant, block = %id, traces, bytes, ?took, "built a block");
                    }
                    return Ok(staged);
                }
                Err(BuildError::Ending) => return Err(BuildError::Ending),
                Err(error) => {
                    tracing::error!(%tenant, block = %id, %error, "a block could not be built: it is tried again");
                    self.metrics.build_failed();
                    self.problem(|problems| problems.build = Some(error.to_string()));
                }
            }
            back_off(&mut wait).await;
        }
    }

    /// Writes one block to the stage. Blocking, and most of an ingester's work.
    fn build(
        &self,
        tenant: &Tenant,
        id: BlockId,
        head: &TenantHead,
        scratch: bool,
    ) -> Result<Option<Staged>, BuildError> {
        let stage = if scratch { &*self.scratch } else { &self.stage };
        let rows = head.freeze();
        if rows.is_empty() {
            return Ok(None);
        }
        let data = stage.begin(tenant, id)?;
        let mut sink = BufWriter::with_capacity(1 << 20, File::create(data)?);
        let options = self.options.write.of(tenant);
        let mut written = block::write(rows, &options, tenant, id, &mut sink)?;
        written.note_continued(&Continued::new(head.continued()))?;
        if self.options.write.no_compact {
            written.extra.push(("nocompact.flg", Bytes::new()));
        }
        sink.flush()?;
        if self.dies_before(&format!("stage of {tenant}")) {
            return Err(BuildError::Ending);
        }
        Ok(Some(stage.finish(&written)?))
    }

    async fn remove_until_done(&self, cut: &Cut) -> bool {
        let mut wait = BACKOFF.0;
        while let Err(error) = self.journal.disk().remove(&cut.generation).await {
            tracing::error!(generation = %cut.generation, %error, "a generation stays in the log: it is tried again");
            back_off(&mut wait).await;
        }
        !self.dies_before("upload")
    }

    async fn upload_staged(self: &Arc<Self>) {
        let mut wait = BACKOFF.0;
        loop {
            self.state.until(|| self.state.next_upload().is_some()).await;
            let Some(block) = self.state.next_upload() else { continue };
            let tenant = &block.meta.tenant;
            let began = Instant::now();
            match self.store.commit(&block.meta, &block.dir).await {
                Ok(()) => {
                    wait = BACKOFF.0;
                    self.problem(|problems| problems.upload = None);
                    self.metrics.flushed(began.elapsed());
                    tracing::info!(%tenant, block = %block.meta.id, "uploaded a block");
                    if self.dies_before("unstage") {
                        return;
                    }
                    self.unstage(&block).await;
                }
                Err(error) => {
                    tracing::error!(
                        %tenant, block = %block.meta.id, %error, retry_seconds = wait.as_secs_f32(),
                        "a block could not be uploaded: it stays on the local disk and is tried again"
                    );
                    self.metrics.flush_failed();
                    self.problem(|problems| problems.upload = Some(error.to_string()));
                    self.state.not_uploaded(&block);
                    back_off(&mut wait).await;
                }
            }
        }
    }

    async fn unstage(self: &Arc<Self>, block: &Staged) {
        self.state.uploaded(block, Instant::now(), self.options.recent_for);
        let (tenant, id) = (block.meta.tenant.clone(), block.meta.id);
        self.store.read_from_store(id);
        let inner = self.clone();
        let removed = spawn_blocking(move || {
            if let Err(error) = inner.stage.remove(&tenant, id) {
                tracing::warn!(%tenant, block = %id, %error, "an uploaded block stays on the stage until the next start");
            }
        });
        // A panic in it was reported by the runtime.
        let _ = removed.await;
    }

    pub(super) fn problem(&self, change: impl FnOnce(&mut Problems)) {
        change(&mut self.problems.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

pub(super) async fn back_off(wait: &mut Duration) {
    sleep(*wait).await;
    *wait = (*wait * 2).min(BACKOFF.1);
}
