//! What users and tools depend on in an object, in a form in which order counts only where it matters.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};
use vivace_config::Duration;

use crate::api::Quantity;

/// Whether images are looked at: only where the case sets some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Images {
    Compared,
    Ignored,
}

/// Of an object that was recorded.
pub(super) fn of_recorded(object: &Value, images: Images) -> Value {
    project(object, images, &|text| text.to_owned())
}

/// Of one of ours, in which secrets are encoded and addresses are real.
pub(super) fn of_ours(object: &Value, images: Images) -> Value {
    let mut object = object.clone();
    if object["kind"] == "Secret" {
        for value in object["data"].as_object_mut().into_iter().flat_map(Map::values_mut) {
            let bytes: ByteString = serde_json::from_value(value.clone()).unwrap_or_default();
            *value = String::from_utf8_lossy(&bytes.0).into_owned().into();
            if value == "" {
                *value = "<PEM>".into();
            }
        }
    }
    project(&object, images, &|text| text.replace("192.0.2.1/32", "<apiserver>/32"))
}

type Reword<'a> = &'a dyn Fn(&str) -> String;

fn project(object: &Value, images: Images, reword: Reword<'_>) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let meta = &object["metadata"];
    let owner = |owner: &Value| {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        format!("{}/{} controller={}", text("kind"), text("name"), owner["controller"])
    };
    let owners: Vec<String> = list(&meta["ownerReferences"]).map(owner).collect();
    let mut all = json!({
        "labels": meta["labels"], "annotations": public(&meta["annotations"]), "owner": owners,
    });
    let spec = &object["spec"];
    match kind {
        "Deployment" | "StatefulSet" => all["spec"] = workload(kind, spec, images),
        "Service" => all["spec"] = service(spec),
        "ConfigMap" | "Secret" => {
            all["keys"] = object["data"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
            all["data"] = data(&object["data"]);
            if kind == "Secret" {
                all["type"] = object["type"].clone();
            }
        }
        "NetworkPolicy" => all["spec"] = policy(spec, reword),
        "Role" | "ClusterRole" => all["rules"] = rules(&object["rules"]),
        "RoleBinding" | "ClusterRoleBinding" => {
            all["roleRef"] = object["roleRef"].clone();
            all["subjects"] = object["subjects"].clone();
        }
        "ServiceAccount" => {}
        _ => all["spec"] = canon(spec),
    }
    all
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Annotations without the bookkeeping of either operator.
fn public(annotations: &Value) -> Value {
    let is_internal = |key: &str| {
        let name = key.rsplit('/').next().unwrap_or(key);
        name.starts_with("cert-hash-")
            || ["certificate-not-before", "certificate-not-after", "certificate-issuer"].contains(&name)
            || name.to_lowercase().ends_with("hash")
    };
    let kept = annotations.as_object().into_iter().flatten().filter(|(key, _)| !is_internal(key));
    Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn data(data: &Value) -> Value {
    let parsed = |(key, value): (&String, &Value)| {
        let text = value.as_str().unwrap_or_default();
        let read =
            if key.rsplit('.').next() == Some("yaml") { serde_yaml::from_str(text).ok() } else { None };
        (key.clone(), canon(&read.unwrap_or_else(|| value.clone())))
    };
    Value::Object(data.as_object().into_iter().flatten().map(parsed).collect())
}

/// Without what is nothing, durations by their length, cookies by there being one.
fn canon(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            let cookie = |(key, value): (&String, &Value)| {
                let value = if key == "cookieSecret" { "<random>".into() } else { canon(value) };
                (key.clone(), value)
            };
            Value::Object(kept.map(cookie).collect())
        }
        Value::Array(list) => list.iter().map(canon).collect(),
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            text.parse::<Duration>().map_or_else(|_| value.clone(), |length| length.to_string().into())
        }
        other => other.clone(),
    }
}

