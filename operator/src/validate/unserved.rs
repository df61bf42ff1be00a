//! Fields of the peer's resource that are accepted but not served yet: named to the user, never ignored in silence.

use serde_json::Value;

use super::{Invalid, Reason};
use crate::api::TempoStackSpec;

/// Refuses what promises protection that would not be there.
pub(super) fn refuse(spec: &TempoStackSpec) -> Result<(), Invalid> {
    let template = spec.template.clone().unwrap_or_default();
    let gateway = template.gateway.unwrap_or_default().enabled.unwrap_or(false);
    let tls = template
        .distributor
        .and_then(|distributor| distributor.tls)
        .and_then(|tls| tls.enabled)
        .unwrap_or(false);
    let field = if gateway {
        "spec.template.gateway.enabled: the gateway"
    } else if tls {
        "spec.template.distributor.tls.enabled: TLS of the receivers"
    } else {
        return Ok(());
    };
    Err(Invalid {
        reason: Reason::NotServed,
        message: format!("{field} is not served yet, and the stack is not run unprotected in its stead"),
    })
}

/// One sentence for each field that is set and does nothing.
pub(super) fn warnings(spec: &TempoStackSpec) -> Vec<String> {
    let template = spec.template.clone().unwrap_or_default();
    let frontend = template.query_frontend.unwrap_or_default();
    let images = spec.images.clone().unwrap_or_default();
    let observability = spec.observability.clone().unwrap_or_default();
    let on = |value: &Value, pointer: &str| value.pointer(pointer) == Some(&Value::Bool(true));
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    };
    let enabled = |value: &Option<Value>| value.as_ref().is_some_and(|value| on(value, "/enabled"));
    let image = |image: &Option<String>| image.as_ref().is_some_and(|image| !image.is_empty());
    let fields = [
        ("spec.template.queryFrontend.jaegerQuery.enabled", enabled(&frontend.jaeger_query)),
        ("spec.template.queryFrontend.mcpServer.enabled", enabled(&frontend.mcp_server)),
        (
            "spec.template.metricsGenerator.enabled",
            template.metrics_generator.unwrap_or_default().enabled.unwrap_or(false),
        ),
        ("spec.replicationZones", !spec.replication_zones.is_empty()),
        (
            "spec.tenants.authentication",
            spec.tenants.as_ref().is_some_and(|tenants| tenants.get("authentication").is_some()),
        ),
        (
            "spec.observability.metrics.createServiceMonitors",
            on(&observability, "/metrics/createServiceMonitors"),
        ),
        (
            "spec.observability.metrics.createPrometheusRules",
            on(&observability, "/metrics/createPrometheusRules"),
        ),
        ("spec.observability.tracing.sampling_fraction", text(&observability, "/tracing/sampling_fraction")),
        ("spec.observability.grafana.createDatasource", on(&observability, "/grafana/createDatasource")),
        ("spec.images.jaegerQuery", image(&images.jaeger_query)),
        ("spec.images.tempoQuery", image(&images.tempo_query)),
        ("spec.images.tempoGateway", image(&images.tempo_gateway)),
        ("spec.images.tempoGatewayOpa", image(&images.tempo_gateway_opa)),
        ("spec.images.oauthProxy", image(&images.oauth_proxy)),
    ];
    fields
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(field, _)| format!("{field} is not served yet"))
        .collect()
}
