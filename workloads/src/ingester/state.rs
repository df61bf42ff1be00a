//! What an ingester holds and where it is on its way: head, frozen heads, staged blocks, recent blocks. What is
//! searched is taken under one lock, and a step of the way changes both of its places under the same lock, so
//! that a search sees everything exactly once. What another ingester holds by now is not seen at all.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing_core::{
    block::Meta,
    model::{BlockId, Tenant},
    store::Staged,
    wal::{Generation, Held as Epoch},
};

use super::{
    head::{Head, TenantHead},
    met::Met,
};

/// Where the log is that holds the same spans as a head.
#[derive(Clone)]
pub(super) enum Keep {
    /// On this machine's disk.
    Disk,
    /// In the object store.
    Object(Arc<Epoch>),
}

/// See the file's head.
pub(super) struct State {
    held: RwLock<Held>,
    met: Arc<Met>,
    /// Told of every change, for those who wait for one.
    changed: watch::Sender<()>,
}

struct Held {
    current: Arc<Head>,
    /// Whose generation the current head is.
    keep: Keep,
    /// Oldest first.
    frozen: VecDeque<Arc<Cut>>,
    staged: HashMap<BlockId, OnStage>,
    /// Cuts of logs in the object store whose blocks are all on the stage, oldest first.
    unpublished: VecDeque<Arc<Cut>>,
    recent: VecDeque<(Instant, Arc<Meta>)>,
    next_order: u64,
}

/// A block on the stage.
struct OnStage {
    order: u64,
    block: Staged,
    keep: Keep,
    /// Its generation has left the log on disk, so that it may be uploaded and leave the stage.
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
    /// Where that log is.
    pub(super) keep: Keep,
    pub(super) head: Arc<Head>,
}

/// What a search looks at.
pub(super) struct Seen {
    pub(super) heads: Vec<Arc<TenantHead>>,
    pub(super) staged: Vec<Staged>,
    pub(super) recent: Vec<Arc<Meta>>,
}

impl Keep {
    /// Whether another ingester answers for it by now.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Object(epoch) if epoch.is_lost())
    }

    /// The epoch, where the log is in the object store.
    pub(super) fn epoch(&self) -> Option<&Arc<Epoch>> {
        match self {
            Self::Disk => None,
            Self::Object(epoch) => Some(epoch),
        }
    }

    fn is(&self, epoch: &Arc<Epoch>) -> bool {
        self.epoch().is_some_and(|own| Arc::ptr_eq(own, epoch))
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk => f.write_str("disk"),
            Self::Object(epoch) => write!(f, "{} term {}", epoch.epoch(), epoch.term()),
        }
    }
}

impl State {
    pub(super) fn new() -> Self {
        let met = Arc::<Met>::default();
        let held = Held {
            current: Arc::new(Head::new(met.clone())),
            keep: Keep::Disk,
            frozen: VecDeque::new(),
            staged: HashMap::new(),
            unpublished: VecDeque::new(),
            recent: VecDeque::new(),
            next_order: 0,
        };
        Self { held: RwLock::new(held), met, changed: watch::Sender::new(()) }
    }

    /// A head without spans.
    pub(super) fn new_head(&self) -> Arc<Head> {
        Arc::new(Head::new(self.met.clone()))
    }

    /// The traces that were met of late, in whatever head.
    pub(super) fn met(&self) -> &Arc<Met> {
        &self.met
    }

    pub(super) fn current(&self) -> Arc<Head> {
        self.read(|held| held.current.clone())
    }

    pub(super) fn see(&self, tenant: &Tenant) -> Seen {
        self.read(|held| {
            let current = (!held.keep.is_lost()).then_some(&held.current);
            let frozen = held.frozen.iter().filter(|cut| !cut.keep.is_lost()).map(|cut| &cut.head);
            let heads = current.into_iter().chain(frozen);
            let staged = held.staged.values().filter(|on_stage| !on_stage.keep.is_lost());
            let staged = staged.map(|on_stage| &on_stage.block);
            Seen {
                heads: heads.filter_map(|head| head.tenant(tenant)).collect(),
                staged: staged.filter(|staged| staged.meta.tenant == *tenant).cloned().collect(),
                recent: held.recent.iter().map(|(_, m)| m).filter(|m| m.tenant == *tenant).cloned().collect(),
            }
        })
    }

    /// The epochs of which anything is held.
    pub(super) fn epochs(&self) -> Vec<Arc<Epoch>> {
        self.read(|held| {
            let cuts = held.frozen.iter().chain(&held.unpublished).map(|cut| &cut.keep);
            let keeps = cuts.chain(held.staged.values().map(|on| &on.keep)).chain([&held.keep]);
            let mut epochs = Vec::<Arc<Epoch>>::new();
            for epoch in keeps.filter_map(Keep::epoch) {
                if !epochs.iter().any(|known| Arc::ptr_eq(known, epoch)) {
                    epochs.push(epoch.clone());
                }
            }
            epochs
        })
    }

    /// Whether anything of an epoch is held; an empty head is nothing.
    pub(super) fn holds(&self, epoch: &Arc<Epoch>) -> bool {
        self.read(|held| {
            held.frozen.iter().chain(&held.unpublished).any(|cut| cut.keep.is(epoch))
                || held.staged.values().any(|on| on.keep.is(epoch))
                || (held.keep.is(epoch) && held.current.oldest().is_some())
        })
    }

    /// The current head becomes the cut of `generation`, an empty one takes its place. Both are of the same
    /// log.
    pub(super) fn cut(&self, generation: Generation) {
        self.change(|held| {
            let head = std::mem::replace(&mut held.current, self.new_head());
            let keep = held.keep.clone();
            held.freeze(generation, keep, head, &[]);
        });
    }

