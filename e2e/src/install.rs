//! What people install from: the charts, and what is rendered from them below `deploy/`, with the same rules in all of them.
//!
//! The chart is the source. helm renders it to `deploy/kustomize/operator.yaml`; everything else there follows from that file and from
//! `crds/` (`derived`), so that a unit test can say whether it is fresh without helm.

mod bundle;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::home::Home;
use crate::progress::output;
use crate::report::Report;
use crate::{artifacts, http, otlp, server, shop};

/// Name and namespace of the operator in everything that is rendered.
const NAME: &str = "vivace-operator";
const CHART: &str = "charts/vivace-operator";
const CRD_CHART: &str = "charts/vivace-operator-crds";
/// The definitions, in the order in which they are installed.
const CRDS: [&str; 2] = ["tempo.grafana.com_tempostacks.yaml", "tempo.grafana.com_tempomonolithics.yaml"];
/// What helm renders.
const RENDERED: &str = "deploy/kustomize/operator.yaml";
/// Order in which kinds are applied.
const ORDER: [&str; 9] = [
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write nothing; fail when a file is not what would be written
    #[arg(long)]
    check: bool,
}

/// Writes everything below `deploy/` that follows from the chart.
pub(crate) fn render(home: &Home, options: &Options, report: &mut Report) -> Result<()> {
    artifacts::cluster_programs(home)?;
    let operator = rendered(home)?;
    let mut files = BTreeMap::from([(RENDERED.to_owned(), operator.clone())]);
    files.extend(derived(&home.repository, &operator)?);
    for (path, text) in files {
        let place = home.repository.join(&path);
        if !options.check {
            fs::create_dir_all(place.parent().context("a file in a folder")?)?;
            fs::write(&place, text)?;
        } else if fs::read_to_string(&place).unwrap_or_default() != text {
            bail!("{path} is stale: cargo e2e render");
        }
    }
    if options.check {
        report.check("deploy/ is what the chart says", || Ok(String::new()));
    }
    Ok(())
}

/// Every check that needs no cluster.
pub(crate) fn run(home: &Home, report: &mut Report) -> Result<()> {
    render(home, &Options { check: true }, report)?;
    report.check("helm lint", || helm(home, &["lint", "--strict", CHART, CRD_CHART]).map(|_| String::new()));
    report.check("wrong values are refused by the schema, each by its name", || refusals(home));
    report.check("served namespaces need Roles alone", || namespaced(home));
    report.check("options of the chart make the objects that they name", || options_of_the_chart(home));
    report.check("kustomize builds the same objects as the single file", || kustomized(home));
    report.check("every metric on a dashboard is one that a server exposes", || exposed(home));
    Ok(())
}

fn helm(home: &Home, arguments: &[&str]) -> Result<String> {
    let folder = home.scratch().join("helm");
    let mut helm = Command::new(home.bin().join("helm"));
    helm.env("HELM_CACHE_HOME", &folder).env("HELM_CONFIG_HOME", &folder).env("HELM_DATA_HOME", &folder);
    output(helm.args(arguments).current_dir(&home.repository))
}

fn template(home: &Home, values: &[&str]) -> Result<Vec<Value>> {
    let mut words = vec!["template", NAME, CHART, "--namespace", NAME, "--kube-version", "1.36.0"];
    words.extend(values.iter().flat_map(|value| ["--set", *value]));
    documents(&helm(home, &words)?)
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let all = serde_yaml::Deserializer::from_str(text).map(serde::Deserialize::deserialize);
    let mut all: Vec<Value> = all.collect::<Result<_, _>>().context("a manifest")?;
    all.retain(|object| !object.is_null());
    all.iter_mut().for_each(plain_numbers);
    Ok(all)
}

/// `1.0` and `1` are one number in JSON, and two in YAML.
fn plain_numbers(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(plain_numbers),
        Value::Array(list) => list.iter_mut().for_each(plain_numbers),
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15);
            if let Some(whole) = whole {
                *value = json!(whole as i64);
            }
        }
        _ => {}
    }
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// The chart with its defaults, without the labels that tell of helm, the namespace first.
fn rendered(home: &Home) -> Result<String> {
    let mut objects = template(home, &["crds.install=false"])?;
    objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": NAME, "labels": {"app.kubernetes.io/name": NAME, "pod-security.kubernetes.io/enforce": "restricted"},
    }}));
    for object in &mut objects {
        let labels = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
        let labels = labels.context("an object without labels")?;
        labels.remove("helm.sh/chart");
        labels.remove("app.kubernetes.io/managed-by");
    }
    objects.sort_by_key(|object| ORDER.iter().position(|one| *one == kind(object)));
    let mut text = format!("# Generated from {CHART} by `cargo e2e render`; do not edit.\n");
    for object in &objects {
        ensure!(ORDER.contains(&kind(object)), "the chart has a {} that nothing is known of", kind(object));
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(object)?);
    }
    Ok(text)
}

