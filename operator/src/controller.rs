//! Watches stacks and everything that is theirs, and reconciles them in five steps: dereference, validate, build,
//! apply, status. Only the first and the last two touch the cluster. IO.

mod events;
mod watches;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
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
    api::{TempoStack, TempoStackStatus},
    apply::{self, Applied},
    build,
    compare::FIELD_MANAGER,
    dereference::{DereferenceError, dereference},
    metrics::{Metrics, Outcome},
    names::Identity,
    platform::Platform,
    status::{self, Evidence, Verdict},
    validate,
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

/// Keeps all stacks as they shall be until told to stop.
pub(crate) async fn run(
    client: Client,
    platform: Platform,
    metrics: Arc<Metrics>,
    instance: String,
    stop: CancellationToken,
) {
    let context = Arc::new(Context {
        events: events::Events::new(client.clone(), instance),
        client: client.clone(),
        platform,
        metrics,
        failures: Mutex::new(HashMap::new()),
    });
    watches::controller(&client)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, backoff, context)
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(guard: Arc<DeserializeGuard<TempoStack>>, context: Arc<Context>) -> Result<Action, Error> {
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
async fn reconcile_named(guard: &DeserializeGuard<TempoStack>, context: &Context) -> Result<Action, Error> {
    let (name, namespace) = (guard.name_any(), guard.namespace().unwrap_or_default());
    let api: Api<DeserializeGuard<TempoStack>> = Api::namespaced(context.client.clone(), &namespace);
    let Some(fresh) = api.get_opt(&name).await.map_err(Error::resource("read the resource"))? else {
        context.metrics.forget(&namespace, &name);
        return Ok(Action::await_change());
    };
    match fresh.0 {
        Err(invalid) => {
            tracing::warn!(namespace, name, error = %invalid.error, "resource cannot be read");
            context.events.unreadable(&namespace, &name, &invalid).await;
            Ok(Action::await_change())
        }
        Ok(resource) if resource.metadata.deletion_timestamp.is_some() => {
            context.metrics.forget(&namespace, &name);
            release(&context.client, &resource).await
        }
        Ok(resource) => reconcile_stack(&resource, context).await,
    }
}

/// The five steps.
async fn reconcile_stack(resource: &TempoStack, context: &Context) -> Result<Action, Error> {
    let Context { client, platform, .. } = context;
    let facts = dereference(client, resource, platform).await?;
    let identity = Identity::from(resource);
    let built = validate::validate(resource, &facts, platform);
    let unchanged =
        |verdict| (verdict, Applied { objects: facts.live.objects.clone(), ..Applied::default() });
    let warnings = built.as_ref().map(|stack| stack.common.warnings.clone()).unwrap_or_default();
    let (verdict, applied) = match built {
        Err(invalid) => unchanged(Verdict::Invalid(invalid)),
        Ok(_) if !validate::is_managed(resource) => unchanged(Verdict::Done),
        Ok(stack) => {
            let applied = apply::apply(client, &identity, build::build(&stack), &facts.live).await;
            (verdict_of(&applied), applied)
        }
    };
    context.metrics.wrote(&applied.changes);
    context.events.changes(resource, &applied.changes).await;
    let evidence = Evidence {
        identity: &identity,
        generation: resource.metadata.generation,
        verdict,
        warnings: &warnings,
        objects: &applied.objects,
        pods: &facts.live.pods,
    };
    write_status(resource, context, &evidence).await?;
    if applied.failures.is_empty() {
        Ok(Action::requeue(RESYNC))
    } else {
        Err(Error::Apply(applied.failures.join("; ")))
    }
}

fn verdict_of(applied: &Applied) -> Verdict {
    if applied.failures.is_empty() { Verdict::Done } else { Verdict::Failed(applied.failures.join("; ")) }
}

/// Writes the status when it is another than before, and tells of the change.
async fn write_status(
    resource: &TempoStack,
    context: &Context,
    evidence: &Evidence<'_>,
) -> Result<(), Error> {
    let old = resource.status.clone().unwrap_or_default();
    let now = Timestamp::now().round(Unit::Second).unwrap_or_else(|_| Timestamp::now());
    let new = status::derive(&old, evidence, now);
    let Identity { name, namespace, .. } = evidence.identity;
    context.metrics.status(namespace, name, &new);
    if new == old {
        return Ok(());
    }
    patch_status(&context.client, evidence.identity, &new).await?;
    context.events.transition(resource, &old, &new).await;
    Ok(())
}

async fn patch_status(client: &Client, identity: &Identity, status: &TempoStackStatus) -> Result<(), Error> {
    let api: Api<TempoStack> = Api::namespaced(client.clone(), &identity.namespace);
    let patch = json!({
        "apiVersion": "tempo.grafana.com/v1alpha1",
        "kind": "TempoStack",
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

/// Kubernetes removes what a stack owns; only the peer's finalizer has to be taken off.
async fn release(client: &Client, resource: &TempoStack) -> Result<Action, Error> {
    if !resource.finalizers().iter().any(|finalizer| finalizer == PEER_FINALIZER) {
        return Ok(Action::await_change());
    }
    let api: Api<TempoStack> = Api::namespaced(client.clone(), &resource.namespace().unwrap_or_default());
    let left: Vec<&String> =
        resource.finalizers().iter().filter(|finalizer| *finalizer != PEER_FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": resource.resource_version(), "finalizers": left}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch(&resource.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Action::await_change()),
        Err(error) => Err(Error::resource("take off the finalizer")(error)),
    }
}

fn key_of(guard: &DeserializeGuard<TempoStack>) -> String {
    format!("{}/{}", guard.namespace().unwrap_or_default(), guard.name_any())
}

/// Twice as long after each error in a row, each stack for itself.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn backoff(guard: Arc<DeserializeGuard<TempoStack>>, error: &Error, context: Arc<Context>) -> Action {
    let mut failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let count = failures.entry(key_of(&guard)).or_default();
    let wait = backoff_after(*count);
    *count = count.saturating_add(1);
    tracing::warn!(
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
