//! Members and what they publish. Pure.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

/// What a process does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Takes spans in and sends them to ingesters.
    Distributor,
    /// Holds spans until they are in a block.
    Ingester,
    /// Reads blocks and asks ingesters.
    Querier,
    /// Plans queries and answers clients.
    QueryFrontend,
    /// Merges blocks and lets old ones expire.
    Compactor,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Distributor, Self::Ingester, Self::Querier, Self::QueryFrontend, Self::Compactor];

    /// Its name, as in `-target`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distributor => "distributor",
            Self::Ingester => "ingester",
            Self::Querier => "querier",
            Self::QueryFrontend => "query-frontend",
            Self::Compactor => "compactor",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// How far a member is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not ready for requests yet.
    Joining,
    /// Takes all requests.
    Active,
    /// Takes no writes any more; what it holds can still be asked for.
    Leaving,
    /// Holds nothing any more and is about to end: others no longer count it as a member.
    Left,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Leaving => "leaving",
            Self::Left => "left",
        })
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "joining" => Ok(Self::Joining),
            "active" => Ok(Self::Active),
            "leaving" => Ok(Self::Leaving),
            "left" => Ok(Self::Left),
            _ => Err(()),
        }
    }
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Unique, and the same after a restart.
    pub id: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// How far it is in its life.
    pub state: State,
    /// Its failure domain; empty when there is none.
    pub zone: String,
    /// What else it publishes, ordered by key.
    pub keys: Vec<(String, String)>,
    /// True for this very process.
    pub local: bool,
}

/// Prefix of the keys of [`Member::keys`] in gossip.
const EXTRA: &str = "x-";

impl Member {
    /// A published value.
    pub fn key(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn set_key(&mut self, key: &str, value: &str) {
        match self.keys.binary_search_by(|(name, _)| name.as_str().cmp(key)) {
            Ok(at) => {
                if let Some(entry) = self.keys.get_mut(at) {
                    value.clone_into(&mut entry.1);
                }
            }
            Err(at) => self.keys.insert(at, (key.to_owned(), value.to_owned())),
        }
    }

    /// As pairs for gossip.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let roles: Vec<_> = self.roles.iter().map(|role| role.name()).collect();
        let mut pairs = vec![
            ("roles".to_owned(), roles.join(",")),
            ("grpc".to_owned(), self.grpc.to_string()),
            ("state".to_owned(), self.state.to_string()),
            ("zone".to_owned(), self.zone.clone()),
        ];
        pairs.extend(self.keys.iter().map(|(key, value)| (format!("{EXTRA}{key}"), value.clone())));
        pairs
    }

    /// From what gossip brought; `None` while its pairs are not complete.
    pub(super) fn from_pairs<'a>(
        id: &str,
        local: bool,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Option<Self> {
        let (mut roles, mut grpc, mut state) = (None, None, None);
        let (mut zone, mut keys) = (String::new(), Vec::new());
        for (key, value) in pairs {
            match key {
                "roles" => roles = Some(value.split(',').filter_map(Role::from_name).collect()),
                "grpc" => grpc = value.parse().ok(),
                "state" => state = value.parse().ok(),
                "zone" => value.clone_into(&mut zone),
                key => {
                    if let Some(key) = key.strip_prefix(EXTRA) {
                        keys.push((key.to_owned(), value.to_owned()));
                    }
                }
            }
        }
        keys.sort();
        Some(Self { id: id.to_owned(), roles: roles?, grpc: grpc?, state: state?, zone, keys, local })
    }
}

/// All live members at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct View {
    all: Vec<Member>,
    by_role: [Arc<[Member]>; Role::ALL.len()],
}

impl View {
    /// Of members in any order.
    pub(crate) fn new(mut all: Vec<Member>) -> Self {
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let with = |role: Role| all.iter().filter(|member| member.roles.contains(&role)).cloned().collect();
        let by_role = Role::ALL.map(with);
        Self { all, by_role }
    }

    /// All, ordered by id.
    pub fn all(&self) -> &[Member] {
        &self.all
    }

    /// Those with a role, ordered by id.
    pub fn members(&self, role: Role) -> Arc<[Member]> {
        self.by_role.get(role as usize).cloned().unwrap_or_default()
    }
}
