//! The services of each role, built in the order in which they need each other. IO.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use axum::Router;
use prometheus_client::registry::Registry;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing_core::{engine::Engine, store::Store};
use vivace_config::Config;

use super::{
    Health, Phase, Target,
    encryption::Encryption,
    health::{Check, Note},
    storage, unknown_method, wal,
};
use crate::{
    api::{self, ApiOptions, StreamService},
    caches,
    compactor::Compactor,
    distributor::{Distributor, Keeper, PushService},
    frontend::{Frontend, FrontendOptions},
    ids::IdFilters,
    ingester::Ingester,
    membership::{Membership, Role},
    overrides::Overrides,
    querier::{Querier, QuerierOptions},
    receiver::{Receivers, Tenancy},
    rpc::LiveService,
    writing::Writing,
};

/// The start waits so long for the first list of blocks.
const FIRST_POLL: Duration = Duration::from_secs(2);

/// What all services are built from.
pub(super) struct Graph {
    pub(super) config: Arc<Config>,
    pub(super) target: Target,
    pub(super) health: Arc<Health>,
    pub(super) registry: Registry,
    pub(super) membership: Arc<Membership>,
    pub(super) overrides: Arc<Overrides>,
    /// Where this process is reached by others.
    pub(super) address: SocketAddr,
    pub(super) tls: Encryption,
    /// Cancelled when everything shall end.
    pub(super) stop: CancellationToken,
    /// No new request is taken.
    pub(super) leaving: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) checks: Vec<(&'static str, Check)>,
    pub(super) notes: Vec<(&'static str, Note)>,
}

/// The services that run, and the routes to them.
pub(super) struct Services {
    pub(super) ingester: Option<Arc<Ingester>>,
    pub(super) http: Router,
    pub(super) grpc: Router,
}

impl Graph {
    /// Starts everything but the receivers. When this answers, what was acknowledged before is searchable.
    pub(super) async fn services(&mut self) -> anyhow::Result<Services> {
        let mut http = Router::new();
        let mut grpc = tonic::service::Routes::builder();
        let stores = [Role::Ingester, Role::Querier, Role::QueryFrontend, Role::Compactor];
        if !stores.into_iter().any(|role| self.target.has(role)) {
            return Ok(Services { ingester: None, http, grpc: Router::new().fallback(unknown_method) });
        }
        let store = storage::open(&self.config.storage.trace)?;
        caches::register(&store, &mut self.registry);
        let engine = Engine::new(Arc::clone(&store), threads());
        let ingester = self.ingester(&store, &engine).await?;
        if let Some(ingester) = &ingester {
            let keeper: Arc<dyn Keeper> = Arc::clone(ingester) as _;
            grpc.add_service(PushService::server(keeper));
            grpc.add_service(LiveService::new(Arc::clone(ingester)).into_server());
        }
        let frontend = self.frontend(&store);
        if let Some(frontend) = &frontend {
            let options = ApiOptions::of(&self.config);
            grpc.add_service(StreamService::server(Arc::clone(frontend), options.clone()));
            http = http.merge(api::router(Arc::clone(frontend), options));
            grpc.add_service(frontend.queue_service(self.leaving.clone()).into_server());
        }
        self.querier(&engine, ingester.clone(), frontend.as_deref());
        if self.target.has(Role::Compactor) && self.config.compactor.disabled != Some(true) {
            let (membership, overrides) = (Arc::clone(&self.membership), Arc::clone(&self.overrides));
            let blocks = (Arc::clone(&store), Arc::clone(&engine));
            let compactor = Compactor::new(&self.config, blocks, membership, overrides, &mut self.registry)?;
            let compactor = match ingester.as_ref().map(Arc::downgrade) {
                Some(ingester) => compactor
                    .yielding_to(move || ingester.upgrade().is_some_and(|ingester| ingester.is_loaded())),
                None => compactor,
            };
            self.tasks.spawn(compactor.run(self.stop.clone()));
            let members = Arc::clone(&self.membership);
            let filters = IdFilters::new(Arc::clone(&store), members, &mut self.registry);
            self.tasks.spawn(filters.run(self.stop.clone()));
        }
        if self.target.has(Role::QueryFrontend) || self.target.has(Role::Compactor) {
            self.poll(&store).await;
        }
        let grpc = grpc.routes().into_axum_router().fallback(unknown_method);
        Ok(Services { ingester, http, grpc })
    }

    async fn ingester(
        &mut self,
        store: &Arc<Store>,
        engine: &Arc<Engine>,
    ) -> anyhow::Result<Option<Arc<Ingester>>> {
        if !self.target.has(Role::Ingester) {
            return Ok(None);
        }
        self.health.set(Role::Ingester.name(), Phase::Starting);
        let mut options = storage::ingester(&self.config);
        let writing = Writing::new(&self.config.storage.trace.block)?;
        options.write = writing.over(Arc::clone(&self.overrides));
        wal::configure(&self.config, &mut options)?;
        let (store, engine, members) = (Arc::clone(store), Arc::clone(engine), Arc::clone(&self.membership));
        let ingester =
            Ingester::start(options, store, engine, members, &mut self.registry).await.with_context(
                || format!("ingester: storage.trace.wal.path {}", self.config.storage.trace.wal_path()),
            )?;
        let asked = Arc::clone(&ingester);
        self.checks.push(("Ingester", Box::new(move || asked.ready())));
        let asked = Arc::clone(&ingester);
        self.notes.push(("Ingester", Box::new(move || asked.note())));
        Ok(Some(ingester))
    }

    fn frontend(&mut self, store: &Arc<Store>) -> Option<Arc<Frontend>> {
        if !self.target.has(Role::QueryFrontend) {
            return None;
        }
        let frontend = Frontend::new(
            FrontendOptions::of(&self.config),
            Arc::clone(store),
            Arc::clone(&self.membership),
            Arc::clone(&self.overrides),
            &mut self.registry,
        );
        self.tasks.spawn(Arc::clone(&frontend).follow_members(self.stop.clone()));
        let asked = Arc::clone(&frontend);
        self.checks.push(("Query Frontend", Box::new(move || asked.ready())));
        Some(frontend)
    }

    fn querier(
        &mut self,
        engine: &Arc<Engine>,
        ingester: Option<Arc<Ingester>>,
        frontend: Option<&Frontend>,
    ) {
        if !self.target.has(Role::Querier) {
            return;
        }
        let mut options = QuerierOptions::of(&self.config, super::cluster::host_name());
        options.to_ingesters.clone_from(&self.tls.ingesters);
        options.to_frontends.clone_from(&self.tls.frontends);
        let local = ingester.map(|ingester| (self.address, ingester));
        let members = Arc::clone(&self.membership);
        let querier = Querier::new(options, Arc::clone(engine), local, members, &mut self.registry);
        if let Some(frontend) = frontend {
            self.tasks.spawn(Arc::clone(&querier).serve_local(frontend, self.stop.clone()));
        }
        if self.config.querier.frontend_address().is_some() {
            self.tasks.spawn(querier.serve_remote(self.stop.clone()));
        }
    }

    /// Keeps the block list fresh. It is read before the start goes on, unless the store takes long to answer;
    /// the process is ready only once it was read.
    async fn poll(&mut self, store: &Arc<Store>) {
        let every = self.config.storage.trace.blocklist_poll().get().max(Duration::from_secs(1));
        if self.target.has(Role::Compactor) {
            let builders = storage::index_builders(&self.config.storage.trace);
            crate::blocklist::elect(store, Arc::clone(&self.membership), builders);
            let tell =
                crate::blocklist::tell(Arc::clone(store), Arc::clone(&self.membership), self.stop.clone());
            self.tasks.spawn(tell);
        }
        let others = Arc::clone(&self.membership);
        self.tasks.spawn(crate::blocklist::listen(Arc::clone(store), others, self.stop.clone()));
        self.tasks.spawn(drop_result(store.spawn_poller(every, self.stop.clone())));
        crate::blocklist::register(store, &mut self.registry);
        let asked = Arc::clone(store);
        let polled = move || match asked.poll_stats().polls.load(Ordering::Relaxed) {
            0 => Err(match asked.poll_stats().last_error() {
                Some(error) => format!("the block list was not read yet: {error}"),
                None => "the block list was not read yet".to_owned(),
            }),
            _ => Ok(()),
        };
        let first = async {
            while polled().is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(FIRST_POLL, first).await.is_err() {
            tracing::warn!("the store has not listed its blocks yet; queries are answered once it has");
        }
        self.checks.push(("Block list", Box::new(polled)));
    }

    /// Opens the receivers, last: who sends now is heard.
    pub(super) async fn receivers(
        &mut self,
        ingester: Option<Arc<Ingester>>,
    ) -> anyhow::Result<Option<Receivers>> {
        if !self.target.has(Role::Distributor) {
            return Ok(None);
        }
        let distributor = Distributor::new(
            &self.config.distributor,
            Arc::clone(&self.membership),
            ingester.map(|ingester| ingester as _),
            Arc::clone(&self.overrides),
            self.tls.ingesters.clone(),
            &mut self.registry,
        );
        let tenancy = if self.config.multitenant() { Tenancy::Header } else { Tenancy::Single };
        let configured = &self.config.distributor.receivers;
        let tls = self.tls.receivers.clone();
        Ok(Some(Receivers::start(configured, tls, tenancy, distributor, &mut self.registry).await?))
    }
}

/// Threads that compute: the processors that this process may use.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

async fn drop_result(task: tokio::task::JoinHandle<()>) {
    // A poller that panicked has said so itself.
    let _ = task.await;
}
