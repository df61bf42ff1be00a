//! What takes more than one step: new images, ingesters that leave, volumes that cannot be changed, zones, and whoever else scales.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{World, component, name, object, quiet, text};
use crate::stack::{SAMPLE, is_ready};

const IMAGE: &str = "vivace.local/vivace:e2e";
/// The same content under another name.
const NEXT: &str = "vivace.local/vivace:next";
/// In which order images change.
const ORDER: [&str; 5] = ["compactor", "querier", "query-frontend", "ingester", "distributor"];

fn workload(world: &World<'_>, component: &str) -> Result<Value> {
    let kind = if component == "ingester" { "statefulset" } else { "deployment" };
    object(world, kind, &format!("tempo-{SAMPLE}-{component}"))
}

fn image(world: &World<'_>, component: &str) -> Result<String> {
    Ok(text(&workload(world, component)?, "/spec/template/spec/containers/0/image").to_owned())
}

/// The condition that says what is going on, with its reason.
fn reconciling(world: &World<'_>) -> Result<(String, String)> {
    let resource = world.stack.resource()?;
    let conditions = resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == "Reconciling").context("nothing is going on")?;
    let ready = conditions.iter().find(|c| c["type"] == "Ready").context("no condition Ready")?;
    ensure!(ready["status"] == "False", "Ready is true while something is going on: {found}");
    Ok((text(found, "/reason").to_owned(), text(found, "/message").to_owned()))
}

/// An image that changes halts where a component does not get ready, goes back, and goes through.
pub(super) fn images(world: &mut World<'_>) -> Result<String> {
    if !world.stack.cluster.is_own() {
        return Ok("left out: a given cluster has no second image".to_owned());
    }
    world.stack.cluster.name_image(IMAGE, NEXT)?;
    let nowhere = json!({"nodeSelector": {"nowhere": "true"}});
    world.stack.patch(&json!({"images": {"tempo": NEXT}, "template": {"ingester": nowhere}}))?;
    let said = world.until("the roll-out halts", || {
        let (reason, message) = reconciling(world)?;
        ensure!(reason == "RolloutHalted", "{reason}: {message}");
        Ok(message)
    })?;
    ensure!(said.contains("ingester") && said.contains("Unschedulable"), "{said}");
    for (component, expected) in ORDER.into_iter().zip([NEXT, NEXT, NEXT, NEXT, IMAGE]) {
        let found = image(world, component)?;
        ensure!(found == expected, "{component} has {found}");
    }
    world
        .stack
        .patch(&json!({"images": {"tempo": IMAGE}, "template": {"ingester": {"nodeSelector": null}}}))?;
    world.until_ready()?;
    for component in ORDER {
        ensure!(image(world, component)? == IMAGE, "{component} did not go back");
    }
    world.find_all()?;

    let began = Instant::now();
    world.stack.patch(&json!({"images": {"tempo": NEXT}}))?;
    world.until_ready()?;
    let took = began.elapsed();
    let pods = world.stack.pods()?;
    let times = |of: &str| -> Result<(String, String)> {
        let pod = pods.iter().find(|pod| component(pod) == of && is_ready(pod));
        let pod = pod.with_context(|| format!("no {of}"))?;
        ensure!(text(pod, "/spec/containers/0/image") == NEXT, "{} runs another image", name(pod));
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|c| c["type"] == "Ready").context("no condition")?;
        Ok((
            text(pod, "/metadata/creationTimestamp").to_owned(),
            text(ready, "/lastTransitionTime").to_owned(),
        ))
    };
    for (before, after) in ORDER.iter().zip(&ORDER[1..]) {
        let (ready, made) = (times(before)?.1, times(after)?.0);
        ensure!(ready <= made, "{after} was made at {made}, before {before} was ready at {ready}");
    }
    world.find_all()?;
    world.stack.patch(&json!({"images": {"tempo": IMAGE}}))?;
    world.until_ready()?;
    Ok(format!("halted with \"{said}\"; through in {:.1} s", took.as_secs_f64()))
}

fn ingesters(world: &World<'_>) -> Result<Vec<Value>> {
    Ok(world.stack.pods()?.into_iter().filter(|pod| component(pod) == "ingester").collect())
}

fn wants(world: &World<'_>, replicas: u32) -> Result<()> {
    world.stack.patch(&json!({"template": {"ingester": {"replicas": replicas}}}))
}

