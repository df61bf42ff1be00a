//! Certificates and Issuers for cert-manager, and the bundle with the authorities that pods trust.
//!
//! cert-manager writes the very Secrets that the operator would. What it does not make is the ConfigMap with the authorities: that is
//! put together from those Secrets, and keeps an authority for as long as certificates of its may be around.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::certificates::{BUNDLE_KEY, Certificates};
use crate::{
    kind::Kind,
    names::Identity,
    platform::{CertManager, Signer},
    validate::Common,
};

/// Names who signs.
fn reference(kind: &str, name: &str) -> Value {
    json!({"group": "cert-manager.io", "kind": kind, "name": name})
}

/// Everything that cert-manager needs to know of a stack.
pub(super) fn objects(common: &Common, wanted: &Certificates) -> Vec<(Kind, Value)> {
    let Some(CertManager { signer, rotation }) = &common.platform.cert_manager else { return Vec::new() };
    let identity = &common.identity;
    let mut all = Vec::new();
    let signer = match signer {
        Signer::Given { kind, name } => reference(kind, name),
        Signer::Own => {
            let itself = identity.object("self-signed");
            all.push(issuer(identity, &itself, &json!({"selfSigned": {}})));
            let authority = json!({
                "isCA": true,
                "commonName": wanted.authority,
                "usages": ["cert sign", "crl sign", "digital signature"],
                "issuerRef": reference("Issuer", &itself),
            });
            all.push(certificate(identity, &wanted.authority, authority, rotation.of_authority()));
            all.push(issuer(identity, &wanted.authority, &json!({"ca": {"secretName": wanted.authority}})));
            reference("Issuer", &wanted.authority)
        }
    };
    for leaf in &wanted.leaves {
        let spec = json!({
            "dnsNames": leaf.hostnames,
            "usages": ["digital signature", "server auth", "client auth"],
            "issuerRef": signer,
        });
        all.push(certificate(identity, &leaf.secret, spec, rotation.of_certificate()));
    }
    all
}

fn issuer(identity: &Identity, name: &str, spec: &Value) -> (Kind, Value) {
    object(identity, Kind::Issuer, name, spec)
}

/// A certificate into the Secret of its name, which the operator finds by its labels.
fn certificate(
    identity: &Identity,
    name: &str,
    mut spec: Value,
    (validity, refresh): (u64, u64),
) -> (Kind, Value) {
    spec["secretName"] = name.into();
    spec["secretTemplate"] = json!({"labels": identity.certificate_labels()});
    spec["privateKey"] = json!({"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"});
    spec["duration"] = duration(validity).into();
    spec["renewBefore"] = duration(validity.saturating_sub(refresh)).into();
    object(identity, Kind::Certificate, name, &spec)
}

/// As Go writes it, so that what the API server keeps is what was sent.
fn duration(seconds: u64) -> String {
    format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn object(identity: &Identity, kind: Kind, name: &str, spec: &Value) -> (Kind, Value) {
    let object = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": kind.as_str(),
        "metadata": identity.meta(name.to_owned(), identity.certificate_labels()),
        "spec": spec,
    });
    (kind, object)
}

/// The authorities, once there is one: pods wait for the ConfigMap.
pub(super) fn bundle(common: &Common, wanted: &Certificates) -> Option<ConfigMap> {
    let text = common.trusted.as_ref()?;
    let identity = &common.identity;
    Some(ConfigMap {
        metadata: identity.meta(wanted.bundle.clone(), identity.certificate_labels()),
        data: Some([(BUNDLE_KEY.to_owned(), text.clone())].into()),
        ..ConfigMap::default()
    })
}
