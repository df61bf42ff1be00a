//! What an ingester holds and where it is on its way: head, frozen heads, staged blocks, recent blocks. What is
//! searched is taken under one lock, and a step of the way changes both of its places under the same lock, so
//! that a search sees everything exactly once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing_core::{
    block::Meta,
    model::{BlockId, Tenant},
    store::Staged,
    wal::Generation,
};

use super::head::{Head, TenantHead};

/// See the file's head.
pub(super) struct State {
    held: RwLock<Held>,
    /// Told of every change, for those who wait for one.
    changed: watch::Sender<()>,
}

struct Held {
    current: Arc<Head>,
    /// Oldest first.
    frozen: VecDeque<Arc<Cut>>,
    staged: HashMap<BlockId, OnStage>,
    recent: VecDeque<(Instant, Arc<Meta>)>,
    next_order: u64,
}

/// A block on the stage.
struct OnStage {
    order: u64,
    block: Staged,
    /// Its generation has left the log, so that it may be uploaded and leave the stage.
    released: bool,
    attempts: u32,
}

/// A head that takes no more pushes.
#[derive(Debug)]
pub(super) struct Cut {
    /// Rises from cut to cut.
    pub(super) order: u64,
    /// The log's generation that holds the same spans.
    pub(super) generation: Generation,
    pub(super) head: Arc<Head>,
}

/// What a search looks at.
pub(super) struct Seen {
    pub(super) heads: Vec<Arc<TenantHead>>,
    pub(super) staged: Vec<Staged>,
    pub(super) recent: Vec<Arc<Meta>>,
}

impl State {
    pub(super) fn new() -> Self {
        let held = Held {
            current: Arc::new(Head::new()),
            frozen: VecDeque::new(),
            staged: HashMap::new(),
            recent: VecDeque::new(),
            next_order: 0,
        };
        Self { held: RwLock::new(held), changed: watch::Sender::new(()) }
    }

    pub(super) fn current(&self) -> Arc<Head> {
        self.read(|held| held.current.clone())
    }

    pub(super) fn see(&self, tenant: &Tenant) -> Seen {
        self.read(|held| {
            let heads = std::iter::once(&held.current).chain(held.frozen.iter().map(|cut| &cut.head));
            let staged = held.staged.values().map(|on_stage| &on_stage.block);
            Seen {
                heads: heads.filter_map(|head| head.tenant(tenant)).collect(),
                staged: staged.filter(|staged| staged.meta.tenant == *tenant).cloned().collect(),
                recent: held.recent.iter().map(|(_, m)| m).filter(|m| m.tenant == *tenant).cloned().collect(),
            }
        })
    }

    /// The current head becomes the cut of `generation`, an empty one takes its place.
    pub(super) fn cut(&self, generation: Generation) {
        self.change(|held| {
            let head = std::mem::replace(&mut held.current, Arc::new(Head::new()));
            held.freeze(generation, head, &[]);
        });
    }

    /// A head that was replayed; its blocks that are on the stage already are searched there.
    pub(super) fn replayed(&self, generation: Generation, head: Head, already: &[Staged]) {
        self.change(|held| held.freeze(generation, Arc::new(head), already));
    }

    /// Blocks found on the stage of which the log knows nothing any more.
    pub(super) fn found(&self, staged: &[Staged]) {
        self.change(|held| {
            let order = held.order();
            held.stage(order, staged, true);
        });
    }

    /// The oldest frozen head.
    pub(super) fn oldest_cut(&self) -> Option<Arc<Cut>> {
        self.read(|held| held.frozen.front().cloned())
    }

    /// A frozen head is on the stage, whole: it goes, its blocks come.
    pub(super) fn staged(&self, cut: &Cut, blocks: &[Staged]) {
        self.change(|held| {
            held.frozen.retain(|frozen| frozen.order != cut.order);
            held.stage(cut.order, blocks, false);
        });
    }

    /// The generation of a cut has left the log: its blocks may be uploaded (rule
    /// *wal-removal-before-upload*).
    pub(super) fn release(&self, order: u64) {
        self.change(|held| {
            held.staged.values_mut().filter(|on| on.order == order).for_each(|on| on.released = true);
        });
    }

    /// The block to be uploaded next: the oldest of those that failed least often.
    pub(super) fn next_upload(&self) -> Option<Staged> {
        self.read(|held| {
            let released = held.staged.values().filter(|on| on.released);
            let next = released.min_by_key(|on| (on.attempts, on.order, on.block.meta.id));
            next.map(|on| on.block.clone())
        })
    }

    /// An upload failed.
    pub(super) fn not_uploaded(&self, block: &Staged) {
        self.change(|held| {
            if let Some(on) = held.staged.get_mut(&block.meta.id) {
                on.attempts += 1;
            }
        });
    }

    /// A staged block is in the store: from now on readers find it there.
    pub(super) fn uploaded(&self, block: &Staged, now: Instant, recent_for: Duration) {
        self.change(|held| {
            held.staged.remove(&block.meta.id);
            held.recent.push_back((now, block.meta.clone()));
            held.recent.retain(|(at, _)| now.duration_since(*at) < recent_for);
        });
    }

    /// Forgets recent blocks that every reader has listed by now.
    pub(super) fn forget(&self, now: Instant, recent_for: Duration) {
        if self.read(|held| held.recent.front().is_some_and(|(at, _)| now.duration_since(*at) >= recent_for))
        {
            self.change(|held| held.recent.retain(|(at, _)| now.duration_since(*at) < recent_for));
        }
    }

    /// Frozen heads and staged blocks.
    pub(super) fn waiting(&self) -> (usize, usize) {
        self.read(|held| (held.frozen.len(), held.staged.len()))
    }

    /// The order that the next cut will have.
    pub(super) fn next_order(&self) -> u64 {
        self.read(|held| held.next_order)
    }

    /// Whether all that was cut with an order below `order` is in the store.
    pub(super) fn stored_below(&self, order: u64) -> bool {
        self.read(|held| {
            held.frozen.iter().all(|cut| cut.order >= order)
                && held.staged.values().all(|on| on.order >= order)
        })
    }

    /// Traces that are not staged yet.
    pub(super) fn live_traces(&self) -> HashMap<Tenant, usize> {
        let heads = self.read(|held| {
            let frozen = held.frozen.iter().map(|cut| cut.head.clone());
            frozen.chain([held.current.clone()]).collect::<Vec<_>>()
        });
        let mut traces = HashMap::new();
        for (tenant, head) in heads.iter().flat_map(|head| head.tenants()) {
            *traces.entry(tenant).or_default() += head.traces();
        }
        traces
    }

    /// Resolves when `reached` holds.
    pub(super) async fn until(&self, reached: impl Fn() -> bool) {
        let mut changes = self.changed.subscribe();
        while !reached() {
            // The sender lives as long as this.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        look(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
    }
}

impl Held {
    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }

    fn freeze(&mut self, generation: Generation, head: Arc<Head>, already: &[Staged]) {
        let order = self.order();
        self.stage(order, already, false);
        self.frozen.push_back(Arc::new(Cut { order, generation, head }));
    }

    fn stage(&mut self, order: u64, blocks: &[Staged], released: bool) {
        let on_stage = |block: &Staged| OnStage { order, block: block.clone(), released, attempts: 0 };
        self.staged.extend(blocks.iter().map(|block| (block.meta.id, on_stage(block))));
    }
}
