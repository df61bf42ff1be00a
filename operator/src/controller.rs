//! Watches the resources of both kinds and everything that is theirs, and reconciles them in five steps: dereference,
//! validate, build, apply, status. Only the first and the last two touch the cluster. IO.

mod certificates;
mod course;
mod events;
mod turns;
mod watches;
mod zones;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::join_all};
use k8s_openapi::jiff::{Timestamp, Unit};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::controller::Action,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::{
    course::{Course, Work},
    turns::Turns,
};
use crate::{
    api::{TempoMonolithic, TempoStack},
    apply::{self, Applied, acts},
    certificates::Rotation,
    compare::FIELD_MANAGER,
    dereference::{DereferenceError, dereference},
    facts::Live,
    kind::Kind,
    managed::{Managed, Observed},
    metrics::{Metrics, Outcome},
    names::{COMPONENT, INSTANCE, Identity, Owner},
    platform::Platform,
    role::Role,
    rollout::Planned,
    status::{Evidence, Verdict},
};

/// The peer holds deletions up with this; stacks taken over from it still carry it.
const PEER_FINALIZER: &str = "tempo.grafana.com/finalizer";
/// Looked at anew so often, in case an event was lost. Reads only.
const RESYNC: Duration = Duration::from_mins(10);
/// First and longest wait after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// What every reconcile needs.
pub(crate) struct Context {
    client: Client,
    platform: Platform,
    rotation: Rotation,
    metrics: Arc<Metrics>,
    events: events::Events,
    turns: Turns,
    /// Errors in a row, by resource.
    failures: Mutex<HashMap<String, u32>>,
}

/// Why a reconcile has to be repeated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    #[error("cannot apply: {0}")]
    Apply(String),
    #[error("cannot {action}")]
    Resource { action: &'static str, source: Box<kube::Error> },
}

impl Error {
    fn resource(action: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Resource { action, source: Box::new(source) }
    }
}

/// Keeps all resources as they shall be until told to stop.
pub(crate) async fn run(
    client: Client,
    (platform, rotation): (Platform, Rotation),
    metrics: Arc<Metrics>,
    instance: String,
    stop: CancellationToken,
) {
    // Nodes are in no namespace.
    let zones = platform
        .scope
        .is_cluster_wide()
        .then(|| zones::run(client.clone(), instance.clone(), stop.clone()).boxed());
    let context = Arc::new(Context {
        events: events::Events::new(client.clone(), instance),
        client,
        platform,
        rotation,
        metrics,
        turns: Turns::new(stop.clone()),
        failures: Mutex::new(HashMap::new()),
    });
    let places = context.platform.scope.places();
    let all = places.into_iter().flat_map(|place| {
        let stacks = run_kind::<TempoStack>(Arc::clone(&context), place.clone(), stop.clone()).boxed();
        [stacks, run_kind::<TempoMonolithic>(Arc::clone(&context), place, stop.clone()).boxed()]
    });
    join_all(all.chain(zones)).await;
}

/// In a namespace, or everywhere.
async fn run_kind<K: Managed>(context: Arc<Context>, place: Option<String>, stop: CancellationToken) {
    watches::controller::<K>(&context.client, &context.platform, place.as_deref())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile::<K>, backoff::<K>, context)
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile<K: Managed>(
    guard: Arc<DeserializeGuard<K>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let key = key_of(&guard);
    let is_new = guard.0.as_ref().is_ok_and(is_without_status);
    let greeting = is_new.then(|| Box::pin(greet(&guard, &context)));
    let Some(_turn) = context.turns.take(greeting).await else { return Ok(Action::await_change()) };
    let start = Instant::now();
    let result = Box::pin(reconcile_named(&guard, &context)).await;
    let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Error };
    context.metrics.reconciled(outcome, start.elapsed());
    if result.is_ok() {
        context.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
    result
}

