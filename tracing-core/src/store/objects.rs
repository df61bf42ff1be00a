//! Objects by key, in a directory or in a bucket: what everything else in this room, and the log in object
//! storage, is built on. IO.
//!
//! A key is relative to the store's prefix: segments joined by `/`. An object is written whole or not at all,
//! and survives what the store survives once its write was answered.

use std::{
    fmt,
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::{ObjectStore, path::Path};
use tokio::task::spawn_blocking;

use super::{Access, RequestStats, StoreError, disk, object, range};

/// Most objects that one listing answers with.
const MAX_LISTED: usize = 1 << 20;

/// How often a conditional put is tried whose object is said to exist and is not there.
const CONFLICTS: usize = 5;

/// Where the objects are.
#[derive(Clone)]
pub(super) enum Place {
    Disk(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: String, access: Arc<Access>, stats: Arc<RequestStats> },
}

/// Objects of a store. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    place: Place,
}

/// What a conditional put came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object is there with the bytes given, and nobody else put other ones.
    New,
    /// Another one was there first, and still is.
    Exists,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
}

impl Place {
    /// What every key begins with, a slash included.
    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::Bucket { prefix, .. } => prefix,
            Self::Disk(_) => "",
        }
    }

    /// The whole key of what is called so here.
    pub(super) fn key(&self, key: &str) -> Result<String, StoreError> {
        let parts = || key.split('/');
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        // Files that begin with a point are written halfway.
        if parts().any(odd) || parts().next_back().is_some_and(|name| name.starts_with('.')) {
            return Err(StoreError::Key { key: key.to_owned() });
        }
        Ok(format!("{}{key}", self.prefix()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(root) => root.display().fmt(f),
            Self::Bucket { store, prefix, .. } => write!(f, "{store}/{prefix}"),
        }
    }
}

impl Objects {
    pub(super) fn new(place: Place) -> Self {
        Self { place }
    }

