//! Gossip over TCP, and over TLS where it is asked for: a frame is its length (u32, big endian), the length of the sender's address (u8), that
//! address as text, and the message. IO.
//!
//! A peer that is slow or gone never holds up the gossip loop: each peer has a short queue of its own, and what
//! does not fit is dropped, since the next round says it again.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use chitchat::{
    ChitchatMessage, Deserializable, Serializable,
    transport::{Socket, Transport},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::tls;

/// Longest frame, bytes; a digest of thousands of members is well below.
const MAX_FRAME: usize = 1 << 20;
/// Frames that wait for one peer.
const PEER_QUEUE: usize = 16;
/// Frames received that wait for the gossip loop.
const RECEIVE_QUEUE: usize = 256;
/// Connections taken at a time.
const MAX_CONNECTIONS: usize = 1024;
const CONNECT: Duration = Duration::from_secs(2);
const WRITE: Duration = Duration::from_secs(5);
/// A connection without a frame for so long is closed.
const IDLE: Duration = Duration::from_mins(1);

/// Opens sockets on a listener that is already bound.
pub(super) struct Tcp {
    listener: std::sync::Mutex<Option<TcpListener>>,
    /// Where answers to this process go.
    advertise: SocketAddr,
    tls: Option<tls::Gossip>,
}

impl Tcp {
    pub(super) fn new(listener: TcpListener, advertise: SocketAddr, tls: Option<tls::Gossip>) -> Self {
        Self { listener: std::sync::Mutex::new(Some(listener)), advertise, tls }
    }
}

#[tonic::async_trait]
impl Transport for Tcp {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let listener = self.listener.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let listener = listener.ok_or_else(|| anyhow!("gossip is already open"))?;
        let (received, inbox) = mpsc::channel(RECEIVE_QUEUE);
        let stop = CancellationToken::new();
        let acceptor = self.tls.as_ref().map(|tls| Arc::clone(&tls.accept));
        let accept = accept(listener, acceptor, received, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
        Ok(Box::new(TcpSocket {
            advertise: self.advertise,
            connector: self.tls.as_ref().map(|tls| Arc::clone(&tls.connect)),
            peers: HashMap::new(),
            inbox,
            stop: stop.clone(),
            _guard: stop.drop_guard(),
        }))
    }
}

struct TcpSocket {
    advertise: SocketAddr,
    connector: Option<Arc<tls::Connector>>,
    peers: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
    inbox: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    stop: CancellationToken,
    _guard: DropGuard,
}

#[tonic::async_trait]
impl Socket for TcpSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.peers.retain(|_, queue| !queue.is_closed());
        let (stop, connector) = (&self.stop, &self.connector);
        let queue = self.peers.entry(to).or_insert_with(|| {
            let (queue, frames) = mpsc::channel(PEER_QUEUE);
            tokio::spawn(stop.clone().run_until_cancelled_owned(write_to(to, connector.clone(), frames)));
            queue
        });
        // A full queue means that the peer is slow or gone; the next round makes up for it.
        let _ = queue.try_send(frame(self.advertise, &message));
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.inbox.recv().await.ok_or_else(|| anyhow!("the listener is gone"))
    }
}

fn frame(from: SocketAddr, message: &ChitchatMessage) -> Vec<u8> {
    let from = from.to_string();
    let mut bytes = vec![0; 4];
    bytes.push(from.len() as u8);
    bytes.extend_from_slice(from.as_bytes());
    message.serialize(&mut bytes);
    let length = (bytes.len() - 4) as u32;
    if let Some(head) = bytes.first_chunk_mut::<4>() {
        *head = length.to_be_bytes();
    }
    bytes
}

fn parse(frame: &[u8]) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
    let (length, rest) = frame.split_first().context("frame is empty")?;
    let (from, mut rest) =
        rest.split_at_checked(usize::from(*length)).context("frame ends in the address")?;
    let from = std::str::from_utf8(from)?.parse().context("address of the sender")?;
    Ok((from, ChitchatMessage::deserialize(&mut rest)?))
}

/// Writes a peer's frames; ends when it cannot be reached or has nothing to hear.
async fn write_to(peer: SocketAddr, connector: Option<Arc<tls::Connector>>, frames: mpsc::Receiver<Vec<u8>>) {
    let Some(connector) = connector else {
        let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(peer)).await else {
            tracing::debug!(%peer, "gossip cannot reach a peer");
            return;
        };
        let _ = stream.set_nodelay(true);
        return write_frames(stream, frames).await;
    };
    match timeout(CONNECT, connector.connect(&peer.to_string())).await {
        Ok(Ok(stream)) => write_frames(stream, frames).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "gossip cannot reach a peer"),
        Err(_) => tracing::debug!(%peer, "gossip cannot reach a peer in time"),
    }
}

async fn write_frames(mut stream: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Vec<u8>>) {
    while let Ok(Some(frame)) = timeout(IDLE, frames.recv()).await {
        let write = async {
            stream.write_all(&frame).await?;
            // TLS holds back what it has not sealed.
            stream.flush().await
        };
        if !matches!(timeout(WRITE, write).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<Arc<tls::Acceptor>>,
    received: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
    stop: CancellationToken,
) {
    let slots = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "gossip cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (received, acceptor) = (received.clone(), acceptor.clone());
        let reading = async move {
            let read = match acceptor {
                None => read_from(stream, received).await,
                // Who was refused, and why, was said there.
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => read_from(stream, received).await,
                    Err(_) => Ok(()),
                },
            };
            if let Err(error) = read {
                tracing::debug!(error = format!("{error:#}"), "gossip connection ends");
            }
            drop(slot);
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(reading));
    }
}

async fn read_from(
    stream: impl AsyncRead + Unpin,
    received: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut bytes = Vec::new();
    loop {
        let length = match timeout(IDLE, stream.read_u32()).await? {
            Ok(length) => length as usize,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if length > MAX_FRAME {
            return Err(anyhow!("frame of {length} bytes is over the limit of {MAX_FRAME}"));
        }
        bytes.resize(length, 0);
        timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        received.send(parse(&bytes)?).await?;
    }
}
