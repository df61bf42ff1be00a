//! How often something is said in the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Who scans ports, or calls the wrong one, does so many times a second.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets one complaint through every few seconds.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= PAUSE);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
