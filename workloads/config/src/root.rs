//! The whole file.

use crate::{
    Compactor, Distributor, Duration, Ingester, Memberlist, Opaque, Overrides, Querier, QueryFrontend,
    Server, Storage, section::section,
};

section! {
    /// `tempo.yaml`. What is `Opaque` is accepted, because Tempo accepts it, and read by nothing here.
    Config {
        /// The role: `all`, `distributor`, `ingester`, `querier`, `query-frontend`, `compactor`.
        target: Option<String>,
        /// Put before `/api/…`.
        http_api_prefix: Option<String>,
        /// Tenants come from `X-Scope-OrgID`.
        multitenancy_enabled: Option<bool>,
        /// Old name of `multitenancy_enabled`.
        auth_enabled: Option<bool>,
        /// How long `/ready` says no before anything else stops.
        shutdown_delay: Option<Duration>,
        /// gRPC on the HTTP port too; this is always so here.
        stream_over_http_enabled: Option<bool>,
        autocomplete_filtering_enabled: Option<bool>,
        enable_go_runtime_metrics: Option<bool>,
        use_otel_tracer: Option<bool>,
        server: Server,
        internal_server: Opaque,
        distributor: Distributor,
        ingester_client: Opaque,
        metrics_generator_client: Opaque,
        querier: Querier,
        query_frontend: QueryFrontend,
        compactor: Compactor,
        ingester: Ingester,
        metrics_generator: Opaque,
        storage: Storage,
        overrides: Overrides,
        memberlist: Memberlist,
        usage_report: UsageReport,
        cache: Opaque,
        memory: Opaque,
        ingest: Opaque,
        block_builder: Opaque,
        live_store: Opaque,
        live_store_client: Opaque,
        backend_scheduler: Opaque,
        backend_scheduler_client: Opaque,
        backend_worker: Opaque,
    }

    /// Tempo reports its use to its makers; Vivace reports to nobody, whatever stands here.
    UsageReport {
        reporting_enabled: Option<bool>,
        backoff: Opaque,
    }
}
