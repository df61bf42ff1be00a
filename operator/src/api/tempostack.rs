//! `TempoStack`: a distributed tracing backend.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Limits, NetworkPolicy, Observability, PodMetadata, Quantity, Resources, RetentionSpec, Storage, Template,
    TempoStackStatus, Tenants, schema,
};

/// What a stack shall be.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tempo.grafana.com",
    version = "v1alpha1",
    kind = "TempoStack",
    plural = "tempostacks",
    shortname = "tempo",
    shortname = "tempos",
    namespaced,
    status = "TempoStackStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A distributed tracing backend: takes traces in, keeps them in object storage and answers TraceQL.",
    printcolumn = r#"{"name":"Management","type":"string","jsonPath":".spec.managementState"}"#,
    printcolumn = r#"{"name":"Tempo Version","type":"string","jsonPath":".status.tempoVersion"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.status==\"True\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TempoStackSpec {
    /// Environment variables of every workload's container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env")]
    pub env: Vec<EnvVar>,
    /// Sources of environment variables of every workload's container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env_from")]
    pub env_from: Vec<EnvFromSource>,
    /// Settings that have no field here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_config: Option<ExtraConfig>,
    /// How the members of a stack find each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_ring: Option<HashRing>,
    /// Images other than the operator's own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// Limits on what tenants may send and ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// `Unmanaged`: the operator writes nothing but the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "management_state")]
    pub management_state: Option<ManagementState>,
    /// Which connections the pods may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// Metrics, traces and dashboards of the stack itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
    /// What becomes of the ingesters' volumes when the stack is deleted or scaled in; they are kept where nothing is said, and
    /// where it was not seen that everything on them was uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_retention_policy: Option<ClaimRetentionPolicy>,
    /// Further labels and annotations of all pods. Those of a component win over these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
    /// Homes of the write-ahead log: 1 is the ingester's volume, more is object storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub replication_factor: Option<i32>,
    /// Zones over which pods are spread, and copies with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::replication_zones")]
    pub replication_zones: Vec<ReplicationZone>,
    /// Resources of the whole stack, split over its components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<TotalResources>,
    /// How long traces are kept; 48h where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionSpec>,
    /// Limits of searches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// ServiceAccount of the pods; without it, one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Replicas, resources and limits to begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Object storage for blocks.
    pub storage: Storage,
    /// Storage class of the ingesters' volumes. Another one replaces them one by one, each after everything on it was uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// Size of each ingester's volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "storage_size")]
    pub storage_size: Option<Quantity>,
    /// The components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Tenants and who may do what. Its presence turns multitenancy on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Tenants>,
    /// Longest time for a request; 30s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Option<String>,
}

pub(super) fn management_state(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["Managed", "Unmanaged"], "default": "Managed"})
}

fn storage_size(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = schema::quantity(generator);
    schema.insert("default".into(), "10Gi".into());
    schema
}

/// Whether the operator keeps the stack as it shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManagementState {
    /// It does.
    #[default]
    Managed,
    /// It only looks.
    Unmanaged,
}

/// What becomes of volumes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetentionPolicy {
    /// When the stack is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_deleted: Option<ClaimRetention>,
    /// When there are fewer ingesters than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_scaled: Option<ClaimRetention>,
}

/// What becomes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ClaimRetention {
    /// It is kept.
    Retain,
    /// It goes.
    Delete,
}

impl ClaimRetention {
    /// As written in a resource.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

/// Sizes of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Size {
    /// To look at it: no requests, one pod each.
    #[serde(rename = "1x.demo")]
    Demo,
    /// Small teams.
    #[serde(rename = "1x.pico")]
    Pico,
    /// About 100 GB a day.
    #[serde(rename = "1x.extra-small")]
    ExtraSmall,
    /// About 500 GB a day.
    #[serde(rename = "1x.small")]
    Small,
    /// About 2 TB a day.
    #[serde(rename = "1x.medium")]
    Medium,
}

/// Images of the containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// Of Jaeger's query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jaeger_query: Option<String>,
    /// Of the OAuth proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth_proxy: Option<String>,
    /// Of the workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo: Option<String>,
    /// Of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo_gateway: Option<String>,
    /// Of the gateway's policy agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo_gateway_opa: Option<String>,
    /// Of Tempo's bridge to Jaeger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo_query: Option<String>,
}

/// Settings that have no field here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtraConfig {
    /// Laid over the rendered `tempo.yaml`: maps are merged, everything else is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::opaque")]
    pub tempo: Option<Value>,
}

/// How the members of a stack find each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HashRing {
    /// By gossip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memberlist: Option<Memberlist>,
}

/// Settings of the gossip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memberlist {
    /// Allow IPv6 addresses.
    #[serde(rename = "enableIPv6", skip_serializing_if = "Option::is_none")]
    pub enable_ipv6: Option<bool>,
    /// Where members take the address from that they tell others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_addr_type: Option<InstanceAddrType>,
}

/// Sources of a member's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstanceAddrType {
    /// The first private interface.
    #[default]
    #[serde(rename = "default")]
    Default,
    /// The pod's address, as Kubernetes says it.
    #[serde(rename = "podIP")]
    PodIp,
}

/// One dimension over which pods are spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationZone {
    /// How uneven the spread may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_skew: Option<i32>,
    /// Label of the nodes that names the zone.
    pub topology_key: String,
}

/// Resources of the whole stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TotalResources {
    /// Of this only `limits` is used; each component gets its share, and requests 30 % of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Resources>,
}

/// Limits of searches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// Traces in an answer where the question names no limit; 20 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_result_limit: Option<i64>,
    /// Longest time range; 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub max_duration: Option<String>,
    /// Most traces a question may ask for; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_result_limit: Option<i64>,
}
