//! The jobs of one query under way: at most so many at once, failed ones given to another querier, all of
//! them abandoned when the query ends or its client goes away.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing_core::model::Tenant;

use super::{
    Cost, Frontend,
    error::QueryError,
    job::{Answered, Failure, FailureKind, Found, Job, Work},
    queue::{Full, Queue, WorkerId},
};

/// Work of one tenant, and how often it failed.
#[derive(Debug)]
struct Task {
    tenant: Tenant,
    work: Arc<Work>,
    attempts: u32,
    failed_on: Option<WorkerId>,
}

/// A task that a querier has, or that waits for one.
#[derive(Debug)]
struct Outstanding {
    task: Task,
    cancel: CancellationToken,
}

/// Work that is done, one way or the other.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) tenant: Tenant,
    pub(super) work: Arc<Work>,
    pub(super) result: Result<Found, Failure>,
}

/// The jobs of one query. Dropping it abandons them.
#[derive(Debug)]
pub(super) struct Run {
    queue: Arc<Queue<Job>>,
    max_outstanding: usize,
    max_retries: u32,
    max_waiting: usize,
    timeout: Duration,
    deadline: Instant,
    cancel: CancellationToken,
    _abandon: DropGuard,
    pending: VecDeque<Task>,
    outstanding: HashMap<usize, Outstanding>,
    next_number: usize,
    // Unbounded, but each job answers once.
    send: mpsc::UnboundedSender<Answered>,
    receive: mpsc::UnboundedReceiver<Answered>,
    pub(super) cost: Cost,
}

impl Run {
    pub(super) fn new(frontend: &Frontend, timeout: Duration) -> Self {
        let options = frontend.options();
        let max_outstanding = options.concurrent_jobs.max(1);
        let (send, receive) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        Self {
            queue: frontend.queue(),
            max_outstanding,
            max_retries: options.max_retries,
            max_waiting: options.max_outstanding_per_tenant,
            timeout,
            deadline: Instant::now() + timeout,
            _abandon: cancel.clone().drop_guard(),
            cancel,
            pending: VecDeque::new(),
            outstanding: HashMap::new(),
            next_number: 0,
            send,
            receive,
            cost: Cost::default(),
        }
    }

    /// Adds work, to be done after what was added before.
    pub(super) fn add(&mut self, tenant: &Tenant, work: Work) {
        self.cost.jobs += 1;
        self.pending.push_back(Task {
            tenant: tenant.clone(),
            work: Arc::new(work),
            attempts: 0,
            failed_on: None,
        });
    }

    /// Gives up work that can find nothing newer than `nanos`.
    pub(super) fn drop_older_than(&mut self, nanos: u64) {
        let beaten = |work: &Work| work.newest().is_some_and(|newest| newest < nanos);
        self.pending.retain(|task| !beaten(&task.work));
        self.outstanding.retain(|_, job| {
            let keep = !beaten(&job.task.work);
            if !keep {
                job.cancel.cancel();
            }
            keep
        });
    }

    /// The next piece of work that is done; none when all are.
    ///
    /// # Errors
    /// [`QueryError::TooMany`] where not a single job finds room to wait, [`QueryError::Deadline`].
    pub(super) async fn next(&mut self) -> Result<Option<Done>, QueryError> {
        loop {
            self.dispatch()?;
            if self.outstanding.is_empty() {
                return Ok(None);
            }
            let answered = tokio::time::timeout_at(self.deadline.into(), self.receive.recv()).await;
            let Ok(Some(Answered { number, worker, result })) = answered else {
                return Err(QueryError::Deadline {
                    timeout: self.timeout,
                    waiting: (self.outstanding.len() + self.pending.len()) as u64,
                    jobs: self.cost.jobs,
                });
            };
            let Some(Outstanding { mut task, .. }) = self.outstanding.remove(&number) else { continue };
            if let Err(failure) = &result
                && failure.kind == FailureKind::Retry
                && task.attempts < self.max_retries
            {
                tracing::warn!(job = task.work.subject(), %failure, "job failed, trying again");
                task.attempts += 1;
                task.failed_on = worker;
                self.enqueue_again(task);
                continue;
            }
            self.cost.completed += 1;
            return Ok(Some(Done { tenant: task.tenant, work: task.work, result }));
        }
    }

    /// Fills the queue up to what this query may have there.
    fn dispatch(&mut self) -> Result<(), QueryError> {
        while self.outstanding.len() < self.max_outstanding
            && let Some(task) = self.pending.pop_front()
        {
            let (number, job, outstanding) = self.job(task);
            match self.queue.push(job) {
                Ok(()) => {
                    self.outstanding.insert(number, outstanding);
                }
                // Jobs of this query are under way; the rest waits here until one is answered.
                Err(Full(mut job)) if !self.outstanding.is_empty() => {
                    job.withdraw();
                    self.pending.push_front(outstanding.task);
                    return Ok(());
                }
                Err(Full(_)) => {
                    let tenant = outstanding.task.tenant.to_string();
                    return Err(QueryError::TooMany { tenant, max: self.max_waiting });
                }
            }
        }
        Ok(())
    }

    fn enqueue_again(&mut self, task: Task) {
        let (number, job, outstanding) = self.job(task);
        self.outstanding.insert(number, outstanding);
        self.queue.push_again(job);
    }

    fn job(&mut self, task: Task) -> (usize, Job, Outstanding) {
        let number = self.next_number;
        self.next_number += 1;
        let cancel = self.cancel.child_token();
        let job = Job::new(
            task.tenant.clone(),
            task.work.clone(),
            self.deadline,
            cancel.clone(),
            number,
            task.failed_on,
            self.send.clone(),
        );
        (number, job, Outstanding { task, cancel })
    }
}
