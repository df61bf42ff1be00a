//! How blocks are written: `storage.trace.block`, and over it the dedicated columns of each tenant.
//!
//! Where no dedicated columns are configured, each block gets those that suit what it holds.

use std::sync::Arc;

use tracing_core::{
    block::{BlockError, Dedicated, DedicatedColumn, DedicatedKind, DedicatedScope, Version, WriteOptions},
    model::Tenant,
};
use vivace_config::{Block, Limits, Opaque};

use crate::overrides::Overrides;

/// A key of the configuration that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WritingError {
    /// A value that is none of its key's.
    #[error("{key}: expected {expected}, found `{found}`")]
    Value {
        /// The key, from the root.
        key: String,
        /// What it takes.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// Dedicated columns that the format does not take.
    #[error("{key}: {source}")]
    Columns {
        /// The key, from the root.
        key: String,
        /// What is wrong.
        source: BlockError,
    },
}

/// How the blocks of every tenant are written.
#[derive(Clone, Debug, Default)]
pub struct Writing {
    base: WriteOptions,
    /// As they are configured, whatever the format has columns for.
    dedicated: Opaque,
    overrides: Option<Arc<Overrides>>,
    /// Whether blocks are made with a flag that keeps them from being compacted.
    pub no_compact: bool,
}

const KEY: &str = "storage.trace.block";
/// Limits of Bloom shards in bytes: what a reader fetches for one lookup.
const SHARD: std::ops::RangeInclusive<u64> = 1 << 10..=64 << 20;

impl Writing {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`WritingError`], which names the key and what it takes.
    pub fn new(config: &Block) -> Result<Self, WritingError> {
        let mut base = WriteOptions::default();
        let wrong = |key: &str, expected, found: String| WritingError::Value {
            key: format!("{KEY}.{key}"),
            expected,
            found,
        };
        if let Some(version) = config.version.as_deref().filter(|version| !version.is_empty()) {
            base.version = Version::of(version)
                .ok_or_else(|| wrong("version", "vParquet4 or vParquet5", version.to_owned()))?;
        }
        if let Some(share) = config.bloom_filter_false_positive {
            if !(share > 0.0 && share < 1.0) {
                let expected = "a number above 0 and below 1";
                return Err(wrong("bloom_filter_false_positive", expected, share.to_string()));
            }
            base.bloom.false_positive = share;
        }
        if let Some(bytes) = config.bloom_filter_shard_size_bytes {
            let expected = "1024 to 67108864 bytes";
            let fits = u32::try_from(bytes).ok().filter(|_| SHARD.contains(&bytes));
            base.bloom.shard_bytes =
                fits.ok_or_else(|| wrong("bloom_filter_shard_size_bytes", expected, bytes.to_string()))?;
        }
        if let Some(bytes) = config.parquet_row_group_size_bytes {
            if bytes.0 == 0 {
                return Err(wrong("parquet_row_group_size_bytes", "at least 1 byte", bytes.0.to_string()));
            }
            base.row_group_bytes = bytes.0;
        }
        let key = format!("{KEY}.parquet_dedicated_columns");
        let list = config.parquet_dedicated_columns.clone();
        dedicated(&list, &key, base.version)?;
        let no_compact = config.create_with_no_compact_flag == Some(true);
        Ok(Self { base, dedicated: list, overrides: None, no_compact })
    }

    /// The same, with what the overrides say of a tenant over it.
    #[must_use]
    pub fn over(self, overrides: Arc<Overrides>) -> Self {
        Self { overrides: Some(overrides), ..self }
    }

    /// How a tenant's blocks are written now.
    pub fn of(&self, tenant: &Tenant) -> WriteOptions {
        self.of_version(tenant, self.base.version)
    }

    /// The same for a block that keeps the format it has.
    pub fn of_version(&self, tenant: &Tenant, version: Version) -> WriteOptions {
        let mut options = WriteOptions { version, ..self.base.clone() };
        let limits = self.overrides.as_ref().map(|overrides| overrides.of(tenant));
        let tenants = limits.as_ref().map(|limits| &limits.storage.parquet_dedicated_columns);
        let list = tenants.filter(|list| !list.is_null()).unwrap_or(&self.dedicated);
        match dedicated(list, TENANT_KEY, version) {
            Ok(Some(columns)) => options.dedicated = Dedicated::Fixed(columns),
            Ok(None) => {}
            Err(error) => tracing::error!(%tenant, %error, "the tenant's dedicated columns are not used"),
        }
        options
    }
}

