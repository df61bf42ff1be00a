//! Logs in the object store whose ingester is gone: found, claimed, replayed, and told to the others. IO.
//!
//! Each ingester publishes its process and the epochs that it holds. Where the process that holds an epoch is
//! no member any more, the live ingester that comes first by rendezvous hashing claims the epoch; where that
//! one fails to, the next.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};
use tracing_core::{
    wal::{Claimed, Epoch, Found, Logs, Record},
    wire::otlp::TraceSlice,
};
use uuid::Uuid;

use super::{
    Inner,
    head::Head,
    publish::{self, PublishError},
    state::Keep,
};
use crate::membership::{Member, Role, State, View};

/// Key under which an ingester publishes its process, where its log is in the object store.
const INSTANCE: &str = "wal";
/// Key of the epochs that it holds, each with its term.
pub(crate) const HELD: &str = "logs";
/// Key of the epochs that it has claimed of late, held or ended.
pub(crate) const CLAIMED: &str = "claimed";

/// All logs are looked at so often, whatever happens.
const SCAN: Duration = Duration::from_secs(30);
/// While a log without a holder is known, so often.
const WATCH: Duration = Duration::from_millis(500);
/// A holder that was never seen may only not have been heard of yet.
const UNKNOWN: Duration = Duration::from_secs(12);
/// An epoch of ours may be about to be opened or adopted.
const UNFINISHED: Duration = Duration::from_secs(5);
/// Each next choice waits so much longer.
const PER_RANK: Duration = Duration::from_secs(4);
/// Claims that are told to others.
const TOLD: usize = 32;
/// A claim that takes longer than this is begun anew.
const CLAIMING: Duration = Duration::from_mins(2);
/// Holders that are remembered to have been seen.
const REMEMBERED: usize = 10_000;

/// What a watcher of logs remembers.
#[derive(Default)]
struct Watch {
    /// Processes that were members once.
    seen: HashSet<Uuid>,
    live: HashSet<Uuid>,
    /// Since when a log is without a holder.
    orphans: HashMap<(Epoch, u64), Instant>,
}

/// An epoch and a term, as they are published.
pub(crate) fn parse(entry: &str) -> Option<(Epoch, u64)> {
    let (epoch, term) = entry.rsplit_once(':')?;
    Some((Epoch::parse(epoch)?, term.parse().ok()?))
}

/// The entries that members publish under a key.
pub(crate) fn entries<'a>(members: &'a [Member], key: &'a str) -> impl Iterator<Item = &'a str> {
    members
        .iter()
        .filter_map(move |member| member.key(key))
        .flat_map(|list| list.split(','))
        .filter(|e| !e.is_empty())
}