/// Until it is Ready again, while of the ingesters at most one is not ready.
fn one_at_a_time(world: &World<'_>, count: usize) -> Result<BTreeSet<u64>> {
    let mut sizes = BTreeSet::new();
    let mut most = 0;
    world.until("Ready", || {
        let pods = ingesters(world)?;
        most = most.max(pods.iter().filter(|pod| !is_ready(pod)).count());
        sizes.extend(workload(world, "ingester").ok().and_then(|set| set["spec"]["replicas"].as_u64()));
        world.stack.condition("Ready")?;
        ensure!(pods.len() == count, "{} ingesters", pods.len());
        Ok(())
    })?;
    ensure!(most <= 1, "{most} ingesters were away at a time");
    Ok(sizes)
}

/// Ingesters leave one by one.
pub(super) fn leaving(world: &mut World<'_>) -> Result<String> {
    wants(world, 3)?;
    world.until_ready()?;
    let sent = world.stack.send(40)?;
    world.traces.extend(sent);
    wants(world, 1)?;
    let sizes = one_at_a_time(world, 1)?;
    ensure!(sizes.contains(&2), "sizes were {sizes:?}");
    world.find_all()?;
    Ok("3, 2, 1; nothing is lost".to_owned())
}

/// One that is killed while it uploads, since the storage is away, is brought back to do so.
pub(super) fn killed(world: &mut World<'_>) -> Result<String> {
    if !world.stack.cluster.is_own() {
        return Ok("left out: nothing can be killed on the nodes of a given cluster".to_owned());
    }
    let last = format!("tempo-{SAMPLE}-ingester-1");
    wants(world, 2)?;
    world.until_ready()?;
    world.take_storage_away()?;
    let sent = world.stack.send(40)?;
    world.traces.extend(sent);
    let before = text(&object(world, "pod", &last)?, "/metadata/uid").to_owned();
    wants(world, 1)?;
    world.until("the last one leaves", || {
        let pod = object(world, "pod", &last)?;
        ensure!(!pod["metadata"]["deletionTimestamp"].is_null(), "it stays");
        Ok(())
    })?;
    world.stack.cluster.kill_container(&object(world, "pod", &last)?)?;
    let said = world.until("it is brought back", || {
        let pod = object(world, "pod", &last)?;
        ensure!(text(&pod, "/metadata/uid") != before, "it is still the old one");
        let (_, message) = reconciling(world)?;
        ensure!(message.contains("ended before all that it held was uploaded"), "{message}");
        Ok(message)
    })?;
    world.stack.kubectl(&["scale", "deployment/minio", "--replicas=1"])?;
    one_at_a_time(world, 1)?;
    let claim = object(world, "persistentvolumeclaim", &format!("data-{last}"))?;
    ensure!(
        claim["metadata"]["annotations"]["tempo.grafana.com/undrained"].is_null(),
        "the claim is still marked"
    );
    world.find_all()?;
    Ok(said)
}

fn classes(world: &World<'_>) -> Result<Vec<String>> {
    let claims = world.stack.objects("persistentvolumeclaims")?;
    let claims = claims.iter().filter(|claim| component(claim) == "ingester");
    Ok(claims.map(|claim| text(claim, "/spec/storageClassName").to_owned()).collect())
}

/// Another storage class gives each ingester a new volume, one after the other; those that left have theirs dropped.
pub(super) fn class(world: &mut World<'_>) -> Result<String> {
    if !world.stack.cluster.is_own() {
        return Ok("left out: the classes of a given cluster are not known".to_owned());
    }
    let policy = json!({"whenScaled": "Delete"});
    let two = json!({"ingester": {"replicas": 2}});
    world.stack.patch(&json!({"persistentVolumeClaimRetentionPolicy": policy, "template": two}))?;
    world.until_ready()?;
    let sent = world.stack.send(20)?;
    world.traces.extend(sent);
    let began = Instant::now();
    world.stack.patch(&json!({"storageClassName": "fixed"}))?;
    one_at_a_time(world, 2)?;
    let took = began.elapsed();
    world.until("new volumes", || {
        let found = classes(world)?;
        ensure!(found.iter().filter(|class| *class == "fixed").count() == 2, "{found:?}");
        Ok(())
    })?;
    world.find_all()?;
    wants(world, 1)?;
    one_at_a_time(world, 1)?;
    let last = format!("data-tempo-{SAMPLE}-ingester-1");
    world.until("its volume is dropped", || {
        ensure!(object(world, "persistentvolumeclaim", &last).is_err(), "it is still there");
        Ok(())
    })?;
    world.stack.patch(&json!({"storageClassName": "standard"}))?;
    one_at_a_time(world, 1)?;
    world.stack.patch(&json!({"storageClassName": null, "persistentVolumeClaimRetentionPolicy": null}))?;
    world.until_ready()?;
    world.find_all()?;
    Ok(format!("two volumes replaced in {:.1} s", took.as_secs_f64()))
}

