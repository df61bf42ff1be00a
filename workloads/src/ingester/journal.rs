//! Which log takes pushes, and what is done when it cannot: an epoch that was lost is followed by another, a
//! store that is away is waited for, or the local disk stands in for it. IO.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};
use tracing_core::wal::{Away, Held as Epoch, Log, LogOptions, Logs, Object, Record};

use super::{Inner, PushError, WhenAway, pipeline::back_off, state::Keep};

/// The store is away when it has not taken a commit for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer to the opening of an epoch is waited for so long.
const OPENING: Duration = Duration::from_secs(10);
/// First wait between attempts to open an epoch.
const BACKOFF: Duration = Duration::from_millis(500);

/// The logs of an ingester.
pub(super) struct Journal {
    /// Those in the object store, where that is the log's home.
    pub(super) logs: Option<Logs>,
    /// The one on disk: the log's home, or what stands in for it.
    disk: Arc<Open>,
    open: RwLock<Option<Arc<Open>>>,
    /// Why no epoch could be opened.
    reason: Mutex<Option<String>>,
    /// Epochs that take no more records: their own and claimed ones, until all of them is in blocks.
    retired: Mutex<Vec<Arc<Epoch>>>,
}

/// A log that takes records.
pub(super) struct Open {
    pub(super) log: Log,
    pub(super) keep: Keep,
    away: Option<watch::Receiver<Option<Away>>>,
}

impl Journal {
    /// Pushes go to the disk, or nowhere until an epoch is opened in the object store.
    pub(super) fn new(disk: Log, logs: Option<Logs>) -> Self {
        let disk = Arc::new(Open { log: disk, keep: Keep::Disk, away: None });
        let open = RwLock::new(logs.is_none().then(|| disk.clone()));
        let reason = Mutex::new(Some("no log was opened yet".to_owned()));
        Self { logs, disk, open, reason, retired: Mutex::default() }
    }

    /// The log that takes pushes.
    pub(super) fn open(&self) -> Option<Arc<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log on disk.
    pub(super) fn disk(&self) -> &Log {
        &self.disk.log
    }

    pub(super) fn retire(&self, epoch: Arc<Epoch>) {
        self.retired().push(epoch);
    }

    pub(super) fn retired(&self) -> MutexGuard<'_, Vec<Arc<Epoch>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process holds the epoch, opened or claimed.
    pub(super) fn holds(&self, epoch: &tracing_core::wal::Epoch) -> bool {
        let open = self.open().and_then(|open| open.keep.epoch().cloned());
        let retired = self.retired().clone();
        open.iter().chain(&retired).any(|held| held.epoch() == epoch && !held.is_lost())
    }

    /// Why the local disk stands in for the object store, or nothing takes pushes.
    pub(super) fn away(&self) -> Option<String> {
        self.logs.as_ref()?;
        match self.open() {
            Some(open) if open.keep.epoch().is_some() => open.is_away(),
            _ => {
                let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Some(reason.unwrap_or_else(|| "the object store is away".to_owned()))
            }
        }
    }

    /// What takes pushes, in words.
    pub(super) fn home(&self) -> String {
        match (self.open(), &self.logs) {
            (Some(open), Some(_)) if open.keep.epoch().is_none() => {
                "local disk, since the object store is away".to_owned()
            }
            (Some(open), _) => format!("{:?}", open.keep),
            (None, _) => "none, since the object store is away".to_owned(),
        }
    }

    fn turn_to(&self, open: Arc<Open>) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(open);
    }

    fn failed(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Ends all logs that take records.
    pub(super) async fn close(&self) {
        if let Some(open) = self.open() {
            match &open.away {
                // What waits for a store that is away was acknowledged to nobody.
                Some(_) if open.is_away().is_some() => open.log.abort(),
                _ => open.log.close().await,
            }
        }
        self.disk.log.close().await;
    }
}

#[cfg(test)]
impl Journal {
    /// Ends as a killed process does.
    pub(super) async fn kill(&self) {
        if let Some(open) = self.open().filter(|open| open.keep.epoch().is_some()) {
            open.log.abort();
        }
        self.disk.log.close().await;
    }
}

impl Open {
    /// Why, where the store has been away for long enough to say so.
    fn is_away(&self) -> Option<String> {
        let away = self.away.as_ref()?.borrow().clone()?;
        (away.since.elapsed() >= PATIENCE).then_some(away.reason)
    }

    /// Resolves when the store has been away for long enough to say so; never for a disk.
    async fn gone_away(&self) -> String {
        let Some(mut away) = self.away.clone() else { return pending().await };
        loop {
            let Ok(seen) = away.wait_for(Option::is_some).await.map(|seen| seen.clone()) else {
                return pending().await;
            };
            let Some(seen) = seen else { continue };
            sleep_until(seen.since + PATIENCE).await;
            let now = away.borrow().clone();
            if let Some(now) = now.filter(|now| now.since == seen.since) {
                return now.reason;
            }
        }
    }

    /// Ends the present generation, unless the store goes away meanwhile.
    pub(super) async fn rotate(&self) -> Result<tracing_core::wal::Generation, PushError> {
        let cancelled = async { drop(self.gone_away().await) };
        let rotated = self.log.rotate_unless(cancelled).await;
        rotated.map_err(|error| match self.is_away() {
            Some(reason) => PushError::StoreAway { reason },
            None => PushError::Log(error),
        })
    }
}

