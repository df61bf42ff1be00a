//! Which traces an ingester has met of late. One that goes on after the head that began it was cut is *continued*: its
//! spans lie in two heads or blocks, and a query about it takes both (see `tracing_core::block::Continued`).
//!
//! Guarantees: of the heads that hold spans of a trace, the first to take one in does not say that it continues it, and
//! every other does, as long as the trace is among the last [`REMEMBERED`] that were met. A few in a hundred thousand
//! are said to be continued and are not, which costs a lookup when they are asked for. Memory: 5 to 10 bytes a trace.

use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashSet;
use tracing_core::{
    block::ids,
    model::{Tenant, TraceId},
};

/// Traces that are remembered at least, however many there are.
const REMEMBERED: usize = 1 << 20;
/// Parts with a lock each.
const SHARDS: usize = 16;

/// Fingerprints of traces of all tenants.
#[derive(Debug, Default)]
pub(super) struct Met([Mutex<Shard>; SHARDS]);

/// The old ones go all at once, when the young ones become old.
#[derive(Debug, Default)]
struct Shard {
    young: FxHashSet<u32>,
    old: FxHashSet<u32>,
}

/// What tells a tenant's traces from another's of the same id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Salt(u64);

impl Salt {
    pub(super) fn of(tenant: &Tenant) -> Self {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(tenant.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, fold))
    }
}

impl Met {
    /// Takes note of a trace that a head had no span of. Answers whether it was met before.
    pub(super) fn meet(&self, salt: Salt, id: TraceId) -> bool {
        self.meet_hash(salt, ids::hash(id))
    }

    /// The same, of an id's hash.
    pub(super) fn meet_hash(&self, salt: Salt, hash: u64) -> bool {
        let mixed = (hash ^ salt.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (at, print) = (mixed as usize % SHARDS, (mixed >> 32) as u32);
        let Some(shard) = self.0.get(at) else { return false };
        let Shard { young, old } = &mut *shard.lock().unwrap_or_else(PoisonError::into_inner);
        if young.len() >= REMEMBERED / SHARDS {
            *old = std::mem::take(young);
        }
        !young.insert(print) || old.contains(&print)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> TraceId {
        TraceId((u128::from(n) << 64 | u128::from(n)).to_be_bytes())
    }

    #[test]
    fn a_trace_is_known_when_it_comes_again_and_to_its_tenant_alone() {
        let met = Met::default();
        let [a, b] = ["a", "b"].map(|name| Salt::of(&Tenant::new(name).unwrap()));
        assert!(!met.meet(a, id(1)));
        assert!(!met.meet(b, id(1)));
        assert!(met.meet(a, id(1)) && met.meet(b, id(1)));
        assert!(met.meet_hash(a, ids::hash(id(1))));
    }

    #[test]
    fn as_many_as_it_promises_are_remembered_and_no_more_than_twice_as_many_kept() {
        let met = Met::default();
        let salt = Salt::of(&Tenant::new("a").unwrap());
        let all = REMEMBERED as u64 * 3;
        let unknown = (0..all).filter(|n| !met.meet(salt, id(*n))).count() as u64;
        assert!(all - unknown < all / 2000, "{} of {all} are taken for others", all - unknown);
        let kept: usize =
            met.0.iter().map(|shard| shard.lock().unwrap()).map(|s| s.young.len() + s.old.len()).sum();
        assert!(kept <= 2 * REMEMBERED, "{kept}");
        // Shards fill about evenly; the last tenth less than what is promised is known for certain.
        assert!((all - REMEMBERED as u64 * 9 / 10..all).all(|n| met.meet(salt, id(n))));
    }
}
