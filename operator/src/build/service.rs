//! Ports and Services. Order of ports, names and target by name are relied on by users' tools.

use k8s_openapi::{
    api::core::v1::{ContainerPort, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    api::ServiceSettings,
    names::{Identity, Labels},
    role::Role,
};

/// A named port of a container or a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: &'static str,
    pub(crate) number: i32,
    pub(crate) udp: bool,
}

const fn tcp(name: &'static str, number: i32) -> Port {
    Port { name, number, udp: false }
}

const fn udp(name: &'static str, number: i32) -> Port {
    Port { name, number, udp: true }
}

/// The API, `/ready` and `/metrics`.
pub(crate) const HTTP: Port = tcp("http", 3200);
/// Between the roles.
pub(crate) const GRPC: Port = tcp("grpc", 9095);
/// Kept for Tempo's own workloads, which balance over it.
pub(crate) const GRPC_LB: Port = tcp("grpclb", 9096);
/// The API again, by TLS and for the kubelet, which has no certificate to show.
pub(crate) const INTERNAL_HTTPS: Port = tcp("tempo-internal", 3101);
/// Jaeger's query: gRPC, user interface, metrics.
pub(crate) const JAEGER: [Port; 3] =
    [tcp("jaeger-grpc", 16685), tcp("jaeger-ui", 16686), tcp("jaeger-metrics", 16687)];
/// Between Jaeger's query and the bridge.
pub(crate) const BRIDGE: Port = tcp("proxy-grpc", 7777);
/// OpenShift's proxy before a user interface.
pub(crate) const OAUTH_PROXY: Port = tcp("oauth-proxy", 8443);
/// The gateway: gRPC, health and metrics, HTTP.
pub(crate) const GATEWAY_GRPC: Port = tcp("grpc-public", 8090);
pub(crate) const GATEWAY_INTERNAL: Port = tcp("internal", 8081);
pub(crate) const GATEWAY_HTTP: Port = tcp("public", 8080);
/// The gateway's policy agent.
pub(crate) const OPA: [Port; 2] = [tcp("opa-http", 8082), tcp("opa-metrics", 8083)];
/// Gossip.
pub(crate) const GOSSIP: Port = tcp("http-memberlist", 7946);
pub(crate) const OTLP_HTTP: Port = tcp("otlp-http", 4318);
pub(crate) const OTLP_GRPC: Port = tcp("otlp-grpc", 4317);
/// Receivers other than OTLP.
pub(crate) const OTHER_RECEIVERS: [Port; 5] = [
    tcp("thrift-http", 14268),
    udp("thrift-compact", 6831),
    udp("thrift-binary", 6832),
    tcp("jaeger-grpc", 14250),
    tcp("http-zipkin", 9411),
];

impl Port {
    pub(crate) fn protocol(self) -> String {
        if self.udp { "UDP" } else { "TCP" }.to_owned()
    }

    fn on_service(self) -> ServicePort {
        ServicePort {
            name: Some(self.name.to_owned()),
            port: self.number,
            protocol: Some(self.protocol()),
            target_port: Some(IntOrString::String(self.name.to_owned())),
            ..ServicePort::default()
        }
    }

    pub(crate) fn on_container(self) -> ContainerPort {
        ContainerPort {
            name: Some(self.name.to_owned()),
            container_port: self.number,
            protocol: Some(self.protocol()),
            ..ContainerPort::default()
        }
    }
}

/// The Service of a component.
pub(crate) fn of_role(identity: &Identity, role: Role, ports: &[Port]) -> Service {
    let selector = identity.labels(role.as_str());
    named(identity, identity.role(role), role.as_str(), selector, ports)
}

/// A Service with an address of its own.
pub(crate) fn named(
    identity: &Identity,
    name: String,
    component: &str,
    selector: Labels,
    ports: &[Port],
) -> Service {
    Service {
        metadata: identity.meta(name, identity.labels(component)),
        spec: Some(spec(selector, ports)),
        ..Service::default()
    }
}

/// A Service that stands for the addresses of its pods, ready or not.
pub(crate) fn headless(identity: &Identity, component: &str, selector: Labels, ports: &[Port]) -> Service {
    Service {
        metadata: identity.meta(identity.object(component), identity.labels(component)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ..spec(selector, ports)
        }),
        ..Service::default()
    }
}

/// What the resource says of a Service. Annotations of ours stay as they are.
pub(super) fn open(service: &mut Service, settings: &ServiceSettings) {
    if !settings.annotations.is_empty() {
        let ours = service.metadata.annotations.take().unwrap_or_default();
        let all = settings.annotations.clone().into_iter().chain(ours).collect();
        service.metadata.annotations = Some(all);
    }
    if let Some(spec) = &mut service.spec {
        spec.type_ = settings.service_type.map(|kind| kind.as_str().to_owned());
        spec.load_balancer_class.clone_from(&settings.load_balancer_class);
        spec.load_balancer_source_ranges =
            Some(settings.load_balancer_source_ranges.clone()).filter(|ranges| !ranges.is_empty());
    }
}

/// Has OpenShift make a certificate for the Service, in a Secret of this name.
pub(super) fn serve_with(service: &mut Service, secret: &str) {
    let annotations = service.metadata.annotations.get_or_insert_default();
    annotations.insert("service.beta.openshift.io/serving-cert-secret-name".to_owned(), secret.to_owned());
}

fn spec(selector: Labels, ports: &[Port]) -> ServiceSpec {
    ServiceSpec {
        ports: Some(ports.iter().map(|port| port.on_service()).collect()),
        selector: Some(selector),
        ..ServiceSpec::default()
    }
}
