//! S3, and servers that speak it.

use std::{env, fmt, sync::Arc, sync::OnceLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use object_store::{
    Attribute, ObjectStore,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
};

use super::{Access, Labels, authority, checked, client, host};
use crate::store::{
    StoreError,
    connect::{Connector, KmsContext},
    label::labelled,
    requests::RequestStats,
    tls::Tls,
};

/// A bucket and how to reach it.
#[derive(Clone, Default)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with; empty for none.
    pub prefix: String,
    /// Host and port, with or without a scheme; AWS of the region where empty.
    pub endpoint: String,
    /// The region; where empty, that of the endpoint's name, else `AWS_REGION`, else `us-east-1`.
    pub region: String,
    /// Who we are.
    pub login: S3Login,
    /// Speak http where the endpoint names no scheme.
    pub insecure: bool,
    /// Where the bucket's name stands.
    pub style: S3Style,
    /// Reach AWS by IPv6 too.
    pub dual_stack: bool,
    /// Certificates.
    pub tls: Tls,
    /// How the server encrypts.
    pub encryption: Encryption,
    /// Tags of every object.
    pub tags: Vec<(String, String)>,
    /// User metadata of every object.
    pub metadata: Vec<(String, String)>,
    /// Storage class of every object; the bucket's where empty.
    pub storage_class: String,
}

/// Credentials of AWS.
#[derive(Clone, Default)]
pub enum S3Login {
    /// What the environment offers, in this order: keys in variables, web identity (IRSA), the container's
    /// endpoint (ECS, EKS pod identity), instance metadata.
    #[default]
    Chain,
    /// Keys.
    Keys {
        /// Key id.
        access_key: String,
        /// Secret key.
        secret_key: String,
        /// Token of temporary keys; empty for none.
        session_token: String,
    },
}

/// Where the bucket's name stands in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum S3Style {
    /// In the host's name for AWS, in the path for others.
    #[default]
    Auto,
    /// In the host's name.
    Virtual,
    /// In the path.
    Path,
}

/// How the server encrypts what it stores.
#[derive(Clone, Default)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    Bucket,
    /// With keys of S3.
    S3,
    /// With a key of the key service.
    Kms {
        /// The key; the account's default where empty.
        key_id: String,
        /// The encryption context, a JSON object of strings; empty for none.
        context: String,
    },
    /// With a key that we send along with each request.
    Customer([u8; 32]),
}

