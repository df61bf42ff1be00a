//! The same questions asked of a cluster of roles: a process each for distributor, ingester, query-frontend, compactor and two queriers, with
//! MinIO between them. Answers come from two queriers, over the network and by two protocols, and must not differ for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::conformance::{self, Recording};
use crate::faults::minio::{BUCKET, KEY, Minio, SECRET};
use crate::home::Home;
use crate::http::Client;
use crate::ports::free_port;
use crate::report::Report;
use crate::server::{Member, Server, Setup};
use crate::stack::wait;

/// The processes, in the order in which they start: names and roles.
const PROCESSES: [(&str, &str); 6] = [
    ("ingester-0", "ingester"),
    ("distributor", "distributor"),
    ("query-frontend", "query-frontend"),
    ("querier-0", "querier"),
    ("querier-1", "querier"),
    ("compactor", "compactor"),
];

/// Runs the cluster, sends the corpus, and asks while it is live and once it is in blocks, over HTTP and by streams on both ports.
pub(crate) fn run(
    home: &Home,
    binary: &Path,
    recording: &Recording,
    corpus: &[Vec<u8>],
    report: &mut Report,
) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for the processes")?;
    let minio = Minio::start(home, &folder.path().join("minio"))?;
    let cluster = Cluster::start(binary, folder.path(), &minio)?;
    conformance::send(&cluster.distributor.otlp, corpus)?;
    recording.check(&cluster.frontend.api, "live, through roles", report);
    cluster.ingester.flush()?;
    recording.check(&cluster.frontend.api, "flushed, through roles", report);
    recording.check_streamed(&cluster.frontend.grpc, "flushed, through roles, streamed", report)?;
    let http = cluster.frontend.api.trim_start_matches("http://");
    recording.check_streamed(http, "flushed, through roles, streamed on the HTTP port", report)?;
    report.check("roles: both queriers took part", || {
        let jobs = cluster.queriers.iter().map(jobs_done).collect::<Result<Vec<_>>>()?;
        ensure!(jobs.iter().all(|jobs| *jobs > 0.0), "jobs done: {jobs:?}");
        Ok(format!("jobs done: {jobs:?}"))
    });
    report.check("roles: every process ends by itself", || {
        cluster.stop()?;
        Ok(String::new())
    });
    Ok(())
}

/// The processes.
#[derive(Debug)]
struct Cluster {
    ingester: Server,
    distributor: Server,
    frontend: Server,
    queriers: [Server; 2],
    compactor: Server,
}

impl Cluster {
    fn start(binary: &Path, folder: &Path, minio: &Minio) -> Result<Self> {
        let ports = PROCESSES.map(|_| free_port());
        let ports: Vec<u16> = ports.into_iter().collect::<Result<_>>()?;
        let store = format!(
            "    backend: s3\n    s3: {{bucket: {BUCKET}, endpoint: '{}', access_key: {KEY}, secret_key: {SECRET}, insecure: true, forcepathstyle: true}}",
            minio.address
        );
        let start = |index: usize, frontend: Option<&Server>| -> Result<Server> {
            let (name, role) = PROCESSES[index];
            let own: PathBuf = folder.join(name);
            fs::create_dir_all(&own)?;
            let member = Member { name: name.to_owned(), gossip: ports[index], all: ports.clone() };
            let setup = Setup {
                store: Some(store.clone()),
                member: Some(member),
                role: Some(role),
                frontend: frontend.map(|frontend| frontend.grpc.clone()),
                ..Setup::default()
            };
            Server::launch(&[], binary, &own, &setup).with_context(|| format!("start {name}"))
        };
        let (ingester, distributor, frontend) = (start(0, None)?, start(1, None)?, start(2, None)?);
        let queriers = [start(3, Some(&frontend))?, start(4, Some(&frontend))?];
        let compactor = start(5, None)?;
        let mut cluster = Self { ingester, distributor, frontend, queriers, compactor };
        cluster.wait_ready()?;
        Ok(cluster)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let Self { ingester, distributor, frontend, queriers, compactor } = self;
        for server in [ingester, distributor, frontend, compactor].into_iter().chain(queriers) {
            server.wait_ready()?;
        }
        // Members find each other by gossip, a moment after they are ready by themselves.
        let members = [&self.distributor, &self.frontend];
        for server in members.into_iter().chain(&self.queriers) {
            wait(Duration::from_secs(20), "the ingester is known", || {
                ensure!(server.log_text()?.contains("ingester-0"), "its log does not name the ingester");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn stop(self) -> Result<()> {
        // With queriers connected, and no query under way.
        const PROMPT: Duration = Duration::from_secs(5);
        let Self { ingester, distributor, frontend, queriers, compactor } = self;
        let began = Instant::now();
        frontend.stop()?;
        let took = began.elapsed();
        ensure!(took < PROMPT, "the query-frontend took {} ms to stop", took.as_millis());
        for server in [distributor].into_iter().chain(queriers).chain([compactor, ingester]) {
            server.stop()?;
        }
        Ok(())
    }
}

/// Jobs that a querier has done, by its metrics.
fn jobs_done(querier: &Server) -> Result<f64> {
    let text =
        Client::new(Duration::from_secs(5)).get(&format!("{}/metrics", querier.api), &[])?.text_whole();
    let counts = text.lines().filter_map(|line| {
        line.strip_prefix("tempo_querier_worker_request_executed_total")?.rsplit(' ').next()
    });
    Ok(counts.filter_map(|count| count.parse::<f64>().ok()).sum())
}
