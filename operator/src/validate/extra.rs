//! Checks the rendered configuration, `extraConfig` included, with the very reader of the workload.

use serde_json::Value;

use super::Invalid;

/// Refuses a configuration that the workload would not start with; gives a warning for each unknown key. `render`
/// makes the file with an extra configuration laid over it.
pub(super) fn check(
    extra: Option<&Value>,
    render: impl Fn(&Value) -> String,
) -> Result<Vec<String>, Invalid> {
    let Some(extra) = extra else { return Ok(Vec::new()) };
    if !extra.is_object() {
        return Err(Invalid::spec("spec.extraConfig.tempo: expected a map, the top level of tempo.yaml"));
    }
    let mut known = extra.clone();
    forget_variables(&mut known);
    let loaded = vivace_config::load(&render(&known), &[])
        .map_err(|error| Invalid::spec(format!("spec.extraConfig.tempo: {error}")))?;
    let unknown = |path: &str| format!("spec.extraConfig.tempo: unknown key {path}, it has no effect");
    Ok(loaded.warnings.iter().map(|warning| unknown(&warning.path)).collect())
}

/// Takes out what holds a `${…}`: only the pod knows the value.
fn forget_variables(tree: &mut Value) {
    let is_variable = |value: &Value| value.as_str().is_some_and(|text| text.contains("${"));
    match tree {
        Value::Object(map) => {
            map.retain(|_, value| !is_variable(value));
            map.values_mut().for_each(forget_variables);
        }
        Value::Array(list) => {
            list.retain(|value| !is_variable(value));
            list.iter_mut().for_each(forget_variables);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
