//! Children of a `TempoStack` that somebody deletes or edits.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{World, name, object, text};
use crate::stack::SAMPLE;

/// One of each kind that a user is likely to hit.
const CHILDREN: [(&str, &str); 6] = [
    ("service", "-querier"),
    ("configmap", ""),
    ("deployment", "-distributor"),
    ("statefulset", "-ingester"),
    ("serviceaccount", ""),
    ("networkpolicy", "-distributor"),
];

pub(super) fn deleted(world: &mut World<'_>) -> Result<String> {
    for (kind, suffix) in CHILDREN {
        let child = format!("tempo-{SAMPLE}{suffix}");
        let before = object(world, kind, &child)?;
        world.stack.kubectl(&["delete", kind, &child, "--wait=true", "--timeout=60s"])?;
        world.until(&format!("{kind} {child} to return"), || {
            let after = object(world, kind, &child)?;
            ensure!(
                text(&after, "/metadata/uid") != text(&before, "/metadata/uid"),
                "it is still the old one"
            );
            ensure!(after["metadata"]["ownerReferences"].is_array(), "it has no owner");
            Ok(())
        })?;
    }
    world.until_ready()?;
    world.find_all()?;
    Ok(format!("{} kinds", CHILDREN.len()))
}

pub(super) fn edited(world: &mut World<'_>) -> Result<String> {
    // Left out, the number of pods is anybody's.
    world.stack.patch(&json!({ "template": { "querier": { "replicas": 1 } } }))?;
    world.until_ready()?;
    let edits: [(&str, &str, &str, Value); 6] = [
        ("configmap", "", "/data/tempo.yaml", json!({ "data": { "tempo.yaml": "target: nonsense" } })),
        (
            "service",
            "-querier",
            "/spec/ports/0/port",
            json!({ "spec": { "ports": [{ "name": "x", "port": 1 }] } }),
        ),
        // a label more selects no pod at all
        ("service", "-querier", "/spec/selector", json!({ "spec": { "selector": { "other": "x" } } })),
        (
            "networkpolicy",
            "-querier",
            "/spec/podSelector",
            json!({ "spec": { "podSelector": { "matchLabels": { "other": "x" } } } }),
        ),
        ("deployment", "-querier", "/spec/replicas", json!({ "spec": { "replicas": 3 } })),
        (
            "deployment",
            "-distributor",
            "/metadata/labels/app.kubernetes.io~1component",
            json!({ "metadata": { "labels": { "app.kubernetes.io/component": "other" } } }),
        ),
    ];
    for (kind, suffix, pointer, patch) in edits {
        let child = format!("tempo-{SAMPLE}{suffix}");
        let before = object(world, kind, &child)?;
        world.stack.kubectl(&["patch", kind, &child, "--type=merge", "--patch", &patch.to_string()])?;
        world.until(&format!("{kind} {child} to be put right"), || {
            let after = object(world, kind, &child)?;
            let (is, was) = (after.pointer(pointer), before.pointer(pointer));
            ensure!(is == was, "{pointer} of {} is {is:?}", name(&after));
            Ok(())
        })?;
    }
    world.until_ready()?;
    Ok(String::new())
}

pub(super) fn foreign(world: &mut World<'_>) -> Result<String> {
    let child = format!("tempo-{SAMPLE}-query-frontend");
    world.stack.kubectl(&["label", "service", &child, "team=payments", "--overwrite"])?;
    world.stack.kubectl(&["annotate", "deployment", &child, "note=ours", "--overwrite"])?;
    // make the operator apply everything again
    world.stack.patch(&json!({ "template": { "querier": { "replicas": 2 } } }))?;
    world.until_ready()?;
    world.stack.patch(&json!({ "template": { "querier": { "replicas": 1 } } }))?;
    world.until_ready()?;
    let (service, deployment) = (object(world, "service", &child)?, object(world, "deployment", &child)?);
    ensure!(text(&service, "/metadata/labels/team") == "payments", "the label is gone");
    ensure!(text(&deployment, "/metadata/annotations/note") == "ours", "the annotation is gone");
    Ok(String::new())
}
