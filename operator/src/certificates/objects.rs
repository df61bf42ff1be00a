//! Names, keys and annotations of the objects: those of Grafana's operator, so that either can take over from the
//! other.

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    Flaw, Wanted,
    material::{Cert, Pair},
    time,
};

/// The certificate in a Secret, with who signed it behind it.
pub(super) const CERT: &str = "tls.crt";
/// Its key.
pub(super) const KEY: &str = "tls.key";

const NOT_BEFORE: &str = "tempo.grafana.com/certificate-not-before";
const NOT_AFTER: &str = "tempo.grafana.com/certificate-not-after";
const ISSUER: &str = "tempo.grafana.com/certificate-issuer";
const HOSTNAMES: &str = "tempo.grafana.com/certificate-hostnames";

impl Wanted {
    /// How the names of the stack's authorities begin; the time of their making follows.
    pub(super) fn authority_prefix(&self) -> String {
        format!("{}_{}@", self.namespace, self.authority)
    }
}

pub(super) fn meta(wanted: &Wanted, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(wanted.namespace.clone()),
        labels: Some(wanted.labels.clone()),
        owner_references: Some(wanted.owners.clone()).filter(|owners| !owners.is_empty()),
        ..ObjectMeta::default()
    }
}

/// What stands in a Secret at two of its keys.
pub(super) fn pair(secret: &Secret, cert: &'static str, key: &'static str) -> Result<Pair, Flaw> {
    let data = |name: &'static str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name));
        bytes.map(|ByteString(bytes)| (name, bytes.as_slice())).ok_or(Flaw::Absent(name))
    };
    Pair::parse(data(cert)?, data(key)?)
}

pub(super) fn secret(
    wanted: &Wanted,
    name: String,
    cert: &Cert,
    data: Vec<(&str, Vec<u8>)>,
    existing: Option<&Secret>,
) -> Secret {
    let mut metadata = meta(wanted, name);
    let mut annotations = vec![
        (NOT_BEFORE, time(cert.not_before).to_string()),
        (NOT_AFTER, time(cert.not_after).to_string()),
        (ISSUER, cert.issuer.clone()),
    ];
    if !cert.is_authority {
        let names: Vec<&str> = cert.hostnames.iter().map(String::as_str).collect();
        annotations.push((HOSTNAMES, names.join(",")));
    }
    let annotations = annotations.into_iter().map(|(key, value)| (key.to_owned(), value));
    metadata.annotations = Some(annotations.collect());
    // The type cannot be changed: what stands there stays.
    let kind = existing.and_then(|secret| secret.type_.clone());
    Secret {
        metadata,
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect()),
        type_: Some(kind.unwrap_or_else(|| "kubernetes.io/tls".to_owned())),
        ..Secret::default()
    }
}
