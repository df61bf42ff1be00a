//! Threads for decoding and evaluation: at most so many at once, so that a large query leaves the process
//! able to answer small ones.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::EngineError;

/// Runs work that computes; whatever waits, waits outside.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    free: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(threads: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(threads.max(1))) }
    }

    /// Runs `work` as soon as a thread is free. Work that nobody waits for any more is not begun, but what
    /// has begun runs to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let free = self.free.clone().acquire_owned().await.map_err(|_| EngineError::Cancelled)?;
        let running = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(free);
            done
        });
        running.await.map_err(|error| EngineError::Lost(error.to_string()))
    }
}
