//! Fourth step of a reconcile: desired objects -> what the API server answered. IO, write only.
//!
//! # Flow
//! Each object, in a fixed order, is compared with what is there and sent by server-side apply when it differs. Lists
//! that someone else has added to keep the addition under server-side apply; they are then replaced by a merge
//! patch. Afterwards, what this very resource (by uid) owns and no longer wants is deleted.
//!
//! # Guarantees
//! Nothing is written when nothing changed. Nothing is deleted when anything failed, nor what another resource, or
//! nobody, owns, whatever its labels say.
//!
//! # Errors
//! Objects that could be applied are; the error lists those that could not.

pub(crate) mod acts;
pub(crate) mod volumes;

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::Status,
};
use serde_json::{Value, json};

use crate::{
    build::{Desired, certificates::Certificates},
    compare::{
        self, FIELD_MANAGER, difference, has_patch_of_ours, has_surplus, is_new_to_us, records_to_keep,
    },
    facts::Live,
    kind::Kind,
    names::Identity,
};

/// How often the records of an object are tried to be trimmed while others write it.
const RECORD_ATTEMPTS: usize = 5;

/// What the API server says there is now, and what was done to get there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    pub(crate) objects: BTreeMap<(Kind, String), Value>,
    pub(crate) changes: Changes,
    /// What is gone.
    pub(crate) removed: Vec<(Kind, String)>,
    /// Objects that could not be applied, with the reason.
    pub(crate) failures: Vec<String>,
}

/// Objects that were written, as `Kind name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) created: Vec<String>,
    /// With the place of the first difference.
    pub(crate) updated: Vec<String>,
    pub(crate) deleted: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("{}", text(.0))]
    Api(Box<kube::Error>),
    #[error("cannot understand the answer: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// What the API server says, without the debug output of the client.
fn text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Applied {
    /// Takes in what was done besides.
    pub(crate) fn add(&mut self, other: Self) {
        let Changes { created, updated, deleted } = other.changes;
        for key in &other.removed {
            self.objects.remove(key);
        }
        self.objects.extend(other.objects);
        self.changes.created.extend(created);
        self.changes.updated.extend(updated);
        self.changes.deleted.extend(deleted);
        self.failures.extend(other.failures);
    }
}

/// Makes the cluster hold the objects of a stack, and no others; certificates are kept by whoever makes them.
pub(crate) async fn apply(
    client: &Client,
    identity: &Identity,
    objects: Vec<Desired>,
    certificates: Option<&Certificates>,
    live: &Live,
) -> Applied {
    let mut applied = write(client, identity, objects, live).await;
    if applied.failures.is_empty() {
        prune(client, identity, certificates, live, &mut applied).await;
    }
    applied
}

/// Makes the cluster hold these objects.
pub(crate) async fn write(
    client: &Client,
    identity: &Identity,
    objects: Vec<Desired>,
    live: &Live,
) -> Applied {
    let mut applied = Applied::default();
    for mut desired in objects {
        let key = (desired.kind, desired.name.clone());
        let found = live.objects.get(&key);
        yield_replicas(&mut desired, found, live.autoscaled.contains(&key));
        let label = format!("{} {}", desired.kind.as_str(), desired.name);
        let answer = if let Some(found) = found {
            keep(client, identity, &desired, found, &mut applied.changes).await
        } else {
            applied.changes.created.push(label.clone());
            create(client, identity, &desired).await
        };
        match answer {
            Ok(object) => {
                applied.objects.insert(key, object);
            }
            Err(error) => applied.failures.push(format!("{label}: {error}")),
        }
    }
    applied
}

/// Removes what a resource has outside of its namespace, where nothing can own it. Answers what could not be removed.
pub(crate) async fn remove_cluster_wide(client: &Client, identity: &Identity, live: &Live) -> Vec<String> {
    let mut applied = Applied::default();
    for (key, object) in live.objects.iter().filter(|((kind, _), _)| kind.is_cluster_wide()) {
        remove(client, identity, key, object, &mut applied).await;
    }
    applied.failures
}

