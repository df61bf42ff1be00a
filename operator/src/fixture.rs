//! Resources for tests, from the YAML that a user would write.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSecurityContext;

use crate::{
    api::{TempoMonolithic, TempoStack},
    facts::{Contents, Facts},
    platform::{Distribution, Gates, Images, Platform},
    validate::{Invalid, Monolith, Stack, validate, validate_monolithic},
};

/// The data of a Secret or ConfigMap.
pub(crate) fn contents(pairs: &[(&str, &str)]) -> Contents {
    let bytes = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
    Contents(pairs.iter().map(bytes).collect::<BTreeMap<_, _>>())
}

/// A Secret that is complete.
pub(crate) const COMPLETE: [(&str, &str); 4] = [
    ("endpoint", "http://minio.storage.svc:9000"),
    ("bucket", "traces"),
    ("access_key_id", "id"),
    ("access_key_secret", "key"),
];

/// What the cluster holds: that Secret, and a ConfigMap with an authority.
pub(crate) fn facts() -> Facts {
    with_secret(&COMPLETE)
}

/// As `facts`, with this in the Secret.
pub(crate) fn with_secret(pairs: &[(&str, &str)]) -> Facts {
    let secrets = ["b", "bucket", "c", "own"].map(|name| (name.to_owned(), contents(pairs)));
    let maps = ["ca", "own"].map(|name| (name.to_owned(), contents(&[("ca.crt", "PEM")])));
    Facts {
        secrets: BTreeMap::from(secrets),
        config_maps: BTreeMap::from(maps),
        service_accounts: ["mine".to_owned()].into(),
        ..Facts::default()
    }
}

/// A plain cluster without anybody else's operators, and with nothing encrypted.
pub(crate) fn plain() -> Platform {
    platform("-httpEncryption,-grpcEncryption")
}

/// A plain cluster with these gates.
pub(crate) fn platform(gates: &str) -> Platform {
    let gates: Gates = gates.parse().expect("these are gates");
    let image = |name: &str| format!("{name}:1");
    let images = Images {
        tempo: image("vivace"),
        tempo_query: image("bridge"),
        jaeger_query: image("jaeger"),
        gateway: image("gateway"),
        opa: image("opa"),
        oauth_proxy: image("proxy"),
        operator: image("operator"),
    };
    Platform::of(Distribution::Community, &gates, images)
}

/// OpenShift with all that it has.
pub(crate) fn openshift() -> Platform {
    let gates = "openshift.route,openshift.servingCertsService,openshift.oauthProxy,prometheusOperator";
    Platform {
        distribution: Distribution::OpenShift,
        pod_security_context: PodSecurityContext::default(),
        base_domain: Some("apps.example.org".to_owned()),
        ..platform(gates)
    }
}

/// A resource with this below `spec:`; its storage is added.
pub(crate) fn resource(spec: &str) -> TempoStack {
    let yaml = format!(
        "apiVersion: tempo.grafana.com/v1alpha1\nkind: TempoStack\n\
         metadata: {{name: shop, namespace: prod, uid: u1, generation: 3}}\nspec:\n{}{spec}\n",
        if spec.contains("  storage:") { "" } else { "  storage: {secret: {name: bucket, type: s3}}\n" }
    );
    serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

/// What becomes of it.
pub(crate) fn checked(spec: &str, facts: &Facts) -> Result<Stack, Invalid> {
    validate(&resource(spec), facts, &plain())
}

/// A stack that is sound.
pub(crate) fn stack(spec: &str) -> Stack {
    checked(spec, &facts()).expect("the stack is sound")
}

/// A monolithic one, with this as its spec.
pub(crate) fn monolithic(spec: &str, platform: &Platform) -> Result<Monolith, Invalid> {
    let yaml = format!(
        "apiVersion: tempo.grafana.com/v1alpha1\nkind: TempoMonolithic\n\
         metadata: {{name: mono, namespace: prod, uid: u1}}\nspec: {spec}\n"
    );
    let resource: TempoMonolithic =
        serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"));
    validate_monolithic(&resource, &facts(), platform)
}
