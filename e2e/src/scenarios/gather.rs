//! `vivace-operator must-gather` on a cluster with secrets: everything is there, and no secret is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{World, name, text};
use crate::artifacts;
use crate::stack::{NAMESPACE, OPERATOR, SAMPLE};

/// In a Secret, and where it should not be.
const IN_A_SECRET: &str = "correct-horse-battery-staple";
/// In no Secret, but under a name that says what it is.
const BY_NAME: &str = "another-horse-9431";
/// Keys of a storage Secret that say where the storage is: the configuration shows the same.
const PLACES: [&str; 2] = ["bucket", "endpoint"];

pub(super) fn gather(world: &mut World<'_>) -> Result<String> {
    plant(world)?;
    let gathered = gathered(world);
    for planted in ["secret", "configmap"] {
        world.stack.kubectl(&["delete", planted, "planted"])?;
    }
    gathered
}

fn gathered(world: &World<'_>) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    run(world, "", &format!("--output {}", state.display()))?;
    let files = read(&state)?;
    complete(world, &files)?;
    let secrets = secrets(world)?;
    for (path, content) in &files {
        for (secret, value) in &secrets {
            ensure!(!content.contains(value.as_str()), "{path} holds what Secret {secret} does");
        }
        ensure!(!content.contains(BY_NAME), "{path} holds a variable's secret");
    }
    bounded(world, folder.path())?;
    in_the_pod(world, folder.path())?;
    forbidden(world, folder.path())?;
    Ok(format!("{} files without any of {} values", files.len(), secrets.len()))
}

fn run(world: &World<'_>, environment: &str, arguments: &str) -> Result<String> {
    let operator = artifacts::product(world.stack.cluster.home)?.join("vivace-operator");
    world.stack.cluster.shell(&format!("{environment} {} must-gather {arguments} 2>&1", operator.display()))
}

/// Secrets where somebody might put them: in a file of a ConfigMap, in a note, in an event.
fn plant(world: &World<'_>) -> Result<()> {
    let labels =
        json!({"app.kubernetes.io/managed-by": "tempo-operator", "app.kubernetes.io/instance": SAMPLE});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted"}, "stringData": {"password": IN_A_SECRET}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "planted", "labels": labels}, "data": {
            "tempo.yaml": format!("storage:\n  trace:\n    s3:\n      secret_key: {BY_NAME}\n    note: {IN_A_SECRET}\n"),
            "environment": format!("S3_SECRET_KEY={BY_NAME}\nNOTE={IN_A_SECRET}\n"),
        }},
        {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "planted"}, "type": "Warning", "reason": "Planted",
            "message": format!("login with {IN_A_SECRET} failed, token={BY_NAME}"),
            "involvedObject": {"kind": "Pod", "name": "planted", "namespace": NAMESPACE}},
    ]});
    world
        .stack
        .kubectl_with(&["apply", "--server-side", "--force-conflicts", "--filename"], &objects)
        .map(drop)
}

/// Files below a folder, by path.
fn read(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).with_context(|| at.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
                files.insert(path.strip_prefix(folder)?.display().to_string(), content);
            }
        }
    }
    Ok(files)
}

/// What somebody who looks for a fault wants to see.
fn complete(world: &World<'_>, files: &BTreeMap<String, String>) -> Result<()> {
    let at = format!("namespaces/{NAMESPACE}");
    let mut wanted = vec![
        "version.txt".to_owned(),
        "cluster/customresourcedefinitions/tempostacks.tempo.grafana.com.yaml".to_owned(),
        format!("operator/{OPERATOR}/deployments/{OPERATOR}.yaml"),
        format!("operator/{OPERATOR}/leases/{OPERATOR}.yaml"),
        format!("{at}/tempostacks/{SAMPLE}.yaml"),
        format!("{at}/events.txt"),
        format!("{at}/secrets/minio.yaml"),
        format!("{at}/persistentvolumeclaims/data-tempo-{SAMPLE}-ingester-0.yaml"),
    ];
    for kind in [
        "configmaps",
        "secrets",
        "services",
        "networkpolicies",
        "deployments",
        "statefulsets",
        "poddisruptionbudgets",
    ] {
        wanted.extend(
            world.stack.objects(kind)?.iter().map(|object| format!("{at}/{kind}/{}.yaml", name(object))),
        );
    }
    wanted.extend(world.stack.pods()?.iter().map(|pod| format!("{at}/logs/{}/tempo.log", name(pod))));
    for path in &wanted {
        ensure!(files.contains_key(path), "no {path} among {} files", files.len());
    }
    let logs = files.iter().filter(|(path, _)| path.starts_with(&format!("operator/{OPERATOR}/logs/")));
    ensure!(
        logs.clone().any(|(_, log)| log.contains("vivace-operator starts")),
        "no log of the operator: {:?}",
        logs.count()
    );
    let storage = &files[&format!("{at}/secrets/minio.yaml")];
    ensure!(storage.contains("access_key_secret: <11 bytes>"), "{storage}");
    let problems = &files["problems.txt"];
    ensure!(problems.starts_with("none"), "{problems}");
    Ok(())
}

