//! What stands below `deploy/` and in the charts, without helm and without a cluster.

use super::*;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_default()
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap()
}

#[test]
fn what_follows_from_the_rendered_chart_and_the_definitions_is_fresh() {
    for (path, text) in derived(repository(), &read(RENDERED)).unwrap() {
        if std::env::var_os("UPDATE_DEPLOY").is_some() {
            fs::write(repository().join(&path), &text).unwrap();
        }
        assert!(
            read(&path) == text,
            "{path} is stale: run this test with UPDATE_DEPLOY=1, or cargo e2e render"
        );
    }
}

/// Templates in another language than YAML are compared by the words that matter: each rule of the rendered roles.
#[test]
fn the_rendered_chart_grants_what_the_template_grants() {
    let template = read("charts/vivace-operator/templates/rbac.yaml");
    let wanted = template.matches("  - apiGroups:").count();
    let objects = documents(&read(RENDERED)).unwrap();
    let found: usize = objects
        .iter()
        .filter(|o| matches!(kind(o), "Role" | "ClusterRole"))
        .map(|o| o["rules"].as_array().unwrap().len())
        .sum();
    assert_eq!(found, wanted, "{RENDERED} is stale: cargo e2e render");
}

#[test]
fn the_schema_names_every_value_and_no_other() {
    for chart in [CHART, CRD_CHART] {
        let (values, schema) =
            (yaml(&format!("{chart}/values.yaml")), read(&format!("{chart}/values.schema.json")));
        let schema: Value = serde_json::from_str(&schema).unwrap();
        same_keys(&values, &schema, &schema, chart);
    }
}

fn same_keys(values: &Value, schema: &Value, root: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else {
        return;
    };
    assert_eq!(schema["additionalProperties"], false, "{at} takes anything");
    for (key, value) in values {
        let property = properties.get(key).unwrap_or_else(|| panic!("{at}.{key} is not in the schema"));
        same_keys(value, property, root, &format!("{at}.{key}"));
    }
    // helm puts `global` into every chart; claims are a part of resources that nobody has by default
    let more: Vec<_> = properties.keys().filter(|key| !values.contains_key(*key)).collect();
    assert!(more.iter().all(|key| matches!(key.as_str(), "global" | "claims")), "{at} has no {more:?}");
}

#[test]
fn the_readme_of_the_chart_names_every_value() {
    let (values, readme) = (yaml(&format!("{CHART}/values.yaml")), read(&format!("{CHART}/README.md")));
    for key in values.as_object().unwrap().keys() {
        assert!(readme.contains(&format!("`{key}")), "{CHART}/README.md does not speak of {key}");
    }
}

#[test]
fn dashboards_are_complete_and_ask_only_for_one_data_source() {
    for name in ["traces", "operator"] {
        let board: Value = serde_json::from_str(&read(&format!("{CHART}/dashboards/{name}.json"))).unwrap();
        let panels = board["panels"].as_array().unwrap();
        let ids: std::collections::BTreeSet<i64> = panels.iter().filter_map(|p| p["id"].as_i64()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: ids of panels");
        for panel in panels {
            let title = panel["title"].as_str().unwrap();
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{name}: {title} asks for nothing");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {title}");
        }
    }
}

/// The rules of operator-framework's bundle validation that need no cluster.
#[test]
fn the_bundle_keeps_the_rules_of_operator_framework() {
    let csv = yaml("deploy/olm/manifests/vivace-operator.clusterserviceversion.yaml");
    let (metadata, spec) = (&csv["metadata"], &csv["spec"]);
    let version = spec["version"].as_str().unwrap();
    assert_eq!(metadata["name"], format!("vivace-operator.v{version}"));
    assert!(version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u64>().is_ok()));
    for field in ["displayName", "description", "maturity", "minKubeVersion"] {
        assert!(spec[field].as_str().is_some_and(|text| !text.is_empty()), "no {field}");
    }
    for field in ["keywords", "maintainers", "links", "icon"] {
        assert!(spec[field].as_array().is_some_and(|list| !list.is_empty()), "no {field}");
    }
    assert!(spec["provider"]["name"].is_string());
    let levels = ["Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"];
    assert!(levels.contains(&metadata["annotations"]["capabilities"].as_str().unwrap()));
    let modes: Vec<&str> =
        spec["installModes"].as_array().unwrap().iter().map(|m| m["type"].as_str().unwrap()).collect();
    assert_eq!(modes, ["OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces"]);
    // every definition of the bundle is owned, in the version that it serves, and has an example
    let owned = spec["customresourcedefinitions"]["owned"].as_array().unwrap();
    let examples: Value =
        serde_json::from_str(metadata["annotations"]["alm-examples"].as_str().unwrap()).unwrap();
    for file in CRDS {
        let crd = yaml(&format!("deploy/olm/manifests/{file}"));
        let entry = owned.iter().find(|one| one["name"] == crd["metadata"]["name"]).unwrap();
        assert_eq!(entry["kind"], crd["spec"]["names"]["kind"]);
        assert_eq!(entry["version"], crd["spec"]["versions"][0]["name"]);
        assert!(examples.as_array().unwrap().iter().any(|one| one["kind"] == entry["kind"]));
    }
    assert_eq!(owned.len(), CRDS.len());
    // who runs is who is granted something, and the operator is told which namespaces it serves
    let install = &spec["install"]["spec"];
    let pod = &install["deployments"][0]["spec"]["template"]["spec"];
    for permissions in ["permissions", "clusterPermissions"] {
        assert_eq!(install[permissions][0]["serviceAccountName"], pod["serviceAccountName"]);
    }
    let path = &pod["containers"][0]["env"].as_array().unwrap().last().unwrap()["valueFrom"]["fieldRef"]["fieldPath"];
    assert_eq!(path, "metadata.annotations['olm.targetNamespaces']");
    let granted = |of: &str| install[of][0]["rules"].as_array().unwrap().len();
    let roles = documents(&read(RENDERED)).unwrap();
    let all: usize = roles.iter().filter_map(|o| Some(o["rules"].as_array()?.len())).sum();
    assert_eq!(granted("permissions") + granted("clusterPermissions"), all);
    assert!(!serde_json::to_string(&install["permissions"]).unwrap().contains("clusterroles"));
    // the annotations of the image and those in it are the same
    let annotations = yaml("deploy/olm/metadata/annotations.yaml");
    let labels = read("deploy/olm/bundle.Dockerfile");
    for (key, value) in annotations["annotations"].as_object().unwrap() {
        assert!(labels.contains(&format!("LABEL {key}={}\n", value.as_str().unwrap())), "{key}");
    }
}