/// What follows from the rendered chart and the definitions: text by path.
fn derived(repository: &Path, operator: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut all = String::new();
    for crd in CRDS {
        let text = fs::read_to_string(repository.join("crds").join(crd))?;
        all.push_str("---\n");
        all.push_str(&text);
        files.insert(format!("deploy/kustomize/{crd}"), text.clone());
        files.insert(format!("deploy/olm/manifests/{crd}"), text);
    }
    let manifest = format!(
        "# Generated from {CHART} and crds/ by `cargo e2e render`; do not edit.\n\
         # kubectl apply --server-side --filename vivace-operator.yaml\n{all}{}",
        operator.split_once("---\n").map(|(_, rest)| format!("---\n{rest}")).context("no object")?
    );
    files.insert("deploy/vivace-operator.yaml".to_owned(), manifest);
    let resources: Vec<String> =
        CRDS.iter().chain(&["operator.yaml"]).map(|file| format!("- {file}\n")).collect();
    let images: Vec<String> = images(&documents(operator)?)?
        .iter()
        .map(|image| {
            let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
            format!(
                "# - name: {name}\n#   newName: registry.example.org/{}\n#   newTag: {tag:?}\n",
                name.rsplit('/').next().unwrap_or(name)
            )
        })
        .collect();
    let (resources, images) = (resources.concat(), images.concat());
    files.insert(
        "deploy/kustomize/kustomization.yaml".to_owned(),
        format!(
            "# Generated by `cargo e2e render`; do not edit. A base: kubectl apply --server-side --kustomize deploy/kustomize\n\
             apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}\
             # An overlay may take the operator's image from elsewhere (that of the workloads is in the variable RELATED_IMAGE_TEMPO):\n# images:\n{images}"
        ),
    );
    files.extend(bundle::files(&documents(operator)?, repository)?);
    Ok(files)
}

/// The images of the operator's containers.
fn images(objects: &[Value]) -> Result<Vec<String>> {
    let deployment = objects.iter().find(|o| kind(o) == "Deployment").context("no Deployment")?;
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let images = containers.into_iter().flatten().filter_map(|c| c["image"].as_str().map(str::to_owned));
    Ok(images.collect())
}

