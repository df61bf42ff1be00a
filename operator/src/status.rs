//! Fifth step of a reconcile: what the API server answered -> the status, and what to tell about it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::ResourceExt;
use serde_json::Value;

use crate::{
    api::{ComponentPods, ConditionType, PodsByPhase, ReplicaCount, Replicas, TempoStackStatus},
    kind::Kind,
    names::{COMPONENT, Identity},
    role::{ByRole, Role},
    validate::Invalid,
};

/// Version of the operator and of the workloads that it deploys.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Condition that names what is asked for and not done.
pub(crate) const UNSERVED: &str = "Unserved";
/// Longest message of a condition, in characters.
const MESSAGE_LIMIT: usize = 4096;

/// How the steps before went.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The resource, or what it points at, has to be corrected.
    Invalid(Invalid),
    /// Objects could not be written.
    Failed(String),
    /// Objects are as they shall be, or are left alone.
    Done,
}

/// Everything that a status is derived from.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) generation: Option<i64>,
    pub(crate) verdict: Verdict,
    pub(crate) warnings: &'a [String],
    pub(crate) objects: &'a BTreeMap<(Kind, String), Value>,
    pub(crate) pods: &'a [Pod],
}

/// The condition that is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) condition: ConditionType,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// One component's workload, as the API server knows it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rollout {
    count: ReplicaCount,
    /// Pods of all generations.
    total: i32,
    /// Every wanted pod is of the present generation and ready, and no other is left.
    settled: bool,
}

/// The status of a stack. Transition times are kept where the condition did not change.
pub(crate) fn derive(old: &TempoStackStatus, evidence: &Evidence<'_>, now: Timestamp) -> TempoStackStatus {
    let rollouts = ByRole::from_fn(|role| rollout(evidence, role));
    let pods = ByRole::from_fn(|role| by_phase(evidence.pods, role));
    let finding = find(evidence, &rollouts, &pods);
    TempoStackStatus {
        conditions: conditions(old, evidence, &finding, now),
        observed_generation: evidence.generation,
        operator_version: Some(VERSION.to_owned()),
        tempo_version: Some(VERSION.to_owned()),
        replicas: Some(Replicas {
            compactor: rollouts.compactor.count,
            distributor: rollouts.distributor.count,
            gateway: has(evidence, Role::Gateway).then_some(rollouts.gateway.count),
            metrics_generator: has(evidence, Role::MetricsGenerator)
                .then_some(rollouts.metrics_generator.count),
            ingester: rollouts.ingester.count,
            querier: rollouts.querier.count,
            query_frontend: rollouts.query_frontend.count,
        }),
        components: Some(ComponentPods {
            compactor: pods.compactor,
            distributor: pods.distributor,
            gateway: pods.gateway,
            metrics_generator: has(evidence, Role::MetricsGenerator).then_some(pods.metrics_generator),
            ingester: pods.ingester,
            querier: pods.querier,
            query_frontend: pods.query_frontend,
        }),
    }
}

/// The condition that is true in a status.
pub(crate) fn active(status: &TempoStackStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.status == "True" && condition.type_ != UNSERVED)
}

/// Whether the stack has the component.
fn has(evidence: &Evidence<'_>, role: Role) -> bool {
    !role.is_optional() || evidence.objects.contains_key(&(Kind::Deployment, evidence.identity.role(role)))
}

fn rollout(evidence: &Evidence<'_>, role: Role) -> Rollout {
    let kind = if role == Role::Ingester { Kind::StatefulSet } else { Kind::Deployment };
    let Some(object) = evidence.objects.get(&(kind, evidence.identity.role(role))) else {
        return Rollout::default();
    };
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let small = |pointer: &str| i32::try_from(number(pointer).unwrap_or(0)).unwrap_or(i32::MAX);
    let count = ReplicaCount {
        desired: object.pointer("/spec/replicas").map_or(1, |_| small("/spec/replicas")),
        ready: small("/status/readyReplicas"),
        updated: small("/status/updatedReplicas"),
    };
    let observed = number("/status/observedGeneration") >= number("/metadata/generation")
        && number("/metadata/generation").is_some();
    Rollout {
        settled: observed
            && count.ready == count.desired
            && count.updated == count.desired
            && small("/status/replicas") == count.desired,
        total: small("/status/replicas"),
        count,
    }
}

/// Names of a component's pods by phase; pods that are going are left out.
fn by_phase(pods: &[Pod], role: Role) -> PodsByPhase {
    let mut names = PodsByPhase::new();
    for pod in of_role(pods, role) {
        names.entry(phase(pod).to_owned()).or_default().push(pod.name_any());
    }
    for list in names.values_mut() {
        list.sort();
    }
    names
}

fn of_role(pods: &[Pod], role: Role) -> impl Iterator<Item = &Pod> {
    pods.iter().filter(move |pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.labels().get(COMPONENT).is_some_and(|component| component == role.as_str())
    })
}

