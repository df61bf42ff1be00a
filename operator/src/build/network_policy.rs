//! Which connections the pods of a stack may have.
//!
//! Names and rules are the peer's, mended where it cuts off what it should let through: IPv6 storage, and DNS that
//! is not served by pods of kube-system (node-local caches, host processes).

use std::{collections::BTreeSet, net::IpAddr};

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

use super::container::some;
use super::service::{
    GATEWAY_GRPC, GATEWAY_HTTP, GATEWAY_INTERNAL, GOSSIP, GRPC, HTTP, INTERNAL_HTTPS, JAEGER, OAUTH_PROXY,
    OTHER_RECEIVERS, OTLP_GRPC, OTLP_HTTP, Port,
};
use crate::{
    api::{self, ServiceSettings, ServiceType},
    names::{Identity, Labels},
    platform::Distribution,
    role::Role,
    validate::{Gateway, Generator, Login, Stack, port_of},
};

const DNS: [Port; 2] =
    [Port { name: "dns-tcp", number: 53, udp: false }, Port { name: "dns", number: 53, udp: true }];
const OPENSHIFT_DNS: [Port; 2] =
    [Port { name: "dns-tcp", number: 5353, udp: false }, Port { name: "dns", number: 5353, udp: true }];
/// Between the roles.
const PEER_PORTS: [Port; 2] = [GRPC, HTTP];
/// By which traces are sent where the endpoint names no other.
const OTLP: [Port; 2] = [OTLP_GRPC, OTLP_HTTP];

/// All policies of a stack, or none where they are turned off.
pub(crate) fn all(stack: &Stack) -> Vec<NetworkPolicy> {
    if !stack.network_policies {
        return Vec::new();
    }
    let identity = &stack.common.identity;
    let mut all = vec![
        dns(stack),
        of_role(identity, Role::Compactor, None, with_tracing(stack, vec![storage()])),
        distributor(stack),
        gossip(identity),
        ingester(stack),
        metrics(stack),
        querier(stack),
        query_frontend(stack),
    ];
    if let Some(given) = &stack.generator {
        all.push(generator(stack, given));
    }
    if let Some(given) = &stack.common.gateway {
        all.push(gateway(stack, given));
    }
    all.extend(extra(stack));
    all
}

/// What the resource opens for all pods.
fn extra(stack: &Stack) -> Option<NetworkPolicy> {
    let api::NetworkPolicy { extra_ingress, extra_egress, .. } = stack.policy.clone();
    let (ingress, egress) = (some(extra_ingress), some(extra_egress));
    let is_wanted = ingress.is_some() || egress.is_some();
    is_wanted.then(|| of_all(&stack.common.identity, "extra", ingress, egress))
}

/// Who may come to a Service from outside of the stack: whom the resource names, or every namespace; and where the Service
/// is reached from outside of the cluster, who comes from there, whose address may be any.
fn visitors(named: &[NetworkPolicyPeer], service: &ServiceSettings) -> Vec<NetworkPolicyPeer> {
    let mut all = if named.is_empty() { vec![any_namespace()] } else { named.to_vec() };
    if service.service_type.unwrap_or_default() != ServiceType::ClusterIp {
        let ranges = &service.load_balancer_source_ranges;
        all.extend(ranges.iter().map(|range| addresses(range)));
        all.extend(ranges.is_empty().then(everywhere).into_iter().flatten());
    }
    all
}

/// Adds the way to where traces of the stack itself go.
fn with_tracing(stack: &Stack, mut rules: Vec<NetworkPolicyEgressRule>) -> Vec<NetworkPolicyEgressRule> {
    if let Some(tracing) = &stack.tracing {
        let own = Port { name: "otlp", number: tracing.port.into(), udp: false };
        let others = OTLP.iter().all(|port| port.number != own.number).then_some(own);
        let on: Vec<Port> = OTLP.into_iter().chain(others).collect();
        rules.push(to(everywhere().to_vec(), &on));
    }
    rules
}

