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
    Cost, FrontendOptions,
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

impl Drop for Run {
    fn drop(&mut self) {
        self.queue.answered();
    }
}

impl Run {
    /// A run without work that puts its jobs into `queue` and ends after `timeout`.
    pub(super) fn new(queue: Arc<Queue<Job>>, options: &FrontendOptions, timeout: Duration) -> Self {
        let max_outstanding = options.concurrent_jobs.max(1);
        let (send, receive) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        queue.asked();
        Self {
            queue,
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

    /// When the query must be answered.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
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

    /// Nanoseconds since 1970 after which no trace starts that work not done yet may find; `None` where some
    /// of it may find anything.
    pub(super) fn newest(&self) -> Option<u64> {
        let waiting = self.pending.iter().map(|task| task.work.newest());
        let under_way = self.outstanding.values().map(|job| job.task.work.newest());
        waiting.chain(under_way).try_fold(0, |newest, work| Some(work?.max(newest)))
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
                    queriers: self.queue.workers(),
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

#[cfg(test)]
mod tests {
    use tracing_core::{model::TraceId, table::evaluate::TimeRange};

    use super::*;
    use crate::frontend::IngesterAddress;

    fn options(max_retries: u32, waiting: usize) -> FrontendOptions {
        let options = FrontendOptions::of(&vivace_config::Config::default());
        FrontendOptions { max_retries, max_outstanding_per_tenant: waiting, ..options }
    }

    fn tenant() -> Tenant {
        Tenant::new("t").unwrap()
    }

    fn work() -> Work {
        let ingester = IngesterAddress { id: "i".into(), grpc: "127.0.0.1:1".parse().unwrap() };
        Work::FindLive { id: TraceId([1; 16]), ingester }
    }

    fn nothing() -> Found {
        Found::Trace { parts: Vec::new(), recent: crate::frontend::Recent::default() }
    }

    async fn taken(queue: &Queue<Job>, worker: WorkerId) -> Job {
        let mut job = queue.pop(worker).await;
        job.taken_by(worker);
        job
    }

    #[tokio::test]
    async fn a_job_of_a_querier_that_goes_away_is_given_to_another_and_in_the_end_fails() {
        let queue = Arc::new(Queue::new(10));
        let (first, second) = (queue.join(), queue.join());
        let mut run = Run::new(queue.clone(), &options(2, 10), Duration::from_secs(10));
        run.add(&tenant(), work());
        let other = queue.clone();
        let queriers = tokio::spawn(async move {
            drop(taken(&other, first).await);
            drop(taken(&other, second).await);
            let last = taken(&other, first).await;
            last.finish(Err(Failure::retry("the disk is gone")));
        });
        let done = run.next().await.unwrap().unwrap();
        assert_eq!(done.result.unwrap_err().to_string(), "the disk is gone");
        assert!(run.next().await.unwrap().is_none());
        queriers.await.unwrap();
    }

    #[tokio::test]
    async fn what_finds_no_room_waits_for_what_is_under_way_and_only_a_whole_query_is_refused() {
        let queue = Arc::new(Queue::new(2));
        let mut run = Run::new(queue.clone(), &options(0, 2), Duration::from_secs(10));
        for _ in 0..5 {
            run.add(&tenant(), work());
        }
        let worker = queue.join();
        let other = queue.clone();
        let querier = tokio::spawn(async move {
            for _ in 0..5 {
                taken(&other, worker).await.finish(Ok(nothing()));
            }
        });
        for _ in 0..5 {
            assert!(run.next().await.unwrap().unwrap().result.is_ok());
        }
        querier.await.unwrap();
        let mut holder = Run::new(queue.clone(), &options(0, 2), Duration::from_millis(5));
        holder.add(&tenant(), work());
        holder.add(&tenant(), work());
        assert!(matches!(holder.next().await, Err(QueryError::Deadline { waiting: 2, .. })));
        let mut late = Run::new(queue.clone(), &options(0, 2), Duration::from_secs(10));
        late.add(&tenant(), work());
        assert!(matches!(late.next().await, Err(QueryError::TooMany { max: 2, .. })));
        drop(holder);
        late.add(&tenant(), work());
        tokio::spawn(async move { taken(&queue, worker).await.finish(Ok(nothing())) });
        assert!(late.next().await.unwrap().is_some(), "the jobs of a query that is gone make room");
    }

    #[tokio::test]
    async fn blocks_that_can_hold_nothing_newer_are_given_up() {
        let json = r#"{"format":"vParquet4","blockID":"e62d00b6-f021-41ba-a0c3-70be7f90147d","tenantID":"t","startTime":"1970-01-01T00:00:00Z","endTime":"1970-01-01T00:00:10Z"}"#;
        let meta = Arc::new(tracing_core::block::Meta::from_json(json.as_bytes()).unwrap());
        let form = crate::frontend::Form::TraceQl("{}".into());
        let window = Some(TimeRange { start: 0, end: 1 });
        let limits = tracing_core::engine::SearchLimits { limit: 1, spss: 1, window };
        let search = Arc::new(crate::frontend::Search { plan: form.plan().unwrap(), form, limits });
        let queue = Arc::new(Queue::new(10));
        let mut run = Run::new(queue.clone(), &options(0, 10), Duration::from_millis(5));
        run.add(&tenant(), Work::SearchBlock { search, meta, row_groups: 0..1 });
        run.drop_older_than(10_000_000_000);
        assert!(run.next().await.is_err(), "a trace may start when the block ends");
        run.drop_older_than(10_000_000_001);
        assert!(run.next().await.unwrap().is_none());
    }
}
