//! Which connections the pods of a stack may have.
//!
//! Names and rules are the peer's, mended where it cuts off what it should let through: IPv6 storage, and DNS that
//! is not served by pods of kube-system (node-local caches, host processes).

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::service::{GOSSIP, GRPC, HTTP, OTHER_RECEIVERS, OTLP_GRPC, OTLP_HTTP, Port};
use crate::{
    names::{Identity, Labels},
    role::Role,
    validate::Stack,
};

/// The HTTPS port inside the stack of Tempo's own workloads.
const INTERNAL_HTTPS: Port = Port { name: "tempo-internal", number: 3101, udp: false };
const DNS: [Port; 2] =
    [Port { name: "dns-tcp", number: 53, udp: false }, Port { name: "dns", number: 53, udp: true }];
/// Between the roles.
const PEER_PORTS: [Port; 2] = [GRPC, HTTP];

/// All policies of a stack, or none where they are turned off.
pub(crate) fn all(stack: &Stack) -> Vec<NetworkPolicy> {
    if !stack.network_policies {
        return Vec::new();
    }
    let identity = &stack.identity;
    vec![
        dns(identity),
        compactor(identity),
        distributor(identity),
        gossip(identity),
        ingester(identity),
        metrics(identity),
        querier(identity),
        query_frontend(identity),
    ]
}

fn dns(identity: &Identity) -> NetworkPolicy {
    let mut peers = vec![NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", "kube-system")),
        pod_selector: Some(labelled("k8s-app", "kube-dns")),
        ..NetworkPolicyPeer::default()
    }];
    peers.extend(everywhere());
    of_all(identity, "allow-dns", None, Some(vec![to(peers, &DNS)]))
}

fn gossip(identity: &Identity) -> NetworkPolicy {
    let members = NetworkPolicyPeer {
        pod_selector: Some(select(identity.instance_labels())),
        ..NetworkPolicyPeer::default()
    };
    let ports = [GOSSIP, HTTP, INTERNAL_HTTPS];
    of_all(
        identity,
        "gossip",
        Some(vec![from(vec![members.clone()], &ports)]),
        Some(vec![to(vec![members], &ports)]),
    )
}

/// Monitoring reaches every pod. Elsewhere than on OpenShift, its namespace needs the same label.
fn metrics(identity: &Identity) -> NetworkPolicy {
    let monitoring = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "openshift.io/cluster-monitoring".to_owned(),
                operator: "Exists".to_owned(),
                values: None,
            }]),
            match_labels: None,
        }),
        ..NetworkPolicyPeer::default()
    };
    of_all(identity, "ingress-to-operand-metrics", Some(vec![from(vec![monitoring], &[HTTP])]), None)
}

fn compactor(identity: &Identity) -> NetworkPolicy {
    of_role(identity, Role::Compactor, None, vec![storage()])
}

fn distributor(identity: &Identity) -> NetworkPolicy {
    let mut ports = vec![OTLP_GRPC, OTLP_HTTP];
    ports.extend(OTHER_RECEIVERS);
    ports.push(HTTP);
    of_role(
        identity,
        Role::Distributor,
        Some(vec![from(vec![any_namespace()], &ports)]),
        vec![to(vec![role(identity, Role::Ingester)], &PEER_PORTS)],
    )
}

fn ingester(identity: &Identity) -> NetworkPolicy {
    let callers =
        [Role::Distributor, Role::Querier].map(|caller| from(vec![role(identity, caller)], &PEER_PORTS));
    of_role(identity, Role::Ingester, Some(callers.to_vec()), vec![storage()])
}

fn querier(identity: &Identity) -> NetworkPolicy {
    of_role(
        identity,
        Role::Querier,
        Some(vec![from(vec![role(identity, Role::QueryFrontend)], &PEER_PORTS)]),
        vec![
            to(vec![role(identity, Role::Ingester)], &PEER_PORTS),
            to(vec![role(identity, Role::QueryFrontend)], &PEER_PORTS),
            storage(),
        ],
    )
}

fn query_frontend(identity: &Identity) -> NetworkPolicy {
    of_role(
        identity,
        Role::QueryFrontend,
        Some(vec![
            from(vec![any_namespace()], &PEER_PORTS),
            from(vec![role(identity, Role::Querier)], &PEER_PORTS),
        ]),
        vec![to(vec![role(identity, Role::Querier)], &PEER_PORTS), storage()],
    )
}

/// A policy for one component.
fn of_role(
    identity: &Identity,
    role: Role,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    let labels = identity.labels(role.as_str());
    policy(identity, role.as_str(), labels, ingress, Some(egress))
}

/// A policy for every pod of the stack.
fn of_all(
    identity: &Identity,
    suffix: &str,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    policy(identity, suffix, identity.instance_labels(), ingress, egress)
}

fn policy(
    identity: &Identity,
    suffix: &str,
    labels: Labels,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    let mut types = Vec::new();
    if egress.is_some() {
        types.push("Egress".to_owned());
    }
    if ingress.is_some() {
        types.push("Ingress".to_owned());
    }
    NetworkPolicy {
        metadata: identity.meta(identity.object(suffix), labels.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(select(labels)),
            policy_types: Some(types),
            ingress,
            egress,
        }),
    }
}

fn select(labels: Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    select(Labels::from([(key.to_owned(), value.to_owned())]))
}

fn role(identity: &Identity, role: Role) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(identity.selector(role)), ..NetworkPolicyPeer::default() }
}

fn any_namespace() -> NetworkPolicyPeer {
    NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() }
}

/// Every address, of either family.
fn everywhere() -> [NetworkPolicyPeer; 2] {
    ["0.0.0.0/0", "::/0"].map(|cidr| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: None }),
        ..NetworkPolicyPeer::default()
    })
}

/// Object storage may be anywhere, at any port.
fn storage() -> NetworkPolicyEgressRule {
    let mut peers = everywhere().to_vec();
    peers.push(any_namespace());
    NetworkPolicyEgressRule { ports: None, to: Some(peers) }
}

fn ports(ports: &[Port]) -> Vec<NetworkPolicyPort> {
    let port = |port: &Port| NetworkPolicyPort {
        port: Some(IntOrString::Int(port.number)),
        protocol: Some(port.protocol()),
        end_port: None,
    };
    ports.iter().map(port).collect()
}

fn from(peers: Vec<NetworkPolicyPeer>, on: &[Port]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(peers), ports: Some(ports(on)) }
}

fn to(peers: Vec<NetworkPolicyPeer>, on: &[Port]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(peers), ports: Some(ports(on)) }
}