fn dns(stack: &Stack) -> NetworkPolicy {
    let identity = &stack.common.identity;
    let servers = |namespace: &str, key: &str, value: &str| NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", namespace)),
        pod_selector: Some(labelled(key, value)),
        ..NetworkPolicyPeer::default()
    };
    if stack.common.platform.distribution == Distribution::OpenShift {
        let peers = vec![servers("openshift-dns", "dns.operator.openshift.io/daemonset-dns", "default")];
        return of_all(identity, "allow-dns-openshift", None, Some(vec![to(peers, &OPENSHIFT_DNS)]));
    }
    let mut peers = vec![servers("kube-system", "k8s-app", "kube-dns")];
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

/// Monitoring reaches every pod: OpenShift's by the label of its namespace, any other Prometheus by its own.
fn metrics(stack: &Stack) -> NetworkPolicy {
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
    let prometheus = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(labelled("app.kubernetes.io/name", "prometheus")),
        ..NetworkPolicyPeer::default()
    };
    let mut scrapers = vec![monitoring, prometheus];
    scrapers.extend(stack.policy.metrics_from.iter().cloned());
    let ingress = vec![from(scrapers, &[HTTP])];
    of_all(&stack.common.identity, "ingress-to-operand-metrics", Some(ingress), None)
}

fn distributor(stack: &Stack) -> NetworkPolicy {
    let identity = &stack.common.identity;
    let ingress = if stack.common.gateway.is_some() {
        from(vec![role(identity, Role::Gateway)], &OTLP)
    } else {
        let ports = [&OTLP[..], &OTHER_RECEIVERS, &[HTTP]].concat();
        from(visitors(&stack.policy.ingestion_from, &stack.services.distributor), &ports)
    };
    let mut egress = vec![to(vec![role(identity, Role::Ingester)], &PEER_PORTS)];
    if stack.generator.is_some() {
        egress.push(to(vec![role(identity, Role::MetricsGenerator)], &PEER_PORTS));
    }
    of_role(identity, Role::Distributor, Some(vec![ingress]), with_tracing(stack, egress))
}

fn ingester(stack: &Stack) -> NetworkPolicy {
    let identity = &stack.common.identity;
    let callers =
        [Role::Distributor, Role::Querier].map(|caller| from(vec![role(identity, caller)], &PEER_PORTS));
    of_role(identity, Role::Ingester, Some(callers.to_vec()), with_tracing(stack, vec![storage()]))
}

fn querier(stack: &Stack) -> NetworkPolicy {
    let identity = &stack.common.identity;
    let mut egress = vec![
        to(vec![role(identity, Role::Ingester)], &PEER_PORTS),
        to(vec![role(identity, Role::QueryFrontend)], &PEER_PORTS),
        storage(),
    ];
    if stack.generator.is_some() {
        egress.push(to(vec![role(identity, Role::MetricsGenerator)], &PEER_PORTS));
    }
    let ingress = vec![from(vec![role(identity, Role::QueryFrontend)], &PEER_PORTS)];
    of_role(identity, Role::Querier, Some(ingress), with_tracing(stack, egress))
}

fn query_frontend(stack: &Stack) -> NetworkPolicy {
    let identity = &stack.common.identity;
    let jaeger = stack.common.jaeger.as_ref();
    let mut open: Vec<Port> = jaeger.map_or_else(Vec::new, |_| JAEGER.to_vec());
    open.extend(jaeger.and_then(|jaeger| jaeger.oauth.as_ref()).map(|_| OAUTH_PROXY));
    let mut ingress = Vec::new();
    if stack.common.gateway.is_some() {
        let ui: &[Port] = if jaeger.is_some() { &JAEGER[1..] } else { &[] };
        ingress.push(from(vec![role(identity, Role::Gateway)], &[&PEER_PORTS[..], ui].concat()));
    } else {
        open.extend(PEER_PORTS);
    }
    if !open.is_empty() {
        ingress.push(from(visitors(&stack.policy.query_from, &stack.services.query_frontend), &open));
    }
    ingress.push(from(vec![role(identity, Role::Querier)], &PEER_PORTS));
    let egress = vec![to(vec![role(identity, Role::Querier)], &PEER_PORTS), storage()];
    of_role(identity, Role::QueryFrontend, Some(ingress), with_tracing(stack, egress))
}

