//! `querier` and `query_frontend`: the read path.

use crate::{Duration, GrpcClient, Opaque, Size, section::section};

section! {
    /// The role that reads blocks and asks ingesters.
    Querier {
        search: QuerierSearch,
        trace_by_id: QuerierTraceById,
        metrics: Opaque,
        /// Jobs that run at once.
        max_concurrent_queries: Option<u32>,
        frontend_worker: FrontendWorker,
        query_relevant_ingesters: Option<bool>,
        shuffle_sharding_ingesters_enabled: Option<bool>,
        shuffle_sharding_ingesters_lookback_period: Option<Duration>,
        secondary_ingester_ring: Option<String>,
        partition_ring: Opaque,
    }

    /// Limits of one search job.
    QuerierSearch {
        query_timeout: Option<Duration>,
        prefer_self: Option<u32>,
        external_endpoints: Vec<String>,
        external_backend: Option<String>,
        external_hedge_requests_at: Option<Duration>,
        external_hedge_requests_up_to: Option<u32>,
        cloud_run: Opaque,
    }

    /// Limits of one lookup job.
    QuerierTraceById {
        query_timeout: Option<Duration>,
        external: Opaque,
    }

    /// Where a querier fetches its jobs.
    FrontendWorker {
        /// `host:port`; every address that the name has is asked.
        frontend_address: Option<String>,
        dns_lookup_duration: Option<Duration>,
        parallelism: Option<u32>,
        match_max_concurrent: Option<bool>,
        id: Option<String>,
        /// How queriers reach frontends.
        grpc_client_config: GrpcClient,
    }

    /// The role that plans queries and answers clients.
    QueryFrontend {
        /// Jobs of one tenant that may wait; more are answered 429.
        max_outstanding_per_tenant: Option<u32>,
        max_batch_size: Option<u32>,
        log_query_request_headers: Option<String>,
        max_retries: Option<u32>,
        search: FrontendSearch,
        trace_by_id: FrontendTraceById,
        metrics: FrontendMetrics,
        /// `a|b` in `X-Scope-OrgID` asks both tenants.
        multi_tenant_queries_enabled: Option<bool>,
        response_consumers: Option<u32>,
        weights: Opaque,
        mcp_server: McpServer,
        max_grpc_streaming_packet_size: Option<u64>,
        max_query_expression_size_bytes: Option<u64>,
        query_end_cutoff: Option<Duration>,
        /// Rules by which plans are made cheaper that are not to be used.
        skip_ast_transformations: Vec<String>,
        api_timeout: Option<Duration>,
        url_deny_list: Vec<String>,
        allowed_headers: Vec<String>,
        rf1_after: Option<String>,
        /// Ours: refuses queries that Tempo refuses, though they could be answered.
        traceql_strict: Option<bool>,
    }

    /// `/api/search`.
    FrontendSearch {
        concurrent_jobs: Option<u32>,
        target_bytes_per_job: Option<u64>,
        default_result_limit: Option<u32>,
        max_result_limit: Option<u32>,
        /// Longest time range; 0 is no limit.
        max_duration: Option<Duration>,
        query_backend_after: Option<Duration>,
        query_ingesters_until: Option<Duration>,
        ingester_shards: Option<u32>,
        most_recent_shards: Option<u32>,
        default_spans_per_span_set: Option<u32>,
        /// 0 is no limit.
        max_spans_per_span_set: Option<u32>,
        duration_slo: Option<Duration>,
        throughput_bytes_slo: Option<f64>,
        metadata_slo: Opaque,
        tag_values_slo: Opaque,
        /// Ours: memory that the answer of one search may take; 0 is no limit.
        max_answer_bytes: Option<Size>,
        /// Ours: traces that lie in several blocks and match as a whole alone are looked for, too, unless this is false.
        whole_traces: Option<bool>,
    }

    /// `/api/traces`.
    FrontendTraceById {
        query_shards: Option<u32>,
        blocks_per_shard: Option<u32>,
        concurrent_shards: Option<u32>,
        tolerate_failed_blocks: Option<u32>,
        external_enabled: Option<bool>,
        duration_slo: Option<Duration>,
        throughput_bytes_slo: Option<f64>,
    }

    /// `/api/metrics`.
    FrontendMetrics {
        concurrent_jobs: Option<u32>,
        target_bytes_per_job: Option<u64>,
        max_duration: Option<Duration>,
        query_backend_after: Option<Duration>,
        interval: Option<Duration>,
        max_exemplars: Option<u32>,
        max_response_series: Option<u32>,
        streaming_shards: Option<u32>,
        max_intervals: Option<u32>,
        duration_slo: Option<Duration>,
        throughput_bytes_slo: Option<f64>,
    }

    /// The MCP server at `/api/mcp`.
    McpServer {
        enabled: Option<bool>,
    }
}
