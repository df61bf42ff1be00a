//! The process: from a configuration to running services, and back. IO.
//!
//! Start: ports are bound first, so that a port that is taken is said at once and `/ready` answers while the
//! write-ahead log is replayed. Stop: in the order in which nothing acknowledged is lost and no client sees
//! more than a retry.

mod admin;
mod cluster;
mod encryption;
mod graph;
mod health;
mod metrics;
mod storage;
mod target;
mod wal;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::{Router, extract::Request, middleware, response::Response};
use futures::future::BoxFuture;
use http::{HeaderMap, header};
use prometheus_client::registry::Registry;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use vivace_config::{CommandLine, Config, Loaded};

use graph::{Graph, Services};
pub use health::{Health, Phase};
pub use metrics::resident_bytes;
pub(crate) use storage::open as open_store;
pub use target::{Target, TargetError};

use crate::{
    ingester::Ingester,
    membership::{Membership, State},
    overrides::Overrides,
    receiver::Receivers,
    server::{Bound, Server},
    tls::Acceptor,
};

/// The version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of Tempo whose API this is.
pub const TEMPO_VERSION: &str = "2.10.0";

const OVERRIDES_PERIOD: vivace_config::Duration = vivace_config::Duration::from_secs(10);

/// A running process.
#[derive(Debug)]
pub struct App {
    health: Arc<Health>,
    config: Arc<Config>,
    membership: Arc<Membership>,
    ingester: Option<Arc<Ingester>>,
    receivers: Option<Receivers>,
    http: Server,
    grpc: Server,
    internal: Option<Server>,
    signals: Signals,
    tasks: TaskTracker,
}

/// How the end of the process is told, in this order.
#[derive(Clone, Debug, Default)]
struct Signals {
    /// A request asked for it.
    end: CancellationToken,
    /// No new request is taken.
    leaving: CancellationToken,
    /// Nothing is under way any more.
    stop: CancellationToken,
}

/// True for a request to a gRPC service.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// The configuration that a command line asks for: its file, and its flags over it.
///
/// # Errors
/// Where the file cannot be read, or says what cannot be understood.
pub fn configuration(line: &CommandLine) -> anyhow::Result<Loaded<Config>> {
    let Some(path) = &line.config_file else {
        return Ok(vivace_config::load("", &line.settings)?);
    };
    let mut text = std::fs::read_to_string(path).with_context(|| format!("-config.file {path}"))?;
    if line.expand_env {
        text = vivace_config::expand(&text, |name| std::env::var(name).ok());
    }
    vivace_config::load(&text, &line.settings).with_context(|| format!("-config.file {path}"))
}

/// Says what makes a configuration unusable, without starting anything.
///
/// # Errors
/// The key and what was expected.
pub fn check(config: &Config) -> anyhow::Result<Target> {
    let target = Target::parse(config.target())?;
    crate::compactor::CompactorOptions::of(config)?;
    encryption::Wanted::of(config, &target)?;
    Ok(target)
}

/// The routes in force; they are exchanged once, when all services are there.
#[derive(Clone)]
struct Routes(Arc<ArcSwap<Router>>);

