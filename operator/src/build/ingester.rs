//! The ingester: holds new traces on a volume until they are in object storage.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, Service, VolumeResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{
    pod::{Context, Scratch},
    service::{self, GOSSIP, GRPC, HTTP},
};
use crate::{names::Identity, role::Role};

/// Name of the claim, and of the volume that it gives.
pub(crate) const CLAIM: &str = "data";
/// Seconds that a leaving ingester has for cutting and uploading what it holds, and that its pod is given.
pub(super) const GRACE_SECONDS: u16 = 300;

pub(crate) fn service(identity: &Identity) -> Service {
    service::service(identity, Role::Ingester.as_str(), &[HTTP, GRPC])
}

/// Pods start side by side, since none waits for another, and their names resolve through the gossip Service.
pub(crate) fn stateful_set(pod: &Context<'_>) -> StatefulSet {
    let identity = &pod.stack.identity;
    let mut template = pod.template(Role::Ingester, &[GOSSIP, HTTP, GRPC], Scratch::Claim(CLAIM));
    if let Some(spec) = &mut template.spec {
        spec.termination_grace_period_seconds = Some(GRACE_SECONDS.into());
    }
    StatefulSet {
        metadata: identity.meta(identity.role(Role::Ingester), identity.labels(Role::Ingester.as_str())),
        spec: Some(StatefulSetSpec {
            pod_management_policy: Some("Parallel".to_owned()),
            replicas: pod.replicas(Role::Ingester),
            selector: identity.selector(Role::Ingester),
            service_name: Some(identity.gossip()),
            template,
            volume_claim_templates: Some(vec![claim(pod)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim(pod: &Context<'_>) -> PersistentVolumeClaim {
    let volume = &pod.stack.volume;
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(CLAIM.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(volume.size.clone()))])),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: volume.class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
