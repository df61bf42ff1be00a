//! Checks the rendered configuration, `extraConfig` included, with the very reader of the workload.

use super::{Invalid, Stack};
use crate::build::config::{self, Rendered};

/// Refuses a configuration that the workload would not start with, and adds a warning for each unknown key.
///
/// Where `extraConfig` uses `${…}`, only the pod knows the values: then a value of the wrong form is a warning.
pub(super) fn check(mut stack: Stack) -> Result<Stack, Invalid> {
    if stack.extra_config.is_none() {
        return Ok(stack);
    }
    let Rendered { tempo, .. } = config::render(&stack);
    match vivace_config::load(&tempo, &[]) {
        Ok(loaded) => stack.warnings.extend(loaded.warnings.iter().map(|warning| {
            format!("spec.extraConfig.tempo: unknown key {}, it has no effect", warning.path)
        })),
        Err(error) if tempo.contains("${") => {
            stack.warnings.push(format!("spec.extraConfig.tempo: could not be checked: {error}"));
        }
        Err(error) => return Err(Invalid::spec(format!("spec.extraConfig.tempo: {error}"))),
    }
    Ok(stack)
}
