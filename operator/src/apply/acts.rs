//! What is done about pods of ingesters that leave, and about their volumes. Each is about the very object that was looked at. IO.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::{Changes, text};
use crate::{
    compare::FIELD_MANAGER,
    names::Identity,
    rollout::{
        Act,
        ingesters::{HELD, UNDRAINED, is_held},
    },
};

/// Does them one after the other, until one fails; answers why. What is gone already needs nothing.
pub(crate) async fn carry_out(
    client: &Client,
    identity: &Identity,
    acts: &[Act],
    changes: &mut Changes,
) -> Result<(), String> {
    for act in acts {
        match carry(client, identity, act, changes).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(format!("{act}: {}", text(&error))),
        }
    }
    Ok(())
}

/// Lets the pods of a stack go that is gone, or goes: nobody waits for how they end.
pub(crate) async fn release_all(client: &Client, namespace: &str, selector: &str) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(selector)).await?;
    for pod in pods.iter().filter(|pod| is_held(pod)) {
        match patch(&api, &pod.name_any(), &released(&pod.uid().unwrap_or_default())).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

async fn carry(
    client: &Client,
    identity: &Identity,
    act: &Act,
    changes: &mut Changes,
) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &identity.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &identity.namespace);
    let of = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match act {
        Act::Hold { pod, uid } => patch(&pods, pod, &json!({"uid": uid, "finalizers": [HELD]})).await?,
        Act::Adopt { pod, uid, labels } => patch(&pods, pod, &json!({"uid": uid, "labels": labels})).await?,
        Act::Release { pod, uid } => patch(&pods, pod, &released(uid)).await?,
        Act::Remove { pod, uid } => {
            pods.delete(pod, &of(uid)).await?;
            changes.deleted.push(format!("Pod {pod}"));
        }
        Act::Drop { claim, uid } => {
            claims.delete(claim, &of(uid)).await?;
            changes.deleted.push(format!("PersistentVolumeClaim {claim}"));
        }
        Act::Mark { claim, why } => {
            let patch = json!({"metadata": {"annotations": {UNDRAINED: why}}});
            claims.patch(claim, &params(), &Patch::Merge(&patch)).await?;
        }
    }
    Ok(())
}

fn released(uid: &str) -> Value {
    json!({"uid": uid, "$deleteFromPrimitiveList/finalizers": [HELD]})
}

/// A strategic patch leaves the finalizers of others alone; one of another uid is refused.
async fn patch(pods: &Api<Pod>, name: &str, metadata: &Value) -> Result<(), kube::Error> {
    pods.patch(name, &params(), &Patch::Strategic(json!({"metadata": metadata}))).await.map(drop)
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}
