//! Which blocks the packed filter over trace ids shall cover next, and which of its sets are written anew for it.
//!
//! There are two sets that still change, a large one and a small one: new blocks go into the small one, and
//! when that has become a good part of the large one, both become one. So an entry is written a few times in
//! its life, and a lookup reads two sets. A set that is large enough is left alone, until half of what it
//! covers is gone.

use std::{collections::HashSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use crate::{
    block::{
        Meta,
        ids::{Directory, IdSet},
    },
    model::BlockId,
};

/// Blocks that are looked into one by one before a filter over them pays.
const FEW: usize = 3;
/// New blocks that are waited for, and how long at most.
const ENOUGH: usize = 8;
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Traces that are taken in at a time, if they are of more than one block: 16 bytes of memory each.
const AT_ONCE: u64 = 2 << 20;
/// Traces of the largest block that is covered.
const LARGEST: u64 = 16 << 20;
/// Traces at which a set grows no more.
const FULL: u64 = 48 << 20;
/// How many times larger the large set is at least than the small one.
const RATIO: u64 = 4;

/// How the filter shall be changed.
#[derive(Clone, Debug)]
pub struct IdsPlan {
    /// Sets that stay as they are, by their place in the directory.
    pub keep: Vec<usize>,
    /// Sets that become one, with the new blocks.
    pub merge: Vec<usize>,
    /// The new blocks.
    pub add: Vec<Arc<Meta>>,
}

/// What to do so that the filter covers the blocks `live`; nothing where it does well enough.
#[must_use]
pub fn id_sets(directory: Option<&Directory>, live: &[Arc<Meta>], now: Timestamp) -> Option<IdsPlan> {
    let sets = directory.map(|directory| directory.sets.as_slice()).unwrap_or_default();
    let names: HashSet<BlockId> = live.iter().map(|meta| meta.id).collect();
    let living = |set: &IdSet| -> u64 {
        let living = set.blocks.iter().filter(|covered| names.contains(&covered.id));
        living.map(|covered| covered.traces).sum()
    };
    let mut new: Vec<_> = live
        .iter()
        .filter(|meta| sets.iter().all(|set| set.number(meta.id).is_none()) && meta.traces <= LARGEST)
        .collect();
    let stale = |set: &IdSet| living(set) * 2 < set.traces();
    let waited = directory.is_none_or(|directory| now.duration_since(directory.built) >= PATIENCE);
    let due = new.len() >= ENOUGH || waited && !new.is_empty() && live.len() > FEW;
    if !due && !sets.iter().any(stale) {
        return None;
    }
    new.sort_by(|a, b| a.end.cmp(&b.end).then(a.id.cmp(&b.id)));
    let mut taken = 0;
    let fits = |meta: &&Arc<Meta>| {
        let first = taken == 0;
        taken += meta.traces.max(1);
        first || taken <= AT_ONCE
    };
    let mut add: Vec<_> = new.into_iter().take_while(fits).cloned().collect();
    add.truncate(IdSet::MAX_BLOCKS / 2);
    let (mut keep, mut merge) = (Vec::new(), Vec::new());
    let mut open: Vec<(u64, usize)> = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        match living(set) {
            _ if stale(set) => merge.push(at),
            full if full >= FULL || set.blocks.len() > IdSet::MAX_BLOCKS / 2 => keep.push(at),
            some => open.push((some, at)),
        }
    }
    let mut size: u64 = add.iter().map(|meta| meta.traces).sum();
    size += merge.iter().filter_map(|at| sets.get(*at)).map(living).sum::<u64>();
    open.sort_unstable();
    let large = open.pop();
    merge.extend(open.iter().map(|(_, at)| *at));
    size += open.iter().map(|(traces, _)| *traces).sum::<u64>();
    match large {
        Some((traces, at)) if traces > size.saturating_mul(RATIO) => keep.push(at),
        Some((_, at)) => merge.push(at),
        None => {}
    }
    merge.sort_unstable();
    Some(IdsPlan { keep, merge, add })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::ids::Covered;

    fn meta(n: u128, traces: u64) -> Arc<Meta> {
        let json = format!(
            r#"{{"format":"vParquet4","blockID":"{}","tenantID":"t","startTime":"1970-01-01T00:00:00Z","endTime":"1970-01-01T00:00:09Z","totalObjects":{traces}}}"#,
            uuid::Uuid::from_u128(n)
        );
        Arc::new(Meta::from_json(json.as_bytes()).unwrap())
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    /// Does what a plan says, without entries.
    fn apply(
        directory: Option<Directory>,
        plan: &IdsPlan,
        live: &[Arc<Meta>],
        now: Timestamp,
    ) -> (Directory, u64) {
        let old = directory.map(|directory| directory.sets).unwrap_or_default();
        let mut blocks: Vec<Covered> =
            plan.add.iter().map(|meta| Covered { id: meta.id, traces: meta.traces }).collect();
        for at in &plan.merge {
            let lives = |covered: &&Covered| live.iter().any(|meta| meta.id == covered.id);
            blocks.extend(old[*at].blocks.iter().filter(lives));
        }
        let written = blocks.iter().map(|covered| covered.traces).sum();
        let mut sets: Vec<_> = plan.keep.iter().map(|at| old[*at].clone()).collect();
        sets.extend((!blocks.is_empty()).then(|| IdSet::new(blocks, Vec::new())));
        (Directory { built: now, sets }, written)
    }

    #[test]
    fn a_thousand_blocks_that_come_one_by_one_are_covered_by_two_sets_and_written_a_few_times_each() {
        let (mut live, mut directory, mut written) = (Vec::new(), None, 0);
        for n in 0..1000 {
            live.push(meta(n, 20_000));
            let now = at(n as i64);
            if let Some(plan) = id_sets(directory.as_ref(), &live, now) {
                let (next, traces) = apply(directory.take(), &plan, &live, now);
                assert!(next.sets.len() <= 2, "{} sets after {n} blocks", next.sets.len());
                (directory, written) = (Some(next), written + traces);
            }
        }
        let directory = directory.unwrap();
        let covered: usize = directory.sets.iter().map(|set| set.blocks.len()).sum();
        assert!(covered > 990, "{covered} of 1000");
        assert!(written < 1000 * 20_000 * 25, "each entry was written {} times", written / 20_000_000);
    }

    #[test]
    fn few_blocks_need_no_filter_and_new_ones_are_waited_for() {
        let live: Vec<_> = (0..3).map(|n| meta(n, 10)).collect();
        assert!(id_sets(None, &live, at(0)).is_none());
        let live: Vec<_> = (0..10).map(|n| meta(n, 10)).collect();
        let plan = id_sets(None, &live, at(0)).unwrap();
        assert_eq!(plan.add.len(), 10);
        let (directory, _) = apply(None, &plan, &live, at(0));
        let more: Vec<_> = (0..12).map(|n| meta(n, 10)).collect();
        assert!(id_sets(Some(&directory), &more, at(4)).is_none());
        assert_eq!(id_sets(Some(&directory), &more, at(5)).unwrap().add.len(), 2);
        assert!(id_sets(Some(&directory), &live, at(500)).is_none(), "all is covered");
    }

    #[test]
    fn a_set_of_which_half_is_gone_is_written_anew_and_a_full_one_is_left_alone() {
        let live: Vec<_> = (0..20).map(|n| meta(n, 4 << 20)).collect();
        let covered = |live: &[Arc<Meta>]| {
            live.iter().map(|meta| Covered { id: meta.id, traces: meta.traces }).collect::<Vec<_>>()
        };
        let sets = vec![IdSet::new(covered(&live[..12]), vec![]), IdSet::new(covered(&live[12..]), vec![])];
        let directory = Directory { built: at(0), sets };
        assert!(id_sets(Some(&directory), &live, at(0)).is_none());
        let plan = id_sets(Some(&directory), &live[7..], at(0)).unwrap();
        assert_eq!((plan.keep, plan.merge, plan.add.len()), (vec![], vec![0, 1], 0));
        let mut more = live;
        more.extend((20..30).map(|n| meta(n, 1 << 20)));
        let plan = id_sets(Some(&directory), &more, at(0)).unwrap();
        assert_eq!((plan.keep, plan.merge), (vec![0, 1], vec![]));
        assert_eq!(plan.add.len(), 2, "as many as fit in memory");
    }
}
