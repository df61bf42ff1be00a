//! What a process has of its machine: the time, by which blocks expire and what was uploaded is fresh, and ids that
//! nobody else has. For tests that let days pass and repeat their runs it is tokio's clock, which can be paused and
//! put forward, and ids that are counted.

use jiff::Timestamp;
use uuid::Uuid;

/// A copy is the same machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    #[cfg(any(test, feature = "faults"))]
    simulated: Option<std::sync::Arc<Simulated>>,
}

#[cfg(any(test, feature = "faults"))]
#[derive(Debug)]
struct Simulated {
    at: Timestamp,
    began: tokio::time::Instant,
    ids: std::sync::atomic::AtomicU64,
}

impl Machine {
    /// One whose clock goes as tokio's does, on which it is `at` now.
    #[cfg(any(test, feature = "faults"))]
    #[must_use]
    pub fn simulated(at: Timestamp) -> Self {
        let (began, ids) = (tokio::time::Instant::now(), 0.into());
        Self { simulated: Some(std::sync::Arc::new(Simulated { at, began, ids })) }
    }

    /// What time it is, by a clock that runs while the machine sleeps.
    pub(super) fn now(&self) -> Timestamp {
        #[cfg(any(test, feature = "faults"))]
        if let Some(Simulated { at, began, .. }) = self.simulated.as_deref() {
            return *at + began.elapsed();
        }
        Timestamp::now()
    }

    /// An id that nobody else has.
    pub(super) fn id(&self) -> Uuid {
        #[cfg(any(test, feature = "faults"))]
        if let Some(Simulated { ids, .. }) = self.simulated.as_deref() {
            return Uuid::from_u128(ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed).into());
        }
        Uuid::new_v4()
    }
}
