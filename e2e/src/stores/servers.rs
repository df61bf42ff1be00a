//! The object stores as processes on this machine, on ports of their own, with an empty bucket each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::faults::minio::{BUCKET, KEY, Minio, SECRET};
use crate::home::Home;
use crate::http::Client;
use crate::ports::free_port;
use crate::progress::{output, run_logged};
use crate::stack::wait;

/// A store that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    /// Lines below `storage.trace`.
    pub(crate) keys: String,
    /// As `vivace blocks --store` takes it.
    pub(crate) url: String,
    /// What must stand in no log.
    pub(crate) secret: &'static str,
    _processes: Vec<Process>,
    _minio: Option<Minio>,
}

type Start = fn(&Home, &Path) -> Result<Store>;

/// All kinds.
pub(crate) const ALL: [(&str, Start); 3] = [("MinIO", minio), ("Azurite", azurite), ("GCS emulator", gcs)];

/// Azurite's account and its well-known key.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn folder(home: &Home) -> PathBuf {
    home.bin().join("stores")
}

/// Fetch and build what is not there yet.
pub(crate) fn build(home: &Home) -> Result<()> {
    run_logged(
        "fetching the emulators of Azure and Google (Go, npm)",
        home.script("e2e/stores/build.sh").arg(folder(home)),
        &home.logs().join("stores.log"),
    )
}

fn minio(home: &Home, place: &Path) -> Result<Store> {
    let minio = Minio::start(home, &place.join("minio"))?;
    let address = &minio.address;
    // Parts of the least size that S3 takes, and two requests where one is slow.
    let keys = format!(
        "    backend: s3
    s3: {{bucket: {BUCKET}, endpoint: '{address}', insecure: true, access_key: {KEY}, secret_key: {SECRET}, prefix: pre/fix,
         part_size: 5242880, hedge_requests_at: 500ms, hedge_requests_up_to: 2, tags: {{team: shop}}, metadata: {{kind: trace}}}}"
    );
    let url = format!("{}&prefix=pre/fix", minio.url());
    Ok(Store { keys, url, secret: SECRET, _processes: Vec::new(), _minio: Some(minio) })
}

fn azurite(home: &Home, place: &Path) -> Result<Store> {
    let port = free_port()?;
    let data = place.join("azurite");
    let program = folder(home).join("azurite/node_modules/.bin/azurite-blob");
    let mut command = Command::new(&program);
    command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"]);
    command.args(["--blobPort", &port.to_string(), "--location"]).arg(&data);
    let process = spawn(command, &place.join("azurite.log"))?;
    let address = format!("127.0.0.1:{port}");
    wait(Duration::from_secs(30), "Azurite answers", || {
        let mut create = Command::new("python3");
        create.arg(home.part("stores/container.py")).args([&address, ACCOUNT, ACCOUNT_KEY, BUCKET]);
        output(&mut create).map(drop)
    })?;
    let keys = format!(
        "    backend: azure
    azure: {{storage_account_name: {ACCOUNT}, storage_account_key: '{ACCOUNT_KEY}', container_name: {BUCKET},
            endpoint_suffix: '{address}', prefix: pre/fix, buffer_size: 1048576}}"
    );
    let url = format!(
        "az://{BUCKET}?storage_account_name={ACCOUNT}&storage_account_key={ACCOUNT_KEY}&endpoint_suffix={address}&prefix=pre/fix"
    );
    Ok(Store { keys, url, secret: ACCOUNT_KEY, _processes: vec![process], _minio: None })
}

fn gcs(home: &Home, place: &Path) -> Result<Store> {
    let (inner, port) = (free_port()?, free_port()?);
    let mut emulator = Command::new(folder(home).join("fake-gcs-server"));
    emulator.args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-log-level", "error"]);
    emulator.args(["-port", &inner.to_string()]);
    let emulator = spawn(emulator, &place.join("gcs.log"))?;
    let mut front = Command::new("python3");
    front.arg(home.part("stores/gcs.py")).args([port.to_string(), inner.to_string()]);
    let front = spawn(front, &place.join("gcs-front.log"))?;
    let client = Client::new(Duration::from_secs(5));
    let (address, create) =
        (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{inner}/storage/v1/b?project=shop"));
    wait(Duration::from_secs(30), "the GCS emulator answers", || {
        let list = format!("http://{address}/{BUCKET}?list-type=2");
        if client.get(&list, &[])?.status == 200 {
            return Ok(());
        }
        let body = format!("{{\"name\": \"{BUCKET}\"}}");
        let answer = client.post(&create, &[("Content-Type", "application/json")], body.as_bytes())?;
        ensure!(answer.status == 200, "HTTP {}: {}", answer.status, answer.text());
        anyhow::bail!("the bucket was made just now")
    })?;
    let keys = format!(
        "    backend: gcs
    gcs: {{bucket_name: {BUCKET}, endpoint: 'http://{address}/storage/v1/', insecure: true, prefix: pre/fix, chunk_buffer_size: 5242880}}"
    );
    let url = format!("gs://{BUCKET}?endpoint=http://{address}/storage/v1/&insecure=true&prefix=pre/fix");
    Ok(Store { keys, url, secret: "", _processes: vec![emulator, front], _minio: None })
}

fn spawn(mut command: Command, log: &Path) -> Result<Process> {
    let parent = log.parent().context("a log has no folder")?;
    fs::create_dir_all(parent)?;
    let out = File::create(log)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let command = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    command.spawn().map(Process).with_context(|| format!("start {program}"))
}
