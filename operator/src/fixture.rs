//! Stacks for tests, from the YAML that a user would write.

use std::collections::BTreeMap;

use crate::{
    api::TempoStack,
    facts::{Facts, StorageSecretData},
    validate::{Invalid, Settings, Stack, validate},
};

/// The Secret of a bucket.
pub(crate) fn secret(pairs: &[(&str, &str)]) -> StorageSecretData {
    let bytes = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
    StorageSecretData(pairs.iter().map(bytes).collect::<BTreeMap<_, _>>())
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
    Facts { secret: Some(secret(&COMPLETE)), ca_keys: Some(vec!["ca.crt".to_owned()]), ..Facts::default() }
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
    validate(&resource(spec), facts, &Settings { workload_image: "vivace:1".to_owned() })
}

/// A stack that is sound.
pub(crate) fn stack(spec: &str) -> Stack {
    checked(spec, &facts()).expect("the stack is sound")
}
