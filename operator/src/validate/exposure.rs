//! Jaeger's user interface, and ways in from outside the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use vivace_config::Duration;

use super::{
    Invalid,
    network::ingress_tls,
    positive_duration, said,
    sizing::{Part, Sizing, explicit},
    small_count,
};
use crate::{
    api::{
        Ingress, IngressTls, IngressType, JaegerQuery, JaegerUi, MonitorTab, Resources, Termination,
        UiAuthentication,
    },
    names::Identity,
    platform::{Feature, Platform},
};

/// Jaeger's user interface.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Jaeger {
    pub(crate) resources: ResourceRequirements,
    pub(crate) tempo_query_resources: ResourceRequirements,
    pub(crate) services_query_duration: Duration,
    pub(crate) concurrent_requests: u32,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) exposure: Exposure,
    pub(crate) oauth: Option<Oauth>,
}

/// Metrics of services, from Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Monitor {
    pub(crate) endpoint: String,
    pub(crate) namespace: Option<String>,
    /// It is OpenShift's own, which wants to know who asks.
    pub(crate) is_cluster_monitoring: bool,
}

/// OpenShift's proxy, which lets in who passes an access review.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Oauth {
    pub(crate) access_review: String,
    pub(crate) resources: ResourceRequirements,
}

/// A way in from outside the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Exposure {
    #[default]
    Closed,
    Ingress {
        host: Option<String>,
        class: Option<String>,
        annotations: BTreeMap<String, String>,
        tls: Vec<IngressTls>,
    },
    Route {
        host: Option<String>,
        annotations: BTreeMap<String, String>,
        termination: Termination,
    },
}

/// Where OpenShift's own metrics are asked for.
const CLUSTER_MONITORING: &str = "https://thanos-querier.openshift-monitoring.svc.cluster.local:";

/// The user interface of a stack, `None` where it is off.
pub(super) fn of_stack(
    given: &JaegerQuery,
    identity: &Identity,
    platform: &Platform,
    sizing: &Sizing<'_>,
    [frontends, queriers]: [i32; 2],
    warnings: &mut Vec<String>,
) -> Result<Option<Jaeger>, Invalid> {
    const FIELD: &str = "spec.template.queryFrontend.jaegerQuery";
    let ingress = given.ingress.clone().unwrap_or_default();
    if given.enabled != Some(true) {
        return match ingress.ingress_type {
            Some(IngressType::Ingress | IngressType::Route) => {
                Err(Invalid::spec(format!("{FIELD}.ingress.type: needs the Jaeger UI to be enabled")))
            }
            _ => Ok(None),
        };
    }
    let wants_route = ingress.ingress_type == Some(IngressType::Route);
    let authentication = given.authentication.clone().unwrap_or_default();
    let oauth = oauth(&authentication, wants_route, identity, platform, |own| {
        sizing.resources(Part::OauthProxy, "oauth-proxy", own, frontends)
    })?;
    let default = if oauth.is_some() { Termination::Reencrypt } else { Termination::Edge };
    let concurrent =
        small_count(&format!("{FIELD}.findTracesConcurrentRequests"), given.find_traces_concurrent_requests)?;
    let twice = u32::try_from(queriers.max(1).saturating_mul(2)).unwrap_or(2);
    let tempo_query = given.tempo_query.clone().unwrap_or_default().resources;
    Ok(Some(Jaeger {
        resources: sizing.resources(
            Part::JaegerQuery,
            "jaeger-query",
            given.resources.as_ref(),
            frontends,
        )?,
        tempo_query_resources: sizing.resources(
            Part::TempoQuery,
            "tempo-query",
            tempo_query.as_ref(),
            frontends,
        )?,
        services_query_duration: services_query_duration(FIELD, given.services_query_duration.as_deref())?,
        concurrent_requests: concurrent.filter(|count| *count > 0).unwrap_or(twice),
        monitor: monitor(given.monitor_tab.as_ref())?,
        exposure: exposure(&format!("{FIELD}.ingress.type"), &ingress, default, platform, warnings),
        oauth,
    }))
}

