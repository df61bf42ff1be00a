//! `storage.trace.gcs`.

use anyhow::ensure;
use tracing_core::store::{Access, Backend, GcsOptions};
use vivace_config::Gcs;

use super::{Keys, UrlPath, printable, text};

const KEYS: Keys = Keys("gcs");

pub(super) fn options(config: &Gcs) -> anyhow::Result<(Backend, Access)> {
    let cache_control = text(config.object_cache_control.as_ref());
    ensure!(printable(cache_control), "{}: expected printable ASCII", KEYS.name("object_cache_control"));
    let options = GcsOptions {
        bucket: KEYS.required("bucket_name", config.bucket_name.as_ref(), "the bucket's name")?,
        prefix: KEYS.prefix(config.prefix.as_ref())?,
        endpoint: KEYS.endpoint(config.endpoint.as_ref(), UrlPath::Allowed)?,
        insecure: config.insecure.unwrap_or(false),
        cache_control: cache_control.to_owned(),
        metadata: KEYS.map("object_metadata", &config.object_metadata)?,
    };
    let default = Access::default();
    let access = Access {
        hedge: KEYS.hedge(config.hedge_requests_at, config.hedge_requests_up_to)?,
        retries: config.max_retries.map_or(default.retries, |n| n.min(100) as usize),
        // Tempo takes any; the server takes no part below 5 MiB.
        part_bytes: KEYS.part("chunk_buffer_size", config.chunk_buffer_size, 1)?.max(Access::MIN_PART),
        ..default
    };
    Ok((Backend::Gcs(Box::new(options)), access))
}
