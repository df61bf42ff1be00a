//! How many ingesters there shall be now, which of them leaves, and what becomes of its volume. Pure.
//!
//! An ingester that leaves for good, or for a new volume, is *held*: a finalizer keeps its pod in the API until it was seen how
//! it ended. Only one that was ready and ended by itself has uploaded everything. One that was ended leaves spans on its volume:
//! it is brought back, and leaves again when it is ready.
//!
//! # Guarantees
//! One leaves at a time, while all others are ready. No volume is dropped of which it was not seen that nothing is left on it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::Value;

use super::{Act, workload::Rollout};
use crate::{build::pod::CONTAINER, trouble::trouble};

/// Keeps the pod of an ingester that leaves until it was seen how it ended.
pub(crate) const HELD: &str = "tempo.grafana.com/drain";
/// On a claim whose volume may hold spans that were not uploaded; says why.
pub(crate) const UNDRAINED: &str = "tempo.grafana.com/undrained";

/// The ingesters of a stack.
#[derive(Clone, Debug)]
pub(super) struct Ground<'a> {
    /// The StatefulSet as it is wanted.
    pub(super) wanted: &'a Value,
    /// As it is. Between its going and its coming back its pods stay.
    pub(super) live: Option<&'a Value>,
    pub(super) pods: BTreeMap<i32, &'a Pod>,
    pub(super) claims: BTreeMap<i32, &'a PersistentVolumeClaim>,
    /// The number of pods, where it is ours to say.
    pub(super) count: Option<i32>,
    /// Volumes of ingesters that left for good are dropped.
    pub(super) drops_claims: bool,
    /// Something else about the StatefulSet is changed now.
    pub(super) is_changed: bool,
}

/// What is done about them now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Course {
    /// The number of pods for now, where it is ours to say.
    pub(super) replicas: Option<i32>,
    /// Before objects are written.
    pub(super) before: Vec<Act>,
    /// After all of them could be.
    pub(super) after: Vec<Act>,
    /// Why there are more than wanted, or volumes other than wanted.
    pub(super) waits: Option<String>,
    /// Volumes that may hold spans that were not uploaded.
    pub(super) left: Vec<String>,
}

/// How a pod that is held has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    /// Nobody has asked it to.
    Stays,
    /// It has not yet.
    Leaves,
    /// By itself, with nothing left to upload.
    Drained,
    /// Otherwise; says how.
    Cut(String),
}

/// A held pod is on its way, or its end has not been dealt with.
pub(super) fn is_leaving(pods: &BTreeMap<i32, &Pod>) -> bool {
    pods.values().any(|pod| is_held(pod))
}

/// Decides.
pub(super) fn course(ground: &Ground<'_>) -> Course {
    let mut course = Course { replicas: ground.count.map(|_| ground.size()), ..Course::default() };
    let held: Vec<(i32, &Pod)> =
        ground.pods.iter().filter(|(_, pod)| is_held(pod)).map(|(at, pod)| (*at, *pod)).collect();
    for (at, pod) in &held {
        ground.see_off(*at, pod, &mut course);
    }
    if held.is_empty() {
        ground.choose(&mut course);
    }
    ground.marks(&mut course);
    course.after.extend(ground.pods.values().filter_map(|pod| ground.adopt(pod)));
    course
}

