//! TLS of receivers.

use super::{Invalid, said, storage};
use crate::{
    api::ServerTls,
    facts::Facts,
    platform::{Feature, Platform, TlsVersion},
};

/// TLS of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceiverTls {
    /// Secret with `tls.crt` and `tls.key`.
    pub(crate) secret: String,
    /// OpenShift makes the Secret, for the Service that says so.
    pub(crate) is_serving_cert: bool,
    /// ConfigMap with the authority of clients' certificates, and the key in it.
    pub(crate) ca: Option<(String, String)>,
    pub(crate) min_version: TlsVersion,
    pub(crate) ciphers: Vec<String>,
}

/// What a receiver shall have, `None` for no TLS. `serving_cert` is the Secret that OpenShift would make.
pub(super) fn resolve(
    field: &str,
    given: Option<&ServerTls>,
    serving_cert: &str,
    facts: &Facts,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<Option<ReceiverTls>, Invalid> {
    let Some(given) = given.filter(|tls| tls.enabled == Some(true)) else { return Ok(None) };
    let certificate = said(given.cert_name.as_ref());
    if certificate.is_none() && !platform.has(Feature::ServingCerts) {
        return Err(Invalid::spec(format!(
            "{field}.certName: the Secret with the certificate has to be named when TLS is enabled"
        )));
    }
    if let Some(name) = certificate.as_ref().filter(|name| !facts.secrets.contains_key(*name)) {
        warnings.push(format!("{field}.certName: Secret {name} is missing, and pods wait for it"));
    }
    let ca = said(given.ca_name.as_ref()).map(|name| match storage::authority(&name, facts) {
        Ok(key) => (name, key),
        Err(problem) => {
            warnings.push(format!("{field}.caName: {problem}, and pods wait for it"));
            (name, storage::CA_KEYS[0].to_owned())
        }
    });
    let min_version = match said(given.min_version.as_ref()) {
        None => platform.tls.min_version,
        Some(text) => TlsVersion::parse(&text).ok_or_else(|| {
            Invalid::spec(format!("{field}.minVersion: `{text}`, expected one such as VersionTLS12 or 1.2"))
        })?,
    };
    let ciphers = if given.cipher_suites.is_empty() {
        platform.tls.ciphers.clone()
    } else {
        given.cipher_suites.clone()
    };
    Ok(Some(ReceiverTls {
        is_serving_cert: certificate.is_none(),
        secret: certificate.unwrap_or_else(|| serving_cert.to_owned()),
        ca,
        min_version,
        ciphers,
    }))
}
