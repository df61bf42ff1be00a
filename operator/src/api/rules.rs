//! Rules of the resources that a schema cannot say, in CEL.
//!
//! Only what can be decided by looking at a resource alone; what needs a Secret, a ConfigMap or the platform is in
//! `validate`, which holds all of these as well: a rule does not look at what was stored before it was there.

use super::NAME_LIMIT;

/// A rule at a place of the schema.
pub(super) struct Rule {
    /// Property names joined by `/`; `*` is the values of a map.
    pub(super) at: &'static str,
    /// Where the message points, from there; empty is the place itself.
    pub(super) field: &'static str,
    pub(super) rule: String,
    pub(super) message: String,
}

fn rule(at: &'static str, field: &'static str, rule: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule { at, field, rule: rule.into(), message: message.into() }
}

/// CEL: the boolean is there and true.
fn on(path: &str) -> String {
    let mut parts = Vec::new();
    let mut here = String::from("self");
    for name in path.split('.') {
        here = format!("{here}.{name}");
        parts.push(format!("has({here})"));
    }
    format!("({} && {here})", parts.join(" && "))
}

/// CEL: the place is there.
fn there(path: &str) -> String {
    let mut parts = Vec::new();
    let mut here = String::from("self");
    for name in path.split('.') {
        here = format!("{here}.{name}");
        parts.push(format!("has({here})"));
    }
    format!("({})", parts.join(" && "))
}

/// CEL: the text is there and not empty.
fn said(path: &str) -> String {
    format!("({} && self.{path} != '')", there(path))
}

fn name() -> Rule {
    rule(
        "",
        "",
        format!("self.metadata.name.size() <= {NAME_LIMIT}"),
        format!("metadata.name: must be no more than {NAME_LIMIT} characters, as labels carry it"),
    )
}

/// Rules of tenants, from where they stand. `gateway` is CEL that says whether there is one.
fn tenants(at: &'static str, path: &str, gateway: &str, fields: [&'static str; 3]) -> Vec<Rule> {
    let openshift = format!("({} && self.{path}.mode == 'openshift')", there(&format!("{path}.mode")));
    let in_static = format!("({gateway} && {} && !{openshift})", there(path));
    let named =
        format!("({} && self.{path}.authentication.size() > 0)", there(&format!("{path}.authentication")));
    let mut rules = in_openshift_mode(at, path, [&openshift, gateway, &named], fields);
    rules.extend(in_static_mode(at, path, [&in_static, &named], fields));
    rules
}

