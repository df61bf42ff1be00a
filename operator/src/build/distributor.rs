//! The distributor: takes traces in and sends each to an ingester.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};

use super::{
    pod::Context,
    service::{self, GOSSIP, HTTP, OTHER_RECEIVERS, OTLP_GRPC, OTLP_HTTP, Port},
};
use crate::{names::Identity, role::Role};

fn with_receivers(first: &[Port]) -> Vec<Port> {
    first.iter().chain(&OTHER_RECEIVERS).copied().collect()
}

pub(crate) fn service(identity: &Identity) -> Service {
    service::service(identity, Role::Distributor.as_str(), &with_receivers(&[OTLP_HTTP, OTLP_GRPC, HTTP]))
}

pub(crate) fn deployment(pod: &Context<'_>) -> Deployment {
    pod.deployment(Role::Distributor, &with_receivers(&[OTLP_HTTP, OTLP_GRPC, HTTP, GOSSIP]))
}
