//! The running operator: pages, leader election and the controller, until a signal or the loss of the lease. IO.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, bail};
use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    controller,
    metrics::Metrics,
    server::{self, Pages},
    validate::Settings,
};

/// Seconds that a lease holds without renewal, and seconds before that at which it is renewed.
const LEASE: (u64, u64) = (30, 10);

/// What `run` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Image of the workloads where a stack names none.
    #[arg(long, env = "RELATED_IMAGE_TEMPO")]
    workload_image: String,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "METRICS_BIND_ADDRESS", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Reconcile without a lease; for a single instance only.
    #[arg(long)]
    no_leader_election: bool,
    /// Name of the lease. Another than that of Grafana's operator, which must not run beside this one.
    #[arg(long, default_value = "vivace-operator")]
    lease_name: String,
    /// Namespace of the lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Name of this instance.
    #[arg(long, env = "POD_NAME", default_value = "vivace-operator")]
    instance: String,
}

/// Runs until a signal comes or the lease is lost.
pub async fn run(options: Options) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    if options.workload_image.is_empty() {
        bail!("no image for the workloads: set --workload-image or RELATED_IMAGE_TEMPO");
    }
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let metrics = Arc::new(Metrics::new());
    let ready = Arc::new(AtomicBool::new(false));
    let listener = server::listen(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let pages = Pages { metrics: Arc::clone(&metrics), ready: Arc::clone(&ready) };
    let pages = tokio::spawn(server::serve(listener, pages, stop.clone()));
    let client = Client::try_default().await.context("cannot find the API server")?;
    let version = client.apiserver_version().await.context("cannot reach the API server")?;
    ready.store(true, Ordering::Relaxed);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        kubernetes = version.git_version,
        image = options.workload_image,
        "vivace-operator starts"
    );
    let outcome = lead(&options, client, metrics, &stop).await;
    stop.cancel();
    pages.await.context("the pages ended badly")?.context("cannot serve the pages")?;
    outcome
}

async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("terminating"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
        () = stop.cancelled() => {}
    }
    stop.cancel();
}

/// Waits for the lease, then runs the controller while it is held. A lost lease ends the process: nobody may write
/// on the strength of what it believed before.
async fn lead(
    options: &Options,
    client: Client,
    metrics: Arc<Metrics>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let settings = Settings { workload_image: options.workload_image.clone() };
    let control = |client| {
        controller::run(client, settings, Arc::clone(&metrics), options.instance.clone(), stop.child_token())
    };
    if options.no_leader_election {
        metrics.leading(true);
        control(client).await;
        return Ok(());
    }
    let (duration, grace) = LEASE;
    let manager = LeaseManagerBuilder::new(client.clone(), &options.lease_name)
        .with_namespace(&options.lease_namespace)
        .with_identity(&options.instance)
        .with_field_manager("vivace-operator")
        .with_duration(duration)
        .with_grace(grace)
        .build()
        .await
        .context("cannot set up the lease")?;
    let (mut lease, keeper) = manager.watch().await;
    let held = tokio::select! {
        held = lease.wait_for(|held| *held) => held.map(|_| ()),
        () = stop.cancelled() => Ok(()),
    };
    held.context("the lease is no longer tried for")?;
    if stop.is_cancelled() {
        return release(lease, keeper).await;
    }
    tracing::info!(lease = options.lease_name, "leading");
    metrics.leading(true);
    let mut watched = lease.clone();
    let lost = async {
        let _ = watched.wait_for(|held| !*held).await;
    };
    tokio::select! {
        () = control(client) => {}
        () = lost => bail!("the lease {} was lost", options.lease_name),
    }
    metrics.leading(false);
    drop(watched);
    release(lease, keeper).await
}

/// Gives the lease back, so that the next instance need not wait for it to run out.
async fn release(
    lease: tokio::sync::watch::Receiver<bool>,
    keeper: tokio::task::JoinHandle<kube_lease_manager::Result<kube_lease_manager::LeaseManager>>,
) -> anyhow::Result<()> {
    drop(lease);
    keeper.await.context("the lease's keeper ended badly")?.context("cannot give the lease back")?;
    Ok(())
}
