//! What wakes a reconcile. Of everything but the stacks only the metadata is watched and nothing is kept.

use std::time::Duration;

use crate::{
    api::TempoStack,
    names::{INSTANCE, MANAGED_BY},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller, controller,
        reflector::{ObjectRef, Store},
        watcher,
    },
};

type Root = DeserializeGuard<TempoStack>;

/// Events that come within this time are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Stacks reconciled at one time.
const CONCURRENCY: u16 = 8;

/// A controller that wakes for stacks, their objects and pods, and the Secrets and ConfigMaps they name.
pub(super) fn controller(client: &Client) -> Controller<Root> {
    let stacks: Api<Root> = Api::all(client.clone());
    let controller = Controller::new(stacks, watcher::Config::default())
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY));
    let by_secret = controller.store();
    let by_ca = controller.store();
    let labelled = || watcher::Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    controller
        .owns(all::<ServiceAccount>(client), labelled())
        .owns(all::<ConfigMap>(client), labelled())
        .owns(all::<NetworkPolicy>(client), labelled())
        .owns(all::<Service>(client), labelled())
        .owns(all::<PodDisruptionBudget>(client), labelled())
        .owns(all::<StatefulSet>(client), labelled())
        .owns(all::<Deployment>(client), labelled())
        .watches(all::<Pod>(client), labelled(), |pod| stack_of_pod(&pod))
        .watches(all::<Secret>(client), watcher::Config::default().fields(SECRETS), move |secret| {
            naming(&by_secret, &secret, |stack| Some(stack.spec.storage.secret.name.as_str()))
        })
        .watches(all::<ConfigMap>(client), watcher::Config::default(), move |map| {
            naming(&by_ca, &map, |stack| stack.spec.storage.tls.as_ref()?.ca_name.as_deref())
        })
}

/// Secrets that cannot be for storage are many in some clusters.
const SECRETS: &str = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1";

/// Objects of a kind, of which the API server sends the metadata alone.
fn all<K: Resource<DynamicType = ()>>(client: &Client) -> Api<PartialObjectMeta<K>> {
    Api::all(client.clone())
}

fn stack_of_pod(pod: &PartialObjectMeta<Pod>) -> Option<ObjectRef<Root>> {
    let instance = pod.labels().get(INSTANCE)?;
    Some(ObjectRef::new(instance).within(&pod.namespace()?))
}

/// The stacks of the object's namespace that name it.
fn naming<K: Resource<DynamicType = ()>>(
    stacks: &Store<Root>,
    object: &PartialObjectMeta<K>,
    name_in: impl Fn(&TempoStack) -> Option<&str>,
) -> Vec<ObjectRef<Root>>
where
    PartialObjectMeta<K>: ResourceExt,
{
    let (name, namespace) = (object.name_any(), object.namespace());
    stacks
        .state()
        .iter()
        .filter_map(|guard| guard.0.as_ref().ok())
        .filter(|stack| stack.namespace() == namespace && name_in(stack) == Some(name.as_str()))
        .map(|stack| ObjectRef::new(&stack.name_any()).within(&stack.namespace().unwrap_or_default()))
        .collect()
}
