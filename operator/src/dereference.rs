//! First step of a reconcile: reads what a resource points at, and what of it is there. IO, read only.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{try_join, try_join_all, try_join4};
use k8s_openapi::{
    Metadata, NamespaceResourceScope,
    api::{
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, ServiceAccount},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use crate::{
    api::{TempoMonolithic, TempoStack},
    facts::{Contents, Entropy, Facts, Live},
    kind::Kind,
    managed::Managed,
    names::{INSTANCE, Identity, MANAGED_BY, NAMESPACE, Owner},
    platform::Platform,
    references::References,
};

/// Why the cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DereferenceError {
    #[error("cannot read {what} in namespace {namespace}")]
    Read { what: String, namespace: String, source: Box<kube::Error> },
    #[error("cannot understand a {kind}")]
    Json { kind: &'static str, source: serde_json::Error },
    #[error("the system gives no random numbers")]
    Entropy,
}

/// Reads everything that the other steps need to know of a resource.
pub(crate) async fn dereference(
    client: &Client,
    resource: &impl Managed,
    platform: &Platform,
) -> Result<Facts, DereferenceError> {
    facts(client, resource.identity(), resource.references(), platform).await
}

async fn facts(
    client: &Client,
    identity: Identity,
    names: References,
    platform: &Platform,
) -> Result<Facts, DereferenceError> {
    let namespace = identity.namespace.as_str();
    let selector = format!("{INSTANCE}={},{}={}", identity.name, MANAGED_BY.0, MANAGED_BY.1);
    let named = try_join4(
        by_name::<Secret>(client, namespace, &names.secrets),
        by_name::<ConfigMap>(client, namespace, &names.config_maps),
        by_name::<ServiceAccount>(client, namespace, &names.service_accounts),
        has_twin(client, &identity),
    );
    let live = try_join4(
        objects(client, namespace, &selector, platform),
        labelled::<Pod>(client, namespace, &selector),
        labelled::<PersistentVolumeClaim>(client, namespace, &selector),
        autoscaled(client, namespace),
    );
    let ((secrets, config_maps, accounts, has_twin), (objects, pods, claims, autoscaled)) =
        try_join(named, live).await?;
    Ok(Facts {
        secrets: secrets.into_iter().map(|secret| (secret.name_any(), contents_of_secret(secret))).collect(),
        config_maps: config_maps
            .into_iter()
            .map(|map| (map.name_any(), contents_of_config_map(map)))
            .collect(),
        service_accounts: accounts.iter().map(ResourceExt::name_any).collect(),
        has_twin,
        entropy: entropy()?,
        live: Live { objects, pods, claims, autoscaled },
    })
}

/// What a Secret holds, also one that comes from a file.
pub(crate) fn contents_of_secret(secret: Secret) -> Contents {
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    let text =
        secret.string_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    Contents(data.chain(text).collect())
}

/// What a ConfigMap holds.
pub(crate) fn contents_of_config_map(map: ConfigMap) -> Contents {
    let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    Contents(text.chain(binary).collect())
}

/// Random bytes from the system.
pub(crate) fn entropy() -> Result<Entropy, DereferenceError> {
    let mut bytes = [0; 32];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| DereferenceError::Entropy)?;
    Ok(Entropy(bytes))
}

fn read_error(what: &str, namespace: &str) -> impl FnOnce(kube::Error) -> DereferenceError {
    let (what, namespace) = (what.to_owned(), namespace.to_owned());
    move |source| DereferenceError::Read { what, namespace, source: Box::new(source) }
}

async fn by_name<K>(
    client: &Client,
    namespace: &str,
    names: &BTreeSet<String>,
) -> Result<Vec<K>, DereferenceError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Metadata
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let reads = names.iter().map(|name| {
        let api = &api;
        async move {
            let what = format!("{} {name}", K::kind(&()));
            api.get_opt(name).await.map_err(read_error(&what, namespace))
        }
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// Whether the other of our kinds has a resource of this name. Where its definition is not installed, it has not.
async fn has_twin(client: &Client, identity: &Identity) -> Result<bool, DereferenceError> {
    let found = match identity.owner {
        Owner::TempoStack => {
            let api: Api<TempoMonolithic> = Api::namespaced(client.clone(), &identity.namespace);
            api.get_metadata_opt(&identity.name).await.map(|found| found.is_some())
        }
        Owner::TempoMonolithic => {
            let api: Api<TempoStack> = Api::namespaced(client.clone(), &identity.namespace);
            api.get_metadata_opt(&identity.name).await.map(|found| found.is_some())
        }
    };
    match found {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        found => found.map_err(read_error("the resources of the other kind", &identity.namespace)),
    }
}

async fn objects(
    client: &Client,
    namespace: &str,
    selector: &str,
    platform: &Platform,
) -> Result<BTreeMap<(Kind, String), Value>, DereferenceError> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_on(platform));
    let lists = kinds.map(|kind| async move {
        let resource = kind.api_resource();
        let (api, selector): (Api<DynamicObject>, _) = if kind.is_cluster_wide() {
            (Api::all_with(client.clone(), &resource), format!("{selector},{NAMESPACE}={namespace}"))
        } else {
            (Api::namespaced_with(client.clone(), namespace, &resource), selector.to_owned())
        };
        let list = api
            .list(&ListParams::default().labels(&selector))
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

async fn labelled<K>(client: &Client, namespace: &str, selector: &str) -> Result<Vec<K>, DereferenceError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let list = api
        .list(&ListParams::default().labels(selector))
        .await
        .map_err(read_error(&K::kind(&()), namespace))?;
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
