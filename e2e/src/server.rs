//! A real `vivace` process on this machine: all targets, local disk, ports of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::http::Client;
use crate::ports::free_port;
use crate::progress::end_of;

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    /// `http://127.0.0.1:<port>` of OTLP/HTTP.
    pub(crate) otlp: String,
    /// `http://127.0.0.1:<port>` of the query API.
    pub(crate) api: String,
    /// `127.0.0.1:<port>` of gRPC.
    pub(crate) grpc: String,
    /// From the start of the process to the first 200 of `/ready`.
    pub(crate) ready_after: Duration,
    child: Child,
    log: PathBuf,
}

/// What of a server's configuration is not always the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// Lines below `storage.trace`, such as `backend: s3`; local disk without them.
    pub(crate) store: Option<String>,
    /// `storage.trace.block.version`
    pub(crate) version: Option<&'static str>,
    /// Merge blocks every second instead of hardly ever.
    pub(crate) compacts: bool,
    /// Blocks expire after this, and are deleted a second later; never without it.
    pub(crate) retention: Option<&'static str>,
    /// Be one of several.
    pub(crate) member: Option<Member>,
    /// Be this one role rather than all of them.
    pub(crate) role: Option<&'static str>,
    /// Where a querier finds the frontend whose jobs it takes.
    pub(crate) frontend: Option<String>,
}

/// One of several servers, whose logs are in the object store.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its port for gossip.
    pub(crate) gossip: u16,
    /// Those of all.
    pub(crate) all: Vec<u16>,
}

impl Server {
    /// Start it with its data in `folder` and wait until it is ready.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Result<Self> {
        Self::start_under(&[], binary, folder, &Setup::default())
    }

    /// As [`Server::start`], with another configuration.
    pub(crate) fn start_as(setup: &Setup, binary: &Path, folder: &Path) -> Result<Self> {
        Self::start_under(&[], binary, folder, setup)
    }

    /// As [`Server::start_as`], under a command such as `taskset -c 0` that becomes the server.
    pub(crate) fn start_under(wrapper: &[&str], binary: &Path, folder: &Path, setup: &Setup) -> Result<Self> {
        let began = Instant::now();
        let mut server = Self::launch(wrapper, binary, folder, setup)?;
        server.wait_ready()?;
        server.ready_after = began.elapsed();
        Ok(server)
    }

    /// As [`Server::start_under`], without waiting until it is ready: it may be so only once others are there.
    pub(crate) fn launch(wrapper: &[&str], binary: &Path, folder: &Path, setup: &Setup) -> Result<Self> {
        let ports = free_ports()?;
        let config = folder.join("tempo.yaml");
        fs::write(&config, configuration(folder, ports, setup))
            .with_context(|| config.display().to_string())?;
        let log = folder.join("server.log");
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([binary.as_os_str()]);
        let mut command = Command::new(words.next().context("no program")?);
        command
            .args(words)
            .arg(format!("-target={}", setup.role.unwrap_or("all")))
            .arg(format!("-config.file={}", config.display()));
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let (otlp, api) = (format!("http://{}", at(ports.otlp_http)), format!("http://{}", at(ports.http)));
        Ok(Self { otlp, api, grpc: at(ports.grpc), ready_after: Duration::ZERO, child, log })
    }

    /// Waits for the first 200 of `/ready`, a minute at most.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        const LIMIT: Duration = Duration::from_mins(1);
        let (client, began) = (Client::new(Duration::from_secs(2)), Instant::now());
        let url = format!("{}/ready", self.api);
        loop {
            let said = match client.get(&url, &[]) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => format!("HTTP {}: {}", answer.status, answer.text()),
                Err(error) => format!("{error:#}"),
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}; its log ends:\n{}", end_of(&self.log, 20)?);
            }
            if began.elapsed() > LIMIT {
                bail!(
                    "not ready after {} s: {said}; the log ends:\n{}",
                    LIMIT.as_secs(),
                    end_of(&self.log, 20)?
                );
            }
            sleep(Duration::from_millis(3));
        }
    }

    /// What it has said so far.
    pub(crate) fn log_text(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Have everything that is held written as blocks.
    pub(crate) fn flush(&self) -> Result<()> {
        let answer = Client::new(Duration::from_mins(2)).get(&format!("{}/flush", self.api), &[])?;
        if answer.status / 100 != 2 {
            bail!("/flush: HTTP {}: {}", answer.status, answer.text());
        }
        Ok(())
    }

    /// End it as the kernel would: no handler runs.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and wait for exit status 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(30);
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("after SIGTERM: {status}; the log ends:\n{}", end_of(&self.log, 20)?);
            }
            if !sent.success() || began.elapsed() > LIMIT {
                bail!(
                    "still there {} s after SIGTERM; the log ends:\n{}",
                    LIMIT.as_secs(),
                    end_of(&self.log, 20)?
                );
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// A line of `/proc/<pid>/status` in KiB, such as `VmRSS` or `VmHWM`.
    pub(crate) fn memory_kib(&self, line: &str) -> Result<u64> {
        memory_of(&fs::read_to_string(format!("/proc/{}/status", self.pid()))?, line)
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(cpu_of(&fs::read_to_string(format!("/proc/{}/stat", self.pid()))?))
    }
}

