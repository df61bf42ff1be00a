//! Many resources made at one time, with no node to run their pods: how soon the operator says of each that it was seen, how soon all of their objects are there,
//! and what it takes for that. Times and writes are the API server's own, by its audit log, so that nobody has to ask while it is busy.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};
use crate::home::Home;
use crate::http::Client;
use crate::progress::Step;
use crate::server::{cpu_of, memory_of};
use crate::stack::{OPERATOR, Stack, wait};

/// Without a write for so long, the operator is done.
const QUIET: Duration = Duration::from_secs(8);
/// Between two looks into the audit log, which take time from the operator.
const LOOK: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many are made, each in a namespace of its own
    #[arg(long, default_value_t = 100)]
    stacks: usize,
    /// tempostack or tempomonolithic, each with the shortest spec
    #[arg(long, default_value = "tempostack", value_parser = ["tempostack", "tempomonolithic"])]
    kind: String,
    /// Seconds in which an idle operator is watched
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Leave the cluster running
    #[arg(long)]
    keep: bool,
}

/// A write, as the audit log has it. Times are in seconds.
#[derive(Debug, Clone, PartialEq)]
struct Write {
    received: f64,
    answered: f64,
    is_of_operator: bool,
    verb: String,
    /// With the subresource, where there is one: `tempostacks/status`.
    resource: String,
    namespace: String,
    code: u64,
}

/// Measure and print.
pub(crate) fn run(home: &Home, options: &Options) -> Result<()> {
    let chosen = Cluster::choose(home);
    ensure!(
        chosen.is_own(),
        "the writes are in the audit log, which a given cluster keeps to itself: unset KUBECONFIG"
    );
    ensure!(
        !chosen.runs(),
        "this takes a cluster without anything on it; take the running one down: cargo e2e down"
    );
    let cluster = cluster::ready(home)?;
    Stack { cluster: &cluster, kind: "tempostack", name: "many" }.install_operator(&[])?;
    for node in cluster.list(&["nodes"])? {
        cluster.kubectl(&["cordon", node["metadata"]["name"].as_str().context("a node without a name")?])?;
    }
    made(&cluster, options)?;
    idle(&cluster, options)?;
    restarted(&cluster, options)?;
    if options.keep { Ok(()) } else { cluster.stop() }
}

/// From the first of them being made until the operator has nothing more to do.
fn made(cluster: &Cluster<'_>, options: &Options) -> Result<()> {
    let namespaces: Vec<String> = (0..options.stacks).map(|n| format!("many-{n:03}")).collect();
    let surroundings: Vec<Value> = namespaces
        .iter()
        .map(|name| namespace(name))
        .chain(namespaces.iter().map(|name| secret(name)))
        .collect();
    create(cluster, &surroundings)?;
    sleep(QUIET);
    let (pid, from) = (Process::find(cluster)?, writes(cluster)?.len());
    let before = pid.cpu(cluster)?;
    let resources: Vec<Value> = namespaces.iter().map(|name| resource(&options.kind, name)).collect();
    let step = Step::start(format!("creating {} of {}", options.stacks, options.kind));
    create(cluster, &resources)?;
    step.done("");
    let kind = format!("{}s", options.kind);
    let step = Step::start("waiting until the operator is done");
    let all = quiet(cluster, from)?;
    let told = told(&all, &kind).len();
    ensure!(told == options.stacks, "{told} of {} have a status", options.stacks);
    step.done("");
    report(&all, options);
    println!("operator: CPU            {:>8.1} s", pid.cpu(cluster)?.saturating_sub(before).as_secs_f64());
    pid.print_memory(cluster)
}

fn report(all: &[Write], options: &Options) {
    let kind = format!("{}s", options.kind);
    let made: Vec<&Write> =
        all.iter().filter(|w| !w.is_of_operator && w.verb == "create" && w.resource == kind).collect();
    let began = made.iter().map(|w| w.received).fold(f64::INFINITY, f64::min);
    let last = |times: &mut dyn Iterator<Item = f64>| times.fold(began, f64::max) - began;
    let told = told(all, &kind);
    let of_operator: Vec<&Write> = all.iter().filter(|w| w.is_of_operator && w.code < 300).collect();
    let (events, rest): (Vec<&Write>, Vec<&Write>) =
        of_operator.into_iter().partition(|w| w.resource == "events");
    let objects = rest.iter().filter(|w| !w.resource.starts_with(&kind)).map(|w| w.answered);
    let refused = all.iter().filter(|w| w.is_of_operator && w.code >= 300).count();
    let per_one = |count: usize| count as f64 / options.stacks as f64;
    println!(
        "last of them made        {:>8.1} s after the first",
        last(&mut made.iter().map(|w| w.answered))
    );
    println!("last has a first status  {:>8.1} s", last(&mut told.values().copied()));
    println!("last object written      {:>8.1} s", last(&mut { objects }));
    println!(
        "writes for each          {:>8.1}, and {:.1} events; {refused} refused in all",
        per_one(rest.len()),
        per_one(events.len())
    );
    let mut by_resource = BTreeMap::<&str, usize>::new();
    for write in &rest {
        *by_resource.entry(&write.resource).or_default() += 1;
    }
    let list: Vec<_> =
        by_resource.iter().map(|(name, count)| format!("{name} {:.1}", per_one(*count))).collect();
    println!("                                  {}", list.join(", "));
}

