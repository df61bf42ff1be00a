//! Whether an object in the cluster is what it shall be, so that nothing is written when nothing changed. Pure.
//!
//! Two questions, both answered from the object as the API server gives it, so that a restarted operator knows as
//! much as one that never stopped:
//!
//! * Is everything that we want there? Maps may hold more (defaults, and what others set); lists may not.
//! * Is something there that we set once and no longer want? `metadata.managedFields` says what we set.

use serde_json::{Map, Value};

use crate::{api::Quantity, kind::Kind};

/// Under which name our fields are recorded.
pub(crate) const FIELD_MANAGER: &str = "vivace-operator";

/// The place of the first difference, or `None` when there is nothing to write.
pub(crate) fn difference(kind: Kind, desired: &Value, live: &Value) -> Option<String> {
    let mut path = Vec::new();
    if missing(desired, live, &mut path)
        || surplus_data(kind, desired, live, &mut path)
        || (kind.needs().is_none() && surplus_selector(desired, live, &mut path))
    {
        return Some(path.join("."));
    }
    let Some(ours) = our_fields(live) else {
        return Some("metadata.managedFields".to_owned());
    };
    if has_patch_of_ours(live) {
        return Some("metadata.managedFields".to_owned());
    }
    stale(ours, desired, &mut path).then(|| path.join("."))
}

/// Whether something wanted is not there; `path` then leads to it.
fn missing(desired: &Value, live: &Value, path: &mut Vec<String>) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => missing_key(desired, live, path),
        (Value::Array(desired), Value::Array(live)) => missing_element(desired, live, path),
        (desired, live) => desired != live && !same_quantity(desired, live, path),
    }
}

fn missing_key(desired: &Map<String, Value>, live: &Map<String, Value>, path: &mut Vec<String>) -> bool {
    for (key, wanted) in desired {
        // The lists of one kind come without these two.
        if path.is_empty() && (key == "apiVersion" || key == "kind") {
            continue;
        }
        path.push(key.clone());
        let differs = match live.get(key) {
            None => !is_empty(wanted),
            Some(found) => missing(wanted, found, path),
        };
        if differs {
            return true;
        }
        path.pop();
    }
    false
}

fn missing_element(desired: &[Value], live: &[Value], path: &mut Vec<String>) -> bool {
    if desired.len() != live.len() {
        return true;
    }
    for (at, wanted) in desired.iter().enumerate() {
        // The API server keeps lists of named things in an order of its own.
        let found = counterpart(wanted, at, live);
        path.push(at.to_string());
        if found.is_none_or(|found| missing(wanted, found, path)) {
            return true;
        }
        path.pop();
    }
    false
}

/// The element of the same name, or of the same place where elements have no names.
fn counterpart<'a>(wanted: &Value, at: usize, live: &'a [Value]) -> Option<&'a Value> {
    match key_of(wanted) {
        Some((key, name)) => live.iter().find(|found| found.get(key) == Some(name)),
        None => live.get(at),
    }
}

/// What tells the elements of a list apart, where they have a name.
fn key_of(element: &Value) -> Option<(&'static str, &Value)> {
    ["mountPath", "name", "uid"].into_iter().find_map(|key| Some((key, element.get(key)?)))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The API server writes quantities in its own way: `1.5` becomes `1500m`.
fn same_quantity(desired: &Value, live: &Value, path: &[String]) -> bool {
    let within = |name: &str| path.iter().any(|part| part == name);
    if !(within("resources") || within("sizeLimit")) {
        return false;
    }
    let milli = |value: &Value| value.as_str().and_then(|text| Quantity::from(text).milli());
    milli(desired).is_some() && milli(desired) == milli(live)
}

/// A ConfigMap is ours as a whole: keys that someone added are drift.
fn surplus_data(kind: Kind, desired: &Value, live: &Value, path: &mut Vec<String>) -> bool {
    let extra = (kind == Kind::ConfigMap).then(|| surplus_keys(desired, live).next()).flatten();
    if let Some(key) = extra {
        path.extend(["data".to_owned(), key.clone()]);
        return true;
    }
    false
}

/// What selects is ours as a whole: with a label more, a Service has no pods and a NetworkPolicy lets everything pass. The API
/// server takes these maps as one value, so that an apply puts them right; of kinds that others define nobody knows.
const SELECTORS: [&str; 6] =
    ["selector", "podSelector", "namespaceSelector", "labelSelector", "matchLabels", "nodeSelector"];

fn surplus_selector(desired: &Value, live: &Value, path: &mut Vec<String>) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            let selects = path.last().is_some_and(|key| SELECTORS.contains(&key.as_str()));
            if selects && let Some(key) = live.keys().find(|key| !desired.contains_key(*key)) {
                path.push(key.clone());
                return true;
            }
            desired.iter().any(|(key, wanted)| {
                path.push(key.clone());
                let is_more = live.get(key).is_some_and(|found| surplus_selector(wanted, found, path));
                if !is_more {
                    path.pop();
                }
                is_more
            })
        }
        (Value::Array(desired), Value::Array(live)) => desired.iter().enumerate().any(|(at, wanted)| {
            path.push(at.to_string());
            let is_more =
                counterpart(wanted, at, live).is_some_and(|found| surplus_selector(wanted, found, path));
            if !is_more {
                path.pop();
            }
            is_more
        }),
        _ => false,
    }
}

