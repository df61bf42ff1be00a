//! (resource, facts) -> [`Stack`], a type that cannot be wrong: names parsed, defaults filled in, Secret checked. Pure.
//!
//! Builders see nothing but a `Stack`; they cannot fail for a reason that a user could mend.

mod extra;
mod sizing;
mod storage;
mod unserved;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, PodSecurityContext, ResourceRequirements, Toleration,
};
use kube::ResourceExt;
use serde_json::Value;
use vivace_config::Duration;

pub(crate) use storage::S3;

use crate::{
    api::{
        Component, InstanceAddrType, LimitSet, ManagementState, NAME_LIMIT, Template, TempoStack,
        TempoStackSpec,
    },
    facts::Facts,
    names::Identity,
    role::{ByRole, Role},
};

/// What the operator itself is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Image of the workloads where the resource names none.
    pub(crate) workload_image: String,
}

/// Why a resource cannot be served; someone has to correct it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Invalid {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// Kinds of [`Invalid`], as they stand in the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The storage section, or the Secret or ConfigMap it names.
    InvalidStorageConfig,
    /// A field of the resource.
    InvalidSpec,
    /// Asks for protection that is not served; running without it would be worse than not running.
    NotServed,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidStorageConfig => "InvalidStorageConfig",
            Self::InvalidSpec => "InvalidSpec",
            Self::NotServed => "NotServed",
        }
    }
}

impl Invalid {
    fn spec(message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidSpec, message: message.into() }
    }

    fn storage(message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidStorageConfig, message: message.into() }
    }
}

/// A stack that can be built.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stack {
    pub(crate) identity: Identity,
    pub(crate) image: String,
    pub(crate) workloads: ByRole<Workload>,
    pub(crate) storage: S3,
    pub(crate) volume: Volume,
    pub(crate) replication_factor: u32,
    pub(crate) retention: Duration,
    pub(crate) limits: TenantLimits,
    pub(crate) tenants: BTreeMap<String, TenantOverrides>,
    pub(crate) search: SearchLimits,
    pub(crate) timeout: Duration,
    pub(crate) ring: Ring,
    pub(crate) service_account: ServiceAccountName,
    pub(crate) network_policies: bool,
    pub(crate) multitenancy: bool,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) env_from: Vec<EnvFromSource>,
    pub(crate) extra_config: Option<Value>,
    /// What the resource asks for and does not get, one sentence each.
    pub(crate) warnings: Vec<String>,
}

/// One component's pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Workload {
    pub(crate) replicas: ReplicaRule,
    pub(crate) resources: ResourceRequirements,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) pod_security_context: PodSecurityContext,
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

/// Each ingester's volume.
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

/// How members tell each other their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) ipv6: Option<bool>,
    pub(crate) pod_ip: bool,
}

/// Limits of searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SearchLimits {
    pub(crate) default_result_limit: u32,
    pub(crate) max_result_limit: u32,
    pub(crate) max_duration: Duration,
}

/// Limits of tenants; what is not set is the workload's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantLimits {
    pub(crate) burst_bytes: Option<u64>,
    pub(crate) rate_bytes: Option<u64>,
    pub(crate) bytes_per_trace: Option<u64>,
    pub(crate) traces_per_user: Option<u64>,
    pub(crate) bytes_per_tag_values: Option<u64>,
    pub(crate) search_duration: Option<Duration>,
}

/// What is different for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantOverrides {
    pub(crate) limits: TenantLimits,
    pub(crate) retention: Option<Duration>,
}

