//! What wakes a reconcile. Of everything but the resources themselves only the metadata is watched and nothing is kept.
//!
//! What was deleted while a watch was not there, nobody tells: the list with which it begins anew does not have it. So every
//! such list wakes all resources. A watch that fails waits for itself alone: kube's controllers would hold up all others.

use std::time::Duration;

use futures::{
    Stream, StreamExt, TryStreamExt,
    channel::mpsc::{self, UnboundedSender},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DynamicObject,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller, WatchStreamExt, controller,
        reflector::{self, ObjectRef, Store},
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

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
/// The first and the longest wait of a watch after an error: an API server that is back shall be noticed soon.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// Objects that a list answers at a time: more than forty lists begin when the operator does, and of an object the metadata
/// alone, with who manages which field, take some kilobytes.
const PAGE: u32 = 100;
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
    let (reader, writer) = reflector::store();
    let any = || watcher::Config::default().page_size(PAGE);
    let roots = watcher(within::<Root<K>>(client, place), any());
    let roots = patient(roots).reflect(writer).touched_objects();
    let mut controller = Controller::for_stream(without_errors(roots), reader)
        // All may begin at one time: they wait for their turns (`super::turns`).
        .with_config(controller::Config::default().debounce(DEBOUNCE));
    let labelled = || any().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let (anew, listed_anew) = mpsc::unbounded();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_on(platform)) {
        let resource = kind.api_resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match place {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let stream = watched(api, labelled(), anew.clone());
        controller = if kind.is_cluster_wide() {
            let root = |object: PartialObjectMeta<DynamicObject>| {
                let namespace = object.labels().get(NAMESPACE)?;
                Some(ObjectRef::new(object.labels().get(INSTANCE)?).within(namespace))
            };
            controller.watches_stream_with(stream, root, resource)
        } else if kind == Kind::Secret {
            // cert-manager's have no owner.
            let root = |secret: PartialObjectMeta<DynamicObject>| {
                let owners = secret.owner_references();
                let owner = owners.iter().find(|owner| owner.kind == K::OWNER.as_str());
                let name = owner.map(|owner| &owner.name).or_else(|| secret.labels().get(INSTANCE))?;
                Some(ObjectRef::new(name).within(&secret.namespace()?))
            };
            controller.watches_stream_with(stream, root, resource)
        } else {
            controller.owns_stream_with(stream, resource)
        };
    }
    let stores = [(); 3].map(|()| controller.store());
    let [by_secret, by_config_map, by_account] = stores;
    let secrets = watched(all::<Secret>(client, place), any().fields(SECRETS), anew.clone());
    let config_maps = watched(all::<ConfigMap>(client, place), any(), anew.clone());
    let accounts = watched(all::<ServiceAccount>(client, place), any(), anew.clone());
    controller
        .watches_stream(watched(all::<Pod>(client, place), labelled(), anew), |pod| of_pod::<K>(&pod))
        .watches_stream(secrets, move |secret| {
            naming(&by_secret, &secret, |names, name| names.secrets.contains(name))
        })
        .watches_stream(config_maps, move |map| {
            naming(&by_config_map, &map, |names, name| names.config_maps.contains(name))
        })
        .watches_stream(accounts, move |account| {
            naming(&by_account, &account, |names, name| names.service_accounts.contains(name))
        })
        .reconcile_all_on(listed_anew)
}

/// Objects as they are changed. Tells when all have been listed anew, but for the first time.
fn watched<M>(
    api: Api<M>,
    config: watcher::Config,
    anew: UnboundedSender<()>,
) -> impl Stream<Item = Result<M, watcher::Error>> + Send + 'static
where
    M: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut was_listed = false;
    let touched = patient(watcher(api, config))
        .inspect_ok(move |event| {
            if matches!(event, Event::InitDone) {
                if was_listed {
                    // Nobody listens any more once the controller has ended.
                    let _ = anew.unbounded_send(());
                }
                was_listed = true;
            }
        })
        .touched_objects();
    without_errors(touched).boxed()
}

/// A watch that waits after an error, longer after each in a row.
fn patient<T: Send + 'static>(
    watch: impl Stream<Item = watcher::Result<Event<T>>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<Event<T>>> + Send + 'static {
    watch.backoff(Pause(PAUSES.0))
}

/// Errors of a watch are logged and mended by the watch itself: to a controller they are a reason to wait with everything.
fn without_errors<T: Send + 'static>(
    watch: impl Stream<Item = watcher::Result<T>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<T>> + Send + 'static {
    let mut is_failing = false;
    watch.filter_map(move |item| {
        if let Err(error) = &item
            && !is_failing
        {
            tracing::warn!(%error, "a watch has failed and begins anew");
        }
        is_failing = item.is_err();
        std::future::ready(item.ok().map(Ok))
    })
}

/// How long a watch waits after the next error.
struct Pause(Duration);

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = self.0;
        self.0 = now.saturating_mul(2).min(PAUSES.1);
        Some(now)
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.0 = PAUSES.0;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_waits_longer_after_each_error_in_a_row_and_never_long() {
        let mut pause = Pause(PAUSES.0);
        let waits: Vec<u128> = pause.by_ref().take(6).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 4000]);
        pause.reset();
        assert_eq!(pause.next(), Some(PAUSES.0));
    }
}
