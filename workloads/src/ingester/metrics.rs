//! What an ingester counts, under Tempo's names where they exist, and the log's numbers under ours.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tracing_core::{
    model::Tenant,
    wal::{Replayed, Stats},
};

use super::{IngesterStatus, PushError, head::Pushed};

/// Upper bounds in seconds of the histograms of flushes, as Tempo's.
const SECONDS: [f64; 10] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTenant {
    tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfData {
    tenant: String,
    data_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Because {
    reason: &'static str,
}

/// See the file's head.
pub(super) struct Metrics {
    live_traces: Family<OfTenant, Gauge>,
    traces_created: Family<OfTenant, Counter>,
    bytes_received: Family<OfData, Counter>,
    refused: Family<Because, Counter>,
    blocks_flushed: Counter,
    failed_flushes: Counter,
    failed_builds: Counter,
    flush_duration: Histogram,
    build_duration: Histogram,
    flush_size: Counter,
    flush_queue: Gauge,
    frozen: Gauge,
    live_bytes: Gauge,
    replayed_records: Counter,
    replay_errors: Counter,
    wal_commits: Gauge<u64, AtomicU64>,
    wal_bytes: Gauge<u64, AtomicU64>,
    wal_failed: Gauge<u64, AtomicU64>,
    degraded: Gauge,
    epochs_lost: Counter,
    epochs_claimed: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(SECONDS);
        let it = Self {
            live_traces: Family::default(),
            traces_created: Family::default(),
            bytes_received: Family::default(),
            refused: Family::default(),
            blocks_flushed: Counter::default(),
            failed_flushes: Counter::default(),
            failed_builds: Counter::default(),
            flush_duration: seconds(),
            build_duration: seconds(),
            flush_size: Counter::default(),
            flush_queue: Gauge::default(),
            frozen: Gauge::default(),
            live_bytes: Gauge::default(),
            replayed_records: Counter::default(),
            replay_errors: Counter::default(),
            wal_commits: Gauge::default(),
            wal_bytes: Gauge::default(),
            wal_failed: Gauge::default(),
            degraded: Gauge::default(),
            epochs_lost: Counter::default(),
            epochs_claimed: Counter::default(),
        };
        it.register_tempos(registry);
        it.register_ours(registry);
        it
    }

    fn register_tempos(&self, registry: &mut Registry) {
        let tempo = registry.sub_registry_with_prefix("tempo_ingester");
        tempo.register("live_traces", "Traces that are in no block yet", self.live_traces.clone());
        tempo.register("traces_created", "Traces begun in a head", self.traces_created.clone());
        tempo.register("bytes_received", "Bytes of spans acknowledged", self.bytes_received.clone());
        tempo.register("blocks_flushed", "Blocks uploaded", self.blocks_flushed.clone());
        tempo.register("failed_flushes", "Uploads of a block that failed", self.failed_flushes.clone());
        tempo.register("flush_duration_seconds", "Time to upload a block", self.flush_duration.clone());
        tempo.register("flush_queue_length", "Blocks that wait for their upload", self.flush_queue.clone());
        tempo.register("replay_errors", "Damaged places found in the log", self.replay_errors.clone());
    }

    fn register_ours(&self, registry: &mut Registry) {
        let ours = registry.sub_registry_with_prefix("vivace_ingester");
        ours.register("pushes_refused", "Pushes refused, by reason", self.refused.clone());
        ours.register("failed_builds", "Blocks that could not be built at once", self.failed_builds.clone());
        ours.register("build_duration_seconds", "Time to build a block", self.build_duration.clone());
        ours.register("flushed_bytes", "Bytes of data in blocks built", self.flush_size.clone());
        ours.register("frozen_heads", "Heads that wait for their blocks", self.frozen.clone());
        ours.register("live_bytes", "Bytes received into the present head", self.live_bytes.clone());
        ours.register("replayed_records", "Records replayed at start", self.replayed_records.clone());
        ours.register("wal_commits", "Group commits since start", self.wal_commits.clone());
        ours.register("wal_bytes", "Bytes committed since start", self.wal_bytes.clone());
        ours.register("wal_failed_commits", "Group commits that failed since start", self.wal_failed.clone());
        let degraded = "1 while the local disk stands in for the object store";
        ours.register("wal_degraded", degraded, self.degraded.clone());
        let lost = "Logs of this ingester that others took over";
        ours.register("wal_epochs_lost", lost, self.epochs_lost.clone());
        let claimed = "Logs of ingesters that are gone, taken over";
        ours.register("wal_epochs_claimed", claimed, self.epochs_claimed.clone());
    }

    pub(super) fn pushed(&self, tenant: &Tenant, pushed: Pushed) {
        let tenant = tenant.to_string();
        let of = OfData { tenant: tenant.clone(), data_type: "trace" };
        self.bytes_received.get_or_create(&of).inc_by(pushed.bytes);
        self.traces_created.get_or_create(&OfTenant { tenant }).inc_by(pushed.new_traces);
    }

    pub(super) fn refused(&self, error: &PushError) {
        self.refused.get_or_create(&Because { reason: error.reason() }).inc();
    }

    pub(super) fn built(&self, bytes: u64, took: Duration) {
        self.flush_size.inc_by(bytes);
        self.build_duration.observe(took.as_secs_f64());
    }

    pub(super) fn build_failed(&self) {
        self.failed_builds.inc();
    }

    pub(super) fn flushed(&self, took: Duration) {
        self.blocks_flushed.inc();
        self.flush_duration.observe(took.as_secs_f64());
    }

    pub(super) fn flush_failed(&self) {
        self.failed_flushes.inc();
    }

    pub(super) fn replayed(&self, replayed: &Replayed) {
        self.replayed_records.inc_by(replayed.records);
        self.replay_errors.inc_by(replayed.damaged);
    }

    /// Whether the local disk stands in for the object store.
    pub(super) fn degraded(&self, degraded: bool) {
        self.degraded.set(i64::from(degraded));
    }

    pub(super) fn lost_epoch(&self) {
        self.epochs_lost.inc();
    }

    pub(super) fn claimed_epoch(&self) {
        self.epochs_claimed.inc();
    }

    /// Takes over what is not counted as it happens.
    pub(super) fn observe(&self, live: &HashMap<Tenant, usize>, status: &IngesterStatus, log: &Stats) {
        self.live_traces.clear();
        for (tenant, traces) in live {
            self.live_traces.get_or_create(&OfTenant { tenant: tenant.to_string() }).set(*traces as i64);
        }
        self.flush_queue.set(status.staged as i64);
        self.frozen.set(status.frozen as i64);
        self.live_bytes.set(status.live_bytes as i64);
        self.wal_commits.set(log.commits.load(Ordering::Relaxed));
        self.wal_bytes.set(log.bytes.load(Ordering::Relaxed));
        self.wal_failed.set(log.failed.load(Ordering::Relaxed));
    }
}
