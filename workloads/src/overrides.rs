//! Limits by tenant: what the configuration says for all, what the overrides file says for one, read anew
//! when that file changes.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio_util::sync::CancellationToken;
use tracing_core::model::Tenant;
use vivace_config::{Limits, TenantLimits};

use crate::{compactor, writing};

/// The tenant of all tenants that the file does not name.
const EVERYONE: &str = "*";

/// The limits in force.
#[derive(Debug)]
pub struct Overrides {
    base: Limits,
    file: Option<PathBuf>,
    text: std::sync::Mutex<Option<String>>,
    current: ArcSwap<Table>,
    sound: Gauge<u64, AtomicU64>,
    discarded: Family<Reason, Counter>,
}

#[derive(Debug, Default)]
struct Table {
    tenants: HashMap<String, Arc<Limits>>,
    others: Arc<Limits>,
}

/// Why an overrides file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// It cannot be read.
    #[error("overrides.per_tenant_override_config {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It says something wrong.
    #[error("overrides.per_tenant_override_config {}", path.display())]
    Parse {
        /// Its path.
        path: PathBuf,
        /// What is wrong, and where.
        source: vivace_config::ConfigError,
    },
    /// A limit that makes no sense.
    #[error("{0}")]
    Limit(String),
    /// Dedicated columns that no block can have.
    #[error("{key}")]
    Columns {
        /// Whose limits they are.
        key: String,
        /// What is wrong.
        source: writing::WritingError,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
    tenant: String,
}

impl Overrides {
    /// Reads the overrides file, if the configuration names one.
    ///
    /// # Errors
    /// [`OverridesError`], which at the start is the user's to mend; later the limits before stay in force.
    pub fn open(
        config: &vivace_config::Overrides,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, OverridesError> {
        let base = config.base();
        let grouped = config.defaults.compaction != vivace_config::CompactionLimits::default();
        check(if grouped { "overrides.defaults.compaction" } else { "overrides" }, &base)?;
        let file = config.per_tenant_override_config.as_deref().filter(|path| !path.is_empty());
        let sound = Gauge::default();
        registry.register(
            "tempo_runtime_config_last_reload_successful",
            "1 when the overrides file was sound the last time that it was read",
            sound.clone(),
        );
        let discarded = Family::default();
        registry.register(
            "tempo_discarded_spans",
            "spans that were not taken, or not kept",
            discarded.clone(),
        );
        let others = Arc::new(base.clone());
        let this = Self {
            base,
            file: file.map(PathBuf::from),
            text: std::sync::Mutex::default(),
            current: ArcSwap::from_pointee(Table { tenants: HashMap::new(), others }),
            sound,
            discarded,
        };
        this.reload()?;
        Ok(Arc::new(this))
    }

    /// The limits of a tenant.
    pub fn of(&self, tenant: &Tenant) -> Arc<Limits> {
        let table = self.current.load();
        Arc::clone(table.tenants.get(tenant.as_str()).unwrap_or(&table.others))
    }

    /// Counts spans of a tenant that a limit has cost.
    pub fn discarded(&self, tenant: &Tenant, reason: &'static str, spans: u64) {
        if spans > 0 {
            self.discarded.get_or_create(&Reason { reason, tenant: tenant.to_string() }).inc_by(spans);
        }
    }

    #[cfg(test)]
    pub(crate) fn discarded_of(&self, tenant: &Tenant, reason: &'static str) -> u64 {
        self.discarded.get_or_create(&Reason { reason, tenant: tenant.to_string() }).get()
    }

    /// The limits in force by tenant, `*` being all that are not named.
    pub fn table(&self) -> BTreeMap<String, Limits> {
        let table = self.current.load();
        let named = table.tenants.iter().map(|(name, limits)| (name.clone(), Limits::clone(limits)));
        named.chain([(EVERYONE.to_owned(), Limits::clone(&table.others))]).collect()
    }

    /// Reads the file every `period` until `stop`, and takes over what changed.
    pub async fn watch(self: Arc<Self>, period: Duration, stop: CancellationToken) {
        if self.file.is_none() {
            return;
        }
        let mut tick = tokio::time::interval(period.max(Duration::from_secs(1)));
        tick.tick().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let this = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(Ok(true)) => tracing::info!("limits were read anew"),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => {
                    let error = anyhow::Error::new(error);
                    tracing::error!(
                        error = format!("{error:#}"),
                        "overrides are wrong, the limits before stay in force"
                    );
                }
            }
        }
    }

    /// True when something changed.
    fn reload(&self) -> Result<bool, OverridesError> {
        let Some(path) = &self.file else {
            self.sound.set(1);
            return Ok(false);
        };
        let outcome = self.reload_from(path);
        self.sound.set(u64::from(outcome.is_ok()));
        outcome
    }

    fn reload_from(&self, path: &Path) -> Result<bool, OverridesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| OverridesError::Read { path: path.to_owned(), source })?;
        let mut last = self.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.as_deref() == Some(text.as_str()) {
            return Ok(false);
        }
        let loaded = vivace_config::load_overrides(&text)
            .map_err(|source| OverridesError::Parse { path: path.to_owned(), source })?;
        for warning in &loaded.warnings {
            tracing::warn!(file = %path.display(), "{warning}");
        }
        for (tenant, limits) in &loaded.config.overrides {
            check(&format!("{}: overrides.{tenant}.compaction", path.display()), limits)?;
        }
        self.current.store(Arc::new(self.merged(&loaded.config)));
        *last = Some(text);
        Ok(true)
    }

    fn merged(&self, file: &TenantLimits) -> Table {
        let others = match file.overrides.get(EVERYONE) {
            Some(limits) => limits.over(&self.base),
            None => self.base.clone(),
        };
        let named = file.overrides.iter().filter(|(name, _)| *name != EVERYONE);
        let tenants = named.map(|(name, limits)| (name.clone(), Arc::new(limits.over(&others)))).collect();
        Table { tenants, others: Arc::new(others) }
    }
}