/// The user interface of a monolithic stack, `None` where it is off.
pub(super) fn of_monolithic(
    given: &JaegerUi,
    identity: &Identity,
    platform: &Platform,
    behind_gateway: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Jaeger>, Invalid> {
    let ingress = given.ingress.clone().unwrap_or_default();
    let route = given.route.clone().unwrap_or_default();
    let (wants_ingress, wants_route) = (ingress.enabled == Some(true), route.enabled == Some(true));
    if given.enabled != Some(true) {
        let set = [("ingress", wants_ingress), ("route", wants_route)].into_iter().find(|(_, on)| *on);
        return set.map_or(Ok(None), |(name, _)| {
            Err(Invalid::spec(format!("spec.jaegerui.{name}.enabled: needs the Jaeger UI to be enabled")))
        });
    }
    let authentication = given.authentication.clone().unwrap_or_default();
    // Behind the gateway, it is the gateway that asks who comes.
    let oauth = if behind_gateway {
        None
    } else {
        oauth(&authentication, wants_route, identity, platform, |own| own_resources("oauth-proxy", own))?
    };
    let serves_tls = oauth.is_some() || (behind_gateway && platform.has(Feature::ServingCerts));
    let default = if serves_tls { Termination::Reencrypt } else { Termination::Edge };
    let exposure = if wants_route && routes_are_there("spec.jaegerui.route.enabled", platform, warnings) {
        Exposure::Route {
            host: said(route.host.as_ref()),
            annotations: route.annotations,
            termination: route.termination.unwrap_or(default),
        }
    } else if wants_ingress {
        Exposure::Ingress {
            host: said(ingress.host.as_ref()),
            class: said(ingress.ingress_class_name.as_ref()),
            annotations: ingress.annotations,
            tls: ingress_tls(&ingress.tls, said(ingress.host.as_ref()).as_ref()),
        }
    } else {
        Exposure::Closed
    };
    let concurrent =
        small_count("spec.jaegerui.findTracesConcurrentRequests", given.find_traces_concurrent_requests)?;
    Ok(Some(Jaeger {
        resources: own_resources("jaeger-query", given.resources.as_ref())?,
        tempo_query_resources: own_resources("tempo-query", given.tempo_query_resources.as_ref())?,
        services_query_duration: services_query_duration(
            "spec.jaegerui",
            given.services_query_duration.as_deref(),
        )?,
        concurrent_requests: concurrent.filter(|count| *count > 0).unwrap_or(2),
        monitor: None,
        exposure,
        oauth,
    }))
}

/// Resources of a container that nothing but the resource says anything about.
pub(super) fn own_resources(name: &str, own: Option<&Resources>) -> Result<ResourceRequirements, Invalid> {
    own.map_or_else(|| Ok(ResourceRequirements::default()), |own| explicit(name, own))
}

fn services_query_duration(field: &str, text: Option<&str>) -> Result<Duration, Invalid> {
    let given = positive_duration(&format!("{field}.servicesQueryDuration"), text)?;
    Ok(given.unwrap_or(Duration::from_secs(72 * 3600)))
}

fn monitor(given: Option<&MonitorTab>) -> Result<Option<Monitor>, Invalid> {
    let Some(given) = given.filter(|tab| tab.enabled == Some(true)) else { return Ok(None) };
    let Some(endpoint) = said(given.prometheus_endpoint.as_ref()) else {
        return Err(Invalid::spec(
            "spec.template.queryFrontend.jaegerQuery.monitorTab.prometheusEndpoint: must be set when the monitor tab is enabled",
        ));
    };
    Ok(Some(Monitor {
        is_cluster_monitoring: endpoint.starts_with(CLUSTER_MONITORING),
        namespace: said(given.red_metrics_namespace.as_ref()),
        endpoint,
    }))
}

/// On where the resource says so, and by itself for a Route where OpenShift's proxy is to be had.
fn oauth(
    given: &UiAuthentication,
    has_route: bool,
    identity: &Identity,
    platform: &Platform,
    resources: impl FnOnce(Option<&Resources>) -> Result<ResourceRequirements, Invalid>,
) -> Result<Option<Oauth>, Invalid> {
    if !given.enabled.unwrap_or(has_route && platform.has(Feature::OauthProxy)) {
        return Ok(None);
    }
    let default =
        || format!(r#"{{"namespace": "{}", "resource": "pods", "verb": "get"}}"#, identity.namespace);
    Ok(Some(Oauth {
        access_review: said(given.sar.as_ref()).unwrap_or_else(default),
        resources: resources(given.resources.as_ref())?,
    }))
}

/// Whether Routes can be made; where not, a warning says so, and nothing is opened in their stead.
fn routes_are_there(field: &str, platform: &Platform, warnings: &mut Vec<String>) -> bool {
    let there = platform.has(Feature::Route);
    if !there {
        warnings.push(format!("{field}: no Route is made, the cluster has no API route.openshift.io"));
    }
    there
}

/// What an `ingress` section asks for.
pub(super) fn exposure(
    field: &str,
    given: &Ingress,
    termination: Termination,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Exposure {
    let host = said(given.host.as_ref());
    let annotations = given.annotations.clone();
    if given.ingress_type != Some(IngressType::Ingress) && !given.tls.is_empty() {
        warnings
            .push(format!("{field}: the certificates in tls are of type ingress only, they have no effect"));
    }
    match given.ingress_type {
        Some(IngressType::Ingress) => {
            let tls = ingress_tls(&given.tls, host.as_ref());
            Exposure::Ingress { host, class: said(given.ingress_class_name.as_ref()), annotations, tls }
        }
        Some(IngressType::Route) if routes_are_there(field, platform, warnings) => {
            let own = given.route.clone().unwrap_or_default().termination;
            Exposure::Route { host, annotations, termination: own.unwrap_or(termination) }
        }
        _ => Exposure::Closed,
    }
}
