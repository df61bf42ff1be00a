//! The kinds of objects that a stack is made of. Whatever is made must be one of these, so that it is watched,
//! compared and, when no longer wanted, removed.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, discovery::ApiResource};

/// A kind that a stack owns, in the order in which objects are applied: accounts and configuration before the pods
/// that need them, and the rules of the network before the pods that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    ServiceAccount,
    ConfigMap,
    NetworkPolicy,
    Service,
    PodDisruptionBudget,
    StatefulSet,
    Deployment,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
        Self::Deployment,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
            Self::Deployment => "Deployment",
        }
    }

    /// How the API server calls it.
    pub(crate) fn api_resource(self) -> ApiResource {
        fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
            ApiResource::erase::<K>(&())
        }
        match self {
            Self::ServiceAccount => of::<ServiceAccount>(),
            Self::ConfigMap => of::<ConfigMap>(),
            Self::NetworkPolicy => of::<NetworkPolicy>(),
            Self::Service => of::<Service>(),
            Self::PodDisruptionBudget => of::<PodDisruptionBudget>(),
            Self::StatefulSet => of::<StatefulSet>(),
            Self::Deployment => of::<Deployment>(),
        }
    }
}

/// The name of an object that we made ourselves.
pub(crate) fn name_of(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/vivace-operator");

    #[test]
    fn the_chart_grants_what_is_needed_for_every_kind() {
        let rbac =
            std::fs::read_to_string(format!("{CHART}/templates/rbac.yaml")).expect("the chart is there");
        let rules: Vec<&str> = rbac.split("  - apiGroups:").collect();
        for kind in Kind::ALL {
            let ApiResource { group, plural, .. } = kind.api_resource();
            let granted = rules.iter().any(|rule| {
                (group.is_empty() || rule.contains(&*group))
                    && rule.contains(&*plural)
                    && rule.contains("verbs: [get, list, watch, create, patch, delete]")
            });
            assert!(granted, "the chart does not grant {plural}");
        }
    }

    #[test]
    fn the_chart_installs_the_definitions_of_this_repository() {
        let name = "tempo.grafana.com_tempostacks.yaml";
        let read = |path: String| std::fs::read_to_string(path).expect("the definition is there");
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
        assert_eq!(read(format!("{CHART}/files/crds/{name}")), read(format!("{ours}/{name}")));
    }
}
