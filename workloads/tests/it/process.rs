//! A real process of all roles, on free ports and in a directory of its own, and ways to talk to it.

use std::{net::SocketAddr, time::Duration};

use http::HeaderMap;
use vivace::app::App;
use vivace_config::Config;

/// Runs until it is stopped or dropped.
pub(crate) struct Process {
    pub(crate) app: App,
    pub(crate) dir: tempfile::TempDir,
}

/// An answer of the HTTP API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The configuration of a process below `dir`, on free ports, with `yaml` over it.
pub(crate) fn config(dir: &std::path::Path, yaml: &str) -> Config {
    let dir = dir.display();
    let mut flags = vec![
        "-server.http-listen-address=127.0.0.1".to_owned(),
        "-server.http-listen-port=0".to_owned(),
        "-server.grpc-listen-address=127.0.0.1".to_owned(),
        "-server.grpc-listen-port=0".to_owned(),
        "-distributor.receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0".to_owned(),
        "-distributor.receivers.otlp.protocols.http.endpoint=127.0.0.1:0".to_owned(),
        format!("-storage.trace.wal.path={dir}/wal"),
    ];
    if !yaml.contains("local:") {
        flags.push(format!("-storage.trace.local.path={dir}/blocks"));
    }
    let line = vivace_config::CommandLine::parse(flags).expect("the flags exist");
    vivace_config::load(yaml, &line.settings).expect("the configuration is sound").config
}

impl Process {
    pub(crate) async fn start(yaml: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::start_in(dir, yaml).await
    }

    pub(crate) async fn start_in(dir: tempfile::TempDir, yaml: &str) -> Self {
        let begin = std::time::Instant::now();
        loop {
            match App::start(config(dir.path(), yaml)).await {
                Ok(app) => return Self { app, dir },
                // A process that has stopped takes the threads with it that were removing a file; here they live on.
                Err(error) if format!("{error:#}").contains("in use") && begin.elapsed().as_secs() < 5 => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("the process starts: {error:#}"),
            }
        }
    }

    /// Stops in order; the directory stays.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.app.stop().await;
        self.dir
    }

    pub(crate) fn otlp(&self, name: &str) -> SocketAddr {
        let found = self.app.receivers().into_iter().find(|(receiver, _)| receiver.contains(name));
        found.expect("the receiver is open").1
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(path, &[]).await
    }

    /// `GET` with headers.
    pub(crate) async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = agent().get(format!("http://{}{path}", self.app.http()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        tokio::task::spawn_blocking(move || answer(request.call())).await.expect("the request runs")
    }

    /// `POST /v1/traces`
    pub(crate) async fn export(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = agent().post(format!("http://{}/v1/traces", self.otlp("http")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        tokio::task::spawn_blocking(move || answer(request.send(&body[..]))).await.expect("the request runs")
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(20))).build().into()
}

fn answer(response: Result<http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let (head, mut body) = response.expect("an answer").into_parts();
    let body = body.read_to_vec().expect("the body of the answer");
    Answer { code: head.status.as_u16(), headers: head.headers, body }
}