/// Nobody has said anything of it yet. That is no empty status: the definition has a generation in it, so that who waits for the
/// resource sees that it was not seen.
fn is_without_status<K: Managed>(resource: &K) -> bool {
    resource.observed().conditions().is_empty() && resource.meta().deletion_timestamp.is_none()
}

/// The first status of a resource that has to wait for its turn. All that was read for it is read again then: until then,
/// it may be another, and would take room.
async fn greet<K: Managed>(guard: &DeserializeGuard<K>, context: &Context) {
    let (name, namespace) = (guard.name_any(), guard.namespace().unwrap_or_default());
    let api: Api<DeserializeGuard<K>> = Api::namespaced(context.client.clone(), &namespace);
    // What goes wrong here goes wrong once more when it is its turn, and is said then.
    let Ok(Some(DeserializeGuard(Ok(resource)))) = api.get_opt(&name).await else { return };
    if !is_without_status(&resource) {
        return;
    }
    if let Ok(facts) = dereference(&context.client, &resource, &context.platform).await {
        let course = course::decide(&resource, &facts, &context.platform);
        announce(&resource, context, &facts.live, &course).await;
    }
}

/// The resource is read afresh: what a watch gave may be older than the status that we wrote last.
async fn reconcile_named<K: Managed>(
    guard: &DeserializeGuard<K>,
    context: &Context,
) -> Result<Action, Error> {
    let (name, namespace) = (guard.name_any(), guard.namespace().unwrap_or_default());
    let api: Api<DeserializeGuard<K>> = Api::namespaced(context.client.clone(), &namespace);
    let forget = || context.metrics.forget(K::OWNER, &namespace, &name);
    let Some(fresh) = api.get_opt(&name).await.map_err(Error::resource("read the resource"))? else {
        forget();
        leave_alone::<K>(context, &name, &namespace).await?;
        return Ok(Action::await_change());
    };
    match fresh.0 {
        Err(invalid) => {
            tracing::warn!(namespace, name, error = %invalid.error, "resource cannot be read");
            context.events.unreadable(K::OWNER.as_str(), &namespace, &name, &invalid).await;
            Ok(Action::await_change())
        }
        Ok(resource) if resource.meta().deletion_timestamp.is_some() => {
            forget();
            leave_alone::<K>(context, &name, &namespace).await?;
            release(context, &resource).await
        }
        Ok(resource) => reconcile_resource(&resource, context).await,
    }
}

/// The five steps, and the certificates, which there are whether or not the rest can be built. Of a resource that has no
/// status yet it is said before anything is written what will be there: a user sees at once that somebody is at work.
async fn reconcile_resource<K: Managed>(resource: &K, context: &Context) -> Result<Action, Error> {
    let Context { client, platform, .. } = context;
    let facts = dereference(client, resource, platform).await?;
    let mut course = course::decide(resource, &facts, platform);
    let told = announce(resource, context, &facts.live, &course).await;
    let identity = resource.identity();
    let mut applied = Applied { objects: facts.live.objects.clone(), ..Applied::default() };
    let mut next = RESYNC;
    if resource.is_managed() {
        let until = certificates::keep(context, &identity, &facts.live, &mut applied).await;
        next = next.min(until.unwrap_or(RESYNC));
    }
    if let Some(work) = &mut course.work {
        if work.is_cluster_wide {
            hold(client, resource).await?;
        }
        write(client, &identity, work, &facts.live, &mut applied).await;
        apply::volumes::grow(client, &identity, &facts.live.claims, &mut applied).await;
    }
    context.metrics.wrote(&applied.changes);
    context.events.changes(&resource.object_ref(&()), &applied.changes).await;
    let verdict = match &course.verdict {
        Verdict::Done if !applied.failures.is_empty() => Verdict::Failed(applied.failures.join("; ")),
        verdict => verdict.clone(),
    };
    write_status(resource, context, &told, &course, verdict, &facts.live, &applied.objects).await?;
    if let Verdict::Failed(message) = course.verdict {
        applied.failures.push(message);
    }
    if applied.failures.is_empty() {
        Ok(Action::requeue(next))
    } else {
        Err(Error::Apply(applied.failures.join("; ")))
    }
}