impl S3Options {
    pub(super) fn open(
        &self,
        access: &Access,
        stats: Arc<RequestStats>,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let region = self.region();
        let context = self.context(&region)?;
        let connector = Connector {
            tls: self.tls.clone(),
            endpoint: self.host(&region),
            stats,
            context: context.clone(),
        };
        checked(&connector, "s3")?;
        let url = self.url(&region);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&region)
            .with_endpoint(&url)
            .with_virtual_hosted_style_request(self.virtual_hosted())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Not every server that speaks S3 has deletion of many objects.
            .with_disable_bulk_delete(true)
            .with_retry(access.retry())
            .with_client_options(client(url.starts_with("http://")))
            .with_http_connector(connector);
        builder = match &self.login {
            S3Login::Keys { access_key, secret_key, session_token } => {
                let builder = builder.with_access_key_id(access_key).with_secret_access_key(secret_key);
                if session_token.is_empty() { builder } else { builder.with_token(session_token) }
            }
            S3Login::Chain => chain(builder, &region),
        };
        builder = match &self.encryption {
            Encryption::Bucket => builder,
            Encryption::S3 => builder.with_config(sse_key("aws_server_side_encryption")?, "AES256"),
            Encryption::Kms { key_id, .. } if key_id.is_empty() => {
                builder.with_config(sse_key("aws_server_side_encryption")?, "aws:kms")
            }
            Encryption::Kms { key_id, .. } => builder.with_sse_kms_encryption(key_id),
            Encryption::Customer(key) => builder.with_ssec_encryption(STANDARD.encode(key)),
        };
        let store = builder.build().map_err(|e| StoreError::Options(format!("s3: {e}")))?;
        if let Some(context) = context {
            let _ = context.credentials.set(store.credentials().clone());
        }
        let mut labels = Labels::new(&self.tags, &self.metadata);
        labels.set(Attribute::StorageClass, &self.storage_class);
        Ok(labelled(store, labels))
    }

    fn context(&self, region: &str) -> Result<Option<Arc<KmsContext>>, StoreError> {
        let Encryption::Kms { context, .. } = &self.encryption else { return Ok(None) };
        if context.is_empty() {
            return Ok(None);
        }
        let header = HeaderValue::try_from(STANDARD.encode(context));
        let mut header =
            header.map_err(|e| StoreError::Options(format!("s3.sse.kms_encryption_context: {e}")))?;
        header.set_sensitive(true);
        Ok(Some(Arc::new(KmsContext { header, region: region.to_owned(), credentials: OnceLock::new() })))
    }

    fn region(&self) -> String {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let named = Some(self.region.clone()).filter(|region| !region.is_empty());
        named
            .or_else(|| region_of(host(&self.endpoint)))
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| "us-east-1".to_owned())
    }

    fn is_aws(&self) -> bool {
        let host = host(&self.endpoint);
        host.is_empty() || host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
    }

    /// AWS retires path style, everyone else expects it: as minio-go chooses, which Tempo uses.
    fn virtual_hosted(&self) -> bool {
        match self.style {
            S3Style::Auto => self.is_aws() && !self.bucket.contains('.'),
            S3Style::Virtual => true,
            S3Style::Path => false,
        }
    }

    /// The endpoint's host and port, without the bucket.
    fn server(&self, region: &str) -> String {
        let given = authority(&self.endpoint);
        // Names of AWS that depend on nothing but the region.
        let regional = format!("s3.{region}.amazonaws.com");
        if !(given.is_empty() || given == "s3.amazonaws.com" || given == regional) {
            return given.to_owned();
        }
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let stack = if self.dual_stack { "dualstack." } else { "" };
        format!("s3.{stack}{region}.{domain}")
    }

    fn host(&self, region: &str) -> String {
        host(&self.server(region)).to_owned()
    }

    fn url(&self, region: &str) -> String {
        let plain = match self.endpoint.split_once("://") {
            Some((scheme, _)) => scheme == "http",
            None => self.insecure,
        };
        let scheme = if plain { "http" } else { "https" };
        let server = self.server(region);
        if self.virtual_hosted() {
            format!("{scheme}://{}.{server}", self.bucket)
        } else {
            format!("{scheme}://{server}")
        }
    }
}

