//! Ways in by the Gateway API: HTTPRoute and GRPCRoute, of the version that both have had since 1.1.

use serde_json::{Value, json};

use super::{
    ingress::without_empty,
    monolith::COMPONENT as MONOLITH,
    service::{GATEWAY_GRPC, GATEWAY_HTTP, HTTP, OTLP_GRPC, OTLP_HTTP, Port},
};
use crate::{
    kind::Kind,
    names::Owner,
    role::Role,
    validate::{Common, Entrance, Protocol, Route},
};

/// Every route of a stack.
pub(super) fn all(common: &Common) -> Vec<(Kind, Value)> {
    common.routes.iter().map(|route| one(common, route)).collect()
}

fn one(common: &Common, route: &Route) -> (Kind, Value) {
    let identity = &common.identity;
    let (name, component) = match (identity.owner, route.to) {
        (Owner::TempoStack, to) => {
            let role = role(to);
            (identity.role(role), role.as_str())
        }
        (Owner::TempoMonolithic, Entrance::Query) => (identity.object("query"), MONOLITH),
        (Owner::TempoMonolithic, _) => (identity.object("ingestion"), MONOLITH),
    };
    let (service, port) = backend(common, route);
    let mut metadata = identity.meta(name, identity.labels(component));
    metadata.annotations = Some(route.settings.annotations.clone()).filter(|all| !all.is_empty());
    let spec = without_empty(json!({
        "parentRefs": route.settings.parent_refs,
        "hostnames": route.settings.hostnames,
        "rules": [{"backendRefs": [{"name": service, "port": port.number}]}],
    }));
    let kind = match route.protocol {
        Protocol::Http => Kind::HttpRoute,
        Protocol::Grpc => Kind::GrpcRoute,
    };
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind.as_str(),
        "metadata": metadata,
        "spec": spec,
    });
    (kind, object)
}

const fn role(to: Entrance) -> Role {
    match to {
        Entrance::Ingestion => Role::Distributor,
        Entrance::Query => Role::QueryFrontend,
        Entrance::Gateway => Role::Gateway,
    }
}

/// The Service behind a route, and its port.
fn backend(common: &Common, route: &Route) -> (String, Port) {
    let identity = &common.identity;
    let port = match (route.to, route.protocol) {
        (Entrance::Ingestion, Protocol::Grpc) => OTLP_GRPC,
        (Entrance::Ingestion, Protocol::Http) => OTLP_HTTP,
        (Entrance::Gateway, Protocol::Grpc) => GATEWAY_GRPC,
        (Entrance::Gateway, Protocol::Http) => GATEWAY_HTTP,
        (Entrance::Query, _) => HTTP,
    };
    match identity.owner {
        Owner::TempoStack => (identity.role(role(route.to)), port),
        Owner::TempoMonolithic if common.gateway.is_none() => (identity.monolith(), port),
        // The gateway takes everything that speaks HTTP by one port.
        Owner::TempoMonolithic if route.protocol == Protocol::Http => {
            (identity.role(Role::Gateway), GATEWAY_HTTP)
        }
        Owner::TempoMonolithic => (identity.role(Role::Gateway), port),
    }
}
