//! What a querier counts.

use std::time::Instant;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "as it is written in the label")]
enum Outcome {
    answered,
    failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: Outcome,
}

#[derive(Debug)]
pub(super) struct Metrics {
    jobs: Family<Labels, Counter>,
    inflight: Gauge,
    duration: Histogram,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let this =
            Self { jobs: Family::default(), inflight: Gauge::default(), duration: Histogram::new(buckets) };
        registry.register("tempo_querier_worker_request_executed", "Jobs that ended", this.jobs.clone());
        registry.register("tempo_querier_worker_inflight_queries", "Jobs under way", this.inflight.clone());
        registry.register(
            "tempo_querier_job_duration_seconds",
            "Time from taking a job to its answer",
            this.duration.clone(),
        );
        this
    }

    pub(super) fn begin(&self) -> Running<'_> {
        self.inflight.inc();
        Running { metrics: self, began: Instant::now() }
    }
}

/// A job under way.
#[derive(Debug)]
pub(super) struct Running<'a> {
    metrics: &'a Metrics,
    began: Instant,
}

impl Running<'_> {
    pub(super) fn end(self, result: Result<(), ()>) {
        let result = if result.is_ok() { Outcome::answered } else { Outcome::failed };
        self.metrics.jobs.get_or_create(&Labels { result }).inc();
        self.metrics.duration.observe(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.inflight.dec();
    }
}
