//! The side that calls: a connector for tonic's channels, and for gossip. IO.

use std::{error::Error, fmt::Write as _, io, sync::Arc, task, time::Duration};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{
    material::{self, LoadError},
    metrics::Metrics,
    seldom::Seldom,
    settings::{ClientSettings, Trust},
    watch::Reloading,
};

/// Opens secure connections, each with the certificates and authorities of the moment.
#[derive(Debug)]
pub struct Connector {
    config: Arc<Reloading<ClientConfig>>,
    server_name: Option<ServerName<'static>>,
    period: Duration,
    complaints: Seldom,
}

impl Connector {
    /// Reads the files.
    ///
    /// # Errors
    /// The key, the file, and what is wrong with it.
    pub fn open(settings: ClientSettings, metrics: &Metrics) -> Result<Arc<Self>, LoadError> {
        let (name, period, server_name) =
            (settings.name.clone(), settings.period, settings.server_name.clone());
        let mut places = Vec::new();
        if let Some((cert, key)) = &settings.identity {
            places.extend([cert.clone(), key.clone()]);
        }
        if let Trust::Authorities(ca) = &settings.trust {
            places.push(ca.clone());
        }
        let load = Box::new(move || material::client(&settings));
        let config = Arc::new(Reloading::open(&name, &places, metrics.clone(), load)?);
        Ok(Arc::new(Self { config, server_name, period, complaints: Seldom::default() }))
    }

    /// Follows the files until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        Arc::clone(&self.config).follow(self.period, stop).await;
    }

    /// A channel to `endpoint` that connects when it is first used, secure where there is a connector.
    pub fn lazy(connector: Option<&Arc<Self>>, endpoint: &Endpoint) -> Channel {
        match connector {
            None => endpoint.connect_lazy(),
            Some(connector) => endpoint.connect_with_connector_lazy(Dial(Arc::clone(connector))),
        }
    }

    /// As [`Connector::lazy`], connected.
    ///
    /// # Errors
    /// Why there is no connection; [`reasons`] has the words.
    pub async fn eager(
        connector: Option<&Arc<Self>>,
        endpoint: &Endpoint,
    ) -> Result<Channel, tonic::transport::Error> {
        match connector {
            None => endpoint.connect().await,
            Some(connector) => endpoint.connect_with_connector(Dial(Arc::clone(connector))).await,
        }
    }

    /// A secure connection to `host:port`.
    ///
    /// # Errors
    /// When it does not answer, or shows a certificate that will not do.
    pub async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => host(address)?,
        };
        let tls = TlsConnector::from(self.config.current());
        tls.connect(name, stream).await.map_err(|error| {
            if self.complaints.is_due() {
                tracing::warn!(config = self.config.name(), address, %error, "no TLS with a server");
            }
            let message = format!("TLS with {address}, as {} says: {error}", self.config.name());
            io::Error::new(error.kind(), message)
        })
    }
}

/// The host of `host:port`, brackets of IPv6 aside.
fn host(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// A connector as tonic calls it.
#[derive(Clone, Debug)]
struct Dial(Arc<Connector>);

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = Arc::clone(&self.0);
        Box::pin(async move {
            let address = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
            connector.connect(address).await.map(TokioIo::new)
        })
    }
}

/// An error with what is behind it: tonic says "transport error" of everything.
pub fn reasons(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !said.contains(&text) {
            let _ = write!(said, ": {text}");
        }
        next = error.source();
    }
    said
}
