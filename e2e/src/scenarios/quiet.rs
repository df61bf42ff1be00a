//! When nothing changes, nothing is written, and no pod is touched: counted in the API server's audit log.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{World, identities, name, object, text};
use crate::progress::Step;
use crate::stack::{OPERATOR, SAMPLE};

/// The operator's user in the audit log.
pub(super) fn user() -> String {
    format!("system:serviceaccount:{OPERATOR}:")
}

/// The API server's time now. Its own clock is the one that the audit log is written by.
pub(super) fn server_time(world: &World<'_>) -> Result<String> {
    // an object that is made for nothing but its creation time, which a dry run has too
    let made = world.stack.kubectl(&["create", "configmap", "clock", "--dry-run=server", "--output=json"])?;
    let made: serde_json::Value = serde_json::from_str(&made)?;
    Ok(text(&made, "/metadata/creationTimestamp").to_owned())
}

fn writes(world: &World<'_>, since: &str) -> Result<()> {
    let counts = world.stack.cluster.writes_since(&user(), since)?;
    let total: u64 = counts.values().sum();
    let list: Vec<_> = counts.iter().map(|(what, count)| format!("{count} x {what}")).collect();
    ensure!(total == 0, "{total} writes: {}", list.join(", "));
    Ok(())
}

pub(super) fn idle(world: &mut World<'_>) -> Result<String> {
    if !world.stack.cluster.is_own() {
        return Ok("left out: a given cluster's audit log is not at hand".to_owned());
    }
    world.until_ready()?;
    // control: the log does show what the operator wrote for this stack before
    let earlier: u64 = world.stack.cluster.writes_since(&user(), "")?.values().sum();
    ensure!(earlier > 0, "the audit log has no write of {} at all", user());
    sleep(Duration::from_secs(5)); // the last events of the scenario before
    let (since, pods) = (server_time(world)?, identities(world)?);
    let mut step = Step::start(format!("watching an idle operator for {} s", world.idle.as_secs()));
    let mut waited = Duration::ZERO;
    while waited < world.idle {
        sleep(Duration::from_secs(1));
        waited += Duration::from_secs(1);
        step.note("");
    }
    step.done("");
    writes(world, &since)?;
    ensure!(identities(world)? == pods, "pods were replaced");
    Ok(format!("0 writes in {} s, {earlier} before", world.idle.as_secs()))
}

pub(super) fn restart(world: &mut World<'_>) -> Result<String> {
    let (pods, since) = (identities(world)?, server_time(world)?);
    world.stack.cluster.kubectl(&[
        "delete",
        "pods",
        "--namespace",
        OPERATOR,
        "--all",
        "--wait=true",
        "--timeout=60s",
    ])?;
    world.stack.cluster.kubectl(&[
        "rollout",
        "status",
        "deployment",
        "--namespace",
        OPERATOR,
        "--timeout=60s",
    ])?;
    // it reconciles again: a change goes through, so it leads
    sleep(Duration::from_secs(10));
    if world.stack.cluster.is_own() {
        writes(world, &since).context("after the restart")?;
    }
    ensure!(identities(world)? == pods, "pods were replaced");
    world.stack.kubectl(&["delete", "service", &format!("tempo-{SAMPLE}-compactor")])?;
    world.until("the new operator to work", || {
        object(world, "service", &format!("tempo-{SAMPLE}-compactor"))
    })?;
    ensure!(identities(world)? == pods, "pods were replaced");
    Ok("no write, no pod touched, and it works on".to_owned())
}

pub(super) fn unmanaged(world: &mut World<'_>) -> Result<String> {
    let child = format!("tempo-{SAMPLE}-querier");
    world.stack.patch(&json!({ "managementState": "Unmanaged" }))?;
    sleep(Duration::from_secs(2));
    world.stack.kubectl(&["delete", "service", &child])?;
    sleep(Duration::from_secs(5));
    ensure!(
        object(world, "service", &child).is_err(),
        "the Service came back although the stack is unmanaged"
    );
    world.stack.patch(&json!({ "managementState": "Managed" }))?;
    let back = world.until("the Service to return", || object(world, "service", &child))?;
    world.until_ready()?;
    Ok(format!("{} returned", name(&back)))
}
