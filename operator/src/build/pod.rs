//! The pods of the components that run the workload.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            Container, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EnvVar, PodSpec, PodTemplateSpec,
            ResourceRequirements, TopologySpreadConstraint, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use vivace_config::Duration;

use super::{
    certificates,
    config::{self, RECEIVER_CA_PATH, RECEIVER_CERT_PATH, Rendered},
    container::{self, Access, config_volume, empty_volume, from_field, mount, secret_volume, some},
    jaeger, objects,
    service::{HTTP, INTERNAL_HTTPS, Port},
};
use crate::{
    names::{COMPONENT, GOSSIP_MEMBER, INSTANCE, Labels, volume_name},
    platform::Feature,
    role::Role,
    validate::{ReceiverTls, ReplicaRule, Stack},
};

/// Name of the container that runs the workload.
pub(crate) const CONTAINER: &str = "tempo";
/// Annotation that changes with the configuration, so that pods roll.
pub(crate) const CONFIG_HASH: &str = "tempo.grafana.com/config.hash";
/// Annotation that changes with the credentials and certificates of the storage.
pub(crate) const CREDENTIALS_HASH: &str = "tempo.grafana.com/storage-credentials.hash";
/// Annotation that changes with what environment variables come from.
pub(crate) const ENVIRONMENT_HASH: &str = "tempo.grafana.com/environment.hash";
/// Seconds that a leaving pod has for cutting and uploading what it holds.
pub(crate) const GRACE_SECONDS: u16 = 300;
/// What the process may take of it; the rest is for ending it.
pub(crate) const GRACE: Duration = Duration::from_secs(GRACE_SECONDS as u64 - 10);
/// Annotation with the zone of a pod, set when it is known where it runs.
pub(crate) const ZONE: &str = "tempo.grafana.com/availability-zone";
/// Annotation that lists the labels of nodes that make up a zone.
pub(crate) const ZONE_LABELS: &str = "tempo.grafana.com/availability-zone-labels";
/// Label of pods that want their zone set.
pub(crate) const ZONE_AWARE: (&str, &str) = ("tempo.grafana.com/zone-aware", "enabled");

const CONFIG_VOLUME: &str = "tempo-conf";
const SCRATCH_VOLUME: &str = "tempo-tmp-storage";
const ZONE_VOLUME: &str = "az-annotation";
const DATA_PATH: &str = "/var/tempo";

/// What all pods of a stack have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) rendered: &'a Rendered,
}

/// What is mounted at `/var/tempo`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scratch {
    /// An empty directory, gone with the pod.
    Empty,
    /// The volume of the claim of this name.
    Claim(&'static str),
}

/// Volumes of a pod, and where the workload's container mounts them.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounted {
    pub(super) volumes: Vec<Volume>,
    pub(super) mounts: Vec<VolumeMount>,
}

impl Mounted {
    pub(super) fn add(&mut self, volume: Volume, path: &str, access: Access) {
        self.mounts.push(mount(&volume.name, path, access));
        self.push_volume(volume);
    }

    /// A volume may be mounted twice, and is there once.
    pub(super) fn push_volume(&mut self, volume: Volume) {
        if self.volumes.iter().all(|other| other.name != volume.name) {
            self.volumes.push(volume);
        }
    }