impl Inner {
    /// Tells the others which process this is and what it holds.
    pub(super) async fn say_what_is_held(&self) {
        let Some(logs) = &self.journal.logs else { return };
        let open = self.journal.open().and_then(|open| open.keep.epoch().cloned());
        let retired = self.journal.retired().clone();
        let held = open.iter().chain(&retired).filter(|epoch| !epoch.is_lost());
        let held: Vec<_> = held.map(|epoch| format!("{}:{}", epoch.epoch(), epoch.term())).collect();
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner).join(",");
        self.membership.publish(INSTANCE, &logs.instance().to_string()).await;
        self.membership.publish(HELD, &held.join(",")).await;
        self.membership.publish(CLAIMED, &claimed).await;
    }

    /// Gives up what another has claimed.
    pub(super) fn heed<'a>(&self, claims: impl Iterator<Item = &'a str>) {
        if self.journal.logs.is_none() {
            return;
        }
        let mut held = None;
        for (epoch, term) in claims.filter_map(parse) {
            let held = held.get_or_insert_with(|| self.state.epochs());
            for own in held.iter().filter(|own| *own.epoch() == epoch && own.term() < term) {
                own.lose("a peer says that it has claimed it");
            }
        }
    }

    /// Claims what was left under this ingester's name. At the start, before it is ready.
    pub(super) async fn claim_own(&self) {
        let Some(logs) = &self.journal.logs else { return };
        let found = match timeout(CLAIMING, logs.find_own()).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "logs of earlier starts were not looked for yet: the object store is away");
                return;
            }
            Err(_) => return,
        };
        for found in
            found.iter().filter(|found| found.name == logs.name() && found.instance != logs.instance())
        {
            self.claim(logs, found).await;
        }
    }

    /// Watches over the logs of all ingesters.
    pub(super) async fn watch_logs(&self) {
        let Some(logs) = &self.journal.logs else { return std::future::pending().await };
        let (mut changes, mut watch) = (self.membership.watch(), Watch::default());
        let mut scanned: Option<Instant> = None;
        loop {
            let every = if watch.orphans.is_empty() { SCAN } else { WATCH };
            let rest = scanned.map_or(WATCH, |at| every.saturating_sub(at.elapsed()));
            let gone = tokio::select! {
                changed = changes.changed() => {
                    let view = changes.borrow_and_update().clone();
                    if changed.is_err() { return }
                    self.heed(entries(view.all(), CLAIMED));
                    watch.follow(&view)
                }
                () = sleep(rest) => true,
            };
            if !gone {
                continue;
            }
            let view = changes.borrow().clone();
            watch.follow(&view);
            scanned = Some(Instant::now());
            match timeout(CLAIMING, logs.find()).await {
                Ok(Ok(found)) => {
                    for found in watch.due(&found, &view, logs, |epoch| self.journal.holds(epoch)) {
                        self.claim(logs, &found).await;
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "logs could not be listed"),
                Err(_) => tracing::debug!("logs could not be listed in time"),
            }
            self.end_retired().await;
        }
    }

    async fn claim(&self, logs: &Logs, found: &Found) {
        let began = Instant::now();
        let claiming = async {
            match logs.claim(found).await? {
                Some(claimed) => self.adopt(claimed).await.map(Some),
                None => Ok(None),
            }
        };
        match timeout(CLAIMING, claiming).await {
            Ok(Ok(Some(records))) => {
                tracing::info!(
                    epoch = %found.epoch, of = found.name, records, took = ?began.elapsed(),
                    "claimed the log of an ingester that is gone"
                );
                self.metrics.claimed_epoch();
            }
            Ok(Ok(None)) => tracing::info!(epoch = %found.epoch, "another ingester was first to claim a log"),
            Ok(Err(error)) => {
                tracing::warn!(epoch = %found.epoch, %error, "a log was not claimed: it is tried again");
            }
            Err(_) => {
                tracing::warn!(epoch = %found.epoch, "a log was not claimed in time: it is tried again");
            }
        }
    }

    /// Makes what a claimed epoch holds one's own; answers with the number of its records that are in no block.
    async fn adopt(&self, claimed: Claimed) -> Result<u64, PublishError> {
        let epoch = claimed.held().clone();
        if self.dies_before("adoption") {
            return Err(PublishError::Ending);
        }
        if let Some(blocks) = claimed.decided() {
            let metas = publish::read(blocks)?;
            for meta in &metas {
                self.store.publish(meta).await?;
            }
            self.state.visible(&[], &metas, Instant::now(), self.options.recent_for);
        }
        claimed.remove_decided().await?;
        let heads: Arc<RwLock<HashMap<u64, Arc<Head>>>> = Arc::default();
        let (into, met) = (heads.clone(), self.state.met().clone());
        let visit = move |generation: u64, record: Record| {
            let Record { tenant, id, otlp } = record;
            let known = into.read().unwrap_or_else(PoisonError::into_inner).get(&generation).cloned();
            let head = known.unwrap_or_else(|| {
                let mut heads = into.write().unwrap_or_else(PoisonError::into_inner);
                heads.entry(generation).or_insert_with(|| Arc::new(Head::new(met.clone()))).clone()
            });
            head.push(&tenant, vec![TraceSlice { id, spans: 0, otlp }], Instant::now());
        };
        let (parts, replayed) = claimed.replay(Arc::new(visit)).await?;
        self.metrics.replayed(&replayed);
        self.journal.retire(epoch.clone());
        for part in parts {
            let head = heads.write().unwrap_or_else(PoisonError::into_inner).remove(&part.generation.number);
            let head = head.unwrap_or_else(|| self.state.new_head());
            self.state.replayed(part.generation, Keep::Object(epoch.clone()), head, &[]);
        }
        {
            let mut told = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
            told.push(format!("{}:{}", epoch.epoch(), epoch.term()));
            let excess = told.len().saturating_sub(TOLD);
            told.drain(..excess);
        }
        self.say_what_is_held().await;
        Ok(replayed.records)
    }
}

impl Watch {
    /// Notes who is there; answers whether anybody is gone.
    fn follow(&mut self, view: &View) -> bool {
        let instances = view.all().iter().filter_map(|member| member.key(INSTANCE)?.parse().ok());
        let live: HashSet<Uuid> = instances.collect();
        let gone = self.live.difference(&live).next().is_some();
        if self.seen.len() > REMEMBERED {
            self.seen.clear();
        }
        self.seen.extend(&live);
        self.live = live;
        gone
    }

    /// Those of all logs that this ingester is to claim now.
    fn due(
        &mut self,
        found: &[Found],
        view: &View,
        logs: &Logs,
        holds: impl Fn(&Epoch) -> bool,
    ) -> Vec<Found> {
        let now = Instant::now();
        let alone = |found: &&Found| {
            let of_ours = found.instance == logs.instance();
            // A claim of ours that was not carried through, or somebody's who is gone.
            if of_ours { !holds(&found.epoch) } else { !self.live.contains(&found.instance) }
        };
        let orphans: Vec<&Found> = found.iter().filter(alone).collect();
        self.orphans.retain(|(epoch, term), _| {
            orphans.iter().any(|found| found.epoch == *epoch && found.term == *term)
        });
        let mut due = Vec::new();
        for found in orphans {
            let since = *self.orphans.entry((found.epoch.clone(), found.term)).or_insert(now);
            let known = self.seen.contains(&found.instance) || found.name == logs.name();
            let heard = match found.instance == logs.instance() {
                true => UNFINISHED,
                false if known => Duration::ZERO,
                false => UNKNOWN,
            };
            let wait = heard + PER_RANK * rank(&found.epoch, view);
            if now.duration_since(since) >= wait {
                due.push(found.clone());
            }
        }
        due
    }
}

/// How many live ingesters come before this one in the claim of a log.
fn rank(epoch: &Epoch, view: &View) -> u32 {
    let score = |member: &Member| {
        let mut hasher = DefaultHasher::new();
        (&epoch.ingester, epoch.number, &member.id).hash(&mut hasher);
        (hasher.finish(), member.id.clone())
    };
    let ingesters = view.members(Role::Ingester);
    let Some(own) = ingesters.iter().find(|member| member.local).map(&score) else { return 0 };
    let able =
        |member: &&Member| !member.local && member.state == State::Active && member.key(INSTANCE).is_some();
    ingesters.iter().filter(able).filter(|member| score(member) > own).count() as u32
}
