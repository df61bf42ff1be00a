//! The kinds of objects that a stack is made of. Whatever is made must be one of these, so that it is watched,
//! compared and, when no longer wanted, removed.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{Resource, api::GroupVersionKind, discovery::ApiResource};

use crate::platform::{Feature, Platform};

/// A kind that a stack owns, in the order in which objects are applied: accounts and configuration before the pods
/// that need them, and the rules of the network before the pods that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    ServiceAccount,
    Role,
    RoleBinding,
    ClusterRole,
    ClusterRoleBinding,
    CredentialsRequest,
    Issuer,
    Certificate,
    ConfigMap,
    Secret,
    NetworkPolicy,
    Service,
    PodDisruptionBudget,
    StatefulSet,
    Deployment,
    HorizontalPodAutoscaler,
    Ingress,
    Route,
    HttpRoute,
    GrpcRoute,
    ServiceMonitor,
    PrometheusRule,
    GrafanaDatasource,
}

impl Kind {
    pub(crate) const ALL: [Self; 23] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::ClusterRole,
        Self::ClusterRoleBinding,
        Self::CredentialsRequest,
        Self::Issuer,
        Self::Certificate,
        Self::ConfigMap,
        Self::Secret,
        Self::NetworkPolicy,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::Route,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::ServiceMonitor,
        Self::PrometheusRule,
        Self::GrafanaDatasource,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::CredentialsRequest => "CredentialsRequest",
            Self::Issuer => "Issuer",
            Self::Certificate => "Certificate",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
            Self::Deployment => "Deployment",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Ingress => "Ingress",
            Self::Route => "Route",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::ServiceMonitor => "ServiceMonitor",
            Self::PrometheusRule => "PrometheusRule",
            Self::GrafanaDatasource => "GrafanaDatasource",
        }
    }

    /// What a cluster must have for it; `None` for what every cluster has.
    pub(crate) const fn needs(self) -> Option<Feature> {
        match self {
            Self::Route => Some(Feature::Route),
            Self::HttpRoute => Some(Feature::HttpRoute),
            Self::GrpcRoute => Some(Feature::GrpcRoute),
            Self::ServiceMonitor | Self::PrometheusRule => Some(Feature::Prometheus),
            Self::GrafanaDatasource => Some(Feature::Grafana),
            _ => None,
        }
    }

    /// Whether a cluster knows it by itself, or only with what defines it: a distribution, another operator.
    pub(crate) const fn is_of_others(self) -> bool {
        self.needs().is_some() || matches!(self, Self::CredentialsRequest | Self::Issuer | Self::Certificate)
    }

    /// Whether the cluster can hold objects of it.
    pub(crate) fn is_on(self, platform: &Platform) -> bool {
        match self {
            // There only with OpenShift's Cloud Credential Operator, and only wanted with a role for it.
            Self::CredentialsRequest => platform.role_arn.is_some(),
            Self::ClusterRole | Self::ClusterRoleBinding => platform.scope.is_cluster_wide(),
            // As long as it is to make our certificates.
            Self::Issuer | Self::Certificate => platform.cert_manager.is_some(),
            kind => kind.needs().is_none_or(|feature| platform.has(feature)),
        }
    }

    /// Whether it lives outside of namespaces.
    pub(crate) const fn is_cluster_wide(self) -> bool {
        matches!(self, Self::ClusterRole | Self::ClusterRoleBinding)
    }

    /// How the API server calls it.
    pub(crate) fn api_resource(self) -> ApiResource {
        fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
            ApiResource::erase::<K>(&())
        }
        fn other(group: &str, version: &str, kind: Kind) -> ApiResource {
            ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.as_str()))
        }
        match self {
            Self::ServiceAccount => of::<ServiceAccount>(),
            Self::Role => of::<Role>(),
            Self::RoleBinding => of::<RoleBinding>(),
            Self::ClusterRole => of::<ClusterRole>(),
            Self::ClusterRoleBinding => of::<ClusterRoleBinding>(),
            Self::CredentialsRequest => other("cloudcredential.openshift.io", "v1", self),
            Self::Issuer | Self::Certificate => other("cert-manager.io", "v1", self),
            Self::ConfigMap => of::<ConfigMap>(),
            Self::Secret => of::<Secret>(),
            Self::NetworkPolicy => of::<NetworkPolicy>(),
            Self::Service => of::<Service>(),
            Self::PodDisruptionBudget => of::<PodDisruptionBudget>(),
            Self::StatefulSet => of::<StatefulSet>(),
            Self::Deployment => of::<Deployment>(),
            Self::HorizontalPodAutoscaler => of::<HorizontalPodAutoscaler>(),
            Self::Ingress => of::<Ingress>(),
            Self::HttpRoute | Self::GrpcRoute => other("gateway.networking.k8s.io", "v1", self),
            Self::Route => other("route.openshift.io", "v1", self),
            Self::ServiceMonitor | Self::PrometheusRule => other("monitoring.coreos.com", "v1", self),
            Self::GrafanaDatasource => other("grafana.integreatly.org", "v1beta1", self),
        }
    }
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
        let read = |path: String| std::fs::read_to_string(path).expect("the definition is there");
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
        for name in ["tempo.grafana.com_tempostacks.yaml", "tempo.grafana.com_tempomonolithics.yaml"] {
            assert_eq!(read(format!("{CHART}/files/crds/{name}")), read(format!("{ours}/{name}")));
        }
    }
}
