//! What a stack says of itself.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// The state of a stack, as last seen by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TempoStackStatus {
    /// Names of the pods of each component, by phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<ComponentPods>,
    /// `Ready`, `Pending`, `Failed` and `ConfigurationError`, one of which is true; `Reconciling` or `Stalled`
    /// while it is not `Ready`; `Unserved` where the resource asks for something that is not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The generation of the resource that all of this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Version of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_version: Option<String>,
    /// Pods wanted, updated and ready, by component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Version of the workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo_version: Option<String>,
}

/// The state of a monolithic stack, as last seen by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TempoMonolithicStatus {
    /// Names of the pods, by phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<MonolithicPods>,
    /// `Ready`, `Pending`, `Failed` and `ConfigurationError`, one of which is true; `Reconciling` or `Stalled`
    /// while it is not `Ready`; `Unserved` where the resource asks for something that is not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The generation of the resource that all of this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Version of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_version: Option<String>,
    /// Pods wanted, updated and ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCount>,
    /// Version of the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo_version: Option<String>,
}

/// Pods of a monolithic stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the one field is the component of its name")]
pub struct MonolithicPods {
    #[serde(default)]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub tempo: PodsByPhase,
}

/// Pod names by phase: `Pending`, `Running`, `Ready` (running, and every container ready), `Succeeded`,
/// `Failed`, `Unknown`.
pub type PodsByPhase = BTreeMap<String, Vec<String>>;

/// Pods of each component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is the component of its name")]
pub struct ComponentPods {
    #[serde(default)]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub compactor: PodsByPhase,
    #[serde(default)]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub distributor: PodsByPhase,
    #[serde(default)]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub gateway: PodsByPhase,
    #[serde(default)]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub ingester: PodsByPhase,
    /// There only where the metrics-generator runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub metrics_generator: Option<PodsByPhase>,
    #[serde(default)]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub querier: PodsByPhase,
    #[serde(default)]
    #[schemars(schema_with = "schema::pods_by_phase")]
    pub query_frontend: PodsByPhase,
}

/// Counts of each component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is the component of its name")]
pub struct Replicas {
    pub compactor: ReplicaCount,
    pub distributor: ReplicaCount,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<ReplicaCount>,
    pub ingester: ReplicaCount,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_generator: Option<ReplicaCount>,
    pub querier: ReplicaCount,
    pub query_frontend: ReplicaCount,
}

/// Counts of one component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ReplicaCount {
    /// Pods wanted.
    pub desired: i32,
    /// Pods ready, of any generation.
    pub ready: i32,
    /// Pods of the present generation.
    pub updated: i32,
}

/// Types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Every wanted pod of the present generation is ready.
    Ready,
    /// Some pod is not ready yet.
    Pending,
    /// A pod failed, or the operator could not do its work.
    Failed,
    /// What the resource says, or the Secret it names, cannot be done; someone has to correct it.
    ConfigurationError,
}

impl ConditionType {
    /// All types, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Pending, Self::Failed, Self::ConfigurationError];

    /// As written in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Pending => "Pending",
            Self::Failed => "Failed",
            Self::ConfigurationError => "ConfigurationError",
        }
    }
}
