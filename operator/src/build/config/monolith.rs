//! `tempo.yaml` of a `TempoMonolithic`.

use serde_json::{Value, json};

use super::{access, map, text, tls};
use crate::{
    build::pod::GRACE,
    platform::Feature,
    validate::{Home, Monolith, Receiver},
};

pub(super) fn tempo(monolith: &Monolith) -> Value {
    let common = &monolith.common;
    map([
        ("multitenancy_enabled", common.gateway.is_some().then_some(true.into())),
        ("server", Some(server(monolith))),
        ("internal_server", Some(json!({"enable": true, "http_listen_address": "0.0.0.0"}))),
        ("storage", Some(json!({"trace": storage(&monolith.home)}))),
        ("distributor", Some(json!({"receivers": {"otlp": {"protocols": receivers(monolith)}}}))),
        ("usage_report", Some(json!({"reporting_enabled": false}))),
        ("query_frontend", common.mcp.then(|| json!({"mcp_server": {"enabled": true}}))),
    ])
}

fn server(monolith: &Monolith) -> Value {
    let common = &monolith.common;
    let behind_gateway = common.gateway.is_some();
    let tls = behind_gateway && common.platform.has(Feature::HttpEncryption);
    map([
        ("graceful_shutdown_timeout", Some(text(GRACE))),
        ("http_listen_address", behind_gateway.then(|| "0.0.0.0".into())),
        ("http_listen_port", Some(3200.into())),
        ("grpc_listen_address", behind_gateway.then(|| "localhost".into())),
        ("http_server_read_timeout", Some(text(common.timeout))),
        ("http_server_write_timeout", Some(text(common.timeout))),
        ("tls_min_version", tls.then(|| common.platform.tls.min_version.long().into())),
        ("tls_cipher_suites", tls.then(|| common.platform.tls.suites().into())),
        ("http_tls_config", tls.then(tls::server)),
    ])
}

fn storage(home: &Home) -> Value {
    let wal = ("wal", Some(json!({"path": "/var/tempo/wal"})));
    match home {
        Home::Memory(_) | Home::Volume(_) => map([
            ("backend", Some("local".into())),
            wal,
            ("local", Some(json!({"path": "/var/tempo/blocks"}))),
        ]),
        Home::Objects(objects, _) => {
            let [backend, s3, azure, gcs] = access(&objects.access);
            map([backend, wal, s3, azure, gcs])
        }
    }
}

/// Behind the gateway, only it reaches them: by the pod's own address and with a certificate of the stack.
fn receivers(monolith: &Monolith) -> Value {
    let common = &monolith.common;
    if common.gateway.is_some() {
        let tls = |feature| {
            common.platform.has(feature).then(|| tls::gateway_receiver(&common.platform, tls::listed))
        };
        return json!({
            "grpc": map([("tls", tls(Feature::GrpcEncryption))]),
            "http": map([("tls", tls(Feature::HttpEncryption)), ("endpoint", Some("localhost:4318".into()))]),
        });
    }
    let protocol = |receiver: &Receiver, below: &str, port: u16| {
        receiver.is_on().then(|| {
            map([
                ("endpoint", Some(format!("0.0.0.0:{port}").into())),
                ("tls", receiver.tls().map(|tls| tls::receiver(tls, below, tls::listed))),
            ])
        })
    };
    map([
        ("grpc", protocol(&monolith.receivers.grpc, "/grpc", 4317)),
        ("http", protocol(&monolith.receivers.http, "/http", 4318)),
    ])
}
