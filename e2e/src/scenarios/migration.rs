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
use peer::{BUCKET, BYSTANDER, LEFTOVER, MANAGER, NAME, Peer};

/// The guide.
const GUIDE: &str = "docs/migration.md";
/// Stands for the manifest of Grafana's operator.
const MANIFEST: &str = "e2e/data/migration/tempo-operator.yaml";
/// How long pods take to roll, twice.
const ROLLOUT: Duration = Duration::from_mins(3);

/// What a user would notice if it changed: uids of everything, and the selectors.
type Sight = BTreeMap<(String, String), (String, Value)>;

pub(super) fn migrate(world: &mut World<'_>) -> Result<String> {
    let stack = world.stack.named(NAME);
    // of our own, whose pods an autoscaler may number, so that the guide would leave them without distributors
    stack.kubectl(&["delete", "tempostack", "--all", "--timeout=60s"])?;
    let outcome = there_and_back(&stack);
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
    stack.install_operator()?;
    let gone = stack.kubectl(&["delete", "tempostack", NAME, "--ignore-not-found", "--timeout=60s"]);
    let said = outcome?;
    gone.context("the peer's finalizer was not taken off")?;
    Ok(said)
}

fn there_and_back(stack: &Stack<'_>) -> Result<String> {
    let guide = std::fs::read_to_string(stack.cluster.home.repository.join(GUIDE))?;
    let variables = commands(&guide, "## Before")?.replace("=tempo-operator.yaml", &format!("={MANIFEST}"));
    stack
        .cluster
        .shell(&format!("helm uninstall {OPERATOR} --namespace {OPERATOR} --ignore-not-found --wait"))?;
    let mut step = Step::start("installing what Grafana's operator makes");
    stack.make_bucket(BUCKET)?;
    let peer = Peer::install(stack)?;
    rolled_out(stack, &mut step)?;
    stack.cluster.shell(&format!("kubectl apply --server-side --filename {MANIFEST}"))?;
    step.done("");
    let mut traces = send(stack, "under Grafana's operator", 30)?;
    let annotate = || stack.kubectl(&["annotate", "tempostack", NAME, "seen=yes", "--overwrite"]);
    ensure!(annotate().is_err(), "the peer's webhooks let a change pass although nobody answers them");

    let (before, resource) = (sight(stack, &peer)?, stack.resource()?);
    let step = Step::start("going over by the guide");
    stack.cluster.shell(&format!("{variables}{}", ours(&commands(&guide, "## Over")?)?))?;
    step.done("");
    adopted(stack, &peer, &before, &resource)?;
    traces.extend(send(stack, "under ours", 10)?);
    stack.find(&traces, ROLLOUT).context("after the change")?;

    let mut step = Step::start("going back by the guide");
    let before = sight(stack, &peer)?;
    stack.cluster.shell(&format!("{variables}{}", commands(&guide, "## Back")?))?;
    ensure!(sight(stack, &peer)? == before, "something went with our operator");
    ensure!(annotate().is_err(), "the peer's webhooks are not back");
    peer.write(stack).context("Grafana's operator could not write its objects over ours")?;
    rolled_out(stack, &mut step)?;
    step.done("");
    ensure!(sight(stack, &peer)? == before, "an object was made anew on the way back");
    traces.extend(send(stack, "after the way back", 10)?);
    stack.find(&traces, ROLLOUT).context("after the way back")?;
    Ok(format!("{} objects adopted and given back, {} traces found throughout", before.len(), traces.len()))
}

fn send(stack: &Stack<'_>, when: &str, count: usize) -> Result<Vec<Trace>> {
    let traces = stack.send(count).with_context(|| when.to_owned())?;
    stack.find(&traces, Duration::from_mins(1)).with_context(|| when.to_owned())?;
    Ok(traces)
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
fn rolled_out(stack: &Stack<'_>, step: &mut Step) -> Result<()> {
    wait(ROLLOUT, "workloads to roll out", || {
        for workload in stack.objects("deployments,statefulsets")? {
            let number = |pointer: &str| workload.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
            let wanted = number("/spec/replicas");
            let counts =
                ["replicas", "readyReplicas", "updatedReplicas"].map(|f| number(&format!("/status/{f}")));
            let seen = number("/status/observedGeneration") >= number("/metadata/generation");
            step.note(name(&workload));
            ensure!(seen && counts == [wanted; 3], "{}: {counts:?} of {wanted}", name(&workload));
        }
        Ok(())
    })
}

/// The objects of the recording that are there, and the volumes.
fn sight(stack: &Stack<'_>, peer: &Peer) -> Result<Sight> {
    let mut kinds: Vec<String> = peer.objects.iter().map(|o| text(o, "/kind").to_lowercase()).collect();
    kinds.push("persistentvolumeclaim".to_owned());
    kinds.sort();
    kinds.dedup();
    let found = stack.objects(&kinds.join(","))?;
    let mut all = Sight::new();
    for object in &found {
        let selector = object.pointer("/spec/selector").cloned().unwrap_or_default();
        let key = (text(object, "/kind").to_owned(), name(object).to_owned());
        all.insert(key, (text(object, "/metadata/uid").to_owned(), selector));
    }
    ensure!(all.keys().any(|(kind, _)| kind == "PersistentVolumeClaim"), "no volume");
    Ok(all)
}

/// What reference and guide say of a stack that was taken over.
fn adopted(stack: &Stack<'_>, peer: &Peer, before: &Sight, resource: &Value) -> Result<()> {
    let after = sight(stack, peer)?;
    for (key, was) in before {
        match after.get(key) {
            None if key.1 == LEFTOVER => {}
            Some(_) if key.1 == LEFTOVER => bail!("{LEFTOVER} is still there, and nothing asks for it"),
            None => bail!("{} {} is gone", key.0, key.1),
            Some(is) if is == was => {}
            Some(is) => bail!("{} {} is {is:?}, was {was:?}", key.0, key.1),
        }
    }
    ensure!(
        after.contains_key(&("ConfigMap".to_owned(), BYSTANDER.to_owned())),
        "what the stack does not own is gone"
    );
    let recorded: Vec<&str> = peer.objects.iter().map(name).collect();
    let new: Vec<_> = after.keys().filter(|key| !before.contains_key(*key)).collect();
    ensure!(new.is_empty(), "objects that Grafana's operator does not make: {new:?}");
    let kinds = "configmaps,secrets,services,serviceaccounts,deployments,statefulsets,networkpolicies,poddisruptionbudgets";
    for object in stack.objects(kinds)?.iter().filter(|o| recorded.contains(&name(o))) {
        let fields = stack.cluster.list(&[
            "--show-managed-fields",
            "--namespace",
            NAMESPACE,
            text(object, "/kind"),
            name(object),
        ])?;
        let managers = fields[0]
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let theirs = managers.iter().any(|m| m["manager"] == MANAGER && m["subresource"].is_null());
        let applied = managers.iter().any(|m| m["manager"] == OPERATOR && m["operation"] == "Apply");
        ensure!(applied && !theirs, "{} {}: fields are of {managers:?}", text(object, "/kind"), name(object));
        if object["kind"] == "Secret" {
            let theirs = peer.objects.iter().find(|o| o["kind"] == "Secret" && name(o) == name(object));
            let pem = theirs.map(|o| text(o, "/stringData/tls.crt")).unwrap_or_default();
            let template = r#"--output=go-template={{index .data "tls.crt" | base64decode}}"#;
            let now = stack.kubectl(&["get", "secret", name(object), template])?;
            ensure!(now == pem, "the certificate in {} was made anew", name(object));
        }
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