fn idle(cluster: &Cluster<'_>, options: &Options) -> Result<()> {
    let (from, pid) = (writes(cluster)?.len(), Process::find(cluster)?);
    let before = pid.cpu(cluster)?;
    sleep(Duration::from_secs(options.idle));
    let count = writes(cluster)?.iter().skip(from).filter(|w| w.is_of_operator).count();
    let cpu = pid.cpu(cluster)?.saturating_sub(before).as_secs_f64();
    println!("idle for {:>3} s           {count:>8} writes, {cpu:.1} s CPU", options.idle);
    Ok(())
}

/// The operator ends as if it were killed, and looks at all of them anew.
fn restarted(cluster: &Cluster<'_>, options: &Options) -> Result<()> {
    let from = writes(cluster)?.len();
    cluster.kill_container(&pod(cluster)?)?;
    let client = Client::new(Duration::from_secs(5));
    let reconciles = wait(PATIENCE, "all to be looked at anew", || {
        let forward = cluster.forward_to_pod(&pod(cluster)?, 8080)?;
        let page = client.get(&format!("{}/metrics", forward.address), &[])?.text_whole();
        let count: usize = page
            .lines()
            .filter(|line| line.starts_with("vivace_operator_reconciles_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
            .sum();
        ensure!(count >= options.stacks, "{count} reconciles");
        Ok(count)
    })?;
    let writes = quiet(cluster, from)?;
    let count = writes.iter().filter(|w| w.is_of_operator).count();
    println!("restart                  {count:>8} writes, {reconciles} reconciles or more");
    Process::find(cluster)?.print_memory(cluster)
}

/// What was written from there on, when the operator has written nothing for a while.
fn quiet(cluster: &Cluster<'_>, from: usize) -> Result<Vec<Write>> {
    let (mut count, mut since) = (0, Instant::now());
    while since.elapsed() < QUIET {
        sleep(LOOK);
        let now = writes(cluster)?.iter().skip(from).filter(|w| w.is_of_operator).count();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    Ok(writes(cluster)?.split_off(from))
}

/// When each of them had its first status, by namespace.
fn told<'w>(all: &'w [Write], kind: &str) -> BTreeMap<&'w str, f64> {
    let status = format!("{kind}/status");
    let mut first = BTreeMap::new();
    for write in all.iter().filter(|w| w.is_of_operator && w.resource == status && w.code < 300) {
        let at = first.entry(write.namespace.as_str()).or_insert(write.answered);
        *at = at.min(write.answered);
    }
    first
}

/// The audit log, in the order of the answers.
fn writes(cluster: &Cluster<'_>) -> Result<Vec<Write>> {
    let mut all: Vec<Write> = cluster.audit_log()?.iter().filter_map(write).collect();
    all.sort_by(|a, b| a.answered.total_cmp(&b.answered));
    Ok(all)
}

fn write(event: &Value) -> Option<Write> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let subresource = text("/objectRef/subresource");
    let resource = [text("/objectRef/resource"), subresource].join("/");
    Some(Write {
        received: seconds(&text("/requestReceivedTimestamp"))?,
        answered: seconds(&text("/stageTimestamp"))?,
        is_of_operator: text("/user/username").starts_with(&format!("system:serviceaccount:{OPERATOR}:")),
        verb: text("/verb"),
        resource: resource.trim_end_matches('/').to_owned(),
        namespace: text("/objectRef/namespace"),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0),
    })
}

