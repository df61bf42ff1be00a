//! `TempoMonolithic`: the whole stack in one pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, EnvFromSource, EnvVar, PodSecurityContext, Toleration};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Authorization, CredentialMode, ExtraConfig, GatewayRoute, IngressTls, ManagementState, McpServer,
    PodMetadata, Quantity, QueryRbac, Resources, ServerTls, ServiceSettings, StorageTls,
    TempoMonolithicStatus, Tenant, TenantMode, Termination, UiAuthentication, schema,
    tempostack::management_state,
};

/// What the pod shall be.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tempo.grafana.com",
    version = "v1alpha1",
    kind = "TempoMonolithic",
    plural = "tempomonolithics",
    namespaced,
    status = "TempoMonolithicStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A tracing backend in one pod: takes traces in, keeps them in memory, on a volume or in object storage, and answers TraceQL.",
    printcolumn = r#"{"name":"Management","type":"string","jsonPath":".spec.management"}"#,
    printcolumn = r#"{"name":"Tempo Version","type":"string","jsonPath":".status.tempoVersion"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.status==\"True\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TempoMonolithicSpec {
    /// Where the pod may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Affinity>,
    /// Environment variables of the workload's container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env")]
    pub env: Vec<EnvVar>,
    /// Sources of environment variables of the workload's container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env_from")]
    pub env_from: Vec<EnvFromSource>,
    /// Settings that have no field here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_config: Option<ExtraConfig>,
    /// How traces come in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion: Option<Ingestion>,
    /// Jaeger's user interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jaegerui: Option<JaegerUi>,
    /// `Unmanaged`: the operator writes nothing but the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "management_state")]
    pub management: Option<ManagementState>,
    /// Tenants, and the gateway that tells them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multitenancy: Option<Multitenancy>,
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Metrics and dashboards of the pod itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observability: Option<MonolithicObservability>,
    /// Further labels and annotations of the pod. Those of the operator stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
    /// Merged over the operator's own, field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pod_security_context")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Priority class of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// How traces are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Query>,
    /// Resources of the workload's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The Service, or that of the gateway where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,
    /// ServiceAccount of the pod; without it, one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Where traces are kept; in memory where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<MonolithicStorage>,
    /// Longest time for a request; 30s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Option<String>,
    /// Taints that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,
}

/// Where traces are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonolithicStorage {
    /// The traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<TracesStorage>,
}

/// Where traces are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracesStorage {
    /// Access to Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<Bucket>,
    /// What it is; memory where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// Access to Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<Bucket>,
    /// Access to S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Bucket>,
    /// Of the memory or of the volume; 2Gi of memory, 10Gi of a volume where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub size: Option<Quantity>,
    /// Storage class of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// What traces are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Backend {
    /// Memory: gone with the pod.
    #[default]
    Memory,
    /// A volume.
    Pv,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
    /// Amazon S3 and whatever speaks its protocol.
    S3,
}

/// Access to object storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// How the credentials are had. Without it, the keys of the Secret decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_mode: Option<CredentialMode>,
    /// Name of a Secret in the namespace of the resource.
    #[schemars(length(min = 1))]
    pub secret: String,
}

/// Access to S3.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Bucket {
    /// How the credentials are had. Without it, the keys of the Secret decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_mode: Option<CredentialMode>,
    /// Name of a Secret in the namespace of the resource.
    #[schemars(length(min = 1))]
    pub secret: String,
    /// TLS towards the object storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<StorageTls>,
}

/// How traces come in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingestion {
    /// By OTLP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<IngestionOtlp>,
}

/// Traces by OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestionOtlp {
    /// Over gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Protocol>,
    /// A route of the Gateway API to OTLP over gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GatewayRoute>,
    /// Over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Protocol>,
    /// A route of the Gateway API to OTLP over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<GatewayRoute>,
}

/// A protocol of OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// Take traces in by it; true where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// By TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

/// Jaeger's user interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JaegerUi {
    /// Who may open it, by OpenShift's accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<UiAuthentication>,
    /// Run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Traces looked for at one time; 2 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub find_traces_concurrent_requests: Option<i64>,
    /// An Ingress for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<UiIngress>,
    /// Resources of the container jaeger-query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// A Route for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<UiRoute>,
    /// How far back services are looked for; 72h where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub services_query_duration: Option<String>,
    /// Resources of the container tempo-query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo_query_resources: Option<Resources>,
}

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UiIngress {
    /// Copied to the Ingress.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Name by which the user interface is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Class of the Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// Certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<IngressTls>,
}

/// A Route of OpenShift.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UiRoute {
    /// Copied to the Route.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Name by which the user interface is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where TLS ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination: Option<Termination>,
}

/// Tenants, and the gateway that tells them apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Multitenancy {
    /// The tenants, and how their users are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub authentication: Vec<Tenant>,
    /// Who may do what; of mode `static`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// Put the gateway in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// `static`: OpenID Connect and roles given here; `openshift`: the cluster's accounts and roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "mode")]
    pub mode: Option<TenantMode>,
    /// Resources of the gateway's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

fn mode(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["static", "openshift"], "default": "static"})
}

/// How traces are asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// A route of the Gateway API to the query API, or to the gateway where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<GatewayRoute>,
    /// The server for language models, at `/api/mcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_server: Option<McpServer>,
    /// Whether who asks sees only the attributes of their own namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rbac: Option<QueryRbac>,
}

/// What others are told about the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonolithicObservability {
    /// For the Grafana operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grafana: Option<MonolithicGrafana>,
    /// For the Prometheus operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MonolithicMetrics>,
}

/// For the Prometheus operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonolithicMetrics {
    /// A PrometheusRule; it needs the ServiceMonitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus_rules: Option<Monitored>,
    /// A ServiceMonitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_monitors: Option<Monitored>,
}

/// An object of the Prometheus operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitored {
    /// Make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Further labels of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_labels: BTreeMap<String, String>,
}

/// For the Grafana operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonolithicGrafana {
    /// A GrafanaDatasource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source: Option<DataSource>,
}

/// A GrafanaDatasource. Not behind the gateway, which wants credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataSource {
    /// Make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Which Grafanas get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub instance_selector: Option<Value>,
}