/// Leaves an object as it is, or makes it what it shall be.
async fn keep(
    client: &Client,
    identity: &Identity,
    desired: &Desired,
    found: &Value,
    changes: &mut Changes,
) -> Result<Value, WriteError> {
    let Some(place) = difference(desired.kind, &desired.object, found) else {
        return Ok(found.clone());
    };
    changes.updated.push(format!("{} {} ({place})", desired.kind.as_str(), desired.name));
    update(client, identity, desired, found).await
}

/// Makes an object. One of ours that somebody took the labels off was not found by them, and is made what it shall be
/// as any other.
async fn create(client: &Client, identity: &Identity, desired: &Desired) -> Result<Value, WriteError> {
    match server_side_apply(client, identity, desired).await {
        Err(error) if is_invalid(&error) => {
            let found = api(client, identity, desired.kind).get_opt(&desired.name).await?;
            let found = found.map(serde_json::to_value).transpose()?;
            match found.filter(|found| is_owned(found, identity)) {
                Some(found) => update(client, identity, desired, &found).await,
                None => Err(error),
            }
        }
        answer => answer,
    }
}

/// An autoscaler's number of pods is kept, unless the resource fixes one. It is kept by value: leaving the field out
/// would set it to one first, where it was ours. That is so, too, where no number is said any more.
fn yield_replicas(desired: &mut Desired, live: Option<&Value>, is_autoscaled: bool) {
    let Some(live) = live.filter(|_| desired.may_be_scaled) else { return };
    let unsaid = desired.object.pointer("/spec/replicas").is_none();
    let was_ours = || compare::applied(live).is_some_and(|ours| ours.pointer("/spec/replicas").is_some());
    let found = live.pointer("/spec/replicas").filter(|_| is_autoscaled || (unsaid && was_ours()));
    if let Some(found) = found {
        desired.object["spec"]["replicas"] = found.clone();
    }
}

/// A StatefulSet of Grafana's operator names no Service, and the name cannot be changed. Nothing of a stack depends on
/// it, so the one that is there stays, and with it the StatefulSet.
pub(crate) fn yield_service_name(desired: &mut Desired, live: Option<&Value>) {
    let Some(live) = live.filter(|_| desired.kind == Kind::StatefulSet) else { return };
    let Some(spec) = desired.object["spec"].as_object_mut() else { return };
    if !spec.contains_key("serviceName") {
        return;
    }
    match live.pointer("/spec/serviceName") {
        Some(found) => spec.insert("serviceName".to_owned(), found.clone()),
        None => spec.remove("serviceName"),
    };
}

fn api(client: &Client, identity: &Identity, kind: Kind) -> Api<DynamicObject> {
    if kind.is_cluster_wide() {
        return Api::all_with(client.clone(), &kind.api_resource());
    }
    Api::namespaced_with(client.clone(), &identity.namespace, &kind.api_resource())
}

async fn server_side_apply(
    client: &Client,
    identity: &Identity,
    desired: &Desired,
) -> Result<Value, WriteError> {
    let answer = api(client, identity, desired.kind)
        .patch(&desired.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&desired.object))
        .await?;
    Ok(serde_json::to_value(answer)?)
}

async fn update(
    client: &Client,
    identity: &Identity,
    desired: &Desired,
    live: &Value,
) -> Result<Value, WriteError> {
    // At once by merge patch where an apply would not do: pods shall roll once, not twice.
    let surplus_key =
        desired.kind == Kind::ConfigMap && compare::surplus_keys(&desired.object, live).next().is_some();
    let answer = if surplus_key || is_new_to_us(live) || has_surplus(&desired.object, live) {
        overwrite(client, identity, desired, live).await
    } else if has_patch_of_ours(live) {
        settle(client, identity, desired).await
    } else {
        server_side_apply(client, identity, desired).await
    };
    match answer {
        Err(error) if is_immutable(desired.kind, &error) => replace(client, identity, desired, live).await,
        // Two ports of one name, for instance, when someone renumbered ours.
        Err(error) if is_invalid(&error) => overwrite(client, identity, desired, live).await,
        answer => answer,
    }
}

