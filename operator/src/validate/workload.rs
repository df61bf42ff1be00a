//! The pods of a component: how many, how big, where, and as whom.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, PodSecurityContext, ResourceRequirements, SeccompProfile, Toleration, TopologySpreadConstraint,
};

use super::{Invalid, sizing::Sizing};
use crate::{
    api::{Autoscaling, Component, PodMetadata, Quantity, Template, TempoStackSpec},
    facts::Facts,
    names::Identity,
    platform::{Distribution, Platform},
    role::Role,
};

/// One component's pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Workload {
    pub(crate) replicas: ReplicaRule,
    pub(crate) resources: ResourceRequirements,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) pod_security_context: PodSecurityContext,
    /// `None` keeps pods apart where that is possible.
    pub(crate) affinity: Option<Affinity>,
    pub(crate) topology_spread: Vec<TopologySpreadConstraint>,
    pub(crate) priority_class: Option<String>,
    pub(crate) metadata: PodMetadata,
    pub(crate) autoscaling: Option<Autoscaling>,
}

/// Who says how many pods there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplicaRule {
    /// The resource.
    Fixed(i32),
    /// The size of the stack, unless an autoscaler does.
    Suggested(i32),
    /// Whoever scales; one to begin with.
    #[default]
    Free,
}

impl ReplicaRule {
    /// The number to reckon with.
    pub(crate) const fn count(self) -> i32 {
        match self {
            Self::Fixed(count) | Self::Suggested(count) => count,
            Self::Free => 1,
        }
    }
}

/// A volume that outlives its pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Volume {
    pub(crate) size: String,
    pub(crate) class: Option<String>,
}

/// The account of the pods.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ServiceAccountName {
    /// Made by us.
    Ours(String),
    /// Someone else's.
    Given(String),
}

impl ServiceAccountName {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Ours(name) | Self::Given(name) => name,
        }
    }
}

/// The account that a resource names has to be there; ours is made.
pub(super) fn service_account(
    given: Option<&str>,
    identity: &Identity,
    facts: &Facts,
) -> Result<ServiceAccountName, Invalid> {
    match given.filter(|name| !name.is_empty() && *name != identity.base()) {
        None => Ok(ServiceAccountName::Ours(identity.base())),
        Some(name) if facts.service_accounts.contains(name) => Ok(ServiceAccountName::Given(name.to_owned())),
        Some(name) => Err(Invalid::spec(format!("spec.serviceAccount: ServiceAccount \"{name}\" not found"))),
    }
}

fn component(template: &Template, role: Role) -> Component {
    let wrapped = match role {
        Role::Compactor => template.compactor.as_ref(),
        Role::Ingester => template.ingester.as_ref(),
        Role::Querier => template.querier.as_ref(),
        Role::Distributor => template.distributor.as_ref().and_then(|part| part.component.as_ref()),
        Role::QueryFrontend => template.query_frontend.as_ref().and_then(|part| part.component.as_ref()),
        Role::MetricsGenerator => {
            template.metrics_generator.as_ref().and_then(|part| part.component.as_ref())
        }
        Role::Gateway => template.gateway.as_ref().and_then(|part| part.component.as_ref()),
    };
    wrapped.cloned().unwrap_or_default()
}

/// The pods of a component of a stack.
pub(super) fn workload(
    role: Role,
    spec: &TempoStackSpec,
    sizing: &Sizing<'_>,
    platform: &Platform,
) -> Result<Workload, Invalid> {
    let component = component(&spec.template.clone().unwrap_or_default(), role);
    if component.replicas.is_some_and(|count| count < 0) {
        return Err(Invalid::spec(format!("replicas of the {}: expected 0 or more", role.as_str())));
    }
    let autoscaling = autoscaling(role, &component)?;
    let replicas = match (component.replicas, sizing.replicas(role)) {
        _ if autoscaling.is_some() => ReplicaRule::Free,
        (Some(count), _) => ReplicaRule::Fixed(count),
        (None, Some(count)) => ReplicaRule::Suggested(count),
        (None, None) => ReplicaRule::Free,
    };
    Ok(Workload {
        replicas,
        resources: sizing.of_role(role, component.resources.as_ref(), replicas.count())?,
        node_selector: component.node_selector,
        tolerations: component.tolerations,
        affinity: component.affinity,
        topology_spread: component.topology_spread_constraints,
        priority_class: component.priority_class_name.filter(|name| !name.is_empty()),
        metadata: metadata(spec.pod_metadata.as_ref(), component.pod_metadata),
        autoscaling,
        pod_security_context: security_context(component.pod_security_context, platform),
    })
}

/// What is said of all pods, and over it what is said of this component's.
fn metadata(all: Option<&PodMetadata>, own: Option<PodMetadata>) -> PodMetadata {
    let mut together = all.cloned().unwrap_or_default();
    let own = own.unwrap_or_default();
    together.annotations.extend(own.annotations);
    together.labels.extend(own.labels);
    together
}

/// Who scales is one: the resource or the autoscaler.
fn autoscaling(role: Role, component: &Component) -> Result<Option<Autoscaling>, Invalid> {
    let Some(given) = &component.autoscaling else { return Ok(None) };
    let wrong = |what: String| Err(Invalid::spec(format!("autoscaling of the {}: {what}", role.as_str())));
    if component.replicas.is_some() {
        return wrong("not together with replicas".to_owned());
    }
    let least = given.min_replicas.unwrap_or(1);
    if least < 1 || given.max_replicas < least {
        return wrong(format!("maxReplicas {} has to be at least minReplicas {least}", given.max_replicas));
    }
    Ok(Some(given.clone()))
}

/// The user's context laid over the platform's, field by field, and that over ours: never root, the runtime's own
/// seccomp profile, and user 10001, except on OpenShift, which gives each namespace users of its own.
pub(super) fn security_context(given: Option<PodSecurityContext>, platform: &Platform) -> PodSecurityContext {
    let given = given.unwrap_or_default();
    let base = &platform.pod_security_context;
    let own_user = (platform.distribution == Distribution::Community).then_some(10001);
    let fs_group = given.fs_group.or(base.fs_group);
    PodSecurityContext {
        fs_group,
        fs_group_change_policy: given
            .fs_group_change_policy
            .clone()
            .or_else(|| base.fs_group_change_policy.clone())
            .or_else(|| fs_group.map(|_| "OnRootMismatch".to_owned())),
        run_as_group: given.run_as_group.or(base.run_as_group).or(own_user),
        run_as_non_root: given.run_as_non_root.or(base.run_as_non_root).or(Some(true)),
        run_as_user: given.run_as_user.or(base.run_as_user).or(own_user),
        se_linux_options: given.se_linux_options.clone().or_else(|| base.se_linux_options.clone()),
        supplemental_groups: given.supplemental_groups.clone().or_else(|| base.supplemental_groups.clone()),
        seccomp_profile: given
            .seccomp_profile
            .clone()
            .or_else(|| base.seccomp_profile.clone())
            .or_else(|| Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None })),
        ..given
    }
}

/// A volume of the size that is asked for. The peer takes a size of nothing for the default.
pub(super) fn volume(
    field: &str,
    size: Option<&Quantity>,
    class: Option<&String>,
) -> Result<Volume, Invalid> {
    let class = class.cloned();
    let size = size.cloned().unwrap_or_else(|| "10Gi".into());
    match size.milli() {
        None => Err(Invalid::spec(format!("{field}: `{size}`, expected a quantity such as 10Gi"))),
        Some(0) => Ok(Volume { size: "10Gi".to_owned(), class }),
        Some(_) => Ok(Volume { size: size.to_string(), class }),
    }
}