impl Ground<'_> {
    /// How many there are meant to be until now.
    fn size(&self) -> i32 {
        let of_pods = || self.pods.keys().next_back().map_or_else(|| self.wanted_size(), |last| last + 1);
        self.live.map_or_else(of_pods, |live| Rollout::of(live).count.desired)
    }

    fn wanted_size(&self) -> i32 {
        self.count.unwrap_or_else(|| self.live.map_or(1, |live| Rollout::of(live).count.desired))
    }

    /// One that is held: waited for, or what follows from its end.
    fn see_off(&self, at: i32, pod: &Pod, course: &mut Course) {
        let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        let release = Act::Release { pod: name.clone(), uid };
        match ending(pod) {
            Ending::Stays if at < self.size() => course.after.push(release),
            Ending::Stays | Ending::Leaves => {
                course.waits = Some(format!("{name} uploads what it holds and leaves"));
            }
            Ending::Drained => {
                let goes = at >= self.wanted_size() && self.drops_claims;
                if let Some(claim) = self.claims.get(&at) {
                    if goes || self.is_other(claim) {
                        course.after.push(drop_claim(claim));
                    } else if claim.annotations().contains_key(UNDRAINED) {
                        course.after.push(Act::Mark { claim: claim.name_any(), why: None });
                    }
                }
                course.after.push(release);
                course.waits = Some(format!("{name} has uploaded what it held, and goes"));
            }
            Ending::Cut(how) => {
                let why = format!("{name} ended before all that it held was uploaded: {how}");
                course.replicas = course.replicas.map(|count| count.max(at + 1));
                if let Some(claim) = self.claims.get(&at) {
                    course.after.push(Act::Mark { claim: claim.name_any(), why: Some(why.clone()) });
                }
                course.after.push(release);
                course.waits = Some(why);
            }
        }
    }

    /// Nobody leaves: whether somebody shall.
    fn choose(&self, course: &mut Course) {
        let (size, wanted) = (self.size(), self.wanted_size());
        if wanted > size {
            course.replicas = self.count;
        }
        let Some(reason) = self.reason(size, wanted) else { return };
        let at = reason.ordinal();
        let waits = self.obstacle(at, size).unwrap_or_else(|| match reason {
            Reason::TooMany(_) => self.lower(at, course),
            Reason::Replaced(_) => self.replace(at, course),
        });
        course.waits = Some(waits);
    }

    fn reason(&self, size: i32, wanted: i32) -> Option<Reason> {
        if wanted < size {
            return Some(Reason::TooMany(size - 1));
        }
        let is_other = |at: &i32| {
            self.claims.get(at).is_some_and(|claim| self.is_other(claim))
                || self.pods.get(at).is_some_and(|pod| self.is_elsewhere(pod))
        };
        (0..size).rev().find(is_other).map(Reason::Replaced)
    }

    /// Why nobody may leave now.
    fn obstacle(&self, at: i32, size: i32) -> Option<String> {
        let calm = self.live.is_some_and(|live| {
            let rollout = Rollout::of(live);
            live["metadata"]["deletionTimestamp"].is_null()
                && rollout.is_observed
                && rollout.count.updated == rollout.total
        });
        if self.is_changed || !calm {
            return Some("the StatefulSet is being changed".to_owned());
        }
        let gone: Vec<String> =
            self.pods.iter().filter(|(other, _)| **other >= size).map(|(_, pod)| pod.name_any()).collect();
        if !gone.is_empty() {
            return Some(format!("{} is not gone yet", gone.join(", ")));
        }
        let missing = (0..size)
            .filter(|other| *other != at)
            .filter(|other| !self.pods.get(other).is_some_and(|pod| is_ready(pod)));
        let missing: Vec<String> = missing.map(|other| other.to_string()).collect();
        (!missing.is_empty()).then(|| format!("ingester {} is not ready", missing.join(", ")))
    }

    /// The last one goes for good. Answers what is waited for.
    fn lower(&self, at: i32, course: &mut Course) -> String {
        let pod = self.pods.get(&at);
        let claim = self.claims.get(&at);
        let is_known_to_hold = claim.is_some_and(|claim| claim.annotations().contains_key(UNDRAINED));
        if let Some(pod) = pod.filter(|pod| is_known_to_hold || !cannot_start(pod)) {
            if let Some(why) = hold(pod, course) {
                return why;
            }
        } else if let Some(claim) = claim.filter(|claim| may_hold(claim)) {
            let why = format!("ingester {at} did not start before it was given up");
            course.before.push(Act::Mark { claim: claim.name_any(), why: Some(why) });
        }
        course.replicas = Some(at);
        format!("ingester {at} leaves")
    }

    /// One makes place for another.
    fn replace(&self, at: i32, course: &mut Course) -> String {
        let Some(pod) = self.pods.get(&at) else {
            return format!("ingester {at} is not there, and has to be replaced");
        };
        if let Some(why) = hold(pod, course) {
            return why;
        }
        course.after.push(Act::Remove { pod: pod.name_any(), uid: pod.uid().unwrap_or_default() });
        format!("ingester {at} leaves to be replaced")
    }

    /// Marks that no longer hold go; of the others it is told, and of what is not dropped.
    fn marks(&self, course: &mut Course) {
        let size = course.replicas.unwrap_or_else(|| self.size());
        for (at, claim) in &self.claims {
            let (name, pod) = (claim.name_any(), self.pods.get(at));
            let Some(why) = claim.annotations().get(UNDRAINED) else {
                let is_idle = *at >= size && pod.is_none() && claim.metadata.deletion_timestamp.is_none();
                if is_idle && self.drops_claims {
                    course
                        .left
                        .push(format!("volume {name} stays: nobody saw whether all on it was uploaded"));
                }
                continue;
            };
            let serves = *at < self.wanted_size() && pod.is_some_and(|pod| is_ready(pod) && !is_held(pod));
            if serves {
                course.after.push(Act::Mark { claim: name, why: None });
            } else if *at >= size {
                let count = at + 1;
                course.left.push(format!(
                    "volume {name} may hold spans that were not uploaded ({why}): {count} ingesters would take them up"
                ));
            } else if let Some(waits) = &mut course.waits {
                *waits = format!("{waits}; {why}");
            }
        }
    }

    /// A pod without an owner that the StatefulSet would not know for its own, and could not make again while it is there.
    fn adopt(&self, pod: &Pod) -> Option<Act> {
        let selector = self.wanted["spec"]["selector"]["matchLabels"].as_object()?;
        let lacks = |(key, value): (&String, &Value)| {
            let value = value.as_str()?;
            (pod.labels().get(key).map(String::as_str) != Some(value))
                .then(|| (key.clone(), value.to_owned()))
        };
        let labels: BTreeMap<String, String> = selector.iter().filter_map(lacks).collect();
        let is_left = pod.owner_references().is_empty() && pod.metadata.deletion_timestamp.is_none();
        (is_left && !labels.is_empty()).then(|| Act::Adopt {
            pod: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            labels,
        })
    }

    /// Whether its name is below another Service than the StatefulSet's, which it has for life.
    fn is_elsewhere(&self, pod: &Pod) -> bool {
        let found = pod.spec.as_ref().and_then(|spec| spec.subdomain.as_deref());
        self.wanted["spec"]["serviceName"].as_str().zip(found).is_some_and(|(wanted, found)| wanted != found)
    }

    /// Whether it is not what the StatefulSet would make now, its size apart: volumes grow in place.
    fn is_other(&self, claim: &PersistentVolumeClaim) -> bool {
        let template = &self.wanted["spec"]["volumeClaimTemplates"][0]["spec"];
        let Some(spec) = &claim.spec else { return false };
        let class = template["storageClassName"].as_str();
        let modes = template["accessModes"].as_array();
        // Without a class, the cluster's own is meant, whatever that was at the time.
        class.is_some_and(|class| spec.storage_class_name.as_deref() != Some(class))
            || modes.is_some_and(|modes| {
                let found = spec.access_modes.iter().flatten().map(String::as_str);
                !modes.iter().filter_map(Value::as_str).eq(found)
            })
    }
}

