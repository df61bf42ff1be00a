//! What `size` and `resources.total` mean for each component. The figures are those of Grafana's operator.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ResourceClaim, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use super::Invalid;
use crate::{
    api::{Quantity, Resources, Size, TempoStackSpec},
    role::Role,
};

/// Limits that come with a size, in bytes (per second) and traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeLimits {
    pub(super) rate_bytes: u64,
    pub(super) burst_bytes: u64,
    pub(super) traces_per_user: Option<u64>,
}

pub(super) fn replication_factor(size: Size) -> i32 {
    if size == Size::Demo { 1 } else { 2 }
}

/// Pods of a component.
pub(super) fn replicas(size: Size, role: Role, replication_factor: i32) -> i32 {
    match (size, role) {
        (_, Role::Ingester) => replication_factor / 2 + 1,
        (Size::Demo, _) => 1,
        (Size::Pico | Size::ExtraSmall, _) | (_, Role::QueryFrontend) | (Size::Small, Role::Compactor) => 2,
        (Size::Small, Role::Distributor | Role::Querier) | (Size::Medium, Role::Compactor) => 3,
        (Size::Medium, Role::Distributor) => 4,
        (Size::Medium, Role::Querier) => 5,
    }
}

pub(super) fn limits(size: Size) -> Option<SizeLimits> {
    let (rate_bytes, burst_bytes, traces_per_user) = match size {
        Size::Demo => return None,
        Size::Pico => (600_000, 1_200_000, None),
        Size::ExtraSmall => (1_200_000, 2_400_000, None),
        Size::Small => (5_800_000, 11_600_000, Some(17_000)),
        Size::Medium => (23_000_000, 46_000_000, Some(54_000)),
    };
    Some(SizeLimits { rate_bytes, burst_bytes, traces_per_user })
}

/// CPU and memory that a size sets aside.
fn requests(size: Size, role: Role) -> Option<(&'static str, &'static str)> {
    let column = match size {
        Size::Demo => return None,
        Size::Pico => 0,
        Size::ExtraSmall => 1,
        Size::Small => 2,
        Size::Medium => 3,
    };
    let row = match role {
        Role::Ingester => [("500m", "3Gi"), ("1500m", "8Gi"), ("2", "10Gi"), ("8", "16Gi")],
        Role::Compactor => [("500m", "500Mi"), ("200m", "4Gi"), ("400m", "6Gi"), ("600m", "10Gi")],
        Role::Querier => [("750m", "1536Mi"), ("1", "1Gi"), ("2500m", "3Gi"), ("5", "4Gi")],
        Role::QueryFrontend => [("500m", "500Mi"), ("200m", "1Gi"), ("400m", "1Gi"), ("800m", "1Gi")],
        Role::Distributor => [("500m", "500Mi"), ("200m", "128Mi"), ("600m", "128Mi"), ("1500m", "128Mi")],
    };
    Some(row[column])
}

/// Shares of `resources.total`: CPU and memory.
const fn share(role: Role) -> (f32, f32) {
    match role {
        Role::Distributor => (0.27, 0.12),
        Role::Ingester => (0.38, 0.50),
        Role::Compactor => (0.16, 0.18),
        Role::Querier => (0.10, 0.15),
        Role::QueryFrontend => (0.045, 0.025),
    }
}

/// Requests are this share of the limits that come from `resources.total`.
const REQUESTED: f32 = 0.3;

/// Resources of a component's container: its own, else by size, else its share of the total.
pub(super) fn resources(
    role: Role,
    own: Option<&Resources>,
    spec: &TempoStackSpec,
    replicas: i32,
) -> Result<ResourceRequirements, Invalid> {
    if let Some(own) = own {
        return explicit(role, own);
    }
    if let Some(size) = spec.size {
        let requests = requests(size, role).map(|(cpu, memory)| pair(cpu.to_owned(), memory.to_owned()));
        return Ok(ResourceRequirements { requests, ..ResourceRequirements::default() });
    }
    let total = spec.resources.as_ref().and_then(|resources| resources.total.as_ref());
    total.map_or_else(|| Ok(ResourceRequirements::default()), |total| split(role, total, replicas))
}

fn pair(cpu: String, memory: String) -> BTreeMap<String, ApiQuantity> {
    BTreeMap::from([("cpu".to_owned(), ApiQuantity(cpu)), ("memory".to_owned(), ApiQuantity(memory))])
}

fn explicit(role: Role, own: &Resources) -> Result<ResourceRequirements, Invalid> {
    let convert = |part: &str, quantities: &BTreeMap<String, Quantity>| {
        let mut out = BTreeMap::new();
        for (name, quantity) in quantities {
            if quantity.milli().is_none() {
                return Err(Invalid::spec(format!(
                    "resources of the {}: {part}.{name} is `{quantity}`, expected a quantity such as 500m or 2Gi",
                    role.as_str()
                )));
            }
            out.insert(name.clone(), ApiQuantity(quantity.to_string()));
        }
        Ok((!out.is_empty()).then_some(out))
    };
    let claims: Vec<ResourceClaim> =
        own.claims.iter().filter_map(|claim| serde_json::from_value(claim.clone()).ok()).collect();
    Ok(ResourceRequirements {
        claims: (!claims.is_empty()).then_some(claims),
        limits: convert("limits", &own.limits)?,
        requests: convert("requests", &own.requests)?,
    })
}

/// The peer reckons in single precision, and so do we: the figures are to be equal to the byte.
fn split(role: Role, total: &Resources, replicas: i32) -> Result<ResourceRequirements, Invalid> {
    let (cpu_share, memory_share) = share(role);
    let mut limits = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (name, share) in [("cpu", cpu_share), ("memory", memory_share)] {
        let Some(quantity) = total.limits.get(name) else { continue };
        let is_cpu = name == "cpu";
        let Some(whole) = (if is_cpu { quantity.milli() } else { quantity.units() }) else {
            return Err(Invalid::spec(format!(
                "spec.resources.total.limits.{name}: `{quantity}`, expected a quantity such as 2 or 8Gi"
            )));
        };
        let part = (whole as f32 * share) as u64 / u64::try_from(replicas.max(1)).unwrap_or(1);
        let write = |amount: u64| ApiQuantity(if is_cpu { format!("{amount}m") } else { amount.to_string() });
        limits.insert(name.to_owned(), write(part));
        requests.insert(name.to_owned(), write((part as f32 * REQUESTED) as u64));
    }
    Ok(ResourceRequirements {
        limits: (!limits.is_empty()).then_some(limits),
        requests: (!requests.is_empty()).then_some(requests),
        ..ResourceRequirements::default()
    })
}