/// It writes to wherever the URLs lead.
fn generator(stack: &Stack, generator: &Generator) -> NetworkPolicy {
    let identity = &stack.common.identity;
    let callers =
        [Role::Distributor, Role::Querier].map(|caller| from(vec![role(identity, caller)], &PEER_PORTS));
    let mut numbers = BTreeSet::from([9090]);
    numbers.extend(generator.remote_write.iter().filter_map(|url| port_of(url)));
    let write = to(anybody(), &ports_of(numbers));
    let egress = with_tracing(stack, vec![write, storage()]);
    of_role(identity, Role::MetricsGenerator, Some(callers.to_vec()), egress)
}

/// It asks those who vouch for users, and on OpenShift the API server.
fn gateway(stack: &Stack, gateway: &Gateway) -> NetworkPolicy {
    let identity = &stack.common.identity;
    let public = [GATEWAY_HTTP, GATEWAY_INTERNAL, GATEWAY_GRPC];
    let ui: &[Port] = if stack.common.jaeger.is_some() { &JAEGER[1..] } else { &[] };
    let mut issuers = BTreeSet::from([443]);
    issuers.extend(gateway.tenants.iter().filter_map(|tenant| match &tenant.login {
        Login::Oidc(keys) => {
            keys.iter().find(|(key, _)| *key == "issuerURL").and_then(|(_, url)| port_of(url))
        }
        Login::OpenShift { .. } => None,
    }));
    let mut egress = vec![
        to(vec![role(identity, Role::Distributor)], &OTLP),
        to(anybody(), &ports_of(issuers)),
        to(vec![role(identity, Role::QueryFrontend)], &[&PEER_PORTS[..], ui].concat()),
    ];
    for (address, port) in &stack.common.platform.api_server {
        egress.push(to(vec![host(*address)], &ports_of(BTreeSet::from([*port]))));
    }
    of_role(identity, Role::Gateway, Some(through_gateway(stack, &public)), with_tracing(stack, egress))
}

/// By HTTP traces come in and questions are asked, by gRPC the former alone.
fn through_gateway(stack: &Stack, public: &[Port]) -> Vec<NetworkPolicyIngressRule> {
    let api::NetworkPolicy { ingestion_from, query_from, .. } = &stack.policy;
    let service = &stack.services.gateway;
    if ingestion_from.is_empty() && query_from.is_empty() {
        return vec![from(visitors(&[], service), public)];
    }
    let either = if ingestion_from.is_empty() || query_from.is_empty() {
        Vec::new()
    } else {
        [&ingestion_from[..], query_from].concat()
    };
    vec![
        from(visitors(&either, service), &[GATEWAY_HTTP]),
        from(visitors(ingestion_from, service), &[GATEWAY_GRPC]),
        from(vec![any_namespace()], &[GATEWAY_INTERNAL]),
    ]
}

/// A policy for one component.
fn of_role(
    identity: &Identity,
    role: Role,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    policy(identity, identity.role(role), identity.labels(role.as_str()), ingress, Some(egress))
}

/// A policy for every pod of the stack.
fn of_all(
    identity: &Identity,
    suffix: &str,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    policy(identity, identity.object(suffix), identity.instance_labels(), ingress, egress)
}

fn policy(
    identity: &Identity,
    name: String,
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
        metadata: identity.meta(name, labels.clone()),
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
    ["0.0.0.0/0", "::/0"].map(addresses)
}

fn addresses(range: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: range.to_owned(), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

/// Every address and every pod: some networks do not count pods among addresses.
fn anybody() -> Vec<NetworkPolicyPeer> {
    let mut peers = everywhere().to_vec();
    peers.push(any_namespace());
    peers
}

/// One address, of either family.
fn host(address: IpAddr) -> NetworkPolicyPeer {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    addresses(&format!("{address}/{bits}"))
}

/// Object storage may be anywhere, at any port.
fn storage() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { ports: None, to: Some(anybody()) }
}

fn ports_of(numbers: BTreeSet<u16>) -> Vec<Port> {
    numbers.into_iter().map(|number| Port { name: "", number: number.into(), udp: false }).collect()
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
