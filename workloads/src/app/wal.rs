//! From `ingester.wal` to where the log is kept. Pure.

use anyhow::{bail, ensure};
use vivace_config::Config;

use crate::ingester::{IngesterOptions, WalHome, WhenAway};

/// Sets what the configuration says of the log.
///
/// # Errors
/// The key and what was expected.
pub(super) fn configure(config: &Config, options: &mut IngesterOptions) -> anyhow::Result<()> {
    let wal = &config.ingester.wal;
    options.home = home(config)?;
    options.when_away = match set(wal.when_store_is_away.as_deref()) {
        None | Some("refuse") => WhenAway::Refuse,
        Some("disk") => WhenAway::Disk,
        Some(other) => {
            bail!("ingester.wal.when_store_is_away: expected refuse or disk, found `{other}`")
        }
    };
    options.max_disk_bytes = wal.max_disk_bytes.map(|size| size.0);
    ensure!(
        options.max_disk_bytes.is_none_or(|bytes| bytes >= 4 * options.cut_bytes),
        "ingester.wal.max_disk_bytes: expected at least {} (four heads), found {}",
        4 * options.cut_bytes,
        options.max_disk_bytes.unwrap_or_default()
    );
    Ok(())
}

fn home(config: &Config) -> anyhow::Result<WalHome> {
    let backend = config.storage.trace.backend();
    match set(config.ingester.wal.home.as_deref()) {
        Some("disk") => Ok(WalHome::Disk),
        Some("object") => {
            ensure!(
                matches!(backend, "s3" | "gcs" | "azure" | "local"),
                "ingester.wal.home: object needs storage.trace.backend s3, gcs, azure or local, found `{backend}`"
            );
            Ok(WalHome::Object)
        }
        Some(other) => bail!("ingester.wal.home: expected disk or object, found `{other}`"),
        None if replication_factor(config)? < 2 => Ok(WalHome::Disk),
        None if backend == "local" => {
            tracing::warn!(
                "ingester.lifecycler.ring.replication_factor: with storage.trace.backend local the log stays on \
                 this disk; where the directory is shared by all ingesters, set ingester.wal.home: object"
            );
            Ok(WalHome::Disk)
        }
        None => Ok(WalHome::Object),
    }
}

fn replication_factor(config: &Config) -> anyhow::Result<u64> {
    match config.ingester.lifecycler.ring.get("replication_factor") {
        None => Ok(1),
        Some(value) if value.is_null() => Ok(1),
        Some(value) => match value.as_u64() {
            Some(factor) => Ok(factor),
            None => {
                bail!("ingester.lifecycler.ring.replication_factor: expected a whole number, found `{value}`")
            }
        },
    }
}

fn set(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn options(yaml: &str) -> Result<IngesterOptions, String> {
        let config = vivace_config::load(yaml, &[]).unwrap().config;
        let mut options = IngesterOptions::new(Path::new("."));
        configure(&config, &mut options).map(|()| options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_replication_factor_of_two_or_more_keeps_the_log_in_the_object_store() {
        let of = |ring: &str, rest: &str| {
            options(&format!(
                "ingester: {{lifecycler: {{ring: {{{ring}}}}}{rest}}}\nstorage: {{trace: {{backend: s3}}}}"
            ))
        };
        assert_eq!(of("", "").unwrap().home, WalHome::Disk);
        assert_eq!(of("replication_factor: 1", "").unwrap().home, WalHome::Disk);
        assert_eq!(of("replication_factor: 2", "").unwrap().home, WalHome::Object);
        assert_eq!(of("replication_factor: 3", ", wal: {home: disk}").unwrap().home, WalHome::Disk);
        assert_eq!(of("", ", wal: {home: object}").unwrap().home, WalHome::Object);
        assert!(of("replication_factor: many", "").unwrap_err().contains("found `\"many\"`"));
    }

    #[test]
    fn a_directory_is_a_home_only_where_that_is_said() {
        let ring = "ingester: {lifecycler: {ring: {replication_factor: 2}}}";
        assert_eq!(options(ring).unwrap().home, WalHome::Disk);
        assert_eq!(options("ingester: {wal: {home: object}}").unwrap().home, WalHome::Object);
    }

    #[test]
    fn a_wrong_value_is_refused_by_its_key() {
        let refused = |wal: &str| options(&format!("ingester: {{wal: {{{wal}}}}}")).unwrap_err();
        assert_eq!(refused("home: tape"), "ingester.wal.home: expected disk or object, found `tape`");
        assert_eq!(
            refused("when_store_is_away: wait"),
            "ingester.wal.when_store_is_away: expected refuse or disk, found `wait`"
        );
        assert!(
            refused("max_disk_bytes: 1MiB").starts_with("ingester.wal.max_disk_bytes: expected at least ")
        );
        let options = options("ingester: {wal: {when_store_is_away: disk, max_disk_bytes: 10GiB}}").unwrap();
        assert_eq!((options.when_away, options.max_disk_bytes), (WhenAway::Disk, Some(10 << 30)));
    }
}