impl Inner {
    /// Makes records durable.
    pub(super) async fn append(&self, records: &[Record]) -> Result<(), PushError> {
        let away = |reason| PushError::StoreAway { reason };
        let Some(open) = self.journal.open() else {
            return Err(away(self.journal.away().unwrap_or_default()));
        };
        // What is refused must not queue up to be written when the store is back.
        if let Some(reason) = open.is_away() {
            return Err(away(reason));
        }
        tokio::select! {
            biased;
            appended = open.log.append(records) => Ok(appended.map(drop)?),
            reason = open.gone_away() => Err(away(reason)),
        }
    }

    /// Keeps a log open in the object store, where that is the log's home.
    pub(super) async fn keep_journal(&self) {
        let Some(logs) = &self.journal.logs else { return pending().await };
        loop {
            match self.journal.open().filter(|open| open.keep.epoch().is_some_and(|e| !e.is_lost())) {
                None => self.open_epoch(logs).await,
                Some(open) => {
                    let Some(epoch) = open.keep.epoch() else { continue };
                    let degrades = self.options.when_away == WhenAway::Disk;
                    tokio::select! {
                        _ = epoch.lost() => self.metrics.lost_epoch(),
                        reason = open.gone_away(), if degrades => self.degrade(&open, &reason).await,
                    }
                }
            }
        }
    }

    /// Opens an epoch and turns to it. While there is none, nothing or the disk takes pushes, as configured.
    async fn open_epoch(&self, logs: &Logs) {
        let mut wait = BACKOFF;
        loop {
            let opened = timeout(OPENING, logs.open()).await;
            let reason = match opened {
                Ok(Ok(home)) => match self.turn_to_object(home).await {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", OPENING.as_secs()),
            };
            tracing::warn!(reason, "no epoch of the write-ahead log could be opened in the object store");
            self.journal.failed(reason);
            if self.journal.open().is_none() && self.options.when_away == WhenAway::Disk {
                tracing::error!("the object store is away: spans are kept on the local disk meanwhile");
                self.journal.turn_to(self.journal.disk.clone());
                self.metrics.degraded(true);
            }
            back_off(&mut wait).await;
        }
    }

    /// At the start: opens an epoch, or waits for it in the background.
    pub(super) async fn first_epoch(&self) {
        if let Some(logs) = &self.journal.logs {
            let opening = self.open_epoch(logs);
            if timeout(OPENING, opening).await.is_err() {
                tracing::error!("started without an epoch of the write-ahead log: the object store is away");
            }
        }
    }

    async fn turn_to_object(&self, home: Object) -> Result<(), PushError> {
        let (epoch, away) = (home.held().clone(), home.away());
        let queue = LogOptions { queue_bytes: self.options.queue_bytes, ..LogOptions::default() };
        let (log, _) = Log::open(Arc::new(home), queue).await.map_err(PushError::Log)?;
        let open = Arc::new(Open { log, keep: Keep::Object(epoch.clone()), away: Some(away) });
        let no_push_meanwhile = self.gate.write().await;
        let before = self.journal.open();
        // What was kept on the disk meanwhile becomes a block of its own. A head whose epoch was lost is
        // another's.
        if before.is_some_and(|open| open.keep.epoch().is_none()) && self.state.current().oldest().is_some() {
            let generation = self.journal.disk.log.rotate().await.map_err(PushError::Log)?;
            self.state.cut(generation);
        }
        self.state.turn_to(open.keep.clone());
        self.journal.turn_to(open);
        drop(no_push_meanwhile);
        self.metrics.degraded(false);
        tracing::info!(epoch = %epoch.epoch(), "the write-ahead log is kept in the object store");
        self.say_what_is_held().await;
        Ok(())
    }

    /// The disk takes pushes from now on. What the epoch holds is built as ever and published when the store
    /// is back.
    async fn degrade(&self, open: &Arc<Open>, reason: &str) {
        tracing::error!(
            reason,
            "the object store is away: spans are kept on the local disk meanwhile, and not found from elsewhere"
        );
        let Some(epoch) = open.keep.epoch() else { return };
        let _no_push_meanwhile = self.gate.write().await;
        open.log.abort();
        if self.state.current().oldest().is_some() {
            self.state.cut(open.log.current());
        }
        self.journal.failed(reason.to_owned());
        self.journal.retire(epoch.clone());
        self.state.turn_to(Keep::Disk);
        self.journal.turn_to(self.journal.disk.clone());
        self.metrics.degraded(true);
    }

    /// Ends epochs of which nothing is held any more, and forgets those that were lost. When a store does not
    /// let it, the next time does.
    pub(super) async fn end_retired(&self) {
        let retired = self.journal.retired().clone();
        let mut changed = false;
        for epoch in retired {
            let ended = epoch.is_lost() || (!self.state.holds(&epoch) && self.end(&epoch).await);
            if ended {
                self.journal.retired().retain(|other| !Arc::ptr_eq(other, &epoch));
                changed = true;
            }
        }
        if changed {
            self.say_what_is_held().await;
        }
    }

    /// At the end of the process: nothing is left of an epoch of which nothing is held.
    pub(super) async fn end_own(&self) {
        self.end_retired().await;
        if let Some(open) = self.journal.open()
            && let Some(epoch) = open.keep.epoch()
            && !self.state.holds(epoch)
            && self.end(epoch).await
        {
            epoch.lose("it has ended");
            self.say_what_is_held().await;
        }
    }

    async fn end(&self, epoch: &Arc<Epoch>) -> bool {
        match timeout(OPENING, epoch.end()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(epoch = %epoch.epoch(), %error, "an epoch could not be ended: it is tried again");
                false
            }
            Err(_) => false,
        }
    }

    /// What others answer for by now leaves this ingester.
    pub(super) fn forget_lost(&self) {
        for block in self.state.forget_lost() {
            self.store.read_from_store(block.meta.id);
            self.unstage_scratch(&block);
        }
    }
}