    /// From now on pushes go to another log. No push is under way, and the current head is empty or lost.
    pub(super) fn turn_to(&self, keep: Keep) {
        self.change(|held| {
            held.current = self.new_head();
            held.keep = keep;
        });
    }

    /// Forgets all that others answer for by now, and answers with what of it is on the stage.
    pub(super) fn forget_lost(&self) -> Vec<Staged> {
        let lost = self.read(|held| {
            let cuts = held.frozen.iter().chain(&held.unpublished).map(|cut| &cut.keep);
            cuts.chain(held.staged.values().map(|on| &on.keep)).any(Keep::is_lost)
        });
        let mut gone = Vec::new();
        if lost {
            self.change(|held| {
                held.frozen.retain(|cut| !cut.keep.is_lost());
                held.unpublished.retain(|cut| !cut.keep.is_lost());
                let lost = held.staged.extract_if(|_, on| on.keep.is_lost());
                gone = lost.map(|(_, on)| on.block).collect();
            });
        }
        gone
    }

    /// A head that was replayed; its blocks that are on the stage already are searched there.
    pub(super) fn replayed(&self, generation: Generation, keep: Keep, head: Arc<Head>, already: &[Staged]) {
        self.change(|held| held.freeze(generation, keep, head, already));
    }

    /// Blocks found on the stage of which the log knows nothing any more.
    pub(super) fn found(&self, staged: &[Staged]) {
        self.change(|held| {
            let order = held.order();
            held.stage(order, &Keep::Disk, staged, true);
        });
    }

    /// The oldest frozen head.
    pub(super) fn oldest_cut(&self) -> Option<Arc<Cut>> {
        self.read(|held| held.frozen.front().cloned())
    }

    /// A frozen head is on the stage, whole: it goes, its blocks come. Where it was lost meanwhile, nothing
    /// comes, and `false` is answered.
    pub(super) fn staged(&self, cut: &Arc<Cut>, blocks: &[Staged]) -> bool {
        let mut known = false;
        self.change(|held| {
            known = held.frozen.iter().any(|frozen| frozen.order == cut.order);
            held.frozen.retain(|frozen| frozen.order != cut.order);
            if known {
                held.stage(cut.order, &cut.keep, blocks, false);
                if cut.keep.epoch().is_some() {
                    held.unpublished.push_back(cut.clone());
                }
            }
        });
        known
    }

    /// The generation of a cut has left the log on disk: its blocks may be uploaded (rule
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

    /// The oldest cut whose blocks are to be published, and they. Generations are decided in their order.
    pub(super) fn next_publication(&self) -> Option<(Arc<Cut>, Vec<Staged>)> {
        self.read(|held| {
            let cut = held.unpublished.front()?;
            let of_cut = held.staged.values().filter(|on| on.order == cut.order);
            let mut blocks: Vec<_> = of_cut.map(|on| on.block.clone()).collect();
            blocks.sort_by_key(|block| block.meta.id);
            Some((cut.clone(), blocks))
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
            held.recent(block.meta.clone(), now, recent_for);
        });
    }

    /// The blocks `metas`, ours or another's, hold in the store what `blocks` hold on the stage.
    pub(super) fn visible(&self, blocks: &[Staged], metas: &[Arc<Meta>], now: Instant, recent_for: Duration) {
        self.change(|held| {
            for block in blocks {
                held.staged.remove(&block.meta.id);
            }
            for meta in metas {
                held.recent(meta.clone(), now, recent_for);
            }
        });
    }

    /// The generation of a cut has left the log in the object store.
    pub(super) fn published(&self, order: u64) {
        self.change(|held| held.unpublished.retain(|cut| cut.order != order));
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

    /// Cuts of logs in the object store that wait for their publication.
    pub(super) fn unpublished(&self) -> usize {
        self.read(|held| held.unpublished.len())
    }

    /// Bytes that lie on the local disk: of spans in the log, as received, and of blocks on the stage.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.read(|held| {
            let on_disk = |keep: &Keep| keep.epoch().is_none();
            let frozen = held.frozen.iter().filter(|cut| on_disk(&cut.keep)).map(|cut| cut.head.bytes());
            let current = if on_disk(&held.keep) { held.current.bytes() } else { 0 };
            current + frozen.sum::<u64>() + held.staged.values().map(|on| on.block.meta.size).sum::<u64>()
        })
    }

    /// The order that the next cut will have.
    pub(super) fn next_order(&self) -> u64 {
        self.read(|held| held.next_order)
    }

    /// Whether all that was cut with an order below `order` is in the store, and in no log.
    pub(super) fn stored_below(&self, order: u64) -> bool {
        self.read(|held| {
            held.frozen.iter().chain(&held.unpublished).all(|cut| cut.order >= order)
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

    fn freeze(&mut self, generation: Generation, keep: Keep, head: Arc<Head>, already: &[Staged]) {
        let order = self.order();
        self.stage(order, &keep, already, false);
        self.frozen.push_back(Arc::new(Cut { order, generation, keep, head }));
    }

    fn stage(&mut self, order: u64, keep: &Keep, blocks: &[Staged], released: bool) {
        let on_stage = |block: &Staged| {
            let (block, keep) = (block.clone(), keep.clone());
            OnStage { order, block, keep, released, attempts: 0 }
        };
        self.staged.extend(blocks.iter().map(|block| (block.meta.id, on_stage(block))));
    }

    fn recent(&mut self, meta: Arc<Meta>, now: Instant, recent_for: Duration) {
        self.recent.push_back((now, meta));
        self.recent.retain(|(at, _)| now.duration_since(*at) < recent_for);
    }
}
