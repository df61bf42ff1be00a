//! Jobs of a frontend of this process: taken straight from its queue.

use std::sync::Arc;

use futures::{FutureExt, future::join_all};
use tokio_util::sync::CancellationToken;

use super::Querier;
use crate::frontend::{Frontend, Job, Queue, WorkerId};

/// Leaves the queue when the last slot is done with it, however that came.
struct Joined {
    queue: Arc<Queue<Job>>,
    worker: WorkerId,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.queue.leave();
    }
}

impl Querier {
    /// Answers jobs of `frontend` until `shutdown`. The frontend knows the querier as soon as this is called.
    pub fn serve_local(
        self: Arc<Self>,
        frontend: &Frontend,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let queue = frontend.queue();
        let joined = Joined { worker: queue.join(), queue };
        async move {
            let mut slots = Vec::with_capacity(self.options.max_concurrent);
            for _ in 0..self.options.max_concurrent {
                slots.push(self.slot(&joined).boxed());
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = join_all(slots) => {}
            }
        }
    }

    async fn slot(&self, joined: &Joined) {
        loop {
            let mut job = joined.queue.pop(joined.worker).await;
            job.taken_by(joined.worker);
            let result = self.answer(&job.tenant, &job.work, &job.cancel).await;
            job.finish(result);
        }
    }
}
