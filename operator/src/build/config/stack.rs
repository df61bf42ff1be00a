//! `tempo.yaml` of a `TempoStack`.

use serde_json::{Value, json};

use super::{access, map, overrides, text, tls};
use crate::{
    build::pod::GRACE,
    platform::Feature,
    role::Role,
    validate::{Generator, Stack},
};

/// `${…}` is filled in by the process, from its pod's environment.
const POD_ADDRESS: &str = "${HASH_RING_INSTANCE_ADDR}";
const POD_ZONE: &str = "${INSTANCE_AVAILABILITY_ZONE}";
/// Bytes of the longest message between roles.
const MESSAGE_LIMIT: u64 = 4_194_304;

/// The configuration of all components but the frontend.
pub(super) fn tempo(stack: &Stack) -> Value {
    let address = || stack.ring.pod_ip.then(|| Value::from(POD_ADDRESS));
    let encrypts_grpc = stack.common.platform.has(Feature::GrpcEncryption);
    let grpc_client = |role: Role| {
        let server = stack.common.host(&stack.common.identity.role(role));
        encrypts_grpc
            .then(|| json!({"grpc_client_config": tls::client(&stack.common.platform, Some(&server), true)}))
    };
    let generator = stack.generator.as_ref();
    map([
        ("compactor", Some(compactor(stack))),
        (
            "distributor",
            Some(json!({
                "receivers": receivers(stack),
                "ring": map([("kvstore", Some(memberlist_store())), ("instance_addr", address())]),
            })),
        ),
        ("ingester", Some(ingester(stack, address()))),
        ("memberlist", Some(memberlist(stack, address()))),
        ("multitenancy_enabled", Some(stack.common.multitenancy.into())),
        ("overrides", overrides::global(stack)),
        ("querier", Some(querier(stack))),
        ("query_frontend", Some(frontend(stack))),
        ("internal_server", internal_server(stack)),
        ("server", Some(server(stack))),
        ("storage", Some(storage(stack))),
        ("usage_report", Some(json!({"reporting_enabled": false}))),
        ("ingester_client", grpc_client(Role::Ingester)),
        ("metrics_generator_client", generator.and_then(|_| grpc_client(Role::MetricsGenerator))),
        ("metrics_generator", generator.map(metrics_generator)),
    ])
}

/// The frontend's: only behind the gateway does it ask for certificates, since others have none.
pub(super) fn query_frontend(stack: &Stack) -> Value {
    let mut tree = tempo(stack);
    if stack.common.gateway.is_none()
        && let Some(root) = tree.as_object_mut()
    {
        root.remove("internal_server");
        if let Some(server) = root.get_mut("server").and_then(Value::as_object_mut) {
            server.remove("http_tls_config");
        }
    }
    tree
}

fn memberlist_store() -> Value {
    json!({"store": "memberlist"})
}

fn compactor(stack: &Stack) -> Value {
    json!({
        "compaction": {"block_retention": text(stack.retention)},
        "ring": map([
            ("kvstore", Some(memberlist_store())),
            ("enable_inet6", stack.ring.ipv6.map(Value::from)),
        ]),
    })
}

fn ingester(stack: &Stack, address: Option<Value>) -> Value {
    let zones = !stack.zones.is_empty();
    json!({
        "lifecycler": map([
            ("ring", Some(map([
                ("kvstore", Some(memberlist_store())),
                ("replication_factor", Some(stack.replication_factor.into())),
                ("zone_awareness_enabled", zones.then_some(true.into())),
            ]))),
            ("address", address),
            ("availability_zone", zones.then(|| POD_ZONE.into())),
            ("enable_inet6", stack.ring.ipv6.map(Value::from)),
            ("tokens_file_path", Some("/var/tempo/tokens.json".into())),
        ]),
        "max_block_duration": "10m0s",
    })
}

/// The label keeps stacks apart that hear of each other, as when an address is given to another pod.
fn memberlist(stack: &Stack, address: Option<Value>) -> Value {
    let identity = &stack.common.identity;
    map([
        ("abort_if_cluster_join_fails", Some(false.into())),
        ("join_members", Some(json!([identity.gossip()]))),
        ("advertise_addr", address),
        ("cluster_label", Some(format!("{}/{}", identity.namespace, identity.name).into())),
    ])
}

fn querier(stack: &Stack) -> Value {
    let identity = &stack.common.identity;
    let server = stack.common.host(&identity.role(Role::QueryFrontend));
    let encrypts = stack.common.platform.has(Feature::GrpcEncryption);
    json!({
        "max_concurrent_queries": 20,
        "frontend_worker": map([
            ("frontend_address", Some(format!("{}:9095", identity.discovery()).into())),
            (
                "grpc_client_config",
                encrypts.then(|| tls::client(&stack.common.platform, Some(&server), false)),
            ),
        ]),
    })
}

