//! Statuses from evidence.

mod delivery;

use serde_json::json;

use super::*;
use crate::{fixture::resource, validate::Reason};

fn identity() -> Identity {
    Identity::from(&resource(""))
}

/// Workloads with `ready` of `desired` pods in every component, all of the present generation.
fn objects(desired: i64, ready: i64) -> BTreeMap<(Kind, String), Value> {
    let workload = json!({
        "metadata": {"generation": 2},
        "spec": {"replicas": desired},
        "status": {
            "observedGeneration": 2, "replicas": desired, "updatedReplicas": desired,
            "readyReplicas": ready,
        },
    });
    let kind = |role| if role == Role::Ingester { Kind::StatefulSet } else { Kind::Deployment };
    Role::ALL.into_iter().map(|role| ((kind(role), identity().role(role)), workload.clone())).collect()
}

fn pod(role: Role, status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("{}-0", role.as_str()), "labels": identity().labels(role.as_str())},
        "status": status,
    }))
    .expect("a pod")
}

fn derived(
    old: &TempoStackStatus,
    verdict: &Verdict,
    objects: &BTreeMap<(Kind, String), Value>,
    pods: &[Pod],
    second: i64,
) -> TempoStackStatus {
    amid(&Progress::default(), (old, verdict), objects, pods, second)
}

/// As `derived`, while something takes more than one reconcile.
fn amid(
    progress: &Progress,
    (old, verdict): (&TempoStackStatus, &Verdict),
    objects: &BTreeMap<(Kind, String), Value>,
    pods: &[Pod],
    second: i64,
) -> TempoStackStatus {
    let identity = identity();
    let evidence = Evidence {
        identity: &identity,
        generation: Some(3),
        verdict: verdict.clone(),
        warnings: &[],
        objects,
        pods,
        progress,
    };
    derive(old, &evidence, Timestamp::from_second(second).expect("a time"))
}

fn truth(status: &TempoStackStatus) -> (String, String) {
    let condition = active(&status.conditions).expect("one condition is true");
    (condition.type_.clone(), condition.message.clone())
}

#[test]
fn a_stack_is_ready_when_every_wanted_pod_of_the_present_generation_is() {
    let status = derived(&TempoStackStatus::default(), &Verdict::Done, &objects(2, 2), &[], 5);
    assert_eq!(truth(&status).0, "Ready");
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
    let counts = status.replicas.expect("there are counts");
    assert_eq!(counts.ingester, ReplicaCount { desired: 2, ready: 2, updated: 2 });
}

#[test]
fn defect_1_a_stack_without_pods_is_not_ready() {
    let status = derived(&TempoStackStatus::default(), &Verdict::Done, &objects(1, 0), &[], 5);
    assert_eq!(truth(&status).0, "Pending");
    let none = derived(&TempoStackStatus::default(), &Verdict::Done, &BTreeMap::new(), &[], 5);
    assert_eq!(truth(&none).0, "Pending");
}

#[test]
fn defect_1_a_stack_is_not_ready_while_a_rollout_is_not_observed_or_not_over() {
    for (pointer, value) in [
        ("/status/observedGeneration", 1),
        ("/status/updatedReplicas", 1),
        ("/status/replicas", 3),
        ("/status/readyReplicas", 1),
    ] {
        let mut objects = objects(2, 2);
        let key = (Kind::Deployment, identity().role(Role::Querier));
        let querier = objects.get_mut(&key).expect("there is a querier");
        *querier.pointer_mut(pointer).expect("the field is there") = value.into();
        let status = derived(&TempoStackStatus::default(), &Verdict::Done, &objects, &[], 5);
        let (condition, message) = truth(&status);
        assert_eq!(condition, "Pending", "{pointer}");
        assert!(message.starts_with("waiting for querier: "), "{message}");
    }
}

#[test]
fn defect_1_the_gateway_counts_where_there_is_one() {
    let mut objects = objects(1, 1);
    let key = (Kind::Deployment, identity().role(Role::Gateway));
    let gateway = objects.get_mut(&key).expect("there is a gateway");
    gateway["status"]["readyReplicas"] = 0.into();
    let status = derived(&TempoStackStatus::default(), &Verdict::Done, &objects, &[], 5);
    let (condition, message) = truth(&status);
    assert_eq!(
        (condition.as_str(), message.starts_with("waiting for gateway: ")),
        ("Pending", true),
        "{message}"
    );
    let pods = [pod(Role::Gateway, &json!({"phase": "Failed"}))];
    let failed = derived(&TempoStackStatus::default(), &Verdict::Done, &objects, &pods, 5);
    assert_eq!(truth(&failed).0, "Failed");
    objects.remove(&key);
    let without = derived(&TempoStackStatus::default(), &Verdict::Done, &objects, &[], 5);
    assert_eq!(truth(&without).0, "Ready");
}

#[test]
fn a_pod_that_cannot_start_is_named_with_kubernetes_reason() {
    let waiting = json!({"phase": "Pending", "containerStatuses": [{
        "name": "tempo", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull"}},
    }]});
    let unscheduled = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},
    ]});
    let pods = [pod(Role::Ingester, &waiting), pod(Role::Querier, &unscheduled)];
    let status = derived(&TempoStackStatus::default(), &Verdict::Done, &objects(1, 0), &pods, 5);
    let (_, message) = truth(&status);
    assert!(message.contains("ingester-0 ImagePullBackOff"), "{message}");
    assert!(message.contains("querier-0 Unschedulable"), "{message}");
    let listed = status.components.expect("there are pods").ingester;
    assert_eq!(listed["Pending"], ["ingester-0"]);
}