fn is_invalid(error: &WriteError) -> bool {
    matches!(error, WriteError::Api(error) if matches!(&**error, kube::Error::Api(status) if status.is_invalid()))
}

fn is_immutable(kind: Kind, error: &WriteError) -> bool {
    matches!(error, WriteError::Api(error) if matches!(&**error, kube::Error::Api(status) if only_fixed_fields(kind, status)))
}

/// Whether all that is wrong is that the object cannot be changed so: made anew, it would be taken.
fn only_fixed_fields(kind: Kind, status: &Status) -> bool {
    let words = match kind {
        Kind::StatefulSet => "updates to statefulset spec",
        Kind::RoleBinding | Kind::ClusterRoleBinding => "cannot change roleRef",
        _ => return false,
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut messages = causes.map(|cause| cause.message.as_str()).peekable();
    status.is_invalid() && messages.peek().is_some() && messages.all(|message| message.contains(words))
}

/// Replaces lists as a whole, and with them what others have added; then applies, so that all that we want is
/// recorded as ours, and only there. Whatever step is the last that is done, the records tell the next reconcile what is left.
/// Records go after the apply, too: the API server lets no object be without any, so that those of another operator can stay
/// until there is one of ours.
async fn overwrite(
    client: &Client,
    identity: &Identity,
    desired: &Desired,
    live: &Value,
) -> Result<Value, WriteError> {
    let mut object = desired.object.clone();
    if desired.kind == Kind::ConfigMap {
        for key in compare::surplus_keys(&desired.object, live) {
            object["data"][key] = Value::Null;
        }
    }
    let answer = merge_patch(client, identity, desired, &object).await?;
    if is_new_to_us(live) {
        // while the next reconcile would still see that it is
        trim(client, identity, desired, answer, true).await?;
        let answer = server_side_apply(client, identity, desired).await?;
        return trim(client, identity, desired, answer, true).await;
    }
    settle(client, identity, desired).await
}

/// Applies, and takes back the record of a merge patch of ours.
async fn settle(client: &Client, identity: &Identity, desired: &Desired) -> Result<Value, WriteError> {
    let answer = server_side_apply(client, identity, desired).await?;
    trim(client, identity, desired, answer, false).await
}

/// Takes records away that are not to stay (`records_to_keep`), while others may be writing.
async fn trim(
    client: &Client,
    identity: &Identity,
    desired: &Desired,
    mut answer: Value,
    was_new_to_us: bool,
) -> Result<Value, WriteError> {
    for _ in 0..RECORD_ATTEMPTS {
        let Some(kept) = records_to_keep(&answer, was_new_to_us) else { break };
        let version = &answer["metadata"]["resourceVersion"];
        let records = json!({"metadata": {"managedFields": kept, "resourceVersion": version}});
        match merge_patch(client, identity, desired, &records).await {
            Ok(trimmed) => return Ok(trimmed),
            // A controller wrote its status meanwhile.
            Err(WriteError::Api(error)) if matches!(&*error, kube::Error::Api(status) if status.is_conflict()) =>
            {
                let fresh = api(client, identity, desired.kind).get(&desired.name).await?;
                answer = serde_json::to_value(fresh)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

async fn merge_patch(
    client: &Client,
    identity: &Identity,
    desired: &Desired,
    patch: &Value,
) -> Result<Value, WriteError> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let answer =
        api(client, identity, desired.kind).patch(&desired.name, &params, &Patch::Merge(patch)).await?;
    Ok(serde_json::to_value(answer)?)
}

/// Most of a StatefulSet cannot be changed. Its pods can stay while it is made anew: they are left as orphans, and
/// taken over by their selector. What a binding is to cannot be changed either; nothing hangs on it.
async fn replace(
    client: &Client,
    identity: &Identity,
    desired: &Desired,
    live: &Value,
) -> Result<Value, WriteError> {
    let has_pods = desired.kind == Kind::StatefulSet;
    let propagation = if has_pods { PropagationPolicy::Orphan } else { PropagationPolicy::Background };
    let params = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(preconditions(live)),
        ..DeleteParams::default()
    };
    api(client, identity, desired.kind).delete(&desired.name, &params).await?;
    if !has_pods {
        return server_side_apply(client, identity, desired).await;
    }
    // It goes a moment later, and its going is the event by which it is made anew.
    Ok(live.clone())
}

fn preconditions(live: &Value) -> Preconditions {
    let uid = live.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
    Preconditions { uid, resource_version: None }
}

/// True when this very resource, not one of its name, owns the object.
fn is_owned(object: &Value, identity: &Identity) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner["uid"] == json!(identity.uid))
}

/// Whether whoever makes certificates keeps it.
fn is_certificate(certificates: Option<&Certificates>, (kind, name): &(Kind, String)) -> bool {
    certificates.is_some_and(|all| match kind {
        Kind::Secret => *name == all.authority || all.leaves.iter().any(|leaf| leaf.secret == *name),
        Kind::ConfigMap => *name == all.bundle,
        _ => false,
    })
}

async fn prune(
    client: &Client,
    identity: &Identity,
    certificates: Option<&Certificates>,
    live: &Live,
    applied: &mut Applied,
) {
    let unwanted: Vec<_> = unwanted(identity, certificates, live, &applied.objects).collect();
    for (key, object) in unwanted {
        remove(client, identity, key, object, applied).await;
    }
}

/// What of the objects that are there is this resource's and no longer wanted.
fn unwanted<'a>(
    identity: &Identity,
    certificates: Option<&Certificates>,
    live: &'a Live,
    wanted: &BTreeMap<(Kind, String), Value>,
) -> impl Iterator<Item = (&'a (Kind, String), &'a Value)> {
    live.objects.iter().filter(move |(key, object)| {
        // What is in no namespace has no owner; it was listed by labels that name this stack and its namespace.
        let is_ours = key.0.is_cluster_wide() || is_owned(object, identity);
        is_ours && !wanted.contains_key(*key) && !is_certificate(certificates, key)
    })
}

