//! The ConfigMap: `tempo.yaml` in the types that the workload parses, the frontend's copy, and limits per tenant.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vivace_config::{
    Compaction, CompactionLimits, Compactor, Config, Distributor, Duration, FrontendSearch, FrontendWorker,
    Ingester, IngestionLimits, Lifecycler, Limits, Local, Many, Memberlist, Otlp, OtlpGrpc, OtlpHttp,
    OtlpProtocols, Overrides, Querier, QueryFrontend, ReadLimits, Receivers, S3, Server, Size, Storage,
    Switch, Trace, UsageReport, Wal,
};

use super::ingester;
use crate::{
    names::Identity,
    validate::{Stack, TenantOverrides},
};

/// Key of the configuration of all components but the frontend.
pub(crate) const KEY: &str = "tempo.yaml";
/// Key of the frontend's configuration.
pub(crate) const QUERY_FRONTEND_KEY: &str = "tempo-query-frontend.yaml";
/// Key of the limits per tenant, which are read again while the workloads run.
pub(crate) const OVERRIDES_KEY: &str = "overrides.yaml";
/// Where the storage's certificate authority is mounted.
pub(crate) const STORAGE_CA_PATH: &str = "/var/run/tls/storage/ca";
/// Where the client certificate for the storage is mounted.
pub(crate) const STORAGE_CERT_PATH: &str = "/var/run/tls/storage/cert";

/// `${…}` is filled in by the process, from its pod's environment.
const POD_ADDRESS: &str = "${HASH_RING_INSTANCE_ADDR}";
/// Bytes of the longest message between roles.
const MESSAGE_LIMIT: Size = Size(4_194_304);

/// The text of each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) tempo: String,
    pub(crate) query_frontend: String,
    pub(crate) overrides: String,
    /// Changes with what only a restart makes effective.
    pub(crate) hash: String,
}

/// Renders the files of a stack.
pub(crate) fn render(stack: &Stack) -> Rendered {
    let mut tree = serde_json::to_value(config(stack)).unwrap_or_default();
    if let Some(extra) = &stack.extra_config {
        merge(&mut tree, extra);
    }
    let tempo = serde_yaml::to_string(&tree).unwrap_or_default();
    let overrides = serde_yaml::to_string(&overrides(stack)).unwrap_or_default();
    Rendered {
        hash: format!("{:x}", Sha256::digest(tempo.as_bytes())),
        query_frontend: tempo.clone(),
        tempo,
        overrides,
    }
}

