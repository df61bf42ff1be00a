//! A listener for HTTP/1 and HTTP/2, as which every port of the process is served: over TLS where it is asked for,
//! and by prior knowledge where it is not. IO.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::tls::Acceptor;

/// Bytes that a client may send ahead on one stream: a large batch without waiting for us.
const STREAM_WINDOW: u32 = 8 << 20;
/// Bytes that a client may send ahead on one connection.
const CONNECTION_WINDOW: u32 = 32 << 20;
const FRAME: u32 = 1 << 20;
const STREAMS: u32 = 1024;
/// A client has so long to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// Requests under way have so long to end after the stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a port is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("{name} on {address}")]
    Bind {
        /// Which server.
        name: &'static str,
        /// The address, as configured.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// An open port.
#[derive(Clone, Debug)]
pub struct Server {
    name: &'static str,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A port that is bound, but that nobody answers at yet.
#[derive(Debug)]
pub struct Bound {
    name: &'static str,
    address: SocketAddr,
    listener: TcpListener,
    tls: Option<Arc<Acceptor>>,
}

impl Bound {
    /// Binds `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ServerError::Bind`]
    pub async fn open(name: &'static str, address: &str) -> Result<Self, ServerError> {
        let wrong = |source| ServerError::Bind { name, address: address.to_owned(), source };
        let listener = TcpListener::bind(address).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Self { name, address, listener, tls: None })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Speaks TLS there, where `tls` says how.
    #[must_use]
    pub fn secured(self, tls: Option<Arc<Acceptor>>) -> Self {
        Self { tls, ..self }
    }

    /// Serves `router` there.
    pub fn serve(self, router: Router) -> Server {
        let Self { name, address, listener, tls } = self;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let server = Server { name, address, stop: stop.clone(), tasks: tasks.clone() };
        let door = Door { builder: builder(), router, tls, stop, tasks: tasks.clone() };
        tasks.spawn(accept(name, listener, Arc::new(door)));
        server
    }
}

impl Server {
    /// Binds `host:port` and serves `router` there.
    ///
    /// # Errors
    /// [`ServerError::Bind`]
    pub async fn start(name: &'static str, address: &str, router: Router) -> Result<Self, ServerError> {
        Ok(Bound::open(name, address).await?.serve(router))
    }

    /// What it is, for logs and errors.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connection or request, and ends when those under way are answered, or after 10 s.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(server = self.name, open = self.tasks.len(), "connections did not end in time");
        }
    }
}

/// What every connection of a listener needs.
struct Door {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    tls: Option<Arc<Acceptor>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

async fn accept(name: &'static str, listener: TcpListener, door: Arc<Door>) {
    loop {
        let accepted = tokio::select! {
            () = door.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                door.tasks.spawn(Arc::clone(&door).connection(stream));
            }
            Err(error) => {
                // Out of file descriptors, most likely: connections that end give some back.
                tracing::error!(server = name, %error, "no connection can be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(STREAMS);
    builder
}

impl Door {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let Some(tls) = &self.tls else { return self.serve(stream).await };
        let handshake = tokio::select! {
            () = self.stop.cancelled() => return,
            handshake = tls.accept(stream) => handshake,
        };
        // Who was refused, and why, was said there.
        if let Ok(stream) = handshake {
            self.serve(stream).await;
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = TowerToHyperService::new(self.router.clone());
        let mut served = pin!(self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let outcome = tokio::select! {
            outcome = served.as_mut() => outcome,
            () = self.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(error, "a connection ended badly");
        }
    }
}
