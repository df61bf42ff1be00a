//! Ways in from outside the cluster: Ingress, and Route on OpenShift.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use serde_json::{Map, Value, json};

use super::service::{GATEWAY_HTTP, JAEGER, OAUTH_PROXY, Port};
use crate::{
    api,
    names::Owner,
    role::Role,
    validate::{Common, Exposure},
};

/// What is opened, and by which names and ports it goes.
struct Door<'a> {
    name: String,
    component: &'static str,
    service: String,
    port: Port,
    exposure: &'a Exposure,
    /// The peer writes this for one of them.
    wildcard: bool,
}

/// Every way in.
pub(super) fn ways_in(common: &Common) -> (Vec<Ingress>, Vec<Value>) {
    let doors = doors(common);
    let ingresses = doors.iter().filter_map(|door| ingress(common, door)).collect();
    (ingresses, doors.iter().filter_map(|door| route(common, door)).collect())
}

fn doors(common: &Common) -> Vec<Door<'_>> {
    let identity = &common.identity;
    let gateway = identity.role(Role::Gateway);
    let mut all = Vec::new();
    if let Some(jaeger) = &common.jaeger {
        let (name, component) = match identity.owner {
            Owner::TempoStack => (identity.role(Role::QueryFrontend), Role::QueryFrontend.as_str()),
            Owner::TempoMonolithic => (identity.object("jaegerui"), "jaegerui"),
        };
        let behind_gateway = identity.owner == Owner::TempoMonolithic && common.gateway.is_some();
        let port = if behind_gateway {
            GATEWAY_HTTP
        } else if jaeger.oauth.is_some() {
            OAUTH_PROXY
        } else {
            JAEGER[1]
        };
        let service = if behind_gateway { gateway.clone() } else { name.clone() };
        all.push(Door { name, component, service, port, exposure: &jaeger.exposure, wildcard: false });
    }
    if let (Owner::TempoStack, Some(given)) = (identity.owner, &common.gateway) {
        all.push(Door {
            name: gateway.clone(),
            component: Role::Gateway.as_str(),
            service: gateway,
            port: GATEWAY_HTTP,
            exposure: &given.exposure,
            wildcard: true,
        });
    }
    all
}

fn ingress(common: &Common, door: &Door<'_>) -> Option<Ingress> {
    let Exposure::Ingress { host, class, annotations, tls } = door.exposure else { return None };
    let identity = &common.identity;
    let mut metadata = identity.meta(door.name.clone(), identity.labels(door.component));
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: door.service.clone(),
            port: Some(ServiceBackendPort { name: Some(door.port.name.to_owned()), number: None }),
        }),
        ..IngressBackend::default()
    };
    let path = HTTPIngressPath {
        backend: backend.clone(),
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
    };
    let rule = |host: &String| IngressRule {
        host: Some(host.clone()),
        http: Some(HTTPIngressRuleValue { paths: vec![path.clone()] }),
    };
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: class.clone(),
            rules: host.as_ref().map(|host| vec![rule(host)]),
            default_backend: host.is_none().then_some(backend),
            tls: Some(tls.iter().map(certificate).collect::<Vec<_>>()).filter(|all| !all.is_empty()),
        }),
        ..Ingress::default()
    })
}

fn certificate(tls: &api::IngressTls) -> IngressTLS {
    IngressTLS {
        hosts: Some(tls.hosts.clone()).filter(|hosts| !hosts.is_empty()),
        secret_name: tls.secret_name.clone(),
    }
}

/// An object without what is empty at its top.
pub(super) fn without_empty(mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    }
    object
}

fn route(common: &Common, door: &Door<'_>) -> Option<Value> {
    let Exposure::Route { host, annotations, termination } = door.exposure else { return None };
    let identity = &common.identity;
    let mut metadata = identity.meta(door.name.clone(), identity.labels(door.component));
    // As long as the stack itself may take; who sets it otherwise means it.
    let mut all = std::collections::BTreeMap::from([(
        "haproxy.router.openshift.io/timeout".to_owned(),
        common.timeout.to_string(),
    )]);
    all.extend(annotations.clone());
    metadata.annotations = Some(all);
    let mut spec = Map::new();
    if let Some(host) = host {
        spec.insert("host".to_owned(), host.clone().into());
    }
    spec.insert("port".to_owned(), json!({"targetPort": door.port.name}));
    spec.insert("to".to_owned(), json!({"kind": "Service", "name": door.service}));
    if let Some(termination) = termination.as_str() {
        spec.insert("tls".to_owned(), json!({"termination": termination}));
    }
    if door.wildcard {
        spec.insert("wildcardPolicy".to_owned(), "None".into());
    }
    Some(json!({
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": metadata,
        "spec": spec,
    }))
}
