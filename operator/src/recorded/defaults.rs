//! What the API server fills in, of what is compared.

use serde_json::{Value, json};

/// An object as it would stand in the cluster.
pub(super) fn filled_in(object: &Value) -> Value {
    let mut object = object.clone();
    match object["kind"].as_str().unwrap_or_default() {
        "Deployment" => {
            let rolling = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
            default(
                &mut object["spec"],
                "strategy",
                json!({"type": "RollingUpdate", "rollingUpdate": rolling}),
            );
            workload(&mut object["spec"]);
        }
        "StatefulSet" => {
            let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
            default(&mut object["spec"], "updateStrategy", rolling);
            let retain = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
            default(&mut object["spec"], "persistentVolumeClaimRetentionPolicy", retain);
            workload(&mut object["spec"]);
        }
        _ => {}
    }
    object
}

fn default(map: &mut Value, key: &str, value: Value) {
    if map[key].is_null() {
        map[key] = value;
    }
}

fn workload(spec: &mut Value) {
    default(spec, "replicas", 1.into());
    let pod = &mut spec["template"]["spec"];
    default(pod, "terminationGracePeriodSeconds", 30.into());
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        if volume.get("downwardAPI").is_some() {
            default(&mut volume["downwardAPI"], "defaultMode", 420.into());
        }
    }
}
