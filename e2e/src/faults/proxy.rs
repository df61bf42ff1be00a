//! A TCP proxy on this machine that can be made slow, or deaf, while connections go through it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Bytes that are passed on at a time.
const PIECE: usize = 16 << 10;

/// The proxy. It ends with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// `127.0.0.1:<port>`
    pub(crate) address: String,
    line: Arc<Line>,
}

/// How the line is at present.
#[derive(Debug, Default)]
struct Line {
    /// Before each piece, in milliseconds.
    delay: AtomicU64,
    /// Bytes a second in each direction of each connection; 0 for as many as there are.
    rate: AtomicU64,
    /// Take connections and pass nothing on.
    deaf: AtomicBool,
}

impl Proxy {
    /// Pass everything on to `target`, an address.
    pub(crate) fn start(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for the proxy")?;
        let address = listener.local_addr()?.to_string();
        let line = Arc::new(Line::default());
        let shared = Arc::clone(&line);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, line) = (target.clone(), Arc::clone(&shared));
                thread::spawn(move || connect(&client, &target, &line));
            }
        });
        Ok(Self { address, line })
    }

    /// From now on each piece waits for `delay`, and a direction takes `rate` bytes a second.
    pub(crate) fn slow(&self, delay: Duration, rate: u64) {
        self.line.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
        self.line.rate.store(rate, Ordering::Relaxed);
    }

    /// From now on nothing comes through, and no connection is closed.
    pub(crate) fn deaf(&self, deaf: bool) {
        self.line.deaf.store(deaf, Ordering::Relaxed);
    }
}

fn connect(client: &TcpStream, target: &str, line: &Arc<Line>) {
    let Ok(server) = TcpStream::connect(target) else {
        let _ = client.shutdown(Shutdown::Both);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
    let there = Arc::clone(line);
    let forth = thread::spawn(move || pass(from, to, &there));
    if let (Ok(from), Ok(to)) = (server.try_clone(), client.try_clone()) {
        pass(from, to, line);
    }
    let _ = forth.join();
}

/// Pass on until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, line: &Line) {
    let mut piece = vec![0; PIECE];
    while let Ok(size) = from.read(&mut piece) {
        while line.deaf.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        let began = Instant::now();
        let rate = line.rate.load(Ordering::Relaxed);
        let wait = Duration::from_millis(line.delay.load(Ordering::Relaxed))
            + (size as u64 * 1000).checked_div(rate).map_or(Duration::ZERO, Duration::from_millis);
        thread::sleep(wait.saturating_sub(began.elapsed()));
        if size == 0 || to.write_all(piece.get(..size).unwrap_or_default()).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::Proxy;

    #[test]
    fn a_proxy_passes_on_what_comes_and_can_be_made_slow() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = echo.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        });
        let proxy = Proxy::start(address).unwrap();
        let mut stream = TcpStream::connect(&proxy.address).unwrap();
        let mut ask = || {
            let began = Instant::now();
            stream.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello");
            began.elapsed()
        };
        ask();
        proxy.slow(Duration::from_millis(150), 0);
        let slow = ask();
        assert!(slow >= Duration::from_millis(300), "150 ms each way: {slow:?}");
    }
}
