//! A tenant's turn: blocks are merged one job after the other, and those rewritten of which some traces have
//! to go.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use tracing_core::{
    block::{MergeRules, Merged, Meta},
    engine::{EngineError, MergeFailed},
    model::{BlockId, Tenant},
    policy::{self, CompactionLimits, Due},
    store::{Created, StoreError},
};

use super::{Compactor, WorkError, options::signed, owner, record::Record, work::Copies};
use crate::membership::Role;

/// A block that is gone or must not be touched is looked at again after this.
const LATER: Duration = Duration::from_mins(5);

/// What is to be done.
struct Task {
    inputs: Vec<Arc<Meta>>,
    level: u32,
}

impl Compactor {
    /// Works until nothing of this process is left to do, or `until`.
    pub(super) async fn compact(&self, tenant: &Tenant, until: Instant) -> Result<(), WorkError> {
        self.finish_left_behind(tenant).await?;
        loop {
            let [merge, rewrite] = self.tasks(tenant, self.store.now());
            if merge.is_none() && rewrite.is_none() {
                return Ok(());
            }
            // Both, so that neither waits for the last of the other.
            for task in [merge, rewrite].into_iter().flatten() {
                if Instant::now() >= until {
                    return Ok(());
                }
                self.calm.wait().await;
                self.run_task(tenant, task).await?;
            }
        }
    }

    /// The next merge and the next block to rewrite that are this process's.
    fn tasks(&self, tenant: &Tenant, now: Timestamp) -> [Option<Task>; 2] {
        let blocks = self.store.blocks(tenant);
        let skip = |meta: &Meta| meta.version().is_err() || self.skipped.has(meta.id);
        let jobs = policy::jobs(&blocks, now, &self.limits_of(tenant), skip);
        self.metrics.outstanding(tenant, jobs.iter().map(|job| job.inputs.len()).sum());
        let members = self.membership.members(Role::Compactor);
        let is_own = |group: &str| owner::is_own(&members, &format!("{tenant}/{group}"));
        let merge = jobs.into_iter().find(|job| is_own(&job.group));
        let merge = merge.map(|job| Task { inputs: job.inputs, level: job.level });
        let retention = self.retention_of(tenant);
        let due = |meta: &&Arc<Meta>| {
            retention.as_ref().is_some_and(|rules| rules.due(meta, now) == Due::Rewrite)
                && meta.compacted.is_none()
                && !skip(meta)
                && is_own(&format!("R-{}", meta.id))
        };
        // The oldest first: newest come first in the list.
        let rewrite = blocks.iter().rev().find(due);
        let rewrite = rewrite.map(|meta| Task { inputs: vec![meta.clone()], level: meta.compaction_level });
        [merge, rewrite]
    }

    fn limits_of(&self, tenant: &Tenant) -> CompactionLimits {
        let own = self.overrides.of(tenant).compaction.compaction_window;
        let window = own.filter(|own| own.0.as_secs() > 0).map(|own| signed(own.get()));
        let mut limits = self.options.limits.clone();
        limits.window = window.unwrap_or(limits.window);
        limits
    }

    async fn run_task(&self, tenant: &Tenant, mut task: Task) -> Result<(), WorkError> {
        for input in &mut task.inputs {
            let Some(fresh) = self.live(input).await? else {
                // Another compactor was first, and the next poll says so.
                self.skipped.block(input.id, LATER);
                return Ok(());
            };
            if self.is_flagged(&fresh).await? {
                self.skipped.block(fresh.id, LATER);
                return Ok(());
            }
            self.make_whole(&fresh).await?;
            *input = fresh;
        }
        if let [one] = task.inputs.as_slice()
            && self.retention_of(tenant).is_none_or(|rules| rules.due(one, self.store.now()) != Due::Rewrite)
        {
            // The list's meta was an older one.
            self.skipped.block(one.id, LATER);
            return Ok(());
        }
        let id = self.store.new_id();
        let outcome = self.replace(tenant, &task, id).await;
        self.workplace.remove(tenant, id);
        match outcome {
            Err(WorkError::Merge(MergeFailed { block: Some(block), error }))
                if matches!(*error, EngineError::Block(_)) =>
            {
                self.metrics.failed();
                if self.skipped.set_aside(block) {
                    tracing::error!(%tenant, %block, %error, "a damaged block is not merged any more");
                }
                Ok(())
            }
            Err(WorkError::Store(error)) if error.is_not_found() => {
                tracing::info!(%tenant, %error, "a block went while it was merged");
                task.inputs.iter().for_each(|input| self.skipped.block(input.id, LATER));
                Ok(())
            }
            other => other,
        }
    }

