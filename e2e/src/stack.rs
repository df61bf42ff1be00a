//! What stands on the cluster: MinIO, the operator by its chart, and the sample `TempoStack`; how they are put there, asked and taken away.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, Forward};
use crate::http::{Client, encode};
use crate::otlp::{Trace, request};
use crate::progress::{Step, output};
use crate::shop::{Shop, now};

/// The namespace of the sample and of MinIO.
pub(crate) const NAMESPACE: &str = "vivace-e2e";
/// The namespace and the release of the operator.
pub(crate) const OPERATOR: &str = "vivace-operator";
/// The name of the sample.
pub(crate) const SAMPLE: &str = "sample";
/// Traces are looked for in at most so many results.
const SEARCH_LIMIT: usize = 5_000;

/// A `TempoStack` or `TempoMonolithic` on a cluster.
#[derive(Debug)]
pub(crate) struct Stack<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    /// As kubectl calls it.
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
}

/// Ask again until it succeeds; when the time is over, the last error is the answer.
pub(crate) fn wait<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() > limit => {
                return Err(error.context(format!("{what}: not within {} s", limit.as_secs())));
            }
            Err(_) => sleep(Duration::from_millis(250)),
        }
    }
}

impl<'a> Stack<'a> {
    /// MinIO with an empty bucket, and the operator with its CRDs.
    pub(crate) fn prepare(cluster: &'a Cluster<'a>) -> Result<Self> {
        let stack = Self { cluster, kind: "tempostack", name: SAMPLE };
        if cluster.kubectl(&["get", "namespace", NAMESPACE]).is_err() {
            cluster.kubectl(&["create", "namespace", NAMESPACE])?;
        }
        let step = Step::start("starting MinIO");
        stack.apply("samples/minio.yaml")?;
        stack.kubectl(&["rollout", "status", "deployment/minio", "--timeout=90s"])?;
        stack.make_bucket("tempo")?;
        step.done("bucket tempo");
        stack.install_operator(&[])?;
        Ok(stack)
    }

    /// Another stack in the same namespace.
    pub(crate) fn other(&self, kind: &'static str, name: &'static str) -> Self {
        Self { cluster: self.cluster, kind, name }
    }

    /// A bucket in MinIO, unless it is there.
    pub(crate) fn make_bucket(&self, name: &str) -> Result<()> {
        let path = format!("/{name}");
        wait(Duration::from_secs(20), "making the bucket", || self.s3("PUT", &path)).map(drop)
    }

    /// The chart with our images, and with these values besides.
    pub(crate) fn install_operator(&self, values: &[&str]) -> Result<()> {
        let step = Step::start("installing the chart vivace-operator");
        let chart = self.cluster.home.repository.join("charts/vivace-operator").display().to_string();
        let image = "image.repository=vivace.local/vivace-operator,image.tag=e2e,workloadImage.repository=vivace.local/vivace,workloadImage.tag=e2e";
        let place =
            ["--namespace", OPERATOR, "--create-namespace", "--wait", "--timeout", "120s", "--set", image];
        let mut words = [&["upgrade", "--install", OPERATOR, &chart], &place[..]].concat();
        words.extend(values.iter().flat_map(|value| ["--set", *value]));
        self.cluster.helm(&words)?;
        step.done("");
        Ok(())
    }

