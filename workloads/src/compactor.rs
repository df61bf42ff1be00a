//! The role that merges blocks and lets traces expire. IO.
//!
//! Flow of a merge: the inputs are read into one block in a local directory; its data is uploaded; a record of
//! the job is put, which says what the output is and what it replaces; the output's `meta.json` makes it
//! visible; the inputs are marked; the record goes. Retention marks blocks whose time is over, rewrites those of
//! which some traces have to stay, and deletes what was marked long enough ago. What was uploaded and never came
//! to be a block is swept away.
//! Guarantees: every step may be repeated and may be done by several compactors at once. Until the record is
//! there nothing has happened that anyone can see; from then on any compactor can finish the job.

mod calm;
mod metrics;
mod options;
mod owner;
mod record;
mod retain;
mod skip;
mod sweep;
mod turn;
mod work;

use std::{path::Path, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing_core::{engine::Engine, model::Tenant, store::Store};
use vivace_config::Config;

use crate::{membership::Membership, overrides::Overrides};
use calm::Calm;
use metrics::Metrics;
pub use options::CompactorOptions;
pub(crate) use options::{check_window, rules};
use skip::Skipped;
use work::Workplace;

/// The first and the longest pause of a tenant whose work failed.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(30));

/// Merges blocks and lets traces expire.
#[derive(Debug)]
pub struct Compactor {
    options: CompactorOptions,
    store: Arc<Store>,
    engine: Arc<Engine>,
    membership: Arc<Membership>,
    overrides: Arc<Overrides>,
    workplace: Workplace,
    metrics: Metrics,
    /// Blocks and tenants that are left alone for a while.
    skipped: Skipped,
    retentions: retain::Retentions,
    looked: record::Looked,
    swept: sweep::Last,
    calm: Calm,
    #[cfg(test)]
    stop_before: std::sync::Mutex<Option<&'static str>>,
}

/// Why a step of the work failed.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Store(#[from] tracing_core::store::StoreError),
    #[error("{0}")]
    Merge(#[from] tracing_core::engine::MergeFailed),
    #[error("file {}", path.display())]
    File { path: std::path::PathBuf, source: std::io::Error },
    #[error("job record {key}: {reason}")]
    Record { key: String, reason: String },
    #[error("the process ends")]
    Ending,
}

impl Compactor {
    /// As the configuration says, with Tempo's defaults.
    ///
    /// # Errors
    /// The key that is wrong, or the directory that cannot be worked in.
    pub fn new(
        config: &Config,
        (store, engine): (Arc<Store>, Arc<Engine>),
        membership: Arc<Membership>,
        overrides: Arc<Overrides>,
        registry: &mut Registry,
    ) -> anyhow::Result<Self> {
        let mut options = CompactorOptions::of(config)?;
        options.write = options.write.over(Arc::clone(&overrides));
        let workplace = Workplace::open(&options.work)?;
        Ok(Self {
            options,
            store,
            engine,
            membership,
            overrides,
            workplace,
            metrics: Metrics::register(registry),
            skipped: Skipped::default(),
            retentions: retain::Retentions::default(),
            looked: record::Looked::default(),
            swept: sweep::Last::default(),
            calm: Calm::default(),
            #[cfg(test)]
            stop_before: std::sync::Mutex::default(),
        })
    }

    /// That begins no merge while the process is busy with something that takes as much memory and cannot wait, for
    /// two minutes at most.
    #[must_use]
    pub fn yielding_to(self, is_busy: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { calm: Calm::unless(is_busy), ..self }
    }

    /// Looks again every cycle, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(self.options.cycle.max(Duration::from_secs(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            for tenant in self.store.tenants() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.turn(&tenant) => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sweep() => {}
            }
            self.metrics.set_skipped(self.skipped.damaged());
        }
    }

    /// One look at a tenant: what has expired goes, and while there is time blocks are merged.
    async fn turn(&self, tenant: &Tenant) {
        if self.overrides.of(tenant).compaction.compaction_disabled == Some(true) {
            self.metrics.outstanding(tenant, 0);
            return;
        }
        self.retain(tenant, self.store.now()).await;
        if self.skipped.tenant_waits(tenant) {
            return;
        }
        let until = Instant::now() + self.options.max_time_per_tenant;
        match self.compact(tenant, until).await {
            Ok(()) => self.skipped.tenant_works(tenant),
            Err(error) => {
                self.metrics.failed();
                let wait = self.skipped.tenant_failed(tenant);
                let error = anyhow::Error::new(error);
                tracing::warn!(%tenant, error = format!("{error:#}"), wait_s = wait.as_secs(), "blocks were not merged");
            }
        }
    }

    /// Where a test makes the process die between two steps.
    #[cfg(test)]
    fn reached(&self, step: &'static str) -> Result<(), WorkError> {
        let stop = self.stop_before.lock().is_ok_and(|at| *at == Some(step));
        if stop { Err(WorkError::Ending) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "a test's build can stop here")]
    fn reached(&self, _: &'static str) -> Result<(), WorkError> {
        Ok(())
    }
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> WorkError {
    let path = path.to_owned();
    move |source| WorkError::File { path, source }
}

#[cfg(test)]
mod tests;