/// Why one leaves.
#[derive(Clone, Copy, Debug)]
enum Reason {
    TooMany(i32),
    /// Its volume, or its name, is not what is wanted, and cannot be changed.
    Replaced(i32),
}

impl Reason {
    const fn ordinal(self) -> i32 {
        match self {
            Self::TooMany(at) | Self::Replaced(at) => at,
        }
    }
}

/// Holds one that is ready; only it can be trusted to upload what it finds. Answers why it is not held.
fn hold(pod: &Pod, course: &mut Course) -> Option<String> {
    let name = pod.name_any();
    if !is_ready(pod) {
        return Some(format!(
            "{name} is not ready, and has to upload what is on its volume before it leaves"
        ));
    }
    course.before.push(Act::Hold { pod: name, uid: pod.uid().unwrap_or_default() });
    None
}

fn drop_claim(claim: &PersistentVolumeClaim) -> Act {
    Act::Drop { claim: claim.name_any(), uid: claim.uid().unwrap_or_default() }
}

/// Whether its pod stays until it was seen how it ended.
pub(crate) fn is_held(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == HELD)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .filter(|condition| condition.type_ == "Ready")
            .any(|condition| condition.status == "True")
}

fn workload(pod: &Pod) -> Option<&ContainerStatus> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find(|container| container.name == CONTAINER)
}

/// Its container was not started in the life of this pod, and is not about to be.
fn cannot_start(pod: &Pod) -> bool {
    let never_ran = workload(pod).is_none_or(|container| {
        let state = container.state.as_ref();
        let started = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        !started && container.restart_count == 0
    });
    never_ran && trouble(pod).is_some()
}

/// A claim that has no volume has nothing on it.
fn may_hold(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

fn ending(pod: &Pod) -> Ending {
    if pod.metadata.deletion_timestamp.is_none() {
        return Ending::Stays;
    }
    let ended = workload(pod).and_then(|container| container.state.as_ref()?.terminated.as_ref());
    match ended {
        Some(ended) if ended.exit_code == 0 => Ending::Drained,
        Some(ended) => {
            let reason = ended.reason.as_deref().unwrap_or("Error");
            Ending::Cut(format!("{reason}, exit code {}", ended.exit_code))
        }
        // Taken out of the API by force, or by the loss of its node: nobody will tell how it ended.
        None if pod.metadata.deletion_grace_period_seconds == Some(0) => {
            Ending::Cut("it was removed by force".to_owned())
        }
        None => Ending::Leaves,
    }
}

#[cfg(test)]
mod tests;
