//! What `size` and `resources.total` mean for each container. The figures are those of Grafana's operator, mended so
//! that what a stack gets in all is not more than its total, whatever it runs.

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

/// A container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Role(Role),
    JaegerQuery,
    TempoQuery,
    OauthProxy,
    Opa,
}

/// What runs beside the classic components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) gateway: bool,
    pub(super) oauth_proxy: bool,
    pub(super) generator: bool,
}

/// How big the containers of a stack are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizing<'a> {
    size: Option<Size>,
    total: Option<&'a Resources>,
    layout: Layout,
    replication_factor: i32,
}

pub(super) fn replication_factor(size: Size) -> i32 {
    if size == Size::Demo { 1 } else { 2 }
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
fn requests(size: Size, part: Part) -> Option<(&'static str, &'static str)> {
    let column = match size {
        Size::Demo => return None,
        Size::Pico => 0,
        Size::ExtraSmall => 1,
        Size::Small => 2,
        Size::Medium => 3,
    };
    let front = [("500m", "500Mi"), ("200m", "1Gi"), ("400m", "1Gi"), ("800m", "1Gi")];
    let outer = [("100m", "64Mi"), ("400m", "128Mi"), ("800m", "192Mi"), ("4", "192Mi")];
    let row = match part {
        Part::Role(Role::Ingester) => [("500m", "3Gi"), ("1500m", "8Gi"), ("2", "10Gi"), ("8", "16Gi")],
        Part::Role(Role::Compactor) => {
            [("500m", "500Mi"), ("200m", "4Gi"), ("400m", "6Gi"), ("600m", "10Gi")]
        }
        Part::Role(Role::Querier) => [("750m", "1536Mi"), ("1", "1Gi"), ("2500m", "3Gi"), ("5", "4Gi")],
        Part::Role(Role::Distributor) => {
            [("500m", "500Mi"), ("200m", "128Mi"), ("600m", "128Mi"), ("1500m", "128Mi")]
        }
        Part::Role(Role::MetricsGenerator) => {
            [("500m", "512Mi"), ("500m", "512Mi"), ("1", "1Gi"), ("2", "2Gi")]
        }
        Part::Role(Role::QueryFrontend) | Part::TempoQuery => front,
        Part::Role(Role::Gateway) | Part::JaegerQuery => outer,
        Part::OauthProxy | Part::Opa => {
            [("50m", "64Mi"), ("100m", "64Mi"), ("100m", "64Mi"), ("200m", "128Mi")]
        }
    };
    Some(row[column])
}

impl Layout {
    /// Shares of `resources.total`: CPU and memory.
    fn share(self, part: Part) -> (f32, f32) {
        let behind_gateway = self.gateway && !self.oauth_proxy;
        let (cpu, memory) = match part {
            Part::Role(Role::Distributor) if behind_gateway => (0.26, 0.11),
            Part::Role(Role::Distributor) => (0.27, 0.12),
            Part::Role(Role::Ingester) if behind_gateway => (0.36, 0.49),
            Part::Role(Role::Ingester) => (0.38, 0.50),
            Part::Role(Role::Compactor) if behind_gateway => (0.15, 0.17),
            Part::Role(Role::Compactor) => (0.16, 0.18),
            Part::Role(Role::Querier) if behind_gateway => (0.09, 0.14),
            Part::Role(Role::Querier) => (0.10, 0.15),
            Part::Role(Role::QueryFrontend) if behind_gateway => (0.04, 0.02),
            Part::Role(Role::QueryFrontend) => (0.045, 0.025),
            // The user interface is two containers, and they share what the peer gives to each.
            Part::JaegerQuery | Part::TempoQuery if behind_gateway => (0.02, 0.01),
            Part::JaegerQuery | Part::TempoQuery if self.oauth_proxy => (0.0175, 0.0075),
            Part::JaegerQuery | Part::TempoQuery => (0.0225, 0.0125),
            Part::OauthProxy => (0.01, 0.01),
            Part::Role(Role::Gateway) => (0.04, 0.03),
            Part::Opa => (0.02, 0.02),
            Part::Role(Role::MetricsGenerator) => return (GENERATOR, GENERATOR),
        };
        // With the gateway and the proxy, or with the generator, the peer's shares pass the whole.
        let room = if self.gateway && self.oauth_proxy { 0.94 } else { 1.0 }
            * if self.generator { 1.0 - GENERATOR } else { 1.0 };
        if room < 1.0 { (cpu * room, memory * room) } else { (cpu, memory) }
    }
}

/// Share of the metrics-generator, for which the peer has none; the others give way.
const GENERATOR: f32 = 0.1;
/// Requests are this share of the limits that come from `resources.total`.
const REQUESTED: f32 = 0.3;

impl<'a> Sizing<'a> {
    pub(super) fn new(spec: &'a TempoStackSpec, layout: Layout, replication_factor: i32) -> Self {
        let total = spec.resources.as_ref().and_then(|resources| resources.total.as_ref());
        Self { size: spec.size, total, layout, replication_factor }
    }

    /// Pods of a component, where a size says so.
    pub(super) fn replicas(&self, role: Role) -> Option<i32> {
        Some(match (self.size?, role) {
            (_, Role::Ingester) => self.replication_factor / 2 + 1,
            (Size::Demo, _) => 1,
            (Size::Pico | Size::ExtraSmall, _)
            | (_, Role::QueryFrontend | Role::Gateway)
            | (Size::Small, Role::Compactor) => 2,
            (Size::Small, Role::Distributor | Role::Querier | Role::MetricsGenerator)
            | (Size::Medium, Role::Compactor | Role::MetricsGenerator) => 3,
            (Size::Medium, Role::Distributor) => 4,
            (Size::Medium, Role::Querier) => 5,
        })
    }

    /// Resources of a component's own container.
    pub(super) fn of_role(
        &self,
        role: Role,
        own: Option<&Resources>,
        replicas: i32,
    ) -> Result<ResourceRequirements, Invalid> {
        self.resources(Part::Role(role), role.as_str(), own, replicas)
    }

    /// Resources of a container: its own, else by size, else its share of the total, divided among its pods.
    pub(super) fn resources(
        &self,
        part: Part,
        name: &str,
        own: Option<&Resources>,
        replicas: i32,
    ) -> Result<ResourceRequirements, Invalid> {
        if let Some(own) = own {
            return explicit(name, own);
        }
        if let Some(size) = self.size {
            let requests = requests(size, part).map(|(cpu, memory)| pair(cpu.to_owned(), memory.to_owned()));
            return Ok(ResourceRequirements { requests, ..ResourceRequirements::default() });
        }
        self.total.map_or_else(
            || Ok(ResourceRequirements::default()),
            |total| split(self.layout.share(part), total, replicas),
        )
    }
}

/// Bytes as the API server writes them: in the largest unit of which there are whole ones.
fn bytes(amount: u64) -> String {
    let units = [(60, "Ei"), (50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    let unit = units.into_iter().find(|(bits, _)| amount > 0 && amount.is_multiple_of(1 << bits));
    unit.map_or_else(|| amount.to_string(), |(bits, name)| format!("{}{name}", amount >> bits))
}

fn pair(cpu: String, memory: String) -> BTreeMap<String, ApiQuantity> {
    BTreeMap::from([("cpu".to_owned(), ApiQuantity(cpu)), ("memory".to_owned(), ApiQuantity(memory))])
}

/// What the resource says itself.
pub(super) fn explicit(name: &str, own: &Resources) -> Result<ResourceRequirements, Invalid> {
    let convert = |part: &str, quantities: &BTreeMap<String, Quantity>| {
        let mut out = BTreeMap::new();
        for (resource, quantity) in quantities {
            if quantity.milli().is_none() {
                return Err(Invalid::spec(format!(
                    "resources of the {name}: {part}.{resource} is `{quantity}`, expected a quantity such as 500m or 2Gi"
                )));
            }
            out.insert(resource.clone(), ApiQuantity(quantity.to_string()));
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
fn split(
    (cpu, memory): (f32, f32),
    total: &Resources,
    replicas: i32,
) -> Result<ResourceRequirements, Invalid> {
    let mut limits = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (name, share) in [("cpu", cpu), ("memory", memory)] {
        let Some(quantity) = total.limits.get(name) else { continue };
        let is_cpu = name == "cpu";
        let Some(whole) = (if is_cpu { quantity.milli() } else { quantity.units() }) else {
            return Err(Invalid::spec(format!(
                "spec.resources.total.limits.{name}: `{quantity}`, expected a quantity such as 2 or 8Gi"
            )));
        };
        let part = (whole as f32 * share) as u64 / u64::try_from(replicas.max(1)).unwrap_or(1);
        let write = |amount: u64| ApiQuantity(if is_cpu { format!("{amount}m") } else { bytes(amount) });
        limits.insert(name.to_owned(), write(part));
        requests.insert(name.to_owned(), write((part as f32 * REQUESTED) as u64));
    }
    Ok(ResourceRequirements {
        limits: (!limits.is_empty()).then_some(limits),
        requests: (!requests.is_empty()).then_some(requests),
        ..ResourceRequirements::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Defect 9 of the list of asks: the peer's split passes the total.
    #[test]
    fn shares_of_everything_that_runs_are_never_more_than_the_total() {
        for bits in 0..8_u8 {
            let layout = Layout { gateway: bits & 1 > 0, oauth_proxy: bits & 2 > 0, generator: bits & 4 > 0 };
            let mut parts: Vec<Part> =
                Role::ALL.into_iter().filter(|role| !role.is_optional()).map(Part::Role).collect();
            parts.extend([Part::JaegerQuery, Part::TempoQuery]);
            parts.extend(layout.oauth_proxy.then_some(Part::OauthProxy));
            parts.extend(layout.generator.then_some(Part::Role(Role::MetricsGenerator)));
            if layout.gateway {
                parts.extend([Part::Role(Role::Gateway), Part::Opa]);
            }
            let (cpu, memory) = parts.iter().fold((0.0, 0.0), |(cpu, memory), part| {
                let (more_cpu, more_memory) = layout.share(*part);
                (cpu + more_cpu, memory + more_memory)
            });
            assert!(cpu < 1.000_01 && memory < 1.000_01, "{layout:?}: {cpu} {memory}");
            assert!(cpu > 0.9 && memory > 0.9, "{layout:?}: {cpu} {memory}");
        }
    }
}