/// The first status of a resource, from what is going to be written. It is what follows from the API server's answers, too,
/// as long as nothing goes wrong, so it costs no write. Answers the status as it is then.
async fn announce<K: Managed>(resource: &K, context: &Context, live: &Live, course: &Course) -> K::Status {
    let old = resource.observed();
    if !is_without_status(resource) {
        return old;
    }
    let Some(objects) = course.expected(live) else { return old };
    match write_status(resource, context, &old, course, course.verdict.clone(), live, &objects).await {
        Ok(told) => told,
        Err(error) => {
            // Whoever cannot be told is served all the same, and is told again afterwards.
            tracing::warn!(error = %describe(&error), "cannot say yet what is going to be done");
            old
        }
    }
}

/// Writes what there shall be by now, and does what it takes for ingesters to leave.
async fn write(client: &Client, identity: &Identity, work: &mut Work, live: &Live, applied: &mut Applied) {
    let Work { planned: Planned { before, objects, after, progress: _ }, certificates, is_cluster_wide: _ } =
        work;
    let objects = std::mem::take(objects);
    let mut failure = acts::carry_out(client, identity, before, &mut applied.changes).await.err();
    if failure.is_none() {
        applied.add(apply::apply(client, identity, objects, certificates.as_ref(), live).await);
    }
    if failure.is_none() && applied.failures.is_empty() {
        failure = acts::carry_out(client, identity, after, &mut applied.changes).await.err();
    }
    applied.failures.extend(failure);
}

/// Writes the status that follows from these objects when it is another than before, and tells of the change. Answers it.
async fn write_status<K: Managed>(
    resource: &K,
    context: &Context,
    old: &K::Status,
    course: &Course,
    verdict: Verdict,
    live: &Live,
    objects: &BTreeMap<(Kind, String), Value>,
) -> Result<K::Status, Error> {
    let evidence = Evidence {
        identity: &resource.identity(),
        generation: resource.meta().generation,
        verdict,
        warnings: &course.warnings(live, objects),
        objects,
        pods: &live.pods,
        progress: &course.progress(),
    };
    let now = Timestamp::now().round(Unit::Second).unwrap_or_else(|_| Timestamp::now());
    let new = K::derive(old, &evidence, now);
    let Identity { name, namespace, .. } = evidence.identity;
    context.metrics.status(K::OWNER, namespace, name, new.conditions());
    if new == *old {
        return Ok(new);
    }
    patch_status::<K>(&context.client, evidence.identity, &new).await?;
    let about = resource.object_ref(&());
    context.events.transition(&about, old.conditions(), new.conditions()).await;
    Ok(new)
}

async fn patch_status<K: Managed>(
    client: &Client,
    identity: &Identity,
    status: &K::Status,
) -> Result<(), Error> {
    let api: Api<K> = Api::namespaced(client.clone(), &identity.namespace);
    let patch = json!({
        "apiVersion": "tempo.grafana.com/v1alpha1",
        "kind": K::OWNER.as_str(),
        "metadata": {"uid": identity.uid},
        "status": status,
    });
    match api
        .patch_status(&identity.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch))
        .await
    {
        Ok(_) => Ok(()),
        // Gone, or another resource of the same name by now.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(Error::resource("write the status")(error)),
    }
}

/// Holds the resource's deletion up, as the peer does, where it has something that nothing in a namespace can own.
async fn hold<K: Managed>(client: &Client, resource: &K) -> Result<(), Error> {
    if resource.finalizers().iter().any(|finalizer| finalizer == PEER_FINALIZER) {
        return Ok(());
    }
    let mut all = resource.finalizers().to_vec();
    all.push(PEER_FINALIZER.to_owned());
    set_finalizers(client, resource, &all).await.map_err(Error::resource("hold up the resource's deletion"))
}

