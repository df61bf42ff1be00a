//! An object store that fails, under a seed: for tests, in this crate and in those that use it (feature
//! `faults`).
//!
//! What a bucket does to its clients: refusals one by one and in bursts, answers that are late, answers that
//! are lost although the thing was done, puts that are done after their failure was answered, bodies that end
//! early, parts of an upload that are refused. And [`FaultStore::die_after`]: the client's process ends
//! between two requests. With one thread and tokio's paused clock a seed gives the same run each time.

mod clocked;

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};

pub use clocked::Clocked;

/// How often what goes wrong, in thousandths of all requests that it can happen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A request is refused and nothing happens.
    pub error: u32,
    /// This and some of the next requests are refused, as by a server that throttles.
    pub throttle: u32,
    /// A put, deletion, or completion happens, and its answer is an error.
    pub lost_answer: u32,
    /// A put is answered with an error and happens afterwards.
    pub late: u32,
    /// A body ends early, without an error.
    pub truncate: u32,
    /// An answer takes up to [`Faults::longest`].
    pub delay: u32,
    /// The longest delay, also of a put that happens late.
    pub longest: Duration,
}

impl Faults {
    /// Everything works.
    pub const NONE: Self = Self {
        error: 0,
        throttle: 0,
        lost_answer: 0,
        late: 0,
        truncate: 0,
        delay: 0,
        longest: Duration::from_millis(200),
    };

    /// About one request of seven goes wrong, in all ways.
    pub const ALL: Self =
        Self { error: 40, throttle: 10, lost_answer: 40, late: 20, truncate: 30, delay: 100, ..Self::NONE };
}

/// Requests that were made, whether they went well or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Reads of an object or of a part of one.
    pub gets: u64,
    /// Puts of an object, parts and completions of an upload among them.
    pub puts: u64,
    /// Deletions.
    pub deletes: u64,
    /// Listings.
    pub lists: u64,
}

/// The store. A clone is the same store.
#[derive(Clone, Debug)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    faults: Mutex<Faults>,
    random: AtomicU64,
    /// Requests that a throttling server will still refuse.
    burst: AtomicU64,
    /// Requests until the process is dead; `u64::MAX` for never.
    lives: AtomicU64,
    dead: AtomicBool,
    gets: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    lists: AtomicU64,
}

/// What happens to a request that changes something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    Unheard,
    Late,
}

impl FaultStore {
    /// A store over another one. Nothing fails until [`FaultStore::set`].
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64) -> Self {
        let state = State {
            faults: Mutex::new(Faults::NONE),
            random: AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995),
            burst: AtomicU64::new(0),
            lives: AtomicU64::new(u64::MAX),
            dead: AtomicBool::new(false),
            gets: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            lists: AtomicU64::new(0),
        };
        Self { inner, state: Arc::new(state) }
    }

    /// From now on this goes wrong.
    pub fn set(&self, faults: Faults) {
        *self.state.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
        if faults == Faults::NONE {
            self.state.burst.store(0, Ordering::Relaxed);
        }
    }

    /// After that many more requests, every one is refused and does nothing: the process is dead.
    pub fn die_after(&self, requests: u64) {
        self.state.lives.store(requests, Ordering::Relaxed);
    }

    /// The process is there again; answers whether it had died.
    pub fn revive(&self) -> bool {
        self.state.lives.store(u64::MAX, Ordering::Relaxed);
        self.state.dead.swap(false, Ordering::Relaxed)
    }

    /// What was asked of the store so far.
    #[must_use]
    pub fn requests(&self) -> Requests {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let State { gets, puts, deletes, lists, .. } = &*self.state;
        Requests { gets: read(gets), puts: read(puts), deletes: read(deletes), lists: read(lists) }
    }

    /// A number below `n` out of the seed, for the test that drives the store.
    #[must_use]
    pub fn random(&self, n: u64) -> u64 {
        self.state.random() % n.max(1)
    }
}

impl State {
    /// SplitMix64.
    fn random(&self) -> u64 {
        let at = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut z = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&self, thousandths: u32) -> bool {
        thousandths > 0 && self.random() % 1000 < u64::from(thousandths)
    }

    fn faults(&self) -> Faults {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn some_time(&self) -> Duration {
        let longest = self.faults().longest.as_micros() as u64;
        Duration::from_micros(self.random() % longest.max(1))
    }

    /// A request comes in: it takes its time, and may be refused.
    async fn admit(&self, count: &AtomicU64) -> Result<()> {
        count.fetch_add(1, Ordering::Relaxed);
        let alive = |n: u64| if n == u64::MAX { Some(n) } else { n.checked_sub(1) };
        if self.lives.fetch_update(Ordering::Relaxed, Ordering::Relaxed, alive).is_err() {
            self.dead.store(true, Ordering::Relaxed);
            return Err(failure("the process is dead"));
        }
        let faults = self.faults();
        if self.happens(faults.delay) {
            tokio::time::sleep(self.some_time()).await;
        }
        if self.burst.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
            return Err(failure("429 too many requests"));
        }
        if self.happens(faults.throttle) {
            self.burst.store(1 + self.random() % 6, Ordering::Relaxed);
            return Err(failure("503 slow down"));
        }
        if self.happens(faults.error) {
            return Err(failure("500 internal error"));
        }
        Ok(())
    }

