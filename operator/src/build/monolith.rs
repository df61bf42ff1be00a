//! The pod of a `TempoMonolithic`, and the Services before it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{
            Container, EmptyDirVolumeSource, EnvVar, PodSpec, PodTemplateSpec, Service, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{
    certificates, components,
    config::{self, Rendered},
    container::{self, Access, config_volume, empty_volume, mount, named, some},
    gateway, jaeger, oauth, objects,
    pod::{CONTAINER, CREDENTIALS_HASH, ENVIRONMENT_HASH, GRACE_SECONDS, Mounted},
    service::{
        self, GATEWAY_HTTP, GATEWAY_INTERNAL, HTTP, INTERNAL_HTTPS, JAEGER, OAUTH_PROXY, OTLP_GRPC,
        OTLP_HTTP, Port,
    },
};
use crate::{
    platform::Feature,
    validate::{Home, Monolith, ReceiverTls},
};

/// Component of everything but configuration and account.
pub(super) const COMPONENT: &str = "tempo";
const CONFIG_HASH: &str = "tempo.grafana.com/tempoConfig.hash";
const STORAGE_VOLUME: &str = "tempo-storage";
const UI_SCRATCH_VOLUME: &str = "tempo-query-tmp";

/// The Services: the pod's own and that of the user interface, or behind the gateway only the gateway's.
pub(super) fn services(monolith: &Monolith) -> Vec<Service> {
    let common = &monolith.common;
    let identity = &common.identity;
    if common.gateway.is_some() {
        let otlp = Port { name: "grpc-public", ..OTLP_GRPC };
        let mut made = gateway::service(common, COMPONENT, &[GATEWAY_HTTP, GATEWAY_INTERNAL, HTTP, otlp]);
        // Spans go in by the port that every collector knows, to the gateway's listener.
        let ports = made.spec.as_mut().and_then(|spec| spec.ports.as_mut());
        for port in ports.into_iter().flatten().filter(|port| port.port == OTLP_GRPC.number) {
            port.name = Some(OTLP_GRPC.name.to_owned());
        }
        service::open(&mut made, &monolith.service);
        return vec![made];
    }
    let selector = identity.labels(COMPONENT);
    let mut ports = vec![HTTP];
    ports.extend(monolith.receivers.grpc.is_on().then_some(OTLP_GRPC));
    ports.extend(monolith.receivers.http.is_on().then_some(OTLP_HTTP));
    let mut own = service::named(identity, identity.monolith(), COMPONENT, selector.clone(), &ports);
    if let Some(tls) = receiver_certificates(monolith).find(|tls| tls.is_serving_cert) {
        service::serve_with(&mut own, &tls.secret);
    }
    service::open(&mut own, &monolith.service);
    let mut all = vec![own];
    if let Some(ui) = &common.jaeger {
        let mut ports = JAEGER.to_vec();
        ports.extend(ui.oauth.as_ref().map(|_| OAUTH_PROXY));
        let mut made = service::named(identity, identity.object("jaegerui"), "jaegerui", selector, &ports);
        if ui.oauth.is_some() {
            service::serve_with(&mut made, &oauth::certificate(identity));
        }
        all.push(made);
    }
    all
}

fn receiver_certificates(monolith: &Monolith) -> impl Iterator<Item = &ReceiverTls> {
    [&monolith.receivers.grpc, &monolith.receivers.http].into_iter().filter_map(|receiver| receiver.tls())
}

