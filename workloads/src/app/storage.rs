//! From `storage.trace` to an open store: what is missing, malformed or contradictory is an error that names
//! its key. IO: reads the files that are named.
//!
//! Keys of Tempo that cannot matter here are accepted: `list_blocks_concurrency` (a tenant is one flat
//! listing), `native_aws_auth_enabled`, `tls_cipher_suites`, `checksum_type`, `max_buffers`, `pool`, `search`,
//! and the external caches.

mod azure;
mod gcs;
mod memory;
mod s3;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tracing_core::store::{Access, Backend, Hedge, PollOptions, Store, StoreOptions};
use vivace_config::{Config, Opaque, Secret, Trace};

use crate::{frontend::oldest_list, ingester::IngesterOptions};

/// What a query may take, and what two clocks may differ by in the time for which blocks are named.
const MARGIN: Duration = Duration::from_mins(2);

/// Opens where blocks are kept.
pub(crate) fn open(config: &Trace) -> anyhow::Result<Arc<Store>> {
    let (backend, access) = match config.backend() {
        "local" => (Backend::Local { path: config.local_path().into() }, Access::default()),
        "s3" => s3::options(&config.s3)?,
        "gcs" => gcs::options(&config.gcs)?,
        "azure" => azure::options(&config.azure)?,
        name => bail!("storage.trace.backend: expected local, s3, gcs or azure, found `{name}`"),
    };
    let cache_bytes = match config.read_cache_bytes {
        Some(bytes) => usize::try_from(bytes.0).unwrap_or(usize::MAX),
        None => memory::cache_bytes(),
    };
    let options = StoreOptions { access, poll: poll(config), cache_bytes, ..StoreOptions::new(backend) };
    Store::open(options).context("storage.trace")
}

/// The ingester's settings: where it keeps what, and when it cuts.
pub(super) fn ingester(config: &Config) -> IngesterOptions {
    let trace = &config.storage.trace;
    let mut options = IngesterOptions::new(Path::new(trace.wal_path()));
    options.max_block_duration = config.ingester.max_block_duration().get();
    options.cut_bytes = config.ingester.max_block_bytes().0.clamp(1 << 20, IngesterOptions::MEMORY_CUT);
    // A block is named until no frontend takes a list that may lack it, and until the queries that did have ended.
    let poll = trace.blocklist_poll().get();
    options.recent_for = options.recent_for.max(oldest_list(poll) + poll + MARGIN);
    options
}

fn poll(config: &Trace) -> PollOptions {
    let default = PollOptions::default();
    let count = |value: Option<u32>, default: usize| match value {
        None | Some(0) => default,
        Some(n) => n as usize,
    };
    let time = |value: Option<vivace_config::Duration>, default: Duration| {
        value.map_or(default, vivace_config::Duration::get)
    };
    let age = time(config.empty_tenant_deletion_age, Duration::ZERO);
    PollOptions {
        concurrency: count(config.blocklist_poll_concurrency, default.concurrency).min(1000),
        tenant_concurrency: count(config.blocklist_poll_tenant_concurrency, default.tenant_concurrency)
            .min(1000),
        index_builders: index_builders(config),
        // Tempo believes any unless told otherwise; then new blocks stay unseen where nobody writes it any more.
        stale_index: time(config.blocklist_poll_stale_tenant_index, config.blocklist_poll().get() * 3),
        fallback: config.blocklist_poll_fallback.unwrap_or(default.fallback),
        jitter: Duration::from_millis(config.blocklist_poll_jitter_ms.unwrap_or(0).min(60_000)),
        tolerate_errors: config.blocklist_poll_tolerate_consecutive_errors.unwrap_or(default.tolerate_errors),
        tolerate_tenants: config.blocklist_poll_tolerate_tenant_failures.unwrap_or(default.tolerate_tenants),
        delete_empty: config.empty_tenant_deletion_enabled.unwrap_or(false),
        empty_age: if age.is_zero() { default.empty_age } else { age },
    }
}

/// Compactors that write the index of each tenant.
pub(super) fn index_builders(config: &Trace) -> usize {
    let default = PollOptions::default().index_builders;
    config.blocklist_poll_tenant_index_builders.map_or(default, |n| n as usize)
}