async fn remove(
    client: &Client,
    identity: &Identity,
    (kind, name): &(Kind, String),
    object: &Value,
    applied: &mut Applied,
) {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(preconditions(object)),
        ..DeleteParams::default()
    };
    let label = format!("{} {name}", kind.as_str());
    match api(client, identity, *kind).delete(name, &params).await {
        Ok(_) => {
            applied.removed.push((*kind, name.clone()));
            applied.changes.deleted.push(label);
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => applied.failures.push(format!("{label}: {}", text(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Owner;

    fn identity() -> Identity {
        Identity {
            owner: Owner::TempoStack,
            name: "s".to_owned(),
            namespace: "n".to_owned(),
            uid: "u1".to_owned(),
        }
    }

    /// What there is, each kind once, by this owner.
    fn live(owner: Option<&str>) -> Live {
        let labels = identity().common_labels();
        let owners = owner.map(|uid| json!([{"uid": uid}]));
        let object = json!({"metadata": {"labels": labels, "ownerReferences": owners}});
        let one = |kind: Kind| ((kind, "tempo-s-x".to_owned()), object.clone());
        Live { objects: Kind::ALL.into_iter().map(one).collect(), ..Live::default() }
    }

    fn removed(live: &Live, certificates: Option<&Certificates>) -> Vec<Kind> {
        unwanted(&identity(), certificates, live, &BTreeMap::new()).map(|((kind, _), _)| *kind).collect()
    }

    #[test]
    fn defect_0_what_this_very_resource_does_not_own_is_not_removed_whatever_its_labels_say() {
        for owner in [None, Some("u0")] {
            let found = removed(&live(owner), None);
            assert!(found.iter().all(|kind| kind.is_cluster_wide()), "{found:?}");
        }
    }

    #[test]
    fn defect_2_whatever_kind_it_is_what_is_no_longer_wanted_is_removed() {
        let found = removed(&live(Some("u1")), None);
        assert_eq!(found, Kind::ALL);
        for kind in [Kind::ConfigMap, Kind::Secret, Kind::ServiceAccount, Kind::StatefulSet] {
            assert!(found.contains(&kind), "{}", kind.as_str());
        }
        let name = || "tempo-s-x".to_owned();
        let certificates = Certificates { authority: name(), bundle: name(), leaves: Vec::new() };
        let found = removed(&live(Some("u1")), Some(&certificates));
        assert!(!found.contains(&Kind::Secret) && !found.contains(&Kind::ConfigMap));
    }

    #[test]
    fn defect_2_a_binding_to_another_role_is_made_anew() {
        let status = |message: &str| -> Status {
            let causes = json!([{"field": "roleRef", "message": message, "reason": "FieldValueInvalid"}]);
            let details = json!({"causes": causes});
            let status = json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": "x", "details": details});
            serde_json::from_value(status).expect("a status")
        };
        let role = status("Invalid value: {\"name\":\"a\"}: cannot change roleRef");
        assert!(
            only_fixed_fields(Kind::RoleBinding, &role) && only_fixed_fields(Kind::ClusterRoleBinding, &role)
        );
        assert!(!only_fixed_fields(Kind::Service, &role));
        assert!(!only_fixed_fields(Kind::RoleBinding, &status("Required value")));
        let set =
            status("Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden");
        assert!(only_fixed_fields(Kind::StatefulSet, &set) && !only_fixed_fields(Kind::RoleBinding, &set));
    }

    #[test]
    fn an_autoscaler_s_number_of_pods_is_kept_and_a_fixed_one_is_not_given_up() {
        let live = json!({"spec": {"replicas": 5}});
        let ours = json!({"spec": {"replicas": 5}, "metadata": {"managedFields": [{
            "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }]}});
        let (two, unsaid) = (json!({"spec": {"replicas": 2}}), json!({"spec": {}}));
        for (object, live, may_be_scaled, is_autoscaled, count) in [
            (&two, &live, true, true, json!(5)),
            (&two, &live, false, true, json!(2)),
            (&two, &live, true, false, json!(2)),
            (&unsaid, &live, true, false, Value::Null),
            (&unsaid, &ours, true, false, json!(5)),
        ] {
            let (kind, name) = (Kind::Deployment, "d".to_owned());
            let mut desired = Desired { kind, name, object: object.clone(), may_be_scaled };
            yield_replicas(&mut desired, Some(live), is_autoscaled);
            assert_eq!(desired.object["spec"]["replicas"], count);
        }
    }

    #[test]
    fn a_statefulset_that_is_there_keeps_its_service_since_that_cannot_be_changed() {
        for (live, kept) in [
            (json!({"spec": {}}), Value::Null),
            (json!({"spec": {"serviceName": ""}}), json!("")),
            (json!({"spec": {"serviceName": "theirs"}}), json!("theirs")),
        ] {
            let mut desired = Desired {
                kind: Kind::StatefulSet,
                name: "i".to_owned(),
                object: json!({"spec": {"serviceName": "ours"}}),
                may_be_scaled: false,
            };
            yield_service_name(&mut desired, None);
            assert_eq!(desired.object["spec"]["serviceName"], "ours");
            yield_service_name(&mut desired, Some(&live));
            assert_eq!(desired.object["spec"].get("serviceName").cloned().unwrap_or_default(), kept);
            desired.object = json!({"spec": {}});
            yield_service_name(&mut desired, Some(&live));
            assert_eq!(desired.object, json!({"spec": {}}), "what is not wanted is not taken for ours");
        }
    }
}
