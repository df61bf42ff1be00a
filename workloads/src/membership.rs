//! Who else is in the cluster: each member publishes its roles, address, state and zone by gossip, and sees
//! those of all others. IO: gossip runs over TCP on `memberlist.bind_port`.
//!
//! Without seeds a process is a cluster of one and opens no port.

mod address;
mod gossip;
mod member;
mod transport;

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::watch;

pub use address::advertised_ip;
pub use member::{Member, Role, State, View};

use crate::tls;
use gossip::Gossip;

/// How a process presents itself, and where it looks for others.
#[derive(Clone, Debug)]
pub struct Options {
    /// Unique in the cluster, and the same after a restart: the host's name.
    pub id: String,
    /// What this process does.
    pub roles: Vec<Role>,
    /// Where it serves gRPC, as others reach it.
    pub grpc: SocketAddr,
    /// Its failure domain; empty when there is none.
    pub zone: String,
    /// Seeds, `host[:port]`; a name stands for all its addresses.
    pub join: Vec<String>,
    /// Where gossip listens. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where others reach gossip; port 0 is the port that is listened on.
    pub advertise: SocketAddr,
    /// Only members of the same cluster hear each other.
    pub cluster: String,
    /// How often gossip goes round.
    pub interval: std::time::Duration,
}

/// Why a process cannot take part.
#[derive(Debug, thiserror::Error)]
#[error("gossip on {address}: {message}")]
pub struct MembershipError {
    /// Where gossip was to listen.
    pub address: SocketAddr,
    /// What the system says.
    pub message: String,
}

/// The cluster, as this process sees it.
#[derive(Debug)]
pub struct Membership {
    own: std::sync::Mutex<Member>,
    view: watch::Receiver<Arc<View>>,
    set: watch::Sender<Arc<View>>,
    gossip: Option<Gossip>,
}

impl Membership {
    /// Joins, as [`State::Joining`], in plain text.
    ///
    /// # Errors
    /// When the port for gossip cannot be opened. Seeds that do not answer are no error: they are tried again.
    pub async fn start(options: Options) -> Result<Arc<Self>, MembershipError> {
        Self::encrypted(options, None).await
    }

    /// Joins, as [`Membership::start`] does; gossip goes over TLS where `tls` says how.
    ///
    /// # Errors
    /// As [`Membership::start`].
    pub async fn encrypted(options: Options, tls: Option<tls::Gossip>) -> Result<Arc<Self>, MembershipError> {
        let own = Member {
            id: options.id.clone(),
            roles: options.roles.clone(),
            grpc: options.grpc,
            state: State::Joining,
            zone: options.zone.clone(),
            keys: Vec::new(),
            local: true,
        };
        let (set, view) = watch::channel(Arc::new(View::new(vec![own.clone()])));
        let gossip = if options.join.is_empty() {
            None
        } else {
            Some(Gossip::start(&options, &own, set.clone(), tls).await?)
        };
        Ok(Arc::new(Self { own: std::sync::Mutex::new(own), view, set, gossip }))
    }

    /// The live members that have a role, this process among them, ordered by id.
    pub fn members(&self, role: Role) -> Arc<[Member]> {
        self.view.borrow().members(role)
    }

    /// Follows changes.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// This process's name in the cluster.
    pub fn id(&self) -> String {
        self.own().id.clone()
    }

    /// Where gossip is reached, if it runs.
    pub fn gossip_address(&self) -> Option<SocketAddr> {
        self.gossip.as_ref().map(Gossip::address)
    }

    /// Tells all that this process is now in `state`.
    pub async fn set_state(&self, state: State) {
        self.change(|own| own.state = state).await;
    }

    /// Publishes a value that other members see in [`Member::keys`].
    pub async fn publish(&self, key: &str, value: &str) {
        self.change(|own| own.set_key(key, value)).await;
    }

    /// What is told is always the newest, also where two changes come at once: whoever tells of an older one last
    /// would leave this process joining for ever.
    async fn change(&self, change: impl FnOnce(&mut Member)) {
        {
            let mut own = self.own();
            change(&mut own);
            if self.gossip.is_none() {
                self.set.send_replace(Arc::new(View::new(vec![own.clone()])));
            }
        }
        if let Some(gossip) = &self.gossip {
            gossip.publish(|| self.own().clone()).await;
        }
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Member> {
        self.own.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Says goodbye: others take this process off their list, rather than waiting for its silence to tell.
    pub async fn leave(&self) {
        self.set_state(State::Left).await;
        if let Some(gossip) = &self.gossip {
            gossip.leave().await;
        }
    }
}

#[cfg(test)]
mod tests;