/// The one pod.
pub(super) fn stateful_set(
    monolith: &Monolith,
    rendered: &Rendered,
    files: Option<&gateway::Files>,
) -> StatefulSet {
    let identity = &monolith.common.identity;
    let claims = match &monolith.home {
        Home::Memory(_) => None,
        Home::Volume(volume) | Home::Objects(_, volume) => {
            Some(vec![components::claim(STORAGE_VOLUME, volume)])
        }
    };
    StatefulSet {
        metadata: identity.meta(identity.monolith(), identity.labels(COMPONENT)),
        spec: Some(StatefulSetSpec {
            pod_management_policy: Some("Parallel".to_owned()),
            selector: identity.selector_of(COMPONENT),
            template: template(monolith, rendered, files),
            volume_claim_templates: claims,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn template(monolith: &Monolith, rendered: &Rendered, files: Option<&gateway::Files>) -> PodTemplateSpec {
    let common = &monolith.common;
    let identity = &common.identity;
    let mut mounted = mounted(monolith);
    let certificates = certificate_volumes(monolith);
    let certificate_mounts: Vec<VolumeMount> = certificates.iter().map(|(_, mount)| mount.clone()).collect();
    let mut own = std::mem::take(&mut mounted.mounts);
    own.extend(certificate_mounts.iter().cloned());
    let mut containers = vec![container(monolith, own)];
    if let Some(ui) = &common.jaeger {
        let scratch = mount(UI_SCRATCH_VOLUME, "/tmp", Access::Default);
        let place = jaeger::Place::Monolith;
        containers.extend(jaeger::containers(common, ui, place, scratch, &certificate_mounts, &[]));
    }
    if let Some(given) = &common.gateway {
        containers.extend(gateway::sidecars(common, given, &mut mounted, &certificate_mounts));
    }
    mounted.volumes.extend(certificates.into_iter().map(|(volume, _)| volume));
    let affinity =
        monolith.affinity.clone().unwrap_or_else(|| container::apart(&identity.selector_of(COMPONENT)));
    let mut pod = PodSpec {
        affinity: Some(affinity),
        containers,
        node_selector: (!monolith.node_selector.is_empty()).then(|| monolith.node_selector.clone()),
        security_context: Some(monolith.pod_security_context.clone()),
        priority_class_name: monolith.priority_class.clone(),
        service_account_name: Some(common.service_account.as_str().to_owned()),
        termination_grace_period_seconds: Some(GRACE_SECONDS.into()),
        tolerations: some(monolith.tolerations.clone()),
        volumes: Some(mounted.volumes),
        ..PodSpec::default()
    };
    if let Some(proxy) = common.jaeger.as_ref().and_then(|ui| ui.oauth.as_ref()) {
        oauth::add(&mut pod, common, proxy, common.service_account.as_str());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some(annotations(monolith, rendered, files)),
            // The selector needs ours, whatever else is said.
            labels: Some(
                monolith.metadata.labels.clone().into_iter().chain(identity.labels(COMPONENT)).collect(),
            ),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    }
}

fn annotations(
    monolith: &Monolith,
    rendered: &Rendered,
    files: Option<&gateway::Files>,
) -> BTreeMap<String, String> {
    let mut all = monolith.metadata.annotations.clone();
    all.insert(CONFIG_HASH.to_owned(), rendered.hash.clone());
    let mut add = |key: &str, value: Option<&String>| {
        all.extend(value.map(|value| (key.to_owned(), value.clone())));
    };
    add(jaeger::CONFIG_HASH, rendered.tempo_query_hash.as_ref());
    add(ENVIRONMENT_HASH, monolith.common.environment_hash.as_ref());
    if let Home::Objects(objects, _) = &monolith.home {
        add(CREDENTIALS_HASH, Some(&objects.hash));
    }
    all.extend(files.map(gateway::Files::annotations).unwrap_or_default());
    all
}

fn container(monolith: &Monolith, mounts: Vec<VolumeMount>) -> Container {
    let common = &monolith.common;
    let mut ports = vec![HTTP, INTERNAL_HTTPS];
    ports.extend(monolith.receivers.grpc.is_on().then_some(OTLP_GRPC));
    ports.extend(monolith.receivers.http.is_on().then_some(OTLP_HTTP));
    Container {
        env: some(env(monolith)),
        env_from: some(common.env_from.clone()),
        readiness_probe: Some(container::readiness(named(&INTERNAL_HTTPS), "HTTP")),
        liveness_probe: Some(container::liveness(&HTTP)),
        volume_mounts: Some(mounts),
        ..container::container(CONTAINER, &common.images.tempo, args(monolith), &ports, &monolith.resources)
    }
}

fn args(monolith: &Monolith) -> Vec<String> {
    let mut args = vec![
        format!("-config.file=/conf/{}", config::KEY),
        "-mem-ballast-size-mbs=1024".to_owned(),
        "-log.level=info".to_owned(),
        "-config.expand-env=true".to_owned(),
    ];
    if let Home::Objects(objects, _) = &monolith.home {
        args.extend(objects::args(objects));
    }
    args
}

fn env(monolith: &Monolith) -> Vec<EnvVar> {
    let mut env = Vec::new();
    if let Home::Objects(objects, _) = &monolith.home {
        env.extend(objects::env(objects));
    }
    env.extend(container::go_memory_limit(&monolith.resources));
    env.extend(monolith.common.platform.proxy.iter().cloned());
    env.extend(monolith.common.env.iter().cloned());
    env
}

/// All but the certificates of the stack, which come last.
fn mounted(monolith: &Monolith) -> Mounted {
    let identity = &monolith.common.identity;
    let mut all = Mounted::default();
    let config = config_volume("tempo-conf", &identity.object("config"));
    all.add(config, "/conf", Access::ReadOnly);
    match &monolith.home {
        Home::Memory(size) => all.add(memory(size), "/var/tempo", Access::Default),
        Home::Volume(_) | Home::Objects(..) => {
            all.mounts.push(mount(STORAGE_VOLUME, "/var/tempo", Access::Default));
        }
    }
    if let Home::Objects(objects, _) = &monolith.home {
        let (volumes, mounts) = objects::volumes(objects, identity);
        all.volumes.extend(volumes);
        all.mounts.extend(mounts);
    }
    // Behind the gateway, receivers have the stack's own certificate.
    if monolith.common.gateway.is_none() {
        for (receiver, below) in [(&monolith.receivers.grpc, "/grpc"), (&monolith.receivers.http, "/http")] {
            if let Some(tls) = receiver.tls() {
                all.receiver(tls, below);
            }
        }
    }
    if monolith.common.jaeger.is_some() {
        all.volumes.push(empty_volume(UI_SCRATCH_VOLUME));
    }
    all
}

fn memory(size: &str) -> Volume {
    Volume {
        name: STORAGE_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(size.to_owned())),
        }),
        ..Volume::default()
    }
}

/// Certificates are only used between the gateway and the rest.
fn certificate_volumes(monolith: &Monolith) -> Vec<(Volume, VolumeMount)> {
    let common = &monolith.common;
    let any = common.platform.has(Feature::HttpEncryption) || common.platform.has(Feature::GrpcEncryption);
    if common.gateway.is_none() || !any {
        return Vec::new();
    }
    let (volumes, mounts) = certificates::volumes(&common.identity, None);
    volumes.into_iter().zip(mounts).collect()
}
