//! The service from which queriers of other processes pull jobs: as many at a time as a querier has slots,
//! each answered once. A stream that ends gives its jobs back. IO.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures::{Stream, StreamExt, stream::FuturesUnordered};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    job::Job,
    queue::{Queue, WorkerId},
};
use crate::{
    proto::vivace::v1::{
        FrontendMessage, Hello, JobResult, WorkerMessage, frontend_message,
        queue_server::{Queue as QueueRpc, QueueServer},
        worker_message,
    },
    rpc,
};

/// Longest message of this service, bytes: a job's answer, which holds whole traces.
pub(crate) const MAX_MESSAGE: usize = 100 << 20;

/// Most slots that one querier is believed to have.
const MAX_SLOTS: u32 = 10_000;

/// Messages to a querier that wait for the network.
const OUTBOX: usize = 64;

/// Serves `vivace.v1.Queue`. When the process is to end and no query is under way any more, it hangs up: queriers would
/// wait for jobs as long as they may.
#[derive(Clone, Debug)]
pub struct QueueService {
    queue: Arc<Queue<Job>>,
    leaving: CancellationToken,
}

impl QueueService {
    pub(super) fn new(queue: Arc<Queue<Job>>, leaving: CancellationToken) -> Self {
        Self { queue, leaving }
    }

    /// The service for tonic's router.
    pub fn into_server(self) -> QueueServer<Self> {
        QueueServer::new(self).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }
}

type Outbox = mpsc::Sender<Result<FrontendMessage, Status>>;

#[tonic::async_trait]
impl QueueRpc for QueueService {
    type WorkStream = Pin<Box<dyn Stream<Item = Result<FrontendMessage, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let mut messages = request.into_inner();
        let Some(worker_message::Message::Hello(hello)) = messages.message().await?.and_then(|m| m.message)
        else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (outbox, out) = mpsc::channel(OUTBOX);
        let serving = Serving {
            worker: self.queue.join(),
            queue: self.queue.clone(),
            querier: hello.querier.clone(),
            slots: Slots::new(),
            taken: Mutex::default(),
        };
        serving.slots.set(hello.slots);
        tracing::info!(querier = hello.querier, slots = hello.slots, "querier connected");
        let (leaving, queue) = (self.leaving.clone(), self.queue.clone());
        tokio::spawn(async move {
            let over = async {
                leaving.cancelled().await;
                queue.at_rest().await;
            };
            tokio::select! {
                () = over => {}
                () = serving.give(&outbox) => {}
                () = serving.take(messages) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }
}

/// One connected querier.
#[derive(Debug)]
struct Serving {
    worker: WorkerId,
    queue: Arc<Queue<Job>>,
    querier: String,
    slots: Slots,
    taken: Mutex<HashMap<u64, Job>>,
}

impl Serving {
    /// Gives jobs while there are slots; tells of those that are cancelled.
    async fn give(&self, outbox: &Outbox) {
        let mut cancels = FuturesUnordered::new();
        for id in 0_u64.. {
            let slot = self.slots.acquire();
            tokio::pin!(slot);
            loop {
                tokio::select! {
                    () = &mut slot => break,
                    Some(id) = cancels.next(), if !cancels.is_empty() => self.cancel(id, outbox).await,
                }
            }
            let mut job = loop {
                tokio::select! {
                    job = self.queue.pop(self.worker) => break job,
                    Some(id) = cancels.next(), if !cancels.is_empty() => self.cancel(id, outbox).await,
                }
            };
            job.taken_by(self.worker);
            let timeout = job.deadline.saturating_duration_since(Instant::now());
            let message = rpc::job(id, &job, timeout);
            let cancelled = job.cancel.clone();
            self.jobs().insert(id, job);
            cancels.push(async move {
                cancelled.cancelled().await;
                id
            });
            let message = frontend_message::Message::Job(message);
            if outbox.send(Ok(FrontendMessage { message: Some(message) })).await.is_err() {
                return;
            }
        }
    }

    async fn cancel(&self, id: u64, outbox: &Outbox) {
        // The job may have been answered long ago; its query's end cancels it all the same.
        if !self.jobs().contains_key(&id) {
            return;
        }
        let message = Some(frontend_message::Message::Cancel(id));
        drop(outbox.send(Ok(FrontendMessage { message })).await);
    }

    /// Takes answers until the querier hangs up.
    async fn take(&self, mut messages: Streaming<WorkerMessage>) {
        loop {
            match messages.message().await {
                Ok(Some(WorkerMessage { message: Some(message) })) => self.heard(message),
                Ok(Some(WorkerMessage { message: None })) => {}
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(querier = self.querier, %error, "querier's stream broke");
                    return;
                }
            }
        }
    }

    fn heard(&self, message: worker_message::Message) {
        match message {
            worker_message::Message::Hello(Hello { slots, .. }) => self.slots.set(slots),
            worker_message::Message::Result(result) => self.answered(result),
        }
    }

    fn answered(&self, result: JobResult) {
        let job = self.jobs().remove(&result.id);
        let Some(job) = job else {
            tracing::warn!(querier = self.querier, id = result.id, "answer to a job that was not given");
            return;
        };
        self.slots.release();
        job.finish(rpc::found(result));
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Job>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.queue.leave();
        tracing::info!(querier = self.querier, unanswered = self.jobs().len(), "querier disconnected");
    }
}

/// How many more jobs a querier can take; a later Hello may change the number.
#[derive(Debug)]
struct Slots {
    free: Semaphore,
    /// Slots it has, and how many too many are still in use.
    size: Mutex<(u32, u32)>,
}

impl Slots {
    fn new() -> Self {
        Self { free: Semaphore::new(0), size: Mutex::new((0, 0)) }
    }

    fn set(&self, slots: u32) {
        let slots = slots.min(MAX_SLOTS);
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, excess) = &mut *size;
        if slots >= *now {
            let more = slots - *now;
            let kept = more.min(*excess);
            *excess -= kept;
            self.free.add_permits((more - kept) as usize);
        } else {
            let fewer = *now - slots;
            *excess += fewer - self.free.forget_permits(fewer as usize) as u32;
        }
        *now = slots;
    }

    async fn acquire(&self) {
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        } else {
            // Never closed.
            std::future::pending::<()>().await;
        }
    }

    fn release(&self) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size.1 > 0 {
            size.1 -= 1;
        } else {
            self.free.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_last_number_while_jobs_are_out() {
        let slots = Slots::new();
        slots.set(3);
        for _ in 0..3 {
            slots.free.try_acquire().unwrap().forget();
        }
        slots.set(1);
        slots.release();
        slots.release();
        assert_eq!(slots.free.available_permits(), 0);
        slots.release();
        assert_eq!(slots.free.available_permits(), 1);
        slots.set(2);
        assert_eq!(slots.free.available_permits(), 2);
    }
}
