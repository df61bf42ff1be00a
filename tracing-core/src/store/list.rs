//! The blocks there are, tenant by tenant: what a poll found, and what was done here since it began. Pure.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

/// Blocks marked compacted this long before a poll began are still listed by it, unless their successor is
/// listed too: the listing may have passed by its place before it was written. Covers the difference of two
/// clocks too.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);

/// Most blocks of a tenant that are remembered by a process that commits and never polls, as an ingester
/// alone does: its list is asked by nobody.
const MAX_UNPOLLED: usize = 1000;

/// So many of this process's own doings are remembered, and so long: an index that another process made may
/// be that old, and must not undo them.
const MAX_CHANGES: usize = 10_000;
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// Of so many tenants without blocks it is remembered that they have none: anyone may ask for any tenant.
const MAX_EMPTY: usize = 10_000;

/// One tenant's blocks.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// To be read: newest first.
    pub(super) live: Arc<[Arc<Meta>]>,
    /// Not to be read, for a block that was made of them is listed too: they are about to be marked, or the
    /// listing passed by before they were.
    pub(super) hidden: Arc<[Arc<Meta>]>,
    /// Replaced or expired, with the time at which they were; to be deleted some day.
    pub(super) compacted: Arc<[Arc<Meta>]>,
}

/// The same before it is put in order.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) live: Vec<Arc<Meta>>,
    pub(super) compacted: Vec<Arc<Meta>>,
    /// What was done here since then is not in it for sure.
    pub(super) since: Since,
    /// When it was looked.
    pub(super) as_of: Timestamp,
    /// What was committed before this moment, by whomever, is in it; `None` where nothing is known of that.
    pub(super) complete: Option<Instant>,
}

/// From where on this process's own doings are done again on top of what was found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since {
    /// From this one on: [`Lists::begin`] gave it when a listing began.
    Change(u64),
    /// From this time on: another process looked.
    Time(Timestamp),
}

#[derive(Debug)]
enum Change {
    Added(Arc<Meta>),
    Compacted(Arc<Meta>),
    Deleted(Tenant, BlockId),
}

/// All tenants' blocks.
#[derive(Debug, Default)]
pub(super) struct Lists {
    tenants: BTreeMap<Tenant, Blocks>,
    /// What was committed before this moment is in the tenant's list.
    complete: BTreeMap<Tenant, Instant>,
    polled: bool,
    /// What was done here lately, each with its number and time.
    changes: VecDeque<(u64, Timestamp, Change)>,
    next: u64,
    /// How often each tenant's blocks were changed here.
    own: BTreeMap<Tenant, u64>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { live: Arc::from([]), hidden: Arc::from([]), compacted: Arc::from([]) }
    }
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.compacted.is_empty()
    }
}

impl Lists {
    pub(super) fn get(&self, tenant: &Tenant) -> Blocks {
        self.tenants.get(tenant).cloned().unwrap_or_default()
    }

    pub(super) fn tenants(&self) -> Vec<Tenant> {
        self.tenants.keys().cloned().collect()
    }

    /// A listing begins: what is done from now on has this number or a greater one.
    pub(super) fn begin(&mut self) -> u64 {
        self.next
    }

    /// Up to when the list of a tenant is complete, if that is known.
    pub(super) fn complete(&self, tenant: &Tenant) -> Option<Instant> {
        self.complete.get(tenant).copied()
    }

    /// Replaces everything by what a poll found that began `at` with the number `begin`; what was done here and
    /// is not in it is done again on top of it. A tenant of which something newer is known stays as it is.
    pub(super) fn install(&mut self, begin: u64, at: Instant, found: BTreeMap<Tenant, Found>) {
        let older = |complete: Option<&Instant>| complete.is_none_or(|complete| *complete <= at);
        self.polled = true;
        self.tenants.retain(|tenant, _| found.contains_key(tenant) || !older(self.complete.get(tenant)));
        let mut since = BTreeMap::new();
        for (tenant, found) in found {
            let from = found.since;
            since.insert(tenant.clone(), self.take(tenant, found).then_some(from));
        }
        let kept: HashSet<_> =
            self.tenants.keys().filter(|tenant| !since.contains_key(tenant)).cloned().collect();
        self.redo(|tenant| match since.get(tenant) {
            Some(from) => *from,
            None => (!kept.contains(tenant)).then_some(Since::Change(begin)),
        });
        self.forget_empty();
    }

