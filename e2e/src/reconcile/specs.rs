//! The resources of the run: what each is in the end, and what it may be on the way there. Pure.

use serde_json::{Value, json};

use crate::shop::Shop;

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stack,
    Monolithic,
}

const METRICS: &str = "https://thanos-querier.openshift-monitoring.svc.cluster.local:9092";

/// Its name, in every namespace.
pub(crate) const NAME: &str = "s";

impl Kind {
    pub(crate) fn of_seed(seed: u64) -> Self {
        if seed % 4 == 3 { Self::Monolithic } else { Self::Stack }
    }

    pub(crate) fn path(self, namespace: &str) -> String {
        format!("/apis/tempo.grafana.com/v1alpha1/namespaces/{namespace}/{}", self.plural())
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Stack => "tempostacks",
            Self::Monolithic => "tempomonolithics",
        }
    }

    /// The resource with a spec.
    pub(crate) fn resource(self, spec: &Value) -> Value {
        let kind = match self {
            Self::Stack => "TempoStack",
            Self::Monolithic => "TempoMonolithic",
        };
        json!({"apiVersion": "tempo.grafana.com/v1alpha1", "kind": kind, "metadata": {"name": NAME}, "spec": spec})
    }

    /// What it is in the end.
    pub(crate) fn last(self) -> Value {
        match self {
            Self::Stack => stack(&json!({
                "template": {
                    "distributor": {
                        "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]},
                        "httpRoute": {"parentRefs": [{"name": "public", "namespace": "infra"}]},
                    },
                    "queryFrontend": {"jaegerQuery": {
                        "enabled": true, "ingress": {"type": "ingress", "host": "jaeger.example.org"},
                        // OpenShift's own, which is asked under a role
                        "monitorTab": {"enabled": true, "prometheusEndpoint": METRICS},
                    }},
                    "querier": {"replicas": 2, "nodeSelector": {"a": "b"}},
                },
            })),
            Self::Monolithic => monolithic(&json!({
                "jaegerui": {"enabled": true, "ingress": {"enabled": true, "host": "jaeger.example.org"}},
            })),
        }
    }

    /// What it may be before.
    pub(crate) fn other(self, dice: &mut Shop) -> Value {
        let mut all = match self {
            Self::Stack => vec![
                stack(&json!({})),
                stack(&json!({"storageSize": "2Gi"})),
                stack(
                    &json!({"template": {"metricsGenerator": {"enabled": true, "remoteWriteURLs": ["http://prometheus:9090/api/v1/write"]}}}),
                ),
                stack(&json!({"networkPolicy": {"enabled": false}})),
                stack(
                    &json!({"networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}}),
                ),
                stack(
                    &json!({"template": {"gateway": {"enabled": true}}, "tenants": {"mode": "static", "authentication": [
                        {"tenantName": "dev", "tenantId": "1", "oidc": {"issuerURL": "https://id.example.org", "secret": {"name": "oidc"}}},
                    ], "authorization": {
                        "roles": [{"name": "all", "tenants": ["dev"], "resources": ["traces"], "permissions": ["read", "write"]}],
                        "roleBindings": [{"name": "all", "roles": ["all"], "subjects": [{"kind": "user", "name": "me"}]}],
                    }}}),
                ),
                // a Secret that is not there
                stack(&json!({"storage": {"secret": {"name": "missing", "type": "s3"}}})),
            ],
            Self::Monolithic => vec![
                monolithic(&json!({})),
                monolithic(&json!({"storage": {"traces": {"backend": "pv", "size": "2Gi"}}})),
                monolithic(&json!({"storage": {"traces": {"backend": "memory"}}})),
            ],
        };
        let index = dice.below(all.len() as u64) as usize;
        all.swap_remove(index)
    }
}

fn stack(more: &Value) -> Value {
    merged(json!({"storageSize": "1Gi", "storage": {"secret": {"name": "bucket", "type": "s3"}}}), more)
}

fn monolithic(more: &Value) -> Value {
    merged(json!({"storage": {"traces": {"backend": "s3", "s3": {"secret": "bucket"}}}}), more)
}

fn merged(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
    base
}

/// A kind of others' in the simplest form that serves.
pub(crate) fn definition(group: &str, kind: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // without which names below k8s.io are refused
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

/// Specs that contradict themselves, each with a word of what is said about it, and one that does not.
pub(crate) fn contradictions() -> Vec<(Kind, Value, Option<&'static str>)> {
    let route = json!({"parentRefs": [{"name": "public"}]});
    let gateway = json!({"enabled": true, "httpRoute": route, "service": {"type": "LoadBalancer", "loadBalancerClass": "c"}});
    let tenants = json!({"mode": "openshift", "authentication": [{"tenantName": "dev", "tenantId": "1"}]});
    let of = |template: Value| stack(&json!({"template": template}));
    vec![
        (Kind::Stack, stack(&json!({"tenants": tenants, "template": {"gateway": gateway}})), None),
        (Kind::Stack, of(json!({"gateway": {"httpRoute": route}})), Some("needs the gateway to be enabled")),
        (
            Kind::Stack,
            stack(
                &json!({"tenants": tenants, "template": {"gateway": {"enabled": true}, "distributor": {"grpcRoute": route}}}),
            ),
            Some("the gateway is the only way in"),
        ),
        (Kind::Stack, of(json!({"distributor": {"httpRoute": {"parentRefs": []}}})), Some("parentRefs")),
        (
            Kind::Stack,
            of(json!({"distributor": {"service": {"type": "ExternalName"}}})),
            Some("ExternalName"),
        ),
        (
            Kind::Stack,
            of(json!({"queryFrontend": {"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}})),
            Some("is of type LoadBalancer only"),
        ),
        (
            Kind::Stack,
            of(
                json!({"queryFrontend": {"jaegerQuery": {"enabled": true, "ingress": {"type": "route", "tls": [{"secretName": "x"}]}}}}),
            ),
            Some("is of type ingress only"),
        ),
        (
            Kind::Stack,
            of(
                json!({"queryFrontend": {"jaegerQuery": {"enabled": true, "ingress": {"type": "ingress", "tls": [{"secretName": "x"}]}}}}),
            ),
            None,
        ),
        (
            Kind::Stack,
            stack(
                &json!({"networkPolicy": {"queryFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}, "podMetadata": {"labels": {"a": "b"}}}),
            ),
            None,
        ),
        (Kind::Stack, stack(&json!({"networkPolicy": {"queryFrom": [{"ipBlock": {}}]}})), Some("cidr")),
        (
            Kind::Monolithic,
            monolithic(&json!({"service": {"loadBalancerClass": "c"}})),
            Some("is of type LoadBalancer only"),
        ),
        (
            Kind::Monolithic,
            monolithic(&json!({"service": {"type": "NodePort"}, "query": {"httpRoute": route}})),
            None,
        ),
    ]
}

/// The Secret for the storage, and one for a tenant.
pub(crate) fn secrets() -> [Value; 2] {
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    [
        secret(
            "bucket",
            json!({
                "endpoint": "http://minio:9000", "bucket": "tempo", "access_key_id": "tempo", "access_key_secret": "supersecret",
            }),
        ),
        secret("oidc", json!({"clientID": "id", "clientSecret": "secret"})),
    ]
}

/// Objects of others that bear names of ours, before there is a resource.
pub(crate) fn squatters() -> [(&'static str, Value); 4] {
    let object = |kind: &str, name: &str, rest: Value| {
        merged(
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "annotations": {"theirs": "stays"}}}),
            &rest,
        )
    };
    [
        (
            "configmaps",
            object("ConfigMap", "tempo-s", json!({"data": {"tempo.yaml": "theirs", "theirs": "theirs"}})),
        ),
        (
            "services",
            object(
                "Service",
                "tempo-s",
                json!({"spec": {"ports": [{"name": "theirs", "port": 1}], "selector": {"app": "theirs"}}}),
            ),
        ),
        (
            "services",
            object(
                "Service",
                "tempo-s-distributor",
                json!({"spec": {"ports": [{"name": "theirs", "port": 1}]}}),
            ),
        ),
        (
            "serviceaccounts",
            object("ServiceAccount", "tempo-s", json!({"automountServiceAccountToken": false})),
        ),
    ]
}

/// A user's own object with the labels of ours, which nobody may delete.
pub(crate) fn lookalike() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "lookalike", "labels": {
            "app.kubernetes.io/instance": NAME, "app.kubernetes.io/managed-by": "tempo-operator", "app.kubernetes.io/name": "tempo",
        }},
        "data": {"theirs": "stays"},
    })
}
