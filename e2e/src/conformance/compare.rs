//! Holds an answer against a recorded one: order and timing figures aside, everything must agree. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// `None` where the answers agree, else a line that says how they differ.
pub(crate) fn differs(kind: &str, wanted: &Value, status: u16, body: Option<&Value>) -> Option<String> {
    let expected = wanted["status"].as_u64().unwrap_or(0) as u16;
    if expected / 100 != status / 100 || (expected == 404) != (status == 404) {
        return Some(format!("HTTP {status}, not {expected}"));
    }
    if expected != 200 {
        return None;
    }
    let Some(body) = body else { return Some("the answer is no JSON".to_owned()) };
    let (wanted, given) = match (shape(kind, &wanted["body"]), shape(kind, body)) {
        (Ok(wanted), Ok(given)) => (wanted, given),
        (Err(problem), _) | (_, Err(problem)) => {
            return Some(format!("the answer has another shape: {problem}"));
        }
    };
    if close(&wanted, &given) { None } else { Some(explain(&wanted, &given)) }
}

fn explain(wanted: &Value, given: &Value) -> String {
    if let (Value::Object(wanted), Value::Object(given)) = (wanted, given) {
        let lost: Vec<_> = wanted.keys().filter(|k| !given.contains_key(*k)).collect();
        let extra: Vec<_> = given.keys().filter(|k| !wanted.contains_key(*k)).collect();
        if !lost.is_empty() || !extra.is_empty() {
            let first =
                |names: &[&String]| names.iter().take(3).map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
            let counts = format!("{} wanted, {} given", wanted.len(), given.len());
            return format!("{counts}; missing [{}], extra [{}]", first(&lost), first(&extra));
        }
        if let Some((key, wanted)) = wanted.iter().find(|(k, v)| given.get(*k).is_none_or(|g| !close(v, g))) {
            return format!(
                "{key}: wanted {} given {}",
                short(wanted),
                given.get(key).map_or_else(String::new, short)
            );
        }
    }
    format!("wanted {} given {}", short(wanted), short(given))
}

fn short(value: &Value) -> String {
    text(value).chars().take(300).collect()
}

/// What of an answer is compared, in one order.
fn shape(kind: &str, body: &Value) -> Result<Value, String> {
    match kind {
        "trace" => flat_trace(body),
        "metrics" | "instant" => Ok(series(body)),
        "tags" => Ok(tags(body)),
        "values" => Ok(canonical(&body["tagValues"])),
        _ => search(body),
    }
}

/// JSON with sorted keys, whatever order the map keeps.
fn text(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let fields: Vec<_> = sorted.iter().map(|(k, v)| format!("{}:{}", json!(k), text(v))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The value with every list in a fixed order, so that order alone is no difference.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().map(|(k, v)| (k.clone(), canonical(v))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(canonical).collect();
            items.sort_by_cached_key(text);
            items.into()
        }
        other => other.clone(),
    }
}