    /// The same for one tenant.
    pub(super) fn install_one(&mut self, tenant: &Tenant, found: Found) {
        let since = found.since;
        if self.take(tenant.clone(), found) {
            self.redo(|of| (of == tenant).then_some(since));
        }
        self.forget_empty();
    }

    /// False where what is known already is newer (rule *never-back*). Where it is not known how complete the
    /// blocks are, they lack new ones alone: those that are known are not read again.
    fn take(&mut self, tenant: Tenant, mut found: Found) -> bool {
        if let Some(complete) = found.complete {
            if self.complete.get(&tenant).is_some_and(|known| complete < *known) {
                return false;
            }
            self.complete.insert(tenant.clone(), complete);
        }
        let since = found.as_of.saturating_sub(OVERLAP).unwrap_or(found.as_of);
        let recent = found.compacted.iter().filter(|m| m.compacted.is_some_and(|at| at > since));
        found.live.extend(recent.cloned());
        self.set(tenant, found.live, found.compacted);
        true
    }

    fn forget_empty(&mut self) {
        if self.complete.len() > self.tenants.len() + MAX_EMPTY {
            self.complete.retain(|tenant, _| self.tenants.contains_key(tenant));
        }
    }

    fn redo(&mut self, since: impl Fn(&Tenant) -> Option<Since>) {
        let changes = std::mem::take(&mut self.changes);
        for (number, at, change) in &changes {
            let missing = match since(change.tenant()) {
                Some(Since::Change(first)) => *number >= first,
                Some(Since::Time(time)) => *at >= time,
                None => false,
            };
            if missing {
                self.apply(change);
            }
        }
        self.changes = changes;
    }

    pub(super) fn added(&mut self, now: Timestamp, meta: Arc<Meta>) {
        self.change(now, Change::Added(meta));
    }

    pub(super) fn compacted(&mut self, now: Timestamp, meta: Arc<Meta>) {
        self.change(now, Change::Compacted(meta));
    }

    pub(super) fn deleted(&mut self, now: Timestamp, tenant: &Tenant, block: BlockId) {
        self.change(now, Change::Deleted(tenant.clone(), block));
    }

    pub(super) fn own(&self) -> BTreeMap<Tenant, u64> {
        self.own.clone()
    }

    fn change(&mut self, now: Timestamp, change: Change) {
        self.apply(&change);
        *self.own.entry(change.tenant().clone()).or_default() += 1;
        self.changes.push_back((self.next, now, change));
        self.next += 1;
        let old = |at: &Timestamp| now.duration_since(*at) > REMEMBERED;
        while self.changes.len() > MAX_CHANGES || self.changes.front().is_some_and(|(_, at, _)| old(at)) {
            self.changes.pop_front();
        }
    }

    fn apply(&mut self, change: &Change) {
        let (tenant, block) = match change {
            Change::Added(meta) | Change::Compacted(meta) => (&meta.tenant, meta.id),
            Change::Deleted(tenant, block) => (tenant, *block),
        };
        let blocks = self.get(tenant);
        // A block that is compacted never comes back.
        let replaced = blocks.compacted.iter().any(|meta| meta.id == block);
        if replaced && matches!(change, Change::Added(_)) {
            return;
        }
        let without =
            |metas: &[Arc<Meta>]| metas.iter().filter(|m| m.id != block).cloned().collect::<Vec<_>>();
        let (mut live, mut compacted) = (without(&blocks.live), without(&blocks.compacted));
        live.extend(without(&blocks.hidden));
        match change {
            Change::Added(meta) => live.push(meta.clone()),
            Change::Compacted(meta) => compacted.push(meta.clone()),
            Change::Deleted(..) => {}
        }
        self.set(tenant.clone(), live, compacted);
    }

