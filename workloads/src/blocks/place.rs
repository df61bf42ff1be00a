//! Which store is meant: a directory, a configuration, or a URL. IO: reads the configuration file.

use std::{fmt, path::Path, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use tracing_core::store::{Objects, Store};
use vivace_config::CommandLine;

use crate::app;

/// An open store, and how it was named.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) store: Arc<Store>,
    pub(super) objects: Objects,
    name: String,
}

/// Schemes of URLs: the backend's name, and its keys for what stands in the URL's place of the host.
const SCHEMES: [(&str, &str, &str); 5] = [
    ("s3", "s3", "bucket"),
    ("gs", "gcs", "bucket_name"),
    ("gcs", "gcs", "bucket_name"),
    ("az", "azure", "container_name"),
    ("azure", "azure", "container_name"),
];

impl Place {
    /// Opens what `spec` names, or else the store of the command line's configuration.
    pub(super) fn open(spec: Option<&str>, line: &CommandLine) -> anyhow::Result<Self> {
        Self::open_or_make(spec, line, false)
    }

    /// As [`Place::open`]; with `make`, a directory that is not there is made.
    pub(super) fn open_or_make(spec: Option<&str>, line: &CommandLine, make: bool) -> anyhow::Result<Self> {
        let line = match spec {
            None => line.clone(),
            Some(spec) => of_spec(spec)?,
        };
        if spec.is_none() && line.config_file.is_none() && line.settings.is_empty() {
            bail!("none is named: use --store DIR, --store URL, or -config.file=tempo.yaml");
        }
        let config = app::configuration(&line)?.config;
        let trace = &config.storage.trace;
        let name = match trace.backend() {
            "local" => trace.local_path().to_owned(),
            backend => spec.map_or_else(|| backend.to_owned(), without_query),
        };
        if trace.backend() == "local" && !make {
            ensure!(Path::new(&name).is_dir(), "{name}: no such directory");
        }
        let store = app::open_store(trace)?;
        Ok(Self { objects: store.objects(), store, name })
    }

    #[cfg(test)]
    pub(super) fn of(store: Arc<Store>) -> Self {
        Self { objects: store.objects(), store, name: String::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Keys may stand in the query, and are not shown.
fn without_query(spec: &str) -> String {
    spec.split('?').next().unwrap_or_default().to_owned()
}

/// The flags that say what a directory, a file or a URL says.
fn of_spec(spec: &str) -> anyhow::Result<CommandLine> {
    let flags = if let Some((scheme, rest)) = spec.split_once("://") {
        of_url(scheme, rest)?
    } else if Path::new(spec).extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
        vec![format!("-config.file={spec}"), "-config.expand-env".to_owned()]
    } else {
        vec!["-storage.trace.backend=local".to_owned(), format!("-storage.trace.local.path={spec}")]
    };
    CommandLine::parse(flags).with_context(|| without_query(spec))
}

fn of_url(scheme: &str, rest: &str) -> anyhow::Result<Vec<String>> {
    if scheme == "file" {
        return Ok(vec![
            "-storage.trace.backend=local".to_owned(),
            format!("-storage.trace.local.path={rest}"),
        ]);
    }
    let known = SCHEMES.iter().find(|(name, ..)| *name == scheme);
    let (_, backend, bucket) =
        known.with_context(|| format!("{scheme}://: expected s3://, gs://, az:// or file://"))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
    let key = |key: &str, value: &str| format!("-storage.trace.{backend}.{key}={value}");
    let mut flags = vec![format!("-storage.trace.backend={backend}"), key(bucket, name)];
    if !prefix.trim_matches('/').is_empty() {
        flags.push(key("prefix", prefix.trim_matches('/')));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        flags.push(key(name, value));
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(spec: &str) -> Vec<(String, String)> {
        let line = of_spec(spec).unwrap();
        line.settings.into_iter().map(|setting| (setting.path, setting.value)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| (format!("storage.trace.{key}"), (*value).to_owned())).collect()
    }

    #[test]
    fn a_url_is_the_same_as_the_flags_of_its_backend() {
        assert_eq!(
            settings("s3://traces/a/b?endpoint=minio:9000&insecure"),
            pairs(&[
                ("backend", "s3"),
                ("s3.bucket", "traces"),
                ("s3.prefix", "a/b"),
                ("s3.endpoint", "minio:9000"),
                ("s3.insecure", "true")
            ])
        );
        assert_eq!(settings("gs://traces"), pairs(&[("backend", "gcs"), ("gcs.bucket_name", "traces")]));
        assert_eq!(settings("/var/b"), pairs(&[("backend", "local"), ("local.path", "/var/b")]));
    }

    #[test]
    fn a_url_that_is_none_is_refused_by_name() {
        assert!(of_spec("ftp://x").unwrap_err().to_string().starts_with("ftp://: expected s3://"));
        let unknown = format!("{:#}", of_spec("s3://b?secret_kee=hush").unwrap_err());
        assert!(unknown.contains("secret_kee") && !unknown.contains("hush"), "{unknown}");
    }
}