/// The ConfigMap that holds the files.
pub(crate) fn config_map(identity: &Identity, rendered: &Rendered) -> ConfigMap {
    ConfigMap {
        metadata: identity.meta(identity.base(), identity.labels("config")),
        data: Some(BTreeMap::from([
            (KEY.to_owned(), rendered.tempo.clone()),
            (QUERY_FRONTEND_KEY.to_owned(), rendered.query_frontend.clone()),
            (OVERRIDES_KEY.to_owned(), rendered.overrides.clone()),
        ])),
        ..ConfigMap::default()
    }
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

fn config(stack: &Stack) -> Config {
    let identity = &stack.identity;
    let address = || stack.ring.pod_ip.then(|| POD_ADDRESS.to_owned());
    Config {
        compactor: Compactor {
            compaction: Compaction { block_retention: Some(stack.retention), ..Compaction::default() },
            ring: ring(stack, None),
            ..Compactor::default()
        },
        distributor: Distributor {
            receivers: receivers(),
            ring: match address() {
                Some(address) => json!({"kvstore": {"store": "memberlist"}, "instance_addr": address}),
                None => json!({"kvstore": {"store": "memberlist"}}),
            },
            ..Distributor::default()
        },
        ingester: Ingester {
            lifecycler: Lifecycler {
                ring: json!({
                    "kvstore": {"store": "memberlist"},
                    "replication_factor": stack.replication_factor,
                }),
                address: address(),
                enable_inet6: stack.ring.ipv6,
                tokens_file_path: Some("/var/tempo/tokens.json".to_owned()),
                ..Lifecycler::default()
            },
            max_block_duration: Some(Duration::from_secs(600)),
            ..Ingester::default()
        },
        memberlist: Memberlist {
            abort_if_cluster_join_fails: Some(false),
            join_members: Many(vec![identity.gossip()]),
            advertise_addr: address(),
            ..Memberlist::default()
        },
        multitenancy_enabled: Some(stack.multitenancy),
        overrides: global_limits(stack),
        querier: Querier {
            max_concurrent_queries: Some(20),
            frontend_worker: FrontendWorker {
                frontend_address: Some(format!("{}:9095", identity.discovery())),
                ..FrontendWorker::default()
            },
            ..Querier::default()
        },
        query_frontend: QueryFrontend { search: search(stack), ..QueryFrontend::default() },
        server: server(stack),
        storage: storage(stack),
        usage_report: UsageReport { reporting_enabled: Some(false), ..UsageReport::default() },
        ..Config::default()
    }
}

fn ring(stack: &Stack, replication_factor: Option<u32>) -> Value {
    let mut ring = json!({"kvstore": {"store": "memberlist"}});
    if let Some(factor) = replication_factor {
        ring["replication_factor"] = factor.into();
    }
    if let Some(ipv6) = stack.ring.ipv6 {
        ring["enable_inet6"] = ipv6.into();
    }
    ring
}

/// All the peer's receivers. Whatever the workload does not serve, it says at its start.
fn receivers() -> Receivers {
    let endpoint = |port: u16| json!({"endpoint": format!("0.0.0.0:{port}")});
    Receivers {
        jaeger: Switch(Some(json!({"protocols": {
            "thrift_http": endpoint(14268),
            "thrift_binary": endpoint(6832),
            "thrift_compact": endpoint(6831),
            "grpc": endpoint(14250),
        }}))),
        zipkin: Switch(Some(endpoint(9411))),
        otlp: Switch(Some(Otlp {
            protocols: OtlpProtocols {
                grpc: Switch(Some(OtlpGrpc {
                    endpoint: Some("0.0.0.0:4317".to_owned()),
                    ..OtlpGrpc::default()
                })),
                http: Switch(Some(OtlpHttp {
                    endpoint: Some("0.0.0.0:4318".to_owned()),
                    ..OtlpHttp::default()
                })),
            },
        })),
        ..Receivers::default()
    }
}

fn search(stack: &Stack) -> FrontendSearch {
    FrontendSearch {
        concurrent_jobs: Some(2000),
        default_result_limit: Some(stack.search.default_result_limit),
        max_result_limit: Some(stack.search.max_result_limit).filter(|limit| *limit > 0),
        max_duration: Some(stack.search.max_duration),
        max_spans_per_span_set: Some(0),
        ..FrontendSearch::default()
    }
}

fn server(stack: &Stack) -> Server {
    Server {
        // The upload at the end may take what the kubelet grants, less what ending the process takes.
        graceful_shutdown_timeout: Some(Duration::from_secs(u64::from(ingester::GRACE_SECONDS) - 10)),
        grpc_server_max_recv_msg_size: Some(MESSAGE_LIMIT),
        grpc_server_max_send_msg_size: Some(MESSAGE_LIMIT),
        http_listen_port: Some(3200),
        http_server_read_timeout: Some(stack.timeout),
        http_server_write_timeout: Some(stack.timeout),
        log_format: Some("logfmt".to_owned()),
        ..Server::default()
    }
}

fn storage(stack: &Stack) -> Storage {
    let tls = stack.storage.tls.clone().unwrap_or_default();
    let client = |file: &str| tls.client.is_some().then(|| format!("{STORAGE_CERT_PATH}/{file}"));
    Storage {
        trace: Trace {
            backend: Some("s3".to_owned()),
            blocklist_poll: Some(Duration::from_secs(300)),
            s3: S3 {
                endpoint: Some(stack.storage.endpoint.clone()),
                bucket: Some(stack.storage.bucket.clone()),
                insecure: Some(stack.storage.insecure),
                tls_ca_path: tls.ca.as_ref().map(|(_, key)| format!("{STORAGE_CA_PATH}/{key}")),
                tls_cert_path: client("tls.crt"),
                tls_key_path: client("tls.key"),
                tls_min_version: tls.min_version.clone(),
                tls_cipher_suites: (!tls.cipher_suites.is_empty()).then(|| tls.cipher_suites.join(",")),
                ..S3::default()
            },
            local: Local { path: Some("/var/tempo/traces".to_owned()) },
            wal: Wal { path: Some("/var/tempo/wal".to_owned()), ..Wal::default() },
            ..Trace::default()
        },
    }
}

/// The flat notation, which every supported version reads.
fn global_limits(stack: &Stack) -> Overrides {
    let limits = &stack.limits;
    Overrides {
        ingestion_burst_size_bytes: limits.burst_bytes.map(Size),
        ingestion_rate_limit_bytes: limits.rate_bytes.map(Size),
        max_bytes_per_trace: limits.bytes_per_trace.map(Size),
        max_traces_per_user: limits.traces_per_user,
        max_bytes_per_tag_values_query: limits.bytes_per_tag_values.map(Size),
        max_search_duration: limits.search_duration,
        per_tenant_override_config: (!stack.tenants.is_empty()).then(|| format!("/conf/{OVERRIDES_KEY}")),
        ..Overrides::default()
    }
}

fn overrides(stack: &Stack) -> Value {
    if stack.tenants.is_empty() {
        return json!({"overrides": null});
    }
    let tenants: BTreeMap<&str, Limits> =
        stack.tenants.iter().map(|(tenant, set)| (tenant.as_str(), tenant_limits(set))).collect();
    json!({"overrides": tenants})
}

fn tenant_limits(set: &TenantOverrides) -> Limits {
    let limits = &set.limits;
    Limits {
        ingestion: IngestionLimits {
            burst_size_bytes: limits.burst_bytes.map(Size),
            rate_limit_bytes: limits.rate_bytes.map(Size),
            max_traces_per_user: limits.traces_per_user,
            max_bytes_per_trace: limits.bytes_per_trace.map(Size),
            ..IngestionLimits::default()
        },
        read: ReadLimits {
            max_bytes_per_tag_values_query: limits.bytes_per_tag_values.map(Size),
            max_search_duration: limits.search_duration,
            ..ReadLimits::default()
        },
        compaction: CompactionLimits { block_retention: set.retention, ..CompactionLimits::default() },
        ..Limits::default()
    }
}