impl Routes {
    fn new(first: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(first)))
    }

    fn exchange(&self, next: Router) {
        self.0.store(Arc::new(next));
    }

    fn router(&self) -> Router {
        Router::new().fallback(Self::answer).with_state(self.clone())
    }

    async fn answer(state: axum::extract::State<Self>, request: Request) -> Response {
        let router = Router::clone(&state.0.0.load());
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl App {
    /// Starts the roles of `config.target`. Returns when they take requests.
    ///
    /// # Errors
    /// What the user can mend: a port, a path, a key.
    pub fn start(config: Config) -> BoxFuture<'static, anyhow::Result<Self>> {
        Box::pin(Self::run(config))
    }

    async fn run(config: Config) -> anyhow::Result<Self> {
        let target = check(&config)?;
        let config = Arc::new(config);
        let health = Arc::new(Health::default());
        let mut registry = Registry::default();
        metrics::register_process(&mut registry);
        let requests = metrics::Requests::register(&mut registry);
        let (signals, tasks) = (Signals::default(), TaskTracker::new());
        let wanted = encryption::Wanted::of(&config, &target)?;
        let tls = wanted.open(&mut registry, &tasks, &signals.stop)?;
        let http_routes = Routes::new(admin::early(Arc::clone(&health)));
        let http = Bound::open("http server", &config.server.http_listen()).await?.secured(tls.http.clone());
        let http = http.serve(http_routes.router());
        let grpc = Bound::open("grpc server", &config.server.grpc_listen()).await?.secured(tls.grpc.clone());
        let internal = internal(&config, tls.internal.clone(), &http_routes).await?;

        let overrides = Overrides::open(&config.overrides, &mut registry)?;
        let period = config.overrides.per_tenant_override_period.unwrap_or(OVERRIDES_PERIOD);
        tasks.spawn(Arc::clone(&overrides).watch(period.get(), signals.stop.clone()));
        let options = cluster::options(&config, &target, grpc.address())?;
        let address = options.grpc;
        let membership = Membership::encrypted(options, tls.gossip.clone()).await.context("memberlist")?;
        let mut graph = Graph {
            config: Arc::clone(&config),
            target,
            health: Arc::clone(&health),
            registry,
            membership: Arc::clone(&membership),
            overrides: Arc::clone(&overrides),
            address,
            tls,
            stop: signals.stop.clone(),
            leaving: signals.leaving.clone(),
            tasks: tasks.clone(),
            checks: Vec::new(),
            notes: Vec::new(),
        };
        let Services { ingester, http: api, grpc: grpc_routes } = graph.services().await?;
        let measured = middleware::from_fn_with_state(requests, metrics::measure);
        let grpc_routes = grpc_routes.layer(measured.clone());
        let grpc = grpc.serve(grpc_routes.clone());
        membership.set_state(State::Active).await;
        let receivers = graph.receivers(ingester.clone()).await?;
        let Graph { registry, target, checks, notes, .. } = graph;

        let registry = Arc::new(registry);
        let admin = admin::Admin {
            health: Arc::clone(&health),
            config: Arc::clone(&config),
            registry,
            overrides,
            ingester: ingester.clone(),
            end: signals.end.clone(),
        };
        let routes = admin::router(admin, &prefix(&config)).merge(api).layer(measured);
        http_routes.exchange(both(routes, grpc_routes));
        for role in target.roles() {
            health.set(role.name(), Phase::Running);
        }
        health.set_checks(checks, notes);
        Ok(Self { health, config, membership, ingester, receivers, http, grpc, internal, signals, tasks })
    }

    /// Where the HTTP API is.
    pub fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where the roles reach each other.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// Where `/ready` is answered to those who have no certificate.
    pub fn internal(&self) -> Option<SocketAddr> {
        self.internal.as_ref().map(Server::address)
    }

    /// Where spans come in, by receiver.
    pub fn receivers(&self) -> Vec<(&'static str, SocketAddr)> {
        self.receivers.as_ref().map(Receivers::addresses).unwrap_or_default()
    }

    /// Who else is there.
    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// Whether it takes requests.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Ends when a request asked for the end of the process.
    pub async fn ended(&self) {
        self.signals.end.cancelled().await;
    }

    /// Stops everything, in order: not ready; no new writes; the ingester uploads what it holds; gone from the
    /// cluster; no more reads. Answers whether everything is uploaded: whoever drops its volume next must know.
    pub async fn stop(self) -> bool {
        let mut is_drained = true;
        self.health.stop();
        if let Some(delay) = self.config.shutdown_delay {
            tokio::time::sleep(delay.get()).await;
        }
        self.membership.set_state(State::Leaving).await;
        if let Some(receivers) = &self.receivers {
            receivers.stop().await;
        }
        if let Some(ingester) = &self.ingester
            && let Err(status) = ingester.shutdown(deadline(&self.config)).await
        {
            is_drained = false;
            tracing::warn!(?status, "not everything was uploaded in time; the next start goes on with it");
        }
        self.membership.leave().await;
        let internal = async {
            if let Some(internal) = &self.internal {
                internal.stop().await;
            }
        };
        self.signals.leaving.cancel();
        tokio::join!(self.http.stop(), self.grpc.stop(), internal);
        self.signals.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.is_err() {
            tracing::warn!(open = self.tasks.len(), "tasks did not end in time");
        }
        is_drained
    }
}

/// The listener for probes: what the HTTP API answers at `/ready`, and nothing else.
async fn internal(
    config: &Config,
    tls: Option<Arc<Acceptor>>,
    routes: &Routes,
) -> anyhow::Result<Option<Server>> {
    let Some(address) = config.internal_server.listen() else { return Ok(None) };
    let bound = Bound::open("internal server", &address).await?.secured(tls);
    let probes = Router::new().route("/ready", axum::routing::get(Routes::answer)).with_state(routes.clone());
    Ok(Some(bound.serve(probes)))
}

async fn unknown_method(request: Request) -> Response {
    let message = format!("unknown method {}", request.uri().path());
    tonic::Status::unimplemented(message).into_http()
}

/// When the upload of what is held must have ended.
fn deadline(config: &Config) -> Instant {
    // The rest of the stop takes some of the time that Kubernetes gives.
    let graceful = config.server.graceful().get();
    Instant::now() + graceful.saturating_sub(Duration::from_secs(4)).max(Duration::from_secs(1))
}

/// `http_api_prefix`, with a slash before and none behind.
fn prefix(config: &Config) -> String {
    match config.http_api_prefix.as_deref().unwrap_or_default().trim_matches('/') {
        "" => String::new(),
        prefix => format!("/{prefix}"),
    }
}

/// HTTP and gRPC on one port, told apart by content type.
fn both(http: Router, grpc: Router) -> Router {
    let answer = async move |request: Request| -> Response {
        let router = if is_grpc(request.headers()) { grpc.clone() } else { http.clone() };
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    Router::new().fallback(answer)
}
