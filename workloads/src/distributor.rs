//! From a request to the write-ahead logs of ingesters: cut by trace, limit by tenant, place each trace, and
//! answer when every span is durable. IO.
//!
//! Spans are never copied between ingesters. A trace goes to the first member by rendezvous hashing; when that
//! one refuses or is gone, to the next.

mod channels;
mod local;
mod metrics;
mod place;
mod rate;
mod refusal;
mod service;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use prometheus_client::registry::Registry;
use tracing_core::{
    model::Tenant,
    wire::otlp::{self, Split, TraceSlice},
};

pub use refusal::Refusal;
pub use service::PushService;

use crate::{
    membership::{Member, Membership, Role, State},
    overrides::Overrides,
    tls::Connector,
};
use channels::Channels;
use metrics::Metrics;
use rate::Rates;

/// Members that are asked, one after the other, to take a trace.
const ATTEMPTS: usize = 3;

/// Spans of one tenant on their way to one ingester.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose they are.
    pub tenant: Tenant,
    /// One slice a trace.
    pub slices: Vec<TraceSlice>,
}

/// Why an ingester did not take a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It cannot, now: another one may.
    #[error("{0}")]
    Unable(String),
    /// The batch itself is wrong: no other will.
    #[error("{0}")]
    Wrong(String),
}

/// Takes batches into a write-ahead log: the ingester of this process.
#[tonic::async_trait]
pub trait Keeper: Send + Sync + 'static {
    /// Returns when the log holds every span.
    async fn keep(&self, batch: Batch) -> Result<(), NotTaken>;
}

/// What was taken of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Spans that are durable.
    pub spans: u64,
    /// Spans that were refused,
    pub rejected: u64,
    /// and why; empty when none was.
    pub reason: String,
}

/// The role that takes spans in.
pub struct Distributor {
    membership: Arc<Membership>,
    local: Option<Arc<dyn Keeper>>,
    channels: Channels,
    overrides: Arc<Overrides>,
    rates: Rates,
    metrics: Metrics,
    complaints: Complaints,
}

/// Lets one complaint a second into the log: under overload there would be one a request.
#[derive(Debug, Default)]
struct Complaints(std::sync::Mutex<Option<Instant>>);

impl Complaints {
    fn due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1));
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

impl std::fmt::Debug for Distributor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Distributor").field("membership", &self.membership).finish_non_exhaustive()
    }
}

impl Distributor {
    /// `local` is the ingester of this process, where there is one; `tls` is how the others are reached.
    pub fn new(
        config: &vivace_config::Distributor,
        membership: Arc<Membership>,
        local: Option<Arc<dyn Keeper>>,
        overrides: Arc<Overrides>,
        tls: Option<Arc<Connector>>,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let retry_after = config.retry_after_on_resource_exhausted;
        Arc::new(Self {
            membership,
            local,
            channels: Channels::new(tls),
            overrides,
            rates: Rates::new(retry_after.map(vivace_config::Duration::get)),
            metrics: Metrics::register(registry),
            complaints: Complaints::default(),
        })
    }

    /// Takes an ExportTraceServiceRequest; returns when its spans are durable. `received` is the size on the
    /// wire, before decompression.
    ///
    /// # Errors
    /// [`Refusal`] for the whole request; nothing of it counts as taken then, though parts may be stored, and a
    /// client that sends it again loses and doubles nothing: equal spans are merged when they are read.
    pub async fn push(&self, tenant: &Tenant, body: Bytes, received: usize) -> Result<Accepted, Refusal> {
        let begin = Instant::now();
        let bytes = body.len() as u64;
        self.metrics.ingress(tenant, received as u64);
        let distributors = self.membership.members(Role::Distributor).len();
        let limits = self.overrides.of(tenant);
        let admitted = self.rates.admit(tenant, bytes, &limits.ingestion, distributors);
        let split = match otlp::split(&body) {
            Ok(split) => split,
            Err(error) => return Err(Refusal::Invalid(error.to_string())),
        };
        drop(body);
        self.metrics.received(tenant, split.spans + split.rejected.spans, bytes);
        if let Err(refusal) = admitted {
            self.overrides.discarded(tenant, "rate_limited", split.spans);
            return Err(refusal);
        }
        self.overrides.discarded(tenant, "invalid_trace_id", split.rejected.invalid_trace_id);
        self.overrides.discarded(tenant, "invalid_span_id", split.rejected.invalid_span_id);
        let (traces, accepted) = self.fitting(tenant, split, limits.trace_bytes());
        if accepted.spans == 0 && accepted.rejected > 0 {
            return Err(Refusal::Invalid(accepted.reason));
        }
        let outcome = self.place(tenant, traces).await;
        self.metrics.pushed(begin.elapsed());
        outcome?;
        Ok(accepted)
    }

