//! What the requests to a bucket cost: how often, how long, with which answer. Read by the metrics of the process.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the buckets in seconds: those of Tempo's `tempodb_backend_request_duration_seconds`.
pub const REQUEST_BUCKETS: [f64; 6] = [0.005, 0.02, 0.08, 0.32, 1.28, 5.12];

/// Requests by method and status. Few methods times few statuses, so it stays small.
#[derive(Debug, Default)]
pub struct RequestStats {
    seconds: Mutex<BTreeMap<(&'static str, u16), RequestTimes>>,
    hedged: AtomicU64,
}

/// How long requests of one kind took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestTimes {
    /// How many there were.
    pub count: u64,
    /// How long they took together, in seconds.
    pub sum: f64,
    /// How many fell into each bucket of [`REQUEST_BUCKETS`], and how many took longer than the last.
    pub buckets: [u64; REQUEST_BUCKETS.len() + 1],
}

impl RequestStats {
    /// Notes a request; status 0 stands for no answer.
    pub(super) fn note(&self, method: &http::Method, status: u16, took: Duration) {
        let method = match method.as_str() {
            "GET" => "GET",
            "PUT" => "PUT",
            "POST" => "POST",
            "DELETE" => "DELETE",
            "HEAD" => "HEAD",
            _ => "OTHER",
        };
        let seconds = took.as_secs_f64();
        let at = REQUEST_BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(REQUEST_BUCKETS.len());
        let mut all = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.entry((method, status)).or_default();
        times.count += 1;
        times.sum += seconds;
        if let Some(bucket) = times.buckets.get_mut(at) {
            *bucket += 1;
        }
    }

    pub(super) fn note_hedge(&self) {
        self.hedged.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were made a second time because the first took long.
    #[must_use]
    pub fn hedged(&self) -> u64 {
        self.hedged.load(Ordering::Relaxed)
    }

    /// HTTP method, status (0 where there was no answer), and times of all requests so far.
    #[must_use]
    pub fn times(&self) -> Vec<(&'static str, u16, RequestTimes)> {
        let all = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|((method, status), times)| (*method, *status, *times)).collect()
    }
}
