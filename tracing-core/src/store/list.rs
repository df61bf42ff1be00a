//! The blocks there are, tenant by tenant: what a poll found, and what was done here since it began. Pure.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

/// Blocks marked compacted this long before a poll began are still listed by it: the listing may have passed
/// by the place of their successor before that was written. Covers the difference of two clocks too.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);

/// Most blocks of a tenant that are remembered by a process that commits and never polls, as an ingester
/// alone does: its list is asked by nobody.
const MAX_UNPOLLED: usize = 1000;

/// One tenant's blocks.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// To be read: newest first.
    pub(super) live: Arc<[Arc<Meta>]>,
    /// Replaced or expired, with the time at which they were; to be deleted some day.
    pub(super) compacted: Arc<[Arc<Meta>]>,
}

/// The same before it is put in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) live: Vec<Arc<Meta>>,
    pub(super) compacted: Vec<Arc<Meta>>,
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
    polled: bool,
    /// What was done since the running poll began; `None` while none runs.
    changes: Option<Vec<Change>>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { live: Arc::from([]), compacted: Arc::from([]) }
    }
}

impl Lists {
    pub(super) fn get(&self, tenant: &Tenant) -> Blocks {
        self.tenants.get(tenant).cloned().unwrap_or_default()
    }

    pub(super) fn tenants(&self) -> Vec<Tenant> {
        self.tenants.keys().cloned().collect()
    }

    /// A poll begins: what is done from now on is remembered. One poll runs at a time.
    pub(super) fn begin(&mut self) {
        self.changes = Some(Vec::new());
    }

    /// Replaces everything by what the poll found that began at the time `began`; what was done here in the
    /// meantime is done again on top of it.
    pub(super) fn install(&mut self, began: Timestamp, found: BTreeMap<Tenant, Found>) {
        self.tenants.clear();
        self.polled = true;
        for (tenant, mut found) in found {
            let since = began.saturating_sub(OVERLAP).unwrap_or(began);
            let recent = found.compacted.iter().filter(|m| m.compacted.is_some_and(|at| at > since));
            found.live.extend(recent.cloned());
            self.set(tenant, found);
        }
        for change in self.changes.take().into_iter().flatten() {
            self.apply(&change);
        }
    }

    pub(super) fn added(&mut self, meta: Arc<Meta>) {
        self.change(Change::Added(meta));
    }

    pub(super) fn compacted(&mut self, meta: Arc<Meta>) {
        self.change(Change::Compacted(meta));
    }

    pub(super) fn deleted(&mut self, tenant: &Tenant, block: BlockId) {
        self.change(Change::Deleted(tenant.clone(), block));
    }

    fn change(&mut self, change: Change) {
        self.apply(&change);
        if let Some(changes) = &mut self.changes {
            changes.push(change);
        }
    }

    fn apply(&mut self, change: &Change) {
        let (tenant, block) = match change {
            Change::Added(meta) | Change::Compacted(meta) => (&meta.tenant, meta.id),
            Change::Deleted(tenant, block) => (tenant, *block),
        };
        let blocks = self.get(tenant);
        let without = |metas: &[Arc<Meta>]| metas.iter().filter(|m| m.id != block).cloned().collect();
        let mut found = Found { live: without(&blocks.live), compacted: without(&blocks.compacted) };
        match change {
            Change::Added(meta) => found.live.push(meta.clone()),
            Change::Compacted(meta) => found.compacted.push(meta.clone()),
            Change::Deleted(..) => {}
        }
        self.set(tenant.clone(), found);
    }

    fn set(&mut self, tenant: Tenant, found: Found) {
        let Found { mut live, mut compacted } = found;
        let mut seen = HashSet::new();
        live.retain(|m| seen.insert(m.id));
        live.sort_by(|a, b| b.end.cmp(&a.end).then(a.id.cmp(&b.id)));
        if !self.polled {
            live.truncate(MAX_UNPOLLED);
        }
        compacted.sort_by(|a, b| a.compacted.cmp(&b.compacted).then(a.id.cmp(&b.id)));
        if live.is_empty() && compacted.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.tenants.insert(tenant, Blocks { live: live.into(), compacted: compacted.into() });
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

    fn install(lists: &mut Lists, live: Vec<Arc<Meta>>, compacted: Vec<Arc<Meta>>) {
        let found = BTreeMap::from([(tenant(), Found { live, compacted })]);
        lists.install(Timestamp::from_second(1000).unwrap(), found);
    }

    #[test]
    fn a_block_committed_while_a_poll_runs_is_not_lost_by_it() {
        let mut lists = Lists::default();
        lists.added(meta(1, None));
        lists.begin();
        lists.added(meta(2, None));
        install(&mut lists, vec![meta(1, None)], vec![]);
        assert_eq!(live(&lists), [2, 1]);
        lists.begin();
        install(&mut lists, vec![meta(1, None)], vec![]);
        assert_eq!(live(&lists), [1], "the next poll is believed");
    }

    #[test]
    fn a_block_deleted_while_a_poll_runs_does_not_come_back() {
        let mut lists = Lists::default();
        lists.begin();
        lists.deleted(&tenant(), meta(1, None).id);
        install(&mut lists, vec![meta(1, None), meta(2, None)], vec![]);
        assert_eq!(live(&lists), [2]);
    }

    #[test]
    fn a_block_compacted_about_when_the_poll_began_is_read_once_more() {
        let mut lists = Lists::default();
        lists.begin();
        install(&mut lists, vec![meta(1, None)], vec![meta(2, Some(990)), meta(3, Some(900))]);
        assert_eq!(live(&lists), [2, 1]);
        assert_eq!(lists.get(&tenant()).compacted.len(), 2);
    }
}
