//! The store itself: reading objects, and the snapshot of what there is. IO.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
    path::PathBuf,
    sync::{Arc, OnceLock, RwLock},
};

#[cfg(any(test, feature = "faults"))]
use super::Access;
use bytes::Bytes;
use jiff::Timestamp;
#[cfg(any(test, feature = "faults"))]
use object_store::ObjectStore;

use super::{
    Backend, Machine, Objects, PollOptions, RequestStats, StoreError, StoreOptions,
    cache::Cache,
    disk,
    ids::Directories,
    list::{self, Lists},
    objects::{Place, blocking},
    poll::PollStats,
};
use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

/// Name of a block's data.
pub const DATA: &str = "data.parquet";
/// Name of the object that makes a block visible.
pub const META: &str = "meta.json";
/// Name of the object that stands in for `meta.json` once the block is replaced or expired.
pub(super) const COMPACTED: &str = "meta.compacted.json";

/// Whether this process writes the index of a tenant.
type Elected = Box<dyn Fn(&Tenant) -> bool + Send + Sync>;

/// Blocks of all tenants.
pub struct Store {
    pub(super) place: Place,
    pub(super) lists: RwLock<Lists>,
    pub(super) polling: tokio::sync::Mutex<()>,
    /// Whoever lists a tenant, so that all who wait for that share it.
    pub(super) listings: std::sync::Mutex<HashMap<Tenant, Arc<tokio::sync::Mutex<()>>>>,
    pub(super) poll: PollOptions,
    pub(super) requests: Arc<RequestStats>,
    pub(super) stats: PollStats,
    pub(super) elected: OnceLock<Elected>,
    pub(super) machine: Machine,
    cache: Cache,
    pub(super) directories: Directories,
    /// Blocks that are read from a directory of this machine until they are committed.
    staged: RwLock<HashMap<BlockId, PathBuf>>,
    #[cfg(test)]
    pub(super) stop_before: std::sync::Mutex<Option<&'static str>>,
}

impl Store {
    /// Opens a store. Nothing is asked of it yet: one that is away is an error of the first use, not of this.
    ///
    /// # Errors
    /// [`StoreError::Options`] for settings that cannot be used, [`StoreError::Disk`] where the directory
    /// cannot be made.
    pub fn open(options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        let requests = Arc::<RequestStats>::default();
        let place = match (&options.backend, options.backend.open(&options.access, &requests)?) {
            (_, Some((store, prefix))) => Place::bucket(store, prefix, options.access, requests.clone()),
            (Backend::Local { path }, None) => {
                disk::create_root(path)?;
                Place::Disk(path.clone())
            }
            (_, None) => return Err(StoreError::Closed),
        };
        Ok(Arc::new(Self::at(place, options.cache_bytes, options.poll, requests)))
    }

    fn at(place: Place, cache_bytes: usize, poll: PollOptions, requests: Arc<RequestStats>) -> Self {
        Self {
            place,
            lists: RwLock::default(),
            polling: tokio::sync::Mutex::default(),
            listings: std::sync::Mutex::default(),
            poll,
            requests,
            stats: PollStats::default(),
            elected: OnceLock::new(),
            machine: Machine::default(),
            cache: Cache::new(cache_bytes),
            directories: Directories::default(),
            staged: RwLock::default(),
            #[cfg(test)]
            stop_before: std::sync::Mutex::default(),
        }
    }

    /// As [`Store::open`], over any object store: tests run the code of buckets without a server.
    #[cfg(any(test, feature = "faults"))]
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Arc<Self> {
        Self::over_with(store, prefix, Access::default(), PollOptions::default())
    }

    /// The same, with other settings.
    #[cfg(any(test, feature = "faults"))]
    pub fn over_with(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        access: Access,
        poll: PollOptions,
    ) -> Arc<Self> {
        let place = Place::bucket(store, prefix, access, Arc::default());
        Arc::new(Self::at(place, 16 << 20, poll, Arc::default()))
    }

    /// The same on another machine.
    #[cfg(any(test, feature = "faults"))]
    pub fn over_by(
        store: Arc<dyn ObjectStore>,
        access: Access,
        poll: PollOptions,
        machine: Machine,
    ) -> Arc<Self> {
        let place = Place::bucket(store, "", access, Arc::default());
        Arc::new(Self { machine, ..Self::at(place, 1 << 20, poll, Arc::default()) })
    }

