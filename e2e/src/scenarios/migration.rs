//! Taking a stack over from Grafana's operator by the commands of docs/migration.md, read from there, and giving it back.

mod peer;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{World, name, text};
use crate::otlp::Trace;
use crate::progress::Step;
use crate::stack::{NAMESPACE, OPERATOR, Stack, wait};
use peer::{BUCKET, CASES, Case, MANAGER, Peer};

/// The guide.
const GUIDE: &str = "docs/migration.md";
/// Stands for the manifest of Grafana's operator.
const MANIFEST: &str = "e2e/data/migration/tempo-operator.yaml";
/// How long pods take to roll, twice.
const ROLLOUT: Duration = Duration::from_mins(3);

/// What a user would notice if it changed: uids of everything, and the selectors.
type Sight = BTreeMap<(String, String), (String, Value)>;

pub(super) fn migrate(world: &mut World<'_>) -> Result<String> {
    let stack = &world.stack;
    // of our own, whose pods an autoscaler may number, so that the guide would leave them without distributors
    stack.kubectl(&["delete", "tempostack", "--all", "--timeout=60s"])?;
    let outcome = there_and_back(stack);
    // whatever happened, the next scenario finds our operator and nothing of the peer's
    for kind in ["mutating", "validating"] {
        let webhooks = format!("tempo-operator-{kind}-webhook-configuration");
        stack.kubectl(&[
            "delete",
            &format!("{kind}webhookconfiguration"),
            &webhooks,
            "--ignore-not-found",
        ])?;
    }
    stack.kubectl(&["delete", "namespace", "tempo-operator-system", "--ignore-not-found", "--wait=false"])?;
    stack.install_operator(&[])?;
    for Case { kind, name, .. } in &CASES {
        let gone = stack.kubectl(&["delete", kind, name, "--ignore-not-found", "--timeout=60s"]);
        if outcome.is_ok() {
            gone.with_context(|| format!("the peer's finalizer was not taken off {kind} {name}"))?;
        }
        let claims = format!("--selector=app.kubernetes.io/instance={name}");
        stack.kubectl(&["delete", "persistentvolumeclaims", &claims])?;
    }
    outcome
}

fn there_and_back(world: &Stack<'_>) -> Result<String> {
    let cluster = world.cluster;
    let guide = std::fs::read_to_string(cluster.home.repository.join(GUIDE))?;
    let variables = commands(&guide, "## Before")?.replace("=tempo-operator.yaml", &format!("={MANIFEST}"));
    cluster.shell(&format!("helm uninstall {OPERATOR} --namespace {OPERATOR} --ignore-not-found --wait"))?;
    let step = Step::start("installing what Grafana's operator makes");
    world.make_bucket(BUCKET)?;
    let peers = CASES.iter().map(|case| Peer::install(world.other(case.kind, case.name), case));
    let peers: Vec<Peer<'_>> = peers.collect::<Result<_>>()?;
    each(&peers, |peer| rolled_out(&peer.stack))?;
    cluster.shell(&format!("kubectl apply --server-side --filename {MANIFEST}"))?;
    step.done("");
    let mut traces = each(&peers, |peer| send(&peer.stack, "under Grafana's operator", 30))?;
    let annotate = || world.kubectl(&["annotate", "tempostack", CASES[0].name, "seen=yes", "--overwrite"]);
    ensure!(annotate().is_err(), "the peer's webhooks let a change pass although nobody answers them");

    let before = each(&peers, |peer| Ok((sight(peer)?, peer.stack.resource()?)))?;
    let step = Step::start("going over by the guide");
    cluster.shell(&format!("{variables}{}", ours(&commands(&guide, "## Over")?)?))?;
    step.done("");
    for (peer, (before, resource)) in peers.iter().zip(&before) {
        adopted(peer, before, resource).with_context(|| peer.stack.name.to_owned())?;
    }
    send_and_find(&peers, &mut traces, "under ours")?;
    pruned(&peers[0])?;

    let step = Step::start("going back by the guide");
    let before = each(&peers, sight)?;
    cluster.shell(&format!("{variables}{}", commands(&guide, "## Back")?))?;
    ensure!(each(&peers, sight)? == before, "something went with our operator");
    ensure!(annotate().is_err(), "the peer's webhooks are not back");
    each(&peers, |peer| peer.write().context("Grafana's operator could not write its objects over ours"))?;
    each(&peers, |peer| rolled_out(&peer.stack))?;
    step.done("");
    ensure!(each(&peers, sight)? == before, "an object was made anew on the way back");
    send_and_find(&peers, &mut traces, "after the way back")?;
    let (objects, found) = (before.iter().map(Sight::len).sum::<usize>(), traces.concat().len());
    Ok(format!("{objects} objects of both kinds adopted and given back, {found} traces found throughout"))
}

