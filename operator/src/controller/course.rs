//! What a reconcile is going to do, decided before anything is written, and what can be said of it by then. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    apply::{self, volumes},
    build::certificates::Certificates,
    facts::{Facts, Live},
    kind::Kind,
    managed::Managed,
    platform::Platform,
    rollout::{self, Planned, Progress},
    status::Verdict,
};

/// What becomes of a resource.
pub(super) struct Course {
    /// What is known of it before anything is written.
    pub(super) verdict: Verdict,
    /// What of it is not served.
    pub(super) unserved: Vec<String>,
    /// Nothing where the resource is invalid, or is left alone.
    pub(super) work: Option<Work>,
}

/// What is to be done.
pub(super) struct Work {
    pub(super) planned: Planned,
    pub(super) certificates: Option<Certificates>,
    pub(super) is_cluster_wide: bool,
}

/// Second and third step, and what of their outcome is for this reconcile.
pub(super) fn decide<K: Managed>(resource: &K, facts: &Facts, platform: &Platform) -> Course {
    let (prepared, unserved) = match resource.prepare(facts, platform) {
        Ok(prepared) => prepared,
        Err(invalid) => {
            return Course { verdict: Verdict::Invalid(invalid), unserved: Vec::new(), work: None };
        }
    };
    if !resource.is_managed() {
        return Course { verdict: Verdict::Done, unserved, work: None };
    }
    let (certificates, is_cluster_wide) = (prepared.certificates.clone(), prepared.is_cluster_wide());
    let mut objects = match prepared.into_ordered() {
        Ok(objects) => objects,
        Err(error) => {
            let verdict = Verdict::Failed(format!("cannot write the objects: {error}"));
            return Course { verdict, unserved, work: None };
        }
    };
    for desired in &mut objects {
        let found = facts.live.objects.get(&(desired.kind, desired.name.clone()));
        apply::yield_service_name(desired, found);
    }
    let planned = rollout::plan(&resource.identity(), objects, &facts.live);
    Course { verdict: Verdict::Done, unserved, work: Some(Work { planned, certificates, is_cluster_wide }) }
}

impl Course {
    /// What a status can be derived from before anything is written: the objects as they will be. Nothing where some of them
    /// are there already: what becomes of those, the API server has to tell.
    pub(super) fn expected(&self, live: &Live) -> Option<BTreeMap<(Kind, String), Value>> {
        let Some(work) = &self.work else { return Some(live.objects.clone()) };
        let objects = work.planned.objects.iter().map(|desired| {
            let key = (desired.kind, desired.name.clone());
            (!live.objects.contains_key(&key)).then(|| (key, desired.object.clone()))
        });
        objects.collect()
    }

    /// What of the resource is not served, and what of it is not done, by these objects.
    pub(super) fn warnings(&self, live: &Live, objects: &BTreeMap<(Kind, String), Value>) -> Vec<String> {
        let mut warnings = self.unserved.clone();
        if let Some(work) = &self.work {
            warnings.extend(volumes::left(&live.claims, objects));
            warnings.extend_from_slice(&work.planned.progress.left);
        }
        warnings
    }

