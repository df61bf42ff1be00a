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
    api::{
        ComponentPods, ConditionType, MonolithicPods, PodsByPhase, ReplicaCount, Replicas,
        TempoMonolithicStatus, TempoStackStatus,
    },
    kind::Kind,
    names::{COMPONENT, Identity},
    role::{ByRole, Role},
    rollout::{Progress, workload::Rollout},
    trouble::trouble,
    validate::Invalid,
};

/// Version of the operator and of the workloads that it deploys.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Condition that names what is asked for and not done.
pub(crate) const UNSERVED: &str = "Unserved";
/// Conditions of kstatus, there only while they are true.
const RECONCILING: &str = "Reconciling";
const STALLED: &str = "Stalled";
/// Label of the pods of a monolithic stack.
const MONOLITH: &str = "tempo";
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
    pub(crate) progress: &'a Progress,
}

/// The condition that is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) condition: ConditionType,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What is known of a part of a stack that has pods of its own.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sight {
    /// The component's label.
    name: &'static str,
    /// Whether the stack has it.
    is_there: bool,
    rollout: Rollout,
    pods: PodsByPhase,
}

/// The status of a stack. Transition times are kept where the condition did not change.
pub(crate) fn derive(old: &TempoStackStatus, evidence: &Evidence<'_>, now: Timestamp) -> TempoStackStatus {
    let sights = ByRole::from_fn(|role| of_role(evidence, role));
    let all = Role::ALL.map(|role| sights.get(role));
    let finding = find(evidence, &all);
    let optional = |sight: &Sight| sight.is_there.then_some(sight.rollout.count);
    TempoStackStatus {
        conditions: conditions(&old.conditions, evidence, &finding, now),
        observed_generation: evidence.generation,
        operator_version: Some(VERSION.to_owned()),
        tempo_version: Some(VERSION.to_owned()),
        replicas: Some(Replicas {
            compactor: sights.compactor.rollout.count,
            distributor: sights.distributor.rollout.count,
            gateway: optional(&sights.gateway),
            metrics_generator: optional(&sights.metrics_generator),
            ingester: sights.ingester.rollout.count,
            querier: sights.querier.rollout.count,
            query_frontend: sights.query_frontend.rollout.count,
        }),
        components: Some(ComponentPods {
            compactor: sights.compactor.pods,
            distributor: sights.distributor.pods,
            gateway: sights.gateway.pods,
            metrics_generator: sights.metrics_generator.is_there.then_some(sights.metrics_generator.pods),
            ingester: sights.ingester.pods,
            querier: sights.querier.pods,
            query_frontend: sights.query_frontend.pods,
        }),
    }
}

/// As [`derive`], of a monolithic stack.
pub(crate) fn derive_monolithic(
    old: &TempoMonolithicStatus,
    evidence: &Evidence<'_>,
    now: Timestamp,
) -> TempoMonolithicStatus {
    let sight = Sight {
        is_there: true,
        ..look(evidence, MONOLITH, &(Kind::StatefulSet, evidence.identity.monolith()))
    };
    let finding = find(evidence, &[&sight]);
    TempoMonolithicStatus {
        conditions: conditions(&old.conditions, evidence, &finding, now),
        observed_generation: evidence.generation,
        operator_version: Some(VERSION.to_owned()),
        tempo_version: Some(VERSION.to_owned()),
        replicas: Some(sight.rollout.count),
        components: Some(MonolithicPods { tempo: sight.pods }),
    }
}

/// The condition that is true among those of which one always is.
pub(crate) fn active(conditions: &[Condition]) -> Option<&Condition> {
    let is_one =
        |condition: &&Condition| ConditionType::ALL.iter().any(|one| one.as_str() == condition.type_);
    conditions.iter().filter(is_one).find(|condition| condition.status == "True")
}

fn of_role(evidence: &Evidence<'_>, role: Role) -> Sight {
    let kind = if role == Role::Ingester { Kind::StatefulSet } else { Kind::Deployment };
    let sight = look(evidence, role.as_str(), &(kind, evidence.identity.role(role)));
    Sight { is_there: !role.is_optional() || sight.is_there, ..sight }
}

fn look(evidence: &Evidence<'_>, name: &'static str, workload: &(Kind, String)) -> Sight {
    Sight {
        name,
        is_there: evidence.objects.contains_key(workload),
        rollout: evidence.objects.get(workload).map(Rollout::of).unwrap_or_default(),
        pods: by_phase(evidence.pods, name),
    }
}

/// Names of a component's pods by phase; pods that are going are left out.
fn by_phase(pods: &[Pod], component: &str) -> PodsByPhase {
    let mut names = PodsByPhase::new();
    for pod in of_component(pods, component) {
        names.entry(phase(pod).to_owned()).or_default().push(pod.name_any());
    }
    for list in names.values_mut() {
        list.sort();
    }
    names
}

