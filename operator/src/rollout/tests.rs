//! Whole stacks, as they are built, before a cluster of plain values.

use serde_json::Map;

use super::*;
use crate::{compare::FIELD_MANAGER, fixture};

const STACK: &str = "  images: {tempo: \"vivace:1\"}\n";

fn objects(spec: &str) -> Vec<Desired> {
    crate::build::build(&fixture::stack(spec)).into_ordered().expect("objects")
}

fn identity() -> Identity {
    fixture::stack("").common.identity
}

/// A record of all fields of an object, lists of named things by their names.
fn fields(value: &Value) -> Value {
    let named = |element: &Value| Some(format!("k:{}", json!({"name": element.get("name")?.as_str()?})));
    let children: Map<String, Value> = match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (format!("f:{key}"), fields(value)))
            .collect(),
        Value::Array(list) => {
            list.iter().filter_map(|element| Some((named(element)?, fields(element)))).collect()
        }
        _ => Map::new(),
    };
    Value::Object(children)
}

/// The API server and its controllers, as far as turns depend on them.
#[derive(Clone, Debug, Default)]
struct Cluster(Live);

impl Cluster {
    /// Writes what differs, and answers its names.
    fn write(&mut self, objects: Vec<Desired>) -> Vec<String> {
        let mut written = Vec::new();
        for Desired { kind, name, mut object, .. } in objects {
            let found = self.0.objects.get(&(kind, name.clone()));
            if found.is_some_and(|found| compare::difference(kind, &object, found).is_none()) {
                continue;
            }
            let old = found.cloned().unwrap_or_default();
            let is_new = old["spec"] != object["spec"];
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + i64::from(is_new);
            let record = fields(
                &json!({"metadata": {"annotations": object["metadata"]["annotations"]}, "spec": object["spec"]}),
            );
            object["metadata"]["managedFields"] =
                json!([{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": record}]);
            object["metadata"]["generation"] = json!(generation);
            object["status"] = old["status"].clone();
            written.push(name.clone());
            self.0.objects.insert((kind, name), object);
        }
        written
    }

    /// Every pod of every workload gets ready, but of one.
    fn pass(&mut self, broken: Option<&str>) {
        for ((kind, name), object) in &mut self.0.objects {
            if matches!(kind, Kind::Deployment | Kind::StatefulSet) {
                let count = workload::replicas(object).unwrap_or(1);
                let ready = if broken == Some(name) { 0 } else { count };
                object["status"] = json!({
                    "observedGeneration": object["metadata"]["generation"],
                    "replicas": count, "updatedReplicas": count, "readyReplicas": ready,
                });
            }
        }
    }

    fn reconcile(&mut self, spec: &str) -> (Vec<String>, Progress) {
        let planned = plan(&identity(), objects(spec), &self.0);
        (self.write(planned.objects), planned.progress)
    }

    fn image(&self, role: Role) -> String {
        image(&self.0.objects[&key(&identity(), role)])
    }

    fn created() -> Self {
        let mut cluster = Self::default();
        cluster.reconcile(STACK);
        cluster.pass(None);
        cluster
    }
}

const TWO: &str = "  images: {tempo: \"vivace:2\"}\n";

#[test]
fn a_first_creation_waits_for_nothing_and_what_is_there_is_not_written_again() {
    let mut cluster = Cluster::default();
    let (written, progress) = cluster.reconcile(STACK);
    assert_eq!(written.len(), objects(STACK).len());
    assert_eq!(progress, Progress::default());
    assert_eq!(cluster.reconcile(STACK).0, Vec::<String>::new());
}

#[test]
fn another_image_goes_through_the_components_in_order() {
    let mut cluster = Cluster::created();
    let mut order = Vec::new();
    for _ in 0..10 {
        let (written, progress) = cluster.reconcile(TWO);
        order.extend(progress.under_way.map(|(role, _)| role.as_str()));
        assert!(written.len() <= 2, "the mark of one goes while the next begins: {written:?}");
        assert_eq!(cluster.reconcile(TWO).0, Vec::<String>::new(), "the same again writes nothing");
        cluster.pass(None);
    }
    assert_eq!(order, ["compactor", "querier", "query-frontend", "ingester", "distributor"]);
    assert!(Role::ALL[..5].iter().all(|role| cluster.image(*role) == "vivace:2"));
    let marked =
        cluster.0.objects.values().any(|object| object["metadata"]["annotations"].get(ROLLED_FROM).is_some());
    assert!(!marked, "marks go");
}

#[test]
fn a_component_that_does_not_get_ready_halts_the_rest_and_goes_back_without_being_waited_for() {
    let mut cluster = Cluster::created();
    let broken = Some("tempo-shop-ingester");
    for _ in 0..10 {
        cluster.reconcile(TWO);
        cluster.pass(broken);
    }
    let (_, progress) = cluster.reconcile(TWO);
    assert_eq!(progress.under_way, Some((Role::Ingester, "vivace:2".to_owned())));
    assert_eq!(progress.waiting, [Role::Distributor]);
    assert_eq!(
        (cluster.image(Role::Distributor), cluster.image(Role::Ingester)),
        ("vivace:1".into(), "vivace:2".into())
    );
    let (written, _) = cluster.reconcile(STACK);
    assert_eq!(written, ["tempo-shop-ingester"]);
    for _ in 0..10 {
        cluster.pass(None);
        cluster.reconcile(STACK);
    }
    assert!(Role::ALL[..5].iter().all(|role| cluster.image(*role) == "vivace:1"));
}

#[test]
fn what_waits_keeps_all_that_came_with_its_image_but_its_number_of_pods() {
    let mut cluster = Cluster::created();
    let spec =
        "  images: {tempo: \"vivace:2\"}\n  template:\n    querier: {replicas: 3, nodeSelector: {a: b}}\n";
    cluster.reconcile(spec);
    let querier = &cluster.0.objects[&key(&identity(), Role::Querier)];
    assert_eq!(image(querier), "vivace:1");
    assert_eq!(querier["spec"]["template"]["spec"].get("nodeSelector"), None);
    assert_eq!(querier["spec"]["replicas"], 3);
}

#[test]
fn a_change_that_leaves_images_alone_waits_for_nobody() {
    let mut cluster = Cluster::created();
    let spec = format!("{STACK}  retention: {{global: {{traces: 24h}}}}\n");
    let (written, progress) = cluster.reconcile(&spec);
    assert!(Role::ALL[..5].iter().all(|role| written.contains(&identity().role(*role))), "{written:?}");
    assert_eq!(progress, Progress::default());
}

#[test]
fn a_stack_without_a_ready_pod_gets_another_image_at_once() {
    let mut cluster = Cluster::default();
    cluster.reconcile("  images: {tempo: \"vivace:mistyped\"}\n");
    let (_, progress) = cluster.reconcile(STACK);
    assert_eq!(progress, Progress::default());
    assert!(Role::ALL[..5].iter().all(|role| cluster.image(*role) == "vivace:1"));
}

#[test]
fn a_workload_of_another_operator_is_taken_over_whatever_it_runs() {
    let mut cluster = Cluster::created();
    for object in cluster.0.objects.values_mut() {
        object["metadata"]["managedFields"] =
            json!([{"manager": "manager", "operation": "Update", "fieldsV1": {}}]);
    }
    let (written, progress) = cluster.reconcile(TWO);
    assert!(written.contains(&identity().role(Role::Distributor)));
    assert_eq!(progress, Progress::default());
}

/// A pod that an ingester's StatefulSet has left.
fn orphan(at: i32, image: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("tempo-shop-ingester-{at}"), "uid": format!("u{at}")},
        "spec": {"containers": [{"name": CONTAINER, "image": image}]},
    }))
    .expect("a pod")
}