/// A line of `/proc/<pid>/status`, in KiB.
pub(crate) fn memory_of(status: &str, line: &str) -> Result<u64> {
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let number =
        found.and_then(|rest| rest.split_whitespace().next()).with_context(|| format!("no {line}"))?;
    Ok(number.parse()?)
}

/// User and system time of a process so far, by `/proc/<pid>/stat`.
pub(crate) fn cpu_of(stat: &str) -> Duration {
    const TICKS_PER_SECOND: u64 = 100; // USER_HZ, which is part of the kernel's ABI
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    http: u16,
    grpc: u16,
    otlp_grpc: u16,
    otlp_http: u16,
    gossip: u16,
}

fn free_ports() -> Result<Ports> {
    Ok(Ports {
        http: free_port()?,
        grpc: free_port()?,
        otlp_grpc: free_port()?,
        otlp_http: free_port()?,
        gossip: free_port()?,
    })
}

/// What the conformance corpus needs: its timestamps are fixed and its attributes long, so nothing may expire, clip or truncate.
/// Blocks are merged only where that is asked for: a test that counts them must know how many there are.
fn configuration(folder: &Path, ports: Ports, setup: &Setup) -> String {
    let Ports { http, grpc, otlp_grpc, otlp_http, gossip } = ports;
    let folder = folder.display();
    let local = format!("    backend: local\n    local: {{path: '{folder}/traces'}}");
    let store = setup.store.as_deref().unwrap_or(&local);
    let version = setup.version.unwrap_or("vParquet4");
    let cycle = if setup.compacts || setup.retention.is_some() { "1s" } else { "1h" };
    let (retention, grace) = setup.retention.map_or(("876000h", "1h"), |retention| (retention, "1s"));
    let querier = setup.frontend.as_ref().map_or(String::new(), |address| {
        format!("querier: {{frontend_worker: {{frontend_address: '{address}'}}}}\n")
    });
    let (members, log) = match &setup.member {
        None => (format!("{{bind_addr: [127.0.0.1], bind_port: {gossip}}}"), ""),
        Some(Member { name, gossip, all }) => {
            let seeds: Vec<_> = all.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
            let seeds = seeds.join(", ");
            let own = format!("bind_addr: [127.0.0.1], advertise_addr: 127.0.0.1, bind_port: {gossip}");
            (
                format!("{{{own}, node_name: {name}, join_members: [{seeds}]}}"),
                "ingester: {wal: {home: object}}\n",
            )
        }
    };
    format!(
        "server: {{http_listen_address: 127.0.0.1, http_listen_port: {http}, grpc_listen_address: 127.0.0.1, grpc_listen_port: {grpc}}}
distributor:
  receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{otlp_grpc}'}}, http: {{endpoint: '127.0.0.1:{otlp_http}'}}}}}}}}
  max_attribute_bytes: 1000000
memberlist: {members}
{log}{querier}query_frontend: {{traceql_strict: true, search: {{max_duration: 0s, max_result_limit: 0, max_spans_per_span_set: 0}}}}
compactor: {{compaction: {{block_retention: {retention}, compacted_block_retention: {grace}, compaction_cycle: {cycle}}}}}
storage:
  trace:
{store}
    block: {{version: {version}}}
    wal: {{path: '{folder}/wal', ingestion_time_range_slack: 876000h}}
    blocklist_poll: 5s
usage_report: {{reporting_enabled: false}}
"
    )
}