const TENANT_KEY: &str = "storage.parquet_dedicated_columns";

/// Refuses limits whose dedicated columns no format takes.
pub(crate) fn check(limits: &Limits) -> Result<(), WritingError> {
    dedicated(&limits.storage.parquet_dedicated_columns, TENANT_KEY, Version::V5).map(drop)
}

/// A list of dedicated columns as the format can have them; `None` where there is no list.
fn dedicated(
    list: &Opaque,
    key: &str,
    version: Version,
) -> Result<Option<Vec<DedicatedColumn>>, WritingError> {
    if list.is_null() {
        return Ok(None);
    }
    let wrong = |key: String, expected, found: &Opaque| {
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        WritingError::Value { key, expected, found }
    };
    let entries = list.as_array().ok_or_else(|| wrong(key.to_owned(), "a list", list))?;
    let mut columns = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        let key = |field: &str| format!("{key}[{at}]{field}");
        let fields =
            entry.as_object().ok_or_else(|| wrong(key(""), "name, type, scope and options", entry))?;
        let mut column = DedicatedColumn::string(DedicatedScope::Span, "");
        for (field, value) in fields {
            match (field.as_str(), value.as_str()) {
                ("name", Some(name)) => name.clone_into(&mut column.name),
                ("type", Some("string")) | ("scope", Some("span")) => {}
                ("type", Some("int")) => column.kind = DedicatedKind::Int,
                ("scope", Some("resource")) => column.scope = DedicatedScope::Resource,
                ("scope", Some("event")) => column.scope = DedicatedScope::Event,
                ("options", _) => column.options = options(value, &key(".options"), &wrong)?,
                ("name", None) => return Err(wrong(key(".name"), "an attribute's name", value)),
                ("type", _) => return Err(wrong(key(".type"), "string or int", value)),
                ("scope", _) => return Err(wrong(key(".scope"), "resource, span or event", value)),
                _ => {
                    let found = Opaque::String(field.clone());
                    return Err(wrong(key(""), "name, type, scope and options", &found));
                }
            }
        }
        columns.push(column);
    }
    let columns = DedicatedColumn::fitting(version, &columns);
    DedicatedColumn::check(version, &columns)
        .map_err(|source| WritingError::Columns { key: key.to_owned(), source })?;
    Ok(Some(columns))
}

