//! Limits for all tenants, in `tempo.yaml`, and for one, in a file that is read again while the workloads run.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vivace_config::Duration;

use super::{OVERRIDES_KEY, map, text};
use crate::validate::{Stack, TenantOverrides};

/// The flat notation, which every supported version reads; `None` where there is nothing to say.
pub(super) fn global(stack: &Stack) -> Option<Value> {
    let limits = &stack.limits;
    let processors = stack.generator.as_ref().map(|generator| generator.processors.clone().into());
    let tree = map([
        ("ingestion_burst_size_bytes", limits.burst_bytes.map(Value::from)),
        ("ingestion_rate_limit_bytes", limits.rate_bytes.map(Value::from)),
        ("max_bytes_per_trace", limits.bytes_per_trace.map(Value::from)),
        ("max_traces_per_user", limits.traces_per_user.map(Value::from)),
        ("max_bytes_per_tag_values_query", limits.bytes_per_tag_values.map(Value::from)),
        ("max_search_duration", limits.search_duration.map(text)),
        ("metrics_generator_processors", processors),
        (
            "per_tenant_override_config",
            (!stack.tenants.is_empty()).then(|| format!("/conf/{OVERRIDES_KEY}").into()),
        ),
    ]);
    some(tree)
}

/// The file.
pub(super) fn file(stack: &Stack) -> Value {
    if stack.tenants.is_empty() {
        return json!({"overrides": null});
    }
    let tenants: BTreeMap<&str, Value> =
        stack.tenants.iter().map(|(tenant, set)| (tenant.as_str(), tenant_limits(set))).collect();
    json!({"overrides": tenants})
}

/// The scoped notation.
fn tenant_limits(set: &TenantOverrides) -> Value {
    let limits = &set.limits;
    let retention: Option<Duration> = set.retention;
    map([
        (
            "ingestion",
            some(map([
                ("burst_size_bytes", limits.burst_bytes.map(Value::from)),
                ("rate_limit_bytes", limits.rate_bytes.map(Value::from)),
                ("max_traces_per_user", limits.traces_per_user.map(Value::from)),
                ("max_bytes_per_trace", limits.bytes_per_trace.map(Value::from)),
            ])),
        ),
        (
            "read",
            some(map([
                ("max_bytes_per_tag_values_query", limits.bytes_per_tag_values.map(Value::from)),
                ("max_search_duration", limits.search_duration.map(text)),
            ])),
        ),
        ("compaction", some(map([("block_retention", retention.map(text))]))),
    ])
}

fn some(tree: Value) -> Option<Value> {
    Some(tree).filter(|tree| tree.as_object().is_some_and(|map| !map.is_empty()))
}