    /// Rule *whole-over-parts*: of a block and those that it was made of, the one is read.
    fn set(&mut self, tenant: Tenant, mut live: Vec<Arc<Meta>>, mut compacted: Vec<Arc<Meta>>) {
        let mut seen = HashSet::new();
        live.retain(|m| seen.insert(m.id));
        let parts = parts(live.iter().chain(&compacted));
        let hidden: Vec<_> = live.extract_if(.., |meta| parts.contains(&meta.id)).collect();
        live.sort_by(|a, b| b.end.cmp(&a.end).then(a.id.cmp(&b.id)));
        if !self.polled {
            live.truncate(MAX_UNPOLLED);
        }
        compacted.sort_by(|a, b| a.compacted.cmp(&b.compacted).then(a.id.cmp(&b.id)));
        if live.is_empty() && hidden.is_empty() && compacted.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            let (live, hidden, compacted) = (live.into(), hidden.into(), compacted.into());
            self.tenants.insert(tenant, Blocks { live, hidden, compacted });
        }
    }
}

/// What these blocks were made of.
pub(super) fn parts<'a>(metas: impl Iterator<Item = &'a Arc<Meta>>) -> HashSet<BlockId> {
    let of = |meta: &'a Arc<Meta>| meta.replaces.iter().copied().filter(|part| *part != meta.id);
    metas.flat_map(of).collect()
}