/// An OTLP value whose array elements keep their order (`canonical` would sort them).
fn ordered_arrays(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("arrayValue") {
            Some(array) => {
                let items: Vec<Value> = list(&array["values"]).iter().map(ordered_arrays).collect();
                json!({ "arrayValue": text(&Value::Array(items)) })
            }
            None => map.iter().map(|(k, v)| (k.clone(), ordered_arrays(v))).collect::<Map<_, _>>().into(),
        },
        Value::Array(items) => items.iter().map(ordered_arrays).collect(),
        other => other.clone(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn or_empty(value: &Value) -> Value {
    if value.is_null() { json!({}) } else { value.clone() }
}

/// A trace as a set of (resource, scope, span), whatever the batching.
fn flat_trace(body: &Value) -> Result<Value, String> {
    let trace = if body["trace"].is_object() { &body["trace"] } else { body };
    let batches = if trace["resourceSpans"].is_array() { &trace["resourceSpans"] } else { &trace["batches"] };
    if !batches.is_null() && !batches.is_array() {
        return Err("resourceSpans is no list".to_owned());
    }
    let mut rows = Vec::new();
    for batch in list(batches) {
        for scope in list(&batch["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                let row = json!({ "resource": or_empty(&batch["resource"]), "scope": or_empty(&scope["scope"]), "span": span });
                rows.push(ordered_arrays(&row));
            }
        }
    }
    Ok(canonical(&Value::Array(rows)))
}

/// The traces of a search by id; a trace that is listed twice is an error.
fn search(body: &Value) -> Result<Value, String> {
    let mut traces = Map::new();
    for trace in list(&body["traces"]) {
        let id = trace["traceID"].as_str().ok_or("a trace without traceID")?.trim_start_matches('0');
        let sets = match (&trace["spanSets"], &trace["spanSet"]) {
            (Value::Array(sets), _) if !sets.is_empty() => sets.clone(),
            (_, Value::Object(set)) => vec![Value::Object(set.clone())],
            _ => Vec::new(),
        };
        let start = match &trace["startTimeUnixNano"] {
            Value::String(text) => text.clone(),
            Value::Null => "0".to_owned(),
            other => other.to_string(),
        };
        let entry = json!({
            "root": [trace["rootServiceName"].as_str().unwrap_or(""), trace["rootTraceName"].as_str().unwrap_or("")],
            "time": [start, trace["durationMs"].as_u64().unwrap_or(0)],
            "serviceStats": or_empty(&trace["serviceStats"]),
            "spanSets": canonical(&sets.iter().map(without_dropped).collect()),
        });
        if traces.insert(id.to_owned(), entry).is_some() {
            return Err(format!("trace {id} is listed twice"));
        }
    }
    Ok(traces.into())
}

fn without_dropped(set: &Value) -> Value {
    let mut set = set.clone();
    if let Some(spans) = set["spans"].as_array_mut() {
        for span in spans.iter_mut().filter_map(Value::as_object_mut) {
            span.remove("dropped");
        }
    }
    set
}

/// Series by their labels, each with its samples that are not zero.
fn series(body: &Value) -> Value {
    let mut out = Map::new();
    for series in list(&body["series"]) {
        let labels: Map<String, Value> = list(&series["labels"])
            .iter()
            .map(|l| (l["key"].as_str().unwrap_or("").to_owned(), l["value"].clone()))
            .collect();
        let mut values = Map::new();
        if let Some(samples) = series["samples"].as_array() {
            for sample in samples.iter().filter(|s| number(&s["value"]) != json!(0.0)) {
                let at = sample["timestampMs"].as_str().unwrap_or("0").to_owned();
                values.insert(at, number(&sample["value"]));
            }
        } else {
            values.insert("value".to_owned(), number(&series["value"]));
        }
        // Tempo itself lists some label sets more than once
        let same = out.entry(text(&Value::Object(labels))).or_insert_with(|| json!([]));
        if let Some(same) = same.as_array_mut() {
            same.push(values.into());
        }
    }
    canonical(&out.into())
}

/// A sample's value: absent is zero, text is a number unless it says NaN or an infinity.
fn number(value: &Value) -> Value {
    match value {
        Value::Null => json!(0.0),
        Value::String(text) => {
            text.parse::<f64>().ok().filter(|n| n.is_finite()).map_or_else(|| value.clone(), |n| json!(n))
        }
        other => other.as_f64().map_or_else(|| other.clone(), |n| json!(n)),
    }
}

fn tags(body: &Value) -> Value {
    if body["scopes"].is_null() {
        return canonical(&body["tagNames"]);
    }
    let scopes = list(&body["scopes"]).iter();
    scopes
        .map(|s| (s["name"].as_str().unwrap_or("").to_owned(), canonical(&s["tags"])))
        .collect::<Map<_, _>>()
        .into()
}

/// Equal, numbers that are not whole to one part in a million.
fn close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| close(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(x, y)| close(x, y)),
        (Value::Number(x), Value::Number(y)) => {
            x == y
                || x.as_f64().zip(y.as_f64()).is_some_and(|(x, y)| {
                    (x - y).abs() <= 1e-6 * x.abs().max(y.abs())
                        && (x.fract() != 0.0 || y.fract() != 0.0 || (x - y).abs() == 0.0)
                })
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::differs;

    #[test]
    fn the_order_of_traces_and_attributes_is_no_difference() {
        let wanted = json!({ "status": 200, "body": { "traces": [
            { "traceID": "0a", "spanSet": { "matched": 1, "spans": [{ "spanID": "1", "attributes": [1, 2] }] } },
            { "traceID": "b" },
        ] } });
        let given = json!({ "traces": [
            { "traceID": "b" },
            { "traceID": "a", "spanSets": [{ "spans": [{ "attributes": [2, 1], "spanID": "1", "dropped": 3 }], "matched": 1 }] },
        ] });
        assert_eq!(differs("search", &wanted, 200, Some(&given)), None);
    }

    #[test]
    fn a_missing_span_an_extra_trace_and_a_trace_listed_twice_are_differences() {
        let wanted = json!({ "status": 200, "body": { "traces": [{ "traceID": "a", "spanSet": { "spans": [{ "spanID": "1" }] } }] } });
        for given in [
            json!({ "traces": [{ "traceID": "a", "spanSet": { "spans": [] } }] }),
            json!({ "traces": [{ "traceID": "a", "spanSet": { "spans": [{ "spanID": "1" }] } }, { "traceID": "b" }] }),
            json!({ "traces": [wanted["body"]["traces"][0], wanted["body"]["traces"][0]] }),
            json!({}),
        ] {
            assert!(differs("search", &wanted, 200, Some(&given)).is_some(), "{given}");
        }
    }

    #[test]
    fn elements_of_an_array_attribute_keep_their_order() {
        let trace = |first: i64, second: i64| {
            let value =
                json!({ "arrayValue": { "values": [{ "intValue": first }, { "intValue": second }] } });
            json!({ "trace": { "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "attributes": [{ "key": "k", "value": value }] }] }] }] } })
        };
        let wanted = json!({ "status": 200, "body": trace(1, 2) });
        assert_eq!(differs("trace", &wanted, 200, Some(&trace(1, 2))), None);
        assert!(differs("trace", &wanted, 200, Some(&trace(2, 1))).is_some());
    }

    #[test]
    fn a_status_of_another_class_is_a_difference_and_404_is_its_own_class() {
        assert_eq!(differs("refused", &json!({ "status": 400 }), 422, None), None);
        assert!(differs("refused", &json!({ "status": 400 }), 404, None).is_some());
        assert!(differs("refused", &json!({ "status": 400 }), 200, None).is_some());
        assert!(differs("trace", &json!({ "status": 404 }), 400, None).is_some());
    }
}
