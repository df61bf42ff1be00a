//! OpenShift's proxy before Jaeger's user interface.

use k8s_openapi::api::core::v1::{Container, PodSpec, Probe};
use serde_json::json;

use super::{
    container::{self, Access, mount, named, secret_volume},
    service::OAUTH_PROXY,
};
use crate::{
    names::{Identity, volume_name},
    validate::{Common, Oauth},
};

/// The Secret in which OpenShift puts the proxy's certificate.
pub(super) fn certificate(identity: &Identity) -> String {
    format!("{}-ui-oauth-proxy-tls", identity.name)
}

/// Adds the proxy to a pod that runs as this account.
pub(super) fn add(pod: &mut PodSpec, common: &Common, proxy: &Oauth, account: &str) {
    let secret = certificate(&common.identity);
    let volume = volume_name(&secret);
    let args = vec![
        "--cookie-secret-file=/var/run/secrets/kubernetes.io/serviceaccount/token".to_owned(),
        format!("--https-address=:{}", OAUTH_PROXY.number),
        format!("--openshift-service-account={account}"),
        "--provider=openshift".to_owned(),
        "--tls-cert=/etc/tls/private/tls.crt".to_owned(),
        "--tls-key=/etc/tls/private/tls.key".to_owned(),
        "--upstream=http://localhost:16686".to_owned(),
        format!("--upstream-timeout={}", common.timeout),
        format!("--openshift-sar={}", proxy.access_review),
    ];
    pod.containers.push(Container {
        readiness_probe: Some(Probe {
            initial_delay_seconds: Some(10),
            timeout_seconds: Some(5),
            ..container::http_probe("/oauth/healthz", named(&OAUTH_PROXY), "HTTPS")
        }),
        volume_mounts: Some(vec![mount(&volume, "/etc/tls/private", Access::Default)]),
        ..container::container(
            "oauth-proxy",
            &common.images.oauth_proxy,
            args,
            &[OAUTH_PROXY],
            &proxy.resources,
        )
    });
    pod.volumes.get_or_insert_default().push(secret_volume(&volume, &secret));
}

/// Lets users who logged in come back to a Route: an annotation of the account. `purpose` keeps several apart.
pub(super) fn redirect(purpose: &str, route: &str) -> (String, String) {
    let reference = json!({"kind": "Route", "name": route});
    (
        format!("serviceaccounts.openshift.io/oauth-redirectreference.{purpose}"),
        format!(r#"{{"kind":"OAuthRedirectReference","apiVersion":"v1","reference":{reference}}}"#),
    )
}