/// Seconds since the midnight before the day of a time as the API server writes it; those of days add up within a month.
fn seconds(time: &str) -> Option<f64> {
    let (date, time) = time.strip_suffix('Z')?.split_once('T')?;
    let day: f64 = date.rsplit('-').next()?.parse().ok()?;
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(((day * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds)
}

/// The operator's process.
#[derive(Debug)]
struct Process(String);

impl Process {
    fn find(cluster: &Cluster<'_>) -> Result<Self> {
        // Names of processes end after fifteen bytes, and so does this one.
        let found = cluster
            .shell("grep --files-with-matches --line-regexp vivace-operator /proc/[0-9]*/comm | head -1")?;
        let found = found.trim().strip_suffix("/comm").context("no process of the operator")?;
        Ok(Self(found.to_owned()))
    }

    fn cpu(&self, cluster: &Cluster<'_>) -> Result<Duration> {
        Ok(cpu_of(&cluster.shell(&format!("cat {}/stat", self.0))?))
    }

    fn print_memory(&self, cluster: &Cluster<'_>) -> Result<()> {
        let (now, most) = (self.memory(cluster, "VmRSS")?, self.memory(cluster, "VmHWM")?);
        println!("operator: resident       {now:>8.1} MB, {most:.1} MB at most");
        Ok(())
    }

    /// In MB, which are of 1000 * 1000 bytes.
    fn memory(&self, cluster: &Cluster<'_>, line: &str) -> Result<f64> {
        let kib = memory_of(&cluster.shell(&format!("cat {}/status", self.0))?, line)?;
        Ok(kib as f64 * 1.024 / 1e3)
    }
}

fn pod(cluster: &Cluster<'_>) -> Result<Value> {
    let pods = cluster.list(&["--namespace", OPERATOR, "pods"])?;
    pods.into_iter().next().context("no pod of the operator")
}

/// One request each, one after the other.
fn create(cluster: &Cluster<'_>, objects: &[Value]) -> Result<()> {
    let file = tempfile::NamedTempFile::with_suffix(".json")?;
    std::fs::write(file.path(), json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
    cluster
        .kubectl(&["create", "--validate=false", "--filename", &file.path().display().to_string()])
        .map(drop)
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn secret(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3", "namespace": namespace},
        "stringData": {"endpoint": "http://minio:9000", "bucket": "b", "access_key_id": "i", "access_key_secret": "s"},
    })
}

fn resource(kind: &str, namespace: &str) -> Value {
    let (kind, spec) = match kind {
        "tempomonolithic" => ("TempoMonolithic", json!({})),
        _ => ("TempoStack", json!({"storage": {"secret": {"name": "s3", "type": "s3"}}})),
    };
    let metadata = json!({"name": "s", "namespace": namespace});
    json!({"apiVersion": "tempo.grafana.com/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::audited;

    fn line(user: &str, resource: &str, subresource: &str, namespace: &str, at: &str) -> String {
        json!({
            "verb": "patch", "user": {"username": user}, "responseStatus": {"code": 200},
            "objectRef": {"resource": resource, "subresource": subresource, "namespace": namespace},
            "requestReceivedTimestamp": "2026-12-01T03:00:00.000000Z", "stageTimestamp": at,
        })
        .to_string()
    }

    #[test]
    fn of_each_the_first_status_that_the_operator_wrote_counts() {
        let operator = "system:serviceaccount:vivace-operator:vivace-operator";
        let lines = [
            line(operator, "tempostacks", "status", "a", "2026-12-01T03:00:04.500000Z"),
            line(operator, "tempostacks", "status", "a", "2026-12-01T03:00:02.250000Z"),
            line("admin", "tempostacks", "status", "b", "2026-12-01T03:00:01.000000Z"),
            line(operator, "tempostacks", "", "c", "2026-12-01T03:00:01.000000Z"),
            line(operator, "leases", "", "d", "2026-12-01T03:00:01.000000Z"),
            "{\"verb\": \"pat".to_owned(),
        ];
        let all: Vec<Write> = lines.iter().filter_map(|line| write(&audited(line)?)).collect();
        assert_eq!(all.len(), 4);
        let first = told(&all, "tempostacks");
        assert_eq!(first.len(), 1);
        assert!((first["a"] - all[0].received - 2.25).abs() < 1e-6);
    }

    #[test]
    fn times_go_on_over_midnight() {
        let (before, after) = ("2026-12-01T23:59:59.500000Z", "2026-12-02T00:00:01.000000Z");
        let between = |a: &str, b: &str| Some(seconds(b)? - seconds(a)?);
        assert!((between(before, after).expect("times") - 1.5).abs() < 1e-6);
        assert_eq!(seconds("soon"), None);
    }
}
