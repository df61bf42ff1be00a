//! The running operator: pages, leader election and the controller, until a signal or the loss of the lease. IO.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::EnvVar;
use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::Rotation,
    controller,
    metrics::Metrics,
    platform::{CertManager, Distribution, Gates, Images, Platform, TlsProfile, discovery},
    server::{self, Pages},
};

/// Seconds that a lease holds without renewal, and seconds before that at which it is renewed.
const LEASE: (u64, u64) = (30, 10);
/// How often who waits for the lease looks whether it is free.
const LOOK: Duration = Duration::from_secs(2);

/// What `run` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    platform: PlatformOptions,
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

/// What the operator is told about the platform. Names of variables are the peer's.
#[derive(Clone, Debug, clap::Args)]
pub struct PlatformOptions {
    /// Image of the workloads where a resource names none.
    #[arg(long, env = "RELATED_IMAGE_TEMPO")]
    workload_image: String,
    /// Image of the bridge to Jaeger.
    #[arg(long, env = "RELATED_IMAGE_TEMPO_QUERY", default_value = "docker.io/grafana/tempo-query:2.10.8")]
    tempo_query_image: String,
    /// Image of Jaeger's query.
    #[arg(
        long,
        env = "RELATED_IMAGE_JAEGER_QUERY",
        default_value = "docker.io/jaegertracing/jaeger-query:1.68.0"
    )]
    jaeger_query_image: String,
    /// Image of the gateway. Its makers publish builds of their main branch and no versions: this is the one that Grafana's
    /// operator 0.22 takes, and so are the other defaults here.
    #[arg(
        long,
        env = "RELATED_IMAGE_TEMPO_GATEWAY",
        default_value = "quay.io/observatorium/api:main-2026-08-13-db2b289"
    )]
    gateway_image: String,
    /// Image of the gateway's policy agent, on OpenShift. As above.
    #[arg(
        long,
        env = "RELATED_IMAGE_TEMPO_GATEWAY_OPA",
        default_value = "quay.io/observatorium/opa-openshift:main-2026-07-01-dbb77e0"
    )]
    opa_image: String,
    /// Image of OpenShift's proxy.
    #[arg(
        long,
        env = "RELATED_IMAGE_OAUTH_PROXY",
        default_value = "quay.io/openshift/origin-oauth-proxy:4.14"
    )]
    oauth_proxy_image: String,
    /// Image of this operator, which pods that are spread over zones wait with. Without it, they do not wait.
    #[arg(long, env = "OPERATOR_IMAGE", default_value = "")]
    operator_image: String,
    /// What is there or not, where the cluster is not to be asked: `prometheusOperator,-openshift.route`.
    #[arg(long, env = "FEATURE_GATES", default_value = "")]
    feature_gates: String,
    /// `community` or `openshift`.
    #[arg(long, env = "DISTRIBUTION", default_value = "community")]
    distribution: String,
    /// `Modern`, `Intermediate` or `Old`.
    #[arg(long, env = "TLS_PROFILE", default_value = "Modern")]
    tls_profile: String,
    /// What pods' security contexts are laid over, as JSON.
    #[arg(long, env = "DEFAULT_POD_SECURITY_CONTEXT")]
    default_pod_security_context: Option<String>,
    /// Domain of OpenShift's Routes.
    #[arg(long, env = "OPENSHIFT_BASE_DOMAIN")]
    openshift_base_domain: Option<String>,
    /// Domain of the cluster's Services.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Namespaces to serve, `team-a,team-b`; all without it. With it nothing is needed that Roles in these namespaces
    /// and the lease's do not grant.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    watch_namespace: String,
    /// Has cert-manager make the certificates: `own` for an authority of each stack's own, or who signs them,
    /// `Issuer/NAME` or `ClusterIssuer/NAME`.
    #[arg(long, env = "CERT_MANAGER_ISSUER", default_value = "")]
    cert_manager_issuer: String,
    /// Role for credentials from OpenShift's Cloud Credential Operator.
    #[arg(long, env = "ROLEARN")]
    role_arn: Option<String>,
}

/// Handed on to the workloads when the operator has them.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

