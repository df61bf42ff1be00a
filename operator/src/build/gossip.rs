//! The headless Service by which members find each other.

use k8s_openapi::api::core::v1::Service;

use super::service::{GOSSIP, headless};
use crate::names::{GOSSIP_MEMBER, Identity};

pub(crate) fn service(identity: &Identity) -> Service {
    let mut selector = identity.common_labels();
    selector.insert(GOSSIP_MEMBER.0.to_owned(), GOSSIP_MEMBER.1.to_owned());
    headless(identity, "gossip-ring", selector, &[GOSSIP])
}
