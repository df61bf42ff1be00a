//! Limits and retention, for all tenants and for one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Limits on what tenants may send and ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// For every tenant without limits of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<LimitSet>,
    /// By tenant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_tenant: BTreeMap<String, LimitSet>,
}

/// One set of limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitSet {
    /// On what is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion: Option<IngestionLimits>,
    /// On what is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryLimits>,
}

/// Limits on what is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestionLimits {
    /// Bytes that may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_burst_size_bytes: Option<i64>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_rate_limit_bytes: Option<i64>,
    /// Bytes of one trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_trace: Option<i64>,
    /// Traces that are open at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_traces_per_user: Option<i64>,
}

/// Limits on what is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryLimits {
    /// Bytes of the answer to a question for tag values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_tag_values: Option<i64>,
    /// Removed from Tempo; must not be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_search_bytes_per_trace: Option<i64>,
    /// Longest time range of a search; 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub max_search_duration: Option<String>,
}

/// How long traces are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionSpec {
    /// For every tenant without a retention of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<RetentionConfig>,
    /// By tenant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_tenant: BTreeMap<String, TenantRetention>,
}

/// How long traces are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionConfig {
    /// A duration such as `48h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub traces: Option<String>,
}

/// Retention of one tenant.
pub type TenantRetention = RetentionConfig;
