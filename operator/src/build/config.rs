//! The ConfigMaps: `tempo.yaml` in the shape that the workload reads, the frontend's copy, the bridge to Jaeger's,
//! and limits per tenant.

mod monolith;
mod overrides;
mod stack;
mod tls;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vivace_config::Duration;

pub(crate) use tls::{CA_FILE, CA_PATH, CERT_FILE, KEY_FILE, SERVER_PATH};

use crate::{
    names::Identity,
    platform::{Feature, Platform},
    role::Role,
    validate::{Access, AzureCredentials, Common, Jaeger, Monolith, S3, Stack},
};

/// Key of the configuration of all components but the frontend.
pub(crate) const KEY: &str = "tempo.yaml";
/// Key of the frontend's configuration.
pub(crate) const QUERY_FRONTEND_KEY: &str = "tempo-query-frontend.yaml";
/// Key of the limits per tenant, which are read again while the workloads run.
pub(crate) const OVERRIDES_KEY: &str = "overrides.yaml";
/// Key of the configuration of the bridge to Jaeger.
pub(crate) const TEMPO_QUERY_KEY: &str = "tempo-query.yaml";
/// Where the storage's certificate authority is mounted.
pub(crate) const STORAGE_CA_PATH: &str = "/var/run/tls/storage/ca";
/// Where the client certificate for the storage is mounted.
pub(crate) const STORAGE_CERT_PATH: &str = "/var/run/tls/storage/cert";
/// Where the authority of a receiver's clients is mounted.
pub(crate) const RECEIVER_CA_PATH: &str = "/var/run/ca-receiver";
/// Where the certificate of a receiver is mounted.
pub(crate) const RECEIVER_CERT_PATH: &str = "/var/run/tls/receiver";
/// In which requests carry their tenant.
pub(crate) const TENANT_HEADER: &str = "x-scope-orgid";

/// The files of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) files: BTreeMap<String, String>,
    /// Changes with what only a restart makes effective.
    pub(crate) hash: String,
    /// As `hash`, for the bridge to Jaeger.
    pub(crate) tempo_query_hash: Option<String>,
}

/// Renders the files of a stack.
pub(crate) fn render(stack: &Stack) -> Rendered {
    let extra = stack.common.extra_config.as_ref();
    let tempo = tempo_yaml(stack, extra);
    let frontend = yaml(&with_extra(stack::query_frontend(stack), extra));
    let mut files = BTreeMap::from([
        (QUERY_FRONTEND_KEY.to_owned(), frontend),
        (OVERRIDES_KEY.to_owned(), yaml(&overrides::file(stack))),
    ]);
    let server = stack.common.host(&stack.common.identity.role(Role::QueryFrontend));
    rendered(files_with(&mut files, &stack.common, tempo, Some(&server)))
}

/// Renders the files of a monolithic stack.
pub(crate) fn render_monolithic(monolith: &Monolith) -> Rendered {
    let tempo = monolithic_yaml(monolith, monolith.common.extra_config.as_ref());
    rendered(files_with(&mut BTreeMap::new(), &monolith.common, tempo, None))
}

fn files_with(
    files: &mut BTreeMap<String, String>,
    common: &Common,
    tempo: String,
    server: Option<&str>,
) -> BTreeMap<String, String> {
    files.insert(KEY.to_owned(), tempo);
    if let Some(jaeger) = &common.jaeger {
        files.insert(TEMPO_QUERY_KEY.to_owned(), yaml(&tempo_query(jaeger, common, server)));
    }
    std::mem::take(files)
}

fn rendered(files: BTreeMap<String, String>) -> Rendered {
    let hash = |key: &str| files.get(key).map(|text| format!("{:x}", Sha256::digest(text.as_bytes())));
    Rendered { hash: hash(KEY).unwrap_or_default(), tempo_query_hash: hash(TEMPO_QUERY_KEY), files }
}

/// `tempo.yaml` of a stack with an extra configuration laid over it.
pub(crate) fn tempo_yaml(stack: &Stack, extra: Option<&Value>) -> String {
    yaml(&with_extra(stack::tempo(stack), extra))
}