    pub(super) fn progress(&self) -> Progress {
        self.work.as_ref().map(|work| work.planned.progress.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        api::{TempoMonolithic, TempoStackStatus},
        fixture,
        managed::Observed,
        status::{Evidence, active},
    };

    const MONOLITHIC: [&str; 2] =
        ["{}", "{storage: {traces: {backend: pv, size: 2Gi}}, jaegerui: {enabled: true}}"];
    const STACKS: [&str; 6] = [
        "",
        "  template: {querier: {replicas: 3}, ingester: {replicas: 2}}",
        "  template: {querier: {autoscaling: {minReplicas: 2, maxReplicas: 5}}}",
        "  template: {metricsGenerator: {enabled: true, remoteWriteURLs: [\"http://p:9090/api/v1/write\"]}}",
        "  template: {gateway: {enabled: true}}\n  \
         tenants: {mode: openshift, authentication: [{tenantName: dev, tenantId: d1}]}",
        "  storageSize: 1Gi\n  images: {tempo: \"vivace:2\"}",
    ];

    fn mono(spec: &str) -> TempoMonolithic {
        let yaml = format!("metadata: {{name: m, namespace: n, uid: u, generation: 1}}\nspec: {spec}\n");
        serde_yaml::from_str(&yaml).expect("a resource")
    }

    fn derived<K: Managed>(
        (resource, course, live): (&K, &Course, &Live),
        old: &K::Status,
        objects: &BTreeMap<(Kind, String), Value>,
        second: i64,
    ) -> K::Status {
        let evidence = Evidence {
            identity: &resource.identity(),
            generation: resource.meta().generation,
            verdict: course.verdict.clone(),
            warnings: &course.warnings(live, objects),
            objects,
            pods: &live.pods,
            progress: &course.progress(),
        };
        K::derive(old, &evidence, Timestamp::from_second(second).expect("a time"))
    }

    /// As the API server answers to the creation of an object: nobody has seen it yet.
    fn created(object: &Value) -> Value {
        let mut object = object.clone();
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["uid"] = json!("made");
        let spec = object["spec"].as_object_mut();
        if let Some(spec) = spec.filter(|spec| spec.contains_key("template") && spec.contains_key("selector"))
        {
            spec.entry("replicas").or_insert(json!(1));
            object["status"] = json!({});
        }
        object
    }

    fn is_told_once<K: Managed>(resource: &K, facts: &Facts) {
        let course = decide(resource, facts, &fixture::openshift());
        let given = (resource, &course, &facts.live);
        let expected = course.expected(&facts.live).expect("nothing of it is there");
        let first = derived(given, &K::Status::default(), &expected, 1);
        let truth = active(first.conditions()).expect("one condition is true");
        assert_eq!(truth.type_, "Pending");
        assert!(truth.message.starts_with("waiting for "), "{}", truth.message);
        assert!(first.conditions().iter().any(|condition| condition.type_ == "Reconciling"));
        let answered = expected.iter().map(|(key, object)| (key.clone(), created(object))).collect();
        assert_eq!(derived(given, &first, &answered, 9), first, "{:?}", resource.identity());
        // And it says something of the objects: without them it would be another.
        assert_ne!(derived(given, &first, &BTreeMap::new(), 9), first);
    }

    #[test]
    fn the_first_status_is_what_follows_from_the_answers_to_the_writes_after_it() {
        for spec in STACKS {
            is_told_once(&fixture::resource(spec), &fixture::facts());
        }
        for spec in MONOLITHIC {
            is_told_once(&mono(spec), &fixture::facts());
        }
    }

    #[test]
    fn a_volume_that_stayed_from_before_and_is_larger_is_told_of_at_once() {
        let claim = json!({
            "metadata": {"name": "data-tempo-shop-ingester-0"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "9Gi"}}},
        });
        let mut facts = fixture::facts();
        facts.live.claims.push(serde_json::from_value(claim).expect("a claim"));
        let resource = fixture::resource("  storageSize: 1Gi");
        let course = decide(&resource, &facts, &fixture::plain());
        let expected = course.expected(&facts.live).expect("nothing of it is there");
        let warnings = course.warnings(&facts.live, &expected);
        assert!(warnings.iter().any(|warning| warning.contains("do not shrink")), "{warnings:?}");
        is_told_once(&resource, &facts);
    }

    #[test]
    fn of_what_is_there_already_nothing_is_said_before_the_api_server_was_asked() {
        let resource = fixture::resource("");
        let mut facts = fixture::facts();
        let key = (Kind::Deployment, resource.identity().object("querier"));
        let ready = json!({"spec": {"replicas": 1}, "status": {"readyReplicas": 1}});
        facts.live.objects.insert(key, ready);
        assert!(decide(&resource, &facts, &fixture::plain()).expected(&facts.live).is_none());
        // What is not wanted is no reason to wait.
        facts.live.objects.clear();
        facts.live.objects.insert((Kind::ConfigMap, "other".to_owned()), json!({}));
        assert!(decide(&resource, &facts, &fixture::plain()).expected(&facts.live).is_some());
    }

    #[test]
    fn what_is_invalid_or_left_alone_is_said_before_anything_is_written() {
        let said = |spec: &str| {
            let (resource, facts) = (fixture::resource(spec), Facts::default());
            let course = decide(&resource, &facts, &fixture::plain());
            assert!(course.work.is_none());
            let expected = course.expected(&facts.live).expect("nothing is written");
            let status =
                derived((&resource, &course, &facts.live), &TempoStackStatus::default(), &expected, 1);
            active(status.conditions()).expect("one condition is true").type_.clone()
        };
        assert_eq!(said(""), "ConfigurationError", "its Secret is not there");
        let unmanaged = fixture::resource("  managementState: Unmanaged");
        let course = decide(&unmanaged, &fixture::facts(), &fixture::plain());
        assert!(course.work.is_none() && matches!(course.verdict, Verdict::Done));
    }
}
