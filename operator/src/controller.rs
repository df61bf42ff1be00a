//! Watches the resources of both kinds and everything that is theirs, and reconciles them in five steps: dereference,
//! validate, build, apply, status. Only the first and the last two touch the cluster. IO.

mod certificates;
mod events;
mod watches;
mod zones;

use std::{
    collections::HashMap,
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
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{TempoMonolithic, TempoStack},
    apply::{self, Applied, acts},
    build::Prepared,
    certificates::Rotation,
    compare::FIELD_MANAGER,
    dereference::{DereferenceError, dereference},
    facts::Live,
    managed::{Managed, Observed},
    metrics::{Metrics, Outcome},
    names::{COMPONENT, INSTANCE, Identity, Owner},
    platform::Platform,
    role::Role,
    rollout::{self, Planned, Progress},
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
    let start = Instant::now();
    let result = Box::pin(reconcile_named(&guard, &context)).await;
    let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Error };
    context.metrics.reconciled(outcome, start.elapsed());
    if result.is_ok() {
        context.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
    result
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

/// The five steps, and the certificates, which there are whether or not the rest can be built.
async fn reconcile_resource<K: Managed>(resource: &K, context: &Context) -> Result<Action, Error> {
    let Context { client, platform, .. } = context;
    let facts = dereference(client, resource, platform).await?;
    let identity = resource.identity();
    let mut applied = Applied { objects: facts.live.objects.clone(), ..Applied::default() };
    let mut next = RESYNC;
    if resource.is_managed() {
        let until = certificates::keep(context, &identity, &facts.live, &mut applied).await;
        next = next.min(until.unwrap_or(RESYNC));
    }
    let mut warnings = Vec::new();
    let mut progress = Progress::default();
    let verdict = match resource.prepare(&facts, platform) {
        Err(invalid) => Verdict::Invalid(invalid),
        Ok((_, unserved)) if !resource.is_managed() => {
            warnings = unserved;
            Verdict::Done
        }
        Ok((prepared, unserved)) => {
            warnings = unserved;
            if prepared.is_cluster_wide() {
                hold(client, resource).await?;
            }
            progress = write(client, &identity, prepared, &facts.live, &mut applied).await;
            let claims = &facts.live.claims;
            warnings.extend(apply::volumes::grow(client, &identity, claims, &mut applied).await);
            warnings.extend_from_slice(&progress.left);
            verdict_of(&applied)
        }
    };
    context.metrics.wrote(&applied.changes);
    context.events.changes(&resource.object_ref(&()), &applied.changes).await;
    let evidence = Evidence {
        identity: &identity,
        generation: resource.meta().generation,
        verdict,
        warnings: &warnings,
        objects: &applied.objects,
        pods: &facts.live.pods,
        progress: &progress,
    };
    write_status(resource, context, &evidence).await?;
    if applied.failures.is_empty() {
        Ok(Action::requeue(next))
    } else {
        Err(Error::Apply(applied.failures.join("; ")))
    }
}

/// Writes what there shall be by now, and does what it takes for ingesters to leave.
async fn write(
    client: &Client,
    identity: &Identity,
    prepared: Prepared,
    live: &Live,
    applied: &mut Applied,
) -> Progress {
    let certificates = prepared.certificates.clone();
    let mut objects = match prepared.into_ordered() {
        Ok(objects) => objects,
        Err(error) => {
            applied.failures.push(format!("cannot write the objects: {error}"));
            return Progress::default();
        }
    };
    for desired in &mut objects {
        let found = live.objects.get(&(desired.kind, desired.name.clone()));
        apply::yield_service_name(desired, found);
    }
    let Planned { before, objects, after, progress } = rollout::plan(identity, objects, live);
    let mut failure = acts::carry_out(client, identity, &before, &mut applied.changes).await.err();
    if failure.is_none() {
        applied.add(apply::apply(client, identity, objects, certificates.as_ref(), live).await);
    }
    if failure.is_none() && applied.failures.is_empty() {
        failure = acts::carry_out(client, identity, &after, &mut applied.changes).await.err();
    }
    applied.failures.extend(failure);
    progress
}

fn verdict_of(applied: &Applied) -> Verdict {
    if applied.failures.is_empty() { Verdict::Done } else { Verdict::Failed(applied.failures.join("; ")) }
}

/// Writes the status when it is another than before, and tells of the change.
async fn write_status<K: Managed>(
    resource: &K,
    context: &Context,
    evidence: &Evidence<'_>,
) -> Result<(), Error> {
    let old = resource.observed();
    let now = Timestamp::now().round(Unit::Second).unwrap_or_else(|_| Timestamp::now());
    let new = K::derive(&old, evidence, now);
    let Identity { name, namespace, .. } = evidence.identity;
    context.metrics.status(K::OWNER, namespace, name, new.conditions());
    if new == old {
        return Ok(());
    }
    patch_status::<K>(&context.client, evidence.identity, &new).await?;
    let about = resource.object_ref(&());
    context.events.transition(&about, old.conditions(), new.conditions()).await;
    Ok(())
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
    fn the_wait_after_errors_doubles_and_is_bounded() {
        assert_eq!(backoff_after(0), Duration::from_secs(1));
        assert_eq!(backoff_after(3), Duration::from_secs(8));
        assert_eq!(backoff_after(u32::MAX), BACKOFF.1);
    }
}
