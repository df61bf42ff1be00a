//! The contract of the storage Secret: which keys it must have, and what becomes of them.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::Invalid;
use crate::{
    api::{CredentialMode, SecretType, Storage, StorageTls},
    facts::{Facts, StorageSecretData},
    names::Identity,
};

/// Access to an S3 bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct S3 {
    /// The Secret from which pods get the keys.
    pub(crate) secret: String,
    pub(crate) bucket: String,
    /// `host[:port]`.
    pub(crate) endpoint: String,
    pub(crate) insecure: bool,
    pub(crate) tls: Option<Tls>,
    /// Changes when the credentials do, and tells nothing about them.
    pub(crate) credentials_hash: String,
}

/// TLS beyond the system's own authorities.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tls {
    /// ConfigMap and the key in it.
    pub(crate) ca: Option<(String, String)>,
    /// Secret with `tls.crt` and `tls.key`.
    pub(crate) client: Option<String>,
    pub(crate) min_version: Option<String>,
    pub(crate) cipher_suites: Vec<String>,
}

/// Keys under which a ConfigMap may hold the authority, in order of preference.
const CA_KEYS: [&str; 3] = ["service-ca.crt", "ca.crt", "ca-bundle.crt"];
/// Keys of the Secret with long-lived credentials.
const STATIC_KEYS: [&str; 2] = ["access_key_id", "access_key_secret"];

/// The storage of a stack, if its Secret fulfils the contract.
pub(super) fn resolve(storage: &Storage, facts: &Facts, identity: &Identity) -> Result<S3, Invalid> {
    let name = storage.secret.name.as_str();
    let Some(secret) = &facts.secret else {
        return Err(Invalid::storage(format!("could not fetch storage secret: Secret {name} is missing")));
    };
    if storage.secret.secret_type != SecretType::S3 {
        return Err(Invalid::storage(format!(
            "spec.storage.secret.type: {} is not served yet, expected s3",
            storage.secret.secret_type.as_str()
        )));
    }
    let mode = storage.secret.credential_mode.unwrap_or_else(|| infer_mode(secret));
    if mode != CredentialMode::Static {
        return Err(Invalid::storage(format!(
            "spec.storage.secret.credentialMode: {} is not served yet, expected static with the keys access_key_id and access_key_secret in Secret {name}",
            mode.as_str()
        )));
    }
    if secret.0.contains_key("role_arn") {
        return Err(Invalid::storage(format!(
            "Secret {name}: holds both role_arn and access_key_id, expected long-lived or short-lived credentials"
        )));
    }
    let bucket = text(secret, name, "bucket")?;
    let (secure, endpoint) = endpoint(secret, name)?;
    for key in STATIC_KEYS {
        text(secret, name, key)?;
    }
    let given = storage.tls.clone().unwrap_or_default();
    let wanted = given.enabled.unwrap_or(false);
    Ok(S3 {
        secret: name.to_owned(),
        bucket,
        endpoint,
        insecure: !(secure || wanted),
        tls: wanted.then(|| tls(given, facts)).transpose()?,
        credentials_hash: credentials_hash(secret, identity),
    })
}

/// Without a word on it, the keys decide.
fn infer_mode(secret: &StorageSecretData) -> CredentialMode {
    if secret.0.contains_key("role_arn") && !secret.0.contains_key("access_key_id") {
        CredentialMode::Token
    } else {
        CredentialMode::Static
    }
}

fn text(secret: &StorageSecretData, name: &str, key: &str) -> Result<String, Invalid> {
    let value = secret.0.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        Invalid::storage(format!("Secret {name}: storage secret must contain \"{key}\" field"))
    })
}

/// Whether TLS is used, and `host[:port]`.
fn endpoint(secret: &StorageSecretData, name: &str) -> Result<(bool, String), Invalid> {
    let given = text(secret, name, "endpoint")?;
    let wrong = || {
        Invalid::storage(format!(
            "Secret {name}: \"endpoint\" field of storage secret must be a valid URL such as https://host:port without a path"
        ))
    };
    let (scheme, rest) = given.split_once("://").ok_or_else(wrong)?;
    let secure = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(wrong()),
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
        return Err(wrong());
    }
    Ok((secure, host.to_owned()))
}

fn tls(given: StorageTls, facts: &Facts) -> Result<Tls, Invalid> {
    let ca = match given.ca_name.filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let Some(keys) = &facts.ca_keys else {
                return Err(Invalid::storage(format!(
                    "spec.storage.tls.caName: ConfigMap {name} is missing"
                )));
            };
            let Some(key) = CA_KEYS.iter().find(|key| keys.iter().any(|found| found == *key)) else {
                return Err(Invalid::storage(format!(
                    "spec.storage.tls.caName: CA ConfigMap {name} must contain a 'service-ca.crt', 'ca.crt', or 'ca-bundle.crt' key"
                )));
            };
            Some((name, (*key).to_owned()))
        }
    };
    Ok(Tls {
        ca,
        client: given.cert_name.filter(|name| !name.is_empty()),
        min_version: given.min_version.filter(|version| !version.is_empty()),
        cipher_suites: given.cipher_suites,
    })
}

/// Salted with the stack, so that equal keys of two stacks do not show as equal.
fn credentials_hash(secret: &StorageSecretData, identity: &Identity) -> String {
    let mut hash = Sha256::new();
    hash.update(identity.uid.as_bytes());
    for key in STATIC_KEYS.into_iter().collect::<BTreeSet<_>>() {
        let value = secret.0.get(key).map(Vec::as_slice).unwrap_or_default();
        hash.update(key.as_bytes());
        hash.update(u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(value);
    }
    format!("{:x}", hash.finalize())
}
