//! As much of a structural schema as refuses what is recorded: types, required and unknown fields, enums, bounds. The
//! rules in CEL are checked on a real API server.

use serde_json::Value;

/// The first thing that a definition's schema does not let through, as the API server would name it.
pub(super) fn refuses(definition: &Value, object: &Value) -> Option<String> {
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    check(schema, &object["spec"], "spec")
}

fn check(schema: &Value, value: &Value, path: &str) -> Option<String> {
    if value.is_null() || schema["x-kubernetes-preserve-unknown-fields"] == true {
        return None;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pattern = schema["pattern"].as_str().is_some();
        let plain = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        return (pattern && !plain).then(|| format!("{path}: Invalid value: must match the pattern"));
    }
    match schema["type"].as_str().unwrap_or_default() {
        "object" => object(schema, value, path),
        "array" => array(schema, value, path),
        "string" => string(schema, value, path),
        "integer" => integer(schema, value, path),
        "boolean" if !value.is_boolean() => Some(format!("{path}: Invalid value: must be a boolean")),
        _ => None,
    }
}

fn object(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let Some(map) = value.as_object() else {
        return Some(format!("{path}: Invalid value: must be an object"));
    };
    let missing: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|name| map.get(*name).is_none_or(Value::is_null))
        .map(|name| format!("{path}.{name}: Required value"))
        .collect();
    if !missing.is_empty() {
        return Some(missing.join("; "));
    }
    for (key, below) in map {
        let (schema, path) = match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(schema), _) => (schema, format!("{path}.{key}")),
            (None, Some(schema)) => (schema, format!("{path}[{key}]")),
            (None, None) => return Some(format!("strict decoding error: unknown field \"{path}.{key}\"")),
        };
        if let Some(found) = check(schema, below, &path) {
            return Some(found);
        }
    }
    None
}

fn array(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let Some(list) = value.as_array() else {
        return Some(format!("{path}: Invalid value: must be an array"));
    };
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    for (at, element) in list.iter().enumerate() {
        if let Some(found) = check(&schema["items"], element, &format!("{path}[{at}]")) {
            return Some(found);
        }
        let same = |other: &Value| {
            keys.is_some_and(|keys| {
                keys.iter().filter_map(Value::as_str).all(|key| other[key] == element[key])
            })
        };
        if list[..at].iter().any(same) {
            return Some(format!("{path}[{at}]: Duplicate value"));
        }
    }
    None
}

fn string(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let Some(text) = value.as_str() else { return Some(format!("{path}: Invalid value: must be a string")) };
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("{path}: Unsupported value: \"{text}\""));
    }
    let least = schema["minLength"].as_u64().unwrap_or(0);
    (text.chars().count() < least as usize).then(|| format!("{path}: Invalid value: too short"))
}

fn integer(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let Some(number) = value.as_i64() else {
        return Some(format!("{path}: Invalid value: must be an integer"));
    };
    let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
    ((number as f64) < least)
        .then(|| format!("{path}: Invalid value: should be greater than or equal to {least}"))
}
