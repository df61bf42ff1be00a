//! Our objects held against those that Grafana's operator was seen to make (`e2e/data/operator-objects`), without a
//! cluster: every case is read, validated and built, and what comes out is compared as `compare.py` there compares.
//!
//! `RECORDED='ts-zones*' cargo test -p vivace-operator --lib recorded -- --nocapture` shows some cases only, and counts.

mod compare;
mod defaults;
mod project;
mod schema;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize as _;
use serde_json::{Value, json};

use self::compare::{Allowed, Difference};
use crate::{
    api,
    build::{self, Prepared, certificates},
    facts::Facts,
    manifest::{self, Custom, Manifest},
    names::{Identity, Labels},
    platform::{Distribution, Gates, Images, Platform, TlsProfile},
    validate::{self, Invalid},
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/data/operator-objects");

/// A case of either sort.
struct Case {
    name: String,
    folder: PathBuf,
    text: String,
}

impl Case {
    fn all(sort: &str) -> Vec<Self> {
        let wanted = std::env::var("RECORDED").unwrap_or_else(|_| "*".to_owned());
        let mut all: Vec<Self> = std::fs::read_dir(Path::new(DATA).join(sort))
            .expect("the cases are there")
            .map(|entry| entry.expect("the folder can be read"))
            .map(|entry| Self {
                name: entry.file_name().to_string_lossy().into_owned(),
                text: std::fs::read_to_string(entry.path().join("in.yaml")).expect("a case has an input"),
                folder: entry.path(),
            })
            .filter(|case| compare::glob(&wanted, &case.name))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn profile(&self) -> &str {
        self.text.lines().next().and_then(|line| line.strip_prefix("# profile: ")).unwrap_or("default").trim()
    }

    fn platform(&self) -> Platform {
        let image = |name: &str| format!("<default image {name}>");
        let images = Images {
            tempo: image("tempo"),
            tempo_query: image("tempoQuery"),
            jaeger_query: image("jaegerQuery"),
            gateway: image("tempoGateway"),
            opa: image("tempoGatewayOpa"),
            oauth_proxy: image("oauthProxy"),
            operator: image("operator"),
        };
        let (distribution, gates) = match self.profile() {
            "default" => (Distribution::Community, "prometheusOperator,grafanaOperator"),
            "gates-off" => (Distribution::Community, ""),
            "openshift" => (
                Distribution::OpenShift,
                "openshift.route,openshift.servingCertsService,openshift.oauthProxy,openshift.noAuthWarning,\
                 openshift.clusterTLSPolicy,prometheusOperator,grafanaOperator",
            ),
            other => panic!("{}: no such profile: {other}", self.name),
        };
        let gates: Gates = gates.parse().expect("these are gates");
        let mut platform = Platform::of(distribution, &gates, images);
        platform.api_server = vec![("192.0.2.1".parse().expect("an address"), 6443)];
        if distribution == Distribution::OpenShift {
            platform.base_domain = Some("example.org".to_owned());
            platform.tls = TlsProfile::intermediate();
        }
        platform
    }

    fn recorded(&self) -> Vec<Value> {
        let Ok(text) = std::fs::read_to_string(self.folder.join("owned.yaml")) else { return Vec::new() };
        documents(&text)
    }
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("a document is YAML"))
        .filter(|value| !value.is_null())
        .collect()
}

/// What is made of a resource, or why nothing is.
fn made(resource: &Custom, facts: &Facts, platform: &Platform) -> Result<Option<Prepared>, Invalid> {
    match resource {
        Custom::Stack(stack) => {
            let valid = validate::validate(stack, facts, platform)?;
            Ok(validate::is_managed(stack).then(|| build::build(&valid)))
        }
        Custom::Monolithic(monolithic) => {
            let valid = validate::validate_monolithic(monolithic, facts, platform)?;
            Ok(validate::is_managed_monolithic(monolithic).then(|| build::build_monolithic(&valid)))
        }
    }
}

fn is_managed(resource: &Custom) -> bool {
    match resource {
        Custom::Stack(stack) => validate::is_managed(stack),
        Custom::Monolithic(monolithic) => validate::is_managed_monolithic(monolithic),
    }
}

fn identity(resource: &Custom) -> Identity {
    match resource {
        Custom::Stack(stack) => Identity::from(&**stack),
        Custom::Monolithic(monolithic) => Identity::from(&**monolithic),
    }
}

/// Everything that would be in the cluster, certificates included.
fn ours(resource: &Custom, facts: &Facts, platform: &Platform) -> Vec<Value> {
    let mut all: Vec<Value> = match made(resource, facts, platform) {
        Err(_) | Ok(None) => Vec::new(),
        Ok(Some(prepared)) => {
            let ordered = prepared.into_ordered().expect("objects are JSON");
            ordered
                .into_iter()
                .map(|desired| {
                    let mut object = desired.object;
                    object["kind"] = desired.kind.as_str().into();
                    object
                })
                .collect()
        }
    };
    if is_managed(resource) {
        all.extend(certificate_objects(&identity(resource), platform));
    }
    all
}

/// What whoever makes certificates is asked for, as it will stand in the cluster.
fn certificate_objects(identity: &Identity, platform: &Platform) -> Vec<Value> {
    let Some(needed) = certificates::needed(identity, platform) else { return Vec::new() };
    let object = |kind: &str, name: &str, annotations: Labels, data: Value| {
        let mut meta = identity.meta(name.to_owned(), identity.certificate_labels());
        meta.annotations = Some(annotations);
        json!({"kind": kind, "metadata": meta, "data": data, "type": "kubernetes.io/tls"})
    };
    let pair = || json!({"tls.crt": "", "tls.key": ""});
    let mut all = vec![object("Secret", &needed.authority, Labels::new(), pair())];
    all.push(object("ConfigMap", &needed.bundle, Labels::new(), json!({certificates::BUNDLE_KEY: "<PEM>"})));
    for leaf in needed.leaves {
        let mut names = leaf.hostnames;
        names.sort();
        let names = Labels::from([(certificates::HOSTNAMES.to_owned(), names.join(","))]);
        all.push(object("Secret", &leaf.secret, names, pair()));
    }
    all
}

fn label(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{}/{}", text("/kind"), text("/metadata/name"))
}

/// Differences of one case, by object.
fn differences(case: &Case) -> BTreeMap<String, Vec<Difference>> {
    let Manifest { resources, facts } = manifest::read(&case.text).expect("a case can be read");
    let platform = case.platform();
    let resource = resources.last().expect("a case has a resource");
    let with_images = matches!(resource, Custom::Stack(stack) if stack.spec.images.is_some());
    let index = |all: Vec<Value>| -> BTreeMap<String, Value> {
        all.into_iter().map(|object| (label(&object), object)).collect()
    };
    let want = index(case.recorded());
    let got = index(ours(resource, &facts, &platform));
    let names: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
    let mut all = BTreeMap::new();
    for name in names {
        let found = match (want.get(name), got.get(name)) {
            (Some(_), None) => vec![Difference::new("(missing)", "object", "nothing")],
            (None, Some(_)) => vec![Difference::new("(extra)", "nothing", "object")],
            (Some(want), Some(got)) => {
                let images = if with_images { project::Images::Compared } else { project::Images::Ignored };
                let ours = project::of_ours(&defaults::filled_in(got), images);
                compare::differences(&project::of_recorded(want, images), &ours)
            }
            (None, None) => Vec::new(),
        };
        all.insert(name.clone(), found);
    }
    all
}

/// How many units came out how.
#[derive(Default)]
struct Tally(BTreeMap<String, [usize; 2]>);

impl Tally {
    fn add(&mut self, group: String, passed: bool) {
        self.0.entry(group).or_default()[usize::from(!passed)] += 1;
    }

    fn print(&self, what: &str) {
        for (group, [passed, failed]) in &self.0 {
            eprintln!("{what} {group}: {passed} of {} pass", passed + failed);
        }
    }
}

#[test]
fn what_the_peer_was_seen_to_make_is_made_but_for_what_is_allowed() {
    let allowed =
        Allowed::read(&std::fs::read_to_string(format!("{DATA}/allow.txt")).expect("the list is there"));
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for case in Case::all("objects") {
        let kind = if case.text.contains("kind: TempoMonolithic") { "TempoMonolithic" } else { "TempoStack" };
        for (object, found) in differences(&case) {
            let bad: Vec<&Difference> =
                found.iter().filter(|one| !allowed.allows(&case.name, &object, &one.path)).collect();
            tally.add(format!("{} {kind}", case.profile()), bad.is_empty());
            failures.extend(bad.iter().map(|one| format!("{} {object} {one}", case.name)));
        }
    }
    tally.print("objects");
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    if std::env::var_os("RECORDED").is_none() {
        let elsewhere = |line: &String| {
            line.contains(" refusal ") || line.contains(":defaults ") || line.contains(" NetworkPolicy/")
        };
        let stale: Vec<String> = allowed.unused().into_iter().filter(|line| !elsewhere(line)).collect();
        assert!(stale.is_empty(), "allowed and not needed:\n{}", stale.join("\n"));
    }
}

/// Where a case is refused: the fields that the message names.
fn refusal(case: &Case) -> Option<(&'static str, String)> {
    let last = documents(&case.text).pop().expect("a case has a resource");
    let plural = usize::from(last["kind"] != "TempoStack");
    let definition = api::definitions().expect("definitions can be made").swap_remove(plural);
    if let Some(message) = schema::refuses(&definition, &last) {
        return Some(("schema", message));
    }
    let manifest = match manifest::read(&case.text) {
        Err(error) => return Some(("type", format!("{error:?}"))),
        Ok(manifest) => manifest,
    };
    let resource = manifest.resources.last().expect("a case has a resource");
    let platform = case.platform();
    let warnings = match resource {
        Custom::Stack(stack) => {
            validate::validate(stack, &manifest.facts, &platform).map(|stack| stack.common.warnings)
        }
        Custom::Monolithic(monolithic) => {
            validate::validate_monolithic(monolithic, &manifest.facts, &platform)
                .map(|monolith| monolith.common.warnings)
        }
    };
    match warnings {
        Err(invalid) => Some(("condition", invalid.message)),
        Ok(warnings) => (!warnings.is_empty()).then(|| ("warning", warnings.join("; "))),
    }
}

#[test]
fn what_the_peer_was_seen_to_refuse_is_refused_and_by_the_same_field() {
    let allowed =
        Allowed::read(&std::fs::read_to_string(format!("{DATA}/allow.txt")).expect("the list is there"));
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for case in Case::all("refused") {
        let message =
            std::fs::read_to_string(case.folder.join("message.txt")).expect("a refusal has a message");
        // What kubectl prints besides is no part of the refusal.
        let lines: Vec<&str> = message.lines().filter(|line| !line.starts_with("Warning:")).collect();
        let message = lines.join("\n");
        let ours = refusal(&case);
        let accepted = message.starts_with("ACCEPTED");
        let found = match &ours {
            None if accepted => Vec::new(),
            Some(_) if accepted => vec![Difference::new("accepted", "accepted", "refused")],
            None => vec![Difference::new("accepted", "refused", "accepted")],
            Some((_, text)) => compare::differences(
                &json!({"fields": compare::fields(&message)}),
                &json!({"fields": compare::fields(text)}),
            ),
        };
        let bad: Vec<&Difference> =
            found.iter().filter(|one| !allowed.allows(&case.name, "refusal", &one.path)).collect();
        let by = ours.as_ref().map_or("nothing", |(by, _)| by);
        tally.add(format!("{} by {by}", case.profile()), bad.is_empty());
        let text = ours.map(|(_, text)| text).unwrap_or_default();
        failures.extend(
            bad.iter().map(|one| format!("{} {one}\n    recorded: {message}\n    ours: {text}", case.name)),
        );
    }
    tally.print("refusals");
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_comparison_sees_what_it_is_for() {
    let case = Case::all("objects").into_iter().find(|case| case.name == "ts-minimal");
    let Some(case) = case else { return };
    let object = case.recorded().into_iter().find(|object| label(object) == "Deployment/tempo-t1-querier");
    let recorded = object.expect("it is there");
    let seen = |pointer: &str, value: Value| {
        let mut changed = recorded.clone();
        *changed.pointer_mut(pointer).expect("the place is there") = value;
        let of = |object: &Value| project::of_recorded(object, project::Images::Ignored);
        compare::differences(&of(&recorded), &of(&changed))
            .into_iter()
            .map(|one| one.path)
            .collect::<Vec<_>>()
    };
    assert_eq!(seen("/spec/replicas", 2.into()), ["spec.replicas"]);
    assert_eq!(
        seen("/metadata/labels/app.kubernetes.io~1name", "x".into()),
        ["labels.app.kubernetes.io/name"]
    );
    let container = "/spec/template/spec/containers/0";
    assert_eq!(
        seen(&format!("{container}/args/0"), "-target=x".into()),
        ["spec.containers.tempo.args.target"]
    );
    assert_eq!(seen(&format!("{container}/volumeMounts"), json!([])), ["spec.containers.tempo.mounts"]);
    assert_eq!(seen(&format!("{container}/image"), "x".into()), Vec::<String>::new());
}