fn frontend(stack: &Stack) -> Value {
    let search = &stack.search;
    map([
        (
            "search",
            Some(map([
                ("concurrent_jobs", Some(2000.into())),
                ("default_result_limit", Some(search.default_result_limit.into())),
                ("max_result_limit", (search.max_result_limit > 0).then(|| search.max_result_limit.into())),
                ("max_duration", Some(text(search.max_duration))),
                ("max_spans_per_span_set", Some(0.into())),
            ])),
        ),
        ("mcp_server", stack.common.mcp.then(|| json!({"enabled": true}))),
    ])
}

fn internal_server(stack: &Stack) -> Option<Value> {
    let platform = &stack.common.platform;
    platform.has(Feature::HttpEncryption).then(|| {
        json!({
            "enable": true,
            "http_listen_address": "",
            "tls_cipher_suites": platform.tls.suites(),
            "tls_min_version": platform.tls.min_version.long(),
            "http_tls_config": {"cert_file": tls::CERT_FILE, "key_file": tls::KEY_FILE},
        })
    })
}

fn server(stack: &Stack) -> Value {
    let platform = &stack.common.platform;
    let any = super::is_encrypted(platform);
    map([
        // The upload at the end may take what the kubelet grants, less what ending the process takes.
        ("graceful_shutdown_timeout", Some(text(GRACE))),
        ("grpc_server_max_recv_msg_size", Some(MESSAGE_LIMIT.into())),
        ("grpc_server_max_send_msg_size", Some(MESSAGE_LIMIT.into())),
        ("http_listen_port", Some(3200.into())),
        ("http_server_read_timeout", Some(text(stack.common.timeout))),
        ("http_server_write_timeout", Some(text(stack.common.timeout))),
        ("log_format", Some("logfmt".into())),
        ("tls_cipher_suites", any.then(|| platform.tls.suites().into())),
        ("tls_min_version", any.then(|| platform.tls.min_version.long().into())),
        ("grpc_tls_config", platform.has(Feature::GrpcEncryption).then(tls::server)),
        ("http_tls_config", platform.has(Feature::HttpEncryption).then(tls::server)),
    ])
}

fn storage(stack: &Stack) -> Value {
    let [backend, s3, azure, gcs] = access(&stack.storage.access);
    json!({"trace": map([
        backend,
        ("blocklist_poll", Some("5m0s".into())),
        s3,
        azure,
        gcs,
        ("local", Some(json!({"path": "/var/tempo/traces"}))),
        ("wal", Some(json!({"path": "/var/tempo/wal"}))),
    ])})
}

fn metrics_generator(generator: &Generator) -> Value {
    let urls: Vec<Value> = generator.remote_write.iter().map(|url| json!({"url": url})).collect();
    json!({
        "ring": {"kvstore": memberlist_store()},
        "storage": {"path": "/var/tempo/generator/wal", "remote_write": urls},
        "traces_storage": {"path": "/var/tempo/generator/traces"},
    })
}

/// All the peer's receivers, or OTLP alone behind the gateway. Whatever the workload does not serve, it says at its
/// start.
fn receivers(stack: &Stack) -> Value {
    let platform = &stack.common.platform;
    let behind_gateway = stack.common.gateway.is_some();
    let section = |encrypted: Feature| {
        if behind_gateway {
            platform.has(encrypted).then(|| tls::gateway_receiver(platform, tls::joined))
        } else {
            stack.receiver_tls.as_ref().map(|tls| tls::receiver(tls, "", tls::joined))
        }
    };
    let endpoint = |port: u16, tls: Option<Value>| {
        map([("endpoint", Some(format!("0.0.0.0:{port}").into())), ("tls", tls)])
    };
    let others = !behind_gateway;
    map([
        (
            "jaeger",
            others.then(|| {
                json!({"protocols": {
                    "thrift_http": endpoint(14268, section(Feature::HttpEncryption)),
                    "thrift_binary": endpoint(6832, None),
                    "thrift_compact": endpoint(6831, None),
                    "grpc": endpoint(14250, section(Feature::GrpcEncryption)),
                }})
            }),
        ),
        ("zipkin", others.then(|| endpoint(9411, section(Feature::HttpEncryption)))),
        (
            "otlp",
            Some(json!({"protocols": {
                "grpc": endpoint(4317, section(Feature::GrpcEncryption)),
                "http": endpoint(4318, section(Feature::HttpEncryption)),
            }})),
        ),
    ])
}