/// The keys of one backend, to be named in errors.
#[derive(Clone, Copy)]
struct Keys(&'static str);

impl Keys {
    fn name(self, key: &str) -> String {
        format!("storage.trace.{}.{key}", self.0)
    }

    fn required(self, key: &str, value: Option<&String>, what: &str) -> anyhow::Result<String> {
        let value = text(value);
        ensure!(!value.is_empty(), "{}: expected {what}, found nothing", self.name(key));
        ensure!(plain(value), "{}: expected {what}, without spaces and slashes", self.name(key));
        Ok(value.to_owned())
    }

    /// Segments joined by slashes.
    fn prefix(self, value: Option<&String>) -> anyhow::Result<String> {
        let prefix = text(value).trim_matches('/');
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || !printable(part);
        let bad = !prefix.is_empty() && prefix.split('/').any(odd);
        ensure!(!bad, "{}: expected segments joined by /, none empty or of points", self.name("prefix"));
        Ok(prefix.to_owned())
    }

    /// A credential: what goes into a header must be one line of printable characters.
    fn secret(self, key: &str, value: Option<&Secret>) -> anyhow::Result<String> {
        let secret = value.map(Secret::expose).unwrap_or_default();
        let visible = secret.chars().all(|c| c.is_ascii_graphic());
        ensure!(
            visible,
            "{}: expected printable characters without spaces and line ends, found others",
            self.name(key)
        );
        Ok(secret.to_owned())
    }

    fn file(self, key: &str, path: Option<&String>) -> anyhow::Result<Vec<u8>> {
        match text(path) {
            "" => Ok(Vec::new()),
            path => std::fs::read(path).with_context(|| format!("{}: {path}", self.name(key))),
        }
    }

    /// A map of strings.
    fn map(self, key: &str, value: &Opaque) -> anyhow::Result<Vec<(String, String)>> {
        let Some(map) = value.as_object() else {
            ensure!(value.is_null(), "{}: expected a map of strings", self.name(key));
            return Ok(Vec::new());
        };
        let entry = |(name, value): (&String, &Opaque)| {
            let value = match value {
                Opaque::String(text) => text.clone(),
                Opaque::Number(_) | Opaque::Bool(_) => value.to_string(),
                _ => bail!("{}.{name}: expected a string", self.name(key)),
            };
            ensure!(
                printable(name) && printable(&value),
                "{}.{name}: expected printable ASCII",
                self.name(key)
            );
            Ok((name.clone(), value))
        };
        map.iter().map(entry).collect()
    }

    /// `host[:port]`, with `http://` or `https://` in front of it or without.
    fn endpoint(self, value: Option<&String>, path: UrlPath) -> anyhow::Result<String> {
        let endpoint = text(value);
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
        let rest = rest.trim_end_matches('/');
        let (host, below) = rest.split_once('/').unwrap_or((rest, ""));
        let fine = matches!(scheme, "http" | "https")
            && (endpoint.is_empty() || !host.is_empty())
            && !host.contains(|c: char| c.is_whitespace() || "@?#".contains(c))
            && (below.is_empty() || path == UrlPath::Allowed)
            && host
                .rsplit_once(':')
                .is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
        let expected = "expected host[:port], with http:// or https:// or without";
        ensure!(fine, "{}: {expected}, found `{endpoint}`", self.name("endpoint"));
        Ok(endpoint.to_owned())
    }

    fn hedge(self, at: Option<vivace_config::Duration>, up_to: Option<u32>) -> anyhow::Result<Option<Hedge>> {
        const MOST: u32 = 10;
        let up_to = up_to.filter(|n| *n > 0).unwrap_or(2);
        let key = self.name("hedge_requests_up_to");
        ensure!(up_to <= MOST, "{key}: expected at most {MOST} requests, found {up_to}");
        let after = at.map(vivace_config::Duration::get).filter(|after| !after.is_zero());
        Ok(after.map(|after| Hedge { after, up_to }))
    }

    /// Bytes of one part; 0 for the default. Two parts are in memory for each upload under way.
    fn part(self, key: &str, bytes: Option<u64>, least: u64) -> anyhow::Result<u64> {
        const MOST: u64 = 5 << 30;
        const KEPT: u64 = 64 << 20;
        let Some(bytes) = bytes.filter(|bytes| *bytes > 0) else { return Ok(Access::default().part_bytes) };
        let range = least..=MOST;
        ensure!(
            range.contains(&bytes),
            "{}: expected {least} to {MOST} bytes, found {bytes}",
            self.name(key)
        );
        Ok(bytes.min(KEPT))
    }
}

/// Whether an endpoint may have a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UrlPath {
    Allowed,
    Refused,
}

fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

fn printable(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
}

fn plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic() && c != '/')
}