    /// What time it is, for all that is done with these blocks.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.machine.now()
    }

    /// The id of a block to be made.
    #[must_use]
    pub fn new_id(&self) -> BlockId {
        BlockId(self.machine.id())
    }

    /// What the requests to the bucket cost so far.
    #[must_use]
    pub fn request_stats(&self) -> &RequestStats {
        &self.requests
    }

    /// All objects of the store by key, blocks and others.
    #[must_use]
    pub fn objects(&self) -> Objects {
        Objects::new(self.place.clone())
    }

    /// The blocks of a tenant that are to be read, newest first: as the last poll found them, with what was
    /// committed or removed here since.
    #[must_use]
    pub fn blocks(&self, tenant: &Tenant) -> Arc<[Arc<Meta>]> {
        self.lists.read().map_or_else(|_| Arc::from([]), |lists| lists.get(tenant).live)
    }

    /// The blocks of a tenant that were replaced or have expired and wait to be deleted, with
    /// [`Meta::compacted`] set; the longest waiting first.
    #[must_use]
    pub fn compacted(&self, tenant: &Tenant) -> Arc<[Arc<Meta>]> {
        self.lists.read().map_or_else(|_| Arc::from([]), |lists| lists.get(tenant).compacted)
    }

    /// All blocks of a tenant that have a `meta.json` as far as is known: those to be read, and those that are
    /// parts of one of them.
    pub(super) fn listed(&self, tenant: &Tenant) -> Vec<Arc<Meta>> {
        let blocks = self.lists.read().map(|lists| lists.get(tenant)).unwrap_or_default();
        blocks.live.iter().chain(&*blocks.hidden).cloned().collect()
    }

    /// The blocks of a tenant that are not to be read, whoever still names them: replaced, expired, or parts of
    /// a block that is listed.
    #[must_use]
    pub fn replaced(&self, tenant: &Tenant) -> HashSet<BlockId> {
        let blocks = self.lists.read().map(|lists| lists.get(tenant)).unwrap_or_default();
        let mut replaced = list::parts(blocks.live.iter().chain(&*blocks.compacted));
        replaced.extend(blocks.compacted.iter().map(|meta| meta.id));
        replaced
    }

    /// The tenants that have blocks.
    #[must_use]
    pub fn tenants(&self) -> Vec<Tenant> {
        self.lists.read().map(|lists| lists.tenants()).unwrap_or_default()
    }

    /// An object of a block, whole.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it is not there, else what the store says.
    pub async fn read(&self, tenant: &Tenant, block: BlockId, name: &str) -> Result<Bytes, StoreError> {
        match self.file(tenant, block, name) {
            Some(path) => match blocking(move || disk::read(&path)).await {
                // It may have been staged, and its upload ended a moment ago.
                Err(e) if e.is_not_found() => self.get(tenant, block, name).await,
                other => other,
            },
            None => self.get(tenant, block, name).await,
        }
    }

    /// Ranges of an object, in the order asked for. Ranges close to each other are fetched by one request.
    ///
    /// # Errors
    /// As [`Store::read`]; a range past the object's end is one.
    pub async fn read_ranges(
        &self,
        tenant: &Tenant,
        block: BlockId,
        name: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        let Some(path) = self.file(tenant, block, name) else {
            return self.get_ranges(tenant, block, name, ranges).await;
        };
        let wanted = ranges.to_vec();
        match blocking(move || disk::read_local(&path, &wanted)).await {
            // As in `read`.
            Err(e) if e.is_not_found() => self.get_ranges(tenant, block, name, ranges).await,
            other => other,
        }
    }

    /// What was read before and is kept decoded: one cache for all that reads blocks.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Lets a block that is not committed yet be read from `dir`. It is in no list.
    pub fn read_from(&self, block: BlockId, dir: PathBuf) {
        if let Ok(mut staged) = self.staged.write() {
            staged.insert(block, dir);
        }
    }

    /// Ends [`Store::read_from`].
    pub fn read_from_store(&self, block: BlockId) {
        if let Ok(mut staged) = self.staged.write() {
            staged.remove(&block);
        }
    }

    /// Where an object of a block lies on this machine, for who reads it from there; `None` in a bucket.
    #[must_use]
    pub fn path_of(&self, tenant: &Tenant, block: BlockId, name: &str) -> Option<PathBuf> {
        self.file(tenant, block, name)
    }

    /// A directory that holds the block, if one of this machine does.
    fn file(&self, tenant: &Tenant, block: BlockId, name: &str) -> Option<PathBuf> {
        let staged = self.staged.read().ok().and_then(|staged| staged.get(&block).cloned());
        let dir = staged.or_else(|| match &self.place {
            Place::Disk(root) => Some(root.join(tenant.as_str()).join(block.to_string())),
            Place::Bucket { .. } => None,
        });
        dir.map(|dir| dir.join(name))
    }

    pub(super) async fn get(&self, tenant: &Tenant, block: BlockId, name: &str) -> Result<Bytes, StoreError> {
        self.objects().get(&key(tenant, block, name)).await
    }

    async fn get_ranges(
        &self,
        tenant: &Tenant,
        block: BlockId,
        name: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        self.objects().get_ranges(&key(tenant, block, name), ranges).await
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("place", &self.place.to_string()).finish_non_exhaustive()
    }
}

/// The key of an object of a block.
pub(super) fn key(tenant: &Tenant, block: BlockId, name: &str) -> String {
    format!("{tenant}/{block}/{name}")
}
