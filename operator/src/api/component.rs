//! What can be said of each component of a stack.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSecurityContext, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Resources, schema};

/// The components of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Merges blocks and removes old ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compactor: Option<Component>,
    /// Takes traces in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distributor: Option<Distributor>,
    /// Authenticates and authorises. Not served yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Holds new traces until they are in object storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingester: Option<Component>,
    /// Derives metrics from spans. Not served yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_generator: Option<MetricsGenerator>,
    /// Searches blocks and ingesters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub querier: Option<Component>,
    /// Answers the API and hands work to the queriers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_frontend: Option<QueryFrontend>,
}

/// What every component has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Merged over the operator's own, field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pod_security_context")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Number of pods. Left out, and without `size`, it is 1 and may be changed by an autoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Resources of the container. They win over `size` and `resources.total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Taints that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,
}

/// A component with nothing but the common part, one level down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wrapped {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
}

/// The distributor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Distributor {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// TLS of the receivers. Not served yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<DistributorTls>,
}

/// TLS of the receivers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DistributorTls {
    /// ConfigMap with the authority of clients' certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_name: Option<String>,
    /// Secret with the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_name: Option<String>,
    /// Cipher suites, by their IANA names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// Receive by TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Lowest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
}

/// The query-frontend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryFrontend {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// Jaeger's user interface. Not served yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::opaque")]
    pub jaeger_query: Option<Value>,
    /// The MCP server. Not served yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::opaque")]
    pub mcp_server: Option<Value>,
}

/// The gateway. Not served yet: a stack that enables it is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// Put a gateway in front of the stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How the gateway is reached from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::opaque")]
    pub ingress: Option<Value>,
    /// Query by role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::opaque")]
    pub rbac: Option<Value>,
}

/// The metrics-generator. Not served yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsGenerator {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// Run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What to derive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processors: Vec<String>,
    /// Where to send what was derived.
    #[serde(default, rename = "remoteWriteURLs", skip_serializing_if = "Vec::is_empty")]
    pub remote_write_urls: Vec<String>,
}
