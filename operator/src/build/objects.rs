//! What a pod needs to get at object storage: arguments, environment, mounts, and its account.

use k8s_openapi::api::core::v1::{
    EnvVar, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use serde_json::{Value, json};

use super::{
    config::{STORAGE_CA_PATH, STORAGE_CERT_PATH},
    container::{Access, config_volume, from_secret, mount, secret_volume, value},
};
use crate::{
    names::{Identity, volume_name},
    validate::{
        Access as Kind, AzureCredentials, GcsCredentials, ObjectStorage, S3, S3Credentials, TOKEN_FILE,
    },
};

const TOKEN_VOLUME: &str = "bound-sa-token";
const GCS_VOLUME: &str = "storage-gcs-key";
const GCS_PATH: &str = "/etc/storage/secrets/";
const CLOUD_CREDENTIALS_PATH: &str = "/etc/storage/token-auth";

/// Arguments after the component's own.
pub(super) fn args(storage: &ObjectStorage) -> Vec<String> {
    let flags: &[&str] = match &storage.access {
        Kind::S3(S3 { credentials: S3Credentials::Keys, .. }) => &[
            "--storage.trace.s3.secret_key=$(S3_SECRET_KEY)",
            "--storage.trace.s3.access_key=$(S3_ACCESS_KEY)",
        ],
        Kind::Azure { credentials: AzureCredentials::Key, .. } => &[
            "--storage.trace.azure.storage_account_name=$(AZURE_ACCOUNT_NAME)",
            "--storage.trace.azure.storage_account_key=$(AZURE_ACCOUNT_KEY)",
        ],
        Kind::Azure { .. } => &["--storage.trace.azure.storage_account_name=$(AZURE_ACCOUNT_NAME)"],
        Kind::S3(_) | Kind::Gcs { .. } => &[],
    };
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

/// Environment variables.
pub(super) fn env(storage: &ObjectStorage) -> Vec<EnvVar> {
    let secret = |variable: &str, key: &str| from_secret(variable, &storage.secret, key);
    match &storage.access {
        Kind::S3(S3 { credentials, .. }) => match credentials {
            S3Credentials::Keys => {
                vec![secret("S3_SECRET_KEY", "access_key_secret"), secret("S3_ACCESS_KEY", "access_key_id")]
            }
            S3Credentials::CloudCredentials { arn, region } => vec![
                value("AWS_SHARED_CREDENTIALS_FILE", format!("{CLOUD_CREDENTIALS_PATH}/credentials")),
                value("AWS_SDK_LOAD_CONFIG", "true"),
                value("AWS_WEB_IDENTITY_TOKEN_FILE", TOKEN_FILE),
                value("AWS_ROLE_ARN", &**arn),
                value("AWS_DEFAULT_REGION", &**region),
            ],
            S3Credentials::Role { .. } | S3Credentials::Ambient => Vec::new(),
        },
        Kind::Azure { credentials, .. } => {
            let mut all = vec![secret("AZURE_ACCOUNT_NAME", "account_name")];
            match credentials {
                AzureCredentials::Key => all.push(secret("AZURE_ACCOUNT_KEY", "account_key")),
                AzureCredentials::Token { .. } => all.extend([
                    secret("AZURE_CLIENT_ID", "client_id"),
                    secret("AZURE_TENANT_ID", "tenant_id"),
                    value("AZURE_FEDERATED_TOKEN_FILE", TOKEN_FILE),
                ]),
                AzureCredentials::Ambient => {}
            }
            all
        }
        Kind::Gcs { credentials: GcsCredentials::Ambient, .. } => Vec::new(),
        Kind::Gcs { .. } => vec![value("GOOGLE_APPLICATION_CREDENTIALS", format!("{GCS_PATH}key.json"))],
    }
}

/// Volumes, and where they are mounted.
pub(super) fn volumes(storage: &ObjectStorage, identity: &Identity) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut all = (Vec::new(), Vec::new());
    let mut add = |volume: Volume, path: &str, access: Access| {
        all.1.push(mount(&volume.name, path, access));
        all.0.push(volume);
    };
    match &storage.access {
        Kind::S3(S3 { tls, credentials, .. }) => {
            let tls = tls.clone().unwrap_or_default();
            let ca = tls.ca.map(|(name, _)| name);
            if let Some(name) = &ca {
                add(config_volume(&volume_name(name), name), STORAGE_CA_PATH, Access::ReadOnly);
            }
            if let Some(name) = &tls.client {
                // A Secret may be called as the ConfigMap is, two volumes may not.
                let volume = if ca.as_ref() == Some(name) { format!("{name}-cert") } else { name.clone() };
                add(secret_volume(&volume_name(&volume), name), STORAGE_CERT_PATH, Access::ReadOnly);
            }
            if matches!(credentials, S3Credentials::CloudCredentials { .. }) {
                add(token("openshift"), token_path(), Access::Default);
                let secret = managed_credentials(identity);
                add(secret_volume(&volume_name(&secret), &secret), CLOUD_CREDENTIALS_PATH, Access::Default);
            }
        }
        Kind::Azure { credentials: AzureCredentials::Token { audience, .. }, .. } => {
            add(token(audience), token_path(), Access::Default);
        }
        Kind::Azure { .. } | Kind::Gcs { credentials: GcsCredentials::Ambient, .. } => {}
        Kind::Gcs { credentials, .. } => {
            add(secret_volume(GCS_VOLUME, &storage.secret), GCS_PATH, Access::ReadOnly);
            if let GcsCredentials::Token { audience } = credentials {
                add(token(audience), token_path(), Access::Default);
            }
        }
    }
    all
}

fn token_path() -> &'static str {
    TOKEN_FILE.strip_suffix("/token").unwrap_or(TOKEN_FILE)
}

