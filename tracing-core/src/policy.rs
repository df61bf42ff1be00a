//! What becomes of blocks: which have expired, which may be deleted. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::block::Meta;

/// Blocks whose newest span is older than `retention` at `now`.
pub fn expired(
    blocks: &[Arc<Meta>],
    now: Timestamp,
    retention: SignedDuration,
) -> impl Iterator<Item = &Arc<Meta>> {
    blocks.iter().filter(move |meta| now.duration_since(meta.end) > retention)
}

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
