//! From the first apply to the deletion: creating, using, scaling, reconfiguring, losing the storage's Secret and the storage.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{World, all_ready, component, identities, name, object, text};
use crate::stack::{SAMPLE, is_ready};

const COMPONENTS: [&str; 5] = ["compactor", "distributor", "ingester", "querier", "query-frontend"];

pub(super) fn create(world: &mut World<'_>) -> Result<String> {
    let began = Instant::now();
    world.stack.apply("samples/tempostack.yaml")?;
    world.stack.wait_ready(world.left())?;
    let took = began.elapsed();
    let pods = world.stack.pods()?;
    for wanted in COMPONENTS {
        ensure!(
            pods.iter().any(|p| component(p) == wanted && is_ready(p)),
            "no ready pod of {wanted} although Ready"
        );
    }
    for pod in &pods {
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        ensure!(restarts == Some(0), "{} was restarted {restarts:?} times", name(pod));
    }
    Ok(format!("applied to Ready in {:.1} s, {} pods", took.as_secs_f64(), pods.len()))
}

pub(super) fn traces(world: &mut World<'_>) -> Result<String> {
    let sent = world.stack.send(60)?;
    world.traces.extend(sent);
    world.find_all()?;
    world.stack.flush()?;
    let blocks = blocks(world)?;
    world.find_all()?;
    world.stack.kubectl(&["delete", "pods", "--all", "--wait=true", "--timeout=90s"])?;
    world.until_ready()?;
    world.find_all()?;
    // and what is not in a block yet: the log on the volume is all that holds it
    let late = world.stack.send(20)?;
    world.traces.extend(late);
    world.stack.kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false"])?;
    world.until("new pods", || {
        let pods = world.stack.pods()?;
        ensure!(pods.iter().all(is_ready) && pods.len() >= COMPONENTS.len(), "not every pod is ready");
        Ok(())
    })?;
    world.until_ready()?;
    world.find_all()?;
    Ok(format!("{} traces, {blocks} blocks in the bucket after the flush", world.traces.len()))
}

fn blocks(world: &World<'_>) -> Result<usize> {
    world.until("blocks in the bucket", || {
        let keys = world.stack.bucket()?;
        let blocks = keys.iter().filter(|k| k.ends_with("/meta.json")).count();
        ensure!(blocks > 0, "no meta.json among {} keys", keys.len());
        Ok(blocks)
    })
}

pub(super) fn scale(world: &mut World<'_>) -> Result<String> {
    for (querier, ingester) in [(2, 2), (1, 1)] {
        world.stack.patch(&json!({ "template": { "querier": { "replicas": querier }, "ingester": { "replicas": ingester } } }))?;
        world.until("queriers", || all_ready(world, querier, "querier"))?;
        world.until("ingesters", || all_ready(world, ingester, "ingester"))?;
        world.until_ready()?;
        if ingester == 2 {
            let sent = world.stack.send(40)?; // some of it is held by the ingester that will go
            world.traces.extend(sent);
        }
        world.find_all()?;
    }
    Ok("1, 2 and 1 again of each".to_owned())
}

pub(super) fn retention(world: &mut World<'_>) -> Result<String> {
    let before = identities(world)?;
    world.stack.patch(&json!({ "retention": { "global": { "traces": "24h" } } }))?;
    world.until("the new retention in the ConfigMap", || {
        let config = object(world, "configmap", &format!("tempo-{SAMPLE}"))?;
        let yaml: serde_yaml::Value = serde_yaml::from_str(text(&config, "/data/tempo.yaml"))?;
        let found = yaml["compactor"]["compaction"]["block_retention"].as_str().unwrap_or("").to_owned();
        ensure!(found.starts_with("24h"), "block_retention is {found:?}");
        Ok(())
    })?;
    world.until("new pods", || {
        let now = identities(world)?;
        let old = now.iter().filter(|pod| before.contains(pod)).count();
        ensure!(old == 0 && now.len() == before.len(), "{old} of {} pods are the old ones", now.len());
        Ok(())
    })?;
    world.until_ready()?;
    world.find_all()?;
    Ok(String::new())
}

pub(super) fn secret(world: &mut World<'_>) -> Result<String> {
    let before = identities(world)?;
    world.stack.kubectl(&["delete", "secret", "minio"])?;
    let gone = world.until("ConfigurationError", || world.stack.condition("ConfigurationError"))?;
    ensure!(gone.contains("minio"), "the condition does not name the Secret: {gone}");
    let parts = [
        "--from-literal=bucket=tempo",
        "--from-literal=endpoint=http://minio:9000",
        "--from-literal=access_key_id=tempo",
    ];
    world.stack.kubectl(&[&["create", "secret", "generic", "minio"], &parts[..]].concat())?;
    let incomplete = world.until("the missing key in ConfigurationError", || {
        let said = world.stack.condition("ConfigurationError")?;
        ensure!(said.contains("minio") && said.contains("access_key_secret"), "it says: {said}");
        Ok(said)
    })?;
    world.stack.apply("samples/tempostack.yaml")?;
    world.until_ready()?;
    ensure!(world.stack.condition("ConfigurationError").is_err(), "ConfigurationError is still true");
    // the sample says 48h again, so pods may roll for that; none may be lost for good
    world.until("as many pods as before", || {
        let pods = identities(world)?.len();
        ensure!(pods == before.len(), "{pods} pods");
        Ok(())
    })?;
    Ok(incomplete)
}

pub(super) fn storage_away(world: &mut World<'_>) -> Result<String> {
    let earlier = world.stack.bucket()?.len();
    world.take_storage_away()?;
    let sent = world.stack.send(20)?;
    world.stack.kubectl(&["scale", "deployment/minio", "--replicas=1"])?;
    world.stack.kubectl(&["rollout", "status", "deployment/minio", "--timeout=60s"])?;
    world.traces.extend(sent);
    world.stack.flush()?;
    world.until("a new block in the bucket", || {
        let keys = world.stack.bucket()?.len();
        ensure!(keys > earlier, "{keys} keys, as before");
        Ok(())
    })?;
    world.until_ready()?;
    world.find_all()?;
    Ok(String::new())
}

pub(super) fn delete(world: &mut World<'_>) -> Result<String> {
    let claims = world.stack.objects("persistentvolumeclaims")?.len();
    world.stack.kubectl(&["delete", "tempostack", SAMPLE, "--wait=true", "--timeout=60s"])?;
    let kinds = "deployments,statefulsets,replicasets,pods,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies,roles,rolebindings,ingresses";
    world.until("everything to go", || {
        let left = world.stack.objects(kinds)?;
        let names: Vec<_> = left.iter().map(|o| format!("{}/{}", text(o, "/kind"), name(o))).collect();
        ensure!(names.is_empty(), "left: {}", names.join(", "));
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let left = world.stack.objects(kinds)?;
    ensure!(left.is_empty(), "{} objects came back", left.len());
    let kept = world.stack.objects("persistentvolumeclaims")?.len();
    ensure!(kept == claims && kept > 0, "{kept} of {claims} volume claims are left");
    Ok(format!("{kept} volume claims stay"))
}
