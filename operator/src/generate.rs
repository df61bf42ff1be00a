//! `generate`: the objects of a stack without a cluster, for those who apply manifests themselves. Pure but for the
//! file that it is given.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    api::TempoStack,
    build,
    facts::{Facts, StorageSecretData},
    validate::{Settings, validate},
};

/// What `generate` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// File with a TempoStack.
    #[arg(long)]
    cr: PathBuf,
    /// File to write; standard output without it.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Image of the workloads where the stack names none.
    #[arg(long, env = "RELATED_IMAGE_TEMPO")]
    workload_image: String,
    /// Endpoint that the storage Secret will hold.
    #[arg(long = "storage.s3.endpoint", default_value = "http://minio:9000")]
    endpoint: String,
    /// Bucket that the storage Secret will hold.
    #[arg(long = "storage.s3.bucket", default_value = "tempo")]
    bucket: String,
}

/// Writes the manifests of the stack in a file.
pub fn generate(options: Options) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&options.cr)
        .with_context(|| format!("cannot read {}", options.cr.display()))?;
    let resource: TempoStack =
        serde_yaml::from_str(&text).with_context(|| format!("{} is no TempoStack", options.cr.display()))?;
    let settings = Settings { workload_image: options.workload_image };
    let yaml = manifests(&resource, &settings, &options.endpoint, &options.bucket)?;
    match options.output {
        Some(path) => std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display())),
        None => crate::print(&yaml).context("cannot write the manifests"),
    }
}

fn manifests(
    resource: &TempoStack,
    settings: &Settings,
    endpoint: &str,
    bucket: &str,
) -> anyhow::Result<String> {
    let text = |key: &str, value: &str| (key.to_owned(), value.as_bytes().to_vec());
    let secret = BTreeMap::from([
        text("endpoint", endpoint),
        text("bucket", bucket),
        text("access_key_id", "generated"),
        text("access_key_secret", "generated"),
    ]);
    let facts = Facts {
        secret: Some(StorageSecretData(secret)),
        ca_keys: Some(vec!["ca.crt".to_owned()]),
        ..Facts::default()
    };
    let stack = validate(resource, &facts, settings)?;
    let mut yaml = String::new();
    for mut desired in build::build(&stack).into_ordered(&stack)? {
        forget_owner(&mut desired.object);
        yaml.push_str("---\n");
        yaml.push_str(&serde_yaml::to_string(&desired.object)?);
    }
    Ok(yaml)
}

/// A resource in a file has no uid that could own anything.
fn forget_owner(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("ownerReferences");
    }
}
