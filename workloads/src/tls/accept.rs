//! The side that is called. IO.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    material::{self, LoadError},
    metrics::Metrics,
    seldom::Seldom,
    settings::{ClientAuth, ServerSettings},
    watch::Reloading,
};

/// A client has so long to finish its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For those who speak HTTP/1 where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 34\r\n\r\nthis port speaks https, not http.\n";

/// What comes of a connection once both sides are known.
pub type Handshaken = TlsStream<TcpStream>;

/// Makes connections to a listener secure, with the certificates of the moment.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<Reloading<ServerConfig>>,
    period: Duration,
    metrics: Metrics,
    complaints: Seldom,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// The key, the file, and what is wrong with it.
    pub fn open(settings: ServerSettings, metrics: &Metrics) -> Result<Arc<Self>, LoadError> {
        let (name, period) = (settings.name.clone(), settings.period);
        let mut places = vec![settings.cert.clone(), settings.key.clone()];
        if let ClientAuth::Given(ca) | ClientAuth::Verified(ca) = &settings.client_auth {
            places.push(ca.clone());
        }
        let load = Box::new(move || material::server(&settings));
        let config = Arc::new(Reloading::open(&name, &places, metrics.clone(), load)?);
        Ok(Arc::new(Self { config, period, metrics: metrics.clone(), complaints: Seldom::default() }))
    }

    /// Follows the files until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        Arc::clone(&self.config).follow(self.period, stop).await;
    }

    /// The handshake with who called.
    ///
    /// # Errors
    /// When the client does not speak TLS, or shows no certificate that will do, or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Handshaken> {
        let peer = stream.peer_addr().ok().map(tracing::field::display);
        let handshake = async {
            let stream = not_plain(stream).await?;
            TlsAcceptor::from(self.config.current()).accept(stream).await
        };
        let error = match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"),
        };
        self.metrics.handshake_failed(self.config.name());
        if self.complaints.is_due() {
            tracing::warn!(config = self.config.name(), peer, %error, "a client was refused in the TLS handshake");
        } else {
            tracing::debug!(config = self.config.name(), peer, %error, "a client was refused in the TLS handshake");
        }
        Err(error)
    }
}

/// Looks at the first byte, which says HTTP/1 from TLS, and answers the former that it is wrong here.
async fn not_plain(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if !first[0].is_ascii_uppercase() {
        return Ok(stream);
    }
    stream.write_all(NOT_TLS).await?;
    // What was sent is read before the end, or the client might see a reset instead of the answer.
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks plain http"))
}
