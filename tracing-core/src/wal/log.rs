//! Group commit: what many append at the same time is made durable at once and acknowledged in order. IO.
//!
//! Flow: [`Log::append`] encodes in the caller's task and queues; one task takes all that is queued, asks the
//! home for one commit, and answers everyone in it. Guarantees: an append that resolved with `Ok` is durable;
//! generations change exactly where [`Log::rotate`] stood in the queue. The queue is bounded in bytes: beyond
//! it, appending waits.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{FuturesOrdered, Stream},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};
use uuid::Uuid;

use super::{
    home::{Commit, Generation, Home, HomeError, Segment},
    record::{self, Record, RecordError},
    replay::scan,
    rhythm::Rhythm,
};

/// Bounds of the queue.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes that may wait for their commit.
    pub queue_bytes: u32,
    /// A commit takes no more once it holds this many bytes.
    pub commit_bytes: usize,
}

/// Why an append was not acknowledged. Nothing of it is promised, all of it may be sent again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// A record cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The home refused the commit.
    #[error(transparent)]
    Home(#[from] Arc<HomeError>),
}

/// What a replay found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Whole records.
    pub records: u64,
    /// Damaged places in the middle of a segment, each set aside.
    pub damaged: u64,
    /// Bytes in damaged places.
    pub damaged_bytes: u64,
    /// Bytes of a torn tail, which was cut off: nothing in it was acknowledged.
    pub torn_bytes: u64,
}

/// Counters since the log was opened.
#[derive(Debug, Default)]
pub struct Stats {
    /// Commits that were made durable.
    pub commits: AtomicU64,
    /// Bytes in them.
    pub bytes: AtomicU64,
    /// Commits that failed.
    pub failed: AtomicU64,
}

/// A write-ahead log that is appended to.
pub struct Log {
    home: Arc<dyn Home>,
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    queue_bytes: u32,
    stats: Arc<Stats>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Segments found at opening, by generation, until they are removed.
    found: Mutex<BTreeMap<Generation, Vec<Segment>>>,
    /// The last segment written before this opening: the only one whose tail may be torn.
    newest: Option<Segment>,
    /// The generation that appends go to, as far as rotations were answered.
    current: Mutex<Generation>,
}

type Done = oneshot::Sender<Result<Generation, Arc<HomeError>>>;

enum Queued {
    Append { frames: Bytes, room: OwnedSemaphorePermit, done: Done },
    Rotate { done: oneshot::Sender<Generation> },
    End,
}

struct Waiting {
    generation: Generation,
    bytes: u64,
    sequence: u64,
    done: Vec<(Done, OwnedSemaphorePermit)>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { queue_bytes: 32 << 20, commit_bytes: 8 << 20 }
    }
}

impl Log {
    /// Opens the log in its home and begins a new epoch. Answers with the generations that were left there,
    /// oldest first; each waits to be replayed and removed.
    ///
    /// # Errors
    /// What the home says when asked for its segments.
    pub async fn open(
        home: Arc<dyn Home>,
        options: LogOptions,
    ) -> Result<(Self, Vec<Generation>), Arc<HomeError>> {
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for segment in home.segments().await? {
            found.entry(segment.generation.clone()).or_default().push(segment);
        }
        let epoch = found.keys().map(|g| g.epoch).max().unwrap_or(0) + 1;
        let generation = home.epoch().unwrap_or_else(|| Generation { epoch, number: 0, log: Uuid::new_v4() });
        let (queue, queued) = mpsc::unbounded_channel();
        let stats = Arc::new(Stats::default());
        let current = Mutex::new(generation.clone());
        let task = Task {
            home: home.clone(),
            stats: stats.clone(),
            commit_bytes: options.commit_bytes,
            generation,
            sequence: 0,
            failing: false,
            ending: false,
            rhythm: home.pace().map(Rhythm::new),
        };
        let writer = Mutex::new(Some(tokio::spawn(task.run(queued))));
        let generations = found.keys().cloned().collect();
        let room = Arc::new(Semaphore::new(options.queue_bytes as usize));
        let newest = found.values().flatten().max().cloned();
        let (found, queue_bytes) = (Mutex::new(found), options.queue_bytes);
        let log = Self { home, queue, room, queue_bytes, stats, writer, found, newest, current };
        Ok((log, generations))
    }

    /// Makes records durable, all or none as far as the caller is told, and answers with the generation
    /// that holds them.
    ///
    /// # Errors
    /// [`AppendError`]; the caller may try again.
    pub async fn append(&self, records: &[Record]) -> Result<Generation, AppendError> {
        let len: usize = records.iter().map(record::encoded_len).sum();
        let wanted = u32::try_from(len).unwrap_or(u32::MAX).min(self.queue_bytes);
        let closed = |_| Arc::new(HomeError::Closed);
        let room =
            self.room.clone().acquire_many_owned(wanted).await.map_err(|_| Arc::new(HomeError::Closed))?;
        let mut frames = Vec::with_capacity(len);
        for one in records {
            record::encode(one, &mut frames)?;
        }
        let (done, result) = oneshot::channel();
        let frames = Bytes::from(frames);
        self.queue.send(Queued::Append { frames, room, done }).map_err(|_| Arc::new(HomeError::Closed))?;
        Ok(result.await.map_err(closed)??)
    }

