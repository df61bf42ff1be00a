//! The cluster that everything runs on: the user's own where there is one, else a Kubernetes of our own in namespaces of this machine.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::artifacts::{self, Image};
use crate::home::Home;
use crate::ports::free_port;
use crate::progress::{Step, output, run_logged};

/// A cluster that kubectl reaches.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) home: &'a Home,
    /// The context of a cluster that the user gave; `None` for our own.
    given: Option<String>,
}

impl<'a> Cluster<'a> {
    /// The cluster of `KUBECONFIG`, else a kind cluster that kubectl points at, else our own.
    pub(crate) fn choose(home: &'a Home) -> Self {
        let own = home.out().join("kubeconfig");
        let named = env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty() && Path::new(&path) != own);
        let context = output(Command::new("kubectl").args(["config", "current-context"])).unwrap_or_default();
        let context = context.trim();
        let given = named || context.starts_with("kind-");
        Self { home, given: given.then(|| context.to_owned()) }
    }

    /// Whether it is our own, whose audit log can be read.
    pub(crate) fn is_own(&self) -> bool {
        self.given.is_none()
    }

    /// What it is, for people.
    pub(crate) fn describe(&self) -> String {
        self.given.as_ref().map_or_else(
            || "a cluster of our own".to_owned(),
            |context| format!("the given cluster {context}"),
        )
    }

    /// Our own cluster runs.
    pub(crate) fn runs(&self) -> bool {
        let pid = fs::read_to_string(self.home.out().join("pid")).unwrap_or_default();
        let ready = self.home.out().join("ready").exists();
        ready && !pid.trim().is_empty() && Path::new("/proc").join(pid.trim()).exists()
    }

    /// Start it if need be, and bring the images to it.
    pub(crate) fn start(&self, images: &[Image]) -> Result<()> {
        match &self.given {
            Some(context) => load(context, images),
            None if self.runs() => {
                for image in images.iter().filter(|i| i.changed) {
                    let import = ["ctr", "-n", "k8s.io", "image", "import"];
                    let step = Step::start(format!("importing {}", image.name));
                    output(self.home.script("e2e/cluster/enter.sh").args(import).arg(&image.archive))?;
                    step.done("");
                }
                Ok(())
            }
            None => run_logged(
                "starting Kubernetes",
                self.home.script("e2e/cluster/up.sh").arg("--keep"),
                &self.home.logs().join("up.log"),
            ),
        }
    }

    /// End our own cluster with everything in it. Not for a given one.
    pub(crate) fn stop(&self) -> Result<()> {
        output(&mut self.home.script("e2e/cluster/down.sh")).map(drop)
    }

    /// A program with kubectl's surroundings.
    fn program(&self, name: &str) -> Command {
        if self.given.is_none() {
            let mut command = self.home.script("e2e/cluster/enter.sh");
            command.arg(name);
            return command;
        }
        let own = self.home.bin().join(name);
        Command::new(if own.is_file() && name != "kubectl" { own.into_os_string() } else { name.into() })
    }

    /// kubectl with arguments; its output is returned.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.program("kubectl").args(arguments))
    }

    /// kubectl for the user: with this terminal.
    pub(crate) fn kubectl_command(&self, arguments: &[String]) -> Command {
        let mut command = self.program("kubectl");
        command.args(arguments);
        command
    }

    /// Give an image of our own cluster a second name.
    pub(crate) fn name_image(&self, image: &str, name: &str) -> Result<()> {
        output(self.program("ctr").args(["-n", "k8s.io", "image", "tag", "--force", image, name])).map(drop)
    }

    /// End the first container of a pod of our own cluster as the kernel would: no handler runs.
    pub(crate) fn kill_container(&self, pod: &Value) -> Result<()> {
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
        let id = id.strip_prefix("containerd://").context("a pod without a container")?;
        output(self.program("ctr").args(["-n", "k8s.io", "task", "kill", "--signal", "SIGKILL", id]))
            .map(drop)
    }

    /// helm with arguments.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String> {
        let folder = self.home.scratch().join("helm");
        let mut helm = self.program("helm");
        helm.env("HELM_CACHE_HOME", &folder).env("HELM_CONFIG_HOME", &folder).env("HELM_DATA_HOME", &folder);
        output(helm.args(arguments))
    }

    /// A script that uses kubectl and helm, run in the clone; it ends at the first command that fails.
    pub(crate) fn shell(&self, script: &str) -> Result<String> {
        let folder = self.home.scratch().join("helm");
        let mut bash = self.program("bash");
        bash.current_dir(&self.home.repository);
        if !self.is_own() {
            let path = format!("{}:{}", self.home.bin().display(), env::var("PATH").unwrap_or_default());
            bash.env("PATH", path);
        }
        bash.env("HELM_CACHE_HOME", &folder).env("HELM_CONFIG_HOME", &folder).env("HELM_DATA_HOME", &folder);
        output(bash.args(["-euo", "pipefail", "-c", script]))
    }

    /// The items of `kubectl get WHAT -o json`.
    pub(crate) fn list(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        let mut answer: Value = serde_json::from_str(&text).context("kubectl get")?;
        Ok(match answer["items"].take() {
            Value::Array(items) => items,
            _ => vec![answer],
        })
    }

    /// Pass connections to a port of 127.0.0.1 on to a Service, until the value is dropped.
    pub(crate) fn forward(
        &self,
        namespace: &str,
        service: &str,
        port: u16,
        local: Option<u16>,
    ) -> Result<Forward> {
        let within = format!("{service}.{namespace}:{port}");
        self.forward_to(namespace, &format!("service/{service}"), &within, local)
    }

    /// A local port that leads to a port of one pod.
    pub(crate) fn forward_to_pod(&self, pod: &Value, port: u16) -> Result<Forward> {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let within = format!("{}:{port}", text("/status/podIP"));
        self.forward_to(
            text("/metadata/namespace"),
            &format!("pod/{}", text("/metadata/name")),
            &within,
            None,
        )
    }

    /// `object` is what kubectl forwards to, `within` the address inside of the cluster.
    fn forward_to(&self, namespace: &str, object: &str, within: &str, local: Option<u16>) -> Result<Forward> {
        let local = local.filter(|p| TcpListener::bind(("127.0.0.1", *p)).is_ok());
        let local = match local {
            Some(port) => port,
            None => free_port()?,
        };
        let mut command = if self.given.is_none() {
            let mut command = self.home.script("e2e/cluster/forward.sh");
            command.arg(local.to_string()).arg(within);
            command
        } else {
            // kubectl's own forwarding ends with the pod that it happened to choose
            let again = r#"while :; do kubectl -n "$0" port-forward "$1" "$2"; sleep .3; done"#;
            let port = within.rsplit(':').next().unwrap_or_default();
            let mut command = Command::new("bash");
            command.args(["-c", again, namespace, object, &format!("{local}:{port}")]);
            command
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let forward = Forward { address: format!("http://127.0.0.1:{local}"), child: Some(child) };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", local)).is_err() {
            if began.elapsed() > Duration::from_secs(20) {
                bail!("no connection to {within} through 127.0.0.1:{local}");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(forward)
    }

    /// Writes of a user since a moment (RFC 3339), by `verb resource/name`, leases apart.
    pub(crate) fn writes_since(&self, user_prefix: &str, since: &str) -> Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        for event in self.audit_log()? {
            let (object, text) = (&event["objectRef"], |v: &Value| v.as_str().unwrap_or("").to_owned());
            let ours = text(&event["user"]["username"]).starts_with(user_prefix);
            if ours && text(&event["requestReceivedTimestamp"]).as_str() >= since {
                let subresource =
                    object["subresource"].as_str().map_or_else(String::new, |s| format!("/{s}"));
                let what = format!(
                    "{} {}{subresource}/{}",
                    text(&event["verb"]),
                    text(&object["resource"]),
                    text(&object["name"])
                );
                *counts.entry(what).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// The writes in the API server's audit log, leases apart, in no order.
    pub(crate) fn audit_log(&self) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        for entry in self.home.out().read_dir()? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("audit") && Path::new(&name).extension().is_some_and(|e| e == "jsonl") {
                for line in BufReader::new(File::open(&path)?).lines() {
                    events.extend(audited(&line?));
                }
            }
        }
        Ok(events)
    }
}

/// A line of the audit log; nothing for a lease, and for the line that is being written.
pub(crate) fn audited(line: &str) -> Option<Value> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["objectRef"]["resource"] != "leases").then_some(event)
}

