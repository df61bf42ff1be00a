//! `generate`: the objects of a stack without a cluster, for those who apply manifests themselves. Pure but for the
//! files that it is given.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    api::{SecretType, TempoStack},
    build::{self, Desired},
    dereference,
    facts::{Contents, Facts},
    manifest::{self, Custom},
    platform::Platform,
    run::PlatformOptions,
    validate::{self, validate},
};

/// What `generate` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// File with TempoStack or TempoMonolithic resources. Secrets, ConfigMaps and ServiceAccounts in the same file
    /// stand for those of the cluster.
    #[arg(long)]
    cr: PathBuf,
    /// File to write; standard output without it.
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    platform: PlatformOptions,
    /// Container that the storage Secret will hold, where it is not in the file.
    #[arg(long = "storage.azure.container", default_value = "azure-container")]
    azure_container: String,
    /// Bucket that the storage Secret will hold, where it is not in the file.
    #[arg(long = "storage.gcs.bucket", default_value = "tempo")]
    gcs_bucket: String,
    /// Endpoint that the storage Secret will hold, where it is not in the file.
    #[arg(long = "storage.s3.endpoint", default_value = "http://minio:9000")]
    endpoint: String,
    /// Bucket that the storage Secret will hold, where it is not in the file.
    #[arg(long = "storage.s3.bucket", default_value = "tempo")]
    bucket: String,
}

/// Writes the manifests of the resources in a file.
pub fn generate(options: Options) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&options.cr)
        .with_context(|| format!("cannot read {}", options.cr.display()))?;
    let mut given = manifest::read(&text).with_context(|| format!("cannot use {}", options.cr.display()))?;
    if given.resources.is_empty() {
        bail!("{} holds no TempoStack and no TempoMonolithic", options.cr.display());
    }
    given.facts.entropy = dereference::entropy()?;
    let (platform, _) = options.platform.platform()?;
    let mut yaml = String::new();
    for resource in &given.resources {
        for mut desired in objects(resource, given.facts.clone(), &platform, &options)? {
            forget_owner(&mut desired.object);
            yaml.push_str("---\n");
            yaml.push_str(&serde_yaml::to_string(&desired.object)?);
        }
    }
    match options.output {
        Some(path) => std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display())),
        None => crate::print(&yaml).context("cannot write the manifests"),
    }
}

fn objects(
    resource: &Custom,
    mut facts: Facts,
    platform: &Platform,
    options: &Options,
) -> anyhow::Result<Vec<Desired>> {
    let prepared = match resource {
        Custom::Stack(stack) => {
            stand_in(stack, &mut facts, options);
            build::build(&validate(stack, &facts, platform)?)
        }
        Custom::Monolithic(monolithic) => {
            facts.service_accounts.extend(monolithic.spec.service_account.clone());
            build::build_monolithic(&validate::validate_monolithic(monolithic, &facts, platform)?)
        }
    };
    prepared.into_ordered().with_context(|| format!("cannot write the objects of {}", resource.name().1))
}

/// Puts something in the place of a storage Secret and of an account that are not in the file: they will be there when the manifests
/// are applied.
fn stand_in(stack: &TempoStack, facts: &mut Facts, options: &Options) {
    facts.service_accounts.extend(stack.spec.service_account.clone());
    let storage = &stack.spec.storage;
    let tls = storage.tls.clone().unwrap_or_default();
    if let Some(ca) = tls.ca_name.filter(|name| !name.is_empty()) {
        let bundle = Contents(BTreeMap::from([("ca.crt".to_owned(), Vec::new())]));
        facts.config_maps.entry(ca).or_insert(bundle);
    }
    let pairs: &[(&str, &str)] = match storage.secret.secret_type {
        SecretType::S3 => &[
            ("endpoint", &options.endpoint),
            ("bucket", &options.bucket),
            ("access_key_id", "generated"),
            ("access_key_secret", "generated"),
        ],
        SecretType::Azure => &[
            ("container", &options.azure_container),
            ("account_name", "generated"),
            ("account_key", "generated"),
        ],
        SecretType::Gcs => &[("bucketname", &options.gcs_bucket), ("key.json", "{}")],
    };
    let contents = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    facts.secrets.entry(storage.secret.name.clone()).or_insert(Contents(contents));
}

/// A resource in a file has no uid that could own anything.
fn forget_owner(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("ownerReferences");
    }
}
