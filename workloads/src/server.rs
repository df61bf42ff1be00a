//! A listener for HTTP/1 and HTTP/2 (without TLS, by prior knowledge), as which every port of the process is
//! served. IO.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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
    /// A setting that is understood and not implemented; to go on without it would not be what is asked for.
    #[error("{key}: {what} is not served yet")]
    NotServed {
        /// The setting.
        key: String,
        /// What it asks for.
        what: &'static str,
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
        Ok(Self { name, address, listener })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` there.
    pub fn serve(self, router: Router) -> Server {
        let Self { name, address, listener } = self;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let server = Server { name, address, stop: stop.clone(), tasks: tasks.clone() };
        tasks.spawn(accept(name, listener, router, stop, tasks.clone()));
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

async fn accept(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let builder = Arc::new(builder());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tasks.spawn(connection(stream, Arc::clone(&builder), router.clone(), stop.clone()));
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

async fn connection(
    stream: TcpStream,
    builder: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let mut served = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "a connection ended badly");
    }
}