/// Checks a resource against what it points at.
pub(crate) fn validate(resource: &TempoStack, facts: &Facts, settings: &Settings) -> Result<Stack, Invalid> {
    let spec = &resource.spec;
    let identity = identity(resource)?;
    unserved::refuse(spec)?;
    let replication_factor = replication_factor(spec)?;
    let template = spec.template.clone().unwrap_or_default();
    let workloads = ByRole::try_from_fn(|role| workload(role, &template, spec, replication_factor))?;
    if workloads.ingester.replicas.count() < replication_factor / 2 + 1 {
        return Err(Invalid::spec(format!(
            "spec.template.ingester.replicas: replicationFactor {replication_factor} needs at least {} ingesters",
            replication_factor / 2 + 1
        )));
    }
    let service_account = match spec.service_account.as_deref() {
        Some(name) if !name.is_empty() && name != identity.base() => {
            ServiceAccountName::Given(name.to_owned())
        }
        _ => ServiceAccountName::Ours(identity.base()),
    };
    let memberlist = spec.hash_ring.clone().unwrap_or_default().memberlist.unwrap_or_default();
    let image = spec.images.clone().unwrap_or_default().tempo.filter(|image| !image.is_empty());
    let stack = Stack {
        storage: storage::resolve(&spec.storage, facts, &identity)?,
        image: image.unwrap_or_else(|| settings.workload_image.clone()),
        workloads,
        volume: volume(spec)?,
        replication_factor: u32::try_from(replication_factor).unwrap_or(1),
        retention: retention(spec)?,
        limits: global_limits(spec)?,
        tenants: tenants(spec)?,
        search: search(spec)?,
        timeout: duration("spec.timeout", spec.timeout.as_deref())?.unwrap_or(Duration::from_secs(30)),
        ring: Ring {
            ipv6: memberlist.enable_ipv6,
            pod_ip: memberlist.instance_addr_type == Some(InstanceAddrType::PodIp),
        },
        service_account,
        network_policies: spec.network_policy.as_ref().and_then(|policy| policy.enabled).unwrap_or(true),
        multitenancy: spec.tenants.is_some(),
        env: spec.env.clone(),
        env_from: spec.env_from.clone(),
        extra_config: spec.extra_config.clone().unwrap_or_default().tempo,
        warnings: unserved::warnings(spec),
        identity,
    };
    extra::check(stack)
}

/// Whether the operator may write.
pub(crate) fn is_managed(resource: &TempoStack) -> bool {
    resource.spec.management_state.unwrap_or_default() == ManagementState::Managed
}

/// Whose objects they are; the API server gives every resource a namespace and a uid.
pub(crate) fn identity(resource: &TempoStack) -> Result<Identity, Invalid> {
    let name = resource.name_any();
    if name.len() > NAME_LIMIT {
        return Err(Invalid::spec(format!(
            "metadata.name: {} characters, expected at most {NAME_LIMIT}",
            name.len()
        )));
    }
    Ok(Identity::unchecked(resource))
}

fn component(template: &Template, role: Role) -> Component {
    let wrapped = match role {
        Role::Compactor => &template.compactor,
        Role::Ingester => &template.ingester,
        Role::Querier => &template.querier,
        Role::Distributor => match &template.distributor {
            Some(distributor) => &distributor.component,
            None => &None,
        },
        Role::QueryFrontend => match &template.query_frontend {
            Some(frontend) => &frontend.component,
            None => &None,
        },
    };
    wrapped.clone().unwrap_or_default()
}

fn replication_factor(spec: &TempoStackSpec) -> Result<i32, Invalid> {
    match spec.replication_factor {
        Some(factor) if factor < 1 => {
            Err(Invalid::spec(format!("spec.replicationFactor: {factor}, expected at least 1")))
        }
        Some(factor) => Ok(factor),
        None => Ok(spec.size.map_or(1, sizing::replication_factor)),
    }
}

fn workload(
    role: Role,
    template: &Template,
    spec: &TempoStackSpec,
    replication_factor: i32,
) -> Result<Workload, Invalid> {
    let component = component(template, role);
    let replicas = match (component.replicas, spec.size) {
        (Some(count), _) => ReplicaRule::Fixed(count),
        (None, Some(size)) => ReplicaRule::Suggested(sizing::replicas(size, role, replication_factor)),
        (None, None) => ReplicaRule::Free,
    };
    let resources = sizing::resources(role, component.resources.as_ref(), spec, replicas.count())?;
    Ok(Workload {
        replicas,
        resources,
        node_selector: component.node_selector,
        tolerations: component.tolerations,
        pod_security_context: security_context(component.pod_security_context),
    })
}

/// The user's context laid over ours, field by field: user 10001, never root, the runtime's own seccomp profile.
fn security_context(given: Option<PodSecurityContext>) -> PodSecurityContext {
    let given = given.unwrap_or_default();
    PodSecurityContext {
        fs_group: given.fs_group.or(Some(10001)),
        fs_group_change_policy: given
            .fs_group_change_policy
            .clone()
            .or_else(|| Some("OnRootMismatch".to_owned())),
        run_as_group: given.run_as_group.or(Some(10001)),
        run_as_non_root: given.run_as_non_root.or(Some(true)),
        run_as_user: given.run_as_user.or(Some(10001)),
        seccomp_profile: given.seccomp_profile.clone().or_else(|| {
            Some(k8s_openapi::api::core::v1::SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            })
        }),
        ..given
    }
}

fn volume(spec: &TempoStackSpec) -> Result<Volume, Invalid> {
    let size = spec.storage_size.clone().unwrap_or_else(|| "10Gi".into());
    match size.milli() {
        None => Err(Invalid::spec(format!("spec.storageSize: `{size}`, expected a quantity such as 10Gi"))),
        // The peer takes a size of nothing for the default.
        Some(0) => Ok(Volume { size: "10Gi".to_owned(), class: spec.storage_class_name.clone() }),
        Some(_) => Ok(Volume { size: size.to_string(), class: spec.storage_class_name.clone() }),
    }
}

