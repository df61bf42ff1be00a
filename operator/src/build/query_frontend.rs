//! The query-frontend: answers the API, plans jobs, and hands them to the queriers that come to fetch them.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};

use super::{
    pod::Context,
    service::{self, GRPC, GRPC_LB, HTTP},
};
use crate::{names::Identity, role::Role};

pub(crate) fn service(identity: &Identity) -> Service {
    service::service(identity, Role::QueryFrontend.as_str(), &[HTTP, GRPC])
}

/// The Service under which queriers find every frontend, not just one of them.
pub(crate) fn discovery(identity: &Identity) -> Service {
    service::headless(
        identity,
        "query-frontend-discovery",
        identity.labels(Role::QueryFrontend.as_str()),
        &[HTTP, GRPC, GRPC_LB],
    )
}

pub(crate) fn deployment(pod: &Context<'_>) -> Deployment {
    pod.deployment(Role::QueryFrontend, &[HTTP, GRPC])
}
