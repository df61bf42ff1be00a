//! Where blocks are kept, and how the store is reached.

use std::{fmt, path::PathBuf, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut},
};

use super::StoreError;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where the blocks are.
    pub backend: Backend,
    /// Bytes of what is kept of blocks in memory: footers, filters, sketches, indexes, pages.
    pub cache_bytes: usize,
    /// Requests that a poll makes at the same time.
    pub poll_concurrency: usize,
}

/// Where blocks are kept.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A directory of this machine.
    Local {
        /// The directory, created if missing.
        path: PathBuf,
    },
    /// A bucket of S3, or of a server that speaks it.
    S3(Box<S3Options>),
}

/// A bucket and how to reach it. Without keys, the usual chain of AWS is asked: environment, web identity,
/// container and instance metadata.
#[derive(Clone, Default)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with; empty for none.
    pub prefix: String,
    /// Host and port, with or without a scheme; AWS of the region where empty.
    pub endpoint: String,
    /// The region; `us-east-1` where empty.
    pub region: String,
    /// Key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Token of temporary keys; empty for none.
    pub session_token: String,
    /// Speak http where the endpoint names no scheme.
    pub insecure: bool,
    /// Name the bucket in the path. Done without being asked for endpoints that are not of AWS.
    pub force_path_style: bool,
    /// PEM certificates to trust besides the system's; empty for none.
    pub ca_pem: Vec<u8>,
    /// Trust any certificate.
    pub insecure_skip_verify: bool,
}

impl StoreOptions {
    /// A store with the usual bounds: 64 MiB of cache, polls of 50 requests.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self { backend, cache_bytes: 64 << 20, poll_concurrency: 50 }
    }

    /// A store in a directory.
    #[must_use]
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::new(Backend::Local { path: path.into() })
    }
}

impl S3Options {
    pub(super) fn build(&self) -> Result<AmazonS3, StoreError> {
        if self.bucket.is_empty() {
            return Err(StoreError::Options("s3.bucket is empty, expected the bucket's name".to_owned()));
        }
        let region = if self.region.is_empty() { "us-east-1" } else { &self.region };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_region(region)
            .with_allow_http(self.insecure || self.endpoint.starts_with("http://"))
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_virtual_hosted_style_request(self.virtual_hosted())
            .with_retry(RetryConfig {
                backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
                max_retries: 5,
                retry_timeout: Duration::from_secs(30),
            })
            .with_client_options(self.client()?);
        if let Some(endpoint) = self.url() {
            builder = builder.with_endpoint(endpoint);
        }
        if !self.access_key.is_empty() {
            builder = builder.with_access_key_id(&self.access_key).with_secret_access_key(&self.secret_key);
        }
        if !self.session_token.is_empty() {
            builder = builder.with_token(&self.session_token);
        }
        builder.build().map_err(|e| StoreError::object("open", &self.bucket, e))
    }

    fn client(&self) -> Result<ClientOptions, StoreError> {
        let mut client = ClientOptions::new()
            .with_allow_http(self.insecure || self.endpoint.starts_with("http://"))
            .with_allow_invalid_certificates(self.insecure_skip_verify)
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_mins(1));
        if !self.ca_pem.is_empty() {
            let certificates = Certificate::from_pem_bundle(&self.ca_pem)
                .map_err(|e| StoreError::Options(format!("s3.tls_ca_path: no PEM certificates: {e}")))?;
            for certificate in certificates {
                client = client.with_root_certificate(certificate);
            }
        }
        Ok(client)
    }

    /// AWS retires path style, everyone else expects it: as minio-go chooses, which Tempo uses.
    fn virtual_hosted(&self) -> bool {
        let aws = self.endpoint.is_empty() || self.host().ends_with("amazonaws.com");
        aws && !self.force_path_style && !self.bucket.contains('.')
    }

    fn host(&self) -> &str {
        let rest = self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or_default()
    }

    fn url(&self) -> Option<String> {
        // A virtual-hosted endpoint would have to name the bucket; AWS's own is derived from the region.
        if self.endpoint.is_empty() || self.virtual_hosted() {
            return None;
        }
        let endpoint = self.endpoint.trim_end_matches('/');
        let scheme = if self.insecure { "http" } else { "https" };
        Some(if endpoint.contains("://") { endpoint.to_owned() } else { format!("{scheme}://{endpoint}") })
    }
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix, endpoint, region, insecure, .. } = self;
        f.debug_struct("S3Options")
            .field("bucket", bucket)
            .field("prefix", prefix)
            .field("endpoint", endpoint)
            .field("region", region)
            .field("insecure", insecure)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoint: &str) -> S3Options {
        S3Options { bucket: "traces".into(), endpoint: endpoint.into(), ..S3Options::default() }
    }

    #[test]
    fn an_endpoint_without_scheme_is_https_unless_insecure_and_gets_path_style() {
        assert_eq!(options("minio:9000").url().unwrap(), "https://minio:9000");
        let insecure = S3Options { insecure: true, ..options("minio:9000") };
        assert_eq!(insecure.url().unwrap(), "http://minio:9000");
        assert!(!insecure.virtual_hosted());
        insecure.build().unwrap();
    }

    #[test]
    fn aws_is_asked_by_host_name_unless_path_style_is_forced() {
        let aws = options("s3.eu-central-1.amazonaws.com");
        assert!(aws.virtual_hosted() && aws.url().is_none());
        let forced = S3Options { force_path_style: true, ..aws };
        assert_eq!(forced.url().unwrap(), "https://s3.eu-central-1.amazonaws.com");
    }

    #[test]
    fn secrets_are_not_printed() {
        let options = S3Options { secret_key: "hush".into(), access_key: "AKIA".into(), ..options("x") };
        let printed = format!("{options:?}");
        assert!(!printed.contains("hush") && !printed.contains("AKIA"), "{printed}");
    }
}
