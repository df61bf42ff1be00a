//! A head: the live spans of all tenants that belong to one generation of the log.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use tracing_core::{
    model::{Tenant, TraceId},
    table::{Frozen, Live, LiveView, Part, SpanTable},
    wire::otlp::TraceSlice,
};

use super::met::{Met, Salt};

/// Shards of a tenant, so that pushes and a search wait for each other less.
const SHARDS: usize = 4;

/// Bytes decoded while a shard is locked.
const STEP_BYTES: usize = 256 << 10;

/// Spans of all tenants.
#[derive(Debug)]
pub(super) struct Head {
    tenants: RwLock<HashMap<Tenant, Arc<TenantHead>>>,
    hasher: RandomState,
    met: Arc<Met>,
    bytes: AtomicU64,
    oldest: OnceLock<Instant>,
}

/// Spans of one tenant.
#[derive(Debug)]
pub(super) struct TenantHead {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    met: Arc<Met>,
    salt: Salt,
}

/// A trace is wholly in one shard.
#[derive(Debug)]
struct Shard {
    spans: Spans,
    /// Traces that were met before, in an earlier head.
    continued: Vec<TraceId>,
}

#[derive(Debug)]
enum Spans {
    Live(Live),
    Frozen(Arc<Frozen>),
}

/// What a push did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pushed {
    pub(super) bytes: u64,
    pub(super) spans: u64,
    pub(super) new_traces: u64,
}

impl Head {
    /// That takes note in `met` of the traces it takes in.
    pub(super) fn new(met: Arc<Met>) -> Self {
        Self {
            tenants: RwLock::default(),
            hasher: RandomState::new(),
            met,
            bytes: AtomicU64::new(0),
            oldest: OnceLock::new(),
        }
    }

    /// Takes slices in. Hashing and pushing only; nothing is decoded.
    pub(super) fn push(&self, tenant: &Tenant, slices: Vec<TraceSlice>, now: Instant) -> Pushed {
        self.oldest.get_or_init(|| now);
        let pushed = self.tenant_or_new(tenant).push(slices, now);
        self.bytes.fetch_add(pushed.bytes, Ordering::Relaxed);
        pushed
    }

    /// Bytes received.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the first span came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.oldest.get().copied()
    }

    pub(super) fn tenant(&self, tenant: &Tenant) -> Option<Arc<TenantHead>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// All tenants, in order of their names.
    pub(super) fn tenants(&self) -> Vec<(Tenant, Arc<TenantHead>)> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = tenants.iter().map(|(tenant, head)| (tenant.clone(), head.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn tenant_or_new(&self, tenant: &Tenant) -> Arc<TenantHead> {
        if let Some(known) = self.tenant(tenant) {
            return known;
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(TenantHead::new(self.hasher.clone(), self.met.clone(), Salt::of(tenant)));
        tenants.entry(tenant.clone()).or_insert_with(new).clone()
    }
}

impl TenantHead {
    fn new(hasher: RandomState, met: Arc<Met>, salt: Salt) -> Self {
        let shard = |_| Mutex::new(Shard { spans: Spans::Live(Live::default()), continued: Vec::new() });
        Self { shards: std::array::from_fn(shard), hasher, met, salt }
    }

    fn push(&self, slices: Vec<TraceSlice>, now: Instant) -> Pushed {
        let mut pushed = Pushed::default();
        let mut by_shard: [Vec<TraceSlice>; SHARDS] = Default::default();
        for slice in slices {
            if let Some(shard) = by_shard.get_mut(self.shard_of(slice.id)) {
                shard.push(slice);
            }
        }
        for (shard, slices) in self.shards.iter().zip(by_shard).filter(|(_, slices)| !slices.is_empty()) {
            let Shard { spans: Spans::Live(live), continued } = &mut *lock(shard) else { continue };
            for TraceSlice { id, spans, otlp } in slices {
                pushed.bytes += otlp.len() as u64;
                pushed.spans += u64::from(spans);
                if live.push(id, otlp, now).new_trace {
                    pushed.new_traces += 1;
                    if self.met.meet(self.salt, id) {
                        continued.push(id);
                    }
                }
            }
        }
        pushed
    }

    fn shard_of(&self, id: TraceId) -> usize {
        self.hasher.hash_one(id) as usize % SHARDS
    }

    /// Everything in it, as tables. Decodes what is not decoded yet: not for a thread that must not block.
    pub(super) fn view(&self) -> LiveView {
        let view = |shard: &Mutex<Shard>| {
            decode(shard, Instant::now());
            match &mut lock(shard).spans {
                Spans::Live(live) => live.snapshot(),
                Spans::Frozen(frozen) => frozen.view(),
            }
        };
        LiveView { tables: self.shards.iter().flat_map(|shard| view(shard).tables).collect() }
    }

    /// The traces of which an earlier head had spans, too, with the start of what this one has of them: of those that
    /// are decoded, which a [`TenantHead::view`] sees to.
    pub(super) fn continued(&self) -> Vec<(TraceId, u64)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let Shard { spans, continued } = &*lock(shard);
            let start = |id: &TraceId| match spans {
                Spans::Live(live) => live.start(*id),
                Spans::Frozen(frozen) => frozen.start(*id),
            };
            all.extend(continued.iter().filter_map(|id| Some((*id, start(id)?))));
        }
        all
    }

    /// What it holds of a trace, each part a TracesData.
    pub(super) fn find(&self, id: TraceId) -> Vec<Bytes> {
        let Some(shard) = self.shards.get(self.shard_of(id)) else { return Vec::new() };
        let parts = match &lock(shard).spans {
            Spans::Live(live) => live.find(id).unwrap_or_default(),
            Spans::Frozen(frozen) => frozen.find(id).into_iter().collect(),
        };
        // Rendered without the lock.
        parts.iter().map(Part::to_otlp).collect()
    }

    /// Decodes traces that have been quiet since `idle_since`. As [`TenantHead::view`], it may take a while.
    pub(super) fn settle(&self, idle_since: Instant) {
        self.shards.iter().for_each(|shard| decode(shard, idle_since));
    }

    /// Every trace once, ascending by id. Nothing may be pushed any more.
    pub(super) fn freeze(&self) -> Vec<(Arc<SpanTable>, u32)> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            decode(shard, Instant::now());
            let spans = &mut lock(shard).spans;
            if let Spans::Live(live) = spans {
                *spans = Spans::Frozen(Arc::new(std::mem::take(live).freeze()));
            }
            if let Spans::Frozen(frozen) = spans {
                rows.extend(frozen.rows());
            }
        }
        rows.sort_by_cached_key(|(table, row)| table.traces.id.get(*row as usize).copied());
        rows
    }

    pub(super) fn traces(&self) -> usize {
        let traces = |shard: &Mutex<Shard>| match &lock(shard).spans {
            Spans::Live(live) => live.traces(),
            Spans::Frozen(frozen) => frozen.traces(),
        };
        self.shards.iter().map(traces).sum()
    }
}

/// Decodes traces that have been quiet since `idle_since`, in steps, so that pushes and searches get their
/// turn between them. Ends when it has done what there was when it began.
fn decode(shard: &Mutex<Shard>, idle_since: Instant) {
    let mut steps = match &lock(shard).spans {
        Spans::Live(live) => live.pending_bytes() / STEP_BYTES + 1,
        Spans::Frozen(_) => 0,
    };
    while steps > 0 {
        steps = match &mut lock(shard).spans {
            Spans::Live(live) => usize::from(live.settle(idle_since, STEP_BYTES)) * (steps - 1),
            Spans::Frozen(_) => 0,
        };
        std::thread::yield_now();
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