    /// Ends the present generation and answers with it: whatever was queued before belongs to it, whatever
    /// is queued after does not.
    ///
    /// # Errors
    /// [`HomeError::Closed`].
    pub async fn rotate(&self) -> Result<Generation, Arc<HomeError>> {
        self.rotate_unless(std::future::pending()).await
    }

    /// As [`Log::rotate`], given up when `cancelled` resolves first: the generation then goes on.
    ///
    /// # Errors
    /// [`HomeError::Closed`], also where it was given up.
    pub async fn rotate_unless(
        &self,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Generation, Arc<HomeError>> {
        let (done, mut result) = oneshot::channel();
        self.queue.send(Queued::Rotate { done }).map_err(|_| Arc::new(HomeError::Closed))?;
        let ended = tokio::select! {
            biased;
            ended = &mut result => ended.ok(),
            () = cancelled => {
                // What was sent before this counts; after it nothing can be.
                result.close();
                result.try_recv().ok()
            }
        };
        let ended = ended.ok_or_else(|| Arc::new(HomeError::Closed))?;
        let mut next = ended.clone();
        next.number += 1;
        *self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
        Ok(ended)
    }

    /// Ends at once: nothing more is acknowledged, and what is under way may become durable or not.
    pub fn abort(&self) {
        if let Some(task) = self.writer.lock().ok().and_then(|mut writer| writer.take()) {
            task.abort();
        }
    }

    /// The generation that appends go to. While a rotation is under way this is the one that ends.
    #[must_use]
    pub fn current(&self) -> Generation {
        self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Removes what the home holds of a generation, durably.
    ///
    /// # Errors
    /// The home's; may be repeated.
    pub async fn remove(&self, generation: &Generation) -> Result<(), Arc<HomeError>> {
        self.home.remove(generation).await?;
        if let Ok(mut found) = self.found.lock() {
            found.remove(generation);
        }
        Ok(())
    }

    /// Hands every record of a generation that was found at opening to `visit`, in order, on a thread that
    /// may block. A torn tail is cut off; other damage is counted, set aside and passed over.
    ///
    /// # Errors
    /// The home's, where segments cannot be read. Damage is none.
    pub async fn replay<V>(&self, generation: &Generation, mut visit: V) -> Result<Replayed, Arc<HomeError>>
    where
        V: FnMut(Record) + Send + 'static,
    {
        let segments = match self.found.lock() {
            Ok(found) => found.get(generation).cloned().unwrap_or_default(),
            Err(_) => return Err(Arc::new(HomeError::Closed)),
        };
        let mut total = Replayed::default();
        for segment in segments {
            let source = self.home.read(&segment).await?;
            let scanned = spawn_blocking(move || {
                let scanned = scan(source, &mut visit);
                (visit, scanned)
            });
            let (back, scanned) = scanned.await.map_err(|_| Arc::new(HomeError::Closed))?;
            visit = back;
            total.records += scanned.records;
            for found in scanned.damage {
                self.settle(&segment, found, &mut total).await?;
            }
            if let Some(source) = scanned.failed {
                let at = segment.to_string();
                return Err(Arc::new(HomeError::Io { action: "read", at, source }));
            }
        }
        Ok(total)
    }

    async fn settle(
        &self,
        segment: &Segment,
        damage: record::Damage,
        total: &mut Replayed,
    ) -> Result<(), Arc<HomeError>> {
        if damage.tail && self.newest.as_ref() == Some(segment) {
            tracing::info!(%segment, bytes = damage.len, "cut the torn tail of the write-ahead log");
            total.torn_bytes += damage.len;
            return self.home.cut(segment, damage.at).await;
        }
        tracing::error!(
            %segment, at = damage.at, bytes = damage.len,
            "damaged bytes in the write-ahead log: set aside in its directory `corrupt` and passed over"
        );
        total.damaged += 1;
        total.damaged_bytes += damage.len;
        self.home.set_aside(segment, damage.at, Bytes::from(damage.kept)).await
    }

    /// Counters since opening.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Waits until everything queued was answered, and ends: appends fail from then on. A dropped log ends as
    /// well, unwatched.
    pub async fn close(&self) {
        // Closed already where nobody listens.
        let _ = self.queue.send(Queued::End);
        let task = self.writer.lock().ok().and_then(|mut writer| writer.take());
        if let Some(task) = task {
            // A panic of the writer was already reported by the runtime.
            let _ = task.await;
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("home", &self.home).field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// The one task that asks the home for commits.
struct Task {
    home: Arc<dyn Home>,
    stats: Arc<Stats>,
    commit_bytes: usize,
    generation: Generation,
    sequence: u64,
    failing: bool,
    ending: bool,
    /// When the next commit is due; none where that is at once.
    rhythm: Option<Rhythm>,
}

type Answer = (Result<(), Arc<HomeError>>, Waiting);

impl Task {
    async fn run(mut self, mut queued: mpsc::UnboundedReceiver<Queued>) {
        let mut under_way = FuturesOrdered::<BoxFuture<'static, Answer>>::new();
        let mut left = VecDeque::new();
        loop {
            let free = under_way.len() < self.home.depth() && !self.ending;
            let due = left.front().map(|first| self.due(first));
            if free
                && due == Some(None)
                && let Some(first) = left.pop_front()
            {
                self.take(first, &mut queued, &mut left, &mut under_way);
                continue;
            }
            // In this order always, so that the same happenings have the same outcome.
            tokio::select! {
                biased;
                Some((result, waiting)) = next(&mut under_way) => self.acknowledge(&result, waiting),
                () = until(due.flatten()), if free && due.is_some() => {
                    if let Some(first) = left.pop_front() {
                        self.take(first, &mut queued, &mut left, &mut under_way);
                    }
                }
                Some(first) = queued.recv(), if free && left.is_empty() => {
                    if let Some(rhythm) = &mut self.rhythm {
                        rhythm.asked(Instant::now());
                    }
                    left.push_back(first);
                }
                else => break,
            }
        }
    }

    /// When what stands first may become a commit; none for at once.
    fn due(&self, first: &Queued) -> Option<Instant> {
        match (&self.rhythm, first) {
            (Some(rhythm), Queued::Append { .. }) => rhythm.due().filter(|due| *due > Instant::now()),
            _ => None,
        }
    }

    /// Makes one commit of all that is queued, up to a rotation, the end, or the bytes a commit may hold.
    fn take(
        &mut self,
        first: Queued,
        queued: &mut mpsc::UnboundedReceiver<Queued>,
        left: &mut VecDeque<Queued>,
        under_way: &mut FuturesOrdered<BoxFuture<'static, Answer>>,
    ) {
        let mut frames = Vec::new();
        let mut waiting = Waiting {
            generation: self.generation.clone(),
            bytes: 0,
            sequence: self.sequence,
            done: Vec::new(),
        };
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Queued::Append { frames: bytes, room, done } => {
                    waiting.bytes += bytes.len() as u64;
                    waiting.done.push((done, room));
                    frames.push(bytes);
                }
                Queued::Rotate { done } if frames.is_empty() => {
                    // Where whoever asked has gone, it goes on: nobody would know that it had ended.
                    if done.send(self.generation.clone()).is_ok() {
                        self.generation.number += 1;
                        waiting.generation = self.generation.clone();
                    }
                }
                Queued::End if frames.is_empty() => {
                    self.ending = true;
                    return;
                }
                turn => {
                    left.push_back(turn);
                    break;
                }
            }
            let full = waiting.bytes >= self.commit_bytes as u64;
            next = if full { None } else { queued.try_recv().ok() };
        }
        if frames.is_empty() {
            return;
        }
        self.sequence += 1;
        if let Some(rhythm) = &mut self.rhythm {
            rhythm.began(Instant::now(), waiting.bytes);
            if !left.is_empty() {
                rhythm.asked(Instant::now());
            }
        }
        let commit = Commit { generation: self.generation.clone(), sequence: waiting.sequence, frames };
        let commit = self.home.commit(commit);
        under_way.push_back(Box::pin(async move { (commit.await, waiting) }));
    }

    fn acknowledge(&mut self, result: &Result<(), Arc<HomeError>>, waiting: Waiting) {
        match result {
            Ok(()) => {
                self.stats.commits.fetch_add(1, Ordering::Relaxed);
                self.stats.bytes.fetch_add(waiting.bytes, Ordering::Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the write-ahead log can be written again");
                }
            }
            Err(error) => {
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
                // The sequence has no gaps: the number of a commit that failed is used again.
                self.sequence = self.sequence.min(waiting.sequence);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the write-ahead log cannot be written: writes are refused until it can");
                }
            }
        }
        for (done, _room) in waiting.done {
            let answer = result.clone().map(|()| waiting.generation.clone());
            // A client that went away is not told.
            let _ = done.send(answer);
        }
    }
}

/// Resolves at a moment; at once where there is none.
async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

/// The next result, or `None` while nothing is under way, which takes the branch out of the `select!`.
async fn next(under_way: &mut FuturesOrdered<BoxFuture<'static, Answer>>) -> Option<Answer> {
    if under_way.size_hint().0 == 0 { None } else { under_way.next().await }
}

#[cfg(test)]
mod tests;