fn in_openshift_mode(
    at: &'static str,
    path: &str,
    [openshift, gateway, named]: [&str; 3],
    [mode, authentication, authorization]: [&'static str; 3],
) -> Vec<Rule> {
    let has_authorization = there(&format!("{path}.authorization"));
    vec![
        rule(
            at,
            mode,
            format!("!{openshift} || {gateway}"),
            "openshift mode requires the gateway to be enabled",
        ),
        rule(at, authentication, format!("!{openshift} || {named}"), "is required in openshift mode"),
        rule(
            at,
            authorization,
            format!("!{openshift} || !{has_authorization}"),
            "must not be set in openshift mode: the roles of the cluster hold",
        ),
        rule(
            at,
            authentication,
            format!("!{openshift} || !{named} || self.{path}.authentication.all(t, !has(t.oidc))"),
            "OIDC must not be set in openshift mode: the accounts of the cluster hold",
        ),
    ]
}

fn in_static_mode(
    at: &'static str,
    path: &str,
    [in_static, named]: [&str; 2],
    [_, authentication, authorization]: [&'static str; 3],
) -> Vec<Rule> {
    let has_authorization = there(&format!("{path}.authorization"));
    let given = format!("self.{path}.authorization");
    vec![
        rule(
            at,
            authentication,
            format!("!{in_static} || {named}"),
            "is required in static mode, so that the gateway knows who asks",
        ),
        rule(
            at,
            authorization,
            format!("!{in_static} || {has_authorization}"),
            "is required in static mode, so that the gateway knows who may do what",
        ),
        rule(
            at,
            authentication,
            format!("!{in_static} || !{named} || self.{path}.authentication.all(t, has(t.oidc))"),
            "each tenant needs OIDC in static mode",
        ),
        rule(
            at,
            authorization,
            format!(
                "!{in_static} || !{has_authorization} || ({given}.roles.size() > 0 && {given}.roleBindings.size() > 0)"
            ),
            "needs at least one role and one role binding in static mode",
        ),
    ]
}

/// Rules of a `TempoStack`.
pub(super) fn of_stack() -> Vec<Rule> {
    let gateway = on("template.gateway.enabled");
    let mut rules = vec![
        name(),
        rule(
            "spec",
            ".template.ingester.replicas",
            "!has(self.replicationFactor) || self.replicationFactor / 2 + 1 <= \
             (has(self.template) && has(self.template.ingester) && has(self.template.ingester.replicas) ? \
             self.template.ingester.replicas : \
             (has(self.template) && has(self.template.ingester) && has(self.template.ingester.autoscaling) ? \
             (has(self.template.ingester.autoscaling.minReplicas) ? self.template.ingester.autoscaling.minReplicas : 1) : \
             (has(self.size) ? self.replicationFactor / 2 + 1 : 1)))",
            "must be at least replicationFactor / 2 + 1",
        ),
    ];
    rules.extend(beside_gateway(&gateway));
    rules.extend(components());
    rules.extend(COMPONENTS.map(|at| {
        rule(
            at,
            ".autoscaling",
            "!has(self.autoscaling) || !has(self.replicas)",
            "who scales is one: autoscaling and replicas exclude each other",
        )
    }));
    rules.extend(entrances(&gateway));
    rules.extend(storage_and_metrics());
    rules.extend(tracing());
    for at in ["spec/limits/global/query", "spec/limits/perTenant/*/query"] {
        rules.push(rule(
            at,
            ".maxSearchBytesPerTrace",
            "!has(self.maxSearchBytesPerTrace)",
            "was removed from Tempo and must be unset",
        ));
    }
    let fields = [".tenants.mode", ".tenants.authentication", ".tenants.authorization"];
    rules.extend(tenants("spec", "tenants", &gateway, fields));
    rules
}

/// What the gateway needs, and what it excludes.
fn beside_gateway(gateway: &str) -> [Rule; 5] {
    let ui = on("template.queryFrontend.jaegerQuery.enabled");
    let ui_type = "template.queryFrontend.jaegerQuery.ingress.type";
    let exposed = format!("({} && self.{ui_type} in ['ingress', 'route'])", there(ui_type));
    let field = ".template.gateway.enabled";
    [
        rule(
            "spec",
            field,
            format!("!{gateway} || has(self.tenants)"),
            "the gateway needs tenants to be configured",
        ),
        rule(
            "spec",
            field,
            format!("!({gateway} && {exposed})"),
            "the gateway and an ingress of the Jaeger UI exclude each other: the UI is reached through the gateway",
        ),
        rule(
            "spec",
            field,
            format!("!({gateway} && {})", on("template.distributor.tls.enabled")),
            "the gateway and TLS of the receivers exclude each other: traces come in through the gateway",
        ),
        rule(
            "spec",
            ".template.gateway.rbac.enabled",
            format!("!({} && {ui})", on("template.gateway.rbac.enabled")),
            "the Jaeger UI does not support it and must be off",
        ),
        rule(
            "spec",
            ".observability.grafana.createDatasource",
            format!("!({gateway} && {})", on("observability.grafana.createDatasource")),
            "a data source is not supported behind the gateway, which wants credentials",
        ),
    ]
}

/// Services, routes and certificates of what is reached from outside.
fn entrances(gateway: &str) -> Vec<Rule> {
    let mut all = Vec::new();
    for at in [
        "spec/template/distributor/service",
        "spec/template/gateway/service",
        "spec/template/queryFrontend/service",
    ] {
        all.extend(service(at));
    }
    for at in ["spec/template/queryFrontend/jaegerQuery", "spec/template/gateway"] {
        all.push(rule(
            at,
            ".ingress.tls",
            format!(
                "!{} || self.ingress.tls.size() == 0 || ({} && self.ingress.type == 'ingress')",
                there("ingress.tls"),
                there("ingress.type")
            ),
            "is of type ingress only: a Route has route.termination",
        ));
    }
    for (field, route) in [
        (".template.distributor.grpcRoute", "template.distributor.grpcRoute"),
        (".template.distributor.httpRoute", "template.distributor.httpRoute"),
        (".template.queryFrontend.httpRoute", "template.queryFrontend.httpRoute"),
    ] {
        let message = "the gateway is the only way in: the route stands at template.gateway then";
        all.push(rule("spec", field, format!("!({gateway} && {})", there(route)), message));
    }
    for (field, route) in [
        (".template.gateway.grpcRoute", "template.gateway.grpcRoute"),
        (".template.gateway.httpRoute", "template.gateway.httpRoute"),
    ] {
        let message = "needs the gateway to be enabled";
        all.push(rule("spec", field, format!("{gateway} || !{}", there(route)), message));
    }
    all
}

/// What belongs to load balancers only.
fn service(at: &'static str) -> [Rule; 2] {
    let is_balanced = "(has(self.type) && self.type == 'LoadBalancer')";
    let message = "is of type LoadBalancer only";
    [
        rule(at, ".loadBalancerClass", format!("{is_balanced} || !has(self.loadBalancerClass)"), message),
        rule(
            at,
            ".loadBalancerSourceRanges",
            format!(
                "{is_balanced} || !has(self.loadBalancerSourceRanges) || self.loadBalancerSourceRanges.size() == 0"
            ),
            message,
        ),
    ]
}

/// Where what every component has stands.
const COMPONENTS: [&str; 7] = [
    "spec/template/compactor",
    "spec/template/distributor/component",
    "spec/template/gateway/component",
    "spec/template/ingester",
    "spec/template/metricsGenerator/component",
    "spec/template/querier",
    "spec/template/queryFrontend/component",
];

fn components() -> [Rule; 3] {
    let ui = "spec/template/queryFrontend/jaegerQuery";
    [
        rule(
            ui,
            ".ingress.type",
            format!(
                "!({} && self.ingress.type in ['ingress', 'route']) || {}",
                there("ingress.type"),
                on("enabled")
            ),
            "needs the Jaeger UI to be enabled",
        ),
        rule(
            ui,
            ".monitorTab.prometheusEndpoint",
            format!("!{} || {}", on("monitorTab.enabled"), said("monitorTab.prometheusEndpoint")),
            "must be set when the monitor tab is enabled",
        ),
        rule(
            "spec/template/metricsGenerator",
            ".remoteWriteURLs",
            format!("!{} || (has(self.remoteWriteURLs) && self.remoteWriteURLs.size() > 0)", on("enabled")),
            "at least one is required when the metrics-generator is enabled",
        ),
    ]
}

fn storage_and_metrics() -> [Rule; 3] {
    [
        rule(
            "spec/storage",
            ".tls.enabled",
            format!("self.secret.type == 's3' || !{}", on("tls.enabled")),
            "is for storage of type s3 only",
        ),
        rule(
            "spec/storage",
            ".tls.caName",
            format!("self.secret.type == 's3' || !{}", said("tls.caName")),
            "is for storage of type s3 only",
        ),
        rule(
            "spec/observability/metrics",
            ".createPrometheusRules",
            format!("!{} || {}", on("createPrometheusRules"), on("createServiceMonitors")),
            "the rules are about metrics that are collected: createServiceMonitors must be true as well",
        ),
    ]
}

fn tracing() -> [Rule; 3] {
    let at = "spec/observability/tracing";
    [
        rule(
            at,
            ".jaeger_agent_endpoint",
            format!(
                "!{} || self.jaeger_agent_endpoint.matches('^.*:[0-9]+$')",
                said("jaeger_agent_endpoint")
            ),
            "must be host:port",
        ),
        rule(
            at,
            ".sampling_fraction",
            format!(
                "!{} || self.sampling_fraction.matches('^[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?$')",
                said("sampling_fraction")
            ),
            "must be a number such as 0.1",
        ),
        rule(
            at,
            ".otlp_http_endpoint",
            format!("!{} || isURL(self.otlp_http_endpoint)", said("otlp_http_endpoint")),
            "must be a URL such as http://collector:4318",
        ),
    ]
}

/// Rules of a `TempoMonolithic`.
pub(super) fn of_monolithic() -> Vec<Rule> {
    let gateway = on("multitenancy.enabled");
    let mut rules = vec![name()];
    rules.extend(monolithic_parts(&gateway));
    rules.extend(service("spec/service"));
    for (backend, field) in [("azure", ".azure.secret"), ("gcs", ".gcs.secret"), ("s3", ".s3.secret")] {
        rules.push(rule(
            "spec/storage/traces",
            field,
            format!("!has(self.backend) || self.backend != '{backend}' || has(self.{backend})"),
            "a storage secret must be named",
        ));
    }
    let fields = [".multitenancy.mode", ".multitenancy.authentication", ".multitenancy.authorization"];
    let mut of_tenants = tenants("spec", "multitenancy", &gateway, fields);
    // Here the mode alone does nothing while multitenancy is off.
    of_tenants.remove(0);
    rules.extend(
        of_tenants.into_iter().map(|rule| Rule { rule: format!("!{gateway} || ({})", rule.rule), ..rule }),
    );
    rules
}

fn monolithic_parts(gateway: &str) -> [Rule; 7] {
    let ui = on("jaegerui.enabled");
    [
        rule(
            "spec",
            ".jaegerui.ingress.enabled",
            format!("!{} || {ui}", on("jaegerui.ingress.enabled")),
            "needs the Jaeger UI to be enabled",
        ),
        rule(
            "spec",
            ".jaegerui.route.enabled",
            format!("!{} || {ui}", on("jaegerui.route.enabled")),
            "needs the Jaeger UI to be enabled",
        ),
        rule(
            "spec",
            ".query.rbac.enabled",
            format!("!{} || {gateway}", on("query.rbac.enabled")),
            "needs multitenancy to be enabled",
        ),
        rule(
            "spec",
            ".query.rbac.enabled",
            format!("!({} && {ui})", on("query.rbac.enabled")),
            "the Jaeger UI does not support it and must be off",
        ),
        rule(
            "spec",
            ".observability.grafana.dataSource.enabled",
            format!("!({gateway} && {})", on("observability.grafana.dataSource.enabled")),
            "a data source is not supported behind the gateway, which wants credentials",
        ),
        rule(
            "spec/observability/metrics",
            ".prometheusRules.enabled",
            format!("!{} || {}", on("prometheusRules.enabled"), on("serviceMonitors.enabled")),
            "the rules are about metrics that are collected: serviceMonitors must be enabled as well",
        ),
        rule(
            "spec",
            ".serviceAccount",
            format!(
                "!({} && {gateway} && {} && self.multitenancy.mode == 'openshift')",
                said("serviceAccount"),
                there("multitenancy.mode")
            ),
            "a custom ServiceAccount is not supported with multitenancy of mode openshift",
        ),
    ]
}