fn load(context: &str, images: &[Image]) -> Result<()> {
    for image in images {
        let archive = image.archive.display();
        if let Some(name) = context.strip_prefix("kind-") {
            let step = Step::start(format!("loading {} into kind", image.name));
            output(Command::new("kind").args([
                "load",
                "image-archive",
                &archive.to_string(),
                "--name",
                name,
            ]))?;
            step.done("");
        } else if env::var_os("E2E_IMAGES_LOADED").is_none() {
            let archives: Vec<_> = images
                .iter()
                .map(|i| format!("  ctr -n k8s.io images import {}", i.archive.display()))
                .collect();
            bail!(
                "the nodes of {context} need our images; on each node run\n{}\nand start again with E2E_IMAGES_LOADED=1",
                archives.join("\n")
            );
        }
    }
    Ok(())
}

/// A port of this machine that leads into the cluster.
#[derive(Debug)]
pub(crate) struct Forward {
    /// `http://127.0.0.1:<port>`
    pub(crate) address: String,
    child: Option<Child>,
}

impl Forward {
    /// Let it live on after this process, and return its process group.
    pub(crate) fn leave(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").args(["-TERM", "--", &format!("-{}", child.id())]).status();
            let _ = child.wait();
        }
    }
}

/// Programs, images and the cluster, all ready.
pub(crate) fn ready(home: &Home) -> Result<Cluster<'_>> {
    let cluster = Cluster::choose(home);
    eprintln!("using {}", cluster.describe());
    artifacts::cluster_programs(home)?;
    let images = artifacts::images(home)?;
    let ran = cluster.is_own() && cluster.runs();
    cluster.start(&images)?;
    if ran && images.iter().any(|i| i.changed) {
        // same tag, other content: only a new pod takes it
        cluster.kubectl(&[
            "delete",
            "pods",
            "--all-namespaces",
            "--selector",
            "app.kubernetes.io/name=tempo",
            "--wait=false",
        ])?;
        cluster.kubectl(&[
            "delete",
            "pods",
            "--namespace",
            crate::stack::OPERATOR,
            "--all",
            "--wait=false",
        ])?;
    }
    Ok(cluster)
}
