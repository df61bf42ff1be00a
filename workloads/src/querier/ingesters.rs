//! Questions to ingesters: a call where the ingester is of this process, gRPC to all others. IO.

use std::{
    collections::HashMap,
    error::Error as _,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tracing_core::model::{Tenant, TraceId};

use crate::{
    frontend::{Failure, Found, MAX_MESSAGE, Recent, Search},
    ingester::{CLAIMED, Ingester, entries},
    membership::{Membership, Role},
    proto::vivace::v1::live_client::LiveClient,
    rpc,
    tls::{Connector, reasons},
};

/// Connections that are kept; when there are more, all are opened anew as they are needed.
const MAX_CHANNELS: usize = 256;

/// How long an ingester may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// All ingesters, by the address of their gRPC server.
#[derive(Debug)]
pub(super) struct Ingesters {
    local: Option<(SocketAddr, Arc<Ingester>)>,
    channels: Mutex<HashMap<SocketAddr, LiveClient<Channel>>>,
    membership: Arc<Membership>,
    tls: Option<Arc<Connector>>,
}

impl Ingesters {
    pub(super) fn new(
        local: Option<(SocketAddr, Arc<Ingester>)>,
        membership: Arc<Membership>,
        tls: Option<Arc<Connector>>,
    ) -> Self {
        Self { local, channels: Mutex::default(), membership, tls }
    }

    /// The logs that ingesters took over: whoever held them before does not answer for them, and may not know.
    fn taken_over(&self) -> Vec<String> {
        let members = self.membership.members(Role::Ingester);
        entries(&members, CLAIMED).map(str::to_owned).collect()
    }

    pub(super) async fn search(
        &self,
        tenant: &Tenant,
        search: &Search,
        address: SocketAddr,
    ) -> Result<Found, Failure> {
        let taken_over = self.taken_over();
        if let Some(ingester) = self.local(address) {
            ingester.heed(taken_over.iter().map(String::as_str));
            let found = ingester.search(tenant, &search.plan, search.limits).await;
            let found = found.map_err(Failure::retry)?;
            let recent = Recent { blocks: found.recent_blocks, process: Some(ingester.process()) };
            return Ok(Found::Search { part: found.part, recent });
        }
        let answer = self.client(address)?.search(rpc::live_search(tenant, search, taken_over)).await;
        rpc::live_found(answer.map_err(|status| failure(&status))?.into_inner()).map_err(Failure::retry)
    }

    pub(super) async fn find_trace(
        &self,
        tenant: &Tenant,
        id: TraceId,
        address: SocketAddr,
    ) -> Result<Found, Failure> {
        let taken_over = self.taken_over();
        if let Some(ingester) = self.local(address) {
            ingester.heed(taken_over.iter().map(String::as_str));
            let found = ingester.find_trace(tenant, id).await.map_err(Failure::retry)?;
            let recent = Recent { blocks: found.recent_blocks, process: Some(ingester.process()) };
            return Ok(Found::Trace { parts: found.parts, recent });
        }
        let answer = self.client(address)?.find_trace(rpc::live_lookup(tenant, id, taken_over)).await;
        rpc::live_trace(answer.map_err(|status| failure(&status))?.into_inner()).map_err(Failure::retry)
    }

    fn local(&self, address: SocketAddr) -> Option<&Arc<Ingester>> {
        self.local.as_ref().filter(|(own, _)| *own == address).map(|(_, ingester)| ingester)
    }

    fn client(&self, address: SocketAddr) -> Result<LiveClient<Channel>, Failure> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = channels.get(&address) {
            return Ok(client.clone());
        }
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(Failure::refused)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        let client = LiveClient::new(Connector::lazy(self.tls.as_ref(), &endpoint))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        channels.insert(address, client.clone());
        Ok(client)
    }
}

fn failure(status: &Status) -> Failure {
    let message = format!("{}: {}", status.code(), status.message());
    let message = match status.source() {
        Some(source) => format!("{message}: {}", reasons(source)),
        None => message,
    };
    match status.code() {
        Code::InvalidArgument | Code::Unimplemented => Failure::refused(message),
        _ => Failure::retry(message),
    }
}
