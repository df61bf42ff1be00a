//! The way of one process to the store and to its clients: it can be cut off, put to sleep, and die. What was
//! sent arrives whether or not its sender still waits.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::World;
use crate::store::fault::FaultStore;

#[derive(Clone)]
pub(super) struct Link {
    inner: FaultStore,
    world: Arc<World>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    dead: bool,
    asleep_until: Instant,
    cut_off_until: Instant,
    /// When it fell asleep or was last awake.
    heard_of: Instant,
}

impl Link {
    pub(super) fn new(inner: FaultStore, world: Arc<World>) -> Self {
        let now = Instant::now();
        let state = State { dead: false, asleep_until: now, cut_off_until: now, heard_of: now };
        Self { inner, world, state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn kill(&self) {
        let mut state = self.state.lock().unwrap();
        state.heard_of = heard_of(&state);
        state.dead = true;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    /// The process sleeps: nothing it does goes on, and nobody hears of it.
    pub(super) fn pause(&self, time: Duration) {
        let mut state = self.state.lock().unwrap();
        state.heard_of = heard_of(&state);
        state.asleep_until = state.asleep_until.max(Instant::now() + time);
    }

    /// The store is not reached; the others are.
    pub(super) fn cut_off(&self, time: Duration) {
        self.state.lock().unwrap().cut_off_until = Instant::now() + time;
    }

    pub(super) fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.heard_of = heard_of(&state);
        state.asleep_until = Instant::now();
        state.cut_off_until = Instant::now();
    }

    /// When the others last heard of it.
    pub(super) fn heard_of(&self) -> Instant {
        heard_of(&self.state.lock().unwrap())
    }

    /// Returns when the process runs; never once it is dead.
    pub(super) async fn awake(&self) {
        loop {
            let (dead, until) = {
                let state = self.state.lock().unwrap();
                (state.dead, state.asleep_until)
            };
            if dead {
                return std::future::pending().await;
            }
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    async fn sent(&self) -> Result<()> {
        self.awake().await;
        let cut_off = self.state.lock().unwrap().cut_off_until > Instant::now();
        if cut_off {
            sleep(self.world.random.millis(10, 3000)).await;
            return Err(Error::Generic { store: "link", source: "no route".into() });
        }
        Ok(())
    }

    /// The time on the way; now and then very long.
    fn way(&self) -> Duration {
        if self.world.random.one_in(40) {
            self.world.random.millis(500, 9000)
        } else {
            self.world.random.millis(1, 40)
        }
    }

    /// Does what changes the store in a task of its own, since a request that is under way arrives.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.sent().await?;
        let way = self.way();
        let done = tokio::spawn(async move {
            sleep(way).await;
            work.await
        });
        let done = done.await.unwrap();
        self.awake().await;
        done
    }
}

/// A process that is awake is heard of now.
fn heard_of(state: &State) -> Instant {
    let now = Instant::now();
    if state.dead || state.asleep_until > now { state.heard_of } else { now }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

#[async_trait]
impl ObjectStore for Link {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (inner, location) = (self.inner.clone(), location.clone());
        self.detached(async move { inner.put_opts(&location, payload, opts).await }).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.sent().await?;
        sleep(self.way()).await;
        let answer = self.inner.get_opts(location, options).await;
        self.awake().await;
        answer
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.sent().await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let one = move |location: Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                let (inner, path) = (this.inner.clone(), location.clone());
                let delete = async move {
                    inner.delete_stream(stream::iter([Ok(path)]).boxed()).try_for_each(async |_| Ok(())).await
                };
                this.detached(delete).await.map(|()| location)
            }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        let list = async move {
            this.sent().await?;
            sleep(this.way()).await;
            let listed: Vec<_> = this.inner.list(prefix.as_ref()).try_collect().await?;
            this.awake().await;
            Ok::<_, Error>(stream::iter(listed.into_iter().map(Ok)))
        };
        stream::once(list).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
