//! The components: their Services, and the workloads behind them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            Deployment, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, Service, VolumeResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{
    oauth,
    pod::{Context, GRACE_SECONDS, Scratch},
    service::{
        self, GOSSIP, GRPC, GRPC_LB, HTTP, JAEGER, OAUTH_PROXY, OTHER_RECEIVERS, OTLP_GRPC, OTLP_HTTP, Port,
        headless,
    },
};
use crate::{
    names::GOSSIP_MEMBER,
    role::Role,
    validate::{Stack, Volume},
};

/// Name of the ingesters' claim, and of the volume that it gives.
pub(crate) const CLAIM: &str = "data";

/// Every Service but that of the gateway.
pub(super) fn services(stack: &Stack) -> Vec<Service> {
    let identity = &stack.common.identity;
    let mut distributor = service::of_role(identity, Role::Distributor, &receivers(stack, &[]));
    if let Some(tls) = stack.receiver_tls.as_ref().filter(|tls| tls.is_serving_cert) {
        service::serve_with(&mut distributor, &tls.secret);
    }
    service::open(&mut distributor, &stack.services.distributor);
    let mut gossip = identity.common_labels();
    gossip.insert(GOSSIP_MEMBER.0.to_owned(), GOSSIP_MEMBER.1.to_owned());
    let mut all = vec![
        service::of_role(identity, Role::Compactor, &[GOSSIP, HTTP]),
        distributor,
        headless(identity, "gossip-ring", gossip, &[GOSSIP]),
        service::of_role(identity, Role::Ingester, &[HTTP, GRPC]),
        service::of_role(identity, Role::Querier, &[GOSSIP, HTTP, GRPC]),
        frontend(stack),
        discovery(stack),
    ];
    if stack.generator.is_some() {
        all.push(service::of_role(identity, Role::MetricsGenerator, &[GOSSIP, HTTP, GRPC]));
    }
    all
}

/// OTLP, the API, and behind no gateway all other receivers.
fn receivers(stack: &Stack, between: &[Port]) -> Vec<Port> {
    let others: &[Port] = if stack.common.gateway.is_some() { &[] } else { &OTHER_RECEIVERS };
    [&[OTLP_HTTP, OTLP_GRPC, HTTP], between, others].concat()
}

fn frontend(stack: &Stack) -> Service {
    let mut ports = vec![HTTP, GRPC];
    let jaeger = stack.common.jaeger.as_ref();
    if jaeger.is_some() {
        ports.extend(JAEGER);
    }
    let has_proxy = jaeger.is_some_and(|jaeger| jaeger.oauth.is_some());
    if has_proxy {
        ports.push(OAUTH_PROXY);
    }
    let identity = &stack.common.identity;
    let mut made = service::of_role(identity, Role::QueryFrontend, &ports);
    if has_proxy {
        service::serve_with(&mut made, &oauth::certificate(identity));
    }
    service::open(&mut made, &stack.services.query_frontend);
    made
}

/// The Service under which queriers find every frontend, not just one of them.
fn discovery(stack: &Stack) -> Service {
    let identity = &stack.common.identity;
    let mut ports = vec![HTTP, GRPC, GRPC_LB];
    if stack.common.jaeger.is_some() {
        ports.extend(JAEGER);
    }
    let selector = identity.labels(Role::QueryFrontend.as_str());
    headless(identity, "query-frontend-discovery", selector, &ports)
}

/// Every Deployment but that of the gateway.
pub(super) fn deployments(pod: &Context<'_>) -> Vec<Deployment> {
    let stack = pod.stack;
    let mut all = vec![
        pod.deployment(Role::Compactor, &[HTTP, GOSSIP]),
        pod.deployment(Role::Distributor, &receivers(stack, &[GOSSIP])),
        pod.deployment(Role::Querier, &[HTTP, GOSSIP]),
        pod.deployment(Role::QueryFrontend, &[HTTP, GRPC]),
    ];
    if stack.generator.is_some() {
        all.push(pod.deployment(Role::MetricsGenerator, &[HTTP, GRPC, GOSSIP]));
    }
    all
}

/// Ingesters start side by side, since none waits for another, and their names resolve through the gossip Service.
pub(super) fn ingester(pod: &Context<'_>) -> StatefulSet {
    let identity = &pod.stack.common.identity;
    let mut template = pod.template(Role::Ingester, &[GOSSIP, HTTP, GRPC], Scratch::Claim(CLAIM));
    if let Some(spec) = &mut template.spec {
        spec.termination_grace_period_seconds = Some(GRACE_SECONDS.into());
    }
    StatefulSet {
        metadata: identity.meta(identity.role(Role::Ingester), identity.labels(Role::Ingester.as_str())),
        spec: Some(StatefulSetSpec {
            persistent_volume_claim_retention_policy: pod.stack.claim_retention.map(|[deleted, scaled]| {
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(deleted.to_owned()),
                    when_scaled: Some(scaled.to_owned()),
                }
            }),
            pod_management_policy: Some("Parallel".to_owned()),
            replicas: pod.replicas(Role::Ingester),
            selector: identity.selector(Role::Ingester),
            service_name: Some(identity.gossip()),
            template,
            volume_claim_templates: Some(vec![claim(CLAIM, &pod.stack.volume)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// A volume for each pod.
pub(super) fn claim(name: &str, volume: &Volume) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
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
