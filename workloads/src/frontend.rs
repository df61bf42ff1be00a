//! The query-frontend: plans a query as jobs, lets queriers pull them, and combines what they find as it
//! comes. IO happens in the queriers; the frontend knows the block list and who the ingesters are.
//!
//! What is acknowledged is found: every ingester is asked always, and an ingester names with its answer the
//! blocks that it flushed of late. Those that this frontend's block list does not hold yet become jobs of the
//! same query; what nobody is left to name, the list holds (`listed`). So no trace falls between flush and poll.

mod dispatch;
mod error;
mod job;
mod listed;
mod lookup;
mod metrics;
mod options;
mod queue;
mod request;
mod run;
mod search;
mod takeover;
mod whole;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing_core::{
    block::Meta,
    model::{BlockId, Tenant},
    store::Store,
};

pub(crate) use dispatch::MAX_MESSAGE;
pub use dispatch::QueueService;
pub(crate) use error::QueryError;
pub(crate) use job::{Failure, FailureKind, Found, IngesterAddress, Job, Recent, Search, Work};
pub(crate) use lookup::FoundTrace;
pub use options::FrontendOptions;
pub(crate) use options::oldest_list;
pub(crate) use queue::{Queue, WorkerId};
pub(crate) use request::{Form, SearchRequest, SecondsRange};
pub(crate) use search::Answer;

use crate::{membership::Membership, overrides::Overrides};
use listed::Listed;
use metrics::Metrics;
use takeover::Takeovers;

/// A process that is to have others around is not ready before it has met one, for so long.
const MEETING: Duration = Duration::from_secs(15);

/// Plans and combines queries. Shared by the HTTP routes, the queue service and queriers of this process.
#[derive(Debug)]
pub struct Frontend {
    options: FrontendOptions,
    store: Arc<Store>,
    membership: Arc<Membership>,
    overrides: Arc<Overrides>,
    queue: Arc<Queue<Job>>,
    metrics: Metrics,
    takeovers: Takeovers,
    listed: Listed,
    began: Instant,
}

impl Frontend {
    /// A frontend without work; its metrics stand in `registry` from now on.
    pub fn new(
        options: FrontendOptions,
        store: Arc<Store>,
        membership: Arc<Membership>,
        overrides: Arc<Overrides>,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let queue = Arc::new(Queue::new(options.max_outstanding_per_tenant));
        let metrics = Metrics::register(registry, queue.clone());
        let (takeovers, began) = (Takeovers::default(), Instant::now());
        let listed = Listed::new(options.oldest_list, membership.gossip_address().is_some(), began);
        Arc::new(Self { options, store, membership, overrides, queue, metrics, takeovers, listed, began })
    }

    /// The gRPC service from which queriers pull jobs.
    pub fn queue_service(&self, leaving: CancellationToken) -> QueueService {
        QueueService::new(self.queue.clone(), leaving)
    }

    /// Whether queries can be answered.
    ///
    /// # Errors
    /// The reason, as `/ready` prints it, when no querier is connected, or nobody of a cluster was met yet.
    pub fn ready(&self) -> Result<(), String> {
        if self.queue.workers() == 0 {
            return Err("number of queriers connected to query-frontend is 0".to_owned());
        }
        let alone =
            self.membership.gossip_address().is_some() && self.membership.watch().borrow().all().len() < 2;
        if alone && self.began.elapsed() < MEETING {
            return Err("no other member of the cluster was met yet".to_owned());
        }
        Ok(())
    }

    /// The waiting jobs, for queriers of this process.
    pub(crate) fn queue(&self) -> Arc<Queue<Job>> {
        self.queue.clone()
    }

    /// What bounds requests.
    pub(crate) fn options(&self) -> &FrontendOptions {
        &self.options
    }

    /// Follows who comes and goes, and lists anew what queries then need. Ends with `shutdown`.
    pub async fn follow_members(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = self.membership.watch();
        self.ingesters();
        self.note_takeovers();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            self.note_takeovers();
            self.ingesters();
            self.list_ahead().await;
        }
    }

    /// Of the blocks that an ingester flushed lately, those that no other has replaced. Where some were, what
    /// replaced them may be younger than the plan of the query, and so all that the list has is among the
    /// answer: the query knows which of it is new.
    fn not_replaced(&self, tenant: &Tenant, mut recent: Vec<Arc<Meta>>) -> Vec<Arc<Meta>> {
        // The live ones last: what is replaced in between is then in both, and asked.
        let replaced = self.store.replaced(tenant);
        let live = self.store.blocks(tenant);
        let (all, known) = (recent.len(), live.iter().map(|meta| meta.id).collect::<HashSet<_>>());
        recent.retain(|meta| known.contains(&meta.id) || !replaced.contains(&meta.id));
        if recent.len() < all {
            recent.extend(live.iter().cloned());
        }
        recent
    }

    /// True while `ingester` is a member: its silence then means that spans are missing.
    fn still_member(&self, ingester: &IngesterAddress) -> bool {
        self.ingesters().contains(ingester)
    }

    /// Longest trace of `tenants` that is answered, bytes.
    pub(crate) fn max_trace_bytes(&self, tenants: &[Tenant]) -> Option<u64> {
        let limits = tenants.iter().map(|tenant| self.overrides.of(tenant).trace_bytes());
        limits.max_by_key(|limit| limit.unwrap_or(u64::MAX)).flatten()
    }
}

/// The blocks that a query has jobs for, or need not look into, and the ingesters it asks.
#[derive(Debug, Default)]
struct Seen {
    blocks: HashSet<BlockId>,
    ingesters: HashSet<(Tenant, IngesterAddress)>,
    /// Up to when the list of each tenant was complete.
    listed: HashMap<Tenant, Instant>,
}

impl Seen {
    /// Those of `metas` that were not seen before; all of them are from now on.
    fn news(&mut self, metas: impl IntoIterator<Item = Arc<Meta>>) -> Vec<Arc<Meta>> {
        metas.into_iter().filter(|meta| self.blocks.insert(meta.id)).collect()
    }

    /// From now on no ingester was asked: one may hold more than it did.
    fn ask_all_again(&mut self) {
        self.ingesters.clear();
    }

    /// True where `ingester` was not asked for `tenant` before; it is from now on.
    fn is_new(&mut self, tenant: &Tenant, ingester: &IngesterAddress) -> bool {
        self.ingesters.insert((tenant.clone(), ingester.clone()))
    }
}

/// What a combined query costs, for its log line.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cost {
    /// Blocks that were planned.
    pub(crate) blocks: u64,
    /// Their length in bytes.
    pub(crate) block_bytes: u64,
    /// Jobs that were planned.
    pub(crate) jobs: u64,
    /// Jobs that were answered.
    pub(crate) completed: u64,
}

impl Cost {
    /// Adds the jobs of a lookup that was made for the same query; its blocks are the query's.
    fn add(&mut self, lookup: Self) {
        self.jobs += lookup.jobs;
        self.completed += lookup.completed;
    }
}

/// The names of the tenants of a query, as they came in the header.
fn names(tenants: &[Tenant]) -> String {
    tenants.iter().map(Tenant::as_str).collect::<Vec<_>>().join("|")
}
