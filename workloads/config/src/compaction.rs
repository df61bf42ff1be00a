//! `compactor`: the role that merges blocks and lets old ones expire.

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
    }
}
