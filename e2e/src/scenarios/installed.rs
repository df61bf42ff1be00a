//! The operator in other ways than by default: with Roles in one namespace alone, and two of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{World, object, text};
use crate::stack::{NAMESPACE, OPERATOR, SAMPLE};

/// With another namespace that is not served, a stack there is left alone.
const ELSEWHERE: &str = "vivace-elsewhere";

/// With Roles alone the operator does all that it does otherwise, in the namespaces that it was given, and nothing outside.
pub(super) fn namespaced(world: &mut World<'_>) -> Result<String> {
    let outcome = in_one_namespace(world);
    world.stack.install_operator(&[])?;
    world.stack.cluster.kubectl(&["delete", "namespace", ELSEWHERE, "--ignore-not-found", "--wait=false"])?;
    outcome
}

fn in_one_namespace(world: &World<'_>) -> Result<String> {
    let cluster = world.stack.cluster;
    let values = format!("watchNamespaces={{{NAMESPACE}}}");
    world.stack.install_operator(&[&values])?;
    for kind in ["clusterrole", "clusterrolebinding"] {
        ensure!(cluster.kubectl(&["get", kind, OPERATOR]).is_err(), "the {kind} is still there");
    }
    let service = format!("tempo-{SAMPLE}-querier");
    world.stack.kubectl(&["delete", "service", &service])?;
    world.until("the Service to return", || object(world, "service", &service))?;
    // a change of everything: pods, objects of every kind
    world.stack.patch(&serde_json::json!({"retention": {"global": {"traces": "30h"}}}))?;
    world.until_ready()?;
    world.find_all()?;
    cluster.kubectl(&["create", "namespace", ELSEWHERE])?;
    let file = cluster.home.part("samples/tempomonolithic.yaml").display().to_string();
    cluster.kubectl(&["--namespace", ELSEWHERE, "apply", "--filename", &file])?;
    std::thread::sleep(Duration::from_secs(5));
    let other = cluster.list(&["--namespace", ELSEWHERE, "tempomonolithic", "mono"])?;
    ensure!(other[0]["status"]["conditions"].is_null(), "a stack outside of its namespaces was looked at");
    let label = format!("--selector=app.kubernetes.io/name={OPERATOR}");
    let log = cluster.kubectl(&["--namespace", OPERATOR, "logs", &label, "--tail=-1"])?;
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("reconcile failed")).collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    let forbidden: Vec<&str> = log.lines().filter(|line| line.contains("is forbidden")).collect();
    // it is asked once, at the start, where the API server listens
    ensure!(forbidden.len() <= 1, "{}", forbidden.join("\n"));
    Ok("healed, rolled and found with Roles in one namespace; another is left alone".to_owned())
}

/// What people install from without helm, as the API server sees it.
pub(super) fn rendered(world: &mut World<'_>) -> Result<String> {
    let cluster = world.stack.cluster;
    let at = |path: &str| cluster.home.repository.join(path).display().to_string();
    let dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--output=name"];
    let single =
        cluster.kubectl(&[&dry[..], &["--filename", &at("deploy/vivace-operator.yaml")]].concat())?;
    let base = cluster.kubectl(&[&dry[..], &["--kustomize", &at("deploy/kustomize")]].concat())?;
    let sorted = |names: &str| {
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    ensure!(sorted(&single) == sorted(&base), "{single}\nis not\n{base}");
    for wanted in ["deployment.apps/", "clusterrole.rbac.authorization.k8s.io/", "namespace/"] {
        ensure!(single.contains(&format!("{wanted}{OPERATOR}")), "no {wanted}{OPERATOR} in {single}");
    }
    Ok(format!("{} objects are accepted", single.lines().count()))
}

/// Of two, one leads; when it goes the other takes over.
pub(super) fn two(world: &mut World<'_>) -> Result<String> {
    let outcome = takes_over(world)?;
    world.stack.install_operator(&[])?;
    // the one that is left was not there before: it waited for a lease that was given back
    let began = Instant::now();
    world.until("a leader that is there", || {
        let label = format!("--selector=app.kubernetes.io/name={OPERATOR}");
        let pods = world.stack.cluster.list(&["--namespace", OPERATOR, "pods", &label])?;
        let leader = leader(world)?;
        ensure!(pods.iter().any(|pod| super::name(pod) == leader), "{leader} leads, and is gone");
        Ok(())
    })?;
    let waited = began.elapsed().as_secs_f64();
    Ok(format!("{outcome}; after an upgrade a new one leads in {waited:.1} s"))
}

fn leader(world: &World<'_>) -> Result<String> {
    let lease = world.stack.cluster.list(&["--namespace", OPERATOR, "lease", OPERATOR])?;
    let holder = text(&lease[0], "/spec/holderIdentity").to_owned();
    ensure!(!holder.is_empty(), "nobody leads");
    Ok(holder)
}

fn takes_over(world: &World<'_>) -> Result<String> {
    let cluster = world.stack.cluster;
    world.stack.install_operator(&["replicas=2"])?;
    let first = world.until("a leader", || leader(world))?;
    let began = Instant::now();
    cluster.kubectl(&["--namespace", OPERATOR, "delete", "pod", &first, "--wait=false"])?;
    let second = world.until("another leader", || {
        let now = leader(world)?;
        ensure!(now != first, "still {first}");
        Ok(now)
    })?;
    let took = began.elapsed();
    let service = format!("tempo-{SAMPLE}-querier");
    world.stack.kubectl(&["delete", "service", &service])?;
    world.until("the Service to return", || object(world, "service", &service))?;
    Ok(format!("{second} took over after {:.1} s", took.as_secs_f64()))
}