impl Change {
    fn tenant(&self) -> &Tenant {
        match self {
            Self::Added(meta) | Self::Compacted(meta) => &meta.tenant,
            Self::Deleted(tenant, _) => tenant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(n: u128, compacted: Option<i64>) -> Arc<Meta> {
        let json = format!(
            r#"{{"format":"vParquet4","blockID":"{}","tenantID":"t","startTime":"1970-01-01T00:00:00Z","endTime":"1970-01-01T00:00:0{}Z"}}"#,
            uuid::Uuid::from_u128(n),
            n % 10
        );
        let mut meta = Meta::from_json(json.as_bytes()).unwrap();
        meta.compacted = compacted.map(|s| Timestamp::from_second(s).unwrap());
        Arc::new(meta)
    }

    fn live(lists: &Lists) -> Vec<u128> {
        lists.get(&tenant()).live.iter().map(|m| m.id.0.as_u128()).collect()
    }

    fn tenant() -> Tenant {
        Tenant::new("t").unwrap()
    }

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    fn install(lists: &mut Lists, begin: u64, live: Vec<Arc<Meta>>, compacted: Vec<Arc<Meta>>) {
        let now = Instant::now();
        let found =
            Found { live, compacted, since: Since::Change(begin), as_of: second(1000), complete: Some(now) };
        lists.install(begin, now, BTreeMap::from([(tenant(), found)]));
    }

    #[test]
    fn a_block_committed_while_a_poll_runs_is_not_lost_by_it() {
        let mut lists = Lists::default();
        lists.added(second(1), meta(1, None));
        let begin = lists.begin();
        lists.added(second(2), meta(2, None));
        install(&mut lists, begin, vec![meta(1, None)], vec![]);
        assert_eq!(live(&lists), [2, 1]);
        let begin = lists.begin();
        install(&mut lists, begin, vec![meta(1, None)], vec![]);
        assert_eq!(live(&lists), [1], "the next poll is believed");
    }

    #[test]
    fn a_block_deleted_while_a_poll_runs_does_not_come_back() {
        let mut lists = Lists::default();
        let begin = lists.begin();
        lists.deleted(second(1), &tenant(), meta(1, None).id);
        install(&mut lists, begin, vec![meta(1, None), meta(2, None)], vec![]);
        assert_eq!(live(&lists), [2]);
    }

    #[test]
    fn an_older_index_undoes_nothing_that_was_done_here_and_a_newer_one_is_believed() {
        let mut lists = Lists::default();
        for n in 1..=3 {
            lists.added(second(100), meta(n, None));
        }
        lists.added(second(600), meta(4, None));
        lists.compacted(second(600), meta(1, Some(600)));
        let start = Instant::now();
        let index = |at: i64, live: Vec<Arc<Meta>>, compacted| {
            let (since, as_of) = (Since::Time(second(at)), second(at));
            let complete = Some(start + std::time::Duration::from_secs(at.unsigned_abs()));
            BTreeMap::from([(tenant(), Found { live, compacted, since, as_of, complete })])
        };
        let begin = lists.begin();
        lists.install(begin, start, index(500, vec![meta(1, None), meta(2, None)], vec![]));
        assert_eq!(
            live(&lists),
            [4, 2],
            "made before 4 was committed and 1 was replaced; 3 was gone by then"
        );
        lists.install(
            begin,
            start,
            index(700, vec![meta(2, None)], vec![meta(1, Some(600)), meta(4, Some(630))]),
        );
        assert_eq!(live(&lists), [2]);
        lists.install_one(
            &tenant(),
            index(750, vec![meta(2, None)], vec![meta(4, Some(400))]).remove(&tenant()).unwrap(),
        );
        assert_eq!(live(&lists), [2], "what is compacted does not come back");
    }

    #[test]
    fn never_back_what_was_found_earlier_takes_nothing_from_what_was_found_later() {
        let mut lists = Lists::default();
        let (early, late) = (Instant::now(), Instant::now() + std::time::Duration::from_mins(1));
        let found = |live: Vec<Arc<Meta>>, at: i64, complete| Found {
            live,
            compacted: vec![],
            since: Since::Time(second(at)),
            as_of: second(at),
            complete: Some(complete),
        };
        lists.install_one(&tenant(), found(vec![meta(1, None), meta(2, None)], 100, late));
        let index = || BTreeMap::from([(tenant(), found(vec![meta(1, None)], 40, early))]);
        let begin = lists.begin();
        lists.install(begin, late, index());
        assert_eq!((live(&lists), lists.complete(&tenant())), (vec![2, 1], Some(late)));
        lists.install(begin, early, BTreeMap::new());
        assert_eq!(live(&lists), [2, 1], "listed after the poll began that found no such tenant");
        lists.install(begin, late, BTreeMap::new());
        assert!(live(&lists).is_empty());
    }

    fn made_of(n: u128, parts: &[u128], compacted: Option<i64>) -> Arc<Meta> {
        let replaces = parts.iter().map(|part| BlockId(uuid::Uuid::from_u128(*part))).collect();
        Arc::new(Meta { replaces, ..Meta::clone(&meta(n, compacted)) })
    }

    #[test]
    fn whole_over_parts_of_a_block_and_what_it_was_made_of_the_one_is_read() {
        let mut lists = Lists::default();
        // Marked just now, and not marked yet.
        install(&mut lists, 0, vec![meta(1, None), made_of(3, &[1, 2], None)], vec![meta(2, Some(990))]);
        assert_eq!(live(&lists), [3]);
        assert_eq!(lists.get(&tenant()).hidden.len(), 2);
        lists.compacted(second(1001), meta(1, Some(1001)));
        assert_eq!((live(&lists), lists.get(&tenant()).compacted.len()), (vec![3], 2));
        // The whole is replaced in its turn, and what it became is not listed yet.
        install(&mut lists, 9, vec![meta(1, None)], vec![made_of(3, &[1, 2], Some(995)), meta(2, Some(990))]);
        assert_eq!(live(&lists), [3]);
        // The listing passed by before the whole was written.
        install(&mut lists, 9, vec![meta(1, None)], vec![meta(2, Some(990))]);
        assert_eq!(live(&lists), [2, 1]);
    }

    #[test]
    fn a_block_that_claims_to_replace_itself_is_read() {
        let mut lists = Lists::default();
        install(&mut lists, 0, vec![made_of(1, &[1], None)], vec![]);
        assert_eq!(live(&lists), [1]);
    }

    #[test]
    fn a_block_compacted_about_when_the_poll_began_is_read_once_more() {
        let mut lists = Lists::default();
        install(&mut lists, 0, vec![meta(1, None)], vec![meta(2, Some(990)), meta(3, Some(900))]);
        assert_eq!(live(&lists), [2, 1]);
        assert_eq!(lists.get(&tenant()).compacted.len(), 2);
    }
}
