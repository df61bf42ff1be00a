//! Decoding that nobody waits for any more ends at the next page.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Tells scans on other threads to stop. A page is some tenths of a millisecond of work.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

/// Tells a [`Stop`] when it is dropped.
#[derive(Debug)]
pub struct StopOnDrop(Stop);

impl Stop {
    /// Whether it was told to whoever looks.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Stops with the value that is returned.
    #[must_use]
    pub fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
