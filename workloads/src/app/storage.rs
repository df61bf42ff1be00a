//! From `storage.trace` to an open store. IO: reads the certificate that is named.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use tracing_core::store::{Backend, S3Options, Store, StoreOptions};
use vivace_config::{Config, S3, Secret, Trace};

use crate::ingester::IngesterOptions;

/// Opens where blocks are kept.
pub(super) fn open(config: &Trace) -> anyhow::Result<Arc<Store>> {
    let backend = match config.backend() {
        "local" => Backend::Local { path: config.local_path().into() },
        "s3" => Backend::S3(Box::new(s3(&config.s3)?)),
        name @ ("gcs" | "azure") => {
            bail!("storage.trace.backend: {name} is not served yet, expected local or s3")
        }
        name => bail!("storage.trace.backend: expected local or s3, found `{name}`"),
    };
    Store::open(StoreOptions::new(backend)).context("storage.trace")
}

/// The ingester's settings: where it keeps what, and when it cuts.
pub(super) fn ingester(config: &Config) -> IngesterOptions {
    let trace = &config.storage.trace;
    let mut options = IngesterOptions::new(Path::new(trace.wal_path()));
    options.max_block_duration = config.ingester.max_block_duration().get();
    options.cut_bytes = config.ingester.max_block_bytes().0.clamp(1 << 20, IngesterOptions::MEMORY_CUT);
    // Frontends ask for the list that often; a block is named until each has seen it thrice.
    options.recent_for = options.recent_for.max(trace.blocklist_poll().get() * 3);
    options
}

fn s3(config: &S3) -> anyhow::Result<S3Options> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let secret = |value: &Option<Secret>| value.as_ref().map(Secret::expose).unwrap_or_default().to_owned();
    let set = |value: &Option<String>| value.as_deref().is_some_and(|text| !text.is_empty());
    ensure!(set(&config.bucket), "storage.trace.s3.bucket: expected the bucket's name, found nothing");
    for (key, value) in [
        ("storage.trace.s3.tls_cert_path", &config.tls_cert_path),
        ("storage.trace.s3.sse.type", &config.sse.r#type),
    ] {
        ensure!(!set(value), "{key}: not served yet");
    }
    let ca_pem = match config.tls_ca_path.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => {
            std::fs::read(Path::new(path)).with_context(|| format!("storage.trace.s3.tls_ca_path: {path}"))?
        }
        None => Vec::new(),
    };
    Ok(S3Options {
        bucket: text(&config.bucket),
        prefix: text(&config.prefix),
        endpoint: text(&config.endpoint),
        region: text(&config.region),
        access_key: secret(&config.access_key),
        secret_key: secret(&config.secret_key),
        session_token: secret(&config.session_token),
        insecure: config.insecure.unwrap_or(false),
        force_path_style: config.forcepathstyle.unwrap_or(false) || config.bucket_lookup_type == Some(2),
        ca_pem,
        insecure_skip_verify: config.tls_insecure_skip_verify.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(yaml: &str) -> String {
        let config = vivace_config::load(yaml, &[]).unwrap().config;
        format!("{:#}", open(&config.storage.trace).unwrap_err())
    }

    #[test]
    fn a_backend_that_is_not_served_is_refused_by_name() {
        assert_eq!(
            refusal("storage: {trace: {backend: gcs}}"),
            "storage.trace.backend: gcs is not served yet, expected local or s3"
        );
        assert_eq!(
            refusal("storage: {trace: {backend: tape}}"),
            "storage.trace.backend: expected local or s3, found `tape`"
        );
        assert_eq!(
            refusal("storage: {trace: {backend: s3}}"),
            "storage.trace.s3.bucket: expected the bucket's name, found nothing"
        );
        assert!(
            refusal("storage: {trace: {backend: s3, s3: {bucket: b, tls_ca_path: /not/there}}}")
                .starts_with("storage.trace.s3.tls_ca_path: /not/there: ")
        );
    }
}
