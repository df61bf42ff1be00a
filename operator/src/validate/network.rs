//! How a stack is reached: Services, routes of the Gateway API, and whom its NetworkPolicies let in.

use std::net::IpAddr;

use super::Invalid;
use crate::{
    api::{
        GatewayRoute, IngressTls, NetworkPolicy, ServiceSettings, ServiceType, Template, TempoMonolithicSpec,
    },
    platform::{Feature, Platform},
};

/// A route of the Gateway API.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) protocol: Protocol,
    pub(crate) to: Entrance,
    pub(crate) settings: GatewayRoute,
}

/// What a route is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    const fn feature(self) -> Feature {
        match self {
            Self::Http => Feature::HttpRoute,
            Self::Grpc => Feature::GrpcRoute,
        }
    }

    /// The kind of the Gateway API.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
        }
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// Where traces are sent to.
    Ingestion,
    /// Where questions are asked.
    Query,
    /// The gateway of a stack, for both.
    Gateway,
}

/// A route that a resource may ask for: the field, what it is, and what is said.
type Asked<'a> = (&'static str, Protocol, Entrance, Option<&'a GatewayRoute>);

/// The routes of a stack. Behind the gateway nothing else is reached from outside.
pub(super) fn of_stack(
    template: &Template,
    has_gateway: bool,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<Vec<Route>, Invalid> {
    let distributor = template.distributor.as_ref();
    let frontend = template.query_frontend.as_ref();
    let gateway = template.gateway.as_ref();
    let direct: [Asked<'_>; 3] = [
        (
            "spec.template.distributor.grpcRoute",
            Protocol::Grpc,
            Entrance::Ingestion,
            distributor.and_then(|part| part.grpc_route.as_ref()),
        ),
        (
            "spec.template.distributor.httpRoute",
            Protocol::Http,
            Entrance::Ingestion,
            distributor.and_then(|part| part.http_route.as_ref()),
        ),
        (
            "spec.template.queryFrontend.httpRoute",
            Protocol::Http,
            Entrance::Query,
            frontend.and_then(|part| part.http_route.as_ref()),
        ),
    ];
    let through: [Asked<'_>; 2] = [
        (
            "spec.template.gateway.grpcRoute",
            Protocol::Grpc,
            Entrance::Gateway,
            gateway.and_then(|part| part.grpc_route.as_ref()),
        ),
        (
            "spec.template.gateway.httpRoute",
            Protocol::Http,
            Entrance::Gateway,
            gateway.and_then(|part| part.http_route.as_ref()),
        ),
    ];
    let set =
        |asked: &[Asked<'_>]| asked.iter().find(|(.., given)| given.is_some()).map(|(field, ..)| *field);
    match (has_gateway, set(&direct), set(&through)) {
        (true, Some(field), _) => Err(Invalid::spec(format!(
            "{field}: the gateway is the only way in, expected spec.template.gateway.{}",
            field.rsplit('.').next().unwrap_or_default()
        ))),
        (false, _, Some(field)) => Err(Invalid::spec(format!("{field}: needs the gateway to be enabled"))),
        _ => made(direct.into_iter().chain(through), platform, warnings),
    }
}

/// The routes of a monolithic stack.
pub(super) fn of_monolithic(
    spec: &TempoMonolithicSpec,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<Vec<Route>, Invalid> {
    let otlp = spec.ingestion.as_ref().and_then(|ingestion| ingestion.otlp.as_ref());
    let asked: [Asked<'_>; 3] = [
        (
            "spec.ingestion.otlp.grpcRoute",
            Protocol::Grpc,
            Entrance::Ingestion,
            otlp.and_then(|otlp| otlp.grpc_route.as_ref()),
        ),
        (
            "spec.ingestion.otlp.httpRoute",
            Protocol::Http,
            Entrance::Ingestion,
            otlp.and_then(|otlp| otlp.http_route.as_ref()),
        ),
        (
            "spec.query.httpRoute",
            Protocol::Http,
            Entrance::Query,
            spec.query.as_ref().and_then(|query| query.http_route.as_ref()),
        ),
    ];
    made(asked.into_iter(), platform, warnings)
}

fn made<'a>(
    asked: impl Iterator<Item = Asked<'a>>,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<Vec<Route>, Invalid> {
    let mut all = Vec::new();
    for (field, protocol, to, given) in asked {
        let Some(given) = given else { continue };
        if given.parent_refs.iter().all(|parent| parent.name.is_empty()) {
            return Err(Invalid::spec(format!(
                "{field}.parentRefs: expected at least one Gateway with a name"
            )));
        }
        if platform.has(protocol.feature()) {
            all.push(Route { protocol, to, settings: given.clone() });
        } else {
            let kind = protocol.kind();
            warnings.push(format!(
                "{field}: no {kind} is made, the cluster has no {kind} of gateway.networking.k8s.io/v1"
            ));
        }
    }
    Ok(all)
}

/// Settings of a Service.
pub(super) fn service(field: &str, given: Option<&ServiceSettings>) -> Result<ServiceSettings, Invalid> {
    let given = given.cloned().unwrap_or_default();
    let is_balanced = given.service_type == Some(ServiceType::LoadBalancer);
    if !is_balanced && given.load_balancer_class.is_some() {
        return Err(Invalid::spec(format!("{field}.loadBalancerClass: is of type LoadBalancer only")));
    }
    if !is_balanced && !given.load_balancer_source_ranges.is_empty() {
        return Err(Invalid::spec(format!("{field}.loadBalancerSourceRanges: is of type LoadBalancer only")));
    }
    match given.load_balancer_source_ranges.iter().find(|range| !is_range(range)) {
        Some(range) => Err(Invalid::spec(format!(
            "{field}.loadBalancerSourceRanges: `{range}`, expected an address and a length such as 10.0.0.0/8"
        ))),
        None => Ok(given),
    }
}

/// Whether a text is an address with the length of a prefix.
fn is_range(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u8>()) else { return false };
    length <= if address.is_ipv4() { 32 } else { 128 }
}

/// Peers of the NetworkPolicies: those by address name a range.
pub(super) fn policy(given: Option<&NetworkPolicy>) -> Result<NetworkPolicy, Invalid> {
    let given = given.cloned().unwrap_or_default();
    let lists = [
        ("ingestionFrom", &given.ingestion_from),
        ("metricsFrom", &given.metrics_from),
        ("queryFrom", &given.query_from),
    ];
    for (name, peers) in lists {
        let field = format!("spec.networkPolicy.{name}");
        for peer in peers {
            let selects = peer.namespace_selector.is_some() || peer.pod_selector.is_some();
            match &peer.ip_block {
                Some(_) if selects => {
                    return Err(Invalid::spec(format!("{field}: ipBlock stands alone, without selectors")));
                }
                Some(block) if !is_range(&block.cidr) => {
                    return Err(Invalid::spec(format!(
                        "{field}: `{}`, expected an address and a length such as 10.0.0.0/8",
                        block.cidr
                    )));
                }
                None if !selects => {
                    return Err(Invalid::spec(format!(
                        "{field}: a peer needs ipBlock, namespaceSelector or podSelector"
                    )));
                }
                _ => {}
            }
        }
    }
    Ok(given)
}

/// Certificates of an Ingress, for its own name where they say none.
pub(super) fn ingress_tls(given: &[IngressTls], host: Option<&String>) -> Vec<IngressTls> {
    let named = |tls: &IngressTls| {
        let own = || host.into_iter().cloned().collect();
        IngressTls { hosts: if tls.hosts.is_empty() { own() } else { tls.hosts.clone() }, ..tls.clone() }
    };
    given.iter().map(named).collect()
}
