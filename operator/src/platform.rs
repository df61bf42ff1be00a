//! What the operator is told about itself and has found out about the cluster. Plain values; pure.
//!
//! The peer switches what needs the platform by feature gates. Here the cluster's API says what is there
//! (`discovery`), and a gate that is named in `FEATURE_GATES` overrules it: `prometheusOperator`, `-openshift.route`.

mod cert_manager;
pub(crate) mod discovery;
mod tls;

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::{EnvVar, PodSecurityContext};

pub(crate) use cert_manager::{CertManager, Signer};
pub(crate) use tls::{TlsProfile, TlsVersion};

use crate::scope::Scope;

/// What may be there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Feature {
    /// OpenShift's Routes.
    Route,
    /// OpenShift's certificates for Services.
    ServingCerts,
    /// OpenShift's proxy before user interfaces, on by itself.
    OauthProxy,
    /// A warning about stacks that anybody may use.
    NoAuthWarning,
    /// TLS as the cluster's APIServer has it.
    ClusterTlsPolicy,
    /// TLS for HTTP inside a stack.
    HttpEncryption,
    /// TLS for gRPC inside a stack.
    GrpcEncryption,
    /// The Prometheus operator's kinds.
    Prometheus,
    /// The Grafana operator's kinds.
    Grafana,
    /// The Gateway API's HTTPRoute.
    HttpRoute,
    /// The Gateway API's GRPCRoute.
    GrpcRoute,
    /// The operator's own ServiceMonitor.
    OwnServiceMonitor,
    /// The operator's own PrometheusRule.
    OwnPrometheusRule,
    /// The operator's own NetworkPolicies.
    OwnNetworkPolicies,
    /// Certificates made by the operator.
    BuiltInCertificates,
}

impl Feature {
    pub(crate) const ALL: [Self; 15] = [
        Self::Route,
        Self::ServingCerts,
        Self::OauthProxy,
        Self::NoAuthWarning,
        Self::ClusterTlsPolicy,
        Self::HttpEncryption,
        Self::GrpcEncryption,
        Self::Prometheus,
        Self::Grafana,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::OwnServiceMonitor,
        Self::OwnPrometheusRule,
        Self::OwnNetworkPolicies,
        Self::BuiltInCertificates,
    ];

    /// The name of the gate; the peer's, where it has one.
    pub(crate) const fn gate(self) -> &'static str {
        match self {
            Self::Route => "openshift.route",
            Self::ServingCerts => "openshift.servingCertsService",
            Self::OauthProxy => "openshift.oauthProxy",
            Self::NoAuthWarning => "openshift.noAuthWarning",
            Self::ClusterTlsPolicy => "openshift.clusterTLSPolicy",
            Self::HttpEncryption => "httpEncryption",
            Self::GrpcEncryption => "grpcEncryption",
            Self::Prometheus => "prometheusOperator",
            Self::Grafana => "grafanaOperator",
            Self::HttpRoute => "gatewayAPI.httpRoute",
            Self::GrpcRoute => "gatewayAPI.grpcRoute",
            Self::OwnServiceMonitor => "observability.metrics.createServiceMonitors",
            Self::OwnPrometheusRule => "observability.metrics.createPrometheusRules",
            Self::OwnNetworkPolicies => "networkPolicies",
            Self::BuiltInCertificates => "builtInCertManagement",
        }
    }
}

/// Gates that were named, switched on or off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gates {
    pub(crate) on: BTreeSet<Feature>,
    pub(crate) off: BTreeSet<Feature>,
}

/// A gate that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "FEATURE_GATES: `{0}` is no gate, expected a list of names such as prometheusOperator,-openshift.route"
)]
pub(crate) struct UnknownGate(String);

impl std::str::FromStr for Gates {
    type Err = UnknownGate;

    fn from_str(text: &str) -> Result<Self, UnknownGate> {
        let mut gates = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, set) = match word.strip_prefix('-') {
                Some(name) => (name, &mut gates.off),
                None => (word, &mut gates.on),
            };
            let feature = Feature::ALL.into_iter().find(|feature| feature.gate() == name);
            set.insert(feature.ok_or_else(|| UnknownGate(word.to_owned()))?);
        }
        Ok(gates)
    }
}

/// Where it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Distribution {
    #[default]
    Community,
    OpenShift,
}

/// Images of the containers where a resource names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Images {
    pub(crate) tempo: String,
    pub(crate) tempo_query: String,
    pub(crate) jaeger_query: String,
    pub(crate) gateway: String,
    pub(crate) opa: String,
    pub(crate) oauth_proxy: String,
    /// Of this operator, whose `await-zone` waits for the zone of a pod.
    pub(crate) operator: String,
}

/// Everything about operator and cluster that objects depend on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Platform {
    pub(crate) distribution: Distribution,
    /// The namespaces that are served.
    pub(crate) scope: Scope,
    pub(crate) features: BTreeSet<Feature>,
    pub(crate) images: Images,
    pub(crate) tls: TlsProfile,
    /// What a pod's security context is laid over.
    pub(crate) pod_security_context: PodSecurityContext,
    /// Of the names of Routes, `apps.example.org`.
    pub(crate) base_domain: Option<String>,
    pub(crate) cluster_domain: String,
    /// Where the API server listens, as seen by pods.
    pub(crate) api_server: Vec<(IpAddr, u16)>,
    /// Role for credentials from OpenShift's Cloud Credential Operator.
    pub(crate) role_arn: Option<String>,
    /// Makes the certificates, where the operator was told so and the cluster has it.
    pub(crate) cert_manager: Option<CertManager>,
    /// The operator was told so, and the cluster has it not.
    pub(crate) lacks_cert_manager: bool,
    /// Proxy settings handed on to the workloads.
    pub(crate) proxy: Vec<EnvVar>,
}

impl Platform {
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// What is there before anybody looked at the cluster.
    pub(crate) fn of(distribution: Distribution, gates: &Gates, images: Images) -> Self {
        let mut features = BTreeSet::from([
            Feature::HttpEncryption,
            Feature::GrpcEncryption,
            Feature::BuiltInCertificates,
            Feature::OwnNetworkPolicies,
        ]);
        features.extend(&gates.on);
        features.retain(|feature| !gates.off.contains(feature));
        Self {
            distribution,
            scope: Scope::default(),
            features,
            images,
            tls: TlsProfile::modern(),
            pod_security_context: match distribution {
                Distribution::Community => {
                    PodSecurityContext { fs_group: Some(10001), ..PodSecurityContext::default() }
                }
                Distribution::OpenShift => PodSecurityContext::default(),
            },
            base_domain: None,
            cluster_domain: "cluster.local".to_owned(),
            api_server: Vec::new(),
            role_arn: None,
            cert_manager: None,
            lacks_cert_manager: false,
            proxy: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_with_a_dash_is_off_and_an_unknown_one_is_named() {
        let gates: Gates = "prometheusOperator, -httpEncryption".parse().expect("both are gates");
        let platform = Platform::of(Distribution::Community, &gates, Images::default());
        assert!(platform.has(Feature::Prometheus) && platform.has(Feature::GrpcEncryption));
        assert!(!platform.has(Feature::HttpEncryption) && !platform.has(Feature::Grafana));
        let error = "openshift.routes".parse::<Gates>().expect_err("there is no such gate");
        assert!(error.to_string().contains("openshift.routes"), "{error}");
    }
}
