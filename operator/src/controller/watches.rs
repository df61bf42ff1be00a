//! What wakes a reconcile. Of everything but the resources themselves only the metadata is watched and nothing is kept.

use std::time::Duration;

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DynamicObject,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller, controller,
        reflector::{ObjectRef, Store},
        watcher,
    },
};

use crate::{
    kind::Kind,
    managed::Managed,
    names::{INSTANCE, MANAGED_BY, NAMESPACE},
    platform::Platform,
    references::References,
};

type Root<K> = DeserializeGuard<K>;

/// Events that come within this time are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Resources of a kind reconciled at one time.
const CONCURRENCY: u16 = 8;
/// Secrets that no resource can name are many in some clusters.
const SECRETS: &str = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1";

/// A controller that wakes for resources of a kind, their objects and pods, and the Secrets, ConfigMaps and accounts
/// that they name.
/// In one place, see `crate::scope`.
pub(super) fn controller<K: Managed>(
    client: &Client,
    platform: &Platform,
    place: Option<&str>,
) -> Controller<Root<K>> {
    let roots: Api<Root<K>> = within(client, place);
    let mut controller = Controller::new(roots, watcher::Config::default())
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY));
    let labelled = || watcher::Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_on(platform)) {
        let resource = kind.api_resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match place {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        controller = if kind.is_cluster_wide() {
            controller.watches_with(api, resource, labelled(), |object| {
                let namespace = object.labels().get(NAMESPACE)?;
                Some(ObjectRef::new(object.labels().get(INSTANCE)?).within(namespace))
            })
        } else {
            controller.owns_with(api, resource, labelled())
        };
    }
    let stores = [(); 3].map(|()| controller.store());
    let [by_secret, by_config_map, by_account] = stores;
    controller
        .watches(all::<Pod>(client, place), labelled(), |pod| of_pod::<K>(&pod))
        .watches(all::<Secret>(client, place), watcher::Config::default().fields(SECRETS), move |secret| {
            naming(&by_secret, &secret, |names, name| names.secrets.contains(name))
        })
        .watches(all::<ConfigMap>(client, place), watcher::Config::default(), move |map| {
            naming(&by_config_map, &map, |names, name| names.config_maps.contains(name))
        })
        .watches(all::<ServiceAccount>(client, place), watcher::Config::default(), move |account| {
            naming(&by_account, &account, |names, name| names.service_accounts.contains(name))
        })
}

/// Objects of a kind, of which the API server sends the metadata alone.
fn all<K>(client: &Client, place: Option<&str>) -> Api<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    within(client, place)
}

fn within<K>(client: &Client, place: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match place {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Of whichever kind the stack is: a reconcile of a name that is not there does nothing.
fn of_pod<K: Managed>(pod: &PartialObjectMeta<Pod>) -> Option<ObjectRef<Root<K>>> {
    let instance = pod.labels().get(INSTANCE)?;
    Some(ObjectRef::new(instance).within(&pod.namespace()?))
}

/// The resources of the object's namespace that name it.
fn naming<K: Managed, O: Resource<DynamicType = ()>>(
    roots: &Store<Root<K>>,
    object: &PartialObjectMeta<O>,
    is_named: impl Fn(&References, &String) -> bool,
) -> Vec<ObjectRef<Root<K>>>
where
    PartialObjectMeta<O>: ResourceExt,
{
    let (name, namespace) = (object.name_any(), object.namespace());
    roots
        .state()
        .iter()
        .filter_map(|guard| guard.0.as_ref().ok())
        .filter(|root| root.namespace() == namespace && is_named(&root.references(), &name))
        .map(|root| ObjectRef::new(&root.name_any()).within(&root.namespace().unwrap_or_default()))
        .collect()
}
