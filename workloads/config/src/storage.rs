//! `storage.trace`: where blocks and the WAL are.

use crate::{Duration, Opaque, Secret, Size, section::section};

section! {
    /// Holds `trace` alone.
    Storage {
        trace: Trace,
    }

    /// Object storage, WAL and block format.
    Trace {
        pool: Pool,
        wal: Wal,
        block: Block,
        search: Opaque,
        blocklist_poll: Option<Duration>,
        blocklist_poll_concurrency: Option<u32>,
        blocklist_poll_tenant_concurrency: Option<u32>,
        blocklist_poll_fallback: Option<bool>,
        blocklist_poll_tenant_index_builders: Option<u32>,
        blocklist_poll_stale_tenant_index: Option<Duration>,
        blocklist_poll_jitter_ms: Option<u64>,
        blocklist_poll_tolerate_consecutive_errors: Option<u32>,
        blocklist_poll_tolerate_tenant_failures: Option<u32>,
        empty_tenant_deletion_enabled: Option<bool>,
        empty_tenant_deletion_age: Option<Duration>,
        /// `local` or `s3`.
        backend: Option<String>,
        local: Local,
        s3: S3,
        gcs: Gcs,
        azure: Azure,
        /// Ours: memory for parts of blocks that are read again and again, 64 MiB unless it is set. 0 for none.
        read_cache_bytes: Option<Size>,
        cache: Option<String>,
        cache_control: Opaque,
        cache_min_compaction_level: Option<u32>,
        cache_max_block_age: Option<Duration>,
        background_cache: Opaque,
        memcached: Opaque,
        redis: Opaque,
    }

    /// Readers at once.
    Pool {
        max_workers: Option<u32>,
        queue_depth: Option<u32>,
    }

    /// The log in which spans stand before they are acknowledged.
    Wal {
        path: Option<String>,
        ingestion_time_range_slack: Option<Duration>,
        version: Option<String>,
        v2_encoding: Option<String>,
        search_encoding: Option<String>,
    }

    /// How blocks are written.
    Block {
        version: Option<String>,
        bloom_filter_false_positive: Option<f64>,
        bloom_filter_shard_size_bytes: Option<u64>,
        parquet_row_group_size_bytes: Option<Size>,
        parquet_dedicated_columns: Opaque,
        create_with_no_compact_flag: Option<bool>,
        search_encoding: Option<String>,
        search_page_size_bytes: Option<u64>,
        v2_index_downsample_bytes: Option<u64>,
        v2_index_page_size_bytes: Option<u64>,
        v2_encoding: Option<String>,
    }

    /// A directory.
    Local {
        path: Option<String>,
    }

    /// S3, or a server that speaks it.
    S3 {
        tls_cert_path: Option<String>,
        tls_key_path: Option<String>,
        tls_ca_path: Option<String>,
        tls_server_name: Option<String>,
        tls_insecure_skip_verify: Option<bool>,
        tls_cipher_suites: Option<String>,
        tls_min_version: Option<String>,
        bucket: Option<String>,
        prefix: Option<String>,
        /// `host[:port]`, without a scheme.
        endpoint: Option<String>,
        region: Option<String>,
        access_key: Option<Secret>,
        secret_key: Option<Secret>,
        session_token: Option<Secret>,
        /// Plain HTTP.
        insecure: Option<bool>,
        part_size: Option<u64>,
        hedge_requests_at: Option<Duration>,
        hedge_requests_up_to: Option<u32>,
        retry_max_attempts: Option<u32>,
        retry_backoff_initial: Option<Duration>,
        retry_backoff_max: Option<Duration>,
        signature_v2: Option<bool>,
        forcepathstyle: Option<bool>,
        enable_dual_stack: Option<bool>,
        bucket_lookup_type: Option<u32>,
        checksum_type: Option<String>,
        tags: Opaque,
        storage_class: Option<String>,
        metadata: Opaque,
        native_aws_auth_enabled: Option<bool>,
        list_blocks_concurrency: Option<u32>,
        sse: S3Sse,
    }

    /// Encryption by the server.
    S3Sse {
        r#type: Option<String>,
        kms_key_id: Option<String>,
        kms_encryption_context: Option<String>,
        encryption_key: Option<Secret>,
    }

    /// Google Cloud Storage.
    Gcs {
        bucket_name: Option<String>,
        prefix: Option<String>,
        chunk_buffer_size: Option<u64>,
        endpoint: Option<String>,
        hedge_requests_at: Option<Duration>,
        hedge_requests_up_to: Option<u32>,
        insecure: Option<bool>,
        object_cache_control: Option<String>,
        object_metadata: Opaque,
        list_blocks_concurrency: Option<u32>,
        max_retries: Option<u32>,
    }

    /// Azure Blob Storage.
    Azure {
        storage_account_name: Option<String>,
        storage_account_key: Option<Secret>,
        use_managed_identity: Option<bool>,
        use_federated_token: Option<bool>,
        user_assigned_id: Option<String>,
        container_name: Option<String>,
        prefix: Option<String>,
        endpoint_suffix: Option<String>,
        max_buffers: Option<u32>,
        buffer_size: Option<u64>,
        hedge_requests_at: Option<Duration>,
        hedge_requests_up_to: Option<u32>,
    }
}
