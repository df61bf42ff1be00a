//! Ports and Services. Order of ports, names and target by name are relied on by users' tools.

use k8s_openapi::{
    api::core::v1::{ContainerPort, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::names::{Identity, Labels};

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

/// A Service with an address of its own.
pub(crate) fn service(identity: &Identity, component: &str, ports: &[Port]) -> Service {
    let labels = identity.labels(component);
    Service {
        metadata: identity.meta(identity.object(component), labels.clone()),
        spec: Some(spec(labels, ports)),
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

fn spec(selector: Labels, ports: &[Port]) -> ServiceSpec {
    ServiceSpec {
        ports: Some(ports.iter().map(|port| port.on_service()).collect()),
        selector: Some(selector),
        ..ServiceSpec::default()
    }
}
