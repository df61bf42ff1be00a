//! What bounds the frontend, from `query_frontend` in the configuration.

use std::time::Duration;

use vivace_config::Config;

use crate::api::Bounds;

/// What an answer takes at most where nothing is configured: far more than a person reads, and little of a
/// frontend's memory.
const MAX_ANSWER: usize = 256 << 20;

/// Bounds of planning and waiting.
#[derive(Clone, Debug)]
pub struct FrontendOptions {
    /// Jobs of one tenant that may wait; more are answered 429.
    pub max_outstanding_per_tenant: usize,
    /// Attempts at a job that failed, after the first.
    pub max_retries: u32,
    /// Jobs of one query that are under way at once.
    pub concurrent_jobs: usize,
    /// Bytes of a block that make a job; row groups are not cut.
    pub target_bytes_per_job: u64,
    /// Blocks that one lookup job looks into.
    pub blocks_per_lookup: usize,
    /// How far back a search without time range looks into blocks.
    pub recent: Duration,
    /// A list of blocks that is older is not what a query looks into: ingesters name what they flushed since, and
    /// that for longer.
    pub oldest_list: Duration,
    /// Memory that the answer of one search may take, bytes.
    pub max_answer_bytes: usize,
    /// Traces that lie in several places are put together even where no part of them matches.
    pub whole_traces: bool,
    /// Time for a search.
    pub search_timeout: Duration,
    /// Time for a lookup.
    pub lookup_timeout: Duration,
    /// Queries that Tempo refuses are refused, though they could be answered.
    pub traceql_strict: bool,
    /// About the longest message of a streamed answer, bytes.
    pub max_message: usize,
    /// Bounds of request parameters.
    pub bounds: Bounds,
}

/// The age of a list of blocks that is taken from an index now and then comes to about two times `poll`, and what
/// the clocks of two processes may differ by.
pub(crate) fn oldest_list(poll: Duration) -> Duration {
    poll * 3 + Duration::from_mins(3)
}

impl FrontendOptions {
    /// As the configuration says, with Tempo's defaults.
    pub fn of(config: &Config) -> Self {
        let frontend = &config.query_frontend;
        // Whole requests are bounded by `api_timeout` where it is set, else as long as one job may take.
        let api = frontend.api_timeout.filter(|timeout| !timeout.get().is_zero());
        let recent =
            frontend.search.query_backend_after.unwrap_or(vivace_config::Duration::from_secs(15 * 60));
        Self {
            max_outstanding_per_tenant: frontend.max_outstanding_per_tenant() as usize,
            max_retries: frontend.max_retries(),
            concurrent_jobs: frontend.concurrent_jobs() as usize,
            target_bytes_per_job: frontend.target_bytes_per_job(),
            blocks_per_lookup: 10,
            recent: recent.get(),
            oldest_list: oldest_list(config.storage.trace.blocklist_poll().get()),
            max_answer_bytes: match frontend.search.max_answer_bytes.map(vivace_config::Size::as_usize) {
                None => MAX_ANSWER,
                Some(0) => usize::MAX,
                Some(bytes) => bytes,
            },
            whole_traces: frontend.search.whole_traces.unwrap_or(true),
            search_timeout: api.unwrap_or_else(|| config.querier.search_timeout()).get(),
            lookup_timeout: api.unwrap_or_else(|| config.querier.trace_by_id_timeout()).get(),
            traceql_strict: frontend.traceql_strict.unwrap_or(false),
            max_message: frontend.max_grpc_streaming_packet_size.filter(|size| *size > 0).unwrap_or(1 << 20)
                as usize,
            bounds: Bounds {
                default_limit: frontend.default_result_limit(),
                max_limit: frontend.max_result_limit(),
                default_spans_per_span_set: frontend.default_spans_per_span_set(),
                max_spans_per_span_set: frontend.max_spans_per_span_set(),
                max_range: frontend.max_search_duration().get(),
                end_cutoff: frontend.query_end_cutoff.map_or(Duration::ZERO, vivace_config::Duration::get),
                skipped_rules: frontend.skip_ast_transformations.join(","),
                max_query_bytes: frontend.max_query_expression_size_bytes.unwrap_or(131_072) as usize,
            },
        }
    }
}