fn phase(pod: &Pod) -> &str {
    let Some(status) = &pod.status else { return "Pending" };
    match status.phase.as_deref() {
        Some("Running") => {
            let containers = status.container_statuses.as_deref().unwrap_or_default();
            let ready = !containers.is_empty() && containers.iter().all(|container| container.ready);
            if ready { "Ready" } else { "Running" }
        }
        Some(phase) => phase,
        None => "Pending",
    }
}

fn find(evidence: &Evidence<'_>, rollouts: &ByRole<Rollout>, pods: &ByRole<PodsByPhase>) -> Finding {
    let finding = |condition, reason, message: String| Finding { condition, reason, message };
    match &evidence.verdict {
        Verdict::Invalid(invalid) => {
            return finding(
                ConditionType::ConfigurationError,
                invalid.reason.as_str(),
                invalid.message.clone(),
            );
        }
        Verdict::Failed(message) => {
            return finding(ConditionType::Failed, "FailedReconciliation", message.clone());
        }
        Verdict::Done => {}
    }
    let failed: Vec<&str> = Role::ALL
        .into_iter()
        .flat_map(|role| ["Failed", "Unknown"].map(|phase| pods.get(role).get(phase)))
        .flatten()
        .flatten()
        .map(String::as_str)
        .collect();
    if !failed.is_empty() {
        let message = format!("pods have failed: {}", failed.join(", "));
        return finding(ConditionType::Failed, "FailedComponents", message);
    }
    let waiting: Vec<String> = Role::ALL
        .into_iter()
        .filter(|role| has(evidence, *role) && !rollouts.get(*role).settled)
        .map(|role| waiting_for(evidence.pods, role, rollouts.get(role)))
        .collect();
    if waiting.is_empty() {
        return finding(ConditionType::Ready, "Ready", "all components are operational".to_owned());
    }
    let message = format!("waiting for {}", waiting.join("; "));
    finding(ConditionType::Pending, "PendingComponents", message)
}

/// What a component lacks, and what its pods say of it.
fn waiting_for(pods: &[Pod], role: Role, rollout: &Rollout) -> String {
    let ReplicaCount { desired, ready, updated } = rollout.count;
    let mut text = format!("{}: {ready} of {desired} ready, {updated} up to date", role.as_str());
    if rollout.total > desired {
        text = format!("{text}, {} too many", rollout.total - desired);
    }
    let mut reasons: Vec<String> = of_role(pods, role).filter_map(trouble).collect();
    reasons.sort();
    reasons.dedup();
    if reasons.is_empty() { text } else { format!("{text} ({})", reasons.join(", ")) }
}

/// Why a pod does not run, in Kubernetes' own word.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let reason = containers
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref())
        .find(|reason| *reason != "ContainerCreating" && *reason != "PodInitializing");
    // The two alternate while an image cannot be had; one word keeps the message still.
    let reason = reason.map(|reason| if reason == "ErrImagePull" { "ImagePullBackOff" } else { reason });
    let unscheduled = || {
        let conditions = status.conditions.iter().flatten();
        conditions
            .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
            .find_map(|condition| condition.reason.as_deref())
    };
    Some(format!("{} {}", pod.name_any(), reason.or_else(unscheduled)?))
}

fn conditions(
    old: &TempoStackStatus,
    evidence: &Evidence<'_>,
    finding: &Finding,
    now: Timestamp,
) -> Vec<Condition> {
    let mut all: Vec<Condition> = ConditionType::ALL
        .into_iter()
        .map(|condition| {
            let is_true = condition == finding.condition;
            let message = if is_true { finding.message.as_str() } else { "" };
            let reason = if is_true { finding.reason } else { condition_reason(condition) };
            make(old, evidence, condition.as_str(), is_true, reason, message, now)
        })
        .collect();
    if !evidence.warnings.is_empty() {
        let message = evidence.warnings.join("; ");
        all.push(make(old, evidence, UNSERVED, true, "UnservedFields", &message, now));
    }
    all
}

/// Reason of a condition that is false.
const fn condition_reason(condition: ConditionType) -> &'static str {
    match condition {
        ConditionType::Ready => "NotReady",
        ConditionType::Pending => "NothingPending",
        ConditionType::Failed => "NothingFailed",
        ConditionType::ConfigurationError => "ConfigurationValid",
    }
}

fn make(
    old: &TempoStackStatus,
    evidence: &Evidence<'_>,
    name: &str,
    is_true: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Condition {
    let status = if is_true { "True" } else { "False" };
    let before = old.conditions.iter().find(|before| before.type_ == name && before.status == status);
    Condition {
        last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
        message: message.chars().take(MESSAGE_LIMIT).collect(),
        observed_generation: evidence.generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
