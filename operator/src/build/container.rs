//! Pieces of containers and pods that are the same everywhere.

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        HTTPGetAction, KeyToPath, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, Probe,
        ResourceRequirements, SecretKeySelector, SecretVolumeSource, SecurityContext, TCPSocketAction,
        Volume, VolumeMount, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::service::Port;
use crate::{api::Quantity, validate::Tracing};

/// A container that may do nothing beyond what it is for.
pub(super) fn container(
    name: &str,
    image: &str,
    args: Vec<String>,
    ports: &[Port],
    resources: &ResourceRequirements,
) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        args: Some(args),
        ports: Some(ports.iter().map(|port| port.on_container()).collect()),
        resources: Some(resources.clone()),
        security_context: Some(restricted()),
        ..Container::default()
    }
}

pub(super) fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// Asked every second from the start: a stack is Ready as soon as its pods are.
pub(super) fn readiness(port: IntOrString, scheme: &str) -> Probe {
    Probe {
        period_seconds: Some(1),
        timeout_seconds: Some(1),
        failure_threshold: Some(3),
        ..http_probe("/ready", port, scheme)
    }
}

pub(super) fn http_probe(path: &str, port: IntOrString, scheme: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port,
            scheme: Some(scheme.to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

/// Only a process that no longer takes connections is restarted: `/ready` says no during a replay, and that is
/// no reason.
pub(super) fn liveness(port: &Port) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: named(port), ..TCPSocketAction::default() }),
        initial_delay_seconds: Some(30),
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        failure_threshold: Some(6),
        ..Probe::default()
    }
}

/// A port by its name.
pub(super) fn named(port: &Port) -> IntOrString {
    IntOrString::String(port.name.to_owned())
}

/// Where something is mounted, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    /// As the default is, for what is read-only by its nature.
    Default,
}

pub(super) fn mount(name: &str, path: &str, access: Access) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: (access == Access::ReadOnly).then_some(true),
        ..VolumeMount::default()
    }
}

pub(super) fn config_volume(volume: &str, config_map: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.to_owned(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

pub(super) fn secret_volume(volume: &str, secret: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// One key of a ConfigMap, as a file of the same name.
pub(super) fn config_file(volume: &str, config_map: &str, key: &str) -> Volume {
    let mut made = config_volume(volume, config_map);
    if let Some(source) = &mut made.config_map {
        source.items = Some(vec![file(key)]);
    }
    made
}

/// One key of a Secret, as a file of the same name.
pub(super) fn secret_file(volume: &str, secret: &str, key: &str) -> Volume {
    let mut made = secret_volume(volume, secret);
    if let Some(source) = &mut made.secret {
        source.items = Some(vec![file(key)]);
    }
    made
}

fn file(key: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None }
}

pub(super) fn empty_volume(volume: &str) -> Volume {
    Volume { name: volume.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

pub(super) fn value(variable: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: variable.to_owned(), value: Some(value.into()), value_from: None }
}

pub(super) fn from_secret(variable: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: variable.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

pub(super) fn from_field(variable: &str, path: &str) -> EnvVar {
    EnvVar {
        name: variable.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field(path)), ..EnvVarSource::default() }),
    }
}

pub(super) fn field(path: &str) -> ObjectFieldSelector {
    ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() }
}

/// For images that are written in Go, Tempo's own among them, which is the other half of a swap.
pub(super) fn go_memory_limit(resources: &ResourceRequirements) -> Option<EnvVar> {
    let limit = resources.limits.as_ref()?.get("memory")?;
    let bytes = Quantity::from(limit.0.as_str()).units()?;
    Some(value("GOMEMLIMIT", (u128::from(bytes) * 8 / 10).to_string()))
}

/// Where a container sends traces of its own.
pub(super) fn tracing(tracing: Option<&Tracing>) -> Vec<EnvVar> {
    tracing.map_or_else(Vec::new, |tracing| {
        vec![
            value("OTEL_TRACES_EXPORTER", "otlp"),
            value("OTEL_EXPORTER_OTLP_ENDPOINT", &*tracing.endpoint),
            value("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            value("OTEL_TRACES_SAMPLER_ARG", &*tracing.sampling),
        ]
    })
}

/// The list, or nothing where it is empty.
pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// Pods of one component keep away from each other, by node and by zone, where that is possible.
pub(super) fn apart(selector: &LabelSelector) -> Affinity {
    let term = |weight: i32, key: &str| WeightedPodAffinityTerm {
        weight,
        pod_affinity_term: PodAffinityTerm {
            label_selector: Some(selector.clone()),
            topology_key: key.to_owned(),
            ..PodAffinityTerm::default()
        },
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                term(100, "kubernetes.io/hostname"),
                term(75, "topology.kubernetes.io/zone"),
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