/// Keys of a ConfigMap's data that are not wanted. One that we make without data is there for others to fill.
pub(crate) fn surplus_keys<'a>(desired: &'a Value, live: &'a Value) -> impl Iterator<Item = &'a String> {
    let found = live.get("data").filter(|_| desired["data"].is_object()).and_then(Value::as_object);
    found.into_iter().flatten().map(|(key, _)| key).filter(move |key| desired["data"].get(key).is_none())
}

/// Whether some list holds more than it should, and would after a server-side apply: that takes away only what is ours.
pub(crate) fn has_surplus(desired: &Value, live: &Value) -> bool {
    exceeds(desired, live, our_fields(live))
}

fn exceeds(desired: &Value, live: &Value, ours: Option<&Value>) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().any(|(key, wanted)| {
            let below = ours.and_then(|fields| fields.get(format!("f:{key}")));
            live.get(key).is_some_and(|found| exceeds(wanted, found, below))
        }),
        // A list without keys is replaced as a whole.
        (Value::Array(_), Value::Array(_)) if ours.and_then(Value::as_object).is_some_and(Map::is_empty) => {
            false
        }
        (Value::Array(desired), Value::Array(live)) => {
            let record = |element: &Value| {
                let fields = ours.and_then(Value::as_object);
                fields.into_iter().flatten().find(|(key, _)| names(key, element)).map(|(_, below)| below)
            };
            let wanted = desired.iter().enumerate().filter_map(|(at, wanted)| counterpart(wanted, at, live));
            let wanted: Vec<&Value> = wanted.collect();
            let is_wanted = |found: &Value| wanted.iter().any(|wanted| std::ptr::eq(*wanted, found));
            let goes = |found: &&Value| !is_wanted(found) && record(found).is_some();
            live.len() - live.iter().filter(goes).count() > desired.len()
                || desired.iter().enumerate().any(|(at, wanted)| {
                    counterpart(wanted, at, live).is_some_and(|found| exceeds(wanted, found, record(found)))
                })
        }
        _ => false,
    }
}

/// Whether we have ever applied the object.
pub(crate) fn is_new_to_us(live: &Value) -> bool {
    our_fields(live).is_none()
}

/// Whether a merge patch of ours is still on record: it was the last that could be done, and not all that we want is recorded
/// as applied.
pub(crate) fn has_patch_of_ours(live: &Value) -> bool {
    let all = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    all.into_iter().flatten().any(|entry| {
        entry["manager"] == FIELD_MANAGER
            && entry["operation"] == "Update"
            && entry.get("subresource").is_none_or(|part| part == "")
    })
}

/// The records of who set what that are to stay after a merge patch and an apply of ours, or `None` when all of them are.
///
/// Our own record of the merge patch goes, since what it holds could not be given up by a later apply. When the
/// object was someone else's before, their records go too, but for those of subresources (status, scale).
pub(crate) fn records_to_keep(live: &Value, was_new_to_us: bool) -> Option<Vec<Value>> {
    let all = live.pointer("/metadata/managedFields")?.as_array()?;
    let stays = |entry: &&Value| {
        let of_subresource = entry.get("subresource").is_some_and(|part| part != "");
        let ours = entry["manager"] == FIELD_MANAGER;
        of_subresource || (ours && entry["operation"] == "Apply") || (!ours && !was_new_to_us)
    };
    let kept: Vec<Value> = all.iter().filter(stays).cloned().collect();
    // Without any record, the API server would make one up that holds everything.
    (!kept.is_empty() && kept.len() < all.len()).then_some(kept)
}

