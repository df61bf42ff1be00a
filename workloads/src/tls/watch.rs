//! A configuration that follows its files. IO: looks at files, in a task of its own.
//!
//! # Flow
//! Every few seconds the files' inode, time and size are compared with those that were read last. Kubernetes swaps a
//! symbolic link, others write in place or one file after the other: all of it shows there.
//!
//! # Errors
//! What cannot be used is said once for each state of the files, and looked at again each time.

use std::{
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{
    material::{LoadError, Loaded},
    metrics::Metrics,
    settings::{Place, Source},
};

/// Files may be exchanged while they are read; then they are read again at once, so often at most.
const ATTEMPTS: usize = 3;

/// Device, inode, seconds and nanoseconds of the last change, size; `None` where there is no file.
type Print = Option<(u64, u64, i64, i64, u64)>;

type Load<T> = Box<dyn Fn() -> Result<Loaded<T>, LoadError> + Send + Sync>;

/// A configuration in use, and how to make it anew.
pub(super) struct Reloading<T> {
    name: String,
    current: ArcSwap<T>,
    load: Load<T>,
    files: Vec<PathBuf>,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    prints: Vec<Print>,
    not_after: Option<i64>,
    error: Option<LoadError>,
}

impl<T> std::fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloading")
            .field("name", &self.name)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Reads the files for the first time.
    pub(super) fn open<'a>(
        name: &str,
        places: impl IntoIterator<Item = &'a Place>,
        metrics: Metrics,
        load: Load<T>,
    ) -> Result<Self, LoadError> {
        let of_file = |place: &Place| match &place.source {
            Source::File(path) => Some(path.clone()),
            Source::Inline(_) => None,
        };
        let files: Vec<PathBuf> = places.into_iter().filter_map(of_file).collect();
        let (prints, loaded) = stable(&files, &load);
        let Loaded { config, not_after } = loaded?;
        let state = Mutex::new(State { prints, not_after, error: None });
        let current = ArcSwap::new(config);
        let opened = Self { name: name.to_owned(), current, load, files, metrics, state };
        opened.tell_expiry(not_after);
        if not_after.is_some_and(|not_after| not_after < now()) {
            tracing::warn!(config = name, "the certificate has expired");
        }
        Ok(opened)
    }

    /// What is in use now.
    pub(super) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// The section of the configuration that asks for it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the files again if they have changed, or could not be used.
    pub(super) fn look(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell_expiry(state.not_after);
        let seen: Vec<Print> = self.files.iter().map(print).collect();
        if seen == state.prints && state.error.is_none() {
            return;
        }
        let (prints, loaded) = stable(&self.files, &self.load);
        let changed = prints != state.prints;
        state.prints = prints;
        match loaded {
            Ok(Loaded { config, not_after }) => {
                self.current.store(config);
                (state.not_after, state.error) = (not_after, None);
                self.metrics.reloaded(&self.name);
                self.tell_expiry(not_after);
                let days = not_after.map(|not_after| (not_after - now()) / 86_400);
                tracing::info!(config = self.name, days, files = self.paths(), "certificates reloaded");
            }
            Err(error) if changed || state.error.as_ref() != Some(&error) => {
                self.metrics.not_reloaded(&self.name);
                tracing::warn!(
                    config = self.name,
                    %error,
                    "certificates have changed and cannot be used, those before them stay in use"
                );
                state.error = Some(error);
            }
            Err(_) => {}
        }
    }

    fn paths(&self) -> String {
        let paths: Vec<_> = self.files.iter().map(|path| path.display().to_string()).collect();
        paths.join(" ")
    }

    fn tell_expiry(&self, not_after: Option<i64>) {
        if let Some(not_after) = not_after {
            self.metrics.expires_in(&self.name, not_after - now());
        }
    }

    /// Looks every `period`, until `stop`.
    pub(super) async fn follow(self: Arc<Self>, period: Duration, stop: CancellationToken) {
        if self.files.is_empty() {
            return;
        }
        let mut tick = tokio::time::interval(period);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let looking = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || looking.look()).await.is_err() {
                return;
            }
        }
    }
}

/// Loads, and says which state of the files that was.
fn stable<T>(files: &[PathBuf], load: &Load<T>) -> (Vec<Print>, Result<Loaded<T>, LoadError>) {
    let prints = || files.iter().map(print).collect::<Vec<Print>>();
    let mut before = prints();
    let mut loaded = load();
    for _ in 1..ATTEMPTS {
        let after = prints();
        if after == before {
            break;
        }
        before = after;
        loaded = load();
    }
    (before, loaded)
}

fn print(path: &PathBuf) -> Print {
    let of = std::fs::metadata(path).ok()?;
    Some((of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.size()))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
