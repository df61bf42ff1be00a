//! The pod of a component: one container, restricted as far as Kubernetes knows how.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            Affinity, Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar,
            EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSpec,
            PodTemplateSpec, Probe, SecretKeySelector, SecretVolumeSource, SecurityContext, TCPSocketAction,
            Volume, VolumeMount, WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    config,
    service::{HTTP, Port},
};
use crate::{
    api::Quantity,
    names::{GOSSIP_MEMBER, dns_name},
    role::Role,
    validate::{ReplicaRule, Stack},
};

/// Name of the one container.
pub(crate) const CONTAINER: &str = "tempo";
/// Annotation that changes with the configuration, so that pods roll.
pub(crate) const CONFIG_HASH: &str = "tempo.grafana.com/config.hash";
/// Annotation that changes with the credentials, so that pods roll.
pub(crate) const CREDENTIALS_HASH: &str = "tempo.grafana.com/storage-credentials.hash";

const CONFIG_VOLUME: &str = "tempo-conf";
const SCRATCH_VOLUME: &str = "tempo-tmp-storage";
const DATA_PATH: &str = "/var/tempo";

/// What all pods of a stack have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) config_hash: &'a str,
}

/// What is mounted at `/var/tempo`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scratch {
    /// An empty directory, gone with the pod.
    Empty,
    /// The volume of the claim of this name.
    Claim(&'static str),
}

