//! The compactor: merges blocks, removes old ones.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};

use super::{
    pod::Context,
    service::{self, GOSSIP, HTTP},
};
use crate::{names::Identity, role::Role};

pub(crate) fn service(identity: &Identity) -> Service {
    service::service(identity, Role::Compactor.as_str(), &[GOSSIP, HTTP])
}

pub(crate) fn deployment(pod: &Context<'_>) -> Deployment {
    pod.deployment(Role::Compactor, &[HTTP, GOSSIP])
}
