//! What a tool sees that keeps the cluster as Git has it: no difference, once all is Ready, without being told to ignore anything.

use std::fs;

use anyhow::{Context, Result};

use super::World;
use crate::stack::NAMESPACE;

/// Each sample, with its resource.
const SAMPLES: [(&str, &str); 2] = [
    ("samples/tempostack.yaml", "tempostack/sample"),
    ("samples/tempomonolithic.yaml", "tempomonolithic/mono"),
];
/// Under which names Argo CD, Flux and people apply.
const MANAGERS: [&str; 3] = ["argocd-controller", "kustomize-controller", "kubectl"];

pub(super) fn no_difference(world: &mut World<'_>) -> Result<String> {
    for (sample, resource) in SAMPLES {
        let file = world.stack.cluster.home.part(sample).display().to_string();
        let wait = |world: &World<'_>| {
            let limit = format!("--timeout={}s", world.left().as_secs().max(1));
            world.stack.kubectl(&["wait", "--for=condition=Ready", resource, &limit])
        };
        for manager in MANAGERS {
            let manager = format!("--field-manager={manager}");
            let common = ["--server-side", "--force-conflicts", &manager, "--filename", &file];
            world.stack.kubectl(&[&["apply"], &common[..]].concat())?;
            wait(world)?;
            world
                .stack
                .kubectl(&[&["diff"], &common[..]].concat())
                .with_context(|| format!("{sample} differs from the cluster for {manager}"))?;
        }
        // and for whoever applies on the client's side
        let text = fs::read_to_string(&file)?;
        world.stack.kubectl(&["apply", "--filename", &file])?;
        wait(world)?;
        world.stack.kubectl(&["diff", "--filename", &file]).with_context(|| format!("{sample}:\n{text}"))?;
    }
    world.stack.kubectl(&["delete", "tempomonolithic", "mono", "--wait=true", "--timeout=60s"])?;
    let claims = ["delete", "persistentvolumeclaims", "--selector=app.kubernetes.io/instance=mono"];
    world.stack.kubectl(&claims).with_context(|| format!("volumes of mono in {NAMESPACE}"))?;
    Ok(format!("{} samples, {} field managers, and client-side", SAMPLES.len(), MANAGERS.len()))
}
