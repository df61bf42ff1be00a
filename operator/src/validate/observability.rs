//! What the operators of Prometheus and Grafana are told about a stack, and where its own traces go.

use serde_json::{Value, json};

use super::{Invalid, said};
use crate::{
    api,
    names::Labels,
    platform::{Feature, Platform},
};

/// Objects for other operators; the labels are added to ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Monitoring {
    pub(crate) service_monitors: Option<Labels>,
    pub(crate) prometheus_rules: Option<Labels>,
    /// Which Grafanas get a data source.
    pub(crate) datasource: Option<Value>,
}

/// Traces of the stack itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tracing {
    pub(crate) sampling: String,
    pub(crate) endpoint: String,
    pub(crate) port: u16,
}

/// What is asked for, in words that fit both kinds.
pub(super) struct Wanted {
    pub(super) service_monitors: Option<Labels>,
    pub(super) prometheus_rules: Option<Labels>,
    pub(super) datasource: Option<Value>,
    /// Fields of the three.
    pub(super) fields: [&'static str; 3],
}

impl Wanted {
    pub(super) fn of_stack(spec: &api::Observability) -> Self {
        let metrics = spec.metrics.clone().unwrap_or_default();
        let grafana = spec.grafana.clone().unwrap_or_default();
        let on = |switch: Option<bool>| switch == Some(true);
        Self {
            service_monitors: on(metrics.create_service_monitors)
                .then_some(metrics.extra_service_monitor_labels),
            prometheus_rules: on(metrics.create_prometheus_rules)
                .then_some(metrics.extra_prometheus_rule_labels),
            datasource: on(grafana.create_datasource)
                .then(|| grafana.instance_selector.unwrap_or_else(|| json!({}))),
            fields: [
                "spec.observability.metrics.createServiceMonitors",
                "spec.observability.metrics.createPrometheusRules",
                "spec.observability.grafana.createDatasource",
            ],
        }
    }

    pub(super) fn of_monolithic(spec: &api::MonolithicObservability) -> Self {
        let metrics = spec.metrics.clone().unwrap_or_default();
        let source = spec.grafana.clone().unwrap_or_default().data_source.unwrap_or_default();
        let on = |part: Option<api::Monitored>| {
            part.filter(|part| part.enabled == Some(true)).map(|part| part.extra_labels)
        };
        Self {
            service_monitors: on(metrics.service_monitors),
            prometheus_rules: on(metrics.prometheus_rules),
            datasource: (source.enabled == Some(true))
                .then(|| source.instance_selector.unwrap_or_else(|| json!({}))),
            fields: [
                "spec.observability.metrics.serviceMonitors.enabled",
                "spec.observability.metrics.prometheusRules.enabled",
                "spec.observability.grafana.dataSource.enabled",
            ],
        }
    }
}

/// What can be made of it: where the cluster lacks a kind, a warning says so, and the stack runs without.
pub(super) fn monitoring(
    wanted: Wanted,
    has_gateway: bool,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<Monitoring, Invalid> {
    let Wanted { service_monitors, prometheus_rules, datasource, fields: [monitors, rules, source] } = wanted;
    if prometheus_rules.is_some() && service_monitors.is_none() {
        return Err(Invalid::spec(format!(
            "{rules}: the rules are about metrics that are collected, the ServiceMonitors must be enabled as well"
        )));
    }
    if datasource.is_some() && has_gateway {
        return Err(Invalid::spec(format!(
            "{source}: a data source is not supported behind the gateway, which wants credentials"
        )));
    }
    let mut there = |field: &str, is_wanted: bool, kind: &str, group: &str, feature: Feature| {
        let there = platform.has(feature);
        if is_wanted && !there {
            warnings.push(format!("{field}: no {kind} is made, the cluster has no API {group}"));
        }
        there
    };
    let prometheus = "monitoring.coreos.com";
    let monitors =
        there(monitors, service_monitors.is_some(), "ServiceMonitor", prometheus, Feature::Prometheus);
    let rules = there(rules, prometheus_rules.is_some(), "PrometheusRule", prometheus, Feature::Prometheus);
    let grafana =
        there(source, datasource.is_some(), "GrafanaDatasource", "grafana.integreatly.org", Feature::Grafana);
    Ok(Monitoring {
        service_monitors: service_monitors.filter(|_| monitors),
        prometheus_rules: prometheus_rules.filter(|_| rules),
        datasource: datasource.filter(|_| grafana),
    })
}

/// Where the stack's own traces go, `None` where nothing is traced.
pub(super) fn tracing(given: Option<&api::Tracing>) -> Result<Option<Tracing>, Invalid> {
    const FIELD: &str = "spec.observability.tracing";
    let given = given.cloned().unwrap_or_default();
    if let Some(agent) = said(given.jaeger_agent_endpoint.as_ref())
        && agent.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err())
    {
        return Err(Invalid::spec(format!("{FIELD}.jaeger_agent_endpoint: `{agent}`, expected host:port")));
    }
    let Some(sampling) = said(given.sampling_fraction.as_ref()) else { return Ok(None) };
    if !sampling.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share)) {
        return Err(Invalid::spec(format!(
            "{FIELD}.sampling_fraction: `{sampling}`, expected a number from 0 to 1"
        )));
    }
    let endpoint = said(given.otlp_http_endpoint.as_ref()).unwrap_or_default();
    let Some(port) = port_of(&endpoint) else {
        return Err(Invalid::spec(format!(
            "{FIELD}.otlp_http_endpoint: `{endpoint}`, expected a URL such as http://collector:4318 where a share of requests is traced"
        )));
    };
    Ok(Some(Tracing { sampling, endpoint, port }))
}

/// The port that a URL of HTTP leads to.
pub(crate) fn port_of(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())?;
    let host = authority.rsplit('@').next().unwrap_or(authority);
    match host.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => port.parse().ok(),
        _ => Some(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_url_is_read_or_that_of_its_scheme() {
        assert_eq!(port_of("http://p:9090/api/v1/write"), Some(9090));
        assert_eq!(port_of("https://user:word@mimir.example.org/push"), Some(443));
        assert_eq!(port_of("http://[::1]/x"), Some(80));
        assert_eq!(port_of("http://[::1]:4318"), Some(4318));
        for wrong in ["", "p:9090", "ftp://x", "http://", "http://h:port"] {
            assert_eq!(port_of(wrong), None, "{wrong}");
        }
    }
}