    /// Objects of any object store, below a prefix: tests run the code of buckets without a server.
    #[cfg(any(test, feature = "faults"))]
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self::new(Place::bucket(store, prefix, Access::default(), Arc::default()))
    }

    /// An object, whole.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it is not there, [`StoreError::TooLarge`] beyond 1 GiB, else what the
    /// store says.
    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let key = self.place.key(key)?;
        match &self.place {
            Place::Disk(root) => {
                let path = root.join(&key);
                blocking(move || disk::read(&path)).await
            }
            Place::Bucket { store, access, stats, .. } => {
                range::hedged(access.hedge, stats, || object::get(store.as_ref(), &key)).await
            }
        }
    }

    /// A part of an object.
    ///
    /// # Errors
    /// As [`Objects::get`]; a range past the object's end is one.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        Ok(self.get_ranges(key, &[range]).await?.pop().unwrap_or_default())
    }

    /// Parts of an object, in the order asked for; neighbours by one request.
    ///
    /// # Errors
    /// As [`Objects::get_range`].
    pub async fn get_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let key = self.place.key(key)?;
        match &self.place {
            Place::Disk(root) => {
                let (path, ranges) = (root.join(&key), ranges.to_vec());
                blocking(move || disk::read_local(&path, &ranges)).await
            }
            Place::Bucket { store, access, stats, .. } => {
                range::read(store.as_ref(), &key, ranges, access.hedge, stats).await
            }
        }
    }

    /// Writes an object, over one that may be there.
    ///
    /// # Errors
    /// What the store says; the object may then be there or not. May be repeated.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let key = self.place.key(key)?;
        match &self.place {
            Place::Disk(root) => on_disk(root, key, bytes, disk::write).await,
            Place::Bucket { store, .. } => object::put(store.as_ref(), &key, bytes.into()).await,
        }
    }

    /// Writes an object where there is none. Where an answer was lost and the repetition says that it exists,
    /// it is read back: equal bytes are [`Created::New`]. So two writers must not write equal bytes.
    ///
    /// # Errors
    /// What the store says; the object may then be there or not. May be repeated.
    pub async fn put_new(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        for _ in 0..CONFLICTS {
            if self.create(key, bytes.clone()).await? {
                return Ok(Created::New);
            }
            match self.get(key).await {
                Ok(there) if there == bytes => return Ok(Created::New),
                Ok(_) => return Ok(Created::Exists),
                // Gone since, or a server that refuses one of two puts at once before either is there.
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        Err(StoreError::Contended { key: key.to_owned() })
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let key = self.place.key(key)?;
        match &self.place {
            Place::Disk(root) => on_disk(root, key, bytes, disk::write_new).await,
            Place::Bucket { store, .. } => object::create(store.as_ref(), &key, &bytes).await,
        }
    }

    /// All objects whose keys begin with `prefix` and a slash, at any depth, sorted by key; all there are
    /// where it is empty. A slash at its end is not needed.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] beyond a million of them, else what the store says.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let prefix = prefix.trim_end_matches('/');
        let below = match prefix {
            "" => self.place.prefix().trim_end_matches('/').to_owned(),
            prefix => self.place.key(prefix)?,
        };
        let mut found = match &self.place {
            Place::Disk(root) => {
                let root = root.clone();
                blocking(move || disk::list(&root, &below, MAX_LISTED)).await?
            }
            Place::Bucket { store, .. } => {
                let mut found = Vec::new();
                let mut keep = |object| {
                    found.push(object);
                    found.len() <= MAX_LISTED
                };
                self.each_of_bucket(store.as_ref(), &below, &mut keep).await?;
                found
            }
        };
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Hands over what [`Objects::list`] would answer with, one after the other and in no order, without holding
    /// all of it; until `take` says that it is too much.
    pub(super) async fn each(
        &self,
        prefix: &str,
        take: &mut (dyn FnMut(Object) -> bool + Send),
    ) -> Result<(), StoreError> {
        match &self.place {
            Place::Disk(_) => {
                self.list(prefix).await?.into_iter().all(take);
                Ok(())
            }
            Place::Bucket { store, .. } => {
                self.each_of_bucket(store.as_ref(), &self.place.key(prefix)?, take).await
            }
        }
    }

    async fn each_of_bucket(
        &self,
        store: &dyn ObjectStore,
        below: &str,
        take: &mut (dyn FnMut(Object) -> bool + Send),
    ) -> Result<(), StoreError> {
        let failed = |e| StoreError::object("list", below, e);
        let prefix = (!below.is_empty()).then(|| path(below)).transpose().map_err(failed)?;
        let mut objects = store.list(prefix.as_ref());
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let Some(key) = object.location.as_ref().strip_prefix(self.place.prefix()) else { continue };
            let modified = Timestamp::from_millisecond(object.last_modified.timestamp_millis());
            let modified = modified.unwrap_or_default();
            if !take(Object { key: key.to_owned(), size: object.size, modified }) {
                return Err(StoreError::TooMany { prefix: below.to_owned(), limit: MAX_LISTED });
            }
        }
        Ok(())
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// What the store says. May be repeated.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let key = self.place.key(key)?;
        match &self.place {
            Place::Disk(root) => {
                let path = root.join(key);
                blocking(move || disk::remove(&path)).await
            }
            Place::Bucket { store, .. } => object::delete(store.as_ref(), &key).await,
        }
    }
}

impl Place {
    /// A bucket, or what stands below a prefix of it.
    pub(super) fn bucket(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        access: Access,
        stats: Arc<RequestStats>,
    ) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self::Bucket { store, prefix, access: Arc::new(access), stats }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.place)
    }
}

/// A key as the object store's client wants it. Tenants may hold `*`, which [`Path::from`] would escape.
pub(super) fn path(key: &str) -> Result<Path, object_store::Error> {
    Path::parse(key).map_err(|source| object_store::Error::InvalidPath { source })
}

/// Runs what blocks on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}

