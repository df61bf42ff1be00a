//! Between building and applying: (wanted objects, what is there) -> what is written in this reconcile, and what is done about
//! pods and volumes of ingesters. Pure.
//!
//! A change of images goes through a stack one component after the other ([`order`]); ingesters leave one at a time, with
//! everything uploaded ([`ingesters`]). A stack's first objects are written at once, and so are those of one that has no ready pod,
//! which serves nobody whom an order could protect. A workload that we never applied is taken over at once: Grafana's roles and ours
//! do not speak to each other, so half a stack of each would serve nobody either.
//!
//! A component that waits keeps all that was applied with its image, arguments and mounts included, since an operator's new version
//! may change them together. A change that leaves images alone waits for nobody: each workload rolls by the rules of its controller,
//! the versions that meet are the same, and whoever mends a stack that is not well must not have to wait until it is.

pub(crate) mod ingesters;
mod order;
pub(crate) mod workload;

use std::{collections::BTreeMap, fmt};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};

use self::{
    ingesters::{Course, Ground},
    order::{Member, ORDER, Turn},
    workload::Rollout,
};
use crate::{
    build::{Desired, components::CLAIM, pod::CONTAINER},
    compare,
    facts::Live,
    kind::Kind,
    names::{Identity, Owner},
    role::Role,
};

/// On a workload whose images are being changed: what it ran before.
pub(crate) const ROLLED_FROM: &str = "tempo.grafana.com/rolled-from";

/// What is done in this reconcile, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planned {
    pub(crate) before: Vec<Act>,
    pub(crate) objects: Vec<Desired>,
    /// Only when everything before went well.
    pub(crate) after: Vec<Act>,
    pub(crate) progress: Progress,
}

/// What is done about a pod or a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A pod stays in the API until it was seen how it ended.
    Hold { pod: String, uid: String },
    /// A pod that its StatefulSet left behind gets the labels by which the next one finds it.
    Adopt { pod: String, uid: String, labels: BTreeMap<String, String> },
    /// A pod need no longer stay.
    Release { pod: String, uid: String },
    /// A pod is asked to leave.
    Remove { pod: String, uid: String },
    /// A claim goes, and its volume with it.
    Drop { claim: String, uid: String },
    /// A claim says why its volume may hold spans, or no longer does.
    Mark { claim: String, why: Option<String> },
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold { pod, .. } => write!(f, "cannot hold Pod {pod}"),
            Self::Adopt { pod, .. } => write!(f, "cannot label Pod {pod}"),
            Self::Release { pod, .. } => write!(f, "cannot let Pod {pod} go"),
            Self::Remove { pod, .. } => write!(f, "cannot delete Pod {pod}"),
            Self::Drop { claim, .. } => write!(f, "cannot delete PersistentVolumeClaim {claim}"),
            Self::Mark { claim, .. } => write!(f, "cannot mark PersistentVolumeClaim {claim}"),
        }
    }
}

/// How far a stack is with what takes more than one reconcile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The component whose images are being changed, and the image that it goes to.
    pub(crate) under_way: Option<(Role, String)>,
    /// Components that wait for their turn.
    pub(crate) waiting: Vec<Role>,
    /// What is waited for until there are as many ingesters, and volumes, as are wanted.
    pub(crate) ingesters: Option<String>,
    /// Volumes that may hold spans that were not uploaded.
    pub(crate) left: Vec<String>,
}

/// Decides what is written now.
pub(crate) fn plan(identity: &Identity, mut objects: Vec<Desired>, live: &Live) -> Planned {
    if identity.owner != Owner::TempoStack {
        return Planned { objects, ..Planned::default() };
    }
    let mut progress = Progress::default();
    let set = identity.role(Role::Ingester);
    let crew =
        Crew { pods: of_set(&live.pods, &set), claims: of_set(&live.claims, &format!("{CLAIM}-{set}")) };
    take_turns(identity, &mut objects, live, &crew, &mut progress);
    let Course { replicas: _, before, after, waits, left } =
        keep_ingesters(identity, &mut objects, live, &crew);
    (progress.ingesters, progress.left) = (waits, left);
    Planned { before, objects, after, progress }
}

/// Pods and claims of the ingesters, by ordinal.
#[derive(Clone, Debug, Default)]
struct Crew<'a> {
    pods: BTreeMap<i32, &'a Pod>,
    claims: BTreeMap<i32, &'a PersistentVolumeClaim>,
}

/// What a StatefulSet has of a kind: the names end in ordinals.
fn of_set<'a, K: ResourceExt>(all: &'a [K], prefix: &str) -> BTreeMap<i32, &'a K> {
    let ordinal = |object: &'a K| {
        let name = object.meta().name.as_deref()?;
        let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
        Some((digits.parse().ok()?, object))
    };
    all.iter().filter_map(ordinal).collect()
}

fn key(identity: &Identity, role: Role) -> (Kind, String) {
    let kind = if role == Role::Ingester { Kind::StatefulSet } else { Kind::Deployment };
    (kind, identity.role(role))
}

fn find<'a>(objects: &'a mut [Desired], (kind, name): &(Kind, String)) -> Option<&'a mut Desired> {
    objects.iter_mut().find(|desired| desired.kind == *kind && desired.name == *name)
}