    /// `nocompact.flg` beside a block: whoever writes it is not done with it.
    async fn is_flagged(&self, meta: &Meta) -> Result<bool, WorkError> {
        let key = format!("{}/{}/nocompact.flg", meta.tenant, meta.id);
        match self.store.objects().get(&key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the block `id` of the inputs, and lets it take their place.
    async fn replace(&self, tenant: &Tenant, task: &Task, id: BlockId) -> Result<(), WorkError> {
        let began = Instant::now();
        self.reached("merge")?;
        let mut merged = self.merge(tenant, task, id).await?;
        self.overrides.discarded(tenant, "trace_too_large_to_compact", merged.spans_discarded);
        let retained = self.retention_of(tenant).and_then(|rules| rules.retained(&merged.newest));
        let Some(mut written) = merged.written.take() else {
            for input in &task.inputs {
                self.store.mark_compacted(tenant, input.id).await?;
            }
            self.metrics.merged(task.inputs.len(), task.level, &merged);
            tracing::info!(%tenant, inputs = ids(&task.inputs), "nothing of blocks is kept any longer");
            return Ok(());
        };
        written.meta.retained = retained;
        written.meta.replaces = task.inputs.iter().map(|meta| meta.id).collect();
        written.meta.replication_factor = task.inputs.first().map_or(1, |meta| meta.replication_factor);
        self.reached("end the local block")?;
        let staged = self.workplace.end(written.clone()).await?;
        self.reached("upload")?;
        let uploaded = self.store.upload(&staged.meta, &staged.dir).await?;
        self.reached("put the record")?;
        // Before the record names it, a sweep may take it away (rule *young-or-named*).
        if !uploaded.is_fresh() {
            return Err(StoreError::Stale { block: id }.into());
        }
        if !self.claim(tenant, &task.inputs, &staged.meta).await? {
            return Ok(());
        }
        merged.written = Some(written);
        self.metrics.merged(task.inputs.len(), task.level, &merged);
        tracing::info!(
            %tenant,
            output = %id,
            inputs = ids(&task.inputs),
            level = task.level,
            traces = staged.meta.traces,
            bytes = staged.meta.size,
            combined = merged.traces_combined,
            dropped = merged.traces_dropped,
            discarded_spans = merged.spans_discarded,
            duration_ms = began.elapsed().as_millis() as u64,
            "blocks were merged"
        );
        Ok(())
    }

    async fn merge(&self, tenant: &Tenant, task: &Task, id: BlockId) -> Result<Merged, WorkError> {
        let mut copies = Copies::default();
        let mut inputs = Vec::with_capacity(task.inputs.len());
        let mut continued = Vec::with_capacity(task.inputs.len());
        for meta in &task.inputs {
            continued.push(self.engine.continued(meta).await.map_err(MergeFailed::output)?);
            inputs.push(self.workplace.fetch(&self.store, meta, &mut copies).await?);
        }
        let to = self.workplace.begin(tenant, id)?;
        // What is merged is of one format, and stays of it.
        let version = task.inputs.first().and_then(|meta| meta.version().ok()).unwrap_or_default();
        let mut options = self.options.write.of_version(tenant, version);
        options.compaction_level = task.level;
        let retention = self.retention_of(tenant).filter(|rules| !rules.is_plain());
        let rules = MergeRules {
            max_trace_bytes: self.overrides.of(tenant).trace_bytes(),
            sift: retention.map(|rules| Box::new(rules.sieve(self.store.now())) as _),
            continued,
        };
        Ok(self.engine.merge(inputs, options, (tenant.clone(), id), to, rules).await?)
    }

    /// Puts the record of the job whose output was uploaded, and finishes it. False where another compactor
    /// has the job, or one that overlaps it, or had it a moment ago: what was uploaded here then comes to nothing.
    async fn claim(&self, tenant: &Tenant, inputs: &[Arc<Meta>], output: &Meta) -> Result<bool, WorkError> {
        let record = Record::new(inputs, output);
        let key = record.key();
        let rival = match self.rival(&record).await? {
            Some(rival) => Some(rival),
            None if !self.are_live(&record).await? => None,
            None => match self.store.objects().put_new(&key, record.to_json()).await? {
                Created::New => return self.carry_through(&key, &record).await,
                Created::Exists => self.rival(&record).await?,
            },
        };
        tracing::info!(%tenant, inputs = ids(inputs), "another compactor had the same job");
        // The record is another's: nothing refers to what was uploaded here.
        self.store.delete(tenant, output.id).await?;
        self.leave_alone(&record.inputs);
        if let Some((object, record)) = rival {
            self.take_over(&object, &record).await?;
        }
        Ok(false)
    }

    /// Finishes the job of a record that was put a moment ago; false where it does not count.
    pub(super) async fn carry_through(&self, key: &str, record: &Record) -> Result<bool, WorkError> {
        if !self.is_valid(record).await? {
            self.withdraw(key, record).await?;
            return Ok(false);
        }
        self.finish(key, record).await?;
        Ok(true)
    }

    /// Takes back a record that must not be finished.
    pub(super) async fn withdraw(&self, key: &str, record: &Record) -> Result<(), WorkError> {
        tracing::info!(key, output = %record.output.id, "a job came too late, and comes to nothing");
        // The output is left to the sweep: whoever judged otherwise a moment ago may make it visible yet.
        self.store.objects().delete(key).await?;
        self.leave_alone(&record.inputs);
        Ok(())
    }

    fn leave_alone(&self, inputs: &[BlockId]) {
        for input in inputs {
            self.skipped.block(*input, LATER);
        }
    }
}

fn ids(metas: &[Arc<Meta>]) -> String {
    metas.iter().map(|meta| meta.id.to_string()).collect::<Vec<_>>().join(",")
}
