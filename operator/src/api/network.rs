//! How a stack is reached: its Services, routes of the Gateway API, TLS of an Ingress, and who is let in.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What may be said of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSettings {
    /// Copied to the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which implementation makes the load balancer. Of type `LoadBalancer` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Addresses, such as `10.0.0.0/8`, that the load balancer takes connections from; the NetworkPolicy as well. All where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_source_ranges: Vec<String>,
    /// How it is reached.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub service_type: Option<ServiceType>,
}

/// How the Service is reached, by a cluster address where nothing is said. With another type, the NetworkPolicy lets in who comes from outside of
/// the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ServiceType {
    /// Reached from inside of the cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// By a port of every node.
    NodePort,
    /// By a load balancer of the provider's.
    LoadBalancer,
}

impl ServiceType {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// A certificate of an Ingress, and the names it is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressTls {
    /// Names in the certificate; the Ingress' own where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Secret with the certificate, which others make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// An HTTPRoute or GRPCRoute of the Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRoute {
    /// Copied to the route.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Names by which it is reached; those of the listener where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub hostnames: Vec<String>,
    /// Gateways that the route is attached to.
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
}

/// A Gateway, or a listener of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// API group; that of the Gateway API where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind; Gateway where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace; the resource's where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Name of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// Whether NetworkPolicies are made, and whom they let in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// True where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Further connections that every pod may open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::egress_rules")]
    pub extra_egress: Vec<NetworkPolicyEgressRule>,
    /// Further connections that every pod takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ingress_rules")]
    pub extra_ingress: Vec<NetworkPolicyIngressRule>,
    /// Who may send traces; every namespace where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::peers")]
    pub ingestion_from: Vec<NetworkPolicyPeer>,
    /// Who may scrape metrics, beside OpenShift's monitoring and pods of the name prometheus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::peers")]
    pub metrics_from: Vec<NetworkPolicyPeer>,
    /// Who may ask; every namespace where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::peers")]
    pub query_from: Vec<NetworkPolicyPeer>,
}
