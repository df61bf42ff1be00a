//! What can be said of each component of a stack.

use std::collections::BTreeMap;

use super::{GatewayRoute, Ingress, JaegerQuery, McpServer, Resources, ServerTls, ServiceSettings, schema};
use k8s_openapi::api::core::v1::{Affinity, PodSecurityContext, Toleration, TopologySpreadConstraint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Authenticates and authorises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Holds new traces until they are in object storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingester: Option<Component>,
    /// Derives metrics from spans.
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
    /// Where the pods may run; without it, they keep apart by node and zone where that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::component_affinity")]
    pub affinity: Option<Affinity>,
    /// A HorizontalPodAutoscaler sets the number of pods. Not together with `replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Merged over the operator's own, field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pod_security_context")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Further labels and annotations of the pods. Those of the operator stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
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
    /// How evenly the pods are spread, beside `replicationZones`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::topology_spread")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Most pods.
    #[schemars(range(min = 1))]
    pub max_replicas: i32,
    /// Least pods; 1 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// CPU to aim at, in percent of what is requested; 80 where no target is said.
    #[serde(rename = "targetCPUUtilizationPercentage", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub target_cpu: Option<i32>,
    /// Memory to aim at, in percent of what is requested.
    #[serde(rename = "targetMemoryUtilizationPercentage", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub target_memory: Option<i32>,
}

/// Labels and annotations of pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The distributor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Distributor {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// A route of the Gateway API to OTLP over gRPC. Without the gateway only, which has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GatewayRoute>,
    /// A route of the Gateway API to OTLP over HTTP. Without the gateway only, which has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<GatewayRoute>,
    /// The Service that traces are sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,
    /// TLS of the receivers. Without the gateway only, which has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

/// The query-frontend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryFrontend {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// A route of the Gateway API to the query API. Without the gateway only, which has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<GatewayRoute>,
    /// Jaeger's user interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jaeger_query: Option<JaegerQuery>,
    /// The server for language models, at `/api/mcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_server: Option<McpServer>,
    /// The Service of the query API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,
}

/// The gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// Put a gateway in front of the stack. It needs `tenants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A route of the Gateway API to OTLP over gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GatewayRoute>,
    /// A route of the Gateway API to everything that speaks HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<GatewayRoute>,
    /// How the gateway is reached from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Whether who asks sees only the attributes of their own namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rbac: Option<QueryRbac>,
    /// The gateway's Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,
}

/// Answers are cut down to the namespaces of who asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryRbac {
    /// Do so. Jaeger's user interface cannot, and must be off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// The metrics-generator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsGenerator {
    /// The common part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// Run it. It needs somewhere to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What to derive; span-metrics, service-graphs and local-blocks where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processors: Vec<String>,
    /// Where to send what was derived, by Prometheus' remote write.
    #[serde(default, rename = "remoteWriteURLs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub remote_write_urls: Vec<String>,
}
