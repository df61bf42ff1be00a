//! Checks the rendered configuration, `extraConfig` included, with the very reader of the workload.

use serde_json::Value;

use super::{Invalid, Stack};
use crate::build::config;

/// Refuses a configuration that the workload would not start with, and adds a warning for each unknown key.
pub(super) fn check(mut stack: Stack) -> Result<Stack, Invalid> {
    let Some(extra) = &mut stack.extra_config else { return Ok(stack) };
    let given = extra.clone();
    forget_variables(extra);
    let checked = vivace_config::load(&config::render(&stack).tempo, &[]);
    stack.extra_config = Some(given);
    let loaded = checked.map_err(|error| Invalid::spec(format!("spec.extraConfig.tempo: {error}")))?;
    stack.warnings.extend(
        loaded
            .warnings
            .iter()
            .map(|warning| format!("spec.extraConfig.tempo: unknown key {}, it has no effect", warning.path)),
    );
    Ok(stack)
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
