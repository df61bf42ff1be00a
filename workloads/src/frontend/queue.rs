//! Jobs that wait for a querier: one first-in-first-out line a tenant, tenants served in turn, each line
//! bounded. Nothing here knows what a job does.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;
use tracing_core::model::Tenant;

/// Names one connected querier for as long as it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerId(u64);

/// What the queue must know of a job.
pub(crate) trait Waiting {
    /// Whose line it stands in.
    fn tenant(&self) -> &Tenant;
    /// True when nobody waits for its result any more.
    fn is_abandoned(&self) -> bool;
    /// The querier on which it failed, which gets it again only when there is no other.
    fn failed_on(&self) -> Option<WorkerId>;
}

/// The tenant has as many jobs waiting as it may.
#[derive(Debug)]
pub(crate) struct Full<J>(pub(crate) J);

/// The lines of all tenants.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    lines: Mutex<Lines<J>>,
    arrived: Notify,
    per_tenant: usize,
    workers: AtomicUsize,
    next_worker: AtomicU64,
    queries: AtomicUsize,
    rested: Notify,
}

#[derive(Debug)]
struct Lines<J> {
    of: HashMap<Tenant, VecDeque<J>>,
    /// Tenants with a line, the one whose turn it is first.
    turn: VecDeque<Tenant>,
}

impl<J: Waiting> Queue<J> {
    /// Lines of at most `per_tenant` jobs, at least one.
    pub(crate) fn new(per_tenant: usize) -> Self {
        Self {
            lines: Mutex::new(Lines { of: HashMap::new(), turn: VecDeque::new() }),
            arrived: Notify::new(),
            per_tenant: per_tenant.max(1),
            workers: AtomicUsize::new(0),
            next_worker: AtomicU64::new(0),
            queries: AtomicUsize::new(0),
            rested: Notify::new(),
        }
    }

    /// A query is under way from now on, until [`Self::answered`].
    pub(crate) fn asked(&self) {
        self.queries.fetch_add(1, Ordering::AcqRel);
    }

    /// A query has ended.
    pub(crate) fn answered(&self) {
        self.queries.fetch_sub(1, Ordering::AcqRel);
        self.rested.notify_waiters();
    }

    /// Waits until no query is under way.
    pub(crate) async fn at_rest(&self) {
        loop {
            let rested = self.rested.notified();
            tokio::pin!(rested);
            rested.as_mut().enable();
            if self.queries.load(Ordering::Acquire) == 0 {
                return;
            }
            rested.await;
        }
    }

    /// A querier is there from now on, until [`Self::leave`].
    pub(crate) fn join(&self) -> WorkerId {
        self.workers.fetch_add(1, Ordering::AcqRel);
        WorkerId(self.next_worker.fetch_add(1, Ordering::Relaxed))
    }

    /// A querier is gone. Jobs that avoided another one may now have to go to that one.
    pub(crate) fn leave(&self) {
        self.workers.fetch_sub(1, Ordering::AcqRel);
        self.arrived.notify_waiters();
    }

    /// Queriers that are there.
    pub(crate) fn workers(&self) -> usize {
        self.workers.load(Ordering::Acquire)
    }

