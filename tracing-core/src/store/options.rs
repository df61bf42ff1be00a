//! Where blocks are kept, and how the store is reached.

mod azure;
mod gcs;
mod s3;

use std::{path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, ObjectStore, RetryConfig, TagSet,
    client::HttpConnector,
};

use super::{StoreError, range::Hedge, requests::RequestStats};

pub use azure::{AzureLogin, AzureOptions};
pub use gcs::GcsOptions;
pub use s3::{Encryption, S3Login, S3Options, S3Style};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where the blocks are.
    pub backend: Backend,
    /// Bytes of what is kept of blocks in memory: footers, filters, sketches, indexes, pages.
    pub cache_bytes: usize,
    /// How requests to a bucket are made.
    pub access: Access,
    /// How the list of blocks is kept.
    pub poll: PollOptions,
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
    /// A bucket of Google Cloud Storage.
    Gcs(Box<GcsOptions>),
    /// A container of Azure Blob Storage.
    Azure(Box<AzureOptions>),
}

/// How requests to a bucket are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// When a read is made a second time; never where `None`.
    pub hedge: Option<Hedge>,
    /// Repetitions of a request that was refused by 429 or 5xx, or not answered.
    pub retries: usize,
    /// The first pause before a repetition; each is twice as long as the one before, at random.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Bytes of one part of a large upload; more where there would be too many parts. S3 and GCS take none below
    /// [`Access::MIN_PART`].
    pub part_bytes: u64,
}

/// How the list of blocks is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct PollOptions {
    /// Metas that are read at the same time.
    pub concurrency: usize,
    /// Tenants that are listed at the same time.
    pub tenant_concurrency: usize,
    /// Processes that write the index of a tenant; the others read it. 0: none does, and all list.
    pub index_builders: usize,
    /// An index older than this is not believed; zero for any age.
    pub stale_index: Duration,
    /// List where an index is missing, stale or unreadable; otherwise the tenant keeps what it had.
    pub fallback: bool,
    /// Pause before each tenant's listing, up to this, so that processes do not list all at once.
    pub jitter: Duration,
    /// Failures of a tenant in a row within one poll before it is given up.
    pub tolerate_errors: u32,
    /// Tenants that may fail before the poll as a whole counts as failed.
    pub tolerate_tenants: u32,
    /// Delete what is left of a tenant without blocks, once it has been so for [`PollOptions::empty_age`].
    pub delete_empty: bool,
    /// How old the newest object of an empty tenant must be.
    pub empty_age: Duration,
}

impl StoreOptions {
    /// A store with the usual bounds: 64 MiB of cache.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self { backend, cache_bytes: 64 << 20, access: Access::default(), poll: PollOptions::default() }
    }

    /// A store in a directory.
    #[must_use]
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::new(Backend::Local { path: path.into() })
    }
}

impl Default for PollOptions {
    /// As Tempo's, but without an index unless someone is elected to write it.
    fn default() -> Self {
        Self {
            concurrency: 50,
            tenant_concurrency: 8,
            index_builders: 2,
            stale_index: Duration::ZERO,
            fallback: true,
            jitter: Duration::ZERO,
            tolerate_errors: 1,
            tolerate_tenants: 1,
            delete_empty: false,
            empty_age: Duration::from_hours(12),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            hedge: None,
            retries: 5,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            part_bytes: 8 << 20,
        }
    }
}

impl Access {
    /// The smallest part that S3 and GCS take, but for the last.
    pub const MIN_PART: u64 = 5 << 20;
    /// S3 and GCS take 10,000 parts; Azure takes more.
    const MAX_PARTS: u64 = 9_000;

    /// A repetition is not begun later than this after the first attempt.
    const RETRY_WITHIN: Duration = Duration::from_secs(30);

    /// Bytes of a part of an upload of `size` bytes.
    pub(super) fn part(&self, size: u64) -> usize {
        self.part_bytes.max(size.div_ceil(Self::MAX_PARTS)).max(1) as usize
    }

    fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: self.first_pause,
                max_backoff: self.longest_pause,
                ..BackoffConfig::default()
            },
            max_retries: self.retries,
            retry_timeout: Self::RETRY_WITHIN,
        }
    }
}

/// A store and its prefix.
type Bucket<'a> = (Arc<dyn ObjectStore>, &'a str);

impl Backend {
    /// The store and its prefix; `None` for a directory.
    pub(super) fn open(
        &self,
        access: &Access,
        stats: &Arc<RequestStats>,
    ) -> Result<Option<Bucket<'_>>, StoreError> {
        Ok(Some(match self {
            Self::Local { .. } => return Ok(None),
            Self::S3(s3) => (s3.open(access, stats.clone())?, &s3.prefix),
            Self::Gcs(gcs) => (gcs.open(access, stats.clone())?, &gcs.prefix),
            Self::Azure(azure) => (azure.open(access, stats.clone())?, &azure.prefix),
        }))
    }
}

/// What an object carries besides its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) tags: TagSet,
    pub(super) attributes: Attributes,
}

impl Labels {
    fn new(tags: &[(String, String)], metadata: &[(String, String)]) -> Self {
        let mut labels = Self::default();
        for (key, value) in tags {
            labels.tags.push(key, value);
        }
        for (key, value) in metadata {
            labels.attributes.insert(Attribute::Metadata(key.clone().into()), value.clone().into());
        }
        labels
    }

    fn set(&mut self, attribute: Attribute, value: &str) {
        if !value.is_empty() {
            self.attributes.insert(attribute, value.to_owned().into());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.attributes.is_empty()
    }
}

/// The client's own settings: all but this is the connector's.
fn client(plain_http: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(plain_http)
}

/// Fails now, not at the first request, where a client cannot be made.
fn checked(connector: &dyn HttpConnector, what: &str) -> Result<(), StoreError> {
    match connector.connect(&ClientOptions::new()) {
        Ok(_) => Ok(()),
        Err(object_store::Error::Generic { source, .. }) => {
            Err(StoreError::Options(format!("{what}.{source}")))
        }
        Err(e) => Err(StoreError::Options(format!("{what}: {e}"))),
    }
}

/// Host and port of `http://host:port/path`.
fn authority(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Host of it.
fn host(endpoint: &str) -> &str {
    let authority = authority(endpoint);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => authority,
    }
}