fn refusals(home: &Home) -> Result<String> {
    let wrong = [
        ("replicas=two", "replicas"),
        ("replica=2", "replica"),
        ("watchNamespaces={Team_A}", "watchNamespaces"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("log.format=xml", "format"),
        ("metrics.serviceMonitor.interval=soon", "interval"),
        ("crds.install=perhaps", "install"),
    ];
    for (value, named) in wrong {
        match template(home, &[value]) {
            Ok(_) => bail!("{value} passes"),
            Err(error) => {
                let said = format!("{error:#}");
                ensure!(said.contains(named) && said.contains("schema"), "{value}: {said}");
            }
        }
    }
    Ok(format!("{} of them", wrong.len()))
}

fn namespaced(home: &Home) -> Result<String> {
    let objects = template(home, &["crds.install=false", "watchNamespaces={team-a,team-b}"])?;
    for object in &objects {
        ensure!(object["metadata"]["namespace"].is_string(), "{} is in no namespace", kind(object));
    }
    for role in objects.iter().filter(|object| kind(object) == "Role") {
        let useless =
            role["rules"].as_array().into_iter().flatten().find(|rule| bundle::is_of_the_cluster(rule));
        ensure!(useless.is_none(), "a Role grants nothing with {useless:?}: it belongs to clusterRules");
    }
    for namespace in ["team-a", "team-b"] {
        for wanted in ["Role", "RoleBinding"] {
            let there = |o: &&Value| kind(o) == wanted && o["metadata"]["namespace"] == namespace;
            ensure!(objects.iter().any(|o| there(&o)), "no {wanted} in {namespace}");
        }
    }
    let text = serde_json::to_string(&objects)?;
    ensure!(
        text.contains(r#"{"name":"WATCH_NAMESPACE","value":"team-a,team-b"}"#),
        "the operator is not told"
    );
    ensure!(!text.contains("clusterrole"), "a Role speaks of ClusterRoles");
    Ok(String::new())
}

fn options_of_the_chart(home: &Home) -> Result<String> {
    let has = |values: &[&str], wanted: &str, name: &str| -> Result<()> {
        let objects = template(home, values)?;
        let found = objects.iter().any(|o| kind(o) == wanted && o["metadata"]["name"] == name);
        ensure!(found, "{values:?}: no {wanted} {name}");
        Ok(())
    };
    has(&["metrics.serviceMonitor.enabled=true"], "ServiceMonitor", NAME)?;
    has(&["dashboards.enabled=true"], "ConfigMap", "vivace-operator-traces")?;
    has(&["dashboards.enabled=true"], "ConfigMap", "vivace-operator-operator")?;
    has(&["replicas=2"], "PodDisruptionBudget", NAME)?;
    has(&[], "CustomResourceDefinition", "tempostacks.tempo.grafana.com")?;
    let apart = documents(&helm(home, &["template", "crds", CRD_CHART, "--kube-version", "1.36.0"])?)?;
    ensure!(
        apart.len() == CRDS.len() && apart.iter().all(|o| kind(o) == "CustomResourceDefinition"),
        "the chart of definitions"
    );
    ensure!(
        apart.iter().all(|o| o["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"),
        "would go with their chart"
    );
    Ok(String::new())
}

fn kustomized(home: &Home) -> Result<String> {
    let mut kubectl = Command::new(home.bin().join("kubectl"));
    kubectl.args(["kustomize", "deploy/kustomize"]).current_dir(&home.repository);
    let built = documents(&output(&mut kubectl)?)?;
    let single = documents(&fs::read_to_string(home.repository.join("deploy/vivace-operator.yaml"))?)?;
    for object in &single {
        ensure!(
            built.contains(object),
            "kustomize does not build {} {}",
            kind(object),
            object["metadata"]["name"]
        );
    }
    ensure!(built.len() == single.len(), "{} objects, not {}", built.len(), single.len());
    Ok(format!("{} objects", single.len()))
}

/// Names of metrics in the expressions of a dashboard.
fn metrics_of(dashboard: &Value) -> Vec<String> {
    let mut names = Vec::new();
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    for target in panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        let text = target["expr"].as_str().unwrap_or_default();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let prefixes = ["tempo_", "tempodb_", "vivace_", "process_"];
        names.extend(words.filter(|word| prefixes.iter().any(|p| word.starts_with(p))).map(str::to_owned));
    }
    names.sort();
    names.dedup();
    names
}

/// Asks a server that has taken in, flushed and answered something.
fn exposed(home: &Home) -> Result<String> {
    let text = fs::read_to_string(home.repository.join(CHART).join("dashboards/traces.json"))?;
    let names = metrics_of(&serde_json::from_str(&text)?);
    ensure!(names.len() > 20, "only {} names", names.len());
    let folder = tempfile::tempdir()?;
    let server = server::Server::start(&artifacts::vivace(home)?, folder.path())?;
    let client = http::Client::new(Duration::from_secs(20));
    let traces = shop::Shop::new(shop::now()).traces(20, shop::now());
    client.export(&server.otlp, &otlp::request(&traces))?;
    server.flush()?;
    crate::stack::search(&client, &server.api, "{ status = error }", 5)?;
    let mut missing = Vec::new();
    crate::stack::wait(Duration::from_secs(30), "the metrics", || {
        let answer = client.get(&format!("{}/metrics", server.api), &[])?;
        let page = answer.text_whole();
        // with this store and these requests some families have no values: that they are registered is enough
        let is_there = |name: &String| {
            let suffixes = ["_total", "_bucket", "_sum", "_count", ""];
            let mut families = suffixes.iter().filter_map(|suffix| name.strip_suffix(suffix));
            families.any(|family| page.contains(&format!("# TYPE {family} ")))
        };
        missing = names.iter().filter(|name| !is_there(name)).cloned().collect();
        ensure!(missing.is_empty(), "not exposed: {}", missing.join(", "));
        Ok(())
    })?;
    server.stop()?;
    Ok(format!("{} metrics", names.len()))
}

#[cfg(test)]
mod tests;