    /// Puts a job at the end of its tenant's line.
    ///
    /// # Errors
    /// [`Full`] gives the job back where the line is as long as it may be.
    pub(crate) fn push(&self, job: J) -> Result<(), Full<J>> {
        {
            let mut lines = self.locked();
            let Lines { of, turn } = &mut *lines;
            let line = of.entry(job.tenant().clone()).or_default();
            if line.len() >= self.per_tenant {
                line.retain(|job| !job.is_abandoned());
            }
            if line.len() >= self.per_tenant {
                return Err(Full(job));
            }
            if line.is_empty() && !turn.contains(job.tenant()) {
                turn.push_back(job.tenant().clone());
            }
            line.push_back(job);
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts a job that failed back to the front of its line, whatever the line's length: it was counted
    /// when it came.
    pub(crate) fn push_again(&self, job: J) {
        {
            let mut lines = self.locked();
            let Lines { of, turn } = &mut *lines;
            if !turn.contains(job.tenant()) {
                turn.push_back(job.tenant().clone());
            }
            of.entry(job.tenant().clone()).or_default().push_front(job);
        }
        // Whoever is woken may be the one that the job avoids.
        self.arrived.notify_waiters();
    }

    /// The next job for `worker`; waits until there is one.
    pub(crate) async fn pop(&self, worker: WorkerId) -> J {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(job) = self.try_pop(worker) {
                return job;
            }
            arrived.await;
        }
    }

    /// The next job for `worker`, if there is one.
    fn try_pop(&self, worker: WorkerId) -> Option<J> {
        let alone = self.workers() <= 1;
        let mut lines = self.locked();
        let Lines { of, turn } = &mut *lines;
        for _ in 0..turn.len() {
            let tenant = turn.pop_front()?;
            let Some(line) = of.get_mut(&tenant) else { continue };
            line.retain(|job| !job.is_abandoned());
            let at = line.iter().position(|job| alone || job.failed_on() != Some(worker));
            let job = at.and_then(|at| line.remove(at));
            if line.is_empty() {
                of.remove(&tenant);
            } else {
                turn.push_back(tenant);
            }
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// Jobs waiting, by tenant. Abandoned ones are no longer among them.
    pub(crate) fn lengths(&self) -> Vec<(Tenant, usize)> {
        let mut lines = self.locked();
        let Lines { of, turn } = &mut *lines;
        of.retain(|_, line| {
            line.retain(|job| !job.is_abandoned());
            !line.is_empty()
        });
        turn.retain(|tenant| of.contains_key(tenant));
        of.iter().map(|(tenant, line)| (tenant.clone(), line.len())).collect()
    }

    fn locked(&self) -> MutexGuard<'_, Lines<J>> {
        // The lines are whole between any two statements that could panic.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Debug)]
    struct Note {
        tenant: Tenant,
        number: u32,
        abandoned: bool,
        failed_on: Option<WorkerId>,
    }

    impl Waiting for Note {
        fn tenant(&self) -> &Tenant {
            &self.tenant
        }
        fn is_abandoned(&self) -> bool {
            self.abandoned
        }
        fn failed_on(&self) -> Option<WorkerId> {
            self.failed_on
        }
    }

    fn note(tenant: &str, number: u32) -> Note {
        Note { tenant: Tenant::new(tenant).unwrap(), number, abandoned: false, failed_on: None }
    }

    #[tokio::test]
    async fn tenants_are_served_in_turn_however_many_jobs_one_has() {
        let queue = Queue::new(100);
        let worker = queue.join();
        for number in 0..3 {
            queue.push(note("loud", number)).unwrap();
        }
        queue.push(note("quiet", 9)).unwrap();
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(queue.pop(worker).await.number);
        }
        assert_eq!(order, [0, 9, 1, 2]);
    }

    #[tokio::test]
    async fn a_full_line_refuses_its_tenant_alone_and_abandoned_jobs_do_not_count() {
        let queue = Queue::new(2);
        queue.push(note("a", 0)).unwrap();
        queue.push(Note { abandoned: true, ..note("a", 1) }).unwrap();
        queue.push(Note { abandoned: true, ..note("c", 1) }).unwrap();
        assert_eq!(queue.lengths(), [(Tenant::new("a").unwrap(), 1)]);
        queue.push(Note { abandoned: true, ..note("a", 1) }).unwrap();
        queue.push(note("a", 2)).unwrap();
        assert_eq!(queue.push(note("a", 3)).unwrap_err().0.number, 3);
        queue.push(note("b", 4)).unwrap();
        let worker = queue.join();
        assert_eq!(queue.pop(worker).await.number, 0);
        assert_eq!(queue.pop(worker).await.number, 4);
        assert_eq!(queue.pop(worker).await.number, 2);
        assert!(queue.lengths().is_empty());
    }

    #[tokio::test]
    async fn a_job_that_failed_goes_to_another_querier_while_there_is_one() {
        let queue = Arc::new(Queue::new(10));
        let (bad, good) = (queue.join(), queue.join());
        queue.push_again(Note { failed_on: Some(bad), ..note("a", 1) });
        assert!(queue.try_pop(bad).is_none());
        assert_eq!(queue.pop(good).await.number, 1);
        queue.push_again(Note { failed_on: Some(bad), ..note("a", 2) });
        queue.leave();
        assert_eq!(queue.pop(bad).await.number, 2);
    }

    #[tokio::test]
    async fn a_waiting_querier_gets_a_job_that_arrives() {
        let queue = Arc::new(Queue::<Note>::new(10));
        let worker = queue.join();
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.pop(worker).await.number }
        });
        tokio::task::yield_now().await;
        queue.push(note("a", 7)).unwrap();
        assert_eq!(waiting.await.unwrap(), 7);
    }
}
