//! The table of every field in `docs/operator-fields.md`, from the types.

use std::fmt::Write as _;

use serde_json::Value;

/// Fields and values that Grafana's operator does not have, by name or with the name above.
const OURS: [&str; 17] = [
    "affinity",
    "autoscaling",
    "podMetadata",
    "priorityClassName",
    "topologySpreadConstraints",
    "persistentVolumeClaimRetentionPolicy",
    "service",
    "httpRoute",
    "grpcRoute",
    "ingress.tls",
    "ingestionFrom",
    "queryFrom",
    "metricsFrom",
    "extraIngress",
    "extraEgress",
    "default-chain",
    "pod-identity",
];
/// Where a name of the above is Grafana's after all.
const THEIRS: [&str; 1] = ["TempoMonolithic spec.affinity"];

/// The table, for each definition.
pub fn fields(definitions: &[Value]) -> String {
    let mut text = String::from(
        "# Fields of the operator's resources\n\n\
         Generated from the types by `UPDATE_DOCS=1 cargo test -p vivace-operator --lib fields`; do not edit. A field with a + is not\n\
         Grafana's. Rules in CEL and other checks point at the field that they are about.\n",
    );
    for definition in definitions {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let _ = write!(
            text,
            "\n## {kind}\n\n| field | what it does | default | rule | |\n|---|---|---|---|---|\n"
        );
        let mut rules = Vec::new();
        collect_rules(root, "", &mut rules);
        let spec = &root["properties"]["spec"];
        rows(kind, spec, "spec", &rules, &mut text);
    }
    text
}

/// Rules with the field that each points at.
fn collect_rules(schema: &Value, path: &str, found: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let field = rule["fieldPath"].as_str().unwrap_or_default();
        let message = rule["message"].as_str().unwrap_or_default();
        found.push((format!("{path}{field}"), message.to_owned()));
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_rules(below, &path, found);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        collect_rules(values, &format!("{path}[*]"), found);
    }
}

fn rows(kind: &str, schema: &Value, path: &str, rules: &[(String, String)], text: &mut String) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // Fields of Kubernetes' own types have no words of ours.
        let Some(words) = below["description"].as_str() else { continue };
        let mut limits = limits(below);
        if required.contains(&name.as_str()) {
            limits.insert(0, "required".to_owned());
        }
        limits.extend(rules.iter().filter(|(field, _)| *field == path).map(|(_, message)| message.clone()));
        let default = below.get("default").map(|value| format!("`{}`", value.to_string().trim_matches('"')));
        let full = format!("{kind} {path}");
        let ours = is_ours(&path) && !THEIRS.contains(&full.as_str());
        let cell = |text: &str| text.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{path}` | {} | {} | {} | {} |",
            cell(words),
            cell(&default.unwrap_or_default()),
            cell(&limits.join("; ")),
            if ours { "+" } else { "" },
        );
        rows(kind, below, &path, rules, text);
        rows(kind, &below["items"], &format!("{path}[]"), rules, text);
        rows(kind, &below["additionalProperties"], &format!("{path}[*]"), rules, text);
    }
}

/// Whether a field, or one that it is below of, is not Grafana's.
fn is_ours(path: &str) -> bool {
    let path = format!("{}.", path.replace("[]", "").replace("[*]", ""));
    OURS.iter().any(|ours| path.contains(&format!(".{ours}.")))
}

/// Bounds of a field, in words.
fn limits(schema: &Value) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        let quoted: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        all.push(format!("one of {}", quoted.join(", ")));
    }
    if let Some(least) = schema["minimum"].as_f64().filter(|least| least.abs() < 1e6) {
        all.push(format!("at least {least}"));
    }
    if schema["minLength"] == 1 {
        all.push("not empty".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::api;

    #[test]
    fn the_table_of_fields_in_the_docs_is_what_the_types_say() {
        let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operator-fields.md");
        let made = super::fields(&api::definitions().expect("definitions can be made"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(stored, &made).expect("docs/ can be written");
        }
        let found = std::fs::read_to_string(stored).unwrap_or_default();
        assert!(found == made, "docs/operator-fields.md is stale: run this test with UPDATE_DOCS=1");
    }
}
