//! Jaeger's user interface, and how it or the gateway is reached from outside.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IngressTls, Resources, schema};

/// Jaeger's user interface on top of the stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JaegerQuery {
    /// Who may open it, by OpenShift's accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<UiAuthentication>,
    /// Run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Traces looked for at one time; twice the number of queriers where it is 0 or not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub find_traces_concurrent_requests: Option<i64>,
    /// How it is reached from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Shows metrics of services beside their traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor_tab: Option<MonitorTab>,
    /// Resources of the container jaeger-query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How far back services are looked for; 72h where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub services_query_duration: Option<String>,
    /// The container between Jaeger and the stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo_query: Option<TempoQuery>,
}

/// The container that translates Jaeger's questions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TempoQuery {
    /// Its resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// OpenShift's oauth-proxy before a user interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UiAuthentication {
    /// On by itself for a Route where OpenShift's proxy is to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Resources of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Access review that who comes has to pass, as JSON; `get pods` in the namespace where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sar: Option<String>,
}

/// Metrics of services, from Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonitorTab {
    /// Show them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// URL of Prometheus' API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus_endpoint: Option<String>,
    /// Prefix of the metrics' names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub red_metrics_namespace: Option<String>,
}

/// The server for language models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServer {
    /// Serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A way in from outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Copied to the Ingress or Route.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Name by which it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Class of the Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// Of a Route only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteSettings>,
    /// `ingress`, `route` (OpenShift), or `none`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub ingress_type: Option<IngressType>,
    /// Certificates, of an Ingress only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<IngressTls>,
}

/// Settings of a Route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteSettings {
    /// Where TLS ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination: Option<Termination>,
}

/// Ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum IngressType {
    /// An Ingress.
    Ingress,
    /// A Route of OpenShift.
    Route,
    /// None.
    None,
    /// Nothing said.
    #[serde(rename = "")]
    Unset,
}

/// Where TLS ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Termination {
    /// Nowhere: there is none.
    Insecure,
    /// At the router.
    Edge,
    /// At the pod.
    Passthrough,
    /// At the router, and again at the pod.
    Reencrypt,
}

impl Termination {
    /// As written in a Route; `None` for no TLS.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Insecure => None,
            Self::Edge => Some("edge"),
            Self::Passthrough => Some("passthrough"),
            Self::Reencrypt => Some("reencrypt"),
        }
    }
}
