//! The querier: takes jobs from frontends, of this process or others, and answers them from blocks and
//! ingesters. IO.

mod ingesters;
mod local;
mod metrics;
mod remote;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing_core::{
    engine::{Engine, EngineError},
    model::Tenant,
    table::{Projection, evaluate},
};
use vivace_config::Config;

use crate::{
    frontend::{Failure, FailureKind, Found, Recent, Search, Work},
    ingester::Ingester,
    membership::Membership,
    tls::Connector,
};
use ingesters::Ingesters;
use metrics::Metrics;

/// What bounds a querier.
#[derive(Clone, Debug)]
pub struct QuerierOptions {
    /// Its name, for the logs of frontends.
    pub id: String,
    /// Jobs that it runs at once, for all frontends together.
    pub max_concurrent: usize,
    /// `host:port` of the frontends of other processes; every address that the name has is asked.
    pub frontend_address: Option<String>,
    /// How often that name is looked up.
    pub dns_lookup_every: Duration,
    /// TLS to ingesters of other processes, where it is spoken,
    pub to_ingesters: Option<Arc<Connector>>,
    /// and to frontends of other processes.
    pub to_frontends: Option<Arc<Connector>>,
}

impl QuerierOptions {
    /// As the configuration says, with Tempo's defaults, and without TLS.
    pub fn of(config: &Config, id: String) -> Self {
        let worker = &config.querier.frontend_worker;
        let lookup = worker.dns_lookup_duration.unwrap_or(vivace_config::Duration::from_secs(3));
        Self {
            id,
            max_concurrent: config.querier.max_concurrent_queries().max(1) as usize,
            frontend_address: config.querier.frontend_address().map(str::to_owned),
            dns_lookup_every: lookup.get().max(Duration::from_millis(100)),
            to_ingesters: None,
            to_frontends: None,
        }
    }
}

/// Answers jobs. Shared by the tasks that take them.
#[derive(Debug)]
pub struct Querier {
    options: QuerierOptions,
    engine: Arc<Engine>,
    ingesters: Ingesters,
    metrics: Metrics,
}

impl Querier {
    /// A querier that asks `local`, the ingester of this process, without a connection: its address tells it
    /// from others.
    pub fn new(
        options: QuerierOptions,
        engine: Arc<Engine>,
        local: Option<(SocketAddr, Arc<Ingester>)>,
        membership: Arc<Membership>,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let metrics = Metrics::register(registry);
        let ingesters = Ingesters::new(local, membership, options.to_ingesters.clone());
        Arc::new(Self { options, engine, ingesters, metrics })
    }

    /// Answers one job. Ends early, with [`FailureKind::Cancelled`], when `cancel` says so.
    async fn answer(
        &self,
        tenant: &Tenant,
        work: &Work,
        cancel: &CancellationToken,
    ) -> Result<Found, Failure> {
        let running = self.metrics.begin();
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Failure::cancelled()),
            result = self.work(tenant, work, cancel) => result,
        };
        running.end(result.as_ref().map(drop).map_err(drop));
        result
    }

    async fn work(&self, tenant: &Tenant, work: &Work, cancel: &CancellationToken) -> Result<Found, Failure> {
        match work {
            Work::SearchBlock { search, meta, row_groups } => {
                let found = self
                    .engine
                    .search_block(meta, row_groups.clone(), &search.plan, search.limits, cancel.clone())
                    .await;
                Ok(Found::Search { part: found.map_err(|error| failure(&error))?, recent: Recent::default() })
            }
            Work::FindInBlocks { id, metas, holding, search } => {
                let of_search = |search: &Arc<Search>| evaluate::whole(&search.plan);
                let projection = search.as_ref().map_or(Projection::Everything, of_search);
                let parts = if *holding {
                    self.engine.read_trace(*id, metas, &projection).await
                } else {
                    self.engine.find_trace(tenant, *id, metas, &projection).await
                };
                let parts = parts.map_err(|error| failure(&error))?;
                Ok(Found::Trace { parts, recent: Recent::default() })
            }
            Work::SearchLive { search, ingester } => {
                self.ingesters.search(tenant, search, ingester.grpc).await
            }
            Work::FindLive { id, ingester } => self.ingesters.find_trace(tenant, *id, ingester.grpc).await,
        }
    }
}

/// What a failed engine means for the job.
fn failure(error: &EngineError) -> Failure {
    let kind = match error {
        EngineError::Cancelled => FailureKind::Cancelled,
        error if error.is_block_gone() => FailureKind::BlockGone,
        _ => FailureKind::Retry,
    };
    Failure { kind, message: error.to_string() }
}