/// What we applied last, in the form of `FieldsV1`.
///
/// Format: <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>.
fn our_fields(live: &Value) -> Option<&Value> {
    let managers = live.pointer("/metadata/managedFields")?.as_array()?;
    let ours = managers.iter().find(|entry| {
        entry["manager"] == FIELD_MANAGER
            && entry["operation"] == "Apply"
            && entry.get("subresource").is_none_or(|part| part == "")
    })?;
    ours.get("fieldsV1")
}

/// What we applied last, as the object holds it now. `None` for an object that we never applied.
pub(crate) fn applied(live: &Value) -> Option<Value> {
    Some(part(live, our_fields(live)?))
}

/// The part of a value that a record of fields names. Where it names nothing below, it means all of it.
fn part(value: &Value, fields: &Value) -> Value {
    let named = fields.as_object().filter(|fields| fields.keys().any(|key| key != "."));
    let Some(named) = named else { return value.clone() };
    match value {
        Value::Object(map) => {
            let field = |(key, below): (&String, &Value)| {
                let name = key.strip_prefix("f:")?;
                Some((name.to_owned(), part(map.get(name)?, below)))
            };
            Value::Object(named.iter().filter_map(field).collect())
        }
        Value::Array(list) => {
            let element = |element: &Value| {
                let (_, below) = named.iter().find(|(key, _)| names(key, element))?;
                Some(part(element, below))
            };
            Value::Array(list.iter().filter_map(element).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Whether a key of a record means this element: by what it holds, or by what it is.
fn names(key: &str, element: &Value) -> bool {
    if let Some(keys) = key.strip_prefix("k:") {
        let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
        return !keys.is_empty() && has(element, &keys);
    }
    key.strip_prefix("v:").and_then(|text| serde_json::from_str::<Value>(text).ok()).as_ref() == Some(element)
}

fn has(element: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter().all(|(key, value)| element.get(key) == Some(value))
}

/// Whether we own something that is no longer wanted; `path` then leads to it.
fn stale(ours: &Value, desired: &Value, path: &mut Vec<String>) -> bool {
    let Some(fields) = ours.as_object() else { return false };
    for (key, below) in fields {
        let wanted = if let Some(name) = key.strip_prefix("f:") {
            path.push(name.to_owned());
            desired.get(name)
        } else if let Some(keys) = key.strip_prefix("k:") {
            path.push(keys.to_owned());
            element_with(desired, keys)
        } else {
            continue;
        };
        if wanted.is_none_or(|wanted| stale(below, wanted, path)) {
            return true;
        }
        path.pop();
    }
    false
}

/// The element of a list that has these values, `{"name":"tempo"}`.
fn element_with<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
    list.as_array()?.iter().find(|element| has(element, &keys))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn desired() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "labels": {"a": "1"}},
            "spec": {
                "replicas": 2,
                "template": {"spec": {"containers": [{
                    "name": "tempo",
                    "args": ["-x"],
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "resources": {"limits": {"cpu": "1.5"}},
                }]}},
            },
        })
    }

    fn live() -> Value {
        json!({
            "metadata": {
                "name": "d", "uid": "u", "labels": {"a": "1", "theirs": "x"},
                "managedFields": [{
                    "manager": FIELD_MANAGER, "operation": "Apply",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:a": {}}},
                        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                            "k:{\"name\":\"tempo\"}": {
                                ".": {}, "f:name": {}, "f:args": {},
                                "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}},
                            },
                        }}}},
                    },
                }],
            },
            "spec": {
                "replicas": 2, "revisionHistoryLimit": 10,
                "template": {
                    "metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}},
                    "spec": {"restartPolicy": "Always", "containers": [{
                        "name": "tempo", "args": ["-x"], "imagePullPolicy": "IfNotPresent",
                        "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
                        "resources": {"limits": {"cpu": "1500m"}},
                    }]},
                },
            },
        })
    }

    fn changed(pointer: &str, value: Value) -> Option<String> {
        let mut live = live();
        *live.pointer_mut(pointer).expect("the place is there") = value;
        difference(Kind::Deployment, &desired(), &live)
    }

    #[test]
    fn defaults_other_order_other_spelling_and_what_others_added_to_maps_are_no_difference() {
        assert_eq!(difference(Kind::Deployment, &desired(), &live()), None);
    }

    #[test]
    fn a_changed_value_is_a_difference_and_is_named() {
        assert_eq!(changed("/spec/replicas", json!(3)), Some("spec.replicas".to_owned()));
        assert_eq!(
            changed("/spec/template/spec/containers/0/args", json!(["-y"])),
            Some("spec.template.spec.containers.0.args.0".to_owned())
        );
    }

    #[test]
    fn an_element_that_someone_added_to_a_list_is_a_difference() {
        let more = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C"}]);
        assert_eq!(
            changed("/spec/template/spec/containers/0/env", more),
            Some("spec.template.spec.containers.0.env".to_owned())
        );
    }

    #[test]
    fn a_field_that_we_set_once_and_no_longer_want_is_a_difference() {
        let mut without = desired();
        without["spec"].as_object_mut().expect("a map").remove("replicas");
        assert_eq!(difference(Kind::Deployment, &without, &live()), Some("spec.replicas".to_owned()));
        let mut without = desired();
        without["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        let mut live = live();
        live["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        assert!(difference(Kind::Deployment, &without, &live).is_some());
    }

    #[test]
    fn an_object_that_we_never_applied_is_taken_over() {
        assert_eq!(
            changed("/metadata/managedFields/0/manager", json!("manager")),
            Some("metadata.managedFields".to_owned())
        );
    }

    #[test]
    fn what_we_applied_last_is_what_our_record_names_and_nothing_that_others_set() {
        let ours = applied(&live()).expect("we applied it");
        let container = json!({"name": "tempo", "args": ["-x"], "env": [{"name": "A", "value": "1"}]});
        let template = json!({"spec": {"containers": [container]}});
        assert_eq!(
            ours,
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 2, "template": template}})
        );
        assert_eq!(applied(&json!({"spec": {"replicas": 2}})), None);
        let set = json!({"finalizers": ["ours", "theirs"]});
        let fields = json!({"f:finalizers": {".": {}, "v:\"ours\"": {}}});
        assert_eq!(part(&set, &fields), json!({"finalizers": ["ours"]}));
    }

    #[test]
    fn a_patch_of_ours_that_was_not_followed_by_an_apply_is_a_difference() {
        let mut broken_off = live();
        let patch = json!({"manager": FIELD_MANAGER, "operation": "Update", "fieldsV1": {"f:spec": {}}});
        broken_off["metadata"]["managedFields"].as_array_mut().expect("records").push(patch);
        assert_eq!(
            difference(Kind::Deployment, &desired(), &broken_off),
            Some("metadata.managedFields".to_owned())
        );
    }

    #[test]
    fn a_key_that_someone_added_to_a_config_map_is_a_difference() {
        let desired = json!({"data": {"tempo.yaml": "x"}});
        let live = json!({"data": {"tempo.yaml": "x", "broken": "true"}});
        assert_eq!(difference(Kind::ConfigMap, &desired, &live), Some("data.broken".to_owned()));
    }

    #[test]
    fn a_label_that_someone_added_to_a_selector_is_a_difference_but_not_one_on_an_object() {
        let policy = |labels: Value| {
            json!({"spec": {"podSelector": {"matchLabels": labels}, "ingress": [
                {"from": [{"podSelector": {}}]},
            ]}})
        };
        let (desired, wider) = (policy(json!({"a": "1"})), policy(json!({"a": "1", "b": "2"})));
        assert_eq!(
            difference(Kind::NetworkPolicy, &desired, &wider),
            Some("spec.podSelector.matchLabels.b".to_owned())
        );
        let mut closed = desired.clone();
        closed["spec"]["ingress"][0]["from"][0]["podSelector"] = json!({"matchLabels": {"b": "2"}});
        assert_eq!(
            difference(Kind::NetworkPolicy, &desired, &closed),
            Some("spec.ingress.0.from.0.podSelector.matchLabels".to_owned())
        );
        let service =
            |selector: Value| json!({"metadata": {"labels": selector}, "spec": {"selector": selector}});
        let (desired, wider) = (service(json!({"a": "1"})), service(json!({"a": "1", "b": "2"})));
        assert_eq!(difference(Kind::Service, &desired, &wider), Some("spec.selector.b".to_owned()));
    }

    #[test]
    fn defect_0_what_somebody_changed_in_kinds_without_a_generation_and_in_policies_is_a_difference() {
        let records = json!([{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}]);
        for (kind, ours, theirs) in [
            (Kind::ConfigMap, json!({"data": {"tempo.yaml": "a"}}), json!({"data": {"tempo.yaml": "b"}})),
            (Kind::Secret, json!({"data": {"x": "YQ=="}}), json!({"data": {"x": "Yg=="}})),
            (
                Kind::Service,
                json!({"spec": {"ports": [{"port": 1}]}}),
                json!({"spec": {"ports": [{"port": 2}]}}),
            ),
            (
                Kind::Role,
                json!({"rules": [{"verbs": ["get"]}]}),
                json!({"rules": [{"verbs": ["get", "list"]}]}),
            ),
            (Kind::RoleBinding, json!({"subjects": [{"name": "a"}]}), json!({"subjects": [{"name": "b"}]})),
            (
                Kind::ServiceAccount,
                json!({"metadata": {"annotations": {"a": "b"}}}),
                json!({"metadata": {"annotations": {"a": "c"}}}),
            ),
            (
                Kind::NetworkPolicy,
                json!({"spec": {"ingress": [{"ports": [{"port": 1}]}]}}),
                json!({"spec": {"ingress": [{"ports": [{"port": 1}]}, {}]}}),
            ),
        ] {
            let with_records = |object: &Value| {
                let mut object = object.clone();
                object["metadata"]["managedFields"] = records.clone();
                object
            };
            assert_eq!(difference(kind, &ours, &with_records(&ours)), None, "{}", kind.as_str());
            assert!(difference(kind, &ours, &with_records(&theirs)).is_some(), "{}", kind.as_str());
        }
    }

    #[test]
    fn defect_2_an_annotation_of_an_account_that_is_no_longer_wanted_is_given_up_and_others_stay() {
        let desired = json!({"metadata": {"name": "tempo-s"}});
        let live = |ours: Value| {
            json!({"metadata": {
                "name": "tempo-s", "annotations": {"eks.amazonaws.com/role-arn": "arn", "theirs": "x"},
                "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {
                    "f:metadata": {"f:annotations": ours},
                }}],
            }})
        };
        let applied = live(json!({"f:eks.amazonaws.com/role-arn": {}}));
        assert_eq!(
            difference(Kind::ServiceAccount, &desired, &applied),
            Some("metadata.annotations".to_owned())
        );
        let mut wanted = desired;
        wanted["metadata"]["annotations"] = json!({"eks.amazonaws.com/role-arn": "arn"});
        assert_eq!(difference(Kind::ServiceAccount, &wanted, &applied), None);
    }

    #[test]
    fn defect_2_another_class_of_an_ingress_and_another_role_of_a_binding_are_differences() {
        let of = |path: &str, name: &str| match path {
            "ingressClassName" => json!({"spec": {"ingressClassName": name}}),
            _ => json!({"roleRef": {"kind": "Role", "name": name}}),
        };
        for (kind, path) in [(Kind::Ingress, "ingressClassName"), (Kind::RoleBinding, "roleRef")] {
            assert!(
                difference(kind, &of(path, "a"), &of(path, "b")).is_some_and(|place| place.contains(path))
            );
        }
    }

    #[test]
    fn a_config_map_that_others_fill_is_left_to_them() {
        let desired = json!({"metadata": {"annotations": {"inject": "true"}}});
        let live =
            json!({"metadata": {"annotations": {"inject": "true"}}, "data": {"service-ca.crt": "PEM"}});
        assert_eq!(surplus_keys(&desired, &live).count(), 0);
    }

    #[test]
    fn a_surplus_in_a_list_is_seen_however_deep_it_is() {
        assert!(!has_surplus(&desired(), &live()));
        let mut more = live();
        more["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"name": "C"}));
        assert!(has_surplus(&desired(), &more));
    }

    #[test]
    fn what_is_ours_and_no_longer_wanted_is_no_surplus_since_an_apply_takes_it_away() {
        let mut without = desired();
        without["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "B", "value": "2"}]);
        assert!(!has_surplus(&without, &live()), "A is ours");
        without["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
        assert!(has_surplus(&without, &live()), "B is someone else's");
        let mut live = live();
        live["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["-x", "-y"]);
        assert!(!has_surplus(&desired(), &live), "arguments are one value, and ours");
    }

    #[test]
    fn the_record_of_our_own_merge_patch_goes_and_on_a_takeover_everyone_s_but_of_subresources() {
        let entry = |manager: &str, operation: &str, subresource: &str| json!({"manager": manager, "operation": operation, "subresource": subresource});
        let apply = entry(FIELD_MANAGER, "Apply", "");
        let patch = entry(FIELD_MANAGER, "Update", "");
        let theirs = entry("manager", "Update", "");
        let scale = entry("hpa", "Update", "scale");
        let live = |entries: &[&Value]| json!({"metadata": {"managedFields": entries}});
        let all = live(&[&apply, &patch, &theirs, &scale]);
        assert_eq!(records_to_keep(&all, false), Some(vec![apply.clone(), theirs.clone(), scale.clone()]));
        assert_eq!(records_to_keep(&all, true), Some(vec![apply.clone(), scale]));
        assert_eq!(records_to_keep(&live(&[&apply, &theirs]), false), None);
        assert_eq!(records_to_keep(&live(&[&theirs]), true), None);
    }
}
