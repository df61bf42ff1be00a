//! The gossip itself: chitchat (Scuttlebutt reconciliation, phi accrual failure detection) over our transport,
//! and the search for seeds. IO.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, spawn_chitchat,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
};
use tokio_stream::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::tls;

use super::{Member, MembershipError, Options, State, View, transport::Tcp};

/// Silence, in usual intervals between heartbeats, after which a member is taken for dead. Heartbeats come in with
/// every exchange, 0.1 to 0.25 s apart, so this is 2 to 6 s: a pod that has to wait for its processor for a moment
/// must not count as gone, since queries would then miss what it holds.
const PHI: f64 = 24.0;
/// A dead member is forgotten after so long.
const FORGET: Duration = Duration::from_mins(10);
/// How often seeds are resolved while nobody was found, and afterwards.
const SEEK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

pub(super) struct Gossip {
    handle: Arc<Mutex<Option<ChitchatHandle>>>,
    address: SocketAddr,
    interval: Duration,
    _stop: DropGuard,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Gossip {
    pub(super) async fn start(
        options: &Options,
        own: &Member,
        view: watch::Sender<Arc<View>>,
        tls: Option<tls::Gossip>,
    ) -> Result<Self, MembershipError> {
        let wrong = |message: String| MembershipError { address: options.bind, message };
        let listener = TcpListener::bind(options.bind).await.map_err(|error| wrong(error.to_string()))?;
        let bound = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
        let mut address = options.advertise;
        if address.port() == 0 {
            address.set_port(bound.port());
        }
        // Greater after every restart: the clock, in milliseconds.
        let generation = jiff::Timestamp::now().as_millisecond().unsigned_abs();
        let id = ChitchatId::new(options.id.clone(), generation, address);
        let config = ChitchatConfig {
            chitchat_id: id.clone(),
            cluster_id: options.cluster.clone(),
            gossip_interval: options.interval,
            listen_addr: bound,
            seed_nodes: Vec::new(),
            failure_detector_config: detector(options.interval),
            marked_for_deletion_grace_period: FORGET,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let handle = spawn_chitchat(config, own.pairs(), &Tcp::new(listener, address, tls))
            .await
            .map_err(|error| wrong(format!("{error:#}")))?;
        let live = handle.chitchat().lock().await.live_nodes_watch_stream();
        let stop = CancellationToken::new();
        let follow = follow(live, id, view.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow));
        let handle = Arc::new(Mutex::new(Some(handle)));
        let seek = seek(options.join.clone(), bound.port(), address, Arc::clone(&handle), view.subscribe());
        tokio::spawn(stop.clone().run_until_cancelled_owned(seek));
        Ok(Self { handle, address, interval: options.interval, _stop: stop.drop_guard() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells all what `own` says of this process when it is its turn.
    pub(super) async fn publish(&self, own: impl FnOnce() -> Member) {
        let handle = self.handle.lock().await;
        let Some(handle) = handle.as_ref() else { return };
        let pairs = own().pairs();
        handle
            .with_chitchat(|chitchat| {
                let state = chitchat.self_node_state();
                for (key, value) in &pairs {
                    if state.get(key) != Some(value.as_str()) {
                        state.set(key, value);
                    }
                }
            })
            .await;
    }

    /// Gives the last change two rounds to travel, then falls silent.
    pub(super) async fn leave(&self) {
        tokio::time::sleep(self.interval * 2).await;
        let handle = self.handle.lock().await.take();
        if let Some(handle) = handle
            && let Err(error) = handle.shutdown().await
        {
            tracing::debug!(error = format!("{error:#}"), "gossip did not end well");
        }
    }
}

fn detector(interval: Duration) -> FailureDetectorConfig {
    FailureDetectorConfig {
        phi_threshold: PHI,
        sampling_window_size: 100,
        max_interval: interval * 10,
        initial_interval: interval,
        dead_node_grace_period: FORGET,
    }
}

/// Turns what gossip says into views.
async fn follow(
    mut live: impl tokio_stream::Stream<Item = BTreeMap<ChitchatId, NodeState>> + Unpin,
    own: ChitchatId,
    view: watch::Sender<Arc<View>>,
) {
    while let Some(nodes) = live.next().await {
        // A member that came back has two entries until the older is taken for dead.
        let mut newest: HashMap<&str, (u64, Member)> = HashMap::new();
        for (id, state) in &nodes {
            let Some(member) = Member::from_pairs(&id.node_id, *id == own, state.key_values()) else {
                continue;
            };
            let known = newest.get(&*id.node_id).is_some_and(|(at, _)| *at > id.generation_id);
            if !known {
                newest.insert(&id.node_id, (id.generation_id, member));
            }
        }
        newest.retain(|_, (_, member)| member.local || member.state != State::Left);
        if newest.is_empty() {
            continue;
        }
        let next = Arc::new(View::new(newest.into_values().map(|(_, member)| member).collect()));
        view.send_if_modified(|current| {
            let changed = *current != next;
            if changed {
                log_change(current, &next);
                *current = Arc::clone(&next);
            }
            changed
        });
    }
}

fn log_change(before: &View, after: &View) {
    let has = |view: &View, id: &str| view.all().iter().any(|member| member.id == id);
    for member in after.all().iter().filter(|member| !has(before, &member.id)) {
        tracing::info!(member = member.id, grpc = %member.grpc, state = %member.state, "member found");
    }
    for member in before.all().iter().filter(|member| !has(after, &member.id)) {
        tracing::info!(member = member.id, state = %member.state, "member gone");
    }
}

/// Resolves the seeds again and again, since pods come and go, and talks to every address found.
async fn seek(
    seeds: Vec<String>,
    port: u16,
    own: SocketAddr,
    handle: Arc<Mutex<Option<ChitchatHandle>>>,
    view: watch::Receiver<Arc<View>>,
) {
    loop {
        let alone = view.borrow().all().len() < 2;
        for seed in &seeds {
            let seed = seed.strip_prefix("dns+").unwrap_or(seed);
            let found = tokio::net::lookup_host(with_port(seed, port)).await;
            let Ok(addresses) = found.inspect_err(|error| tracing::debug!(%error, seed, "seed not resolved"))
            else {
                continue;
            };
            for address in addresses.filter(|address| *address != own) {
                if let Some(handle) = handle.lock().await.as_ref() {
                    let _ = handle.gossip(address);
                }
            }
        }
        tokio::time::sleep(if alone { SEEK.0 } else { SEEK.1 }).await;
    }
}

/// `host[:port]` as `host:port`.
fn with_port(seed: &str, port: u16) -> String {
    let v6 = seed.parse::<std::net::Ipv6Addr>().is_ok();
    if v6 {
        format!("[{seed}]:{port}")
    } else if seed.rsplit_once(':').is_some_and(|(_, tail)| tail.parse::<u16>().is_ok()) {
        seed.to_owned()
    } else {
        format!("{seed}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn a_seed_without_a_port_gets_ours() {
        assert_eq!(with_port("gossip-ring", 7946), "gossip-ring:7946");
        assert_eq!(with_port("gossip-ring:1", 7946), "gossip-ring:1");
        assert_eq!(with_port("10.0.0.1", 7946), "10.0.0.1:7946");
        assert_eq!(with_port("fd00::1", 7946), "[fd00::1]:7946");
        assert_eq!(with_port("[fd00::1]:5", 7946), "[fd00::1]:5");
    }
}
