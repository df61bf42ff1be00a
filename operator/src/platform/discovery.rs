//! Asks the cluster what it has. IO, read only.
//!
//! Without the right to look, or on a cluster without OpenShift's kinds, the defaults stay. An API server that does not
//! answer is an error: what it has would be missing in all that is made until the operator starts again.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::{Distribution, Feature, Gates, Platform, TlsProfile, TlsVersion, tls};

/// Adds to a platform what the cluster says of itself; named gates stay as they are.
pub(crate) async fn discover(
    client: &Client,
    mut platform: Platform,
    gates: &Gates,
) -> Result<Platform, kube::Error> {
    let list = if_allowed(client.list_api_groups().await, "the API groups of the cluster")?;
    let groups: BTreeSet<_> = list.into_iter().flat_map(|list| list.groups).map(|group| group.name).collect();
    // GRPCRoute is younger than the group's version.
    let routes = if groups.contains("gateway.networking.k8s.io") {
        kinds(client, "gateway.networking.k8s.io/v1").await?
    } else {
        BTreeSet::new()
    };
    if platform.cert_manager.is_some() && !groups.contains("cert-manager.io") {
        platform.cert_manager = None;
        platform.lacks_cert_manager = true;
    }
    let openshift =
        groups.contains("config.openshift.io") || platform.distribution == Distribution::OpenShift;
    let found = [
        (Feature::Route, groups.contains("route.openshift.io")),
        (Feature::ServingCerts, openshift && groups.contains("route.openshift.io")),
        (Feature::OauthProxy, openshift && groups.contains("oauth.openshift.io")),
        (Feature::ClusterTlsPolicy, openshift && groups.contains("config.openshift.io")),
        (Feature::Prometheus, groups.contains("monitoring.coreos.com")),
        (Feature::Grafana, groups.contains("grafana.integreatly.org")),
        (Feature::HttpRoute, routes.contains("HTTPRoute")),
        (Feature::GrpcRoute, routes.contains("GRPCRoute")),
    ];
    for (feature, is_there) in found {
        if is_there && !gates.off.contains(&feature) {
            platform.features.insert(feature);
        }
    }
    if platform.has(Feature::ClusterTlsPolicy)
        && let Some(server) = cluster_object(client, "config.openshift.io", "v1", "APIServer").await?
    {
        platform.tls = profile(&server);
    }
    if platform.has(Feature::Route) && platform.base_domain.is_none() {
        let dns = cluster_object(client, "config.openshift.io", "v1", "DNS").await?;
        let domain = dns.as_ref().and_then(|dns| dns.pointer("/spec/baseDomain")).and_then(Value::as_str);
        platform.base_domain = domain.map(str::to_owned);
    }
    if let Some(found) = api_server(client).await? {
        platform.api_server = found;
    }
    Ok(platform)
}

/// An answer, or nothing where the operator may not ask or there is no such thing.
fn if_allowed<T>(answer: Result<T, kube::Error>, what: &str) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 404) => {
            tracing::warn!(error = status.message, "cannot read {what}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Kinds of a version of a group.
async fn kinds(client: &Client, version: &str) -> Result<BTreeSet<String>, kube::Error> {
    let list = if_allowed(client.list_api_group_resources(version).await, version)?;
    Ok(list.into_iter().flat_map(|list| list.resources).map(|resource| resource.kind).collect())
}

async fn cluster_object(
    client: &Client,
    group: &str,
    version: &str,
    kind: &str,
) -> Result<Option<Value>, kube::Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let found = if_allowed(api.get_opt("cluster").await, kind)?.flatten();
    Ok(found.and_then(|object| serde_json::to_value(object).ok()))
}

/// The profile of OpenShift's APIServer; Intermediate where it names none.
fn profile(server: &Value) -> TlsProfile {
    let wanted = server.pointer("/spec/tlsSecurityProfile");
    let name = wanted.and_then(|wanted| wanted["type"].as_str()).unwrap_or("Intermediate");
    if let Some(named) = TlsProfile::named(name) {
        return named;
    }
    let custom = wanted.and_then(|wanted| wanted.get("custom"));
    let ciphers = custom.and_then(|custom| custom["ciphers"].as_array());
    let version = custom.and_then(|custom| custom["minTLSVersion"].as_str());
    TlsProfile {
        min_version: version.and_then(TlsVersion::parse).unwrap_or(TlsVersion::Tls12),
        ciphers: ciphers.into_iter().flatten().filter_map(Value::as_str).filter_map(tls::iana).collect(),
    }
}

async fn api_server(client: &Client) -> Result<Option<Vec<(std::net::IpAddr, u16)>>, kube::Error> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let Some(slice) = if_allowed(api.get_opt("kubernetes").await, "where the API server listens")?.flatten()
    else {
        return Ok(None);
    };
    let ports: Vec<u16> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| port.port.and_then(|port| u16::try_from(port).ok()))
        .collect();
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let parsed = addresses.filter_map(|address| address.parse().ok());
    Ok(Some(parsed.flat_map(|ip| ports.iter().map(move |port| (ip, *port))).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_may_not_ask_goes_by_the_defaults_and_an_api_server_that_is_away_is_an_error() {
        let refused = |code| {
            let status = json!({"status": "Failure", "code": code, "message": "no", "reason": "No"});
            let status = serde_json::from_value(status).expect("a status");
            if_allowed::<()>(Err(kube::Error::Api(Box::new(status))), "x")
        };
        assert!(matches!(refused(403), Ok(None)) && matches!(refused(404), Ok(None)));
        assert!(refused(503).is_err() && refused(429).is_err());
        assert!(matches!(if_allowed(Ok(1), "x"), Ok(Some(1))));
    }

    #[test]
    fn the_cluster_s_profile_is_taken_over_and_intermediate_where_there_is_none() {
        assert_eq!(profile(&json!({"spec": {}})), TlsProfile::intermediate());
        assert_eq!(
            profile(&json!({"spec": {"tlsSecurityProfile": {"type": "Modern"}}})),
            TlsProfile::modern()
        );
        let custom = profile(&json!({"spec": {"tlsSecurityProfile": {"type": "Custom", "custom": {
            "minTLSVersion": "VersionTLS11", "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-SHA"],
        }}}}));
        assert_eq!(custom.min_version, TlsVersion::Tls11);
        assert_eq!(custom.ciphers, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    }
}
