//! The querier: fetches jobs from every frontend, reads blocks and asks ingesters.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};

use super::{
    pod::Context,
    service::{self, GOSSIP, GRPC, HTTP},
};
use crate::{names::Identity, role::Role};

pub(crate) fn service(identity: &Identity) -> Service {
    service::service(identity, Role::Querier.as_str(), &[GOSSIP, HTTP, GRPC])
}

pub(crate) fn deployment(pod: &Context<'_>) -> Deployment {
    pod.deployment(Role::Querier, &[HTTP, GOSSIP])
}
