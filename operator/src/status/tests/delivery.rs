//! What Argo CD and Flux make of our statuses, by their own rules: the Lua of `deploy/argocd`, run as Argo CD runs it, and kstatus.

use std::fs;

use mlua::{Lua, LuaOptions, LuaSerdeExt as _, StdLib};

use super::*;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// How a tool that knows nothing of tracing sees a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Underway,
    Well,
    Wrong,
}

/// Argo CD gives scripts the base and table libraries, the resource as `obj`, and takes `status` and `message`.
fn argo(resource: &Value) -> (Seen, String) {
    let script = fs::read_to_string(format!("{ROOT}/deploy/argocd/health.lua")).expect("the script is there");
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).expect("Lua starts");
    let object = lua.to_value(resource).expect("a resource is a table");
    lua.globals().set("obj", object).expect("obj can be set");
    let health: mlua::Table = lua.load(script).eval().expect("the script answers a table");
    let text = |key: &str| health.get::<String>(key).expect("a text");
    let seen = match text("status").as_str() {
        "Progressing" => Seen::Underway,
        "Healthy" => Seen::Well,
        "Degraded" => Seen::Wrong,
        other => panic!("{other} is none of the three that we mean"),
    };
    (seen, text("message"))
}

/// The order of kstatus: the generation, then the standard conditions, then `Ready`; without any of these all is well.
/// <https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus>
fn kstatus(resource: &Value) -> Seen {
    let observed = &resource["status"]["observedGeneration"];
    if observed.is_number() && *observed != resource["metadata"]["generation"] {
        return Seen::Underway;
    }
    let conditions = resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for condition in conditions.iter().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return Seen::Underway,
            Some("Stalled") => return Seen::Wrong,
            _ => {}
        }
    }
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    if ready.is_none_or(|ready| ready["status"] == "True") { Seen::Well } else { Seen::Underway }
}

fn stored(generation: i64, status: &impl serde::Serialize) -> Value {
    json!({"apiVersion": "tempo.grafana.com/v1alpha1", "kind": "TempoStack",
        "metadata": {"name": "s", "generation": generation}, "spec": {}, "status": status})
}

#[test]
fn argo_and_flux_see_what_the_status_says() {
    let invalid = Invalid { reason: Reason::InvalidStorageConfig, message: "Secret b".to_owned() };
    for (verdict, ready, expected, message) in [
        (Verdict::Done, 0, Seen::Underway, "waiting for compactor"),
        (Verdict::Done, 1, Seen::Well, "all components are operational"),
        (Verdict::Invalid(invalid), 1, Seen::Wrong, "Secret b"),
        (Verdict::Failed("Service x: no".to_owned()), 1, Seen::Wrong, "Service x: no"),
    ] {
        let status = derived(&TempoStackStatus::default(), &verdict, &objects(1, ready), &[], 5);
        let resource = stored(3, &status);
        let (seen, said) = argo(&resource);
        assert!(seen == expected && said.starts_with(message), "{seen:?} {said}, expected {expected:?}");
        assert_eq!(kstatus(&resource), expected, "{status:?}");
        // After a change that nobody has looked at, whatever was true before says nothing.
        let changed = stored(4, &status);
        assert_eq!((argo(&changed).0, kstatus(&changed)), (Seen::Underway, Seen::Underway));
    }
}

#[test]
fn a_resource_that_nobody_has_looked_at_yet_is_under_way_and_not_ready() {
    for definition in crate::api::definitions().expect("definitions can be made") {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let default = &schema["properties"]["status"]["default"];
        let resource = stored(1, default);
        assert_eq!((argo(&resource).0, kstatus(&resource)), (Seen::Underway, Seen::Underway), "{default}");
    }
    // As it stands before the API server has filled anything in.
    assert_eq!(argo(&json!({"metadata": {"generation": 1}})).0, Seen::Underway);
}

#[test]
fn what_is_not_served_is_told_beside_what_is_well() {
    let identity = identity();
    let evidence = Evidence {
        identity: &identity,
        generation: Some(3),
        verdict: Verdict::Done,
        warnings: &["no Route is made".to_owned()],
        objects: &objects(1, 1),
        pods: &[],
        progress: &Progress::default(),
    };
    let status = derive(&TempoStackStatus::default(), &evidence, Timestamp::from_second(5).expect("a time"));
    let (seen, said) = argo(&stored(3, &status));
    assert!(seen == Seen::Well && said.ends_with("not served: no Route is made"), "{seen:?} {said}");
}

#[test]
fn statuses_that_a_cluster_had_are_seen_as_their_files_are_named() {
    let mut count = 0;
    for entry in fs::read_dir(format!("{ROOT}/e2e/data/statuses")).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a file");
        let resource: Value = serde_yaml::from_str(&text).expect("a resource");
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let expected = match name.rsplit('-').next() {
            Some("underway") => Seen::Underway,
            Some("well") => Seen::Well,
            Some("wrong") => Seen::Wrong,
            other => panic!("{name}: {other:?} is none of underway, well, wrong"),
        };
        assert_eq!((argo(&resource).0, kstatus(&resource)), (expected, expected), "{name}");
        count += 1;
    }
    assert!(count > 3, "{count} files");
}

#[test]
fn the_snippet_for_argo_holds_the_script_for_both_kinds() {
    let script = fs::read_to_string(format!("{ROOT}/deploy/argocd/health.lua")).expect("the script is there");
    let mut expected =
        "# Generated from health.lua by the operator's tests with UPDATE_DEPLOY=1; do not edit.\n\
        # kubectl patch configmap argocd-cm --namespace argocd --patch-file deploy/argocd/argocd-cm.yaml\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\ndata:\n"
            .to_owned();
    for kind in ["TempoStack", "TempoMonolithic"] {
        let key = format!("  resource.customizations.health.tempo.grafana.com_{kind}: |");
        let indented = script.lines().map(|line| format!("    {line}").trim_end().to_owned());
        for line in std::iter::once(key).chain(indented) {
            expected.push_str(&line);
            expected.push('\n');
        }
    }
    let path = format!("{ROOT}/deploy/argocd/argocd-cm.yaml");
    if std::env::var_os("UPDATE_DEPLOY").is_some() {
        fs::write(&path, &expected).expect("the snippet can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{path} is stale: run this test with UPDATE_DEPLOY=1");
    let parsed: Value = serde_yaml::from_str(&found).expect("the snippet is YAML");
    let key = "resource.customizations.health.tempo.grafana.com_TempoStack";
    assert_eq!(parsed["data"][key], script.as_str());
}