    /// Certificate and authority of a receiver.
    pub(super) fn receiver(&mut self, tls: &ReceiverTls, below: &str) {
        if let Some((name, _)) = &tls.ca {
            let path = format!("{RECEIVER_CA_PATH}{below}");
            self.add(config_volume(&volume_name(name), name), &path, Access::ReadOnly);
        }
        let same = tls.ca.as_ref().is_some_and(|(name, _)| *name == tls.secret);
        let volume = if same { format!("{}-cert", tls.secret) } else { tls.secret.clone() };
        let path = format!("{RECEIVER_CERT_PATH}{below}");
        self.add(secret_volume(&volume_name(&volume), &tls.secret), &path, Access::ReadOnly);
    }
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
        let template = self.template(role, ports, Scratch::Empty);
        self.deployment_of(role, template)
    }

    pub(super) fn deployment_of(&self, role: Role, template: PodTemplateSpec) -> Deployment {
        let identity = &self.stack.common.identity;
        Deployment {
            metadata: identity.meta(identity.role(role), identity.labels(role.as_str())),
            spec: Some(DeploymentSpec {
                replicas: self.replicas(role),
                selector: identity.selector(role),
                template,
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    pub(crate) fn template(&self, role: Role, ports: &[Port], scratch: Scratch) -> PodTemplateSpec {
        let mounted = self.mounted(role, scratch);
        let containers = vec![self.container(role, ports, mounted.mounts)];
        let mut template = self.template_of(role, containers, mounted.volumes);
        let stack = self.stack;
        if let Some(spec) = &mut template.spec {
            spec.init_containers = some(self.zone_wait(role));
            if let (Role::QueryFrontend, Some(ui)) = (role, &stack.common.jaeger) {
                jaeger::add_to_frontend(spec, stack, ui);
            }
        }
        template
    }

    /// A pod of a component, of whatever containers.
    pub(super) fn template_of(
        &self,
        role: Role,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
    ) -> PodTemplateSpec {
        let common = &self.stack.common;
        let workload = self.stack.workloads.get(role);
        let selector = common.identity.selector(role);
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                annotations: Some(self.annotations(role)),
                labels: Some(self.labels(role)),
                ..ObjectMeta::default()
            }),
            spec: Some(PodSpec {
                affinity: Some(workload.affinity.clone().unwrap_or_else(|| container::apart(&selector))),
                priority_class_name: workload.priority_class.clone(),
                containers,
                node_selector: (!workload.node_selector.is_empty()).then(|| workload.node_selector.clone()),
                security_context: Some(workload.pod_security_context.clone()),
                service_account_name: Some(common.service_account.as_str().to_owned()),
                tolerations: some(workload.tolerations.clone()),
                topology_spread_constraints: some(self.spread(role)),
                volumes: Some(volumes),
                ..PodSpec::default()
            }),
        }
    }

    fn labels(&self, role: Role) -> Labels {
        // Selectors need ours, whatever else is said.
        let mut labels = self.stack.workloads.get(role).metadata.labels.clone();
        labels.extend(self.stack.common.identity.labels(role.as_str()));
        let mut add = |(key, value): (&str, &str)| labels.insert(key.to_owned(), value.to_owned());
        if role != Role::Gateway {
            add(GOSSIP_MEMBER);
        }
        if self.has_zones(role) {
            add(ZONE_AWARE);
        }
        labels
    }

    fn annotations(&self, role: Role) -> BTreeMap<String, String> {
        let stack = self.stack;
        let mut all = stack.workloads.get(role).metadata.annotations.clone();
        all.insert(CONFIG_HASH.to_owned(), self.rendered.hash.clone());
        let mut add = |key: &str, value: String| all.insert(key.to_owned(), value);
        if role.uses_storage() {
            add(CREDENTIALS_HASH, stack.storage.hash.clone());
        }
        if role != Role::Gateway
            && let Some(hash) = &stack.common.environment_hash
        {
            add(ENVIRONMENT_HASH, hash.clone());
        }
        if role == Role::QueryFrontend
            && let Some(hash) = &self.rendered.tempo_query_hash
        {
            add(jaeger::CONFIG_HASH, hash.clone());
        }
        if stack.tracing.is_some() {
            add("sidecar.opentelemetry.io/inject", "true".to_owned());
        }
        if self.has_zones(role) {
            let keys: Vec<&str> = stack.zones.iter().map(|zone| zone.key.as_str()).collect();
            add(ZONE_LABELS, keys.join(","));
        }
        all
    }

    fn has_zones(&self, role: Role) -> bool {
        !self.stack.zones.is_empty() && role != Role::Compactor
    }

    fn spread(&self, role: Role) -> Vec<TopologySpreadConstraint> {
        let mut all = self.stack.workloads.get(role).topology_spread.clone();
        if !self.has_zones(role) {
            return all;
        }
        let labels = Labels::from([
            (COMPONENT.to_owned(), role.as_str().to_owned()),
            (INSTANCE.to_owned(), self.stack.common.identity.name.clone()),
        ]);
        let constraint = |zone: &crate::validate::Zone| TopologySpreadConstraint {
            label_selector: Some(LabelSelector {
                match_labels: Some(labels.clone()),
                match_expressions: None,
            }),
            max_skew: zone.max_skew,
            topology_key: zone.key.clone(),
            when_unsatisfiable: "DoNotSchedule".to_owned(),
            ..TopologySpreadConstraint::default()
        };
        all.extend(self.stack.zones.iter().map(constraint));
        all
    }

    /// Waits until the zone of the pod is known: the process reads it once, from its environment.
    fn zone_wait(&self, role: Role) -> Vec<Container> {
        let image = &self.stack.common.images.operator;
        if !(self.has_zones(role) && role.knows_its_zone()) || image.is_empty() {
            return Vec::new();
        }
        let path = "/etc/az-annotation";
        let args = vec!["await-file".to_owned(), format!("{path}/az")];
        let mut wait =
            container::container("az-annotation-check", image, args, &[], &ResourceRequirements::default());
        wait.ports = None;
        wait.volume_mounts = Some(vec![mount(ZONE_VOLUME, path, Access::Default)]);
        vec![wait]
    }

    fn container(&self, role: Role, ports: &[Port], mounts: Vec<VolumeMount>) -> Container {
        let stack = self.stack;
        let encrypted = stack.common.platform.has(Feature::HttpEncryption)
            && (role != Role::QueryFrontend || stack.common.gateway.is_some());
        let readiness = if encrypted {
            container::readiness(IntOrString::Int(INTERNAL_HTTPS.number), "HTTPS")
        } else {
            container::readiness(container::named(&HTTP), "HTTP")
        };
        let resources = &stack.workloads.get(role).resources;
        Container {
            env: some(self.env(role)),
            env_from: some(stack.common.env_from.clone()),
            readiness_probe: Some(readiness),
            liveness_probe: Some(container::liveness(&HTTP)),
            volume_mounts: Some(mounts),
            ..container::container(CONTAINER, &stack.common.images.tempo, self.args(role), ports, resources)
        }
    }

    fn args(&self, role: Role) -> Vec<String> {
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
            args.extend(objects::args(&self.stack.storage));
        }
        args
    }

    fn env(&self, role: Role) -> Vec<EnvVar> {
        let stack = self.stack;
        let mut env = Vec::new();
        if role.uses_storage() {
            env.extend(objects::env(&stack.storage));
        }
        if stack.ring.pod_ip || stack.ring.ipv6 == Some(true) {
            env.push(from_field("HASH_RING_INSTANCE_ADDR", "status.podIP"));
        }
        if self.has_zones(role) && role.knows_its_zone() {
            env.push(from_field("INSTANCE_AVAILABILITY_ZONE", &format!("metadata.annotations['{ZONE}']")));
        }
        env.extend(container::go_memory_limit(&stack.workloads.get(role).resources));
        env.extend(container::tracing(stack.tracing.as_ref()));
        env.extend(stack.common.platform.proxy.iter().cloned());
        env.extend(stack.common.env.iter().cloned());
        env
    }

    fn mounted(&self, role: Role, scratch: Scratch) -> Mounted {
        let stack = self.stack;
        let identity = &stack.common.identity;
        let mut all = Mounted::default();
        all.add(config_volume(CONFIG_VOLUME, &identity.base()), "/conf", Access::ReadOnly);
        match scratch {
            Scratch::Empty => all.add(empty_volume(SCRATCH_VOLUME), DATA_PATH, Access::Default),
            Scratch::Claim(name) => all.mounts.push(mount(name, DATA_PATH, Access::Default)),
        }
        if role == Role::QueryFrontend && stack.common.jaeger.is_some() {
            all.volumes.push(empty_volume(jaeger::SCRATCH_VOLUME));
        }
        if self.has_zones(role) && role.knows_its_zone() {
            all.volumes.push(zone_volume());
        }
        if role.uses_storage() {
            let (volumes, mounts) = objects::volumes(&stack.storage, identity);
            all.volumes.extend(volumes);
            all.mounts.extend(mounts);
        }
        if config::is_encrypted(&stack.common.platform) {
            let (volumes, mounts) = certificates::volumes(identity, Some(role));
            all.volumes.extend(volumes);
            all.mounts.extend(mounts);
        }
        if let (Role::Distributor, Some(tls)) = (role, &stack.receiver_tls) {
            all.receiver(tls, "");
        }
        all
    }
}

fn zone_volume() -> Volume {
    Volume {
        name: ZONE_VOLUME.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                field_ref: Some(container::field(&format!("metadata.annotations['{ZONE}']"))),
                path: "az".to_owned(),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    }
}