impl Context<'_> {
    /// The number of pods to write down; `None` leaves it to whoever scales.
    pub(crate) fn replicas(&self, role: Role) -> Option<i32> {
        match self.stack.workloads.get(role).replicas {
            ReplicaRule::Fixed(count) | ReplicaRule::Suggested(count) => Some(count),
            ReplicaRule::Free => None,
        }
    }

    /// A component without state.
    pub(crate) fn deployment(&self, role: Role, ports: &[Port]) -> Deployment {
        let identity = &self.stack.identity;
        Deployment {
            metadata: identity.meta(identity.role(role), identity.labels(role.as_str())),
            spec: Some(DeploymentSpec {
                replicas: self.replicas(role),
                selector: identity.selector(role),
                template: self.template(role, ports, Scratch::Empty),
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    pub(crate) fn template(&self, role: Role, ports: &[Port], scratch: Scratch) -> PodTemplateSpec {
        let stack = self.stack;
        let workload = stack.workloads.get(role);
        let mut labels = stack.identity.labels(role.as_str());
        labels.insert(GOSSIP_MEMBER.0.to_owned(), GOSSIP_MEMBER.1.to_owned());
        let mut annotations = BTreeMap::from([(CONFIG_HASH.to_owned(), self.config_hash.to_owned())]);
        if role.uses_storage() {
            annotations.insert(CREDENTIALS_HASH.to_owned(), stack.storage.credentials_hash.clone());
        }
        let (volumes, mounts) = self.volumes(role, scratch);
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                annotations: Some(annotations),
                labels: Some(labels),
                ..ObjectMeta::default()
            }),
            spec: Some(PodSpec {
                affinity: Some(self.spread(role)),
                containers: vec![self.container(role, ports, mounts)],
                node_selector: (!workload.node_selector.is_empty()).then(|| workload.node_selector.clone()),
                security_context: Some(workload.pod_security_context.clone()),
                service_account_name: Some(stack.service_account.as_str().to_owned()),
                tolerations: (!workload.tolerations.is_empty()).then(|| workload.tolerations.clone()),
                volumes: Some(volumes),
                ..PodSpec::default()
            }),
        }
    }

    fn container(&self, role: Role, ports: &[Port], mounts: Vec<VolumeMount>) -> Container {
        let stack = self.stack;
        Container {
            name: CONTAINER.to_owned(),
            image: Some(stack.image.clone()),
            args: Some(args(role)),
            env: Some(self.env(role)).filter(|env| !env.is_empty()),
            env_from: (!stack.env_from.is_empty()).then(|| stack.env_from.clone()),
            ports: Some(ports.iter().map(|port| port.on_container()).collect()),
            readiness_probe: Some(readiness()),
            liveness_probe: Some(liveness()),
            resources: Some(stack.workloads.get(role).resources.clone()),
            security_context: Some(restricted()),
            volume_mounts: Some(mounts),
            ..Container::default()
        }
    }

    fn env(&self, role: Role) -> Vec<EnvVar> {
        let stack = self.stack;
        let mut env = Vec::new();
        if role.uses_storage() {
            env.push(from_secret("S3_SECRET_KEY", &stack.storage.secret, "access_key_secret"));
            env.push(from_secret("S3_ACCESS_KEY", &stack.storage.secret, "access_key_id"));
        }
        if stack.ring.pod_ip || stack.ring.ipv6 == Some(true) {
            env.push(pod_address());
        }
        if let Some(bytes) = self.memory_limit(role) {
            // For Tempo's own image, which is the other half of a swap; Vivace does not read it.
            env.push(EnvVar {
                name: "GOMEMLIMIT".to_owned(),
                value: Some((bytes / 10 * 8).to_string()),
                value_from: None,
            });
        }
        env.extend(stack.env.iter().cloned());
        env
    }

    fn memory_limit(&self, role: Role) -> Option<u64> {
        let limits = self.stack.workloads.get(role).resources.limits.as_ref()?;
        Quantity::from(limits.get("memory")?.0.as_str()).units()
    }

    fn volumes(&self, role: Role, scratch: Scratch) -> (Vec<Volume>, Vec<VolumeMount>) {
        let base = self.stack.identity.base();
        let mut volumes = vec![config_volume(CONFIG_VOLUME, &base)];
        let mut mounts = vec![mount(CONFIG_VOLUME, "/conf", Some(true))];
        match scratch {
            Scratch::Empty => {
                volumes.push(Volume {
                    name: SCRATCH_VOLUME.to_owned(),
                    empty_dir: Some(EmptyDirVolumeSource::default()),
                    ..Volume::default()
                });
                mounts.push(mount(SCRATCH_VOLUME, DATA_PATH, None));
            }
            Scratch::Claim(name) => mounts.push(mount(name, DATA_PATH, None)),
        }
        let tls = self.stack.storage.tls.clone().unwrap_or_default();
        if role.uses_storage() {
            let ca = tls.ca.map(|(name, _)| name);
            if let Some(name) = &ca {
                volumes.push(config_volume(&dns_name(name), name));
                mounts.push(mount(&dns_name(name), config::STORAGE_CA_PATH, Some(true)));
            }
            if let Some(name) = &tls.client {
                // A Secret may be called as the ConfigMap is, two volumes may not.
                let volume = if ca.as_ref() == Some(name) { format!("{name}-cert") } else { name.clone() };
                let volume = dns_name(&volume);
                volumes.push(Volume {
                    name: volume.clone(),
                    secret: Some(SecretVolumeSource {
                        secret_name: Some(name.clone()),
                        ..SecretVolumeSource::default()
                    }),
                    ..Volume::default()
                });
                mounts.push(mount(&volume, config::STORAGE_CERT_PATH, Some(true)));
            }
        }
        (volumes, mounts)
    }

    /// Pods of one component keep away from each other, by node and by zone, where that is possible.
    fn spread(&self, role: Role) -> Affinity {
        let term = |weight: i32, key: &str| WeightedPodAffinityTerm {
            weight,
            pod_affinity_term: PodAffinityTerm {
                label_selector: Some(self.stack.identity.selector(role)),
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
}

fn args(role: Role) -> Vec<String> {
    let mut args = vec![format!("-target={}", role.as_str())];
    if role == Role::QueryFrontend {
        args.push(format!("-config.file=/conf/{}", config::QUERY_FRONTEND_KEY));
        args.push("-mem-ballast-size-mbs=1024".to_owned());
    } else {
        args.push(format!("-config.file=/conf/{}", config::KEY));
    }
    args.push("-log.level=info".to_owned());
    args.push("-config.expand-env=true".to_owned());
    if role.uses_storage() {
        args.push("--storage.trace.s3.secret_key=$(S3_SECRET_KEY)".to_owned());
        args.push("--storage.trace.s3.access_key=$(S3_ACCESS_KEY)".to_owned());
    }
    args
}

/// Asked every second from the start: a stack is Ready as soon as its pods are.
fn readiness() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/ready".to_owned()),
            port: IntOrString::String(HTTP.name.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(1),
        timeout_seconds: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// Only a process that no longer takes connections is restarted: `/ready` says no during a replay, and that is
/// no reason.
fn liveness() -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String(HTTP.name.to_owned()),
            ..TCPSocketAction::default()
        }),
        initial_delay_seconds: Some(30),
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        failure_threshold: Some(6),
        ..Probe::default()
    }
}

fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

fn mount(name: &str, path: &str, read_only: Option<bool>) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only, ..VolumeMount::default() }
}

fn config_volume(volume: &str, config_map: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.to_owned(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn from_secret(variable: &str, secret: &str, key: &str) -> EnvVar {
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

fn pod_address() -> EnvVar {
    EnvVar {
        name: "HASH_RING_INSTANCE_ADDR".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "status.podIP".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }
}
