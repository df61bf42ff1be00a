//! Jobs of frontends of other processes: one stream to each address that the frontends' name has, opened
//! anew when it breaks, closed when the name no longer has the address. IO.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, Streaming, transport::Endpoint};

use super::Querier;
use crate::{
    frontend::{Failure, MAX_MESSAGE},
    proto::vivace::v1::{
        FrontendMessage, Hello, Job, JobResult, WorkerMessage, frontend_message, queue_client::QueueClient,
        worker_message,
    },
    rpc,
    tls::{Connector, reasons},
};

/// Wait before a broken stream is opened anew; doubled while it breaks at once.
const RECONNECT: Duration = Duration::from_millis(250);

/// Longest such wait.
const MAX_RECONNECT: Duration = Duration::from_secs(4);

/// How long a frontend may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers that wait for the network.
const OUTBOX: usize = 64;

/// Cancellation of each job under way.
type Running = Arc<Mutex<HashMap<u64, CancellationToken>>>;

impl Querier {
    /// Answers jobs of the frontends at the configured address until `shutdown`; nothing to do where none is
    /// configured.
    pub async fn serve_remote(self: Arc<Self>, shutdown: CancellationToken) {
        let Some(name) = self.options.frontend_address.clone() else { return };
        let mut streams: BTreeMap<SocketAddr, DropGuard> = BTreeMap::new();
        let (share, slots) = watch::channel(self.options.max_concurrent as u32);
        let mut unknown = false;
        let mut tick = tokio::time::interval(self.options.dns_lookup_every);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            let addresses: Vec<SocketAddr> = match tokio::net::lookup_host(&name).await {
                Ok(found) => {
                    unknown = false;
                    found.collect()
                }
                Err(error) => {
                    // Said once: where frontends start later, it is so for a while.
                    if !unknown {
                        tracing::warn!(name, %error, "address of the query-frontend not found, trying on");
                    }
                    unknown = true;
                    continue;
                }
            };
            streams.retain(|address, _| addresses.contains(address));
            for address in addresses {
                streams.entry(address).or_insert_with(|| {
                    let stop = shutdown.child_token();
                    let pulling = self.clone().pull(address, slots.clone(), stop.clone());
                    tokio::spawn(pulling);
                    stop.drop_guard()
                });
            }
            // Each frontend is promised its share, rounded up, of what the querier runs.
            let each = self.options.max_concurrent.div_ceil(streams.len().max(1)) as u32;
            share.send_if_modified(|slots| std::mem::replace(slots, each) != each);
        }
    }

    /// Keeps a stream to one frontend open until `stop`.
    async fn pull(
        self: Arc<Self>,
        frontend: SocketAddr,
        slots: watch::Receiver<u32>,
        stop: CancellationToken,
    ) {
        let mut wait = RECONNECT;
        loop {
            let began = Instant::now();
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.stream(frontend, slots.clone()) => outcome,
            };
            match outcome {
                Ok(()) => tracing::info!(%frontend, "query-frontend closed the stream"),
                Err(error) if wait == RECONNECT => {
                    tracing::warn!(%frontend, error = reasons(&error), "no jobs from the query-frontend, trying on");
                }
                Err(error) => tracing::debug!(%frontend, %error, "no jobs from the query-frontend"),
            }
            wait = if began.elapsed() > MAX_RECONNECT { RECONNECT } else { (wait * 2).min(MAX_RECONNECT) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn stream(&self, frontend: SocketAddr, mut slots: watch::Receiver<u32>) -> Result<(), Status> {
        let endpoint = Endpoint::from_shared(format!("http://{frontend}"));
        let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        let channel = Connector::eager(self.options.to_frontends.as_ref(), &endpoint)
            .await
            .map_err(|error| Status::unavailable(reasons(&error)))?;
        let mut client = QueueClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let share = *slots.borrow_and_update();
        say_hello(&outbox, &self.options.id, share).await;
        let mut jobs = client.work(ReceiverStream::new(messages)).await?.into_inner();
        tracing::info!(%frontend, "taking jobs of query-frontend");
        let running = Running::default();
        let mut answers = FuturesUnordered::new();
        loop {
            tokio::select! {
                message = next(&mut jobs) => match message? {
                    None => return Ok(()),
                    Some(frontend_message::Message::Job(job)) => {
                        answers.push(self.one(job, running.clone()));
                    }
                    Some(frontend_message::Message::Cancel(id)) => {
                        if let Some(cancel) = running.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
                            cancel.cancel();
                        }
                    }
                },
                Some(result) = answers.next(), if !answers.is_empty() => {
                    let message = worker_message::Message::Result(result);
                    if outbox.send(WorkerMessage { message: Some(message) }).await.is_err() {
                        return Ok(());
                    }
                }
                changed = slots.changed() => {
                    if changed.is_ok() {
                        let share = *slots.borrow_and_update();
                        say_hello(&outbox, &self.options.id, share).await;
                    } else {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Answers one job of a stream.
    async fn one(&self, job: Job, running: Running) -> JobResult {
        let (id, timeout) = (job.id, Duration::from_millis(job.timeout_ms));
        let cancel = CancellationToken::new();
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, cancel.clone());
        let deadline = Instant::now() + timeout.min(Duration::from_hours(1));
        let result = match rpc::work(job) {
            Err(error) => Err(Failure::refused(error)),
            Ok((tenant, work)) => {
                let answer = self.answer(&tenant, &work, &cancel);
                let answer = tokio::time::timeout_at(deadline.into(), answer).await;
                answer.unwrap_or_else(|_| Err(Failure::cancelled()))
            }
        };
        // Work that still runs on another thread is told to stop.
        cancel.cancel();
        running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        rpc::result(id, result)
    }
}

async fn next(jobs: &mut Streaming<FrontendMessage>) -> Result<Option<frontend_message::Message>, Status> {
    loop {
        match jobs.message().await? {
            None => return Ok(None),
            Some(FrontendMessage { message: Some(message) }) => return Ok(Some(message)),
            Some(FrontendMessage { message: None }) => {}
        }
    }
}

async fn say_hello(outbox: &mpsc::Sender<WorkerMessage>, querier: &str, slots: u32) {
    let hello = Hello { querier: querier.to_owned(), slots };
    let message = Some(worker_message::Message::Hello(hello));
    // A closed stream is noticed where its messages are read.
    drop(outbox.send(WorkerMessage { message }).await);
}