fn options(
    list: &Opaque,
    key: &str,
    wrong: &impl Fn(String, &'static str, &Opaque) -> WritingError,
) -> Result<Vec<String>, WritingError> {
    let expected = "a list of array and blob";
    let known = |option: &Opaque| match option.as_str() {
        Some(option @ ("array" | "blob")) => Ok(option.to_owned()),
        _ => Err(wrong(key.to_owned(), expected, option)),
    };
    match list.as_array() {
        Some(options) => options.iter().map(known).collect(),
        None if list.is_null() => Ok(Vec::new()),
        None => Err(wrong(key.to_owned(), expected, list)),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn of(yaml: &str) -> Result<Writing, String> {
        let config =
            vivace_config::load(&format!("storage: {{trace: {{block: {yaml}}}}}"), &[]).unwrap().config;
        Writing::new(&config.storage.trace.block).map_err(|error| error.to_string())
    }

    fn options(yaml: &str) -> WriteOptions {
        of(yaml).unwrap().of(&Tenant::single())
    }

    #[test]
    fn what_a_block_is_written_with_is_configured() {
        let default = options("{}");
        assert_eq!((default.version, &default.dedicated), (Version::V4, &Dedicated::Auto));
        let set = options(
            "{version: vParquet5, bloom_filter_false_positive: 0.05, bloom_filter_shard_size_bytes: 4096, \
             parquet_row_group_size_bytes: 1000, parquet_dedicated_columns: [{name: a}, \
             {name: b, type: int, scope: event}, {name: c, scope: resource, options: [blob]}]}",
        );
        assert_eq!((set.version, set.row_group_bytes, set.bloom.shard_bytes), (Version::V5, 1000, 4096));
        assert!((set.bloom.false_positive - 0.05).abs() < 1e-9);
        let Dedicated::Fixed(columns) = set.dedicated else { panic!("a list was given") };
        let json = serde_json::to_string(&columns).unwrap();
        assert_eq!(
            json,
            r#"[{"n":"a"},{"s":"event","n":"b","t":"int"},{"s":"resource","n":"c","o":["blob"]}]"#
        );
        assert!(of("{create_with_no_compact_flag: true}").unwrap().no_compact);
    }

    #[test]
    fn vparquet4_leaves_out_what_it_has_no_column_for_as_tempo_does() {
        let list = "[{name: http.url}, {name: n, type: int}, {name: e, scope: event}, {name: a}]";
        let set = options(&format!("{{parquet_dedicated_columns: {list}}}"));
        assert_eq!(set.dedicated, Dedicated::Fixed(vec![DedicatedColumn::string(DedicatedScope::Span, "a")]));
        assert_eq!(options("{parquet_dedicated_columns: []}").dedicated, Dedicated::Fixed(Vec::new()));
    }

    #[test]
    fn a_wrong_value_is_refused_by_its_key_and_what_it_takes() {
        for (yaml, said) in [
            ("version: vParquet3", "version: expected vParquet4 or vParquet5, found `vParquet3`"),
            (
                "bloom_filter_false_positive: 1",
                "bloom_filter_false_positive: expected a number above 0 and below 1, found `1`",
            ),
            (
                "bloom_filter_shard_size_bytes: 0",
                "bloom_filter_shard_size_bytes: expected 1024 to 67108864 bytes, found `0`",
            ),
            (
                "parquet_row_group_size_bytes: 0",
                "parquet_row_group_size_bytes: expected at least 1 byte, found `0`",
            ),
            ("parquet_dedicated_columns: 3", "parquet_dedicated_columns: expected a list, found `3`"),
            (
                "parquet_dedicated_columns: [{name: a, type: float}]",
                "parquet_dedicated_columns[0].type: expected string or int, found `float`",
            ),
            (
                "parquet_dedicated_columns: [{name: a}, {name: b, scope: link}]",
                "parquet_dedicated_columns[1].scope: expected resource, span or event, found `link`",
            ),
            (
                "parquet_dedicated_columns: [{name: a, options: [zip]}]",
                "parquet_dedicated_columns[0].options: expected a list of array and blob, found `zip`",
            ),
            (
                "parquet_dedicated_columns: [{nane: a}]",
                "parquet_dedicated_columns[0]: expected name, type, scope and options, found `nane`",
            ),
            (
                "parquet_dedicated_columns: [{name: a}, {name: a}]",
                "parquet_dedicated_columns: dedicated column \"a\": named twice",
            ),
        ] {
            assert_eq!(of(&format!("{{{yaml}}}")).unwrap_err(), format!("storage.trace.block.{said}"));
        }
    }

    #[test]
    fn a_tenants_dedicated_columns_stand_over_those_of_all() {
        let yaml = "storage: {trace: {block: {parquet_dedicated_columns: [{name: all}]}}}\n\
                    overrides: {defaults: {storage: {parquet_dedicated_columns: [{name: mine}]}}}";
        let config = vivace_config::load(yaml, &[]).unwrap().config;
        let overrides = Overrides::open(&config.overrides, &mut Registry::default()).unwrap();
        let writing = Writing::new(&config.storage.trace.block).unwrap().over(overrides);
        let mine = Dedicated::Fixed(vec![DedicatedColumn::string(DedicatedScope::Span, "mine")]);
        assert_eq!(writing.of(&Tenant::single()).dedicated, mine);
    }
}
