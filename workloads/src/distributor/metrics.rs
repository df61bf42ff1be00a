//! What a distributor counts, under Tempo's names.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tracing_core::model::Tenant;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTenant {
    tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfIngester {
    ingester: String,
}

#[derive(Debug)]
pub(super) struct Metrics {
    spans: Family<OfTenant, Counter>,
    bytes: Family<OfTenant, Counter>,
    ingress: Family<OfTenant, Counter>,
    appends: Family<OfIngester, Counter>,
    failures: Family<OfIngester, Counter>,
    duration: Histogram,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            spans: Family::default(),
            bytes: Family::default(),
            ingress: Family::default(),
            appends: Family::default(),
            failures: Family::default(),
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        };
        registry.register("tempo_distributor_spans_received", "spans received", this.spans.clone());
        registry.register(
            "tempo_distributor_bytes_received",
            "bytes received, after decompression",
            this.bytes.clone(),
        );
        registry.register(
            "tempo_distributor_ingress_bytes",
            "bytes received on the wire",
            this.ingress.clone(),
        );
        registry.register(
            "tempo_distributor_ingester_appends",
            "batches sent to an ingester",
            this.appends.clone(),
        );
        registry.register(
            "tempo_distributor_ingester_append_failures",
            "batches that an ingester did not take",
            this.failures.clone(),
        );
        registry.register(
            "tempo_distributor_push_duration_seconds",
            "seconds from a request to its spans being durable",
            this.duration.clone(),
        );
        this
    }

    pub(super) fn ingress(&self, tenant: &Tenant, bytes: u64) {
        self.ingress.get_or_create(&of(tenant)).inc_by(bytes);
    }

    pub(super) fn received(&self, tenant: &Tenant, spans: u64, bytes: u64) {
        self.spans.get_or_create(&of(tenant)).inc_by(spans);
        self.bytes.get_or_create(&of(tenant)).inc_by(bytes);
    }

    pub(super) fn appended(&self, ingester: &str, outcome: &Result<(), super::NotTaken>) {
        let label = OfIngester { ingester: ingester.to_owned() };
        self.appends.get_or_create(&label).inc();
        if outcome.is_err() {
            self.failures.get_or_create(&label).inc();
        }
    }

    pub(super) fn pushed(&self, took: Duration) {
        self.duration.observe(took.as_secs_f64());
    }
}

fn of(tenant: &Tenant) -> OfTenant {
    OfTenant { tenant: tenant.to_string() }
}
