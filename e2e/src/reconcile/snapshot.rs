//! What a namespace holds, in a form in which two namespaces can be compared: without what the API server gives, and without what has to
//! differ.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::api_server::ApiServer;

/// Where objects of a stack can be, with the prefix of their API.
pub(crate) const KINDS: [(&str, &str); 13] = [
    ("/api/v1", "configmaps"),
    ("/api/v1", "secrets"),
    ("/api/v1", "services"),
    ("/api/v1", "serviceaccounts"),
    ("/apis/apps/v1", "deployments"),
    ("/apis/apps/v1", "statefulsets"),
    ("/apis/networking.k8s.io/v1", "networkpolicies"),
    ("/apis/networking.k8s.io/v1", "ingresses"),
    ("/apis/policy/v1", "poddisruptionbudgets"),
    ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
];

/// On the authorities' bundle, once there was more than one authority.
const EXTENDED: &str = "tempo.grafana.com/ca-bundle-extended-at";

/// Objects by kind and name.
pub(crate) type Snapshot = BTreeMap<String, Value>;

/// Everything in a namespace that a resource owns; `uid` is the resource's.
pub(crate) fn owned(api: &ApiServer, namespace: &str, uid: &str) -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for (prefix, plural) in KINDS {
        let path = format!("{prefix}/namespaces/{namespace}/{plural}");
        let mut list = api.must("GET", &path, None)?;
        let Value::Array(items) = list["items"].take() else { continue };
        for item in items {
            let owners = item["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            if owners.iter().any(|owner| owner["uid"] == uid) {
                let name = item["metadata"]["name"].as_str().context("an object without a name")?;
                all.push((format!("{path}/{name}"), item));
            }
        }
    }
    Ok(all)
}

/// As [`owned`], to be compared.
pub(crate) fn take(api: &ApiServer, namespace: &str, uid: &str) -> Result<Snapshot> {
    let mut all = Snapshot::new();
    for (path, mut object) in owned(api, namespace, uid)? {
        ensure!(object["metadata"]["deletionTimestamp"].is_null(), "{path} is going");
        strip(&mut object);
        let text = object.to_string().replace(uid, "UID").replace(namespace, "NAMESPACE");
        all.insert(path.replace(namespace, "NAMESPACE"), serde_json::from_str(&text)?);
    }
    Ok(all)
}

fn strip(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    map.remove("status");
    map.remove("automountServiceAccountToken"); // a stranger's field of a ServiceAccount, which stays
    if let Some(Value::Object(data)) = map.get_mut("data") {
        unmake(data);
    }
    if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) {
        for given in ["clusterIP", "clusterIPs"] {
            if spec.get(given).is_some_and(|address| *address != "None" && address[0] != "None") {
                spec.remove(given);
            }
        }
    }
    for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
    // Of texts with the namespace's name in them, or salted by the resource's uid.
    if let Some(Value::Object(notes)) = object.pointer_mut("/spec/template/metadata/annotations") {
        for (key, value) in notes {
            if key.rsplit('.').next() == Some("hash") {
                *value = "hash".into();
            }
        }
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        for given in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(given);
        }
        if let Some(Value::Object(notes)) = metadata.get_mut("annotations") {
            // What others wrote into maps of theirs stays, and only some namespaces have it.
            notes.remove("theirs");
            notes.remove(EXTENDED);
            unmake(notes);
            if notes.is_empty() {
                metadata.remove("annotations");
            }
        }
        let records = metadata.remove("managedFields");
        let mut ours = records.as_ref().map_or(Value::Null, ours);
        let notes = ours.pointer_mut("/f:metadata/f:annotations").and_then(Value::as_object_mut);
        if let Some(notes) = notes
            && notes.remove(&format!("f:{EXTENDED}")).is_some()
            && notes.is_empty()
            && let Some(fields) = ours.pointer_mut("/f:metadata").and_then(Value::as_object_mut)
        {
            fields.remove("f:annotations");
        }
        metadata.insert("ours".to_owned(), ours);
    }
}

/// Certificates and their dates are made anew in each namespace; which there are is compared.
fn unmake(data: &mut Map<String, Value>) {
    for (key, value) in data {
        let made = ["tls.crt", "tls.key", "service-ca.crt", "ca.crt"].contains(&key.as_str());
        if made || key.starts_with("tempo.grafana.com/certificate-") {
            *value = "made".into();
        }
    }
}

/// What the operator has applied, by the API server's own record.
fn ours(records: &Value) -> Value {
    let all = records.as_array().into_iter().flatten();
    let mut ours =
        all.filter(|record| record["manager"] == "vivace-operator" && record["subresource"].is_null());
    let applied = ours.find(|record| record["operation"] == "Apply");
    applied.map_or(Value::Null, |record| record["fieldsV1"].clone())
}

/// The first few differences.
pub(crate) fn compare(expected: &Snapshot, found: &Snapshot) -> Result<()> {
    let mut all = Vec::new();
    for path in expected.keys().filter(|path| !found.contains_key(*path)) {
        all.push(format!("{path} is missing"));
    }
    for (path, object) in found {
        match expected.get(path) {
            None => all.push(format!("{path} is too much")),
            Some(wanted) => differences(path, wanted, object, &mut all),
        }
    }
    let more = all.len().saturating_sub(3);
    all.truncate(3);
    ensure!(all.is_empty(), "{} ({more} more)", all.join("; "));
    Ok(())
}

fn differences(place: &str, wanted: &Value, found: &Value, all: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let (wanted, found) =
                    (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differences(&format!("{place} {key}"), wanted, found, all);
            }
        }
        (wanted, found) if wanted == found => {}
        (wanted, found) => {
            let short = |value: &Value| value.to_string().chars().take(160).collect::<String>();
            all.push(format!("{place} is {}, not {}", short(found), short(wanted)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_gives_is_left_out_and_everything_else_is_compared() {
        let object = |uid: &str, port: u16| {
            let mut object = json!({
                "metadata": {"uid": uid, "generation": 2, "labels": {"a": "b"}},
                "spec": {"clusterIP": format!("10.0.0.{port}"), "ports": [{"port": port}]},
            });
            strip(&mut object);
            Snapshot::from([("x".to_owned(), object)])
        };
        assert!(compare(&object("1", 80), &object("2", 80)).is_ok());
        let error = compare(&object("1", 80), &object("1", 81)).unwrap_err().to_string();
        assert!(error.contains("x spec ports is [{\"port\":81}], not [{\"port\":80}]"), "{error}");
        let error = compare(&object("1", 80), &Snapshot::new()).unwrap_err().to_string();
        assert!(error.contains("x is missing"), "{error}");
    }
}