fn of_component<'a>(pods: &'a [Pod], component: &'a str) -> impl Iterator<Item = &'a Pod> {
    pods.iter().filter(move |pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.labels().get(COMPONENT).is_some_and(|found| found == component)
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

fn find(evidence: &Evidence<'_>, sights: &[&Sight]) -> Finding {
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
    let failed: Vec<&str> = sights
        .iter()
        .flat_map(|sight| ["Failed", "Unknown"].map(|phase| sight.pods.get(phase)))
        .flatten()
        .flatten()
        .map(String::as_str)
        .collect();
    if !failed.is_empty() {
        let message = format!("pods have failed: {}", failed.join(", "));
        return finding(ConditionType::Failed, "FailedComponents", message);
    }
    let waiting: Vec<String> = sights
        .iter()
        .filter(|sight| sight.is_there && !sight.rollout.is_settled())
        .map(|sight| waiting_for(evidence.pods, sight))
        .collect();
    let (reason, said) = going_on(evidence, sights);
    let waiting = (!waiting.is_empty()).then(|| format!("waiting for {}", waiting.join("; ")));
    let message: Vec<String> = said.into_iter().chain(waiting).collect();
    if message.is_empty() {
        return finding(ConditionType::Ready, "Ready", "all components are operational".to_owned());
    }
    finding(ConditionType::Pending, reason, message.join("; "))
}

/// What takes more than one reconcile, and why it does not go on.
fn going_on(evidence: &Evidence<'_>, sights: &[&Sight]) -> (&'static str, Option<String>) {
    let Progress { under_way, waiting, ingesters, left: _ } = evidence.progress;
    let names = |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
    let behind = if waiting.is_empty() { String::new() } else { format!(", then {}", names(waiting)) };
    let of = |role: Role| sights.iter().find(|sight| sight.name == role.as_str());
    match under_way {
        Some((role, image)) => match of(*role).and_then(|sight| culprit(evidence.pods, sight)) {
            Some(culprit) => (
                "RolloutHalted",
                Some(format!(
                    "the roll-out halted at {}, which goes to {image}: {culprit}{behind}",
                    role.as_str()
                )),
            ),
            None => ("RollingOut", Some(format!("{} goes to {image}{behind}", role.as_str()))),
        },
        None if !waiting.is_empty() => {
            ("RolloutHalted", Some(format!("{} wait for the components before them", names(waiting))))
        }
        None => match ingesters {
            Some(text) => ("LeavingIngesters", Some(text.clone())),
            None => ("PendingComponents", None),
        },
    }
}

/// Why a component does not get ready.
fn culprit(pods: &[Pod], sight: &Sight) -> Option<String> {
    let mut reasons: Vec<String> = of_component(pods, sight.name).filter_map(trouble).collect();
    reasons.sort();
    reasons.dedup();
    reasons.extend(sight.rollout.trouble.clone());
    (!sight.rollout.is_settled() && !reasons.is_empty()).then(|| reasons.join(", "))
}

/// What a component lacks, and what its pods say of it.
fn waiting_for(pods: &[Pod], sight: &Sight) -> String {
    let Sight { name, rollout, .. } = sight;
    let ReplicaCount { desired, ready, updated } = rollout.count;
    let mut text = format!("{name}: {ready} of {desired} ready, {updated} up to date");
    if rollout.total > desired {
        text = format!("{text}, {} too many", rollout.total - desired);
    }
    culprit(pods, sight).map_or(text.clone(), |reasons| format!("{text} ({reasons})"))
}

fn conditions(
    old: &[Condition],
    evidence: &Evidence<'_>,
    finding: &Finding,
    now: Timestamp,
) -> Vec<Condition> {
    let make = |name: &str, is_true: bool, reason: &str, message: &str| {
        make(old, evidence, name, is_true, reason, message, now)
    };
    let mut all: Vec<Condition> = ConditionType::ALL
        .into_iter()
        .map(|condition| {
            let is_true = condition == finding.condition;
            let message = if is_true { finding.message.as_str() } else { "" };
            let reason = if is_true { finding.reason } else { condition_reason(condition) };
            make(condition.as_str(), is_true, reason, message)
        })
        .collect();
    // What tools understand that know nothing of tracing: kstatus, and with it Flux and Argo CD.
    let standard = match finding.condition {
        ConditionType::Ready => None,
        ConditionType::Pending => Some(RECONCILING),
        ConditionType::Failed | ConditionType::ConfigurationError => Some(STALLED),
    };
    all.extend(standard.map(|name| make(name, true, finding.reason, &finding.message)));
    if !evidence.warnings.is_empty() {
        all.push(make(UNSERVED, true, "UnservedFields", &evidence.warnings.join("; ")));
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
    old: &[Condition],
    evidence: &Evidence<'_>,
    name: &str,
    is_true: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Condition {
    let status = if is_true { "True" } else { "False" };
    let before = old.iter().find(|before| before.type_ == name && before.status == status);
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
