//! The log's home on a local disk: files appended to by one thread, durable by fdatasync. IO.
//!
//! What was acknowledged is never written to again: a commit that failed is cut off before the next, and a
//! file whose fsync failed is left alone for good, since the kernel may have dropped the pages and would call
//! the next fsync of the same file a success (rule *no-second-fsync*).

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::home::{Commit, Generation, Home, HomeError, Segment, Source};

const MAGIC: &[u8; 8] = b"VIVAWAL1";
const EXTENSION: &str = "wal";
/// Slices handed to one writev; Linux takes 1024.
const MAX_SLICES: usize = 1024;

type Done = Result<(), Arc<HomeError>>;

/// Where and how the log is kept on disk.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Directory of the log's own, created if missing.
    pub path: PathBuf,
    /// A file that has grown beyond this many bytes is followed by another.
    pub segment_bytes: u64,
}

/// Segments as files of one directory.
pub struct Disk {
    path: PathBuf,
    writer: mpsc::Sender<(Commit, oneshot::Sender<Done>)>,
    /// Held locked while this lives: two writers would remove each other's segments.
    _lock: File,
}

impl DiskOptions {
    /// Files of 64 MiB below `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), segment_bytes: 64 << 20 }
    }
}

impl Disk {
    /// Takes the directory and starts the thread that writes.
    ///
    /// # Errors
    /// [`HomeError::InUse`] where another process has it, [`HomeError::Io`] where it cannot be made.
    pub fn open(options: DiskOptions) -> Result<Self, HomeError> {
        Self::start(options, Faults::default())
    }

    /// As [`Disk::open`], with steps that fail when a test says so.
    #[cfg(test)]
    pub(crate) fn open_with(options: DiskOptions, faults: Faults) -> Result<Self, HomeError> {
        Self::start(options, faults)
    }

    fn start(options: DiskOptions, faults: Faults) -> Result<Self, HomeError> {
        let DiskOptions { path, segment_bytes } = options;
        fs::create_dir_all(&path).map_err(|e| failed("create", &path, e))?;
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_dir(parent)?;
        let lock = lock(&path)?;
        let (writer, commits) = mpsc::channel();
        let mut files = Writer { path: path.clone(), segment_bytes, open: None, faults };
        thread::Builder::new()
            .name("wal-writer".to_owned())
            .spawn(move || {
                while let Ok((commit, done)) = commits.recv() {
                    let commit: Commit = commit;
                    let done: oneshot::Sender<Done> = done;
                    // An appender that went away does not want to know.
                    let _ = done.send(files.commit(&commit).map_err(Arc::new));
                }
            })
            .map_err(|e| failed("start the writer of", &path, e))?;
        Ok(Self { path, writer, _lock: lock })
    }

    fn file(&self, segment: &Segment) -> PathBuf {
        self.path.join(format!("{segment}.{EXTENSION}"))
    }

    fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, HomeError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Arc<HomeError>>> {
        Box::pin(
            async move { spawn_blocking(work).await.unwrap_or(Err(HomeError::Closed)).map_err(Arc::new) },
        )
    }
}

impl Home for Disk {
    fn depth(&self) -> usize {
        1
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Done> {
        let (done, result) = oneshot::channel();
        let sent = self.writer.send((commit, done));
        Box::pin(async move {
            sent.map_err(|_| Arc::new(HomeError::Closed))?;
            result.await.unwrap_or_else(|_| Err(Arc::new(HomeError::Closed)))
        })
    }

    fn segments(&self) -> BoxFuture<'static, Result<Vec<Segment>, Arc<HomeError>>> {
        let path = self.path.clone();
        Self::blocking(move || list(&path))
    }

    fn read(&self, segment: &Segment) -> BoxFuture<'static, Result<Source, Arc<HomeError>>> {
        let path = self.file(segment);
        Self::blocking(move || {
            let mut file = File::open(&path).map_err(|e| failed("open", &path, e))?;
            file.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(|e| failed("read", &path, e))?;
            Ok(Box::new(file) as Source)
        })
    }

    fn cut(&self, segment: &Segment, keep: u64) -> BoxFuture<'static, Done> {
        let path = self.file(segment);
        Self::blocking(move || {
            let cut = || {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(MAGIC.len() as u64 + keep)?;
                file.sync_all()
            };
            cut().map_err(|e| failed("cut the torn tail of", &path, e))
        })
    }

    fn set_aside(&self, segment: &Segment, at: u64, bytes: Bytes) -> BoxFuture<'static, Done> {
        let aside = self.path.join("corrupt");
        let path = aside.join(format!("{segment}.{at}"));
        Self::blocking(move || {
            fs::create_dir_all(&aside).map_err(|e| failed("create", &aside, e))?;
            fs::write(&path, bytes).map_err(|e| failed("write", &path, e))
        })
    }

    fn remove(&self, generation: &Generation) -> BoxFuture<'static, Done> {
        let (path, generation) = (self.path.clone(), generation.clone());
        Self::blocking(move || {
            for segment in list(&path)?.into_iter().filter(|s| s.generation == generation) {
                let file = path.join(format!("{segment}.{EXTENSION}"));
                fs::remove_file(&file).map_err(|e| failed("remove", &file, e))?;
            }
            sync_dir(&path)
        })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The file that is appended to, and the bytes of it that are durable.
struct Open {
    generation: Generation,
    path: PathBuf,
    file: File,
    durable: u64,
}

