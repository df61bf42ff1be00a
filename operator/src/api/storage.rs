//! Where a stack keeps its blocks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Object storage of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The Secret with bucket, endpoint and credentials, and the kind of object storage it is for.
    pub secret: StorageSecret,
    /// TLS towards the object storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<StorageTls>,
}

/// Names the Secret with the access to the object storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSecret {
    /// How the credentials are had. Without it, the keys of the Secret decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_mode: Option<CredentialMode>,
    /// Name of a Secret in the namespace of the stack.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Kind of object storage.
    #[serde(rename = "type")]
    pub secret_type: SecretType,
}

/// Kinds of object storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum SecretType {
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
    /// Amazon S3 and whatever speaks its protocol.
    #[default]
    S3,
}

impl SecretType {
    /// As written in a resource.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Gcs => "gcs",
            Self::S3 => "s3",
        }
    }
}

/// Ways of getting credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialMode {
    /// Long-lived keys in the Secret.
    Static,
    /// Short-lived tokens by workload identity.
    Token,
    /// Short-lived tokens by OpenShift's Cloud Credential Operator.
    TokenCco,
    /// Whatever the provider's own chain finds: instance profile, environment, metadata service.
    DefaultChain,
    /// EKS Pod Identity.
    PodIdentity,
}

impl CredentialMode {
    /// As written in a resource.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Token => "token",
            Self::TokenCco => "token-cco",
            Self::DefaultChain => "default-chain",
            Self::PodIdentity => "pod-identity",
        }
    }
}

/// TLS towards the object storage (S3 only).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageTls {
    /// ConfigMap with the certificate authority under `service-ca.crt`, `ca.crt` or `ca-bundle.crt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_name: Option<String>,
    /// Secret with the client certificate (`tls.crt`, `tls.key`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_name: Option<String>,
    /// Cipher suites, by their IANA names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// Use TLS. An endpoint that begins with `https://` uses it anyhow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Lowest version: `VersionTLS10` to `VersionTLS13`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
}

/// TLS of a receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// ConfigMap with the authority of clients' certificates. Clients without one are then refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_name: Option<String>,
    /// Secret with the server's certificate (`tls.crt`, `tls.key`). OpenShift makes one where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_name: Option<String>,
    /// Cipher suites, by their IANA names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// Receive by TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Lowest version: `VersionTLS12` or `1.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
}
