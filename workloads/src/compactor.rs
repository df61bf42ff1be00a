//! The role that lets blocks expire: a block whose newest span is older than the tenant's retention is marked,
//! and deleted once no query can still read it. IO.
//!
//! Every step may be repeated and may be done by several compactors at once: the store's own order of steps
//! (`mark_compacted`, `delete`) is what keeps readers whole.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio_util::sync::CancellationToken;
use tracing_core::{
    block::Meta,
    model::Tenant,
    policy,
    store::{Store, StoreError},
};
use vivace_config::Compaction;

use crate::overrides::Overrides;

/// Tempo's defaults.
const RETENTION: Duration = Duration::from_hours(14 * 24);
const GRACE: Duration = Duration::from_hours(1);
const CYCLE: Duration = Duration::from_secs(30);

/// Lets blocks expire.
#[derive(Debug)]
pub struct Compactor {
    store: Arc<Store>,
    overrides: Arc<Overrides>,
    retention: Duration,
    grace: Duration,
    cycle: Duration,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Metrics {
    marked: Counter,
    deleted: Counter,
    errors: Counter,
}

impl Compactor {
    /// As the configuration says, with Tempo's defaults.
    pub fn new(
        config: &Compaction,
        store: Arc<Store>,
        overrides: Arc<Overrides>,
        registry: &mut Registry,
    ) -> Self {
        let or = |value: Option<vivace_config::Duration>, default| {
            value.map(vivace_config::Duration::get).filter(|value| !value.is_zero()).unwrap_or(default)
        };
        let metrics = Metrics::default();
        for (name, what, counter) in [
            ("tempodb_retention_marked_for_deletion", "blocks that expired", &metrics.marked),
            ("tempodb_retention_deleted", "blocks that were deleted", &metrics.deleted),
            ("tempodb_retention_errors", "blocks that could not be marked or deleted", &metrics.errors),
        ] {
            registry.register(name, what, counter.clone());
        }
        Self {
            store,
            overrides,
            retention: or(config.block_retention, RETENTION),
            grace: or(config.compacted_block_retention, GRACE),
            cycle: or(config.compaction_cycle, CYCLE),
            metrics,
        }
    }

    /// Looks again every cycle, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(self.cycle.max(Duration::from_secs(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            for tenant in self.store.tenants() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.retain(&tenant, Timestamp::now()) => {}
                }
            }
        }
    }

    /// One look at the blocks of a tenant.
    async fn retain(&self, tenant: &Tenant, now: Timestamp) {
        let own = self.overrides.of(tenant).compaction.block_retention.map(vivace_config::Duration::get);
        let retention = own.filter(|own| !own.is_zero()).unwrap_or(self.retention);
        let Ok(rules) = policy::Retention::new(signed(retention), &[]) else { return };
        let blocks = self.store.blocks(tenant);
        for meta in blocks.iter().filter(|meta| rules.due(meta, now) == policy::Due::Expired) {
            let outcome = self.store.mark_compacted(tenant, meta.id).await;
            self.count("marked as expired", meta, &outcome, &self.metrics.marked);
        }
        for meta in policy::deletable(&self.store.compacted(tenant), now, signed(self.grace)) {
            let outcome = self.store.delete(tenant, meta.id).await;
            self.count("deleted", meta, &outcome, &self.metrics.deleted);
        }
    }

    fn count(&self, what: &str, meta: &Meta, outcome: &Result<(), StoreError>, done: &Counter) {
        let tenant = &meta.tenant;
        match outcome {
            Ok(()) => {
                done.inc();
                tracing::info!(%tenant, block = %meta.id, "a block was {what}");
            }
            // Another compactor was first.
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                self.metrics.errors.inc();
                tracing::warn!(%tenant, block = %meta.id, %error, "a block could not be {what}");
            }
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tracing_core::{model::BlockId, store::StoreOptions};

    use super::*;

    /// A block of `tenant` that ends at `end`, as far as retention looks at it.
    fn block(dir: &Path, tenant: &str, end: Timestamp) -> BlockId {
        let id = BlockId::random();
        let dir = dir.join(tenant).join(id.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("data.parquet"), "data").unwrap();
        let meta = format!(
            r#"{{"format":"vParquet4","blockID":"{id}","tenantID":"{tenant}","startTime":"{end}","endTime":"{end}"}}"#
        );
        std::fs::write(dir.join("meta.json"), meta).unwrap();
        id
    }

    async fn compactor(dir: &Path, yaml: &str) -> Compactor {
        let store = Store::open(StoreOptions::local(dir)).unwrap();
        store.poll().await.unwrap();
        let config = vivace_config::load(yaml, &[]).unwrap().config;
        let mut registry = Registry::default();
        let overrides = Overrides::open(&config.overrides, &mut registry).unwrap();
        Compactor::new(&config.compactor.compaction, store, overrides, &mut registry)
    }

    fn ids(blocks: &[Arc<Meta>]) -> Vec<BlockId> {
        blocks.iter().map(|meta| meta.id).collect()
    }

    #[tokio::test]
    async fn an_expired_block_is_marked_first_and_deleted_when_no_query_can_read_it_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let hours = |n| now - SignedDuration::from_hours(n);
        let (old, young) = (block(dir.path(), "a", hours(49)), block(dir.path(), "a", hours(40)));
        let compactor = compactor(dir.path(), "compactor: {compaction: {block_retention: 48h}}").await;
        let tenant = Tenant::new("a").unwrap();
        compactor.retain(&tenant, now).await;
        assert_eq!(ids(&compactor.store.blocks(&tenant)), [young]);
        assert_eq!(ids(&compactor.store.compacted(&tenant)), [old]);
        let data = dir.path().join("a").join(old.to_string()).join("data.parquet");
        assert!(data.exists(), "a query that began before may still read it");
        compactor.retain(&tenant, now + SignedDuration::from_hours(2)).await;
        assert!(!data.exists() && compactor.store.compacted(&tenant).is_empty());
        assert_eq!(ids(&compactor.store.blocks(&tenant)), [young]);
        assert_eq!((compactor.metrics.marked.get(), compactor.metrics.deleted.get()), (1, 1));
    }

    #[tokio::test]
    async fn without_a_setting_blocks_are_kept_for_two_weeks() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let kept = block(dir.path(), "a", now - SignedDuration::from_hours(13 * 24));
        block(dir.path(), "a", now - SignedDuration::from_hours(15 * 24));
        let compactor = compactor(dir.path(), "{}").await;
        let tenant = Tenant::new("a").unwrap();
        compactor.retain(&tenant, now).await;
        assert_eq!(ids(&compactor.store.blocks(&tenant)), [kept]);
    }
}