/// Everything that Secrets of the two namespaces hold, as it is and in base64, and the lines of what has lines.
fn secrets(world: &World<'_>) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for namespace in [NAMESPACE, OPERATOR] {
        for secret in world.stack.cluster.list(&["--namespace", namespace, "secrets"])? {
            for (key, value) in secret["data"].as_object().into_iter().flatten() {
                let label = format!("{} at {key}", name(&secret));
                let encoded = value.as_str().unwrap_or_default().to_owned();
                let template = format!(r#"--output=go-template={{{{index .data "{key}" | base64decode}}}}"#);
                let plain = world.stack.cluster.kubectl(&[
                    "--namespace",
                    namespace,
                    "get",
                    "secret",
                    name(&secret),
                    &template,
                ])?;
                if PLACES.contains(&key.as_str()) || text(&secret, "/type").starts_with("helm.sh") {
                    continue;
                }
                let lines = plain.lines().filter(|line| line.len() >= 20 && !line.starts_with("-----"));
                all.extend(lines.map(|line| (label.clone(), line.trim().to_owned())));
                all.extend([plain.trim().to_owned(), encoded].map(|value| (label.clone(), value)));
            }
        }
    }
    all.retain(|(_, value)| value.len() >= 8);
    ensure!(
        all.iter().any(|(_, value)| value == "supersecret"),
        "the storage's key is not among {} values",
        all.len()
    );
    Ok(all)
}

/// As an archive, and no larger than agreed.
fn bounded(world: &World<'_>, folder: &Path) -> Result<()> {
    let archive = folder.join("state.tar");
    run(world, "", &format!("--output {} --log-bytes 700 --max-bytes 60000", archive.display()))?;
    let place = folder.join("unpacked");
    fs::create_dir(&place)?;
    world.stack.cluster.shell(&format!("tar -xf {} -C {}", archive.display(), place.display()))?;
    let files = read(&place)?;
    let problems = files.get("problems.txt").context("no problems.txt")?;
    ensure!(problems.contains("would pass the limit"), "{problems}");
    let total: usize =
        files.iter().filter(|(path, _)| *path != "problems.txt").map(|(_, text)| text.len()).sum();
    ensure!(total <= 60_000, "{total} bytes");
    let longest = files.iter().filter(|(path, _)| path.contains("/logs/")).map(|(_, log)| log.len()).max();
    ensure!(longest.is_none_or(|bytes| bytes <= 700), "a log of {longest:?} bytes");
    Ok(())
}

/// By the operator's own rights, which reach to all of it.
fn in_the_pod(world: &World<'_>, folder: &Path) -> Result<()> {
    let place = folder.join("of-the-pod");
    fs::create_dir(&place)?;
    world.stack.cluster.shell(&format!(
        "kubectl exec --namespace {OPERATOR} deployment/{OPERATOR} -- /vivace-operator must-gather --output - | tar -x -C {}",
        place.display()
    ))?;
    complete(world, &read(&place)?)
}

/// For somebody who may read nothing, each thing that is missing is named.
fn forbidden(world: &World<'_>, folder: &Path) -> Result<()> {
    let config = world.stack.cluster.shell("kubectl config view --raw --flatten --output json")?;
    let mut config: Value = serde_json::from_str(&config)?;
    config["users"][0]["user"]["as"] = json!("nobody-special");
    let file = folder.join("kubeconfig");
    fs::write(&file, config.to_string())?;
    let place = folder.join("little");
    let arguments = format!("--output {} --namespace {NAMESPACE}", place.display());
    run(world, &format!("KUBECONFIG={}", file.display()), &arguments)?;
    let files = read(&place)?;
    let problems = files.get("problems.txt").context("no problems.txt")?;
    for what in [
        format!("secrets in namespace {NAMESPACE}: cannot be listed"),
        "tempostacks in namespace".to_owned(),
        "forbidden".to_owned(),
    ] {
        if !problems.contains(&what) {
            bail!("{what:?} is not in: {problems}");
        }
    }
    ensure!(
        problems.contains("by name and not by value"),
        "it is not said that logs were not searched: {problems}"
    );
    Ok(())
}