/// Pods are told the zone of their node, and wait for it.
pub(super) fn zones(world: &mut World<'_>) -> Result<String> {
    const KEY: &str = "topology.kubernetes.io/zone";
    world.stack.cluster.kubectl(&["label", "nodes", "--all", "--overwrite", &format!("{KEY}=east-1")])?;
    world.stack.patch(&json!({"replicationZones": [{"topologyKey": KEY, "maxSkew": 1}]}))?;
    world.until_ready()?;
    for pod in world.stack.pods()?.iter().filter(|pod| is_ready(pod) && component(pod) != "compactor") {
        let zone = &pod["metadata"]["annotations"]["tempo.grafana.com/availability-zone"];
        ensure!(zone == "east-1", "the zone of {} is {zone}", name(pod));
    }
    world.find_all()?;
    world.stack.patch(&json!({"replicationZones": null}))?;
    world.until_ready()?;
    Ok("east-1".to_owned())
}

fn count(world: &World<'_>, component: &str) -> Result<u64> {
    workload(world, component)?["spec"]["replicas"].as_u64().context("no replicas")
}

/// An autoscaler sets the number of pods, of ours or of others, and nothing is written against it.
pub(super) fn autoscaler(world: &mut World<'_>) -> Result<String> {
    let scaling = json!({"minReplicas": 2, "maxReplicas": 3});
    world.stack.patch(&json!({"template": {"querier": {"replicas": null, "autoscaling": scaling}}}))?;
    let front = format!("deployment/tempo-{SAMPLE}-query-frontend");
    world.stack.kubectl(&["autoscale", &front, "--name=theirs", "--min=2", "--max=3", "--cpu-percent=80"])?;
    for component in ["querier", "query-frontend"] {
        world.until("the autoscaler acts", || {
            let found = count(world, component)?;
            ensure!(found == 2, "{found} of {component}");
            Ok(())
        })?;
    }
    world.until_ready()?;
    std::thread::sleep(Duration::from_secs(2));
    let since = quiet::server_time(world)?;
    // more than is there, and something of ours that has to be written meanwhile
    world.stack.kubectl(&["patch", "hpa", "theirs", "--patch", r#"{"spec":{"minReplicas":3}}"#])?;
    world.until("the autoscaler acts again", || {
        ensure!(count(world, "query-frontend")? == 3, "not yet");
        Ok(())
    })?;
    world.until_ready()?;
    std::thread::sleep(Duration::from_secs(5));
    ensure!(count(world, "query-frontend")? == 3 && count(world, "querier")? == 2, "it was undone");
    if world.stack.cluster.is_own() {
        let counts = world.stack.cluster.writes_since(&quiet::user(), &since)?;
        let against: Vec<_> = counts.keys().filter(|what| what.contains("deployments")).collect();
        ensure!(against.is_empty(), "writes: {against:?}");
    }
    world.stack.kubectl(&["delete", "hpa", "theirs"])?;
    world.stack.kubectl(&["scale", &front, "--replicas=1"])?;
    world.stack.patch(&json!({"template": {"querier": {"replicas": 1, "autoscaling": null}}}))?;
    world.until_ready()?;
    ensure!(count(world, "query-frontend")? == 1, "kubectl scale was undone");
    world.until("those that are too many are gone", || {
        let pods = world.stack.pods()?;
        let going: Vec<_> = pods.iter().filter(|pod| !is_ready(pod)).map(name).collect();
        ensure!(going.is_empty(), "{} are there", going.join(", "));
        Ok(())
    })?;
    Ok("2 of ours, 2 and 3 of theirs, and no write against them".to_owned())
}