/// Credentials out of the environment, and nothing else out of it: where requests go says the configuration.
fn chain(mut builder: AmazonS3Builder, region: &str) -> AmazonS3Builder {
    use AmazonS3ConfigKey as Key;
    const KEYS: [(&str, Key); 11] = [
        ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
        ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
        ("AWS_SESSION_TOKEN", Key::Token),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", Key::RoleArn),
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
        ("AWS_METADATA_ENDPOINT", Key::MetadataEndpoint),
    ];
    if region.starts_with("cn-") {
        builder = builder.with_config(Key::StsEndpoint, format!("https://sts.{region}.amazonaws.com.cn"));
    }
    for (name, key) in KEYS {
        if let Some(value) = env::var(name).ok().filter(|value| !value.is_empty()) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

fn sse_key(name: &str) -> Result<AmazonS3ConfigKey, StoreError> {
    name.parse().map_err(|e| StoreError::Options(format!("s3.sse.type: {e}")))
}

/// The region in a host's name of AWS: `s3.eu-west-1.amazonaws.com` and its kin.
fn region_of(host: &str) -> Option<String> {
    let name = host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".amazonaws.com")?;
    let name = name.strip_suffix(".vpce").unwrap_or(name);
    let last = name.rsplit('.').next()?;
    // `eu-west-1`, `us-gov-east-1`: a number at the end.
    let numbered = last.rsplit_once('-').is_some_and(|(_, n)| n.chars().all(|c| c.is_ascii_digit()));
    (numbered && last.contains('-')).then(|| last.trim_start_matches("s3-").to_owned())
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix, endpoint, region, insecure, style, .. } = self;
        f.debug_struct("S3Options")
            .field("bucket", bucket)
            .field("prefix", prefix)
            .field("endpoint", endpoint)
            .field("region", region)
            .field("insecure", insecure)
            .field("style", style)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for S3Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "Chain",
            Self::Keys { .. } => "Keys(<secret>)",
        })
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bucket => "Bucket",
            Self::S3 => "S3",
            Self::Kms { .. } => "Kms",
            Self::Customer(_) => "Customer(<secret>)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoint: &str) -> S3Options {
        S3Options { bucket: "traces".into(), endpoint: endpoint.into(), ..S3Options::default() }
    }

    fn url(options: &S3Options) -> String {
        options.url(&options.region())
    }

    #[test]
    fn an_endpoint_without_scheme_is_https_unless_insecure_and_gets_path_style() {
        assert_eq!(url(&options("minio:9000")), "https://minio:9000");
        assert_eq!(url(&S3Options { insecure: true, ..options("minio:9000") }), "http://minio:9000");
        assert_eq!(
            url(&S3Options { insecure: true, ..options("https://minio:9000/") }),
            "https://minio:9000"
        );
        let virtual_hosted = S3Options { style: S3Style::Virtual, ..options("minio:9000") };
        assert_eq!(url(&virtual_hosted), "https://traces.minio:9000");
    }

    #[test]
    fn aws_is_asked_in_the_region_of_its_name_by_host_name_unless_path_style_is_forced() {
        let aws = options("s3.eu-central-1.amazonaws.com");
        assert_eq!(aws.region(), "eu-central-1");
        assert_eq!(url(&aws), "https://traces.s3.eu-central-1.amazonaws.com");
        let forced = S3Options { style: S3Style::Path, ..aws.clone() };
        assert_eq!(url(&forced), "https://s3.eu-central-1.amazonaws.com");
        let dual = S3Options { dual_stack: true, ..aws };
        assert_eq!(url(&dual), "https://traces.s3.dualstack.eu-central-1.amazonaws.com");
        let china = S3Options { region: "cn-north-1".into(), ..options("") };
        assert_eq!(url(&china), "https://traces.s3.cn-north-1.amazonaws.com.cn");
        let global = S3Options { region: "eu-west-1".into(), ..options("s3.amazonaws.com") };
        assert_eq!(url(&global), "https://traces.s3.eu-west-1.amazonaws.com");
        let dotted = S3Options { bucket: "a.b".into(), region: "eu-west-1".into(), ..options("") };
        assert_eq!(url(&dotted), "https://s3.eu-west-1.amazonaws.com");
        assert_eq!(
            region_of("bucket.vpce-1a2b.s3.us-gov-east-1.vpce.amazonaws.com").unwrap(),
            "us-gov-east-1"
        );
        assert_eq!(region_of("s3.amazonaws.com"), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let login = S3Login::Keys {
            access_key: "AKIA".into(),
            secret_key: "hush".into(),
            session_token: "psst".into(),
        };
        let encryption = Encryption::Customer(*b"0123456789abcdef0123456789abcdef");
        let options = S3Options { login, encryption, ..options("x") };
        let store = options.open(&Access::default(), Arc::default()).unwrap();
        let printed = format!("{options:?} {:?} {:?} {store}", options.login, options.encryption);
        for secret in ["hush", "AKIA", "psst", "0123456789"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