fn duration(field: &str, text: Option<&str>) -> Result<Option<Duration>, Invalid> {
    text.map(|text| text.parse().map_err(|error| Invalid::spec(format!("{field}: {error}")))).transpose()
}

fn count(field: &str, value: Option<i64>) -> Result<Option<u64>, Invalid> {
    value
        .map(|value| {
            u64::try_from(value).map_err(|_| Invalid::spec(format!("{field}: {value}, expected 0 or more")))
        })
        .transpose()
}

fn retention(spec: &TempoStackSpec) -> Result<Duration, Invalid> {
    let global = spec.retention.clone().unwrap_or_default().global.unwrap_or_default();
    let retention = duration("spec.retention.global.traces", global.traces.as_deref())?;
    // Nothing and 0 both mean the default, as for the peer.
    Ok(retention.filter(|kept| *kept != Duration::default()).unwrap_or(Duration::from_secs(48 * 3600)))
}

fn search(spec: &TempoStackSpec) -> Result<SearchLimits, Invalid> {
    let search = spec.search.clone().unwrap_or_default();
    let small = |field: &str, value: Option<i64>| {
        let value = count(field, value)?;
        value
            .map(|value| {
                u32::try_from(value)
                    .map_err(|_| Invalid::spec(format!("{field}: {value}, expected at most {}", u32::MAX)))
            })
            .transpose()
    };
    Ok(SearchLimits {
        default_result_limit: small("spec.search.defaultResultLimit", search.default_result_limit)?
            .unwrap_or(20),
        max_result_limit: small("spec.search.maxResultLimit", search.max_result_limit)?.unwrap_or(0),
        max_duration: duration("spec.search.maxDuration", search.max_duration.as_deref())?
            .unwrap_or_default(),
    })
}

fn limits(field: &str, given: &LimitSet) -> Result<TenantLimits, Invalid> {
    let ingestion = given.ingestion.clone().unwrap_or_default();
    let query = given.query.clone().unwrap_or_default();
    let within = |part: &str| format!("{field}.{part}");
    let search = within("query.maxSearchDuration");
    Ok(TenantLimits {
        burst_bytes: count(
            &within("ingestion.ingestionBurstSizeBytes"),
            ingestion.ingestion_burst_size_bytes,
        )?,
        rate_bytes: count(
            &within("ingestion.ingestionRateLimitBytes"),
            ingestion.ingestion_rate_limit_bytes,
        )?,
        bytes_per_trace: count(&within("ingestion.maxBytesPerTrace"), ingestion.max_bytes_per_trace)?,
        traces_per_user: count(&within("ingestion.maxTracesPerUser"), ingestion.max_traces_per_user)?,
        bytes_per_tag_values: count(&within("query.maxBytesPerTagValues"), query.max_bytes_per_tag_values)?,
        search_duration: duration(&search, query.max_search_duration.as_deref())?
            .filter(|limit| *limit != Duration::default()),
    })
}

fn global_limits(spec: &TempoStackSpec) -> Result<TenantLimits, Invalid> {
    let global = spec.limits.clone().unwrap_or_default().global.unwrap_or_default();
    let mut set = limits("spec.limits.global", &global)?;
    if let Some(size) = spec.size.and_then(sizing::limits) {
        set.rate_bytes = set.rate_bytes.or(Some(size.rate_bytes));
        set.burst_bytes = set.burst_bytes.or(Some(size.burst_bytes));
        set.traces_per_user = set.traces_per_user.or(size.traces_per_user);
    }
    Ok(set)
}

fn tenants(spec: &TempoStackSpec) -> Result<BTreeMap<String, TenantOverrides>, Invalid> {
    let mut tenants: BTreeMap<String, TenantOverrides> = BTreeMap::new();
    for (tenant, set) in &spec.limits.clone().unwrap_or_default().per_tenant {
        tenants.entry(tenant.clone()).or_default().limits =
            limits(&format!("spec.limits.perTenant[{tenant}]"), set)?;
    }
    for (tenant, retention) in &spec.retention.clone().unwrap_or_default().per_tenant {
        let field = format!("spec.retention.perTenant[{tenant}].traces");
        tenants.entry(tenant.clone()).or_default().retention =
            duration(&field, retention.traces.as_deref())?.filter(|kept| *kept != Duration::default());
    }
    Ok(tenants)
}

#[cfg(test)]
mod tests;