fn service(spec: &Value) -> Value {
    let port = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{} {}->{}/{protocol}", text(&port["name"]), port["port"], text(&port["targetPort"]))
    };
    json!({
        "type": spec["type"].as_str().unwrap_or("ClusterIP"),
        "headless": spec["clusterIP"] == "None",
        "publishNotReady": spec["publishNotReadyAddresses"] == true,
        "selector": spec["selector"],
        "ports": list(&spec["ports"]).map(port).collect::<Vec<_>>(),
    })
}

/// Every pair of a port and a peer that is let through; how they are grouped does not matter. What we let through
/// beyond the peer is left out: the other family of addresses, name servers that are no pods, Prometheus' own pods.
fn policy(spec: &Value, reword: Reword<'_>) -> Value {
    let beyond = |pair: &String| {
        pair.contains("::/0")
            || (pair.starts_with("53/") && pair.contains("0.0.0.0/0"))
            || pair.contains(r#""app.kubernetes.io/name":"prometheus""#)
    };
    let pairs = |direction: &str, side: &str| -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for rule in list(&spec[direction]) {
            let ports: Vec<String> = list(&rule["ports"])
                .map(|port| format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP")))
                .collect();
            let ports = if ports.is_empty() { vec!["any port".to_owned()] } else { ports };
            let peers: Vec<String> = list(&rule[side]).map(|peer| reword(&peer.to_string())).collect();
            let peers = if peers.is_empty() { vec!["anyone".to_owned()] } else { peers };
            all.extend(
                ports.iter().flat_map(|port| peers.iter().map(move |peer| format!("{port} {side} {peer}"))),
            );
        }
        // A port that is open to someone to whom all ports are says nothing.
        let covered = |pair: &String| {
            let peer =
                pair.split_once(&format!(" {side} ")).map(|(_, peer)| format!("any port {side} {peer}"));
            peer.is_some_and(|all_ports| *pair != all_ports && all.contains(&all_ports))
        };
        all.iter().filter(|pair| !beyond(pair) && !covered(pair)).cloned().collect()
    };
    let types: BTreeSet<&str> = list(&spec["policyTypes"]).filter_map(Value::as_str).collect();
    json!({
        "podSelector": spec["podSelector"],
        "policyTypes": types,
        "ingress": pairs("ingress", "from"),
        "egress": pairs("egress", "to"),
    })
}

fn rules(rules: &Value) -> Value {
    let mut all = BTreeSet::new();
    for rule in list(rules) {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                all.extend(list(&rule["verbs"]).map(|verb| format!("{group} {resource} {verb}")));
            }
        }
    }
    json!(all)
}

fn by_name(all: &Value, images: Images) -> Value {
    let named = |one: &Value| (one["name"].as_str().unwrap_or_default().to_owned(), container(one, images));
    Value::Object(list(all).map(named).collect())
}

fn workload(kind: &str, spec: &Value, images: Images) -> Value {
    let pod = &spec["template"]["spec"];
    let meta = &spec["template"]["metadata"];
    let strategy = if spec["strategy"].is_null() { &spec["updateStrategy"] } else { &spec["strategy"] };
    let order: Vec<&Value> = list(&pod["containers"]).map(|container| &container["name"]).collect();
    let mut all = json!({
        "replicas": spec["replicas"],
        "selector": spec["selector"],
        "podLabels": meta["labels"],
        "podAnnotations": public(&meta["annotations"]),
        "serviceAccount": pod["serviceAccountName"],
        "nodeSelector": pod["nodeSelector"],
        "tolerations": pod["tolerations"],
        "affinity": pod["affinity"],
        "securityContext": pod["securityContext"],
        "topologySpread": pod["topologySpreadConstraints"],
        "volumes": list(&pod["volumes"]).map(volume).collect::<Vec<_>>(),
        "containers": by_name(&pod["containers"], images),
        "containerOrder": order,
        "initContainers": by_name(&pod["initContainers"], images),
        "terminationGracePeriodSeconds": pod["terminationGracePeriodSeconds"],
        "strategy": strategy,
        "priorityClassName": pod["priorityClassName"],
    });
    if kind == "StatefulSet" {
        let claim = |claim: &Value| {
            let spec = &claim["spec"];
            let shape = json!({
                "accessModes": spec["accessModes"],
                "storage": amount(&spec["resources"]["requests"]["storage"]),
                "storageClass": spec["storageClassName"],
            });
            (claim["metadata"]["name"].as_str().unwrap_or_default().to_owned(), shape)
        };
        all["podManagementPolicy"] = spec["podManagementPolicy"].clone();
        all["serviceName"] = spec["serviceName"].clone();
        all["retention"] = spec["persistentVolumeClaimRetentionPolicy"].clone();
        all["claims"] = Value::Object(list(&spec["volumeClaimTemplates"]).map(claim).collect());
    }
    all
}

