//! Objects for the operators of Prometheus and Grafana.

use serde_json::{Value, json};

use super::{
    alerts, certificates,
    service::{GATEWAY_INTERNAL, HTTP, Port},
};
use crate::{
    names::{Identity, Labels, Owner},
    platform::Feature,
    role::Role,
    validate::{Common, Monolith, Stack},
};

/// What a ServiceMonitor scrapes.
struct Target<'a> {
    name: String,
    component: &'a str,
    ports: &'a [Port],
    /// Secret with a certificate to show, and the name that the other side's is for.
    tls: Option<(String, String)>,
}

/// A ServiceMonitor for each component.
pub(super) fn of_stack(stack: &Stack) -> Vec<Value> {
    let common = &stack.common;
    let Some(extra) = &common.monitoring.service_monitors else { return Vec::new() };
    let identity = &common.identity;
    let monitor = |role: Role| {
        let name = identity.role(role);
        let encrypted = common.platform.has(Feature::HttpEncryption)
            && (role != Role::QueryFrontend || common.gateway.is_some());
        let tls = encrypted.then(|| (certificates::secret(identity, Some(role)), common.host(&name)));
        let port = if role == Role::Gateway { GATEWAY_INTERNAL } else { HTTP };
        service_monitor(identity, extra, &Target { name, component: role.as_str(), ports: &[port], tls })
    };
    stack.roles().map(monitor).collect()
}

/// The ServiceMonitor of a monolithic stack.
pub(super) fn of_monolith(monolith: &Monolith) -> Option<Value> {
    let common = &monolith.common;
    let extra = common.monitoring.service_monitors.as_ref()?;
    let identity = &common.identity;
    let behind_gateway = common.gateway.is_some();
    let tls = (behind_gateway && common.platform.has(Feature::HttpEncryption))
        .then(|| (certificates::secret(identity, None), common.host(&identity.monolith())));
    let (component, ports): (_, &[Port]) =
        if behind_gateway { (Role::Gateway.as_str(), &[GATEWAY_INTERNAL, HTTP]) } else { ("tempo", &[HTTP]) };
    Some(service_monitor(identity, extra, &Target { name: identity.monolith(), component, ports, tls }))
}

fn service_monitor(identity: &Identity, extra: &Labels, target: &Target<'_>) -> Value {
    let mut labels = identity.labels(target.component);
    let selector = labels.clone();
    labels.extend(extra.clone());
    let bundle = certificates::bundle(identity);
    let endpoint = |port: &Port| {
        let mut endpoint = json!({
            "path": "/metrics",
            "port": port.name,
            "scheme": if target.tls.is_some() { "https" } else { "http" },
            "relabelings": [
                {
                    "sourceLabels": ["__meta_kubernetes_service_label_app_kubernetes_io_instance"],
                    "targetLabel": "cluster",
                },
                {
                    "sourceLabels": [
                        "__meta_kubernetes_namespace",
                        "__meta_kubernetes_service_label_app_kubernetes_io_component",
                    ],
                    "separator": "/",
                    "targetLabel": "job",
                },
            ],
        });
        if let Some((secret, server)) = &target.tls {
            endpoint["tlsConfig"] = json!({
                "ca": {"configMap": {"name": bundle, "key": certificates::BUNDLE_KEY}},
                "cert": {"secret": {"name": secret, "key": "tls.crt"}},
                "keySecret": {"name": secret, "key": "tls.key"},
                "serverName": server,
            });
        }
        endpoint
    };
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": identity.meta(target.name.clone(), labels),
        "spec": {
            "endpoints": target.ports.iter().map(endpoint).collect::<Vec<_>>(),
            "namespaceSelector": {"matchNames": [identity.namespace]},
            "selector": {"matchLabels": selector},
        },
    })
}

/// Alerts and recording rules.
pub(super) fn prometheus_rule(common: &Common) -> Option<Value> {
    let extra = common.monitoring.prometheus_rules.as_ref()?;
    let identity = &common.identity;
    let mut labels = identity.common_labels();
    labels.insert("openshift.io/prometheus-rule-evaluation-scope".to_owned(), "leaf-prometheus".to_owned());
    labels.extend(extra.clone());
    Some(json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": identity.meta(format!("{}-prometheus-rule", identity.name), labels),
        "spec": {"groups": alerts::groups(identity)},
    }))
}

/// A data source for Grafana.
pub(super) fn datasource(common: &Common) -> Option<Value> {
    let selector = common.monitoring.datasource.as_ref()?;
    let identity = &common.identity;
    let (service, labels) = match identity.owner {
        Owner::TempoStack => (identity.role(Role::QueryFrontend), identity.common_labels()),
        Owner::TempoMonolithic => (identity.monolith(), identity.labels("tempo")),
    };
    Some(json!({
        "apiVersion": "grafana.integreatly.org/v1beta1",
        "kind": "GrafanaDatasource",
        "metadata": identity.meta(identity.name.clone(), labels),
        "spec": {
            "allowCrossNamespaceImport": true,
            "datasource": {
                "access": "proxy",
                "name": identity.name,
                "type": "tempo",
                "url": format!("http://{}:3200", common.host(&service)),
            },
            "instanceSelector": selector,
            "resyncPeriod": "0s",
        },
    }))
}
