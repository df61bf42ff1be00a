//! The part of the compactor role that keeps the filter over trace ids: each tenant's is built by one of the
//! compactors. IO.
//!
//! Who builds is decided by rendezvous over the live compactors. Where two think that they are it, both build,
//! and the last directory holds: it names what it covers, so nothing is hidden.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio_util::sync::CancellationToken;
use tracing_core::{model::Tenant, store::Store};

use crate::membership::{Membership, Role};

/// How often it is looked whether there is something to do.
const CYCLE: Duration = Duration::from_secs(30);

/// Keeps the filters of all tenants.
#[derive(Debug)]
pub struct IdFilters {
    store: Arc<Store>,
    membership: Arc<Membership>,
    built: Counter,
    written: Counter,
    failed: Counter,
}

impl IdFilters {
    /// Over the blocks of `store`; its metrics stand in `registry` from now on.
    pub fn new(store: Arc<Store>, membership: Arc<Membership>, registry: &mut Registry) -> Self {
        let (built, written, failed) = (Counter::default(), Counter::default(), Counter::default());
        for (name, what, counter) in [
            ("vivace_id_filter_builds", "Times that a filter over trace ids was built", &built),
            ("vivace_id_filter_written_bytes", "Bytes that were written for that", &written),
            ("vivace_id_filter_failures", "Times that it could not be built", &failed),
        ] {
            registry.register(name, what, counter.clone());
        }
        Self { store, membership, built, written, failed }
    }

    /// Looks again every half minute, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(CYCLE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            for tenant in self.store.tenants() {
                if !self.is_mine(&tenant) {
                    continue;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.refresh(&tenant) => {}
                }
            }
        }
    }

    async fn refresh(&self, tenant: &Tenant) {
        match self.store.refresh_ids(tenant, Timestamp::now()).await {
            Ok(None) => {}
            Ok(Some(refreshed)) => {
                self.built.inc();
                self.written.inc_by(refreshed.written);
                tracing::info!(
                    %tenant,
                    blocks = refreshed.blocks,
                    added = refreshed.added,
                    bytes = refreshed.written,
                    took = ?refreshed.took,
                    "built the filter over trace ids"
                );
            }
            Err(error) => {
                self.failed.inc();
                tracing::warn!(%tenant, %error, "the filter over trace ids could not be built");
            }
        }
    }

    fn is_mine(&self, tenant: &Tenant) -> bool {
        let members = self.membership.members(Role::Compactor);
        let first = members.iter().max_by_key(|member| (score(&member.id, tenant.as_str()), &member.id));
        first.is_none_or(|first| first.id == self.membership.id())
    }
}

/// FNV-1a of both names, and the finaliser of SplitMix64.
fn score(member: &str, tenant: &str) -> u64 {
    let bytes = member.bytes().chain([0]).chain(tenant.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_spread_over_compactors_and_one_that_goes_moves_only_its_own() {
        let of = |members: &[&str], tenant: &str| {
            members
                .iter()
                .max_by_key(|member| score(member, tenant))
                .map(|member| (*member).to_owned())
                .unwrap()
        };
        let tenants: Vec<String> = (0..900).map(|n| format!("team-{n}")).collect();
        let (three, two) = (["a", "b", "c"], ["a", "b"]);
        let mine = tenants.iter().filter(|tenant| of(&three, tenant) == "a").count();
        assert!((200..400).contains(&mine), "{mine} of 900");
        for tenant in &tenants {
            let before = of(&three, tenant);
            assert!(before == "c" || of(&two, tenant) == before);
        }
    }
}
