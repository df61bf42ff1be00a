//! What becomes of blocks: which are merged, which have expired, which may be deleted. Pure.

mod ids;
mod retention;
mod select;
#[cfg(test)]
mod simulation;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::block::Meta;

pub use ids::{IdsPlan, id_sets};
pub use retention::{Due, Retention, Rule, RuleError};
pub use select::{CompactionLimits, Job, jobs};

/// Blocks that were replaced or have expired more than `grace` before `now`: no query that began before can
/// still read them.
pub fn deletable(
    compacted: &[Arc<Meta>],
    now: Timestamp,
    grace: SignedDuration,
) -> impl Iterator<Item = &Arc<Meta>> {
    let old = move |since: Timestamp| now.duration_since(since) > grace;
    compacted.iter().filter(move |meta| meta.compacted.is_some_and(old))
}