    /// Leaves out traces of which this request alone has more bytes than a trace may have.
    fn fitting(&self, tenant: &Tenant, split: Split, limit: Option<u64>) -> (Vec<TraceSlice>, Accepted) {
        let Split { mut traces, spans, rejected } = split;
        let mut accepted = Accepted { spans, rejected: rejected.spans, reason: rejected.first_reason };
        let Some(limit) = limit else { return (traces, accepted) };
        traces.retain(|slice| {
            let fits = slice.otlp.len() as u64 <= limit;
            if !fits {
                let spans = u64::from(slice.spans);
                accepted.spans -= spans;
                accepted.rejected += spans;
                if accepted.reason.is_empty() {
                    let bytes = slice.otlp.len();
                    accepted.reason = format!(
                        "TRACE_TOO_LARGE: max size of trace ({limit} bytes, max_bytes_per_trace) exceeded by {bytes} \
                         bytes of trace {} for tenant {tenant}",
                        slice.id
                    );
                }
                self.overrides.discarded(tenant, "trace_too_large", spans);
            }
            fits
        });
        (traces, accepted)
    }

    /// Sends each slice to the first member that takes it.
    async fn place(&self, tenant: &Tenant, slices: Vec<TraceSlice>) -> Result<(), Refusal> {
        if slices.is_empty() {
            return Ok(());
        }
        let all = self.membership.members(Role::Ingester);
        let mut members: Vec<&Member> = all.iter().filter(|member| member.state == State::Active).collect();
        let mut pending = slices;
        let mut last = "no ingester is active".to_owned();
        for _ in 0..ATTEMPTS {
            if members.is_empty() {
                break;
            }
            let groups = place::group(std::mem::take(&mut pending), &members);
            let sent = groups.into_iter().map(|(at, slices)| {
                let member = members.get(at).copied();
                let spare = if members.len() > 1 { slices.clone() } else { Vec::new() };
                async move { (at, spare, self.send(member, tenant, slices).await) }
            });
            let mut failed = Vec::new();
            for (at, spare, outcome) in join_all(sent).await {
                match outcome {
                    Ok(()) => {}
                    Err(NotTaken::Wrong(message)) => return Err(Refusal::Invalid(message)),
                    Err(NotTaken::Unable(message)) => {
                        last = message;
                        failed.push(at);
                        pending.extend(spare);
                    }
                }
            }
            if failed.is_empty() {
                return Ok(());
            }
            members =
                members.iter().enumerate().filter(|(at, _)| !failed.contains(at)).map(|(_, m)| *m).collect();
        }
        Err(Refusal::Unavailable(last))
    }

    async fn send(
        &self,
        member: Option<&Member>,
        tenant: &Tenant,
        slices: Vec<TraceSlice>,
    ) -> Result<(), NotTaken> {
        let Some(member) = member else {
            return Err(NotTaken::Unable("no ingester is active".to_owned()));
        };
        let batch = Batch { tenant: tenant.clone(), slices };
        let outcome = match (&self.local, member.local) {
            (Some(keeper), true) => keeper.keep(batch).await,
            _ => self.channels.push(member.grpc, batch).await,
        };
        self.metrics.appended(&member.id, &outcome);
        if let Err(error) = &outcome
            && self.complaints.due()
        {
            tracing::warn!(ingester = member.id, address = %member.grpc, %error, "an ingester did not take spans");
        }
        outcome
    }
}
