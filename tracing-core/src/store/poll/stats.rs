//! What polls came to.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    model::Tenant,
    store::{StoreError, list::Found},
};

/// Upper bounds in seconds of the buckets into which polls fall by how long they took.
pub const POLL_BUCKETS: [f64; 6] = [0.1, 1.0, 5.0, 30.0, 120.0, 600.0];

/// Counters of polls.
#[derive(Debug, Default)]
pub struct PollStats {
    /// Polls that ended.
    pub polls: AtomicU64,
    /// Listings that failed, and metas that could not be read.
    pub errors: AtomicU64,
    /// How long the last poll took, in milliseconds.
    pub last_millis: AtomicU64,
    total_millis: AtomicU64,
    buckets: [AtomicU64; POLL_BUCKETS.len() + 1],
    tenants: Mutex<BTreeMap<Tenant, TenantPoll>>,
    last_error: Mutex<Option<String>>,
}

/// What polls of one tenant came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantPoll {
    /// Listings that failed.
    pub errors: u64,
    /// Indexes that could not be read or written.
    pub index_errors: u64,
    /// Whether this process writes the index.
    pub builder: bool,
    /// When the index was made that was read or written last.
    pub index: Option<Timestamp>,
}

impl PollStats {
    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: &StoreError) {
        self.count_error();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    /// Why the last poll that failed as a whole did so, if none has ended since.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count_error_of(&self, tenant: &Tenant) {
        self.count_error();
        self.with(tenant, |poll| poll.errors += 1);
    }

    pub(super) fn with(&self, tenant: &Tenant, change: impl FnOnce(&mut TenantPoll)) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        change(tenants.entry(tenant.clone()).or_default());
    }

    /// Forgets tenants that are gone.
    pub(super) fn keep(&self, found: &BTreeMap<Tenant, Found>) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|tenant, _| found.get(tenant).is_some_and(|found| !found.is_empty()));
    }

    pub(super) fn ended(&self, took: Duration) {
        let (millis, seconds) = (took.as_millis() as u64, took.as_secs_f64());
        self.polls.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.last_millis.store(millis, Ordering::Relaxed);
        self.total_millis.fetch_add(millis, Ordering::Relaxed);
        let at = POLL_BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(POLL_BUCKETS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is known of each tenant.
    #[must_use]
    pub fn tenants(&self) -> Vec<(Tenant, TenantPoll)> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.iter().map(|(tenant, poll)| (tenant.clone(), *poll)).collect()
    }

    /// How long all polls took together in seconds, and how many fell into each bucket of [`POLL_BUCKETS`],
    /// the last being those that took longer.
    #[must_use]
    pub fn durations(&self) -> (f64, [u64; POLL_BUCKETS.len() + 1]) {
        let total = self.total_millis.load(Ordering::Relaxed) as f64 / 1000.0;
        (total, std::array::from_fn(|at| self.buckets.get(at).map_or(0, |n| n.load(Ordering::Relaxed))))
    }
}
