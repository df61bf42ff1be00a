//! A real API server as processes on this machine: etcd, kube-apiserver, and of the controllers those that collect garbage, empty
//! namespaces and count quotas. No node, no pods, no root; ready in a few seconds.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::wait;
use crate::home::Home;
use crate::http::{Answer, Client};
use crate::ports::free_port;
use crate::progress::{end_of, output, run_logged};

/// Who everybody is. The server listens on the loopback alone and ends with the test.
const TOKEN: &str = "reconcile";
/// Of the controllers, those that the API's own promises rest on. What pods and workloads are is played by the test.
const CONTROLLERS: &str = "garbagecollector,namespace,resourcequota";
const START: Duration = Duration::from_mins(1);

/// The API server. Dropped, its processes are killed.
#[derive(Debug)]
pub(crate) struct ApiServer {
    /// `127.0.0.1:<port>`, plain HTTP: kubectl's proxy, which puts the token in.
    pub(crate) address: String,
    client: Client,
    children: Vec<(&'static str, Child)>,
    folder: TempDir,
}

impl ApiServer {
    /// Start it, empty.
    pub(crate) fn start(home: &Home) -> Result<Self> {
        let kbox = home.bin().join("kbox");
        if !kbox.is_file() {
            run_logged(
                "building the cluster's programs (Go; ten minutes the first time)",
                home.script("e2e/kbox/build.sh").arg(home.bin()),
                &home.logs().join("kbox.log"),
            )?;
        }
        let folder = tempfile::tempdir().context("make a folder for the API server")?;
        let (etcd, secure, plain) = (free_port()?, free_port()?, free_port()?);
        let mut server = Self {
            address: format!("127.0.0.1:{plain}"),
            client: Client::new(Duration::from_secs(20)),
            children: Vec::new(),
            folder,
        };
        server.write_files(secure)?;
        let etcd = format!("http://127.0.0.1:{etcd}");
        server.spawn(&kbox, "etcd", &etcd_flags(&etcd, free_port()?))?;
        server.spawn(&kbox, "kube-apiserver", &api_server_flags(&etcd, secure))?;
        let proxy = ["proxy", "--kubeconfig=kubeconfig", "--address=127.0.0.1"].map(str::to_owned);
        let port = format!("--port={plain}");
        server.spawn(
            &kbox,
            "kubectl",
            &[&proxy[..], &[port, "--disable-filter=true".to_owned()]].concat(),
        )?;
        wait(START, "the API server is ready", || {
            let answer = server.request("GET", "/readyz", None);
            ensure!(answer.is_ok_and(|answer| answer.status == 200), server.state("kube-apiserver"));
            Ok(())
        })?;
        let controllers = [
            "--kubeconfig=kubeconfig",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=300",
            "--kube-api-burst=500",
            "--resource-quota-sync-period=2s",
        ];
        let mut flags: Vec<String> = controllers.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--controllers={CONTROLLERS}"));
        server.spawn(&kbox, "kube-controller-manager", &flags)?;
        Ok(server)
    }

    fn write_files(&self, port: u16) -> Result<()> {
        let path = |name: &str| self.folder.path().join(name);
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
            .arg(path("accounts.key"))
            .stderr(Stdio::null())
            .status()
            .context("openssl")?;
        ensure!(made.success(), "openssl genpkey: {made}");
        let mut public = Command::new("openssl");
        output(
            public
                .args(["pkey", "-pubout", "-in"])
                .arg(path("accounts.key"))
                .arg("-out")
                .arg(path("accounts.pub")),
        )?;
        fs::write(path("tokens"), format!("{TOKEN},test,test,system:masters\n"))?;
        fs::write(
            path("kubeconfig"),
            format!(
                "apiVersion: v1\nkind: Config\n\
                 clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}]\n\
                 users: [{{name: a, user: {{token: {TOKEN}}}}}]\n\
                 contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n"
            ),
        )?;
        Ok(())
    }

    fn spawn(&mut self, kbox: &Path, name: &'static str, flags: &[String]) -> Result<()> {
        let log = File::create(self.folder.path().join(format!("{name}.log")))?;
        let child = Command::new(kbox)
            .arg(name)
            .args(flags)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        self.children.push((name, child));
        Ok(())
    }

    /// The last that a process said.
    fn state(&self, name: &str) -> String {
        end_of(&self.folder.path().join(format!("{name}.log")), 5).unwrap_or_default()
    }

    /// A folder for what else belongs to the run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A request of the test itself, past the faults. A PATCH is a merge patch.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let url = format!("http://{}{path}", self.address);
        let Some(body) = body else {
            return match method {
                "GET" => self.client.get(&url, &[]),
                _ => self.client.send(method, &url, &[], &[]),
            };
        };
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.client.send(method, &url, &[("Content-Type", kind)], &serde_json::to_vec(body)?)
    }

    /// As [`Self::request`]; any answer but a success is an error.
    pub(crate) fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.request(method, path, body)?;
        ensure!(answer.status < 300, "{method} {path}: HTTP {}: {}", answer.status, answer.text());
        serde_json::from_slice(&answer.body).with_context(|| format!("{method} {path}"))
    }

    /// An object, or nothing where there is none.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Value>> {
        let answer = self.request("GET", path, None)?;
        if answer.status == 404 {
            return Ok(None);
        }
        answer.json().map(Some)
    }

    /// The operator's definitions, served.
    pub(crate) fn install_definitions(&self, home: &Home) -> Result<()> {
        const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        for kind in ["HTTPRoute", "GRPCRoute"] {
            let group = "gateway.networking.k8s.io";
            self.must("POST", DEFINITIONS, Some(&super::specs::definition(group, kind)))?;
            let path = format!("/apis/{group}/v1/{}s", kind.to_lowercase());
            wait(START, "the kinds of others are served", || self.must("GET", &path, None))?;
        }
        for plural in ["tempostacks", "tempomonolithics"] {
            let file = home.repository.join(format!("crds/tempo.grafana.com_{plural}.yaml"));
            let definition: Value = serde_yaml::from_str(&fs::read_to_string(file)?)?;
            self.must("POST", DEFINITIONS, Some(&definition))?;
            let path = format!("/apis/tempo.grafana.com/v1alpha1/{plural}");
            wait(START, "the definitions are served", || self.must("GET", &path, None))?;
        }
        Ok(())
    }
}

fn etcd_flags(address: &str, peers: u16) -> Vec<String> {
    vec![
        "--data-dir=etcd".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={address}"),
        format!("--advertise-client-urls={address}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
    ]
}

fn api_server_flags(etcd: &str, port: u16) -> Vec<String> {
    let mut flags: Vec<String> = [
        "--bind-address=127.0.0.1",
        "--advertise-address=192.0.2.1", // of no one (RFC 5737); the loopback is refused
        "--cert-dir=certificates",
        "--token-auth-file=tokens",
        "--authorization-mode=RBAC",
        "--anonymous-auth=false",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=accounts.pub",
        "--service-account-signing-key-file=accounts.key",
    ]
    .map(str::to_owned)
    .into();
    flags.push(format!("--etcd-servers={etcd}"));
    flags.push(format!("--secure-port={port}"));
    flags
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