#[test]
fn defect_10_a_stateful_set_that_is_made_anew_takes_all_its_pods_with_the_images_that_they_run() {
    let mut cluster = Cluster::created();
    let querier = key(&identity(), Role::Querier);
    cluster.0.objects.remove(&key(&identity(), Role::Ingester));
    cluster.0.pods = (0..3).map(|at| orphan(at, "vivace:1")).collect();
    let busy = cluster.0.objects.get_mut(&querier).expect("a querier");
    busy["status"]["readyReplicas"] = json!(0);
    let spec = format!("{TWO}  template: {{ingester: {{replicas: 1}}}}\n");
    cluster.reconcile(&spec);
    let made = &cluster.0.objects[&key(&identity(), Role::Ingester)];
    assert_eq!((image(made).as_str(), &made["spec"]["replicas"]), ("vivace:1", &json!(3)));
}

#[test]
fn defect_10_a_larger_volume_and_another_class_change_the_set_and_no_pod() {
    let mut cluster = Cluster::created();
    let spec = format!("{STACK}  storageSize: 20Gi\n  storageClassName: fast\n");
    let before = cluster.0.objects[&key(&identity(), Role::Ingester)]["spec"]["template"].clone();
    let (written, _) = cluster.reconcile(&spec);
    assert_eq!(written, ["tempo-shop-ingester"]);
    let after = &cluster.0.objects[&key(&identity(), Role::Ingester)]["spec"];
    assert_eq!(after["template"], before);
    assert_eq!(after["volumeClaimTemplates"][0]["spec"]["storageClassName"], "fast");
}

#[test]
fn volumes_are_dropped_by_the_operator_and_not_by_kubernetes_which_does_not_ask_what_is_on_them() {
    let spec = format!(
        "{STACK}  persistentVolumeClaimRetentionPolicy: {{whenDeleted: Delete, whenScaled: Delete}}\n"
    );
    let planned = plan(&identity(), objects(&spec), &Live::default());
    let set = planned.objects.iter().find(|desired| desired.kind == Kind::StatefulSet).expect("a set");
    let policy = &set.object["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(*policy, json!({"whenDeleted": "Delete", "whenScaled": "Retain"}));
}

#[test]
fn an_autoscaler_of_ingesters_has_the_word() {
    let mut cluster = Cluster::created();
    cluster.0.autoscaled.insert(key(&identity(), Role::Ingester));
    cluster.0.objects.get_mut(&key(&identity(), Role::Ingester)).expect("a set")["spec"]["replicas"] =
        json!(4);
    let spec =
        format!("{STACK}  template: {{ingester: {{autoscaling: {{minReplicas: 1, maxReplicas: 5}}}}}}\n");
    let planned = plan(&identity(), objects(&spec), &cluster.0);
    let set = planned.objects.iter().find(|desired| desired.kind == Kind::StatefulSet).expect("a set");
    assert_eq!(set.object["spec"].get("replicas"), None);
    assert_eq!((planned.before, planned.after, planned.progress), (vec![], vec![], Progress::default()));
}
