//! Which blocks become one. Tempo's rules (reference of `tempodb`'s time window selector), made lazy: within
//! the last day a merge waits until it takes as many blocks as it may, since a block that is merged by twos
//! is written again at every step.
//!
//! A window is a span of time by the ends of blocks. Windows of the last 24 hours are *active*: their blocks
//! are merged with those of the same level. Older ones are *inactive*: any levels go together. The window
//! that holds the boundary is left alone, since two compactors may disagree on which side it is.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::block::Meta;

/// Blocks that end within this time are merged level by level.
const ACTIVE: SignedDuration = SignedDuration::from_hours(24);
/// An inactive window's largest block is merged with others only if they hold this part of it: a late span
/// must not have a day's block written again.
const WORTH_IT: u64 = 8;

/// What bounds a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionLimits {
    /// Length of a window, more than nothing.
    pub window: SignedDuration,
    /// Most blocks that become one, at least 2.
    pub max_inputs: usize,
    /// Most traces of all inputs together.
    pub max_objects: u64,
    /// Most bytes of all inputs together.
    pub max_bytes: u64,
    /// Blocks of this level are not merged any more; `None` where there is no highest.
    pub max_level: Option<u32>,
}

/// Blocks that are to become one.
#[derive(Clone, Debug)]
pub struct Job {
    /// What the blocks have in common; the same for all compactors at all times.
    pub group: String,
    /// At least two.
    pub inputs: Vec<Arc<Meta>>,
    /// Level of the block that they become.
    pub level: u32,
}

/// Blocks that may be merged with each other. Its order is the order of the work: active windows first, of
/// those the lowest level first, and the youngest of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group<'a> {
    /// `None` for inactive windows, which come last.
    level: Level,
    /// Windows back from the present one.
    age: i64,
    replication: u32,
    format: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Active(u32),
    Inactive,
}

/// What is to be merged at `now`, the most useful first; no block is in two jobs. `skip` leaves blocks out.
pub fn jobs(
    blocks: &[Arc<Meta>],
    now: Timestamp,
    limits: &CompactionLimits,
    skip: impl Fn(&Meta) -> bool,
) -> Vec<Job> {
    let window = |time: Timestamp| time.as_second().div_euclid(limits.window.as_secs().max(1));
    let (present, boundary) = (window(now), window(now.saturating_sub(ACTIVE).unwrap_or(Timestamp::MIN)));
    let mut groups: BTreeMap<Group<'_>, Vec<&Arc<Meta>>> = BTreeMap::new();
    for meta in blocks {
        let of = window(meta.end);
        let highest = limits.max_level.is_some_and(|highest| meta.compaction_level >= highest);
        if of == boundary || highest || meta.compacted.is_some() || skip(meta) {
            continue;
        }
        let level = if of > boundary { Level::Active(meta.compaction_level) } else { Level::Inactive };
        let (age, replication) = (present - of, meta.replication_factor);
        groups.entry(Group { level, age, replication, format: &meta.format }).or_default().push(meta);
    }
    let mut jobs = Vec::new();
    // Windows that a lower level has work in: what comes of it joins the levels above.
    let mut busy = HashSet::new();
    for (group, mut metas) in groups {
        metas.sort_by(|a, b| order(a, b));
        let of = present - group.age;
        let name = match group.level {
            Level::Active(level) => format!("A-{level}-{of}-{}-{}", group.replication, group.format),
            Level::Inactive => format!("B-{of}-{}-{}", group.replication, group.format),
        };
        // A window that ended a window ago gets no more blocks but late ones.
        let kin = (group.age, group.replication, group.format);
        let settled = group.age >= 2 && !busy.contains(&kin);
        while let Some(picked) = pick(&metas, group.level, settled, limits) {
            let inputs: Vec<_> = metas.drain(picked).cloned().collect();
            let level = inputs.iter().map(|meta| meta.compaction_level).max().unwrap_or(0).saturating_add(1);
            jobs.push(Job { group: name.clone(), inputs, level });
            busy.insert(kin);
        }
    }
    jobs
}