struct Writer {
    path: PathBuf,
    segment_bytes: u64,
    open: Option<Open>,
    faults: Faults,
}

impl Writer {
    fn commit(&mut self, commit: &Commit) -> Result<(), HomeError> {
        let mut open = self.file_for(commit)?;
        match self.append(&mut open, commit) {
            Ok(()) => {
                self.open = Some(open);
                Ok(())
            }
            Err(Stopped::Write(cause)) => {
                let path = open.path.clone();
                // A file that cannot be cut is not appended to again: replay cuts it.
                if self.cut(&mut open).is_ok() {
                    self.open = Some(open);
                }
                Err(failed("write", &path, cause))
            }
            Err(Stopped::Sync(cause)) => {
                tracing::error!(file = %open.path.display(), error = %cause, "fsync failed: the file is left and its last commit written to a new one");
                let _ = self.cut(&mut open);
                self.again(commit)
            }
        }
    }

    /// Writes a commit whose fsync failed to a new file, once.
    fn again(&mut self, commit: &Commit) -> Result<(), HomeError> {
        let mut open = self.create(commit)?;
        let path = open.path.clone();
        match self.append(&mut open, commit) {
            Ok(()) => {
                self.open = Some(open);
                Ok(())
            }
            Err(Stopped::Write(cause) | Stopped::Sync(cause)) => {
                let _ = fs::remove_file(&path);
                Err(failed("write", &path, cause))
            }
        }
    }

    fn file_for(&mut self, commit: &Commit) -> Result<Open, HomeError> {
        match self.open.take() {
            Some(open) if open.generation == commit.generation && open.durable < self.segment_bytes => {
                Ok(open)
            }
            _ => self.create(commit),
        }
    }

    fn create(&mut self, commit: &Commit) -> Result<Open, HomeError> {
        let generation = commit.generation.clone();
        let segment = Segment { generation: generation.clone(), sequence: commit.sequence };
        let path = self.path.join(format!("{segment}.{EXTENSION}"));
        let create = || {
            self.faults.at(Step::Create)?;
            // A file of this name is what a failed attempt at the same commit left behind: it goes, inode
            // and all.
            if let Err(e) = fs::remove_file(&path)
                && e.kind() != io::ErrorKind::NotFound
            {
                return Err(e);
            }
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(MAGIC)?;
            File::open(&self.path)?.sync_all()?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok(Open { generation, path, file, durable: MAGIC.len() as u64 }),
            Err(cause) => {
                let _ = fs::remove_file(&path);
                Err(failed("create", &path, cause))
            }
        }
    }

    fn append(&self, open: &mut Open, commit: &Commit) -> Result<(), Stopped> {
        let written = self.write(&mut open.file, &commit.frames).map_err(Stopped::Write)?;
        self.faults.at(Step::Sync).and_then(|()| open.file.sync_data()).map_err(Stopped::Sync)?;
        open.durable += written;
        Ok(())
    }

    fn write(&self, file: &mut File, frames: &[Bytes]) -> io::Result<u64> {
        for chunk in frames.chunks(MAX_SLICES) {
            if let Err(torn) = self.faults.at(Step::Write) {
                // As a disk that fills up does: some of it is written.
                let half = chunk.first().map_or(&[][..], |frame| &frame[..frame.len() / 2]);
                file.write_all(half)?;
                return Err(torn);
            }
            let mut slices: Vec<_> = chunk.iter().map(|frame| IoSlice::new(frame)).collect();
            let mut left = &mut slices[..];
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                match file.write_vectored(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => IoSlice::advance_slices(&mut left, n),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(frames.iter().map(|frame| frame.len() as u64).sum())
    }

    /// Takes back what a failed commit wrote.
    fn cut(&self, open: &mut Open) -> io::Result<()> {
        self.faults.at(Step::Cut)?;
        open.file.set_len(open.durable)?;
        open.file.seek(SeekFrom::Start(open.durable))?;
        Ok(())
    }
}

enum Stopped {
    Write(io::Error),
    Sync(io::Error),
}

/// A step of the writer, between which a test can make the disk fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Write,
    Sync,
    Cut,
}

/// Failures that a test asks for; outside of tests there are none.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    pub(crate) hook: Option<Arc<dyn Fn(Step) -> io::Result<()> + Send + Sync>>,
}

impl Faults {
    #[cfg(test)]
    fn at(&self, step: Step) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(step))
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "a test's build has a hook here")]
    fn at(&self, _: Step) -> io::Result<()> {
        Ok(())
    }
}

fn list(path: &Path) -> Result<Vec<Segment>, HomeError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| failed("list", path, e))? {
        let name = entry.map_err(|e| failed("list", path, e))?.path();
        if name.extension().is_some_and(|ext| ext == EXTENSION) {
            segments.extend(name.file_stem().and_then(|stem| Segment::parse(stem.to_str()?)));
        }
    }
    segments.sort();
    Ok(segments)
}

fn lock(path: &Path) -> Result<File, HomeError> {
    let file = path.join("LOCK");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file);
    let lock = lock.map_err(|e| failed("open", &file, e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(HomeError::InUse { at: path.display().to_string() }),
        Err(TryLockError::Error(e)) => Err(failed("lock", &file, e)),
    }
}

fn sync_dir(path: &Path) -> Result<(), HomeError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| failed("sync", path, e))
}

fn failed(action: &'static str, at: &Path, source: io::Error) -> HomeError {
    let at = at.display().to_string();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HomeError::Full { at },
        _ => HomeError::Io { action, at, source },
    }
}
