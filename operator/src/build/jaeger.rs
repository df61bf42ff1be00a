//! Jaeger's query and its bridge to the stack, beside the frontend or in the pod of a monolithic stack.

use k8s_openapi::api::core::v1::{Container, EnvVar, GRPCAction, PodSpec, Probe, VolumeMount};

use super::{
    certificates,
    config::{self, CA_FILE, CERT_FILE, KEY_FILE, TENANT_HEADER},
    container::{self, Access, mount, some, value},
    oauth,
    service::{BRIDGE, JAEGER},
};
use crate::{
    platform::Feature,
    role::Role,
    validate::{Common, Jaeger, Monitor, Stack},
};

/// Annotation that changes with the bridge's configuration.
pub(super) const CONFIG_HASH: &str = "tempo.grafana.com/tempoQuery.hash";
/// Where Jaeger's query may write, beside the frontend.
pub(super) const SCRATCH_VOLUME: &str = "tempo-tmp-storage-query";

/// Where the two run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Frontend,
    Monolith,
}

/// Adds the user interface to the pod of the frontend.
pub(super) fn add_to_frontend(pod: &mut PodSpec, stack: &Stack, ui: &Jaeger) {
    let common = &stack.common;
    let certificates = if config::is_encrypted(&common.platform) {
        certificates::volumes(&common.identity, Some(Role::QueryFrontend)).1.to_vec()
    } else {
        Vec::new()
    };
    let env = container::tracing(stack.tracing.as_ref());
    let scratch = mount(SCRATCH_VOLUME, "/tmp", Access::Default);
    pod.containers.extend(containers(common, ui, Place::Frontend, scratch, &certificates, &env));
    if let Some(proxy) = &ui.oauth {
        let account = common.identity.role(Role::QueryFrontend);
        oauth::add(pod, common, proxy, &account);
        pod.service_account_name = Some(account);
    }
}

/// Jaeger's query and the bridge.
pub(super) fn containers(
    common: &Common,
    ui: &Jaeger,
    place: Place,
    scratch: VolumeMount,
    certificates: &[VolumeMount],
    env: &[EnvVar],
) -> [Container; 2] {
    let limited = |resources| -> Vec<EnvVar> {
        let limit = container::go_memory_limit(resources).into_iter();
        limit.chain(env.iter().cloned()).chain(common.platform.proxy.iter().cloned()).collect()
    };
    let mounts = |first: VolumeMount| -> Option<Vec<VolumeMount>> {
        Some(std::iter::once(first).chain(certificates.iter().cloned()).collect())
    };
    let mut query_env = limited(&ui.resources);
    query_env.extend(ui.monitor.iter().flat_map(monitor_env));
    let query = Container {
        env: some(query_env),
        volume_mounts: mounts(scratch),
        ..container::container(
            "jaeger-query",
            &common.images.jaeger_query,
            query_args(common, place),
            &JAEGER,
            &ui.resources,
        )
    };
    let bridge_args = vec![format!("-config=/conf/{}", config::TEMPO_QUERY_KEY)];
    let bridge = Container {
        env: some(limited(&ui.tempo_query_resources)),
        readiness_probe: (place == Place::Frontend).then(bridge_readiness),
        volume_mounts: mounts(mount("tempo-conf", "/conf", Access::ReadOnly)),
        ..container::container(
            "tempo-query",
            &common.images.tempo_query,
            bridge_args,
            &[BRIDGE],
            &ui.tempo_query_resources,
        )
    };
    [query, bridge]
}

fn bridge_readiness() -> Probe {
    Probe {
        grpc: Some(GRPCAction { port: BRIDGE.number, service: Some(String::new()) }),
        period_seconds: Some(5),
        timeout_seconds: Some(1),
        failure_threshold: Some(12),
        ..Probe::default()
    }
}

fn query_args(common: &Common, place: Place) -> Vec<String> {
    let mut args = vec![
        "--query.base-path=/".to_owned(),
        "--span-storage.type=grpc".to_owned(),
        "--grpc-storage.server=localhost:7777".to_owned(),
        "--query.bearer-token-propagation=true".to_owned(),
    ];
    if common.multitenancy {
        args.push("--multi-tenancy.enabled=true".to_owned());
        args.push(format!("--multi-tenancy.header={TENANT_HEADER}"));
    }
    if common.gateway.is_none() {
        return args;
    }
    match place {
        // Only the gateway, in the same pod, may reach it.
        Place::Monolith => args.extend([
            "--query.grpc-server.host-port=localhost:16685".to_owned(),
            "--query.http-server.host-port=localhost:16686".to_owned(),
            "--admin.http.host-port=localhost:16687".to_owned(),
        ]),
        Place::Frontend => {
            for (server, feature) in [("http", Feature::HttpEncryption), ("grpc", Feature::GrpcEncryption)] {
                if common.platform.has(feature) {
                    args.push(format!("--query.{server}.tls.enabled=true"));
                    args.push(format!("--query.{server}.tls.key={KEY_FILE}"));
                    args.push(format!("--query.{server}.tls.cert={CERT_FILE}"));
                    args.push(format!("--query.{server}.tls.client-ca={CA_FILE}"));
                }
            }
        }
    }
    args
}

fn monitor_env(monitor: &Monitor) -> Vec<EnvVar> {
    const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut env = vec![
        value("METRICS_STORAGE_TYPE", "prometheus"),
        value("PROMETHEUS_SERVER_URL", &*monitor.endpoint),
        value("PROMETHEUS_QUERY_SUPPORT_SPANMETRICS_CONNECTOR", "true"),
        value("PROMETHEUS_QUERY_NORMALIZE_CALLS", "true"),
        value("PROMETHEUS_QUERY_NORMALIZE_DURATION", "true"),
        value("PROMETHEUS_QUERY_NAMESPACE", monitor.namespace.clone().unwrap_or_default()),
    ];
    if monitor.is_cluster_monitoring {
        env.extend([
            value("PROMETHEUS_TOKEN_FILE", format!("{ACCOUNT}/token")),
            value("PROMETHEUS_TOKEN_OVERRIDE_FROM_CONTEXT", "false"),
            value("PROMETHEUS_TLS_ENABLED", "true"),
            value("PROMETHEUS_TLS_CA", format!("{ACCOUNT}/service-ca.crt")),
        ]);
    }
    env
}