/// A token of the pod's account, for whoever the audience is.
fn token(audience: &str) -> Volume {
    Volume {
        name: TOKEN_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(audience.to_owned()),
                    expiration_seconds: Some(3600),
                    path: "token".to_owned(),
                }),
                ..VolumeProjection::default()
            }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// By which the provider knows the account of the pods.
pub(super) fn account_annotations(storage: &ObjectStorage) -> Vec<(String, String)> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    match &storage.access {
        Kind::S3(S3 { credentials: S3Credentials::Role { arn }, .. }) => vec![
            pair("eks.amazonaws.com/audience", "sts.amazonaws.com"),
            pair("eks.amazonaws.com/role-arn", arn),
        ],
        Kind::Azure { credentials: AzureCredentials::Token { client, tenant, .. }, .. } => vec![
            pair("azure.workload.identity/client-id", client),
            pair("azure.workload.identity/tenant-id", tenant),
        ],
        _ => Vec::new(),
    }
}

/// The Secret that OpenShift's Cloud Credential Operator fills.
fn managed_credentials(identity: &Identity) -> String {
    format!("{}-managed-credentials", identity.name)
}

/// What OpenShift's Cloud Credential Operator is asked for, where its credentials are used.
pub(super) fn credentials_request(
    storage: &ObjectStorage,
    identity: &Identity,
    accounts: &[&str],
) -> Option<Value> {
    let Kind::S3(S3 { credentials: S3Credentials::CloudCredentials { arn, .. }, .. }) = &storage.access
    else {
        return None;
    };
    let meta = identity.meta(identity.name.clone(), identity.common_labels());
    Some(json!({
        "apiVersion": "cloudcredential.openshift.io/v1",
        "kind": "CredentialsRequest",
        "metadata": meta,
        "spec": {
            "secretRef": {"name": managed_credentials(identity), "namespace": identity.namespace},
            "serviceAccountNames": accounts,
            "cloudTokenPath": TOKEN_FILE,
            "providerSpec": {
                "apiVersion": "cloudcredential.openshift.io/v1",
                "kind": "AWSProviderSpec",
                "stsIAMRoleARN": arn,
                "statementEntries": [{
                    "effect": "Allow",
                    "action": ["s3:ListBucket", "s3:PutObject", "s3:GetObject", "s3:DeleteObject"],
                    "resource": "arn:aws:s3:*:*:*",
                }],
            },
        },
    }))
}
