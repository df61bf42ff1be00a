//! TLS of each listener and each client of the process, as its configuration and its roles ask for. IO: reads files.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vivace_config::{Config, OtlpGrpc, OtlpHttp};

use super::Target;
use crate::{
    membership::Role,
    tls::{Acceptor, ClientSettings, Connector, Gossip, Metrics, ServerSettings, SettingError},
};

/// What is asked for, checked; no file has been looked at.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    http: Option<ServerSettings>,
    grpc: Option<ServerSettings>,
    internal: Option<ServerSettings>,
    otlp_grpc: Option<ServerSettings>,
    otlp_http: Option<ServerSettings>,
    ingesters: Option<ClientSettings>,
    frontends: Option<ClientSettings>,
    gossip: Option<(ServerSettings, ClientSettings)>,
}

/// What is encrypted, and how; `None` is plain text.
#[derive(Clone, Debug, Default)]
pub(super) struct Encryption {
    pub(super) http: Option<Arc<Acceptor>>,
    pub(super) grpc: Option<Arc<Acceptor>>,
    pub(super) internal: Option<Arc<Acceptor>>,
    pub(super) receivers: Receivers,
    /// To ingesters of other processes.
    pub(super) ingesters: Option<Arc<Connector>>,
    /// To frontends of other processes.
    pub(super) frontends: Option<Arc<Connector>>,
    pub(super) gossip: Option<Gossip>,
}

pub(super) use crate::receiver::Encryption as Receivers;

impl Wanted {
    /// What the roles of `target` need.
    pub(super) fn of(config: &Config, target: &Target) -> Result<Self, SettingError> {
        let server = &config.server;
        let mut wanted = Self {
            http: ServerSettings::of_listener("server.http_tls_config", server, &server.http_tls_config)?,
            grpc: ServerSettings::of_listener("server.grpc_tls_config", server, &server.grpc_tls_config)?,
            ..Self::default()
        };
        if config.internal_server.listen().is_some() {
            wanted.internal = ServerSettings::of_internal(&config.internal_server)?;
        }
        if target.has(Role::Distributor)
            && let Some(otlp) = config.distributor.receivers.otlp.as_ref()
        {
            let of = |protocol: &str| format!("distributor.receivers.otlp.protocols.{protocol}.tls");
            if let Some(OtlpGrpc { tls, .. }) = otlp.protocols.grpc.as_ref() {
                wanted.otlp_grpc = ServerSettings::of_receiver(&of("grpc"), tls)?;
            }
            if let Some(OtlpHttp { tls, .. }) = otlp.protocols.http.as_ref() {
                wanted.otlp_http = ServerSettings::of_receiver(&of("http"), tls)?;
            }
        }
        if target.has(Role::Distributor) || target.has(Role::Querier) {
            let (key, client) = config.to_ingesters();
            wanted.ingesters = ClientSettings::of(key, client)?;
        }
        if target.has(Role::Querier) && config.querier.frontend_address().is_some() {
            let key = "querier.frontend_worker.grpc_client_config";
            wanted.frontends = ClientSettings::of(key, &config.querier.frontend_worker.grpc_client_config)?;
        }
        if !config.memberlist.join_members.0.is_empty()
            && let Some(client) = ClientSettings::of("memberlist", &config.memberlist)?
        {
            wanted.gossip = Some((ServerSettings::of_gossip(&client)?, client));
        }
        Ok(wanted)
    }

    /// Reads the files, and follows them until `stop`.
    pub(super) fn open(
        self,
        registry: &mut Registry,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Encryption> {
        let metrics = Metrics::register(registry);
        let accept = |settings: Option<ServerSettings>| -> anyhow::Result<Option<Arc<Acceptor>>> {
            let Some(settings) = settings else { return Ok(None) };
            let acceptor = Acceptor::open(settings, &metrics)?;
            tasks.spawn(Arc::clone(&acceptor).follow(stop.clone()));
            Ok(Some(acceptor))
        };
        let connect = |settings: Option<ClientSettings>| -> anyhow::Result<Option<Arc<Connector>>> {
            let Some(settings) = settings else { return Ok(None) };
            let connector = Connector::open(settings, &metrics)?;
            tasks.spawn(Arc::clone(&connector).follow(stop.clone()));
            Ok(Some(connector))
        };
        let (server, client) = self.gossip.unzip();
        let gossip = accept(server)?.zip(connect(client)?);
        Ok(Encryption {
            http: accept(self.http)?,
            grpc: accept(self.grpc)?,
            internal: accept(self.internal)?,
            receivers: Receivers { grpc: accept(self.otlp_grpc)?, http: accept(self.otlp_http)? },
            ingesters: connect(self.ingesters)?,
            frontends: connect(self.frontends)?,
            gossip: gossip.map(|(accept, connect)| Gossip { accept, connect }),
        })
    }
}
