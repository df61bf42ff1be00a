//! The gateway: tells tenants apart, asks who comes, and lets through what they may do.

mod files;

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Container, EnvVar, Probe, Secret, Service, VolumeMount},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use sha2::{Digest, Sha256};

use super::{
    certificates,
    config::{self, CA_FILE, CERT_FILE, KEY_FILE, TENANT_HEADER},
    container::{self, Access, config_file, config_volume, mount, named, secret_file, secret_volume, some},
    pod::{Context, Mounted},
    service::{self, GATEWAY_GRPC, GATEWAY_HTTP, GATEWAY_INTERNAL, OPA, Port},
};
use crate::{
    names::{Identity, Owner},
    platform::{Feature, Platform},
    role::Role,
    validate::{Authority, Common, Gateway, Stack},
};

const RBAC_KEY: &str = "rbac.yaml";
const TENANTS_KEY: &str = "tenants.yaml";
const RBAC_HASH: &str = "tempo.grafana.com/rbacConfig.hash";
const TENANTS_HASH: &str = "tempo.grafana.com/tenantsConfig.hash";

/// What the gateway reads.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Files {
    rbac: String,
    tenants: String,
}

/// The files, once for the objects and the hashes.
pub(super) fn files(gateway: &Gateway, owner: Owner, account: &str) -> Files {
    Files {
        rbac: files::rbac(&gateway.authority),
        tenants: files::tenants(gateway, opa_package(owner), account),
    }
}

impl Files {
    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        let hash = |text: &str| format!("{:x}", Sha256::digest(text.as_bytes()));
        BTreeMap::from([
            (RBAC_HASH.to_owned(), hash(&self.rbac)),
            (TENANTS_HASH.to_owned(), hash(&self.tenants)),
        ])
    }
}

/// The account under which the gateway asks OpenShift who comes.
pub(super) fn account(common: &Common) -> String {
    let identity = &common.identity;
    match (identity.owner, common.gateway.as_ref().map(|gateway| &gateway.authority)) {
        (Owner::TempoStack, Some(Authority::OpenShift)) => identity.role(Role::Gateway),
        _ => common.service_account.as_str().to_owned(),
    }
}

/// Whether the public listener has a certificate that OpenShift makes.
pub(super) fn has_serving_cert(common: &Common) -> bool {
    let openshift = common.gateway.as_ref().is_some_and(|gateway| gateway.authority == Authority::OpenShift);
    common.platform.has(Feature::ServingCerts)
        && (openshift || common.identity.owner == Owner::TempoMonolithic)
}

fn serving_cert(identity: &Identity) -> String {
    identity.object(match identity.owner {
        Owner::TempoStack => "gateway-tls",
        Owner::TempoMonolithic => "gateway-serving-cert",
    })
}

/// The ConfigMap into which OpenShift puts the authority of its certificates.
pub(super) fn serving_bundle(identity: &Identity) -> ConfigMap {
    let (name, labels) = match identity.owner {
        Owner::TempoStack => (identity.object("gateway-cabundle"), identity.labels(Role::Gateway.as_str())),
        Owner::TempoMonolithic => (identity.object("serving-cabundle"), identity.common_labels()),
    };
    let mut metadata = identity.meta(name, labels);
    let inject = ("service.beta.openshift.io/inject-cabundle".to_owned(), "true".to_owned());
    metadata.annotations = Some(BTreeMap::from([inject]));
    ConfigMap { metadata, ..ConfigMap::default() }
}

const fn opa_package(owner: Owner) -> &'static str {
    match owner {
        Owner::TempoStack => "tempostack",
        Owner::TempoMonolithic => "tempomonolithic",
    }
}

pub(super) fn config_map(identity: &Identity, files: &Files) -> ConfigMap {
    ConfigMap {
        metadata: identity.meta(identity.role(Role::Gateway), identity.labels(Role::Gateway.as_str())),
        data: Some(BTreeMap::from([(RBAC_KEY.to_owned(), files.rbac.clone())])),
        ..ConfigMap::default()
    }
}

