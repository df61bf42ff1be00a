use serde_json::json;

use super::*;

/// A pod of the set, with `changes` laid over one that is ready.
fn pod(at: i32, changes: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": format!("i-{at}"), "uid": format!("p{at}")},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [container(&json!({"running": {}}))],
        },
    });
    lay_over(&mut pod, changes);
    serde_json::from_value(pod).expect("a pod")
}

fn container(state: &Value) -> Value {
    json!({"name": "tempo", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state})
}

fn lay_over(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

fn leaving(state: &Value) -> Value {
    json!({
        "metadata": {
            "finalizers": [HELD],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 300,
        },
        "status": {"conditions": [], "containerStatuses": [container(state)]},
    })
}

fn ended(code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason}})
}

fn claim(at: i32, class: &str, why: Option<&str>) -> PersistentVolumeClaim {
    let annotations = why.map(|why| json!({UNDRAINED: why}));
    serde_json::from_value(json!({
        "metadata": {"name": format!("data-i-{at}"), "uid": format!("c{at}"), "annotations": annotations},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound"},
    }))
    .expect("a claim")
}

/// A set of `size` pods, all of one generation.
fn set(size: i32) -> Value {
    json!({
        "metadata": {"generation": 1},
        "spec": {
            "replicas": size,
            "volumeClaimTemplates": [{"spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}}],
        },
        "status": {"observedGeneration": 1, "replicas": size, "updatedReplicas": size, "readyReplicas": size},
    })
}

/// A stack whose ingesters are to be looked at.
struct Case {
    live: Option<Value>,
    wanted: i32,
    pods: Vec<Pod>,
    claims: Vec<PersistentVolumeClaim>,
    drops_claims: bool,
    is_changed: bool,
}

impl Case {
    fn new(size: i32, wanted: i32) -> Self {
        Self {
            live: Some(set(size)),
            wanted,
            pods: (0..size).map(|at| pod(at, &json!({}))).collect(),
            claims: (0..size).map(|at| claim(at, "fast", None)).collect(),
            drops_claims: false,
            is_changed: false,
        }
    }

    fn course(&self) -> Course {
        let wanted = set(self.wanted);
        course(&Ground {
            wanted: &wanted,
            live: self.live.as_ref(),
            pods: super::super::of_set(&self.pods, "i"),
            claims: super::super::of_set(&self.claims, "data-i"),
            count: Some(self.wanted),
            drops_claims: self.drops_claims,
            is_changed: self.is_changed,
        })
    }
}

fn hold(at: i32) -> Act {
    Act::Hold { pod: format!("i-{at}"), uid: format!("p{at}") }
}

fn release(at: i32) -> Act {
    Act::Release { pod: format!("i-{at}"), uid: format!("p{at}") }
}

fn drops(at: i32) -> Act {
    Act::Drop { claim: format!("data-i-{at}"), uid: format!("c{at}") }
}

#[test]
fn as_many_as_are_wanted_need_nothing() {
    let course = Case::new(3, 3).course();
    assert_eq!(course, Course { replicas: Some(3), ..Course::default() });
}

#[test]
fn more_are_made_at_once() {
    assert_eq!(Case::new(1, 4).course().replicas, Some(4));
}

#[test]
fn fewer_are_reached_one_by_one_and_the_one_that_leaves_is_held_first() {
    let course = Case::new(4, 2).course();
    assert_eq!((course.replicas, course.before, course.after), (Some(3), vec![hold(3)], Vec::new()));
    assert_eq!(course.waits.as_deref(), Some("ingester 3 leaves"));
}

#[test]
fn the_next_one_stays_until_the_last_is_gone() {
    let mut case = Case::new(3, 2);
    case.pods.push(pod(3, &leaving(&json!({"running": {}}))));
    let course = case.course();
    assert_eq!((course.replicas, course.before, course.after), (Some(3), Vec::new(), Vec::new()));
    assert_eq!(course.waits.as_deref(), Some("i-3 uploads what it holds and leaves"));
    // and not held, as when someone else scaled before
    case.pods[3] = pod(3, &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    let course = case.course();
    assert_eq!((course.replicas, course.waits.as_deref()), (Some(3), Some("i-3 is not gone yet")));
}

#[test]
fn nobody_leaves_while_another_is_not_ready_or_the_set_rolls_or_is_changed() {
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let mut case = Case::new(3, 2);
    case.pods[0] = pod(0, &unready);
    let course = case.course();
    assert_eq!((course.replicas, course.waits.as_deref()), (Some(3), Some("ingester 0 is not ready")));

    let mut rolls = Case::new(3, 2);
    rolls.live.as_mut().expect("a set")["status"]["updatedReplicas"] = json!(2);
    let mut unseen = Case::new(3, 2);
    unseen.live.as_mut().expect("a set")["metadata"]["generation"] = json!(2);
    let changed = Case { is_changed: true, ..Case::new(3, 2) };
    let orphans = Case { live: None, ..Case::new(3, 2) };
    for case in [rolls, unseen, changed, orphans] {
        let course = case.course();
        assert_eq!(course.replicas, Some(3));
        assert_eq!((course.before, course.after), (Vec::new(), Vec::new()));
    }
}

#[test]
fn one_that_has_uploaded_everything_is_let_go_and_its_volume_stays_unless_it_is_to_go() {
    for (drops_claims, after) in [(false, vec![release(3)]), (true, vec![drops(3), release(3)])] {
        let mut case = Case { drops_claims, ..Case::new(3, 2) };
        case.pods.push(pod(3, &leaving(&ended(0, "Completed"))));
        case.claims.push(claim(3, "fast", None));
        let course = case.course();
        assert_eq!((course.replicas, course.after), (Some(3), after));
    }
}

#[test]
fn one_that_was_ended_before_it_had_uploaded_everything_is_brought_back_and_its_volume_stays() {
    let by_force = json!({"running": {}});
    let mut forced = leaving(&by_force);
    forced["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    for (how, said) in [
        (leaving(&ended(137, "Error")), "Error, exit code 137"),
        (leaving(&ended(3, "Error")), "Error, exit code 3"),
        (forced, "it was removed by force"),
    ] {
        let mut case = Case { drops_claims: true, ..Case::new(3, 2) };
        case.pods.push(pod(3, &how));
        case.claims.push(claim(3, "fast", None));
        let course = case.course();
        let why = format!("i-3 ended before all that it held was uploaded: {said}");
        let mark = Act::Mark { claim: "data-i-3".to_owned(), why: Some(why.clone()) };
        assert_eq!((course.replicas, course.after), (Some(4), vec![mark, release(3)]));
        assert_eq!(course.waits, Some(why));
    }
}

#[test]
fn one_that_came_back_leaves_again_when_it_is_ready_and_says_why_it_is_there() {
    let mut case = Case::new(4, 2);
    case.claims[3] = claim(3, "fast", Some("cut off"));
    for reason in ["ContainerCreating", "ImagePullBackOff"] {
        let waits = container(&json!({"waiting": {"reason": reason}}));
        case.pods[3] = pod(3, &json!({"status": {"conditions": [], "containerStatuses": [waits]}}));
        let course = case.course();
        assert_eq!((course.replicas, course.before), (Some(4), Vec::new()));
        let said = course.waits.expect("it is waited for");
        assert!(said.contains("i-3 is not ready") && said.contains("cut off"), "{said}");
    }
    case.pods[3] = pod(3, &json!({}));
    assert_eq!(case.course().before, [hold(3)]);
    // drained at last, the mark goes
    case.live = Some(set(3));
    case.pods[3] = pod(3, &leaving(&ended(0, "Completed")));
    let unmark = Act::Mark { claim: "data-i-3".to_owned(), why: None };
    assert_eq!(case.course().after, [unmark, release(3)]);
}

#[test]
fn one_that_cannot_start_goes_without_being_waited_for_and_its_volume_stays_and_is_told_of() {
    let never = json!({"status": {
        "conditions": [],
        "containerStatuses": [container(&json!({"waiting": {"reason": "ImagePullBackOff"}}))],
    }});
    let mut case = Case { drops_claims: true, ..Case::new(3, 2) };
    case.pods[2] = pod(2, &never);
    let why = "ingester 2 did not start before it was given up";
    let course = case.course();
    let mark = Act::Mark { claim: "data-i-2".to_owned(), why: Some(why.to_owned()) };
    assert_eq!((course.replicas, course.before), (Some(2), vec![mark]));
    case.pods.pop();
    case.live = Some(set(2));
    case.claims[2] = claim(2, "fast", Some(why));
    let course = case.course();
    assert_eq!((course.replicas, &course.waits), (Some(2), &None));
    assert!(
        course.left[0].contains("data-i-2") && course.left[0].contains("3 ingesters"),
        "{:?}",
        course.left
    );
}

#[test]
fn one_that_ran_or_is_about_to_is_not_taken_for_one_that_cannot_start() {
    let crashes = json!({"name": "tempo", "image": "", "imageID": "", "ready": false, "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    let mut case = Case::new(3, 2);
    for status in [crashes, container(&json!({"waiting": {"reason": "ContainerCreating"}}))] {
        case.pods[2] = pod(2, &json!({"status": {"conditions": [], "containerStatuses": [status]}}));
        let course = case.course();
        assert_eq!((course.replicas, course.before), (Some(3), Vec::new()));
        assert!(course.waits.is_some_and(|said| said.contains("i-2 is not ready")));
    }
}

#[test]
fn a_hold_that_led_to_nothing_is_taken_back() {
    let mut case = Case::new(3, 2);
    case.pods[2] = pod(2, &json!({"metadata": {"finalizers": [HELD]}}));
    let course = case.course();
    assert_eq!((course.replicas, course.after), (Some(3), vec![release(2)]));
}

#[test]
fn more_that_are_wanted_while_one_leaves_come_when_it_is_gone() {
    let mut case = Case { drops_claims: true, ..Case::new(3, 5) };
    case.pods.push(pod(3, &leaving(&ended(0, "Completed"))));
    case.claims.push(claim(3, "fast", None));
    assert_eq!(case.course().after, [release(3)], "its volume is needed again");
    case.pods.pop();
    assert_eq!(case.course().replicas, Some(5));
}

#[test]
fn defect_10_another_storage_class_replaces_volumes_one_by_one_each_drained_and_the_last_first() {
    let mut case = Case::new(3, 3);
    case.claims = (0..3).map(|at| claim(at, "slow", None)).collect();
    let course = case.course();
    let remove = Act::Remove { pod: "i-2".to_owned(), uid: "p2".to_owned() };
    assert_eq!((course.replicas, course.before, course.after), (Some(3), vec![hold(2)], vec![remove]));
    assert_eq!(course.waits.as_deref(), Some("ingester 2 leaves to be replaced"));
    // under way
    case.pods[2] = pod(2, &leaving(&json!({"running": {}})));
    assert_eq!((case.course().before, case.course().after), (Vec::new(), Vec::new()));
    // drained: its claim goes before it does, so that the next pod gets a new one
    case.pods[2] = pod(2, &leaving(&ended(0, "Completed")));
    assert_eq!(case.course().after, [drops(2), release(2)]);
    // cut off: its claim stays
    case.pods[2] = pod(2, &leaving(&ended(137, "Error")));
    assert!(!case.course().after.contains(&drops(2)));
    // gone: the next stays until it is back
    case.pods.pop();
    case.claims.pop();
    assert_eq!(
        (case.course().before, case.course().waits),
        (Vec::new(), Some("ingester 2 is not ready".to_owned()))
    );
    case.pods.push(pod(2, &json!({})));
    case.claims.push(claim(2, "fast", None));
    assert_eq!(case.course().before, [hold(1)]);
}

#[test]
fn defect_10_other_access_modes_are_another_volume_and_another_size_or_no_class_is_not() {
    let of = |change: &Value| {
        let mut value = serde_json::to_value(claim(0, "fast", None)).expect("JSON");
        lay_over(&mut value, change);
        let case = Case { claims: vec![serde_json::from_value(value).expect("a claim")], ..Case::new(1, 1) };
        case.course().before
    };
    assert_eq!(of(&json!({"spec": {"accessModes": ["ReadWriteOncePod"]}})), [hold(0)]);
    assert_eq!(of(&json!({"spec": {"resources": {"requests": {"storage": "9Gi"}}}})), []);
    let mut case = Case::new(1, 1);
    case.claims = vec![claim(0, "slow", None)];
    let mut wanted = set(1);
    wanted["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"].take();
    let ground = Ground {
        wanted: &wanted,
        live: case.live.as_ref(),
        pods: super::super::of_set(&case.pods, "i"),
        claims: super::super::of_set(&case.claims, "data-i"),
        count: None,
        drops_claims: false,
        is_changed: false,
    };
    assert_eq!(course(&ground), Course::default());
}

#[test]
fn whoever_scales_has_the_word_and_volumes_are_replaced_all_the_same() {
    let mut case = Case::new(2, 2);
    case.claims[1] = claim(1, "slow", None);
    let wanted = set(2);
    let ground = Ground {
        wanted: &wanted,
        live: case.live.as_ref(),
        pods: super::super::of_set(&case.pods, "i"),
        claims: super::super::of_set(&case.claims, "data-i"),
        count: None,
        drops_claims: true,
        is_changed: false,
    };
    let course = course(&ground);
    assert_eq!((course.replicas, course.before), (None, vec![hold(1)]));
}

#[test]
fn a_volume_that_an_autoscaler_left_is_not_dropped_and_it_is_told_why() {
    let mut case = Case { drops_claims: true, ..Case::new(2, 2) };
    case.claims.push(claim(2, "fast", None));
    let course = case.course();
    assert_eq!((course.after, course.waits), (Vec::new(), None));
    assert!(course.left[0].contains("data-i-2 stays"), "{:?}", course.left);
    case.drops_claims = false;
    assert_eq!(case.course().left, Vec::<String>::new(), "that is what was asked for");
}

#[test]
fn defect_10_another_name_of_the_service_replaces_pods_one_by_one_and_no_volume() {
    let mut case = Case::new(2, 2);
    for at in 0..2 {
        case.pods[at as usize] = pod(at, &json!({"spec": {"containers": [], "subdomain": "old"}}));
    }
    let mut wanted = set(2);
    wanted["spec"]["serviceName"] = json!("new");
    let of = |pods: &[Pod]| {
        course(&Ground {
            wanted: &wanted,
            live: case.live.as_ref(),
            pods: super::super::of_set(pods, "i"),
            claims: super::super::of_set(&case.claims, "data-i"),
            count: Some(2),
            drops_claims: false,
            is_changed: false,
        })
    };
    assert_eq!(of(&case.pods).before, [hold(1)]);
    let ended = pod(1, &leaving(&ended(0, "Completed")));
    assert_eq!(of(&[case.pods[0].clone(), ended]).after, [release(1)], "its volume stays");
}

#[test]
fn defect_10_another_selector_finds_the_pods_that_were_left() {
    let mut case = Case { live: None, ..Case::new(2, 2) };
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "i", "uid": "s"}]);
    case.pods[1] = pod(1, &json!({"metadata": {"ownerReferences": owner}}));
    let mut wanted = set(2);
    wanted["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
    let course = course(&Ground {
        wanted: &wanted,
        live: None,
        pods: super::super::of_set(&case.pods, "i"),
        claims: BTreeMap::new(),
        count: Some(2),
        drops_claims: false,
        is_changed: false,
    });
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!(course.after, [Act::Adopt { pod: "i-0".to_owned(), uid: "p0".to_owned(), labels }]);
}

mod simulation;
