//! What a compactor counts, under Tempo's names.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tracing_core::{block::Merged, model::Tenant};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLevel {
    level: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTenant {
    tenant: String,
}

#[derive(Debug, Default)]
pub(super) struct Metrics {
    blocks: Family<OfLevel, Counter>,
    bytes: Family<OfLevel, Counter>,
    written: Family<OfLevel, Counter>,
    combined: Family<OfLevel, Counter>,
    errors: Counter,
    outstanding: Family<OfTenant, Gauge>,
    skipped: Gauge,
    dropped: Counter,
    finished: Counter,
    pub(super) marked: Counter,
    pub(super) deleted: Counter,
    pub(super) retention_errors: Counter,
    pub(super) swept: Counter,
    pub(super) swept_bytes: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self { blocks, bytes, written, combined, .. } = &metrics;
        for (name, what, family) in [
            ("tempodb_compaction_blocks", "blocks that were merged", blocks),
            ("tempodb_compaction_bytes_written", "bytes of data of the blocks that they became", bytes),
            ("tempodb_compaction_objects_written", "traces of the blocks that they became", written),
            ("tempodb_compaction_objects_combined", "traces put together of several blocks", combined),
        ] {
            registry.register(name, what, family.clone());
        }
        for (name, what, counter) in [
            ("tempodb_compaction_errors", "merges that failed", &metrics.errors),
            ("vivace_retention_traces_dropped", "traces that retention rules let go", &metrics.dropped),
            (
                "vivace_compaction_jobs_finished_for_others",
                "jobs that another compactor began",
                &metrics.finished,
            ),
            ("tempodb_retention_marked_for_deletion", "blocks that expired", &metrics.marked),
            ("tempodb_retention_deleted", "blocks that were deleted", &metrics.deleted),
            (
                "tempodb_retention_errors",
                "blocks that could not be marked or deleted",
                &metrics.retention_errors,
            ),
            ("vivace_orphaned_objects_deleted", "objects of blocks that never came to be", &metrics.swept),
            ("vivace_orphaned_bytes_deleted", "bytes of these", &metrics.swept_bytes),
        ] {
            registry.register(name, what, counter.clone());
        }
        let what = "blocks that wait to be merged";
        registry.register("tempodb_compaction_outstanding_blocks", what, metrics.outstanding.clone());
        let what = "damaged blocks that are not merged";
        registry.register("vivace_compaction_blocks_set_aside", what, metrics.skipped.clone());
        metrics
    }

    /// `inputs` blocks became one of `level`, or none where nothing of them was left.
    pub(super) fn merged(&self, inputs: usize, level: u32, merged: &Merged) {
        let level = OfLevel { level: level.saturating_sub(1).to_string() };
        self.blocks.get_or_create(&level).inc_by(inputs as u64);
        self.combined.get_or_create(&level).inc_by(merged.traces_combined);
        if let Some(written) = &merged.written {
            self.bytes.get_or_create(&level).inc_by(written.meta.size);
            self.written.get_or_create(&level).inc_by(written.meta.traces);
        }
        self.dropped.inc_by(merged.traces_dropped);
    }

    pub(super) fn failed(&self) {
        self.errors.inc();
    }

    #[cfg(test)]
    pub(super) fn errors(&self) -> u64 {
        self.errors.get()
    }

    pub(super) fn finished_for_another(&self) {
        self.finished.inc();
    }

    pub(super) fn outstanding(&self, tenant: &Tenant, blocks: usize) {
        self.outstanding.get_or_create(&OfTenant { tenant: tenant.to_string() }).set(blocks as i64);
    }

    pub(super) fn set_skipped(&self, blocks: usize) {
        self.skipped.set(blocks as i64);
    }
}
