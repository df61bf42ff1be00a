//! Resources from a file instead of a cluster: the resource, and whatever it points at. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::ResourceExt;
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    api::{TempoMonolithic, TempoStack},
    dereference::{contents_of_config_map, contents_of_secret},
    facts::Facts,
    names::Owner,
};

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) resources: Vec<Custom>,
    pub(crate) facts: Facts,
}

/// One of our resources.
#[derive(Clone, Debug)]
pub(crate) enum Custom {
    Stack(Box<TempoStack>),
    Monolithic(Box<TempoMonolithic>),
}

impl Custom {
    pub(crate) fn name(&self) -> (Owner, String) {
        match self {
            Self::Stack(stack) => (Owner::TempoStack, stack.name_any()),
            Self::Monolithic(monolithic) => (Owner::TempoMonolithic, monolithic.name_any()),
        }
    }
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("document {0} is no YAML")]
    Yaml(usize, #[source] serde_yaml::Error),
    #[error("{0} {1}")]
    Resource(String, String, #[source] serde_json::Error),
}

/// Reads the documents of a file: our resources, Secrets, ConfigMaps and ServiceAccounts; others are passed over.
pub(crate) fn read(text: &str) -> Result<Manifest, ManifestError> {
    let mut all = Manifest::default();
    for (at, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let value = Value::deserialize(document).map_err(|error| ManifestError::Yaml(at + 1, error))?;
        match value["kind"].as_str().unwrap_or_default() {
            "Secret" => {
                let secret: Secret = typed(value)?;
                all.facts.secrets.insert(secret.name_any(), contents_of_secret(secret));
            }
            "ConfigMap" => {
                let map: ConfigMap = typed(value)?;
                all.facts.config_maps.insert(map.name_any(), contents_of_config_map(map));
            }
            "ServiceAccount" => {
                all.facts.service_accounts.insert(typed::<ServiceAccount>(value)?.name_any());
            }
            "TempoStack" => all.resources.push(Custom::Stack(Box::new(typed(value)?))),
            "TempoMonolithic" => all.resources.push(Custom::Monolithic(Box::new(typed(with_spec(value))?))),
            _ => {}
        }
    }
    let names: BTreeSet<(Owner, String)> = all.resources.iter().map(Custom::name).collect();
    let both = |name: &String| {
        [Owner::TempoStack, Owner::TempoMonolithic].map(|owner| names.contains(&(owner, name.clone())))
    };
    all.facts.has_twin = names.iter().any(|(_, name)| both(name) == [true, true]);
    Ok(all)
}

/// Nothing has to be said of a monolithic stack, which the API server fills in.
fn with_spec(mut value: Value) -> Value {
    if value["spec"].is_null() {
        value["spec"] = serde_json::json!({});
    }
    value
}

fn typed<K: DeserializeOwned>(value: Value) -> Result<K, ManifestError> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    serde_json::from_value(value).map_err(|error| ManifestError::Resource(kind, name, error))
}
