//! The way from the stage to the store for a generation whose log is in the object store: upload, decide, make
//! visible, remove the segments. IO.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;
use tracing_core::{
    block::Meta,
    model::Tenant,
    store::{Staged, StoreError},
    wal::{HomeError, Verdict},
};

use super::{Inner, pipeline::back_off, replay::block_id_of_term, state::Cut};

/// First wait between attempts.
const BACKOFF: Duration = Duration::from_millis(500);

/// Why a generation is not in the store yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] Arc<HomeError>),
    #[error("a decision names a block that is none: {0}")]
    Decision(String),
    #[error("the process is ending")]
    Ending,
}

/// The blocks of a decision, as its record spells them: each `meta.json` as it is.
pub(super) fn spelled(metas: &[Arc<Meta>]) -> String {
    let metas: Vec<String> =
        metas.iter().map(|meta| String::from_utf8_lossy(&meta.to_json()).into_owned()).collect();
    serde_json::to_string(&metas).unwrap_or_default()
}

/// Reads what [`spelled`] writes.
pub(super) fn read(blocks: &str) -> Result<Vec<Arc<Meta>>, PublishError> {
    let wrong = |error: &dyn std::fmt::Display| PublishError::Decision(error.to_string());
    let metas: Vec<String> = serde_json::from_str(blocks).map_err(|error| wrong(&error))?;
    let meta = |json: &String| Meta::from_json(json.as_bytes()).map(Arc::new).map_err(|error| wrong(&error));
    metas.iter().map(meta).collect()
}

impl Inner {
    /// Publishes what is on the stage, oldest first.
    pub(super) async fn publish_staged(self: &Arc<Self>) {
        let mut wait = BACKOFF;
        loop {
            self.state.until(|| self.state.next_publication().is_some()).await;
            let Some((cut, blocks)) = self.state.next_publication() else { continue };
            let began = Instant::now();
            match self.publish(&cut, &blocks).await {
                Ok(()) => {
                    wait = BACKOFF;
                    self.problem(|problems| problems.upload = None);
                    for block in &blocks {
                        self.metrics.flushed(began.elapsed());
                        tracing::info!(tenant = %block.meta.tenant, block = %block.meta.id, log = ?cut.keep, "published a block");
                    }
                }
                Err(PublishError::Ending) => return,
                Err(_) if cut.keep.is_lost() => self.forget_lost(),
                Err(error) => {
                    tracing::error!(
                        generation = %cut.generation, %error, retry_seconds = wait.as_secs_f32(),
                        "blocks could not be published: their spans stay in the log, and it is tried again"
                    );
                    self.metrics.flush_failed();
                    self.problem(|problems| problems.upload = Some(error.to_string()));
                    back_off(&mut wait).await;
                }
            }
        }
    }

    /// Every step may be repeated, by this process or by one that claims the epoch.
    async fn publish(self: &Arc<Self>, cut: &Arc<Cut>, blocks: &[Staged]) -> Result<(), PublishError> {
        let Some(epoch) = cut.keep.epoch() else { return Ok(()) };
        let mut uploads = Vec::with_capacity(blocks.len());
        for block in blocks {
            uploads.push((block.meta.id, self.store.upload(&block.meta, &block.dir).await?));
        }
        // Before the decision names them, a sweep may take them away (rule *young-or-named*).
        let fresh = || match uploads.iter().find(|(_, uploaded)| !uploaded.is_fresh()) {
            Some((block, _)) => Err(StoreError::Stale { block: *block }),
            None => Ok(()),
        };
        self.dies("decision")?;
        fresh()?;
        let ours: Vec<_> = blocks.iter().map(|block| block.meta.clone()).collect();
        let verdict = epoch.decide(cut.generation.number, &spelled(&ours)).await?;
        // It slept on the way: what was decided is uploaded once more before it is made visible.
        fresh()?;
        let metas = match &verdict {
            Verdict::Ours => ours,
            Verdict::Theirs(blocks) => read(blocks)?,
        };
        self.dies("visible")?;
        for meta in &metas {
            self.store.publish(meta).await?;
        }
        for block in blocks {
            self.store.read_from_store(block.meta.id);
        }
        // A repetition finds no block on the stage any more, so that nothing is uploaded over what is visible.
        self.state.visible(blocks, &metas, Instant::now(), self.options.recent_for);
        for block in blocks {
            self.unstage_scratch(block);
            self.delete_others(cut, &block.meta.tenant, &metas).await?;
        }
        self.dies("segment removal")?;
        epoch.remove(cut.generation.number).await?;
        self.state.published(cut.order);
        self.end_retired().await;
        Ok(())
    }

    /// Deletes what others, and this one, uploaded for a generation and was not decided on: nobody sees it.
    async fn delete_others(
        &self,
        cut: &Cut,
        tenant: &Tenant,
        decided: &[Arc<Meta>],
    ) -> Result<(), PublishError> {
        let terms = 0..=cut.keep.epoch().map_or(0, |epoch| epoch.term());
        for id in terms.map(|term| block_id_of_term(&cut.generation, term, tenant)) {
            if decided.iter().all(|meta| meta.id != id) {
                self.store.delete(tenant, id).await?;
            }
        }
        Ok(())
    }

    /// Removes a block from the stage that the log can replay.
    pub(super) fn unstage_scratch(self: &Inner, block: &Staged) {
        let (scratch, tenant, id) = (self.scratch.clone(), block.meta.tenant.clone(), block.meta.id);
        // Not waited for: what is left behind is removed at the next start.
        drop(spawn_blocking(move || {
            if let Err(error) = scratch.remove(&tenant, id) {
                tracing::warn!(%tenant, block = %id, %error, "a published block stays on the stage until the next start");
            }
        }));
    }

    fn dies(&self, before: &str) -> Result<(), PublishError> {
        if self.dies_before(before) { Err(PublishError::Ending) } else { Ok(()) }
    }
}
