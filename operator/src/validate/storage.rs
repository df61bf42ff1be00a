//! The contract of the storage Secret: which keys it must have, and what becomes of them.

use serde_json::Value;

use super::{Invalid, said};
use crate::{
    api::{CredentialMode, SecretType, StorageTls},
    facts::{Contents, Facts},
    names::Identity,
    platform::Platform,
};

/// Object storage, and how it is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ObjectStorage {
    /// The Secret from which pods get what they must not read in a ConfigMap.
    pub(crate) secret: String,
    pub(crate) access: Access,
    /// Changes when credentials or certificates do, and tells nothing about them.
    pub(crate) hash: String,
}

/// Kinds of object storage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Access {
    S3(S3),
    Azure { container: String, credentials: AzureCredentials },
    Gcs { bucket: String, credentials: GcsCredentials },
}

/// An S3 bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    /// `host[:port]`.
    pub(crate) endpoint: String,
    pub(crate) insecure: bool,
    /// Where the endpoint does not say it.
    pub(crate) region: Option<String>,
    pub(crate) tls: Option<Tls>,
    pub(crate) credentials: S3Credentials,
}

/// Who a pod is to S3.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum S3Credentials {
    /// Keys of the Secret.
    Keys,
    /// A role for the ServiceAccount.
    Role { arn: String },
    /// A role, by OpenShift's Cloud Credential Operator.
    CloudCredentials { arn: String, region: String },
    /// Whatever the provider's own chain finds.
    Ambient,
}

/// Who a pod is to Azure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AzureCredentials {
    Key,
    Token { client: String, tenant: String, audience: String },
    Ambient,
}

/// Who a pod is to Google.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GcsCredentials {
    Key,
    Token { audience: String },
    Ambient,
}

/// TLS beyond the system's own authorities.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tls {
    /// ConfigMap and the key in it.
    pub(crate) ca: Option<(String, String)>,
    /// Secret with `tls.crt` and `tls.key`.
    pub(crate) client: Option<String>,
    pub(crate) min_version: String,
    pub(crate) cipher_suites: Vec<String>,
}

/// What a resource says of its object storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) kind: SecretType,
    pub(super) secret: &'a str,
    pub(super) mode: Option<CredentialMode>,
    pub(super) tls: Option<&'a StorageTls>,
    /// Of the Secret's name, and of the TLS section, in the resource.
    pub(super) fields: [&'static str; 2],
}

/// Keys under which a ConfigMap may hold the authority, in order of preference.
pub(super) const CA_KEYS: [&str; 3] = ["service-ca.crt", "ca.crt", "ca-bundle.crt"];
/// Where a pod finds the token by which it is known to the provider.
pub(crate) const TOKEN_FILE: &str = "/var/run/secrets/storage/serviceaccount/token";

/// A Secret with the means to complain about it.
struct Keys<'a> {
    field: &'static str,
    name: &'a str,
    contents: &'a Contents,
}

impl Keys<'_> {
    fn has(&self, key: &str) -> bool {
        self.contents.0.contains_key(key)
    }

    fn text(&self, key: &str) -> Result<String, Invalid> {
        self.contents
            .text(key)
            .ok_or_else(|| self.wrong(format_args!("storage secret must contain \"{key}\" field")))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Invalid {
        Invalid::storage(format!("{}: Secret {}: {what}", self.field, self.name))
    }
}

