//! A process: what it sees of the store, and what goes wrong for it.

use super::*;

pub(super) struct Process {
    pub(super) faults: FaultStore,
    pub(super) store: Arc<Store>,
    number: u64,
}

impl Process {
    /// One that knows nothing yet.
    pub(super) fn start(run: &Run) -> Self {
        let number = {
            let mut last = run.processes.lock().unwrap_or_else(PoisonError::into_inner);
            *last += 1;
            *last
        };
        let faults = FaultStore::new(run.bucket.clone(), number);
        faults.set(run.faults());
        let access = Access { part_bytes: 8 << 10, ..Access::default() };
        let poll = PollOptions { index_builders: 0, jitter: Duration::ZERO, ..PollOptions::default() };
        let store = Store::over_by(Arc::new(faults.clone()), access, poll, run.machine.clone());
        Self { faults, store, number }
    }

    pub(super) async fn compactor(&self, run: &Run, name: u64) -> Compactor {
        // A directory of its own: what a process that died still writes is not to be in the way of the next.
        let work = format!("c-{name}-{}", self.number);
        let membership = alone(&format!("c-{name}")).await;
        let mut compactor = run.files.compactor_over(self.store.clone(), membership, &work);
        compactor.options.takeover = Duration::from_mins(2);
        compactor
    }

    /// What a compactor does each time.
    pub(super) async fn round(&self, compactor: &Compactor) {
        // Where it fails, the list is as it was.
        let _ = self.store.poll().await;
        compactor.turn(&tenant()).await;
        compactor.sweep().await;
    }
}
