//! Stands between the operator and the API server: passes requests on, lets some of them go wrong, and counts. HTTP/1.1, one request a
//! connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::faults::{Fault, Request, choose, status};
use crate::http::Client;
use crate::shop::Shop;

/// Longest body that is looked at.
const BODY: u64 = 8 << 20;

/// What a namespace has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) reconciles: u64,
    pub(crate) faults: u64,
    /// The last few writes, for messages.
    pub(crate) last: Vec<String>,
}

/// One namespace, or with the empty name everything that is in none.
#[derive(Debug)]
struct Place {
    dice: Shop,
    stormy: bool,
    seen: Seen,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    client: Client,
    places: Mutex<BTreeMap<String, Place>>,
}

/// The proxy. It ends with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// `127.0.0.1:<port>`
    pub(crate) address: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before an API server that speaks plain HTTP.
    pub(crate) fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for the proxy")?;
        let address = listener.local_addr()?.to_string();
        let client = Client::new(Duration::from_secs(10));
        let shared =
            Arc::new(Shared { upstream: upstream.to_owned(), client, places: Mutex::new(BTreeMap::new()) });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                // Whoever goes away in the middle is no matter: both sides ask again.
                thread::spawn(move || shared.serve(&stream).unwrap_or_default());
            }
        });
        Ok(Self { address, shared })
    }

    /// From now on requests about a namespace go wrong, or no longer do.
    pub(crate) fn storm(&self, namespace: &str, seed: u64, stormy: bool) {
        let mut places = self.shared.places();
        let new = || Place { dice: Shop::new(seed), stormy, seen: Seen::default() };
        places.entry(namespace.to_owned()).or_insert_with(new).stormy = stormy;
    }

    /// What was counted.
    pub(crate) fn seen(&self, namespace: &str) -> Seen {
        self.shared.places().get(namespace).map(|place| place.seen.clone()).unwrap_or_default()
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request, and decides its fate.
    fn fate(&self, request: &Request) -> Option<Fault> {
        let mut places = self.places();
        let place = places.get_mut(request.namespace().unwrap_or_default())?;
        if !request.is_watch() {
            place.seen.reads += u64::from(!request.is_write());
            place.seen.reconciles += u64::from(request.begins_reconcile());
        }
        if request.is_write() {
            place.seen.writes += 1;
            place.seen.last.push(format!("{} {}", request.method, request.path()));
            let surplus = place.seen.last.len().saturating_sub(4);
            place.seen.last.drain(..surplus);
        }
        let fault = if place.stormy { choose(&mut place.dice, request) } else { None };
        place.seen.faults += u64::from(fault.is_some());
        fault
    }

    fn serve(&self, stream: &TcpStream) -> Result<()> {
        let (request, head, body) = read_request(stream)?;
        let fault = self.fate(&request);
        let outcome = match fault {
            None => self.pass(stream, &head, &body, usize::MAX),
            Some(Fault::Refused(code, said)) => answer(stream, code, &said),
            Some(Fault::LostBefore) => Ok(()),
            Some(Fault::LostAfter) => self.swallow(&head, &body),
            Some(Fault::LateAfter) => {
                self.swallow(&head, &body)?;
                answer(
                    stream,
                    504,
                    &status(504, "Timeout", "the server was unable to return a response in time"),
                )
            }
            Some(Fault::CutShort) => self.pass(stream, &head, &body, 300),
            Some(Fault::Edited(patch)) => {
                self.meddle("PATCH", request.path(), Some(&patch))?;
                self.pass(stream, &head, &body, usize::MAX)
            }
            Some(Fault::Deleted) => {
                self.meddle("DELETE", request.path(), None)?;
                self.pass(stream, &head, &body, usize::MAX)
            }
            Some(Fault::WatchEnds { milliseconds, expired }) => {
                self.watch(stream, &head, Duration::from_millis(milliseconds), expired)
            }
        };
        let _ = stream.shutdown(Shutdown::Both);
        outcome
    }

    fn upstream(&self, head: &str, body: &[u8]) -> Result<TcpStream> {
        let mut upstream = TcpStream::connect(&self.upstream)?;
        upstream.set_nodelay(true)?;
        upstream.write_all(head.as_bytes())?;
        upstream.write_all(body)?;
        Ok(upstream)
    }

    /// Passes on, and of the answer so many bytes.
    fn pass(&self, mut stream: &TcpStream, head: &str, body: &[u8], limit: usize) -> Result<()> {
        let upstream = self.upstream(head, body)?;
        std::io::copy(&mut upstream.take(limit as u64), &mut stream)?;
        Ok(())
    }

    /// It happens, and nobody hears of it.
    fn swallow(&self, head: &str, body: &[u8]) -> Result<()> {
        std::io::copy(&mut self.upstream(head, body)?, &mut std::io::sink())?;
        Ok(())
    }

    /// Somebody else's write; whether it could be done is no matter.
    fn meddle(&self, method: &str, path: &str, body: Option<&Value>) -> Result<()> {
        let url = format!("http://{}{path}?fieldManager=somebody", self.upstream);
        let kind = [("Content-Type", "application/merge-patch+json")];
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        self.client.send(method, &url, &kind, &bytes).map(drop)
    }

    /// Passes whole events on until the time is over. The answer is sent without chunks, so that one event more can be added.
    fn watch(&self, mut stream: &TcpStream, head: &str, lasts: Duration, expired: bool) -> Result<()> {
        let end = Instant::now() + lasts;
        let upstream = self.upstream(head, &[])?;
        let mut reader = BufReader::new(&upstream);
        let answer_head = read_head(&mut reader)?;
        if !answer_head.starts_with("HTTP/1.1 200") || !answer_head.to_lowercase().contains("chunked") {
            stream.write_all(answer_head.as_bytes())?;
            std::io::copy(&mut reader, &mut stream)?;
            return Ok(());
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")?;
        let mut pending = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            upstream.set_read_timeout(Some(left))?;
            let Ok(chunk) = read_chunk(&mut reader) else { break };
            if chunk.is_empty() {
                return Ok(());
            }
            pending.extend(chunk);
            let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            stream.write_all(&pending.drain(..whole).collect::<Vec<_>>())?;
        }
        if expired {
            let event =
                json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
            stream.write_all(format!("{event}\n").as_bytes())?;
        }
        Ok(())
    }
}

