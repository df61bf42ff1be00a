//! What is left alone for a while: blocks that are damaged, gone or not to be touched, and tenants whose work
//! failed. Forgotten when the process ends.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing_core::model::{BlockId, Tenant};

use super::BACKOFF;

/// A damaged block is tried again after this, in case it was the way to it that was damaged.
const DAMAGED: Duration = Duration::from_hours(24);
/// Most blocks that are remembered; the rest is tried again.
const MAX_BLOCKS: usize = 1 << 16;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    blocks: HashMap<BlockId, Block>,
    tenants: HashMap<Tenant, (u32, Instant)>,
}

#[derive(Debug)]
struct Block {
    until: Instant,
    is_damaged: bool,
}

impl Skipped {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leaves a block alone for `time`.
    pub(super) fn block(&self, block: BlockId, time: Duration) {
        self.put(block, Block { until: Instant::now() + time, is_damaged: false });
    }

    /// Sets a damaged block aside. True where it was not before.
    pub(super) fn set_aside(&self, block: BlockId) -> bool {
        self.put(block, Block { until: Instant::now() + DAMAGED, is_damaged: true })
    }

    fn put(&self, block: BlockId, entry: Block) -> bool {
        self.with(|inner| {
            if inner.blocks.len() >= MAX_BLOCKS {
                let now = Instant::now();
                inner.blocks.retain(|_, block| block.until > now);
            }
            inner.blocks.len() < MAX_BLOCKS && inner.blocks.insert(block, entry).is_none()
        })
    }

    /// Whether a block is left alone.
    pub(super) fn has(&self, block: BlockId) -> bool {
        self.with(|inner| inner.blocks.get(&block).is_some_and(|block| block.until > Instant::now()))
    }

    /// How many blocks are set aside.
    pub(super) fn damaged(&self) -> usize {
        self.with(|inner| {
            let now = Instant::now();
            inner.blocks.retain(|_, block| block.until > now);
            inner.blocks.values().filter(|block| block.is_damaged).count()
        })
    }

    /// Whether a tenant's work failed a short while ago.
    pub(super) fn tenant_waits(&self, tenant: &Tenant) -> bool {
        self.with(|inner| inner.tenants.get(tenant).is_some_and(|(_, until)| *until > Instant::now()))
    }

    pub(super) fn tenant_works(&self, tenant: &Tenant) {
        self.with(|inner| inner.tenants.remove(tenant));
    }

    /// Lets a tenant wait, longer each time. Answers how long.
    pub(super) fn tenant_failed(&self, tenant: &Tenant) -> Duration {
        self.with(|inner| {
            let (failures, until) = inner.tenants.entry(tenant.clone()).or_insert((0, Instant::now()));
            let wait = BACKOFF.0.saturating_mul(1 << (*failures).min(10)).min(BACKOFF.1);
            *failures = failures.saturating_add(1);
            *until = Instant::now() + wait;
            wait
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_whose_work_fails_waits_longer_each_time_until_it_works_again() {
        let (skipped, tenant) = (Skipped::default(), Tenant::single());
        let waits: Vec<u64> = (0..12).map(|_| skipped.tenant_failed(&tenant).as_secs()).collect();
        assert_eq!(waits[..3], [30, 60, 120]);
        assert_eq!(waits[11], 1800);
        assert!(skipped.tenant_waits(&tenant));
        skipped.tenant_works(&tenant);
        assert!(!skipped.tenant_waits(&tenant));
    }
}
