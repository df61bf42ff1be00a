//! A store whose objects age by tokio's clock, which a test may pause and put forward: a day passes at once.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use jiff::Timestamp;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use tokio::time::Instant;

/// The store. A clone is the same store.
#[derive(Clone, Debug)]
pub struct Clocked {
    inner: Arc<dyn ObjectStore>,
    clock: Arc<Clock>,
}

#[derive(Debug)]
struct Clock {
    began: Instant,
    /// What time it was then; that of the machine where none is given.
    at: Option<Timestamp>,
    /// Seconds that it was put forward by.
    ahead: AtomicU64,
    /// How long after that each object was written.
    written: Mutex<HashMap<Path, Duration>>,
}

impl Clock {
    fn now(&self) -> Duration {
        self.began.elapsed() + Duration::from_secs(self.ahead.load(Ordering::Relaxed))
    }

    fn note(&self, location: &Path) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(location.clone(), self.now());
    }

    /// The store below tells the time of the machine, which stands still meanwhile.
    fn dated(&self, mut object: ObjectMeta) -> ObjectMeta {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let written = written.get(&object.location).copied().unwrap_or_default();
        let Some(at) = self.at else {
            object.last_modified += written;
            return object;
        };
        let told = object.last_modified.timestamp_millis();
        let told = Timestamp::from_millisecond(told).unwrap_or_default();
        let by = (at + written).duration_since(told);
        if by.is_negative() {
            object.last_modified -= by.unsigned_abs();
        } else {
            object.last_modified += by.unsigned_abs();
        }
        object
    }
}

impl Clocked {
    /// A store over another one, whose time begins now.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self::beginning(inner, None)
    }

    /// The same, on whose clock it is `at` now whatever the machine's says.
    #[must_use]
    pub fn at(inner: Arc<dyn ObjectStore>, at: Timestamp) -> Self {
        Self::beginning(inner, Some(at))
    }

    fn beginning(inner: Arc<dyn ObjectStore>, at: Option<Timestamp>) -> Self {
        let (began, ahead, written) = (Instant::now(), AtomicU64::new(0), Mutex::default());
        Self { inner, clock: Arc::new(Clock { began, at, ahead, written }) }
    }

    /// What is there becomes older by so much at once, without tokio's clock.
    pub fn advance(&self, by: Duration) {
        self.clock.ahead.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// How much older than when it began everything is.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.now()
    }
}

impl fmt::Display for Clocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clocked({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Clocked {
    async fn put_opts(&self, to: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(to, payload, opts).await?;
        self.clock.note(to);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(to, opts).await?;
        Ok(Box::new(ClockedUpload { inner, to: to.clone(), clock: self.clock.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let answer = self.inner.get_opts(location, options).await?;
        Ok(GetResult { meta: self.clock.dated(answer.meta.clone()), ..answer })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let clock = self.clock.clone();
        self.inner.list(prefix).map(move |object| object.map(|object| clock.dated(object))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.clock.note(to);
        Ok(())
    }
}

#[derive(Debug)]
struct ClockedUpload {
    inner: Box<dyn MultipartUpload>,
    to: Path,
    clock: Arc<Clock>,
}

#[async_trait]
impl MultipartUpload for ClockedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.inner.complete().await?;
        self.clock.note(&self.to);
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
