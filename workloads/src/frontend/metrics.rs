//! What the frontend counts, under Tempo's names.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use super::{error::QueryError, job::Job, queue::Queue};

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "as Tempo writes the label")]
pub(super) enum Op {
    search,
    traces,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "as Tempo writes the label")]
enum Outcome {
    completed,
    canceled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    tenant: String,
    op: Op,
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserLabels {
    user: String,
}

#[derive(Debug)]
pub(super) struct Metrics {
    queries: Family<QueryLabels, Counter>,
    bytes: Family<QueryLabels, Counter>,
    discarded: Family<UserLabels, Counter>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry, queue: Arc<Queue<Job>>) -> Self {
        let this =
            Self { queries: Family::default(), bytes: Family::default(), discarded: Family::default() };
        let queries = this.queries.clone();
        registry.register("tempo_query_frontend_queries", "Queries answered or given up", queries);
        let bytes = this.bytes.clone();
        registry.register("tempo_query_frontend_bytes_inspected", "Bytes that queries read", bytes);
        let discarded = this.discarded.clone();
        registry.register(
            "tempo_query_frontend_discarded_requests",
            "Queries refused because their tenant had too many jobs waiting",
            discarded,
        );
        registry.register_collector(Box::new(Waiting { queue }));
        this
    }

    /// Counts a query when it ends, or when what is returned is dropped before that.
    pub(super) fn watch(&self, tenant: String, op: Op) -> Watch<'_> {
        Watch { metrics: self, tenant, op, ended: false }
    }

    fn query(&self, tenant: &str, op: Op, result: Outcome, bytes: u64) {
        let labels = QueryLabels { tenant: tenant.to_owned(), op, result };
        self.bytes.get_or_create(&labels).inc_by(bytes);
        self.queries.get_or_create(&labels).inc();
    }
}

/// A query under way.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    metrics: &'a Metrics,
    tenant: String,
    op: Op,
    ended: bool,
}

impl Watch<'_> {
    /// The query has an answer that took `bytes`, or an error.
    pub(super) fn end(mut self, bytes: u64, error: Option<&QueryError>) {
        self.ended = true;
        self.metrics.query(&self.tenant, self.op, Outcome::completed, bytes);
        if matches!(error, Some(QueryError::TooMany { .. })) {
            self.metrics.discarded.get_or_create(&UserLabels { user: self.tenant.clone() }).inc();
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.query(&self.tenant, self.op, Outcome::canceled, 0);
        }
    }
}

/// Counts at each scrape what stands in the queue.
#[derive(Debug)]
struct Waiting {
    queue: Arc<Queue<Job>>,
}

impl Collector for Waiting {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut of_all = encoder.encode_descriptor(
            "tempo_query_frontend_queue_length",
            "Jobs that wait for a querier",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (tenant, length) in self.queue.lengths() {
            let labels = UserLabels { user: tenant.to_string() };
            ConstGauge::new(length as i64).encode(of_all.encode_family(&labels)?)?;
        }
        let workers = encoder.encode_descriptor(
            "tempo_query_frontend_connected_clients",
            "Queriers that pull jobs here",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        let gauge: Gauge = Gauge::default();
        gauge.set(self.queue.workers() as i64);
        gauge.encode(workers)
    }
}
