//! What was uploaded and never came to be a block is swept away: by the owner of the tenant, now and then, and
//! also where a tenant has no block at all.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Compactor, owner};
use crate::membership::Role;

/// How often all tenants are listed for it: each costs a request a thousand objects.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// When tenants were swept last.
pub(super) type Last = Mutex<Option<Instant>>;

impl Compactor {
    /// Sweeps the tenants that are this process's, when it is time.
    pub(super) async fn sweep(&self) {
        if !self.is_time_to_sweep() {
            return;
        }
        let tenants = match self.store.list_tenants().await {
            Ok(tenants) => tenants,
            Err(error) => {
                tracing::warn!(%error, "tenants could not be listed to be swept");
                return;
            }
        };
        let members = self.membership.members(Role::Compactor);
        for tenant in tenants {
            let is_off = self.overrides.of(&tenant).compaction.compaction_disabled == Some(true);
            if is_off || !owner::is_own(&members, &format!("{tenant}/sweep")) {
                continue;
            }
            match self.store.sweep_orphans(&tenant).await {
                Ok(swept) => {
                    self.metrics.swept.inc_by(swept.objects);
                    self.metrics.swept_bytes.inc_by(swept.bytes);
                }
                Err(error) => {
                    self.metrics.retention_errors.inc();
                    tracing::warn!(%tenant, %error, "what never came to be a block could not be swept away");
                }
            }
        }
    }

    fn is_time_to_sweep(&self) -> bool {
        let mut last = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= SWEEP_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
