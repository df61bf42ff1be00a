//! What receivers count, under the names that Tempo's dashboards know.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tracing_core::model::Tenant;

use crate::distributor::Accepted;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    receiver: &'static str,
    transport: &'static str,
    tenant: String,
}

#[derive(Debug)]
pub(super) struct Metrics {
    accepted: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    requests: Family<Labels, Counter>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this =
            Self { accepted: Family::default(), refused: Family::default(), requests: Family::default() };
        registry.register("tempo_receiver_accepted_spans", "spans that are durable", this.accepted.clone());
        registry.register(
            "tempo_receiver_refused_spans",
            "spans refused out of requests that were taken",
            this.refused.clone(),
        );
        registry.register("tempo_receiver_refused_requests", "requests refused whole", this.requests.clone());
        this
    }

    pub(super) fn accepted(&self, transport: &'static str, tenant: &Tenant, accepted: &Accepted) {
        let labels = labels(transport, tenant);
        self.accepted.get_or_create(&labels).inc_by(accepted.spans);
        if accepted.rejected > 0 {
            self.refused.get_or_create(&labels).inc_by(accepted.rejected);
        }
    }

    pub(super) fn refused(&self, transport: &'static str, tenant: &Tenant) {
        self.requests.get_or_create(&labels(transport, tenant)).inc();
    }
}

fn labels(transport: &'static str, tenant: &Tenant) -> Labels {
    Labels { receiver: "otlp", transport, tenant: tenant.to_string() }
}