    async fn fate(&self, count: &AtomicU64) -> Fate {
        if self.admit(count).await.is_err() {
            return Fate::Refused;
        }
        let faults = self.faults();
        match () {
            () if self.happens(faults.lost_answer) => Fate::Unheard,
            () if self.happens(faults.late) => Fate::Late,
            () => Fate::Done,
        }
    }
}

fn failure(what: &'static str) -> Error {
    Error::Generic { store: "fault", source: what.into() }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.state.fate(&self.state.puts).await {
            Fate::Refused => Err(failure("the put was refused")),
            Fate::Done => self.inner.put_opts(location, payload, opts).await,
            Fate::Unheard => {
                let _ = self.inner.put_opts(location, payload, opts).await;
                Err(failure("the answer to a put was lost"))
            }
            Fate::Late => {
                let (inner, location, after) = (self.inner.clone(), location.clone(), self.state.some_time());
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let _ = inner.put_opts(&location, payload, opts).await;
                });
                Err(failure("a put timed out"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.state.admit(&self.state.puts).await?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(FaultUpload { inner, state: self.state.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.state.admit(&self.state.gets).await?;
        let answer = self.inner.get_opts(location, options).await?;
        if !self.state.happens(self.state.faults().truncate) {
            return Ok(answer);
        }
        let GetResult { payload, meta, range, attributes, extensions } = answer;
        let payload = match payload {
            GetResultPayload::Stream(body) => {
                let body: Vec<Bytes> = body.try_collect().await?;
                let keep = self.random(range.end - range.start) as usize;
                GetResultPayload::Stream(stream::iter(cut(body, keep).into_iter().map(Ok)).boxed())
            }
            file @ GetResultPayload::File(..) => file,
        };
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let options = GetOptions::new().with_range(Some(range.clone()));
            parts.push(self.get_opts(location, options).await?.bytes().await?);
        }
        Ok(parts)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    let delete = async || {
                        let one = stream::iter([Ok(location.clone())]).boxed();
                        this.inner.delete_stream(one).try_for_each(async |_| Ok(())).await
                    };
                    match this.state.fate(&this.state.deletes).await {
                        Fate::Refused => return Err(failure("the deletion was refused")),
                        Fate::Done => delete().await?,
                        Fate::Unheard | Fate::Late => {
                            let _ = delete().await;
                            return Err(failure("the answer to a deletion was lost"));
                        }
                    }
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, objects) = (self.clone(), self.inner.list(prefix));
        let begin = async move {
            this.state.admit(&this.state.lists).await?;
            // A listing is many requests; a later one may fail too.
            let breaks = this.state.happens(this.state.faults().error);
            let after = if breaks { this.random(20) as usize } else { usize::MAX };
            let end = stream::iter(breaks.then(|| Err(failure("the listing broke off"))));
            Ok::<_, Error>(objects.take(after).chain(end))
        };
        stream::once(begin).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.state.admit(&self.state.lists).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.state.admit(&self.state.puts).await?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// The first `keep` bytes.
fn cut(body: Vec<Bytes>, mut keep: usize) -> Vec<Bytes> {
    let piece = |bytes: Bytes| {
        let bytes = bytes.slice(..keep.min(bytes.len()));
        keep -= bytes.len();
        bytes
    };
    body.into_iter().map(piece).collect()
}

#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    state: Arc<State>,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (state, part) = (self.state.clone(), self.inner.put_part(data));
        Box::pin(async move {
            state.admit(&state.puts).await?;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.state.fate(&self.state.puts).await {
            Fate::Refused => Err(failure("the upload was not completed")),
            Fate::Done => self.inner.complete().await,
            Fate::Unheard | Fate::Late => {
                let _ = self.inner.complete().await;
                Err(failure("the answer to a completion was lost"))
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.state.admit(&self.state.deletes).await?;
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_seed_gives_the_same_failures_each_time_and_an_error_can_hide_a_put_that_happened() {
        let run = async |seed| {
            let store = FaultStore::new(Arc::new(InMemory::new()), seed);
            store.set(Faults::ALL);
            let mut said = Vec::new();
            for n in 0..300 {
                said.push(store.put(&Path::from(format!("o{n}")), "x".into()).await.is_ok());
            }
            store.set(Faults::NONE);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let there = store.list(None).count().await;
            (said.iter().filter(|ok| **ok).count(), there, said)
        };
        let (ok, there, said) = run(7).await;
        assert_eq!(run(7).await.2, said);
        assert_ne!(run(8).await.2, said);
        assert!(ok < there && there < 300, "{ok} {there}");
    }

    #[tokio::test]
    async fn a_dead_process_does_nothing_until_it_is_revived() {
        let store = FaultStore::new(Arc::new(InMemory::new()), 1);
        store.die_after(1);
        let (a, b) = (Path::from("a"), Path::from("b"));
        store.put(&a, "x".into()).await.unwrap();
        store.put(&b, "x".into()).await.unwrap_err();
        store.delete(&a).await.unwrap_err();
        assert!(store.revive());
        assert_eq!(store.list(None).count().await, 1);
        assert_eq!(store.requests(), Requests { gets: 0, puts: 2, deletes: 1, lists: 1 });
    }
}
