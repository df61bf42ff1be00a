//! Sections of `tempo.yaml` about TLS inside a stack and at receivers.

use serde_json::{Value, json};

use super::{RECEIVER_CA_PATH, RECEIVER_CERT_PATH, map};
use crate::{
    platform::{Platform, TlsVersion},
    validate::ReceiverTls,
};

/// Where the stack's authorities are mounted.
pub(crate) const CA_PATH: &str = "/var/run/ca";
/// Where a pod's own certificate is mounted.
pub(crate) const SERVER_PATH: &str = "/var/run/tls/server";
pub(crate) const CA_FILE: &str = "/var/run/ca/service-ca.crt";
pub(crate) const CERT_FILE: &str = "/var/run/tls/server/tls.crt";
pub(crate) const KEY_FILE: &str = "/var/run/tls/server/tls.key";

/// TLS of a client inside a stack.
pub(super) fn client(platform: &Platform, server: Option<&str>, says_skip: bool) -> Value {
    map([
        ("tls_enabled", Some(true.into())),
        ("tls_cert_path", Some(CERT_FILE.into())),
        ("tls_key_path", Some(KEY_FILE.into())),
        ("tls_ca_path", Some(CA_FILE.into())),
        ("tls_server_name", server.map(Value::from)),
        ("tls_insecure_skip_verify", says_skip.then_some(false.into())),
        ("tls_cipher_suites", Some(platform.tls.suites().into())),
        ("tls_min_version", Some(platform.tls.min_version.long().into())),
    ])
}

/// TLS of a listener inside a stack: who comes has to show a certificate too.
pub(super) fn server() -> Value {
    json!({
        "cert_file": CERT_FILE,
        "key_file": KEY_FILE,
        "client_ca_file": CA_FILE,
        "client_auth_type": "RequireAndVerifyClientCert",
    })
}

/// Joins cipher suites, or does not: the peer writes a list for one kind and text for the other.
pub(super) type Suites = fn(&[String]) -> Value;

pub(super) fn joined(suites: &[String]) -> Value {
    suites.join(",").into()
}

pub(super) fn listed(suites: &[String]) -> Value {
    suites.into()
}

/// TLS of a receiver that only the gateway reaches.
pub(super) fn gateway_receiver(platform: &Platform, suites: Suites) -> Value {
    receiver_section(
        CERT_FILE,
        KEY_FILE,
        Some(CA_FILE.to_owned()),
        platform.tls.min_version,
        suites(&platform.tls.ciphers),
    )
}

/// TLS of a receiver, as the resource has it; `below` is a directory below those of receivers.
pub(super) fn receiver(tls: &ReceiverTls, below: &str, suites: Suites) -> Value {
    let ca = tls.ca.as_ref().map(|(_, key)| format!("{RECEIVER_CA_PATH}{below}/{key}"));
    let file = |name: &str| format!("{RECEIVER_CERT_PATH}{below}/{name}");
    receiver_section(&file("tls.crt"), &file("tls.key"), ca, tls.min_version, suites(&tls.ciphers))
}

fn receiver_section(cert: &str, key: &str, ca: Option<String>, version: TlsVersion, suites: Value) -> Value {
    map([
        ("client_ca_file", ca.map(Value::from)),
        ("cert_file", Some(cert.into())),
        ("key_file", Some(key.into())),
        ("min_version", Some(version.short().into())),
        ("cipher_suites", Some(suites)),
    ])
}
