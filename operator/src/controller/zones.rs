//! Tells pods their zone: that of the node that they run on, which is known only when they were given one. Their workload waits
//! for it. Of all pods, those of stacks with `replicationZones` are watched. IO.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        Controller,
        controller::Action,
        events::{Event, EventType, Recorder, Reporter},
        watcher,
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    build::pod::{ZONE, ZONE_AWARE, ZONE_LABELS},
    compare::FIELD_MANAGER,
    names::{Labels, MANAGED_BY},
};

/// After this a node is asked again that could not be, or lacks a label.
const RETRY: Duration = Duration::from_secs(10);

/// Why a pod's zone cannot be told.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("node {node} has no label {label}, which is a part of the pod's zone")]
    Label { node: String, label: String },
    #[error("cannot read node {node}")]
    Node { node: String, source: Box<kube::Error> },
    #[error("cannot write the pod's zone")]
    Write(#[source] Box<kube::Error>),
}

struct Context {
    client: Client,
    events: Recorder,
}

/// Tells pods their zones until told to stop.
pub(super) async fn run(client: Client, instance: String, stop: CancellationToken) {
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance) };
    let context =
        Arc::new(Context { events: Recorder::new(client.clone(), reporter), client: client.clone() });
    let selector = format!("{}={},{}={}", MANAGED_BY.0, MANAGED_BY.1, ZONE_AWARE.0, ZONE_AWARE.1);
    Controller::new(Api::<Pod>::all(client), watcher::Config::default().labels(&selector))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(RETRY), context)
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(pod: Arc<Pod>, context: Arc<Context>) -> Result<Action, Error> {
    match tell(&pod, &context.client).await {
        Err(kube) if is_gone(&kube) => Ok(Action::await_change()),
        Err(error) => {
            complain(&pod, &context.events, &error).await;
            Err(error)
        }
        Ok(()) => Ok(Action::await_change()),
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Write(source) if matches!(&**source, kube::Error::Api(status) if status.is_not_found() || status.is_conflict()))
}

/// The pod shows why it waits.
async fn complain(pod: &Pod, events: &Recorder, error: &Error) {
    let (namespace, name) = (pod.namespace(), pod.name_any());
    tracing::warn!(namespace, name, %error, "a pod waits for its zone");
    let event = Event {
        type_: EventType::Warning,
        reason: "NoZone".to_owned(),
        note: Some(error.to_string()),
        action: "TellZone".to_owned(),
        secondary: None,
    };
    if let Err(error) = events.publish(&event, &pod.object_ref(&())).await {
        tracing::warn!(%error, "cannot publish an event");
    }
}

/// A zone that was told once stays: the process has read it.
async fn tell(pod: &Pod, client: &Client) -> Result<(), Error> {
    let Some((node, keys)) = question(pod) else { return Ok(()) };
    let nodes: Api<Node> = Api::all(client.clone());
    let found = nodes
        .get_metadata(node)
        .await
        .map_err(|source| Error::Node { node: node.to_owned(), source: Box::new(source) })?;
    let zone = zone(keys, &found.metadata.labels.unwrap_or_default())
        .map_err(|label| Error::Label { node: node.to_owned(), label })?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let patch = json!({"metadata": {"uid": pod.uid(), "annotations": {ZONE: zone}}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = pods.patch_metadata(&pod.name_any(), &params, &Patch::Merge(&patch)).await;
    written.map(drop).map_err(|source| Error::Write(Box::new(source)))
}

/// The node and the labels that a pod's zone is found by, where it is to be told and has not been.
fn question(pod: &Pod) -> Option<(&str, &str)> {
    let annotations = pod.annotations();
    let told = annotations.get(ZONE).is_some_and(|zone| !zone.is_empty());
    let goes = pod.metadata.deletion_timestamp.is_some();
    let keys = annotations.get(ZONE_LABELS).filter(|_| !(told || goes))?;
    Some((pod.spec.as_ref()?.node_name.as_deref()?, keys))
}

/// The values of a node's labels, in the order of the keys; or the label that it lacks.
fn zone(keys: &str, labels: &Labels) -> Result<String, String> {
    let value = |key: &str| labels.get(key).cloned().ok_or_else(|| key.to_owned());
    let values = keys.split(',').map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(values.join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: Option<&str>, annotations: &[(&str, &str)]) -> Pod {
        let annotations: Labels =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let pod =
            json!({"metadata": {"annotations": annotations}, "spec": {"containers": [], "nodeName": node}});
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn a_zone_is_what_the_labels_of_the_node_say_in_the_order_of_the_keys() {
        let labels =
            Labels::from([("z".to_owned(), "east-1".to_owned()), ("rack".to_owned(), "r7".to_owned())]);
        assert_eq!(zone("z", &labels), Ok("east-1".to_owned()));
        assert_eq!(zone("rack,z", &labels), Ok("r7_east-1".to_owned()));
        assert_eq!(zone("z,row", &labels), Err("row".to_owned()));
    }

    #[test]
    fn a_pod_is_told_once_and_when_it_has_a_node() {
        let asks = [(ZONE_LABELS, "z")];
        assert_eq!(question(&pod(Some("n"), &asks)), Some(("n", "z")));
        assert_eq!(question(&pod(None, &asks)), None);
        assert_eq!(question(&pod(Some("n"), &[])), None);
        assert_eq!(question(&pod(Some("n"), &[(ZONE_LABELS, "z"), (ZONE, "east")])), None);
        assert!(question(&pod(Some("n"), &[(ZONE_LABELS, "z"), (ZONE, "")])).is_some());
    }
}
