//! `overrides`: limits, for all tenants and for one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Duration, Opaque, RetentionRule, Size, section::section};

section! {
    /// Limits in both notations: `defaults` with its groups, and the flat keys of old, of which a group's wins.
    Overrides {
        defaults: Limits,
        /// A file with limits per tenant, see [`TenantLimits`].
        per_tenant_override_config: Option<String>,
        per_tenant_override_period: Option<Duration>,
        user_configurable_overrides: Opaque,
        enable_legacy_overrides: Option<bool>,
        ingestion_rate_strategy: Option<String>,
        ingestion_rate_limit_bytes: Option<Size>,
        ingestion_burst_size_bytes: Option<Size>,
        ingestion_tenant_shard_size: Option<u32>,
        ingestion_max_attribute_bytes: Option<u64>,
        max_traces_per_user: Option<u64>,
        max_global_traces_per_user: Option<u64>,
        max_bytes_per_trace: Option<Size>,
        max_bytes_per_tag_values_query: Option<Size>,
        max_blocks_per_tag_values_query: Option<u64>,
        max_search_duration: Option<Duration>,
        block_retention: Option<Duration>,
        compaction_window: Option<Duration>,
        compaction_disabled: Option<bool>,
        /// Not of Tempo.
        retention_rules: Vec<RetentionRule>,
        parquet_dedicated_columns: Opaque,
        forwarders: Vec<String>,
        metrics_generator_processors: Vec<String>,
        metrics_generator_ring_size: Option<u32>,
        metrics_generator_max_active_series: Option<u32>,
        metrics_generator_collection_interval: Option<Duration>,
        metrics_generator_disable_collection: Option<bool>,
        metrics_generator_forwarder_queue_size: Option<u32>,
        metrics_generator_forwarder_workers: Option<u32>,
    }

    /// The limits of one tenant, in groups.
    Limits {
        ingestion: IngestionLimits,
        read: ReadLimits,
        compaction: CompactionLimits,
        metrics_generator: Opaque,
        forwarders: Vec<String>,
        global: GlobalLimits,
        storage: StorageLimits,
        cost_attribution: Opaque,
    }

    /// What a tenant may send.
    IngestionLimits {
        /// `local` (each distributor) or `global` (shared by all).
        rate_strategy: Option<String>,
        /// Bytes a second.
        rate_limit_bytes: Option<Size>,
        /// Bytes at once.
        burst_size_bytes: Option<Size>,
        /// Live traces per ingester.
        max_traces_per_user: Option<u64>,
        max_global_traces_per_user: Option<u64>,
        /// Bytes of one trace; the operator writes it here, Tempo in `global`.
        max_bytes_per_trace: Option<Size>,
        max_attribute_bytes: Option<u64>,
        tenant_shard_size: Option<u32>,
        artificial_delay: Option<Duration>,
        retry_info_enabled: Option<bool>,
    }

    /// What a tenant may ask.
    ReadLimits {
        max_bytes_per_tag_values_query: Option<Size>,
        max_blocks_per_tag_values_query: Option<u64>,
        max_condition_groups_per_tag_query: Option<u32>,
        max_search_duration: Option<Duration>,
        max_metrics_duration: Option<Duration>,
        unsafe_query_hints: Option<bool>,
        left_pad_trace_ids: Option<bool>,
        metrics_spanonly_fetch: Option<bool>,
        engine_bytes_tracking: Option<bool>,
    }

    /// How long a tenant's blocks are kept.
    CompactionLimits {
        block_retention: Option<Duration>,
        compaction_window: Option<Duration>,
        compaction_disabled: Option<bool>,
        /// Not of Tempo: in place of the rules for all tenants.
        retention_rules: Vec<RetentionRule>,
    }

    /// Limits that hold everywhere.
    GlobalLimits {
        /// Bytes of one trace.
        max_bytes_per_trace: Option<Size>,
    }

    /// How a tenant's blocks are written.
    StorageLimits {
        parquet_dedicated_columns: Opaque,
    }
}

/// The file that `per_tenant_override_config` names: `overrides: {"<tenant>": {…}}`, `*` for all others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantLimits {
    /// By tenant.
    pub overrides: BTreeMap<String, Limits>,
}

impl Limits {
    /// These limits where they are set, and `below` where they are not.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let mut out = below.clone();
        macro_rules! take {
            ($($group:ident.$field:ident),* $(,)?) => {
                $(if self.$group.$field.is_some() { out.$group.$field.clone_from(&self.$group.$field); })*
            };
        }
        take! {
            ingestion.rate_strategy, ingestion.rate_limit_bytes, ingestion.burst_size_bytes,
            ingestion.max_traces_per_user, ingestion.max_global_traces_per_user, ingestion.max_bytes_per_trace,
            ingestion.max_attribute_bytes, ingestion.tenant_shard_size, ingestion.artificial_delay,
            ingestion.retry_info_enabled, read.max_bytes_per_tag_values_query,
            read.max_blocks_per_tag_values_query, read.max_condition_groups_per_tag_query,
            read.max_search_duration, read.max_metrics_duration, read.unsafe_query_hints,
            read.left_pad_trace_ids, read.metrics_spanonly_fetch, read.engine_bytes_tracking,
            compaction.block_retention, compaction.compaction_window, compaction.compaction_disabled,
            global.max_bytes_per_trace,
        }
        if !self.compaction.retention_rules.is_empty() {
            out.compaction.retention_rules.clone_from(&self.compaction.retention_rules);
        }
        if !self.storage.parquet_dedicated_columns.is_null() {
            out.storage.clone_from(&self.storage);
        }
        out
    }

    /// Bytes of one trace, wherever they are set.
    pub fn max_bytes_per_trace(&self) -> Option<Size> {
        self.global.max_bytes_per_trace.or(self.ingestion.max_bytes_per_trace)
    }
}

impl Overrides {
    /// The limits of a tenant that has none of its own: `defaults`, and the flat keys below them.
    pub fn base(&self) -> Limits {
        let flat = Limits {
            ingestion: IngestionLimits {
                rate_strategy: self.ingestion_rate_strategy.clone(),
                rate_limit_bytes: self.ingestion_rate_limit_bytes,
                burst_size_bytes: self.ingestion_burst_size_bytes,
                max_traces_per_user: self.max_traces_per_user,
                max_global_traces_per_user: self.max_global_traces_per_user,
                max_attribute_bytes: self.ingestion_max_attribute_bytes,
                ..IngestionLimits::default()
            },
            read: ReadLimits {
                max_bytes_per_tag_values_query: self.max_bytes_per_tag_values_query,
                max_blocks_per_tag_values_query: self.max_blocks_per_tag_values_query,
                max_search_duration: self.max_search_duration,
                ..ReadLimits::default()
            },
            compaction: CompactionLimits {
                block_retention: self.block_retention,
                compaction_window: self.compaction_window,
                compaction_disabled: self.compaction_disabled,
                retention_rules: self.retention_rules.clone(),
            },
            global: GlobalLimits { max_bytes_per_trace: self.max_bytes_per_trace },
            storage: StorageLimits { parquet_dedicated_columns: self.parquet_dedicated_columns.clone() },
            ..Limits::default()
        };
        self.defaults.over(&flat)
    }
}
