//! How far a workload is with its pods, as the API server knows it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{api::ReplicaCount, compare};

/// A component's workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) count: ReplicaCount,
    /// Pods of all generations.
    pub(crate) total: i32,
    /// Its controller has seen the present generation.
    pub(crate) is_observed: bool,
    /// Why its pods are not made, or do not get ready in time, in its controller's words.
    pub(crate) trouble: Option<String>,
}

impl Rollout {
    pub(crate) fn of(object: &Value) -> Self {
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        let small = |pointer: &str| i32::try_from(number(pointer).unwrap_or(0)).unwrap_or(i32::MAX);
        let generation = number("/metadata/generation");
        Self {
            count: ReplicaCount {
                desired: replicas(object).unwrap_or(1),
                ready: small("/status/readyReplicas"),
                updated: small("/status/updatedReplicas"),
            },
            total: small("/status/replicas"),
            is_observed: generation.is_some() && number("/status/observedGeneration") >= generation,
            trouble: trouble(object),
        }
    }

    /// Every wanted pod is of the present generation, and no other is left.
    pub(crate) fn is_over(&self) -> bool {
        self.is_observed && self.count.updated == self.count.desired && self.total == self.count.desired
    }

    /// And all of them are ready.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_over() && self.count.ready == self.count.desired
    }
}

/// How many pods it shall have, where it says so.
pub(crate) fn replicas(object: &Value) -> Option<i32> {
    let count = object.pointer("/spec/replicas")?.as_i64()?;
    Some(i32::try_from(count).unwrap_or(i32::MAX))
}

/// What a Deployment's controller complains of.
fn trouble(object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let complaint = |condition: &&Value| {
        let is = |type_: &str, status: &str| condition["type"] == type_ && condition["status"] == status;
        is("ReplicaFailure", "True") || is("Progressing", "False")
    };
    let found = conditions.into_iter().flatten().find(complaint)?;
    let word = |key: &str| found[key].as_str().unwrap_or_default();
    Some(format!("{}: {}", word("reason"), word("message")))
}

/// The image of each container of a template, by the container's name.
pub(super) fn images(object: &Value) -> BTreeMap<&str, &str> {
    let pod = &object["spec"]["template"]["spec"];
    let lists = ["initContainers", "containers"].map(|list| pod[list].as_array());
    lists
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|container| Some((container["name"].as_str()?, container["image"].as_str()?)))
        .collect()
}

/// Whether a container that both have is of another image. One that only one of them has is a matter of configuration.
pub(super) fn differs(wanted: &Value, found: &BTreeMap<&str, &str>) -> bool {
    images(wanted).iter().any(|(name, image)| found.get(name).is_some_and(|other| other != image))
}

/// Gives containers the images that they have elsewhere.
pub(super) fn set_images(object: &mut Value, found: &BTreeMap<&str, &str>) {
    for list in ["initContainers", "containers"] {
        let containers =
            object.pointer_mut(&format!("/spec/template/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let image = container["name"].as_str().and_then(|name| found.get(name));
            if let Some(image) = image {
                container["image"] = Value::from(*image);
            }
        }
    }
}

/// A workload as it was applied last, with as many pods as are wanted now. `None` where we never applied it.
pub(super) fn held(wanted: &Value, live: &Value) -> Option<Value> {
    let before = compare::applied(live)?;
    let mut object = wanted.clone();
    let replicas = wanted["spec"].get("replicas").cloned();
    object["spec"] = before.get("spec")?.clone();
    let spec = object["spec"].as_object_mut()?;
    match replicas {
        Some(count) => spec.insert("replicas".to_owned(), count),
        None => spec.remove("replicas"),
    };
    Some(object)
}
