//! A job: the piece of a query that one querier answers in one go, and what it answers.

use std::{net::SocketAddr, ops::Range, sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing_core::{
    block::Meta,
    engine::{SearchLimits, SearchPart},
    model::{Tenant, TraceId},
    traceql::Plan,
};
use uuid::Uuid;

use super::{
    queue::{Waiting, WorkerId},
    request::Form,
};
use crate::membership::Member;

/// What all jobs of one search share.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) form: Form,
    pub(crate) plan: Arc<Plan>,
    pub(crate) limits: SearchLimits,
}

/// What a querier is to do.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    SearchBlock {
        search: Arc<Search>,
        meta: Arc<Meta>,
        row_groups: Range<usize>,
    },
    SearchLive {
        search: Arc<Search>,
        ingester: IngesterAddress,
    },
    /// `holding` where a filter says that the blocks hold the trace. Of the trace whole, or what a search needs to
    /// decide whether it matches, and to show it.
    FindInBlocks {
        id: TraceId,
        metas: Vec<Arc<Meta>>,
        holding: bool,
        search: Option<Arc<Search>>,
    },
    FindLive {
        id: TraceId,
        ingester: IngesterAddress,
    },
}

/// Where an ingester is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IngesterAddress {
    /// Its name in the cluster; its address where that is not known.
    pub(crate) id: String,
    pub(crate) grpc: SocketAddr,
}

/// What it found.
#[derive(Debug)]
pub(crate) enum Found {
    Search { part: SearchPart, recent: Recent },
    Trace { parts: Vec<Bytes>, recent: Recent },
}

/// What an ingester says of blocks with an answer; nothing in the answers of others.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Those that it flushed of late.
    pub(crate) blocks: Vec<Arc<Meta>>,
    /// Its process: after a restart it is another, which flushed nothing yet.
    pub(crate) process: Option<Uuid>,
}

/// Why it found nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Another attempt may do.
    Retry,
    /// No attempt will do.
    Refused,
    /// Nobody waits any more.
    Cancelled,
    /// The block is gone, compacted or expired since the block list was made.
    BlockGone,
}

/// The answer to job `number` of a query.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) number: usize,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) result: Result<Found, Failure>,
}

/// One attempt at some work. A job that is dropped unanswered counts as failed, so that a query never waits
/// for a querier that is gone.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) tenant: Tenant,
    pub(crate) work: Arc<Work>,
    pub(crate) deadline: Instant,
    pub(crate) cancel: CancellationToken,
    number: usize,
    failed_on: Option<WorkerId>,
    worker: Option<WorkerId>,
    reply: Option<mpsc::UnboundedSender<Answered>>,
}

impl IngesterAddress {
    pub(crate) fn of(member: &Member) -> Self {
        Self { id: member.id.clone(), grpc: member.grpc }
    }
}

impl Job {
    /// An attempt whose one answer goes to `reply` under `number`.
    pub(crate) fn new(
        tenant: Tenant,
        work: Arc<Work>,
        deadline: Instant,
        cancel: CancellationToken,
        number: usize,
        failed_on: Option<WorkerId>,
        reply: mpsc::UnboundedSender<Answered>,
    ) -> Self {
        Self { tenant, work, deadline, cancel, number, failed_on, worker: None, reply: Some(reply) }
    }

    /// Notes who works on it.
    pub(crate) fn taken_by(&mut self, worker: WorkerId) {
        self.worker = Some(worker);
    }

    /// Answers the job.
    pub(crate) fn finish(mut self, result: Result<Found, Failure>) {
        self.answer(result);
    }

    /// Takes the job back unanswered: it was never given to anyone.
    pub(crate) fn withdraw(&mut self) {
        self.reply = None;
    }

    fn answer(&mut self, result: Result<Found, Failure>) {
        if let Some(reply) = self.reply.take() {
            // The query may be gone, and then its answer is of no use.
            drop(reply.send(Answered { number: self.number, worker: self.worker, result }));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.answer(Err(Failure::retry("the querier went away before it answered")));
    }
}

impl Waiting for Job {
    fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    fn is_abandoned(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn failed_on(&self) -> Option<WorkerId> {
        self.failed_on
    }
}

impl Failure {
    /// A failure after which another attempt may do.
    #[expect(clippy::needless_pass_by_value, reason = "so that map_err takes it by name")]
    pub(crate) fn retry(message: impl ToString) -> Self {
        Self { kind: FailureKind::Retry, message: message.to_string() }
    }

    /// A failure after which no attempt will do.
    #[expect(clippy::needless_pass_by_value, reason = "so that map_err takes it by name")]
    pub(crate) fn refused(message: impl ToString) -> Self {
        Self { kind: FailureKind::Refused, message: message.to_string() }
    }

    /// Nobody waits for the answer.
    pub(crate) fn cancelled() -> Self {
        Self { kind: FailureKind::Cancelled, message: "the job was cancelled".to_owned() }
    }
}

impl Work {
    /// The nanosecond at or before which everything that it can find has started; none where that is open.
    pub(crate) fn newest(&self) -> Option<u64> {
        match self {
            Self::SearchBlock { meta, .. } => Some(meta.nanos().1),
            _ => None,
        }
    }

    /// What it looks into, for errors and logs.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::SearchBlock { meta, row_groups, .. } => {
                format!("block {}, row groups {} to {}", meta.id, row_groups.start, row_groups.end)
            }
            Self::SearchLive { ingester, .. } | Self::FindLive { ingester, .. } => {
                format!("ingester {} at {}", ingester.id, ingester.grpc)
            }
            Self::FindInBlocks { metas, .. } => match metas.as_slice() {
                [one] => format!("block {}", one.id),
                several => format!("{} blocks", several.len()),
            },
        }
    }
}
