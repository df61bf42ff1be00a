//! Hand-written schemas for Kubernetes' own types inside our resources.
//!
//! Only the fields that Kubernetes knows are listed, so that a misspelt one is refused, and without the long
//! descriptions that would make the definition too big for a client-side apply.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Any object, kept as it is.
pub(super) fn opaque(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A duration in Go's notation.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$",
    })
}

/// A Kubernetes quantity: text or a number.
pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    quantity_schema().try_into().unwrap_or_default()
}

fn quantity_schema() -> Value {
    json!({
        "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        "x-kubernetes-int-or-string": true,
    })
}

/// A map of names to quantities.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": quantity_schema()})
}

/// Tolerations of a pod.
pub(super) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "effect": {"type": "string"},
                "key": {"type": "string"},
                "operator": {"type": "string"},
                "tolerationSeconds": {"type": "integer", "format": "int64"},
                "value": {"type": "string"},
            },
        },
    })
}

/// The security context of a pod.
pub(super) fn pod_security_context(_: &mut SchemaGenerator) -> Schema {
    let id = json!({"type": "integer", "format": "int64"});
    let text = json!({"type": "string"});
    json_schema!({
        "type": "object",
        "properties": {
            "appArmorProfile": {
                "type": "object",
                "required": ["type"],
                "properties": {"localhostProfile": text, "type": text},
            },
            "fsGroup": id,
            "fsGroupChangePolicy": text,
            "runAsGroup": id,
            "runAsNonRoot": {"type": "boolean"},
            "runAsUser": id,
            "seLinuxChangePolicy": text,
            "seLinuxOptions": {
                "type": "object",
                "properties": {"level": text, "role": text, "type": text, "user": text},
            },
            "seccompProfile": {
                "type": "object",
                "required": ["type"],
                "properties": {"localhostProfile": text, "type": text},
            },
            "supplementalGroups": {"type": "array", "items": id},
            "supplementalGroupsPolicy": text,
            "sysctls": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "value"],
                    "properties": {"name": text, "value": text},
                },
            },
            "windowsOptions": {
                "type": "object",
                "properties": {
                    "gmsaCredentialSpec": text,
                    "gmsaCredentialSpecName": text,
                    "hostProcess": {"type": "boolean"},
                    "runAsUserName": text,
                },
            },
        },
    })
}

/// Environment variables of a container.
pub(super) fn env(_: &mut SchemaGenerator) -> Schema {
    let key_ref = json!({
        "type": "object",
        "required": ["key"],
        "properties": {"key": {"type": "string"}, "name": {"type": "string"}, "optional": {"type": "boolean"}},
    });
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "value": {"type": "string"},
                "valueFrom": {
                    "type": "object",
                    "properties": {
                        "configMapKeyRef": key_ref,
                        "fieldRef": {
                            "type": "object",
                            "required": ["fieldPath"],
                            "properties": {"apiVersion": {"type": "string"}, "fieldPath": {"type": "string"}},
                        },
                        "resourceFieldRef": {
                            "type": "object",
                            "required": ["resource"],
                            "properties": {
                                "containerName": {"type": "string"},
                                "divisor": quantity_schema(),
                                "resource": {"type": "string"},
                            },
                        },
                        "secretKeyRef": key_ref,
                    },
                },
            },
        },
    })
}

/// Sources of environment variables of a container.
pub(super) fn env_from(_: &mut SchemaGenerator) -> Schema {
    let source = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "optional": {"type": "boolean"}},
    });
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"configMapRef": source, "prefix": {"type": "string"}, "secretRef": source},
        },
    })
}

/// The conditions of a status, one of each type.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {"type": "string", "maxLength": 1024, "minLength": 1},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string", "maxLength": 316},
            },
        },
    })
}

/// Pod names by phase, replaced as a whole.
pub(super) fn pods_by_phase(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    })
}

/// Zones, one of each key.
pub(super) fn replication_zones(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["topologyKey"],
        "items": {
            "type": "object",
            "required": ["topologyKey"],
            "properties": {
                "maxSkew": {"type": "integer", "format": "int32", "minimum": 1, "default": 1},
                "topologyKey": {"type": "string", "minLength": 1, "maxLength": 317},
            },
        },
    })
}

