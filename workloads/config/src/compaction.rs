//! `compactor`: the role that merges blocks and lets old ones expire.

use serde::{Deserialize, Serialize};

use crate::{Duration, Opaque, Size, section::section};

section! {
    /// Compaction and its ring.
    Compactor {
        compaction: Compaction,
        ring: Opaque,
        override_ring_key: Option<String>,
        disabled: Option<bool>,
    }

    /// What is merged and how long blocks are kept.
    Compaction {
        v2_in_buffer_bytes: Option<Size>,
        v2_out_buffer_bytes: Option<Size>,
        v2_prefetch_traces_count: Option<u32>,
        compaction_window: Option<Duration>,
        max_compaction_objects: Option<u64>,
        max_block_bytes: Option<Size>,
        block_retention: Option<Duration>,
        compacted_block_retention: Option<Duration>,
        retention_concurrency: Option<u32>,
        max_time_per_tenant: Option<Duration>,
        compaction_cycle: Option<Duration>,
        /// Most blocks that become one at a time.
        max_compaction_input_blocks: Option<u32>,
        /// Not of Tempo: traces that are kept for another time than `block_retention`.
        retention_rules: Vec<RetentionRule>,
        /// Not of Tempo: where blocks are put together; below the write-ahead log's directory by default.
        work_path: Option<String>,
        /// Not of Tempo: disk that a merge may take there, inputs and output together.
        max_work_bytes: Option<Size>,
    }
}

/// How long traces are kept that a query finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetentionRule {
    /// TraceQL.
    pub r#match: String,
    /// From the trace's end on.
    pub keep: Duration,
}

/// Tempo's defaults, and ours for what it does not have.
impl Compaction {
    /// An hour.
    pub fn window(&self) -> Duration {
        self.compaction_window.unwrap_or(Duration::from_secs(3600))
    }

    /// 6 million traces.
    pub fn max_objects(&self) -> u64 {
        self.max_compaction_objects.unwrap_or(6_000_000)
    }

    /// 100 GiB.
    pub fn max_bytes(&self) -> Size {
        self.max_block_bytes.unwrap_or(Size(100 << 30))
    }

    /// 4 blocks.
    pub fn max_inputs(&self) -> u32 {
        self.max_compaction_input_blocks.unwrap_or(4)
    }

    /// Two weeks; also where it is set to 0.
    pub fn retention(&self) -> Duration {
        self.block_retention.filter(|set| !set.0.is_zero()).unwrap_or(Duration::from_secs(14 * 24 * 3600))
    }

    /// An hour; also where it is set to 0.
    pub fn compacted_retention(&self) -> Duration {
        self.compacted_block_retention.filter(|set| !set.0.is_zero()).unwrap_or(Duration::from_secs(3600))
    }

    /// 10 blocks.
    pub fn retention_concurrency(&self) -> u32 {
        self.retention_concurrency.unwrap_or(10)
    }

    /// 5 minutes.
    pub fn max_time_per_tenant(&self) -> Duration {
        self.max_time_per_tenant.unwrap_or(Duration::from_secs(300))
    }

    /// 30 seconds; also where it is set to 0.
    pub fn cycle(&self) -> Duration {
        self.compaction_cycle.filter(|set| !set.0.is_zero()).unwrap_or(Duration::from_secs(30))
    }

    /// 20 GiB.
    pub fn work_bytes(&self) -> Size {
        self.max_work_bytes.unwrap_or(Size(20 << 30))
    }
}