pub(super) fn secret(identity: &Identity, files: &Files) -> Secret {
    let tenants = ByteString(files.tenants.clone().into_bytes());
    Secret {
        metadata: identity.meta(identity.role(Role::Gateway), identity.labels(Role::Gateway.as_str())),
        data: Some(BTreeMap::from([(TENANTS_KEY.to_owned(), tenants)])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// The Service of the gateway, before its own pods or the one of a monolithic stack.
pub(super) fn service(common: &Common, pods: &str, ports: &[Port]) -> Service {
    let identity = &common.identity;
    let name = identity.role(Role::Gateway);
    let mut made = service::named(identity, name, Role::Gateway.as_str(), identity.labels(pods), ports);
    // The peer asks for the certificate in either mode, and serves with it in one.
    if common.platform.has(Feature::ServingCerts) {
        service::serve_with(&mut made, &serving_cert(identity));
    }
    made
}

/// The gateway of a stack, in pods of its own.
pub(super) fn deployment(pod: &Context<'_>, gateway: &Gateway, files: &Files) -> Deployment {
    let stack = pod.stack;
    let common = &stack.common;
    let mounted = mounted(stack);
    let mut env: Vec<EnvVar> =
        container::go_memory_limit(&stack.workloads.gateway.resources).into_iter().collect();
    env.extend(common.platform.proxy.iter().cloned());
    let mut containers = vec![Container {
        env: some(env),
        volume_mounts: Some(mounted.mounts),
        ..own_container(
            common,
            gateway,
            args_of_stack(stack, gateway),
            &[GATEWAY_GRPC, GATEWAY_INTERNAL, GATEWAY_HTTP],
        )
    }];
    containers.extend(opa(common, gateway));
    let mut template = pod.template_of(Role::Gateway, containers, mounted.volumes);
    if let Some(meta) = &mut template.metadata {
        meta.annotations.get_or_insert_default().extend(files.annotations());
    }
    if let Some(spec) = &mut template.spec {
        spec.service_account_name = Some(account(common));
    }
    pod.deployment_of(Role::Gateway, template)
}

fn own_container(common: &Common, gateway: &Gateway, args: Vec<String>, ports: &[Port]) -> Container {
    let scheme = if common.platform.has(Feature::HttpEncryption) { "HTTPS" } else { "HTTP" };
    Container {
        liveness_probe: Some(live(named(&GATEWAY_INTERNAL), scheme)),
        readiness_probe: Some(ready(named(&GATEWAY_INTERNAL), scheme)),
        ..container::container("tempo-gateway", &common.images.gateway, args, ports, &gateway.resources)
    }
}

fn live(port: IntOrString, scheme: &str) -> Probe {
    Probe {
        period_seconds: Some(30),
        timeout_seconds: Some(2),
        failure_threshold: Some(10),
        ..container::http_probe("/live", port, scheme)
    }
}

fn ready(port: IntOrString, scheme: &str) -> Probe {
    Probe {
        period_seconds: Some(5),
        timeout_seconds: Some(1),
        failure_threshold: Some(12),
        ..container::http_probe("/ready", port, scheme)
    }
}

fn mounted(stack: &Stack) -> Mounted {
    let common = &stack.common;
    let identity = &common.identity;
    let name = identity.role(Role::Gateway);
    let mut all = Mounted::default();
    all.add(config_file("rbac", &name, RBAC_KEY), "/etc/tempo-gateway/cm", Access::ReadOnly);
    all.volumes.push(secret_file("tenant", &name, TENANTS_KEY));
    all.mounts.push(VolumeMount {
        sub_path: Some(TENANTS_KEY.to_owned()),
        ..mount("tenant", "/etc/tempo-gateway/secret/tenants.yaml", Access::ReadOnly)
    });
    if config::is_encrypted(&common.platform) {
        let (volumes, mounts) = certificates::volumes(identity, Some(Role::Gateway));
        all.volumes.extend(volumes);
        all.mounts.extend(mounts);
    }
    if has_serving_cert(common) {
        let certs = secret_volume("serving-certs", &serving_cert(identity));
        all.add(certs, "/etc/tempo-gateway/serving-certs", Access::ReadOnly);
        let bundle = config_volume("cabundle", &identity.object("gateway-cabundle"));
        all.add(bundle, "/etc/tempo-gateway/cabundle", Access::ReadOnly);
    }
    all
}

fn args_of_stack(stack: &Stack, gateway: &Gateway) -> Vec<String> {
    let common = &stack.common;
    let host = |role: Role| common.host(&common.identity.role(role));
    let scheme = scheme(&common.platform);
    let frontend = host(Role::QueryFrontend);
    let distributor = host(Role::Distributor);
    let mut args = vec![
        format!("--traces.tenant-header={TENANT_HEADER}"),
        "--web.listen=0.0.0.0:8080".to_owned(),
        "--web.internal.listen=0.0.0.0:8081".to_owned(),
        format!("--traces.write.otlpgrpc.endpoint={distributor}:4317"),
        format!("--traces.write.otlphttp.endpoint={scheme}://{distributor}:4318"),
        format!("--traces.write-timeout={}", common.timeout),
        format!("--traces.tempo.endpoint={scheme}://{frontend}:3200"),
        "--grpc.listen=0.0.0.0:8090".to_owned(),
        format!("--rbac.config=/etc/tempo-gateway/cm/{RBAC_KEY}"),
        format!("--tenants.config=/etc/tempo-gateway/secret/{TENANTS_KEY}"),
        "--log.level=info".to_owned(),
    ];
    if common.jaeger.is_some() {
        args.push(format!("--traces.read.endpoint={scheme}://{frontend}:16686"));
    }
    if let Some(tracing) = &stack.tracing {
        args.push(format!("--internal.tracing.otlp-http-endpoint={}", tracing.endpoint));
        args.push(format!("--internal.tracing.sampling-fraction={}", tracing.sampling));
    }
    args.extend(rbac_args(gateway));
    args.extend(tls_args(&common.platform));
    if config::is_encrypted(&common.platform) {
        args.extend(version_args(&common.platform));
    }
    if has_serving_cert(common) {
        args.extend(serving_args(common, "/etc/tempo-gateway/serving-certs", "/etc/tempo-gateway/cabundle"));
    }
    args
}

fn scheme(platform: &Platform) -> &'static str {
    if platform.has(Feature::HttpEncryption) { "https" } else { "http" }
}

fn rbac_args(gateway: &Gateway) -> Vec<String> {
    gateway.query_rbac.then(|| "--traces.query-rbac=true".to_owned()).into_iter().collect()
}

/// TLS inside the stack, and the versions and suites of all listeners.
fn tls_args(platform: &Platform) -> Vec<String> {
    let mut args = Vec::new();
    if config::is_encrypted(platform) {
        args.extend([
            format!("--tls.internal.server.key-file={KEY_FILE}"),
            format!("--tls.internal.server.cert-file={CERT_FILE}"),
            format!("--traces.tls.key-file={KEY_FILE}"),
            format!("--traces.tls.cert-file={CERT_FILE}"),
            format!("--traces.tls.ca-file={CA_FILE}"),
            "--traces.tls.watch-certs=true".to_owned(),
        ]);
    }
    args
}

/// Versions and suites of the listeners.
fn version_args(platform: &Platform) -> [String; 2] {
    [
        format!("--tls.cipher-suites={}", platform.tls.suites()),
        format!("--tls.min-version={}", platform.tls.min_version.long()),
    ]
}

/// TLS of the public listener, by a certificate that OpenShift makes.
fn serving_args(common: &Common, certificate: &str, bundle: &str) -> [String; 6] {
    let host = common.host(&common.identity.role(Role::Gateway));
    [
        format!("--tls.server.cert-file={certificate}/tls.crt"),
        format!("--tls.server.key-file={certificate}/tls.key"),
        format!("--tls.healthchecks.server-ca-file={bundle}/service-ca.crt"),
        format!("--tls.healthchecks.server-name={host}"),
        "--web.healthchecks.url=https://localhost:8080".to_owned(),
        "--tls.client-auth-type=NoClientCert".to_owned(),
    ]
}

/// The agent that asks OpenShift what who comes may do.
fn opa(common: &Common, gateway: &Gateway) -> Option<Container> {
    if gateway.authority != Authority::OpenShift {
        return None;
    }
    let mut args = vec![
        "--log.level=warn".to_owned(),
        "--web.listen=:8082".to_owned(),
        "--web.internal.listen=:8083".to_owned(),
        "--web.healthchecks.url=http://localhost:8082".to_owned(),
        format!("--opa.package={}", opa_package(common.identity.owner)),
        "--opa.ssar".to_owned(),
    ];
    if gateway.query_rbac {
        args.push("--opa.matcher=kubernetes_namespace_name".to_owned());
    }
    args.extend(
        gateway
            .tenants
            .iter()
            .map(|tenant| format!("--openshift.mappings={}=tempo.grafana.com", tenant.name)),
    );
    let internal = || IntOrString::Int(OPA[1].number);
    Some(Container {
        liveness_probe: Some(live(internal(), "HTTP")),
        readiness_probe: Some(ready(internal(), "HTTP")),
        ..container::container("tempo-gateway-opa", &common.images.opa, args, &OPA, &gateway.opa_resources)
    })
}

/// The gateway in the pod of a monolithic stack: its volumes are added to the pod's.
pub(super) fn sidecars(
    common: &Common,
    gateway: &Gateway,
    pod: &mut Mounted,
    certificates: &[VolumeMount],
) -> Vec<Container> {
    let identity = &common.identity;
    let name = identity.role(Role::Gateway);
    let mut own = Mounted::default();
    own.add(config_file("gateway-rbac", &name, RBAC_KEY), "/etc/tempo-gateway/rbac", Access::ReadOnly);
    own.add(
        secret_file("gateway-tenants", &name, TENANTS_KEY),
        "/etc/tempo-gateway/tenants",
        Access::ReadOnly,
    );
    if has_serving_cert(common) {
        let (bundle, certificate) = (identity.object("serving-cabundle"), serving_cert(identity));
        own.add(config_volume(&bundle, &bundle), "/etc/tempo-gateway/serving-ca", Access::ReadOnly);
        own.add(
            secret_volume(&certificate, &certificate),
            "/etc/tempo-gateway/serving-cert",
            Access::ReadOnly,
        );
    }
    own.volumes.into_iter().for_each(|volume| pod.push_volume(volume));
    own.mounts.extend(certificates.iter().cloned());
    let mut env: Vec<EnvVar> = container::go_memory_limit(&gateway.resources).into_iter().collect();
    env.extend(common.platform.proxy.iter().cloned());
    let ports = [GATEWAY_HTTP, GATEWAY_INTERNAL, GATEWAY_GRPC];
    let mut all = vec![Container {
        env: some(env),
        volume_mounts: Some(own.mounts),
        ..own_container(common, gateway, args_of_monolith(common, gateway), &ports)
    }];
    all.extend(opa(common, gateway));
    all
}

fn args_of_monolith(common: &Common, gateway: &Gateway) -> Vec<String> {
    let scheme = scheme(&common.platform);
    let mut args = vec![
        "--web.listen=0.0.0.0:8080".to_owned(),
        "--web.internal.listen=0.0.0.0:8081".to_owned(),
        format!("--traces.tenant-header={TENANT_HEADER}"),
        format!("--traces.tempo.endpoint={scheme}://localhost:3200"),
        format!("--traces.write-timeout={}", common.timeout),
        format!("--rbac.config=/etc/tempo-gateway/rbac/{RBAC_KEY}"),
        format!("--tenants.config=/etc/tempo-gateway/tenants/{TENANTS_KEY}"),
        "--log.level=info".to_owned(),
    ];
    args.extend(tls_args(&common.platform));
    args.extend([
        "--grpc.listen=0.0.0.0:8090".to_owned(),
        "--traces.write.otlpgrpc.endpoint=localhost:4317".to_owned(),
        format!("--traces.write.otlphttp.endpoint={scheme}://localhost:4318"),
    ]);
    if common.jaeger.is_some() {
        args.push("--traces.read.endpoint=http://localhost:16686".to_owned());
    }
    args.extend(rbac_args(gateway));
    if has_serving_cert(common) {
        args.extend(serving_args(common, "/etc/tempo-gateway/serving-cert", "/etc/tempo-gateway/serving-ca"));
        args.extend(version_args(&common.platform));
    }
    args
}
