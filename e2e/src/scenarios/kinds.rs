//! The other kind of resource, and the certificates of both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{World, name, object, text};
use crate::{
    http::Client,
    otlp::request,
    shop::{Shop, now},
    stack::{NAMESPACE, SAMPLE, spans_of, wait},
};

/// A stack in one pod: from the first apply until it is gone, and what it took in found again after its pod was deleted.
pub(super) fn monolithic(world: &mut World<'_>) -> Result<String> {
    let began = Instant::now();
    world.stack.apply("samples/tempomonolithic.yaml")?;
    let limit = format!("--timeout={}s", world.left().as_secs().max(1));
    world.stack.kubectl(&["wait", "--for=condition=Ready", "tempomonolithic/mono", &limit])?;
    let took = began.elapsed();
    let client = Client::new(Duration::from_secs(20));
    let traces = Shop::new(now()).traces(20, now());
    let forward = world.stack.cluster.forward(NAMESPACE, "tempo-mono", 4318, None)?;
    for some in traces.chunks(20) {
        let body = request(some);
        wait(Duration::from_secs(20), "sending traces", || client.export(&forward.address, &body))?;
    }
    for when in ["at once", "after its pod was deleted"] {
        let api = world.stack.cluster.forward(NAMESPACE, "tempo-mono", 3200, None)?;
        world.until(when, || {
            for trace in &traces {
                let found = spans_of(&client, &api.address, &trace.hex())?.len();
                ensure!(found == trace.spans.len(), "{found} of {} spans {when}", trace.spans.len());
            }
            Ok(())
        })?;
        if when == "at once" {
            world.stack.kubectl(&["delete", "pod", "tempo-mono-0", "--wait=true", "--timeout=60s"])?;
        }
    }
    world.stack.kubectl(&["delete", "tempomonolithic", "mono", "--wait=true", "--timeout=60s"])?;
    world.until("the pod is gone", || {
        let pods = world.stack.kubectl(&["get", "pods", "--output=name"])?;
        ensure!(!pods.contains("tempo-mono"), "{pods}");
        Ok(())
    })?;
    world.stack.kubectl(&[
        "delete",
        "persistentvolumeclaims",
        "--selector=app.kubernetes.io/instance=mono",
    ])?;
    Ok(format!("applied to Ready in {:.1} s, {} traces", took.as_secs_f64(), traces.len()))
}

/// A certificate that is lost is made anew, and taken up by running pods.
pub(super) fn certificate(world: &mut World<'_>) -> Result<String> {
    let secret = format!("tempo-{SAMPLE}-ingester-mtls");
    let before = world.stack.pods()?;
    let old = certificate_of(&object(world, "secret", &secret)?)?;
    world.stack.kubectl(&["delete", "secret", &secret])?;
    let began = Instant::now();
    world.until("a new certificate", || {
        let new = certificate_of(&object(world, "secret", &secret)?)?;
        ensure!(new != old, "still the old one");
        Ok(())
    })?;
    let took = began.elapsed();
    let sent = world.stack.send(20)?;
    world.traces.extend(sent);
    world.find_all()?;
    let after = world.stack.pods()?;
    for pod in &before {
        let same = after.iter().find(|other| name(other) == name(pod)).context("a pod was replaced")?;
        let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].clone();
        ensure!(
            text(same, "/metadata/uid") == text(pod, "/metadata/uid") && restarts(same) == restarts(pod),
            "{} was restarted for a certificate",
            name(pod)
        );
    }
    Ok(format!("made anew in {:.1} s, no pod restarted", took.as_secs_f64()))
}

fn certificate_of(secret: &Value) -> Result<String> {
    Ok(secret["data"]["tls.crt"].as_str().context("a Secret without tls.crt")?.to_owned())
}

/// A larger storageSize makes the volume larger, while the ingester goes on.
pub(super) fn volume(world: &mut World<'_>) -> Result<String> {
    let ingester = || -> Result<String> {
        let pod = object(world, "pod", &format!("tempo-{SAMPLE}-ingester-0"))?;
        ensure!(pod["metadata"]["deletionTimestamp"].is_null(), "the ingester is going");
        Ok(text(&pod, "/metadata/uid").to_owned())
    };
    let before = ingester()?;
    let began = Instant::now();
    world.stack.patch(&json!({"storageSize": "2Gi"}))?;
    world.until("the claim has grown", || {
        let claim = object(world, "persistentvolumeclaim", &format!("data-tempo-{SAMPLE}-ingester-0"))?;
        let asked = text(&claim, "/spec/resources/requests/storage");
        let given = text(&claim, "/status/capacity/storage");
        ensure!(asked == "2Gi" && given == "2Gi", "asked for {asked:?}, has {given:?}");
        Ok(())
    })?;
    let took = began.elapsed();
    world.until_ready()?;
    world.until("the StatefulSet wants as much", || {
        let set = object(world, "statefulset", &format!("tempo-{SAMPLE}-ingester"))?;
        let wanted = text(&set, "/spec/volumeClaimTemplates/0/spec/resources/requests/storage");
        ensure!(wanted == "2Gi", "{wanted:?}");
        Ok(())
    })?;
    world.until_ready()?;
    world.stack.patch(&json!({"storageSize": "1Gi"}))?;
    world.until("it is said that volumes do not shrink", || {
        let stack = object(world, "tempostack", SAMPLE)?;
        let conditions = stack["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let said = conditions.iter().find(|condition| condition["type"] == "Unserved");
        let said = said.map_or("", |condition| text(condition, "/message"));
        ensure!(said.contains("do not shrink"), "{said:?}");
        Ok(())
    })?;
    world.stack.patch(&json!({"storageSize": "2Gi"}))?;
    world.until_ready()?;
    ensure!(ingester()? == before, "the ingester was made anew for its volume");
    world.find_all()?;
    Ok(format!("grown in {:.1} s, the ingester went on", took.as_secs_f64()))
}
