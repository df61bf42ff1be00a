//! Merges wait for what cannot: an ingester of the same process that takes in as much as it can.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// A merge waits so long at most: under a load without an end, blocks have to be merged all the same.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it looks again.
const LOOK: Duration = Duration::from_millis(200);

/// Says whether the process is busy with something that takes as much memory as a merge.
pub(super) struct Calm(Box<dyn Fn() -> bool + Send + Sync>);

impl Calm {
    pub(super) fn unless(is_busy: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(is_busy))
    }

    /// Waits until the process is not busy, or has been for too long.
    pub(super) async fn wait(&self) {
        let begin = Instant::now();
        while (self.0)() && begin.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Default for Calm {
    fn default() -> Self {
        Self::unless(|| false)
    }
}

impl fmt::Debug for Calm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Calm").field(&!(self.0)()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_merge_waits_while_the_process_is_busy() {
        Calm::default().wait().await;
        let looks = Arc::new(AtomicU32::new(0));
        let looked = Arc::clone(&looks);
        let calm = Calm::unless(move || looked.fetch_add(1, Ordering::Relaxed) < 3);
        let begin = tokio::time::Instant::now();
        calm.wait().await;
        assert_eq!((looks.load(Ordering::Relaxed), begin.elapsed()), (4, LOOK * 3));
    }
}