/// Writes below a directory in one of the ways of [`disk`].
async fn on_disk<T: Send + 'static>(
    root: &FilePath,
    key: String,
    bytes: Bytes,
    write: fn(&FilePath, &[u8]) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let root = root.to_owned();
    blocking(move || {
        let path = root.join(key);
        disk::create_parent(&root, &path)?;
        write(&path, &bytes)
    })
    .await
}

#[cfg(test)]
mod tests {
    use object_store::{local::LocalFileSystem, memory::InMemory};

    use super::*;

    fn places(dir: &std::path::Path) -> [Objects; 3] {
        let files = dir.join("files");
        std::fs::create_dir_all(&files).unwrap();
        [
            Objects::new(Place::Disk(dir.join("disk"))),
            Objects::over(Arc::new(InMemory::new()), "/pre/fix/"),
            Objects::over(Arc::new(LocalFileSystem::new_with_prefix(files).unwrap()), ""),
        ]
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn what_was_put_is_read_listed_in_order_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        for objects in places(dir.path()) {
            assert!(objects.list("").await.unwrap().is_empty());
            assert!(objects.list("~vivace/wal").await.unwrap().is_empty());
            for key in ["~vivace/wal/b/2", "~vivace/wal/a/10", "~vivace/walrus", "t*/x"] {
                objects.put(key, bytes("0123")).await.unwrap();
            }
            objects.put("t*/x", bytes("0123456789")).await.unwrap();
            assert_eq!(objects.get("t*/x").await.unwrap(), "0123456789");
            assert_eq!(objects.get_range("t*/x", 3..5).await.unwrap(), "34");
            assert!(objects.get_range("t*/x", 3..11).await.is_err(), "past the end");
            let keys = async |prefix| {
                let listed = objects.list(prefix).await.unwrap();
                listed.into_iter().map(|object| object.key).collect::<Vec<_>>()
            };
            assert_eq!(keys("~vivace/wal").await, ["~vivace/wal/a/10", "~vivace/wal/b/2"]);
            assert_eq!(keys("~vivace/wal/").await.len(), 2);
            assert_eq!(keys("").await.len(), 4);
            let listed = objects.list("t*").await.unwrap();
            assert_eq!(listed[0].size, 10);
            assert!(Timestamp::now().duration_since(listed[0].modified).as_secs().abs() < 60);
            for _ in 0..2 {
                objects.delete("t*/x").await.unwrap();
            }
            assert!(objects.get("t*/x").await.unwrap_err().is_not_found());
            assert!(objects.get_range("t*/x", 0..1).await.unwrap_err().is_not_found());
        }
    }

    #[tokio::test]
    async fn of_many_who_put_an_object_if_absent_exactly_one_is_first() {
        let dir = tempfile::tempdir().unwrap();
        for objects in places(dir.path()) {
            let put = |n: usize| {
                let objects = objects.clone();
                async move { objects.put_new("~vivace/claim", Bytes::from(format!("writer {n}"))).await }
            };
            let created: Result<Vec<_>, _> =
                futures::future::join_all((0..8).map(put)).await.into_iter().collect();
            let created = created.unwrap();
            let first = created.iter().position(|c| *c == Created::New).unwrap();
            assert_eq!(created.iter().filter(|c| **c == Created::New).count(), 1);
            assert_eq!(objects.get("~vivace/claim").await.unwrap(), format!("writer {first}"));
            let again =
                objects.put_new("~vivace/claim", Bytes::from(format!("writer {first}"))).await.unwrap();
            assert_eq!(again, Created::New, "a repetition of the first is the first");
            assert_eq!(objects.list("").await.unwrap().len(), 1, "nothing else is left");
        }
    }

    #[tokio::test]
    async fn a_key_that_would_leave_the_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for objects in places(dir.path()) {
            for key in ["", "/a", "a//b", "a/", "../a", "a/./b", "a/.b"] {
                let error = objects.put(key, bytes("x")).await.unwrap_err();
                assert!(matches!(error, StoreError::Key { .. }), "{key}: {error}");
            }
        }
    }
}
