//! Which certificates a stack has, and where its pods find them. Made and renewed elsewhere; here are the names.

use k8s_openapi::api::core::v1::{Volume, VolumeMount};

use super::{
    config::{CA_PATH, SERVER_PATH},
    container::{Access, config_volume, mount, secret_volume},
};
use crate::{
    names::{Identity, Owner},
    platform::{Feature, Platform},
    role::Role,
};

/// Key of the bundle with all authorities that are valid.
pub(crate) const BUNDLE_KEY: &str = "service-ca.crt";
/// Annotation of a certificate's Secret that lists the names it is for.
#[cfg_attr(not(test), expect(dead_code, reason = "for whoever makes certificates"))]
pub(crate) const HOSTNAMES: &str = "tempo.grafana.com/certificate-hostnames";

/// The certificates of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// Secret of the authority.
    pub(crate) authority: String,
    /// ConfigMap with all authorities that are valid.
    pub(crate) bundle: String,
    pub(crate) leaves: Vec<Leaf>,
}

/// A certificate for servers and clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Secret with `tls.crt` and `tls.key`.
    pub(crate) secret: String,
    /// Names it is for, in order.
    pub(crate) hostnames: Vec<String>,
}

/// The certificates that are made for a stack, by the operator or by cert-manager; `None` where others make them, or nobody
/// needs any.
pub(crate) fn needed(identity: &Identity, platform: &Platform) -> Option<Certificates> {
    let encrypts = super::config::is_encrypted(platform);
    let are_made = platform.has(Feature::BuiltInCertificates) || platform.cert_manager.is_some();
    if !(encrypts && are_made) {
        return None;
    }
    let leaf = |service: String, secret: String| Leaf {
        hostnames: vec![
            "localhost".to_owned(),
            format!("{service}.{}.svc", identity.namespace),
            identity.host(&service, &platform.cluster_domain),
        ],
        secret,
    };
    let leaves = match identity.owner {
        Owner::TempoStack => {
            Role::ALL.map(|role| leaf(identity.role(role), secret(identity, Some(role)))).to_vec()
        }
        Owner::TempoMonolithic => vec![leaf(identity.monolith(), secret(identity, None))],
    };
    Some(Certificates { authority: identity.object("signing-ca"), bundle: bundle(identity), leaves })
}

/// Name of the ConfigMap with the authorities.
pub(super) fn bundle(identity: &Identity) -> String {
    identity.object("ca-bundle")
}

/// Name of the Secret with the certificate of a component, or of a monolithic stack.
pub(super) fn secret(identity: &Identity, role: Option<Role>) -> String {
    match role {
        Some(role) => identity.object(&format!("{}-mtls", role.as_str())),
        None => identity.object("mtls"),
    }
}

/// Volumes of the pods that have this certificate, and where every container mounts them.
pub(super) fn volumes(identity: &Identity, role: Option<Role>) -> ([Volume; 2], [VolumeMount; 2]) {
    let (bundle, secret) = (bundle(identity), secret(identity, role));
    (
        [config_volume(&bundle, &bundle), secret_volume(&secret, &secret)],
        [mount(&bundle, CA_PATH, Access::Default), mount(&secret, SERVER_PATH, Access::Default)],
    )
}