/// By number of traces, so that blocks of a size are merged; else in an order that all agree on.
fn order(a: &Meta, b: &Meta) -> Ordering {
    a.traces.cmp(&b.traces).then(a.end.cmp(&b.end)).then(a.id.cmp(&b.id))
}

/// A run of the ordered blocks that is worth merging and within the limits.
fn pick(
    metas: &[&Arc<Meta>],
    level: Level,
    settled: bool,
    limits: &CompactionLimits,
) -> Option<std::ops::Range<usize>> {
    let most = limits.max_inputs.max(2);
    for first in 0..metas.len() {
        let fitting = fitting(metas.get(first..)?, limits);
        let full = fitting == most;
        // Where a limit, and not the lack of blocks, ends the run, nothing is won by waiting.
        let ended_by_limit = fitting < most && first + fitting < metas.len();
        for taken in (2..=fitting).rev() {
            let run = metas.get(first..first + taken)?;
            let worth_it = match level {
                Level::Active(_) => settled || full || ended_by_limit,
                Level::Inactive => taken == most || is_balanced(run),
            };
            if worth_it {
                return Some(first..first + taken);
            }
        }
    }
    None
}

/// How many blocks from the first on are within the limits together.
fn fitting(metas: &[&Arc<Meta>], limits: &CompactionLimits) -> usize {
    let (mut objects, mut bytes) = (0_u64, 0_u64);
    let within = |meta: &&&Arc<Meta>| {
        objects = objects.saturating_add(meta.traces);
        bytes = bytes.saturating_add(meta.size);
        objects <= limits.max_objects && bytes <= limits.max_bytes
    };
    metas.iter().take(limits.max_inputs.max(2)).take_while(within).count()
}