/// Holds components back whose turn it is not.
fn take_turns(
    identity: &Identity,
    objects: &mut [Desired],
    live: &Live,
    crew: &Crew<'_>,
    progress: &mut Progress,
) {
    let mut members = Vec::new();
    for role in ORDER {
        let key = key(identity, role);
        let Some(wanted) = find(objects, &key) else { continue };
        let member = match live.objects.get(&key) {
            Some(found) => of_workload(&wanted.object, found),
            None if role == Role::Ingester => of_orphans(&wanted.object, crew),
            None => None,
        };
        let is_busy = role == Role::Ingester && ingesters::is_leaving(&crew.pods);
        members.extend(member.map(|member| (role, key, Member { is_busy, ..member })));
    }
    if !members.iter().any(|(_, key, _)| live.objects.get(key).is_some_and(has_ready)) {
        return;
    }
    let turns = order::turns(&members.iter().map(|(.., member)| *member).collect::<Vec<_>>());
    for ((role, key, _), turn) in members.iter().zip(turns) {
        let Some(wanted) = find(objects, key) else { continue };
        let found = live.objects.get(key);
        match turn {
            Turn::Free => {}
            Turn::UnderWay => {
                progress.under_way = Some((*role, image(&wanted.object)));
                if let Some(found) = found {
                    mark(&mut wanted.object, found);
                }
            }
            Turn::Wait => {
                progress.waiting.push(*role);
                match found.and_then(|found| workload::held(&wanted.object, found)) {
                    Some(held) => wanted.object = held,
                    None => workload::set_images(&mut wanted.object, &orphaned_images(crew)),
                }
            }
        }
    }
}

fn has_ready(workload: &Value) -> bool {
    Rollout::of(workload).count.ready > 0
}

/// A workload that we never applied is taken over as a whole, whatever it runs.
fn of_workload(wanted: &Value, found: &Value) -> Option<Member> {
    (!compare::is_new_to_us(found)).then(|| Member {
        is_changed: workload::differs(wanted, &workload::images(found)),
        is_marked: !found["metadata"]["annotations"][ROLLED_FROM].is_null(),
        is_settled: Rollout::of(found).is_settled(),
        is_busy: false,
    })
}

/// The StatefulSet is made anew, and its pods run what they ran.
fn of_orphans(wanted: &Value, crew: &Crew<'_>) -> Option<Member> {
    (!crew.pods.is_empty()).then(|| Member {
        is_changed: workload::differs(wanted, &orphaned_images(crew)),
        is_marked: false,
        is_settled: false,
        is_busy: false,
    })
}

/// The last one is the first that rolls.
fn orphaned_images<'a>(crew: &Crew<'a>) -> BTreeMap<&'a str, &'a str> {
    let spec = crew.pods.values().next_back().and_then(|pod| pod.spec.as_ref());
    let containers =
        spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    containers.filter_map(|container| Some((container.name.as_str(), container.image.as_deref()?))).collect()
}

/// The image of the workload's own container, or of the first.
fn image(object: &Value) -> String {
    let images = workload::images(object);
    let first = images.get(CONTAINER).or_else(|| images.values().next());
    first.map_or_else(String::new, |image| (*image).to_owned())
}

fn mark(wanted: &mut Value, found: &Value) {
    let before = &found["metadata"]["annotations"][ROLLED_FROM];
    let from = if before.is_null() { json!(image(found)) } else { before.clone() };
    wanted["metadata"]["annotations"][ROLLED_FROM] = from;
}

/// Sets how many ingesters there shall be now, and what is done about those that leave.
fn keep_ingesters(identity: &Identity, objects: &mut [Desired], live: &Live, crew: &Crew<'_>) -> Course {
    let key = key(identity, Role::Ingester);
    let Some(desired) = find(objects, &key) else { return Course::default() };
    let found = live.objects.get(&key);
    let is_scaled = desired.may_be_scaled && live.autoscaled.contains(&key);
    // Kubernetes would not ask whether anything is left on a volume: that is done here.
    let policy = desired.object.pointer_mut("/spec/persistentVolumeClaimRetentionPolicy/whenScaled");
    let policy = policy.filter(|policy| **policy == "Delete");
    let drops_claims = policy.is_some();
    if let Some(policy) = policy {
        *policy = json!("Retain");
    }
    let count = workload::replicas(&desired.object).filter(|_| !is_scaled);
    if let Some(found) = found.filter(|_| ingesters::is_leaving(&crew.pods))
        && let Some(held) = workload::held(&desired.object, found)
    {
        // One leaves: no other rolls meanwhile.
        desired.object = held;
    }
    let is_changed = found.is_some_and(|found| {
        let mut same_size = desired.object.clone();
        same_size["spec"]["replicas"] = found["spec"]["replicas"].clone();
        compare::difference(key.0, &same_size, found).is_some()
    });
    let ground = Ground {
        wanted: &desired.object,
        live: found,
        pods: crew.pods.clone(),
        claims: crew.claims.clone(),
        count,
        drops_claims,
        is_changed,
    };
    let course = ingesters::course(&ground);
    if let Some(replicas) = course.replicas {
        desired.object["spec"]["replicas"] = json!(replicas);
    } else if found.is_none()
        && let Some(last) = crew.pods.keys().next_back()
    {
        // Made anew, it must not have fewer than before whoever scales it has a word.
        desired.object["spec"]["replicas"] = json!(last + 1);
    }
    course
}

#[cfg(test)]
mod tests;