fn selector_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "matchExpressions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string"},
                        "operator": {"type": "string"},
                        "values": {"type": "array", "items": {"type": "string"}},
                    },
                },
            },
            "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    })
}

/// A selector of labels.
pub(super) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    selector_schema().try_into().unwrap_or_default()
}

/// How evenly pods are spread.
pub(super) fn topology_spread(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["maxSkew", "topologyKey", "whenUnsatisfiable"],
            "properties": {
                "labelSelector": selector_schema(),
                "matchLabelKeys": {"type": "array", "items": {"type": "string"}},
                "maxSkew": {"type": "integer", "format": "int32"},
                "minDomains": {"type": "integer", "format": "int32"},
                "nodeAffinityPolicy": {"type": "string"},
                "nodeTaintsPolicy": {"type": "string"},
                "topologyKey": {"type": "string"},
                "whenUnsatisfiable": {"type": "string"},
            },
        },
    })
}

/// Where the pods of a component may run. Below the three sorts anything goes, since the whole of it for each component
/// would make the definition too big for a client-side apply; Kubernetes refuses it in the pods then.
pub(super) fn component_affinity(_: &mut SchemaGenerator) -> Schema {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json_schema!({
        "type": "object",
        "properties": {"nodeAffinity": any, "podAffinity": any, "podAntiAffinity": any},
    })
}

/// Where a pod may run.
pub(super) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let requirements = json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["key", "operator"],
            "properties": {"key": {"type": "string"}, "operator": {"type": "string"}, "values": texts},
        },
    });
    let nodes = json!({
        "type": "object",
        "properties": {"matchExpressions": requirements, "matchFields": requirements},
    });
    let pods = json!({
        "type": "object",
        "required": ["topologyKey"],
        "properties": {
            "labelSelector": selector_schema(),
            "matchLabelKeys": texts,
            "mismatchLabelKeys": texts,
            "namespaceSelector": selector_schema(),
            "namespaces": texts,
            "topologyKey": {"type": "string"},
        },
    });
    let weighted = |name: &str, term: &Value| {
        json!({
            "type": "array",
            "items": {
                "type": "object",
                "required": ["weight", name],
                "properties": {"weight": {"type": "integer", "format": "int32"}, name: term},
            },
        })
    };
    let among_pods = json!({
        "type": "object",
        "properties": {
            "preferredDuringSchedulingIgnoredDuringExecution": weighted("podAffinityTerm", &pods),
            "requiredDuringSchedulingIgnoredDuringExecution": {"type": "array", "items": pods},
        },
    });
    json_schema!({
        "type": "object",
        "properties": {
            "nodeAffinity": {
                "type": "object",
                "properties": {
                    "preferredDuringSchedulingIgnoredDuringExecution": weighted("preference", &nodes),
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "type": "object",
                        "required": ["nodeSelectorTerms"],
                        "properties": {"nodeSelectorTerms": {"type": "array", "items": nodes}},
                    },
                },
            },
            "podAffinity": among_pods,
            "podAntiAffinity": among_pods,
        },
    })
}

/// Peers of a NetworkPolicy. What selectors may say is left to Kubernetes, so that the definition stays small.
fn peers_schema() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "ipBlock": {
                    "type": "object",
                    "required": ["cidr"],
                    "properties": {
                        "cidr": {"type": "string"},
                        "except": {"type": "array", "items": {"type": "string"}},
                    },
                },
                "namespaceSelector": any,
                "podSelector": any,
            },
        },
    })
}

fn rules_schema(peers: &str) -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                peers: peers_schema(),
                "ports": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "endPort": {"type": "integer", "format": "int32"},
                            "port": {"x-kubernetes-int-or-string": true},
                            "protocol": {"type": "string"},
                        },
                    },
                },
            },
        },
    })
}

/// Peers of a NetworkPolicy.
pub(super) fn peers(_: &mut SchemaGenerator) -> Schema {
    peers_schema().try_into().unwrap_or_default()
}

/// Rules of a NetworkPolicy for what comes in.
pub(super) fn ingress_rules(_: &mut SchemaGenerator) -> Schema {
    rules_schema("from").try_into().unwrap_or_default()
}

/// Rules of a NetworkPolicy for what goes out.
pub(super) fn egress_rules(_: &mut SchemaGenerator) -> Schema {
    rules_schema("to").try_into().unwrap_or_default()
}