fn is_balanced(run: &[&Arc<Meta>]) -> bool {
    let total: u64 = run.iter().fold(0, |sum, meta| sum.saturating_add(meta.size));
    let largest = run.iter().map(|meta| meta.size).max().unwrap_or(0);
    (total - largest).saturating_mul(WORTH_IT) >= largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> CompactionLimits {
        CompactionLimits {
            window: SignedDuration::from_hours(1),
            max_inputs: 4,
            max_objects: 6_000_000,
            max_bytes: 100 << 30,
            max_level: None,
        }
    }

    fn now() -> Timestamp {
        "2026-11-22T12:30:00Z".parse().unwrap()
    }

    /// A block that ended so many minutes before [`now`].
    fn meta(minutes: i64, level: u32, traces: u64) -> Meta {
        let end = now() - SignedDuration::from_mins(minutes);
        let json = format!(
            r#"{{"format":"vParquet4","blockID":"{}","tenantID":"t","startTime":"{end}","endTime":"{end}","totalObjects":{traces},"size":{},"compactionLevel":{level},"replicationFactor":1}}"#,
            uuid::Uuid::new_v4(),
            traces * 1000,
        );
        Meta::from_json(json.as_bytes()).unwrap()
    }

    fn run(metas: Vec<Meta>, limits: &CompactionLimits) -> Vec<Vec<u64>> {
        let metas: Vec<_> = metas.into_iter().map(Arc::new).collect();
        let jobs = jobs(&metas, now(), limits, |_| false);
        jobs.iter().map(|job| job.inputs.iter().map(|meta| meta.traces).collect()).collect()
    }

    #[test]
    fn the_present_window_waits_for_as_many_blocks_as_a_merge_may_take() {
        let of = |n: u64| (1..=n).map(|traces| meta(5, 0, traces)).collect::<Vec<_>>();
        assert!(run(of(3), &limits()).is_empty());
        assert_eq!(run(of(5), &limits()), [[1, 2, 3, 4]]);
        assert_eq!(run(of(8), &limits()), [[1, 2, 3, 4], [5, 6, 7, 8]]);
        let two = CompactionLimits { max_inputs: 2, ..limits() };
        assert_eq!(run(of(3), &two), [[1, 2]]);
    }

    #[test]
    fn a_window_that_has_settled_merges_what_there_is_but_no_block_alone() {
        let metas = vec![meta(160, 0, 1), meta(160, 0, 2), meta(160, 1, 3), meta(220, 0, 4)];
        assert_eq!(run(metas, &limits()), [[1, 2]]);
    }

    #[test]
    fn levels_mix_only_in_windows_older_than_a_day_and_the_boundary_is_left_alone() {
        let day = 24 * 60;
        let metas = vec![meta(160, 0, 1), meta(160, 1, 1), meta(day + 90, 3, 10), meta(day + 90, 0, 9)];
        assert_eq!(run(metas, &limits()), [[9, 10]]);
        let at_the_boundary = vec![meta(day, 0, 1), meta(day, 0, 1), meta(day, 0, 1), meta(day, 0, 1)];
        assert!(run(at_the_boundary, &limits()).is_empty());
    }

    #[test]
    fn a_late_span_does_not_have_a_large_old_block_written_again() {
        let day = 24 * 60;
        let late = |n| (0..n).map(|_| meta(day + 90, 0, 1)).chain([meta(day + 90, 4, 1000)]).collect();
        assert!(run(late(1), &limits()).is_empty());
        assert_eq!(run(late(2), &limits()), [[1, 1]], "small ones become one meanwhile");
        assert_eq!(run(late(3), &limits()), [[1, 1, 1, 1000]], "as many as a merge may take");
    }

    #[test]
    fn windows_formats_and_replication_factors_are_kept_apart() {
        let other = |change: fn(&mut Meta)| {
            let mut metas = vec![meta(160, 0, 1), meta(160, 0, 1)];
            change(&mut metas[1]);
            run(metas, &limits()).len()
        };
        assert_eq!(other(|_| ()), 1);
        assert_eq!(other(|meta| meta.format = "vParquet5".to_owned()), 0);
        assert_eq!(other(|meta| meta.replication_factor = 3), 0);
        assert_eq!(other(|meta| meta.end -= SignedDuration::from_hours(1)), 0);
        let column = |name| crate::block::DedicatedColumn::string(crate::block::DedicatedScope::Span, name);
        let mut metas = vec![meta(160, 0, 1), meta(160, 0, 1)];
        metas[1].dedicated = vec![column("url.path")];
        assert_eq!(run(metas, &limits()).len(), 1, "columns are chosen anew in any case");
    }

    #[test]
    fn the_limits_hold_over_all_inputs_together() {
        let of = || (1..=6).map(|n| meta(5, 0, n)).collect::<Vec<_>>();
        let objects = CompactionLimits { max_objects: 6, ..limits() };
        assert_eq!(run(of(), &objects), [[1, 2, 3]], "and what cannot grow does not wait");
        let bytes = CompactionLimits { max_bytes: 3000, ..limits() };
        assert_eq!(run(of(), &bytes), [[1, 2]]);
        let level = CompactionLimits { max_level: Some(0), ..limits() };
        assert!(run(of(), &level).is_empty());
    }

    #[test]
    fn the_lowest_level_of_the_youngest_window_comes_first() {
        let four = |minutes, level, traces| (0..4).map(move |_| meta(minutes, level, traces));
        let metas = four(5, 1, 1).chain(four(200, 0, 2)).chain(four(5, 0, 3)).chain(four(2000, 0, 4));
        let order: Vec<u64> = run(metas.collect(), &limits()).iter().map(|job| job[0]).collect();
        assert_eq!(order, [3, 2, 1, 4]);
    }

    #[test]
    fn the_output_is_a_level_above_its_highest_input_and_skipped_blocks_stay_out() {
        let day = 24 * 60;
        let metas: Vec<_> =
            [meta(day + 90, 3, 10), meta(day + 90, 0, 9), meta(day + 90, 7, 11)].map(Arc::new).into();
        let jobs = jobs(&metas, now(), &limits(), |meta| meta.compaction_level == 7);
        assert_eq!((jobs.len(), jobs[0].level, jobs[0].inputs.len()), (1, 4, 2));
        assert!(jobs[0].group.starts_with("B-"), "{}", jobs[0].group);
    }
}