async fn set_finalizers<K: Managed>(
    client: &Client,
    resource: &K,
    finalizers: &[String],
) -> Result<(), kube::Error> {
    let api: Api<K> = Api::namespaced(client.clone(), &resource.namespace().unwrap_or_default());
    let version = resource.resource_version();
    let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&resource.name_any(), &params, &Patch::Merge(&patch)).await.map(drop)
}

/// Of a stack that goes, nobody waits for how the last ingesters end: with it goes whoever would look.
async fn leave_alone<K: Managed>(context: &Context, name: &str, namespace: &str) -> Result<(), Error> {
    if K::OWNER != Owner::TempoStack {
        return Ok(());
    }
    let selector = format!("{INSTANCE}={name},{COMPONENT}={}", Role::Ingester.as_str());
    acts::release_all(&context.client, namespace, &selector)
        .await
        .map_err(Error::resource("let the ingesters of a stack go"))
}

/// Kubernetes removes what a resource owns. What is in no namespace nobody can own: that is removed here, and then the
/// peer's finalizer is taken off.
async fn release<K: Managed>(context: &Context, resource: &K) -> Result<Action, Error> {
    let Context { client, platform, .. } = context;
    if !resource.finalizers().iter().any(|finalizer| finalizer == PEER_FINALIZER) {
        return Ok(Action::await_change());
    }
    let identity = resource.identity();
    let live = dereference(client, resource, platform).await?.live;
    let failures = apply::remove_cluster_wide(client, &identity, &live).await;
    if !failures.is_empty() {
        return Err(Error::Apply(failures.join("; ")));
    }
    let left: Vec<String> =
        resource.finalizers().iter().filter(|finalizer| *finalizer != PEER_FINALIZER).cloned().collect();
    match set_finalizers(client, resource, &left).await {
        Ok(()) => Ok(Action::await_change()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Action::await_change()),
        Err(error) => Err(Error::resource("take off the finalizer")(error)),
    }
}

fn key_of<K: Managed>(guard: &DeserializeGuard<K>) -> String {
    format!("{} {}/{}", K::OWNER.as_str(), guard.namespace().unwrap_or_default(), guard.name_any())
}

/// Twice as long after each error in a row, each resource for itself.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn backoff<K: Managed>(guard: Arc<DeserializeGuard<K>>, error: &Error, context: Arc<Context>) -> Action {
    let mut failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let count = failures.entry(key_of(&guard)).or_default();
    let wait = backoff_after(*count);
    *count = count.saturating_add(1);
    tracing::warn!(
        kind = K::OWNER.as_str(),
        namespace = guard.namespace(),
        name = guard.name_any(),
        error = %describe(error),
        retry_seconds = wait.as_secs(),
        "reconcile failed"
    );
    Action::requeue(wait)
}

fn backoff_after(failures: u32) -> Duration {
    let (first, longest) = BACKOFF;
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_was_never_spoken_of_is_new_whatever_the_definition_says_of_its_status() {
        let with_status = |status: Value| {
            let mut resource = crate::fixture::resource("");
            resource.status = Some(serde_json::from_value(status).expect("a status"));
            resource
        };
        let condition = json!({"type": "Ready", "status": "False", "reason": "NotReady", "message": "", "lastTransitionTime": "2026-12-01T00:00:00Z"});
        assert!(is_without_status(&with_status(json!({"observedGeneration": -1}))));
        assert!(!is_without_status(&with_status(
            json!({"observedGeneration": 1, "conditions": [condition]})
        )));
    }

    #[test]
    fn the_wait_after_errors_doubles_and_is_bounded() {
        assert_eq!(backoff_after(0), Duration::from_secs(1));
        assert_eq!(backoff_after(3), Duration::from_secs(8));
        assert_eq!(backoff_after(u32::MAX), BACKOFF.1);
    }
}
