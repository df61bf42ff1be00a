//! Retention: blocks of which nothing is kept are marked, and what was marked long enough ago is deleted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use tracing_core::{
    block::Meta,
    model::Tenant,
    policy::{self, Due, Retention},
    store::StoreError,
};

use super::{
    Compactor,
    options::{self, signed},
};

/// The rules of each tenant, parsed once.
#[derive(Debug, Default)]
pub(super) struct Retentions {
    known: Mutex<HashMap<Tenant, Known>>,
}

#[derive(Debug)]
struct Known {
    default: SignedDuration,
    rules: Vec<(String, SignedDuration)>,
    retention: Arc<Retention>,
}

impl Compactor {
    /// How long a tenant's traces are kept; `None` where its rules cannot be read, and then all are.
    pub(super) fn retention_of(&self, tenant: &Tenant) -> Option<Arc<Retention>> {
        let limits = self.overrides.of(tenant);
        let own = limits.compaction.block_retention.map(vivace_config::Duration::get);
        let default = signed(own.filter(|own| !own.is_zero()).unwrap_or(self.options.retention));
        let rules = match limits.compaction.retention_rules.as_slice() {
            [] => self.options.rules.clone(),
            own => options::rules("retention_rules", own).ok()?,
        };
        let mut known = self.retentions.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) =
            known.get(tenant).filter(|known| known.default == default && known.rules == rules)
        {
            return Some(Arc::clone(&known.retention));
        }
        let retention = Arc::new(Retention::new(default, &rules).ok()?);
        known.insert(tenant.clone(), Known { default, rules, retention: Arc::clone(&retention) });
        Some(retention)
    }

    /// One look at the blocks of a tenant.
    pub(super) async fn retain(&self, tenant: &Tenant, now: Timestamp) {
        let Some(rules) = self.retention_of(tenant) else { return };
        let blocks = self.store.blocks(tenant);
        let expired = |meta: &&Arc<Meta>| meta.compacted.is_none() && rules.due(meta, now) == Due::Expired;
        // Boxed one by one: a closure over borrowed metas would keep this future from being `Send`.
        let mut steps: Vec<BoxFuture<'_, ()>> = Vec::new();
        for meta in blocks.iter().filter(expired) {
            steps.push(self.mark(meta.clone()).boxed());
        }
        self.at_once(steps).await;
        let compacted = self.store.compacted(tenant);
        let mut steps: Vec<BoxFuture<'_, ()>> = Vec::new();
        for meta in policy::deletable(&compacted, now, signed(self.options.grace)) {
            steps.push(self.delete(meta.clone()).boxed());
        }
        self.at_once(steps).await;
    }

    async fn at_once(&self, steps: Vec<BoxFuture<'_, ()>>) {
        stream::iter(steps).buffer_unordered(self.options.concurrency).collect::<()>().await;
    }

    async fn mark(&self, meta: Arc<Meta>) {
        let outcome = self.store.mark_compacted(&meta.tenant, meta.id).await;
        self.count("marked as expired", &meta, &outcome, &self.metrics.marked);
    }

    async fn delete(&self, meta: Arc<Meta>) {
        let outcome = self.store.delete(&meta.tenant, meta.id).await;
        self.count("deleted", &meta, &outcome, &self.metrics.deleted);
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
                self.metrics.retention_errors.inc();
                tracing::warn!(%tenant, block = %meta.id, %error, "a block could not be {what}");
            }
        }
    }
}