    /// Apply a file of the package e2e in the sample's namespace.
    pub(crate) fn apply(&self, file: &str) -> Result<()> {
        let file = self.cluster.home.part(file).display().to_string();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &file]).map(drop)
    }

    /// kubectl in the sample's namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", NAMESPACE], arguments].concat())
    }

    /// kubectl in the sample's namespace, with the name of a file that holds these objects as the last argument.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], objects: &Value) -> Result<String> {
        let file = tempfile::NamedTempFile::with_suffix(".json")?;
        fs::write(file.path(), objects.to_string())?;
        self.kubectl(&[arguments, &[&file.path().display().to_string()]].concat())
    }

    /// Objects of a kind that belong to the stack, as JSON.
    pub(crate) fn objects(&self, kind: &str) -> Result<Vec<Value>> {
        let selector =
            format!("app.kubernetes.io/instance={},app.kubernetes.io/managed-by=tempo-operator", self.name);
        self.cluster.list(&["--namespace", NAMESPACE, kind, "--selector", &selector])
    }

    /// Merge a change into the stack's spec.
    pub(crate) fn patch(&self, spec: &Value) -> Result<()> {
        let patch = serde_json::json!({ "spec": spec }).to_string();
        self.kubectl(&["patch", self.kind, self.name, "--type=merge", "--patch", &patch]).map(drop)
    }

    /// The resource as it is now.
    pub(crate) fn resource(&self) -> Result<Value> {
        let found = self.cluster.list(&["--namespace", NAMESPACE, self.kind, self.name])?;
        found.into_iter().next().with_context(|| format!("no {} {}", self.kind, self.name))
    }

    /// A condition that is true for the present generation, with its message.
    pub(crate) fn condition(&self, name: &str) -> Result<String> {
        let resource = self.resource()?;
        let (generation, observed) =
            (&resource["metadata"]["generation"], &resource["status"]["observedGeneration"]);
        let conditions = resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|c| c["type"] == name);
        match found {
            Some(c) if c["status"] == "True" && observed == generation => {
                Ok(c["message"].as_str().unwrap_or("").to_owned())
            }
            Some(c) => bail!(
                "{name} is {} for generation {}, not {generation}: {}",
                c["status"],
                c["observedGeneration"],
                c["message"]
            ),
            None => bail!("no condition {name}"),
        }
    }

    /// Wait until it is Ready, showing the pods; return how long it took.
    pub(crate) fn wait_ready(&self, limit: Duration) -> Result<Duration> {
        let (began, mut step) =
            (Instant::now(), Step::start(format!("waiting until TempoStack {} is Ready", self.name)));
        let outcome = wait(limit, "Ready", || {
            step.note(&self.pods_in_words().unwrap_or_default());
            self.condition("Ready")
        });
        if let Err(error) = outcome {
            let pods = self.kubectl(&["get", "pods,tempostack", "--output=wide"]).unwrap_or_default();
            return Err(error.context(pods));
        }
        let took = began.elapsed();
        step.done(&self.pods_in_words()?);
        Ok(took)
    }

    /// Pods of the stack.
    pub(crate) fn pods(&self) -> Result<Vec<Value>> {
        self.objects("pods")
    }

    fn pods_in_words(&self) -> Result<String> {
        let pods = self.pods()?;
        let word = |pod: &Value| {
            let component = pod["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or("?");
            let ready = if is_ready(pod) { "ready" } else { pod["status"]["phase"].as_str().unwrap_or("?") };
            format!("{component} {ready}")
        };
        Ok(pods.iter().map(word).collect::<Vec<_>>().join(", "))
    }

    /// The port of a component's Service on this machine.
    pub(crate) fn forward(&self, component: &str, port: u16, local: Option<u16>) -> Result<Forward> {
        let service = match self.kind {
            "tempomonolithic" => format!("tempo-{}", self.name),
            _ => format!("tempo-{}-{component}", self.name),
        };
        self.cluster.forward(NAMESPACE, &service, port, local)
    }

    /// Send fresh traces through the distributor; every one is acknowledged when this returns.
    pub(crate) fn send(&self, count: usize) -> Result<Vec<Trace>> {
        let (forward, client) =
            (self.forward("distributor", 4318, None)?, Client::new(Duration::from_secs(20)));
        let traces = Shop::new(now()).traces(count, now());
        for some in traces.chunks(20) {
            let body = request(some);
            wait(Duration::from_secs(20), "sending traces", || client.export(&forward.address, &body))?;
        }
        Ok(traces)
    }

    /// Look for every trace by id with all its spans, and for all of them by one search.
    pub(crate) fn find(&self, traces: &[Trace], limit: Duration) -> Result<()> {
        let (forward, client) =
            (self.forward("query-frontend", 3200, None)?, Client::new(Duration::from_secs(20)));
        let spans: usize = traces.iter().map(|t| t.spans.len()).sum();
        wait(limit, "finding every trace by id", || {
            let mut missing = Vec::new();
            let mut found = 0;
            for trace in traces {
                let count = spans_of(&client, &forward.address, &trace.hex())?.len();
                found += count;
                if count != trace.spans.len() {
                    missing.push(format!("{} has {count} of {}", trace.hex(), trace.spans.len()));
                }
            }
            ensure!(
                missing.is_empty(),
                "{} traces incomplete, {found} of {spans} spans: {}",
                missing.len(),
                missing[0]
            );
            Ok(())
        })?;
        wait(limit, "finding every trace by search", || {
            let found =
                search(&client, &forward.address, "{ resource.service.name = \"frontend\" }", SEARCH_LIMIT)?;
            let ids: Vec<_> =
                found.iter().filter_map(|t| t["traceID"].as_str()).map(|id| format!("{id:0>32}")).collect();
            let lost = traces.iter().filter(|t| !ids.contains(&t.hex())).count();
            ensure!(lost == 0, "{lost} of {} traces not among {} results", traces.len(), ids.len());
            Ok(())
        })
    }

    /// Have every ingester write blocks of what it holds. Only who shows a certificate of the stack may ask for that.
    pub(crate) fn flush(&self) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let secret = format!("tempo-{}-ingester-mtls", self.name);
        let bundle = format!("tempo-{}-ca-bundle", self.name);
        let file = |name: &str, kind: &str, object: &str, template: &str| -> Result<String> {
            let template = format!("--output=go-template={template}");
            let text = self.cluster.kubectl(&["--namespace", NAMESPACE, "get", kind, object, &template])?;
            let path = folder.path().join(name);
            fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let cert = file("tls.crt", "secret", &secret, r#"{{index .data "tls.crt" | base64decode}}"#)?;
        let key = file("tls.key", "secret", &secret, r#"{{index .data "tls.key" | base64decode}}"#)?;
        let ca = file("ca.crt", "configmap", &bundle, r#"{{index .data "service-ca.crt"}}"#)?;
        let host = format!("tempo-{}-ingester.{NAMESPACE}.svc", self.name);
        for pod in self
            .pods()?
            .iter()
            .filter(|p| p["metadata"]["labels"]["app.kubernetes.io/component"] == "ingester")
        {
            let forward = self.cluster.forward_to_pod(pod, 3200)?;
            let port = forward.address.rsplit(':').next().unwrap_or_default().to_owned();
            let mut curl = Command::new("curl");
            curl.args([
                "--silent",
                "--show-error",
                "--fail",
                "--cert",
                &cert,
                "--key",
                &key,
                "--cacert",
                &ca,
            ]);
            curl.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
            output(curl.arg(format!("https://{host}:{port}/flush")))?;
        }
        Ok(())
    }

    /// Keys in the bucket.
    pub(crate) fn bucket(&self) -> Result<Vec<String>> {
        let listing = self.s3("GET", "/tempo?list-type=2")?;
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        Ok(keys.map(str::to_owned).collect())
    }

    fn s3(&self, method: &str, path: &str) -> Result<String> {
        let forward = self.cluster.forward(NAMESPACE, "minio", 9000, None)?;
        let url = format!("{}{path}", forward.address);
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--aws-sigv4",
            "aws:amz:us-east-1:s3",
            "--user",
            "tempo:supersecret",
        ]);
        curl.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--request", method, &url]);
        let said = output(&mut curl)?;
        ensure!(
            !said.contains("<Error>") || said.contains("BucketAlreadyOwnedByYou"),
            "{method} {path}: {said}"
        );
        Ok(said)
    }
}

/// Whether a pod is Ready and not on its way out.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Results of a TraceQL search over the last hour, newest first.
pub(crate) fn search(client: &Client, api: &str, query: &str, limit: usize) -> Result<Vec<Value>> {
    let seconds = now() / 1_000_000_000;
    let window = format!("start={}&end={}", seconds - 3600, seconds + 5);
    let answer =
        client.get(&format!("{api}/api/search?q={}&limit={limit}&{window}", encode(query)), &[])?.json()?;
    Ok(answer["traces"].as_array().cloned().unwrap_or_default())
}

/// Span ids (as the JSON has them: base64) of a trace; none when there is no such trace.
pub(crate) fn spans_of(client: &Client, api: &str, id: &str) -> Result<Vec<String>> {
    let answer = client.get(&format!("{api}/api/v2/traces/{id}"), &[("Accept", "application/json")])?;
    if answer.status == 404 {
        return Ok(Vec::new());
    }
    let body = answer.json()?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut ids = Vec::new();
    for batch in list(&body["trace"]["resourceSpans"]) {
        for scope in list(&batch["scopeSpans"]) {
            ids.extend(list(&scope["spans"]).iter().filter_map(|s| s["spanId"].as_str().map(str::to_owned)));
        }
    }
    Ok(ids)
}