/// `tempo.yaml` of a monolithic stack with an extra configuration laid over it.
pub(crate) fn monolithic_yaml(monolith: &Monolith, extra: Option<&Value>) -> String {
    yaml(&with_extra(monolith::tempo(monolith), extra))
}

/// The ConfigMap that holds the files.
pub(crate) fn config_map(identity: &Identity, name: String, rendered: &Rendered) -> ConfigMap {
    ConfigMap {
        metadata: identity.meta(name, identity.labels("config")),
        data: Some(rendered.files.clone()),
        ..ConfigMap::default()
    }
}

fn yaml(tree: &Value) -> String {
    serde_yaml::to_string(tree).unwrap_or_default()
}

fn with_extra(mut tree: Value, extra: Option<&Value>) -> Value {
    if let Some(extra) = extra {
        merge(&mut tree, extra);
    }
    tree
}

/// Lays one tree over another: maps are merged, everything else is replaced.
pub(crate) fn merge(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                match below.get_mut(key) {
                    Some(found) => merge(found, value),
                    None => {
                        below.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (below, above) => *below = above.clone(),
    }
}

/// A map without the keys that have no value.
fn map<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let there = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

fn text(duration: Duration) -> Value {
    duration.to_string().into()
}

/// `storage.trace` but for the local directories.
fn access(access: &Access) -> [(&'static str, Option<Value>); 4] {
    let (backend, s3, azure, gcs) = match access {
        Access::S3(bucket) => ("s3", Some(s3(bucket)), None, None),
        Access::Azure { container, credentials } => {
            let federated = matches!(credentials, AzureCredentials::Token { .. }).then_some(true.into());
            let managed = matches!(credentials, AzureCredentials::Ambient).then_some(true.into());
            let azure = map([
                ("container_name", Some(container.clone().into())),
                ("use_federated_token", federated),
                ("use_managed_identity", managed),
            ]);
            ("azure", None, Some(azure), None)
        }
        Access::Gcs { bucket, .. } => ("gcs", None, None, Some(json!({"bucket_name": bucket}))),
    };
    [("backend", Some(backend.into())), ("s3", s3), ("azure", azure), ("gcs", gcs)]
}

fn s3(bucket: &S3) -> Value {
    let tls = bucket.tls.clone();
    let client = |file: &str| {
        let there = tls.as_ref().is_some_and(|tls| tls.client.is_some());
        there.then(|| Value::from(format!("{STORAGE_CERT_PATH}/{file}")))
    };
    let ca = tls.as_ref().and_then(|tls| tls.ca.as_ref());
    map([
        ("endpoint", Some(bucket.endpoint.clone().into())),
        ("bucket", Some(bucket.bucket.clone().into())),
        ("insecure", Some(bucket.insecure.into())),
        ("region", bucket.region.clone().map(Value::from)),
        ("tls_ca_path", ca.map(|(_, key)| format!("{STORAGE_CA_PATH}/{key}").into())),
        ("tls_cert_path", client("tls.crt")),
        ("tls_key_path", client("tls.key")),
        ("tls_min_version", tls.as_ref().map(|tls| tls.min_version.clone().into())),
        (
            "tls_cipher_suites",
            tls.as_ref()
                .filter(|tls| !tls.cipher_suites.is_empty())
                .map(|tls| tls.cipher_suites.join(",").into()),
        ),
    ])
}

/// What the bridge to Jaeger is told. `server` is the name in the certificate of the stack, where it is not its own
/// pod that it asks.
fn tempo_query(jaeger: &Jaeger, common: &Common, server: Option<&str>) -> Value {
    let mut tree = json!({
        "address": "0.0.0.0:7777",
        "backend": "localhost:3200",
        "tenant_header_key": TENANT_HEADER,
        "services_query_duration": text(jaeger.services_query_duration),
        "find_traces_concurrent_requests": jaeger.concurrent_requests,
    });
    if common.gateway.is_some() && common.platform.has(Feature::HttpEncryption) {
        merge(&mut tree, &tls::client(&common.platform, server, true));
    }
    tree
}

/// Whether connections inside a stack are by TLS at all.
pub(crate) fn is_encrypted(platform: &Platform) -> bool {
    platform.has(Feature::HttpEncryption) || platform.has(Feature::GrpcEncryption)
}
