//! The whole file.

use crate::{
    Compactor, Distributor, Duration, Ingester, InternalServer, Memberlist, Opaque, Overrides, Querier,
    QueryFrontend, RoleClient, Server, Storage, section::section,
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
        internal_server: InternalServer,
        distributor: Distributor,
        /// How distributors and queriers reach ingesters.
        ingester_client: RoleClient,
        metrics_generator_client: RoleClient,
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
        /// What Tempo 3 has in place of `ingester_client`; it counts where that one asks for no TLS.
        live_store_client: RoleClient,
        backend_scheduler: Opaque,
        backend_scheduler_client: RoleClient,
        backend_worker: Opaque,
    }

    /// Tempo reports its use to its makers; Vivace reports to nobody, whatever stands here.
    UsageReport {
        reporting_enabled: Option<bool>,
        backoff: Opaque,
    }
}