/// Refuses limits of compaction that make no sense.
fn check(key: &str, limits: &Limits) -> Result<(), OverridesError> {
    let wrong = |error: anyhow::Error| OverridesError::Limit(format!("{error:#}"));
    if let Some(window) = limits.compaction.compaction_window {
        compactor::check_window(&format!("{key}.compaction_window"), window.get()).map_err(wrong)?;
    }
    let columns = |error| OverridesError::Columns { key: key.to_owned(), source: error };
    writing::check(limits).map_err(columns)?;
    let rules = &limits.compaction.retention_rules;
    compactor::rules(&format!("{key}.retention_rules"), rules).map(drop).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use vivace_config::Size;

    use super::*;

    fn open(text: &str) -> (tempfile::NamedTempFile, Result<Arc<Overrides>, OverridesError>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let config = vivace_config::Overrides {
            per_tenant_override_config: Some(file.path().display().to_string()),
            ingestion_rate_limit_bytes: Some(Size(1)),
            ingestion_burst_size_bytes: Some(Size(2)),
            ..vivace_config::Overrides::default()
        };
        let overrides = Overrides::open(&config, &mut Registry::default());
        (file, overrides)
    }

    fn rate(overrides: &Overrides, tenant: &str) -> (u64, u64) {
        let limits = overrides.of(&Tenant::new(tenant).unwrap()).ingestion.clone();
        (limits.rate_limit_bytes.unwrap().0, limits.burst_size_bytes.unwrap().0)
    }

    #[test]
    fn a_tenants_limits_stand_over_those_of_everyone_and_the_defaults() {
        let text = "overrides:\n  a: {ingestion: {rate_limit_bytes: 10}}\n  '*': {ingestion: {burst_size_bytes: 20}}\n";
        let (_file, overrides) = open(text);
        let overrides = overrides.unwrap();
        assert_eq!(rate(&overrides, "a"), (10, 20));
        assert_eq!(rate(&overrides, "b"), (1, 20));
    }

    #[test]
    fn a_wrong_file_stops_the_start_but_later_leaves_the_limits_in_force() {
        let (_file, wrong) = open("overrides:\n  a: {ingestion: {rate_limit_bytes: much}}\n");
        let said = format!("{:#}", anyhow::Error::new(wrong.unwrap_err()));
        assert!(said.ends_with(
            "line 2: overrides.a.ingestion.rate_limit_bytes: expected a number of bytes such as 1048576 or \
             1MiB, found `much`"
        ), "{said}");
        let (file, overrides) = open("overrides:\n  a: {ingestion: {rate_limit_bytes: 10}}\n");
        let overrides = overrides.unwrap();
        std::fs::write(file.path(), "overrides: [").unwrap();
        assert!(overrides.reload().is_err());
        assert_eq!(rate(&overrides, "a"), (10, 2));
        std::fs::write(file.path(), "overrides:\n  a: {ingestion: {rate_limit_bytes: 11}}\n").unwrap();
        assert!(overrides.reload().unwrap());
        assert_eq!(rate(&overrides, "a"), (11, 2));
    }
}