fn volume(volume: &Value) -> Value {
    let mut volume = volume.clone();
    for source in ["secret", "configMap", "projected"] {
        if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
            source.remove("defaultMode");
        }
    }
    volume
}

/// A quantity by its value.
fn amount(quantity: &Value) -> Value {
    let text = quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned);
    Quantity::from(text.as_str()).milli().map_or_else(|| quantity.clone(), Value::from)
}

fn resources(resources: &Value) -> Value {
    let amounts = |part: &Value| -> Value {
        let all = part.as_object().into_iter().flatten();
        Value::Object(all.map(|(name, quantity)| (name.clone(), amount(quantity))).collect())
    };
    json!({"limits": amounts(&resources["limits"]), "requests": amounts(&resources["requests"])})
}

fn container(container: &Value, images: Images) -> Value {
    let mut args: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for arg in list(&container["args"]).filter_map(Value::as_str) {
        let (key, value) =
            arg.trim_start_matches('-').split_once('=').unwrap_or((arg.trim_start_matches('-'), ""));
        args.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    let variable = |one: &Value| {
        let value = if one["valueFrom"].is_null() { &one["value"] } else { &one["valueFrom"] };
        (one["name"].as_str().unwrap_or_default().to_owned(), value.clone())
    };
    let port = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        format!("{}:{}/{protocol}", port["name"].as_str().unwrap_or_default(), port["containerPort"])
    };
    let mount = |mount: &Value| {
        let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
        let read_only = if mount["readOnly"] == true { "ro" } else { "" };
        [text("name"), text("mountPath"), text("subPath"), read_only.to_owned()].join(" ")
    };
    let mut all = json!({
        "args": args.into_iter().map(|(key, values)| (key, one_or_all(&values))).collect::<Map<_, _>>(),
        "command": container["command"],
        "env": list(&container["env"]).map(variable).collect::<Map<_, _>>(),
        "envFrom": container["envFrom"],
        "ports": list(&container["ports"]).map(port).collect::<Vec<_>>(),
        "mounts": list(&container["volumeMounts"]).map(mount).collect::<Vec<_>>(),
        "readiness": probe(&container["readinessProbe"]),
        "liveness": probe(&container["livenessProbe"]),
        "startup": probe(&container["startupProbe"]),
        "resources": resources(&container["resources"]),
        "securityContext": container["securityContext"],
    });
    if images == Images::Compared {
        all["image"] = container["image"].clone();
    }
    all
}

fn one_or_all(values: &[String]) -> Value {
    match values {
        [one] => one.clone().into(),
        all => json!(all),
    }
}

fn probe(probe: &Value) -> Value {
    if probe.is_null() {
        return Value::Null;
    }
    let ports = [&probe["httpGet"]["port"], &probe["tcpSocket"]["port"], &probe["grpc"]["port"]];
    json!({
        "path": probe["httpGet"]["path"],
        "port": ports.into_iter().find(|port| !port.is_null()),
        "scheme": probe["httpGet"]["scheme"],
        "initialDelaySeconds": probe["initialDelaySeconds"],
    })
}