/// The storage of a stack, if its Secret fulfils the contract.
pub(super) fn resolve(
    wanted: Wanted<'_>,
    facts: &Facts,
    identity: &Identity,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<ObjectStorage, Invalid> {
    let Wanted { kind, secret: name, mode, tls, fields: [field, tls_field] } = wanted;
    if name.is_empty() {
        return Err(Invalid::storage(format!("{field}: please specify a storage secret")));
    }
    if kind != SecretType::S3 {
        refuse_tls(tls, tls_field, kind)?;
    }
    let Some(contents) = facts.secrets.get(name) else {
        return Err(Invalid::storage(format!(
            "{field}: could not fetch storage secret: Secret {name} is missing"
        )));
    };
    let keys = Keys { field, name, contents };
    let access = match kind {
        SecretType::S3 => Access::S3(s3(&keys, mode, platform, |https| {
            resolve_tls(tls.filter(|tls| is_on(tls, https)), tls_field, facts, platform, warnings)
        })?),
        SecretType::Azure => {
            Access::Azure { container: keys.text("container")?, credentials: azure(&keys, mode)? }
        }
        SecretType::Gcs => Access::Gcs { bucket: keys.text("bucketname")?, credentials: gcs(&keys, mode)? },
    };
    let (ca, client) = match &access {
        Access::S3(S3 { tls: Some(tls), .. }) => (tls.ca.as_ref(), tls.client.as_deref()),
        _ => (None, None),
    };
    let secrets: Vec<&str> = std::iter::once(name).chain(client).collect();
    let config_maps: Vec<&str> = ca.iter().map(|(name, _)| name.as_str()).collect();
    Ok(ObjectStorage {
        hash: facts.digest(&identity.uid, &secrets, &config_maps).unwrap_or_default(),
        secret: name.to_owned(),
        access,
    })
}

/// Certificates that are named for an endpoint by TLS are used, whether or not `enabled` says so too.
fn is_on(tls: &StorageTls, https: bool) -> bool {
    tls.enabled == Some(true)
        || (https && (said(tls.ca_name.as_ref()).is_some() || said(tls.cert_name.as_ref()).is_some()))
}

fn refuse_tls(tls: Option<&StorageTls>, field: &str, kind: SecretType) -> Result<(), Invalid> {
    let tls = tls.cloned().unwrap_or_default();
    let set = if tls.enabled == Some(true) {
        "enabled"
    } else if said(tls.ca_name.as_ref()).is_some() {
        "caName"
    } else {
        return Ok(());
    };
    Err(Invalid::storage(format!(
        "{field}.{set}: custom TLS settings are for storage of type s3, not for {}",
        kind.as_str()
    )))
}

fn s3(
    keys: &Keys<'_>,
    mode: Option<CredentialMode>,
    platform: &Platform,
    tls: impl FnOnce(bool) -> Result<Option<Tls>, Invalid>,
) -> Result<S3, Invalid> {
    let long = keys.has("access_key_id") || keys.has("access_key_secret");
    let mode = match mode {
        Some(mode) => mode,
        None if long && keys.has("role_arn") => {
            return Err(keys.wrong(
                "holds both role_arn and access_key_id, expected long-lived or short-lived credentials",
            ));
        }
        None if keys.has("role_arn") => CredentialMode::Token,
        None if platform.role_arn.is_some() && !long => CredentialMode::TokenCco,
        None => CredentialMode::Static,
    };
    let bucket = keys.text("bucket")?;
    let (credentials, given) = match mode {
        CredentialMode::Static => {
            let endpoint = keys.text("endpoint")?;
            keys.text("access_key_id")?;
            keys.text("access_key_secret")?;
            (S3Credentials::Keys, Some(endpoint))
        }
        CredentialMode::Token => {
            keys.text("region")?;
            (S3Credentials::Role { arn: keys.text("role_arn")? }, keys.contents.text("endpoint"))
        }
        CredentialMode::TokenCco => {
            let Some(arn) = platform.role_arn.clone() else {
                return Err(keys.wrong("token-cco needs the operator's environment variable ROLEARN"));
            };
            let region = keys.text("region")?;
            (S3Credentials::CloudCredentials { arn, region }, keys.contents.text("endpoint"))
        }
        CredentialMode::DefaultChain | CredentialMode::PodIdentity => {
            let endpoint = keys.contents.text("endpoint");
            if endpoint.is_none() {
                keys.text("region")?;
            }
            (S3Credentials::Ambient, endpoint)
        }
    };
    let region = keys.contents.text("region");
    let (secure, endpoint) = match &given {
        Some(given) => endpoint(keys, given)?,
        None => (true, format!("s3.{}", region_host(region.as_deref().unwrap_or_default()))),
    };
    let tls = tls(secure)?;
    Ok(S3 {
        bucket,
        endpoint,
        insecure: !secure && tls.is_none(),
        region: region.filter(|_| given.is_some()),
        tls,
        credentials,
    })
}

/// `<region>.amazonaws.com`, with the domain that China has for itself.
fn region_host(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("{region}.{domain}")
}

/// Whether TLS is used, and `host[:port]`.
fn endpoint(keys: &Keys<'_>, given: &str) -> Result<(bool, String), Invalid> {
    let wrong = || {
        keys.wrong(
            "\"endpoint\" field of storage secret must be a valid URL such as https://host:port without a path",
        )
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

fn azure(keys: &Keys<'_>, mode: Option<CredentialMode>) -> Result<AzureCredentials, Invalid> {
    let short = keys.has("client_id") || keys.has("tenant_id");
    keys.text("account_name")?;
    match mode {
        None if short && keys.has("account_key") => Err(keys
            .wrong("holds both account_key and client_id, expected long-lived or short-lived credentials")),
        Some(CredentialMode::TokenCco) => {
            Err(keys.wrong("credential mode token-cco is not supported for azure"))
        }
        Some(CredentialMode::DefaultChain | CredentialMode::PodIdentity) => Ok(AzureCredentials::Ambient),
        Some(CredentialMode::Token) | None if short || mode.is_some() => Ok(AzureCredentials::Token {
            client: keys.text("client_id")?,
            tenant: keys.text("tenant_id")?,
            audience: keys
                .contents
                .text("audience")
                .unwrap_or_else(|| "api://AzureADTokenExchange".to_owned()),
        }),
        Some(CredentialMode::Static | CredentialMode::Token) | None => {
            keys.text("account_key")?;
            Ok(AzureCredentials::Key)
        }
    }
}

fn gcs(keys: &Keys<'_>, mode: Option<CredentialMode>) -> Result<GcsCredentials, Invalid> {
    match mode {
        Some(CredentialMode::TokenCco) => {
            return Err(keys.wrong("credential mode token-cco is not supported for gcs"));
        }
        Some(CredentialMode::DefaultChain | CredentialMode::PodIdentity) => {
            return Ok(GcsCredentials::Ambient);
        }
        Some(CredentialMode::Static | CredentialMode::Token) | None => {}
    }
    let file: Value = serde_json::from_str(&keys.text("key.json")?).unwrap_or_default();
    let is_token = match mode {
        Some(mode) => mode == CredentialMode::Token,
        None => file["type"] == "external_account",
    };
    if !is_token {
        return Ok(GcsCredentials::Key);
    }
    if file["credential_source"]["file"] != TOKEN_FILE {
        return Err(
            keys.wrong(format_args!("credential source in key.json has to be the token file {TOKEN_FILE}"))
        );
    }
    Ok(GcsCredentials::Token {
        audience: keys.contents.text("audience").unwrap_or_else(|| "openshift".to_owned()),
    })
}

fn resolve_tls(
    given: Option<&StorageTls>,
    field: &str,
    facts: &Facts,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<Option<Tls>, Invalid> {
    let Some(given) = given else { return Ok(None) };
    let ca = said(given.ca_name.as_ref())
        .map(|name| {
            let key = authority(&name, facts)
                .map_err(|problem| Invalid::storage(format!("{field}.caName: {problem}")))?;
            Ok((name, key))
        })
        .transpose()?;
    let client = said(given.cert_name.as_ref());
    if let Some(name) = client.as_ref().filter(|name| !facts.secrets.contains_key(*name)) {
        warnings.push(format!("{field}.certName: Secret {name} is missing, and pods wait for it"));
    }
    let cipher_suites = if given.cipher_suites.is_empty() {
        platform.tls.ciphers.clone()
    } else {
        given.cipher_suites.clone()
    };
    Ok(Some(Tls {
        ca,
        client,
        min_version: said(given.min_version.as_ref())
            .unwrap_or_else(|| platform.tls.min_version.long().to_owned()),
        cipher_suites,
    }))
}

/// The key under which a ConfigMap holds a certificate authority, or what is wrong with it.
pub(super) fn authority(name: &str, facts: &Facts) -> Result<String, String> {
    let Some(contents) = facts.config_maps.get(name) else {
        return Err(format!("ConfigMap {name} is missing"));
    };
    CA_KEYS.iter().find(|key| contents.0.contains_key(**key)).map(|key| (*key).to_owned()).ok_or_else(|| {
        format!("CA ConfigMap {name} must contain a 'service-ca.crt', 'ca.crt', or 'ca-bundle.crt' key")
    })
}
