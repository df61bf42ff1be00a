//! Metrics, traces and dashboards of a stack itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema;

/// What others are told about the stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observability {
    /// For the Grafana operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grafana: Option<Grafana>,
    /// For the Prometheus operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Traces of the stack itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}

/// For the Prometheus operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Make a PrometheusRule; it needs the ServiceMonitors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_prometheus_rules: Option<bool>,
    /// Make a ServiceMonitor for each component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_service_monitors: Option<bool>,
    /// Further labels of the PrometheusRule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_prometheus_rule_labels: BTreeMap<String, String>,
    /// Further labels of the ServiceMonitors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_service_monitor_labels: BTreeMap<String, String>,
}

/// Traces of the stack itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tracing {
    /// Host and port of an agent; of no effect any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "agent")]
    pub jaeger_agent_endpoint: Option<String>,
    /// URL that traces are sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub otlp_http_endpoint: Option<String>,
    /// Share of requests that are traced, 0 to 1; nothing is traced where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sampling_fraction: Option<String>,
}

fn agent(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "maxLength": 1024, "default": "localhost:6831"})
}

/// For the Grafana operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grafana {
    /// Make a GrafanaDatasource. Not behind the gateway, which wants credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_datasource: Option<bool>,
    /// Which Grafanas get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub instance_selector: Option<Value>,
}
