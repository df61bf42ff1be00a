//! First step of a reconcile: reads what a stack points at, and what of it is there. IO, read only.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{try_join, try_join_all, try_join3};
use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use crate::{
    api::TempoStack,
    facts::{Facts, Live, StorageSecretData},
    kind::Kind,
    names::{INSTANCE, MANAGED_BY},
};

/// Why the cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DereferenceError {
    #[error("cannot read {what} in namespace {namespace}")]
    Read { what: String, namespace: String, source: Box<kube::Error> },
    #[error("cannot understand a {kind}")]
    Json { kind: &'static str, source: serde_json::Error },
}

/// Reads everything that the other steps need to know.
pub(crate) async fn dereference(client: &Client, resource: &TempoStack) -> Result<Facts, DereferenceError> {
    let namespace = resource.namespace().unwrap_or_default();
    let storage = &resource.spec.storage;
    let ca_name = storage.tls.as_ref().and_then(|tls| tls.ca_name.clone());
    let selector = format!("{INSTANCE}={},{}={}", resource.name_any(), MANAGED_BY.0, MANAGED_BY.1);
    let references = try_join(
        secret(client, &namespace, &storage.secret.name),
        config_map_keys(client, &namespace, ca_name.filter(|name| !name.is_empty())),
    );
    let live = try_join3(
        objects(client, &namespace, &selector),
        pods(client, &namespace, &selector),
        autoscaled(client, &namespace),
    );
    let ((secret, ca_keys), (objects, pods, autoscaled)) = try_join(references, live).await?;
    Ok(Facts { secret, ca_keys, live: Live { objects, pods, autoscaled } })
}

fn read_error(what: &str, namespace: &str) -> impl FnOnce(kube::Error) -> DereferenceError {
    let (what, namespace) = (what.to_owned(), namespace.to_owned());
    move |source| DereferenceError::Read { what, namespace, source: Box::new(source) }
}

async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<StorageSecretData>, DereferenceError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = secrets.get_opt(name).await.map_err(read_error(&format!("Secret {name}"), namespace))?;
    Ok(found.map(|secret| {
        let data = secret.data.unwrap_or_default();
        StorageSecretData(data.into_iter().map(|(key, value)| (key, value.0)).collect())
    }))
}

async fn config_map_keys(
    client: &Client,
    namespace: &str,
    name: Option<String>,
) -> Result<Option<Vec<String>>, DereferenceError> {
    let Some(name) = name else { return Ok(None) };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = maps.get_opt(&name).await.map_err(read_error(&format!("ConfigMap {name}"), namespace))?;
    Ok(found.map(|map| map.data.unwrap_or_default().into_keys().collect()))
}

async fn objects(
    client: &Client,
    namespace: &str,
    selector: &str,
) -> Result<BTreeMap<(Kind, String), Value>, DereferenceError> {
    let lists = Kind::ALL.map(|kind| async move {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.api_resource());
        let list = api
            .list(&ListParams::default().labels(selector))
            .await
            .map_err(read_error(kind.as_str(), namespace))?;
        Ok::<_, DereferenceError>((kind, list.items))
    });
    let mut found = BTreeMap::new();
    for (kind, items) in try_join_all(lists).await? {
        for item in items {
            let name = item.name_any();
            let value = serde_json::to_value(item)
                .map_err(|source| DereferenceError::Json { kind: kind.as_str(), source })?;
            found.insert((kind, name), value);
        }
    }
    Ok(found)
}

async fn pods(client: &Client, namespace: &str, selector: &str) -> Result<Vec<Pod>, DereferenceError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list =
        pods.list(&ListParams::default().labels(selector)).await.map_err(read_error("Pod", namespace))?;
    Ok(list.items)
}

async fn autoscaled(client: &Client, namespace: &str) -> Result<BTreeSet<(Kind, String)>, DereferenceError> {
    let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    let list = scalers
        .list(&ListParams::default())
        .await
        .map_err(read_error("HorizontalPodAutoscaler", namespace))?;
    let targets = list.items.into_iter().filter_map(|scaler| Some(scaler.spec?.scale_target_ref));
    let workloads = targets.filter_map(|target| match target.kind.as_str() {
        "Deployment" => Some((Kind::Deployment, target.name)),
        "StatefulSet" => Some((Kind::StatefulSet, target.name)),
        _ => None,
    });
    Ok(workloads.collect())
}