/// The request, its head as it is passed on, and its body.
fn read_request(stream: &TcpStream) -> Result<(Request, String, Vec<u8>)> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let head = read_head(&mut reader)?;
    let mut lines = head.lines();
    let mut words = lines.next().context("no request")?.split(' ').map(str::to_owned);
    let request =
        Request { method: words.next().context("no method")?, target: words.next().context("no target")? };
    let mut length = 0;
    let mut passed = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", request.method, request.target);
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').context("a header without a colon")?;
        match name.to_lowercase().as_str() {
            "connection" => continue,
            "content-length" => length = value.trim().parse()?,
            _ => {}
        }
        passed.push_str(line);
        passed.push_str("\r\n");
    }
    passed.push_str("\r\n");
    let mut body = Vec::new();
    reader.take(BODY.min(length)).read_to_end(&mut body)?;
    Ok((request, passed, body))
}

/// Everything up to the empty line.
fn read_head(reader: &mut impl BufRead) -> Result<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        let read = reader.by_ref().take(64 << 10).read_line(&mut head)?;
        anyhow::ensure!(read > 0, "the head ends early");
        if head.get(before..).unwrap_or_default().trim().is_empty() {
            return Ok(head);
        }
    }
}

/// A chunk of a body; empty at its end.
fn read_chunk(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let size = u64::from_str_radix(line.trim(), 16).context("no chunk")?;
    let mut chunk = Vec::new();
    reader.by_ref().take(size).read_to_end(&mut chunk)?;
    reader.read_line(&mut line)?;
    Ok(chunk)
}

fn answer(mut stream: &TcpStream, code: u16, said: &Value) -> Result<()> {
    let body = said.to_string();
    let head = format!(
        "HTTP/1.1 {code} Fault\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    Ok(())
}