fn each<'p, T>(peers: &'p [Peer<'p>], what: impl FnMut(&'p Peer<'p>) -> Result<T>) -> Result<Vec<T>> {
    peers.iter().map(what).collect()
}

fn send(stack: &Stack<'_>, when: &str, count: usize) -> Result<Vec<Trace>> {
    let traces = stack.send(count).with_context(|| when.to_owned())?;
    stack.find(&traces, Duration::from_mins(1)).with_context(|| when.to_owned())?;
    Ok(traces)
}

/// More traces, and then all that there were.
fn send_and_find(peers: &[Peer<'_>], traces: &mut [Vec<Trace>], when: &str) -> Result<()> {
    for (peer, traces) in peers.iter().zip(traces) {
        traces.extend(send(&peer.stack, when, 10)?);
        peer.stack.find(traces, ROLLOUT).with_context(|| format!("{when}, {}", peer.stack.name))?;
    }
    Ok(())
}

/// What was the other operator's goes when it is no longer wanted, as if it had been ours.
fn pruned(peer: &Peer<'_>) -> Result<()> {
    let policies = || peer.stack.objects("networkpolicies");
    let names: Vec<Value> = policies()?.iter().map(|policy| policy["metadata"]["name"].clone()).collect();
    ensure!(!names.is_empty(), "no policies");
    for (enabled, count) in [(false, 0), (true, names.len())] {
        peer.stack.patch(&json!({"networkPolicy": {"enabled": enabled}}))?;
        wait(Duration::from_secs(30), "policies", || {
            let found = policies()?.len();
            ensure!(found == count, "{found} policies, not {count}");
            Ok(())
        })?;
    }
    Ok(())
}

/// The shell blocks under a heading, in order.
fn commands(guide: &str, heading: &str) -> Result<String> {
    let section = guide.split(&format!("{heading}\n")).nth(1).with_context(|| format!("no {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks: Vec<&str> =
        section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    ensure!(!blocks.is_empty(), "no commands under {heading}");
    Ok(blocks.concat())
}

/// The same commands with the images that are on this cluster: all that is changed of the guide.
fn ours(commands: &str) -> Result<String> {
    let images = "--set image.repository=vivace.local/vivace-operator,image.tag=e2e,workloadImage.repository=vivace.local/vivace,workloadImage.tag=e2e";
    let with = commands
        .replace("--set crds.install=false --wait", &format!("--set crds.install=false {images} --wait"));
    ensure!(with != commands, "the guide does not install the chart as expected");
    Ok(with)
}

/// Until every workload's newest pods are ready and no others are left.
fn rolled_out(stack: &Stack<'_>) -> Result<()> {
    wait(ROLLOUT, "workloads to roll out", || {
        for workload in stack.objects("deployments,statefulsets")? {
            let number = |pointer: &str| workload.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
            let wanted = number("/spec/replicas");
            let fields = ["replicas", "readyReplicas", "updatedReplicas"];
            let counts = fields.map(|field| number(&format!("/status/{field}")));
            let seen = number("/status/observedGeneration") >= number("/metadata/generation");
            ensure!(seen && counts == [wanted; 3], "{}: {counts:?} of {wanted}", name(&workload));
        }
        Ok(())
    })
}

/// The objects of the recording that are there, and the volumes.
fn sight(peer: &Peer<'_>) -> Result<Sight> {
    let mut kinds: Vec<String> = peer.objects.iter().map(|o| text(o, "/kind").to_lowercase()).collect();
    kinds.push("persistentvolumeclaim".to_owned());
    kinds.sort();
    kinds.dedup();
    let mut all = Sight::new();
    for object in &peer.stack.objects(&kinds.join(","))? {
        let part = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
        let claims: Vec<Value> = part("/spec/volumeClaimTemplates")
            .as_array()
            .into_iter()
            .flatten()
            .map(|claim| claim["metadata"]["name"].clone())
            .collect();
        let key = (text(object, "/kind").to_owned(), name(object).to_owned());
        let kept = json!([part("/spec/selector"), part("/spec/serviceName"), claims]);
        all.insert(key, (text(object, "/metadata/uid").to_owned(), kept));
    }
    ensure!(all.keys().any(|(kind, _)| kind == "PersistentVolumeClaim"), "no volume");
    Ok(all)
}

/// What reference and guide say of a stack that was taken over.
fn adopted(peer: &Peer<'_>, before: &Sight, resource: &Value) -> Result<()> {
    let (stack, after, leftover) = (&peer.stack, sight(peer)?, peer.leftover());
    for (key, was) in before {
        match after.get(key) {
            None if key.1 == leftover => {}
            Some(_) if key.1 == leftover => bail!("{leftover} is still there, and nothing asks for it"),
            None => bail!("{} {} is gone", key.0, key.1),
            Some(is) if is == was => {}
            Some(is) => bail!("{} {} is {is:?}, was {was:?}", key.0, key.1),
        }
    }
    let bystander = ("ConfigMap".to_owned(), peer.bystander());
    ensure!(after.contains_key(&bystander), "what the stack does not own is gone");
    let new: Vec<_> = after.keys().filter(|key| !before.contains_key(*key)).collect();
    ensure!(new.is_empty(), "objects that Grafana's operator does not make: {new:?}");
    for recorded in &peer.objects {
        of_ours(stack, recorded)?;
    }
    let now = stack.resource()?;
    for pointer in ["/spec", "/metadata/generation", "/metadata/finalizers", "/metadata/uid"] {
        ensure!(now.pointer(pointer) == resource.pointer(pointer), "{pointer} of the resource has changed");
    }
    ensure!(text(&now, "/metadata/finalizers/0") == "tempo.grafana.com/finalizer", "no finalizer");
    ensure!(
        now.pointer("/status/operatorVersion") != Some(&json!("0.22.0")),
        "the status is still the peer's"
    );
    stack.condition("Ready").map(drop)
}

/// An object of the peer's that has become ours: its fields are, and what users and pods rely on is as it was.
fn of_ours(stack: &Stack<'_>, recorded: &Value) -> Result<()> {
    let label = format!("{} {}", text(recorded, "/kind"), name(recorded));
    let words = ["--show-managed-fields", "--namespace", NAMESPACE, text(recorded, "/kind"), name(recorded)];
    let object = stack.cluster.list(&words)?.into_iter().next().context(label.clone())?;
    let managers = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let managers = managers.map_or(&[][..], Vec::as_slice);
    let theirs = managers.iter().any(|m| m["manager"] == MANAGER && m["subresource"].is_null());
    let applied = managers.iter().any(|m| m["manager"] == OPERATOR && m["operation"] == "Apply");
    ensure!(applied && !theirs, "{label}: fields are of {managers:?}");
    let keys = |object: &Value| -> Vec<String> {
        object["data"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    if recorded["kind"] == "ConfigMap" {
        ensure!(keys(&object) == keys(recorded), "{label}: keys are {:?}", keys(&object));
    }
    if recorded["kind"] == "Secret" {
        let template = r#"--output=go-template={{index .data "tls.crt" | base64decode}}"#;
        let now = stack.kubectl(&["get", "secret", name(recorded), template])?;
        ensure!(now == text(recorded, "/stringData/tls.crt"), "{label}: the certificate was made anew");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_commands_for_both_ways_and_installs_the_chart() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/migration.md");
        let guide = std::fs::read_to_string(path).unwrap();
        assert!(commands(&guide, "## Before").unwrap().contains("PEER="));
        let over = ours(&commands(&guide, "## Over").unwrap()).unwrap();
        assert!(over.contains("vivace.local/vivace-operator") && over.contains("/shutdown"));
        let back = commands(&guide, "## Back").unwrap();
        assert!(back.contains("helm uninstall") && !back.contains("subscription"));
        assert!(commands(&guide, "## Sideways").is_err());
    }
}
