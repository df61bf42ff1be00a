//! Connections to ingesters of other processes, kept open. IO.

use std::{
    collections::HashMap,
    error::Error as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{BufMut as _, BytesMut};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{Batch, NotTaken};
use crate::{
    proto::vivace::v1::{PushRequest, TraceSlice, ingester_client::IngesterClient},
    tls::{Connector, reasons},
};

const CONNECT: Duration = Duration::from_secs(2);
/// A commit takes milliseconds; an ingester that takes longer than this is as good as gone.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest message between roles, bytes: a whole request of the largest size, cut by trace.
pub(super) const MESSAGE_BYTES: usize = 256 << 20;
/// Connections kept at most; more than that are members that are gone.
const KEPT: usize = 1024;

#[derive(Debug)]
pub(super) struct Channels {
    tls: Option<Arc<Connector>>,
    open: Mutex<HashMap<SocketAddr, IngesterClient<Channel>>>,
}

impl Channels {
    /// Over TLS, where it is spoken.
    pub(super) fn new(tls: Option<Arc<Connector>>) -> Self {
        Self { tls, open: Mutex::default() }
    }

    pub(super) async fn push(&self, to: SocketAddr, batch: Batch) -> Result<(), NotTaken> {
        let mut client = self.client(to).map_err(|error| NotTaken::Unable(error.to_string()))?;
        let pushed = client.push(request(&batch));
        match tokio::time::timeout(ANSWER, pushed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(not_taken(&status)),
            Err(_) => {
                Err(NotTaken::Unable(format!("ingester {to} did not answer in {} s", ANSWER.as_secs())))
            }
        }
    }

    fn client(&self, to: SocketAddr) -> Result<IngesterClient<Channel>, tonic::transport::Error> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = open.get(&to) {
            return Ok(client.clone());
        }
        if open.len() >= KEPT {
            open.clear();
        }
        let endpoint = Endpoint::from_shared(format!("http://{to}"))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        let channel = Connector::lazy(self.tls.as_ref(), &endpoint);
        let client = IngesterClient::new(channel).max_encoding_message_size(MESSAGE_BYTES);
        open.insert(to, client.clone());
        Ok(client)
    }
}

/// The ids stand in one buffer, the slices in the one that they came in.
fn request(batch: &Batch) -> PushRequest {
    let mut ids = BytesMut::with_capacity(16 * batch.slices.len());
    let slices = batch
        .slices
        .iter()
        .map(|slice| {
            ids.put_slice(&slice.id.0);
            TraceSlice { id: ids.split().freeze(), spans: slice.spans, otlp: slice.otlp.clone() }
        })
        .collect();
    PushRequest { tenant: batch.tenant.to_string(), slices }
}

fn not_taken(status: &Status) -> NotTaken {
    let message = match status.source() {
        Some(source) => format!("{}: {}", status.message(), reasons(source)),
        None => status.message().to_owned(),
    };
    match status.code() {
        Code::InvalidArgument => NotTaken::Wrong(message),
        code => NotTaken::Unable(format!("ingester answers {code:?}: {message}")),
    }
}