impl PlatformOptions {
    /// The platform before anybody has looked at a cluster, and the gates that were named.
    pub(crate) fn platform(&self) -> anyhow::Result<(Platform, Gates)> {
        if self.workload_image.is_empty() {
            bail!("no image for the workloads: set --workload-image or RELATED_IMAGE_TEMPO");
        }
        let distribution = match self.distribution.as_str() {
            "community" => Distribution::Community,
            "openshift" => Distribution::OpenShift,
            other => bail!("DISTRIBUTION: `{other}`, expected community or openshift"),
        };
        let gates: Gates = self.feature_gates.parse()?;
        let mut platform = Platform::of(distribution, &gates, self.images());
        platform.tls = TlsProfile::named(&self.tls_profile).with_context(|| {
            format!("TLS_PROFILE: `{}`, expected Modern, Intermediate or Old", self.tls_profile)
        })?;
        if let Some(text) = self.default_pod_security_context.as_ref().filter(|text| !text.is_empty()) {
            platform.pod_security_context = serde_json::from_str(text)
                .context("DEFAULT_POD_SECURITY_CONTEXT: expected the JSON of a pod's security context")?;
        }
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        platform.base_domain = some(&self.openshift_base_domain);
        platform.role_arn = some(&self.role_arn);
        platform.scope = self.watch_namespace.parse()?;
        platform.cluster_domain.clone_from(&self.cluster_domain);
        if !self.cert_manager_issuer.is_empty() {
            let rotation = Rotation::of_environment(|name| std::env::var(name).ok())?;
            platform.cert_manager = Some(CertManager { signer: self.cert_manager_issuer.parse()?, rotation });
        }
        platform.proxy = PROXY_VARIABLES
            .into_iter()
            .filter_map(|name| Some((name, std::env::var(name).ok()?)))
            .map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(value), value_from: None })
            .collect();
        Ok((platform, gates))
    }

    fn images(&self) -> Images {
        Images {
            tempo: self.workload_image.clone(),
            tempo_query: self.tempo_query_image.clone(),
            jaeger_query: self.jaeger_query_image.clone(),
            gateway: self.gateway_image.clone(),
            opa: self.opa_image.clone(),
            oauth_proxy: self.oauth_proxy_image.clone(),
            operator: self.operator_image.clone(),
        }
    }
}

/// Runs until a signal comes or the lease is lost.
pub async fn run(options: Options) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let (platform, gates) = options.platform.platform()?;
    let rotation = Rotation::of_environment(|name| std::env::var(name).ok())?;
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
        image = platform.images.tempo,
        "vivace-operator starts"
    );
    let platform = discovery::discover(&client, platform, &gates)
        .await
        .context("cannot find out what the cluster has")?;
    let outcome = lead(&options, client, (platform, rotation), metrics, &stop).await;
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
    settings: (Platform, Rotation),
    metrics: Arc<Metrics>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let control = |client| {
        controller::run(client, settings, Arc::clone(&metrics), options.instance.clone(), stop.child_token())
    };
    if options.no_leader_election {
        metrics.leading(true);
        control(client).await;
        return Ok(());
    }
    let Some((lease, keeper)) = acquire(options, &client, stop).await? else { return Ok(()) };
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
    release((lease, keeper)).await
}

/// Whether the lease is held, and the task that keeps it.
type Held = (
    tokio::sync::watch::Receiver<bool>,
    tokio::task::JoinHandle<kube_lease_manager::Result<kube_lease_manager::LeaseManager>>,
);

/// Tries for the lease until it is held; nothing when told to stop. Who waits within the manager sleeps until the lease
/// would run out, and does not see that it was given back: so it is asked anew. An error is one at the first try; later
/// on the API server may be away for a while.
async fn acquire(
    options: &Options,
    client: &Client,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Held>> {
    let mut asked = false;
    while !stop.is_cancelled() {
        match attempt(options, client, stop).await {
            Ok(Some(held)) => return Ok(Some(held)),
            Ok(None) => {}
            Err(error) if asked => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    lease = options.lease_name,
                    "cannot try for the lease"
                );
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = stop.cancelled() => {}
                }
            }
            Err(error) => return Err(error),
        }
        asked = true;
    }
    Ok(None)
}

async fn attempt(
    options: &Options,
    client: &Client,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Held>> {
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
        held = lease.wait_for(|held| *held) => Some(held.map(|_| ())),
        () = tokio::time::sleep(LOOK) => None,
        () = stop.cancelled() => None,
    };
    let Some(held) = held else {
        release((lease, keeper)).await?;
        return Ok(None);
    };
    held.context("the lease is no longer tried for")?;
    Ok(Some((lease, keeper)))
}

/// Gives the lease back, so that the next instance need not wait for it to run out.
async fn release((lease, keeper): Held) -> anyhow::Result<()> {
    drop(lease);
    keeper.await.context("the lease's keeper ended badly")?.context("cannot give the lease back")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::PlatformOptions;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        platform: PlatformOptions,
    }

    #[test]
    fn no_default_image_changes_under_its_name() {
        let command = Command::parse_from(["operator", "--workload-image", "vivace:1"]);
        let (platform, _) = command.platform.platform().expect("a platform");
        let images = platform.images;
        let ours = [images.tempo_query, images.jaeger_query, images.gateway, images.opa, images.oauth_proxy];
        for image in ours {
            let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
            assert!(tag.chars().any(|c| c.is_ascii_digit()), "{image} has no version");
        }
    }
}