#[test]
fn a_failed_pod_makes_the_stack_failed() {
    let pods = [pod(Role::Compactor, &json!({"phase": "Failed"}))];
    let status = derived(&TempoStackStatus::default(), &Verdict::Done, &objects(1, 1), &pods, 5);
    assert_eq!(truth(&status), ("Failed".to_owned(), "pods have failed: compactor-0".to_owned()));
}

#[test]
fn running_pods_count_as_ready_when_their_containers_are() {
    let running = |ready: bool| {
        json!({"phase": "Running", "containerStatuses": [{
            "name": "tempo", "image": "", "imageID": "", "ready": ready, "restartCount": 0,
        }]})
    };
    assert_eq!(phase(&pod(Role::Querier, &running(true))), "Ready");
    assert_eq!(phase(&pod(Role::Querier, &running(false))), "Running");
}

#[test]
fn what_has_to_be_corrected_and_what_could_not_be_written_are_conditions_of_their_own() {
    let invalid = Invalid { reason: Reason::InvalidStorageConfig, message: "Secret b".to_owned() };
    let status = derived(&TempoStackStatus::default(), &Verdict::Invalid(invalid), &objects(1, 1), &[], 5);
    assert_eq!(truth(&status), ("ConfigurationError".to_owned(), "Secret b".to_owned()));
    let failed = Verdict::Failed("Service x: no".to_owned());
    let status = derived(&TempoStackStatus::default(), &failed, &objects(1, 1), &[], 5);
    assert_eq!(truth(&status), ("Failed".to_owned(), "Service x: no".to_owned()));
}

#[test]
fn exactly_one_of_the_four_conditions_is_true() {
    let status = derived(&TempoStackStatus::default(), &Verdict::Done, &objects(1, 1), &[], 5);
    let mine = status.conditions.iter().filter(|condition| condition.status == "True");
    assert_eq!((status.conditions.len(), mine.count()), (4, 1));
}

#[test]
fn nothing_changes_while_nothing_changes_and_times_move_only_with_their_condition() {
    let first = derived(&TempoStackStatus::default(), &Verdict::Done, &objects(1, 0), &[], 5);
    assert_eq!(derived(&first, &Verdict::Done, &objects(1, 0), &[], 9), first);
    let ready = derived(&first, &Verdict::Done, &objects(1, 1), &[], 9);
    let second = |name: &str| {
        let found = ready.conditions.iter().find(|condition| condition.type_ == name);
        found.expect("the condition is listed").last_transition_time.0.as_second()
    };
    assert_eq!((second("Ready"), second("Pending"), second("Failed")), (9, 9, 5));
}

/// The reason and message of the condition, which are those of `Reconciling`, too.
fn said(progress: &Progress, objects: &BTreeMap<(Kind, String), Value>, pods: &[Pod]) -> (String, String) {
    let old = TempoStackStatus::default();
    let status = amid(progress, (&old, &Verdict::Done), objects, pods, 5);
    let condition = active(&status.conditions).expect("one condition is true");
    assert_eq!(condition.type_, "Pending");
    let reconciling = status.conditions.iter().find(|condition| condition.type_ == "Reconciling");
    let reconciling = reconciling.expect("it is not over");
    assert_eq!((&reconciling.reason, &reconciling.message), (&condition.reason, &condition.message));
    (condition.reason.clone(), condition.message.clone())
}

#[test]
fn a_roll_out_says_where_it_is_and_who_waits() {
    let progress = Progress {
        under_way: Some((Role::Ingester, "vivace:2".to_owned())),
        waiting: vec![Role::Distributor],
        ..Progress::default()
    };
    let (reason, message) = said(&progress, &objects(2, 1), &[]);
    assert_eq!(reason, "RollingOut");
    assert!(message.starts_with("ingester goes to vivace:2, then distributor; waiting for "), "{message}");
}

#[test]
fn a_roll_out_that_halts_names_the_component_and_the_pod_and_why() {
    let progress = Progress {
        under_way: Some((Role::Ingester, "vivace:2".to_owned())),
        waiting: vec![Role::Distributor],
        ..Progress::default()
    };
    let crashes = json!({"phase": "Running", "containerStatuses": [{
        "name": "tempo", "image": "", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}},
    }]});
    let pods = [pod(Role::Ingester, &crashes)];
    let (reason, message) = said(&progress, &objects(2, 1), &pods);
    assert_eq!(reason, "RolloutHalted");
    let expected = "the roll-out halted at ingester, which goes to vivace:2: ingester-0 CrashLoopBackOff, then distributor";
    assert!(message.starts_with(expected), "{message}");

    let progress =
        Progress { under_way: Some((Role::Querier, "vivace:2".to_owned())), ..Progress::default() };
    let mut objects = objects(2, 2);
    let querier = objects.get_mut(&(Kind::Deployment, identity().role(Role::Querier))).expect("a querier");
    querier["status"]["readyReplicas"] = json!(1);
    querier["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}]);
    let (reason, message) = said(&progress, &objects, &[]);
    assert_eq!(reason, "RolloutHalted");
    assert!(message.contains("querier") && message.contains("ProgressDeadlineExceeded: m"), "{message}");
}

#[test]
fn a_stack_is_not_ready_while_ingesters_leave_or_components_wait_though_all_pods_are() {
    let leaving = Progress { ingesters: Some("ingester 3 leaves".to_owned()), ..Progress::default() };
    assert_eq!(
        said(&leaving, &objects(2, 2), &[]),
        ("LeavingIngesters".to_owned(), "ingester 3 leaves".to_owned())
    );
    let waiting = Progress { waiting: vec![Role::Distributor], ..Progress::default() };
    let (reason, message) = said(&waiting, &objects(2, 2), &[]);
    assert_eq!(reason, "RolloutHalted");
    assert!(message.contains("distributor"), "{message}");
}
