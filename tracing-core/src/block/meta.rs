//! A block's meta.json: what is known of a block without opening it. Its presence is what makes a block
//! visible. Names and omissions are those of Tempo's `backend.BlockMeta`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::BlockError;
use crate::model::{BlockId, Tenant};

/// A block format that is written and read here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// `vParquet4`, which every Tempo since 2.5 reads.
    #[default]
    V4,
    /// `vParquet5`, which Tempo reads since 2.10.
    V5,
}

/// The fields of meta.json, in the file's order. Fields that are not listed here are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// `vParquet4` and its kin.
    pub format: String,
    /// The block's name, which is also the object key below the tenant's.
    #[serde(rename = "blockID")]
    pub id: BlockId,
    /// Whose block it is.
    #[serde(rename = "tenantID", with = "tenant")]
    pub tenant: Tenant,
    /// At or before the first start of a span, in whole seconds.
    #[serde(rename = "startTime")]
    pub start: Timestamp,
    /// At or after the last end of a span, in whole seconds.
    #[serde(rename = "endTime")]
    pub end: Timestamp,
    /// Traces, each a row.
    #[serde(rename = "totalObjects", default)]
    pub traces: u64,
    /// Length of data.parquet in bytes.
    #[serde(default)]
    pub size: u64,
    /// 0 as the ingester wrote it; one more than its inputs for a compacted block.
    #[serde(rename = "compactionLevel", default)]
    pub compaction_level: u32,
    /// Always 0 in Parquet formats.
    #[serde(rename = "indexPageSize", default)]
    pub index_page_size: u32,
    /// Row groups of data.parquet.
    #[serde(rename = "totalRecords", default)]
    pub row_groups: u32,
    /// Number of `bloom-<n>` objects.
    #[serde(rename = "bloomShards", default)]
    pub bloom_shards: u32,
    /// Length in bytes of the Thrift footer of data.parquet, its 8 trailing bytes not counted.
    #[serde(rename = "footerSize", default)]
    pub footer_size: u32,
    /// Attributes that have a column of their own; their order names the column.
    #[serde(rename = "dedicatedColumns", default, skip_serializing_if = "Vec::is_empty")]
    pub dedicated: Vec<DedicatedColumn>,
    /// 1 where no other block holds copies of these spans; 0 where that is not known.
    #[serde(rename = "replicationFactor", default, skip_serializing_if = "is_zero")]
    pub replication_factor: u32,
    /// When the block was replaced by a compacted one; only in the tenant index's list of those.
    #[serde(rename = "compactedTime", default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<Timestamp>,
    /// What retention rules found out when they made this block. Tempo ignores it, as every field that it
    /// does not know.
    #[serde(rename = "vivaceRetention", default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<Retained>,
    /// The blocks that this one was made of: whoever lists both reads this one alone. Tempo ignores it.
    #[serde(rename = "vivaceReplaces", default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<BlockId>,
    /// How many of its traces are named in its list of continued traces ([`Continued`](super::Continued)); there is no
    /// such object where it is 0. Tempo ignores it.
    #[serde(rename = "vivaceContinued", default, skip_serializing_if = "is_zero")]
    pub continued: u32,
}

/// A block that was made of traces that retention rules keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// Names the rules.
    pub rules: String,
    /// When the first of the traces have to go, by these rules.
    pub due: Timestamp,
}

/// An attribute with a column of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DedicatedColumn {
    /// Where the attribute stands.
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub scope: DedicatedScope,
    /// The attribute's key.
    #[serde(rename = "n")]
    pub name: String,
    /// The one type of value that goes into the column; others stay among the generic attributes.
    #[serde(rename = "t", default, skip_serializing_if = "is_default")]
    pub kind: DedicatedKind,
    /// `array`, `blob`: of vParquet5.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Where a dedicated attribute stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedScope {
    /// On the span; not written out.
    #[default]
    Span,
    /// On the resource.
    Resource,
    /// On the event (vParquet5).
    Event,
}

/// Type of a dedicated attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedKind {
    /// A string; not written out.
    #[default]
    String,
    /// A 64-bit integer (vParquet5).
    Int,
}

impl Version {
    /// As `format` of meta.json and `version` of the configuration name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "vParquet4",
            Self::V5 => "vParquet5",
        }
    }

    /// The version of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::V4, Self::V5].into_iter().find(|version| version.name() == name)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for DedicatedScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Span => "span",
            Self::Resource => "resource",
            Self::Event => "event",
        })
    }
}

impl Meta {
    /// Reads meta.json.
    ///
    /// # Errors
    /// [`BlockError::Meta`] where it is no JSON, lacks `format`, `blockID`, `tenantID`, `startTime` or
    /// `endTime`, or holds a value of another type.
    pub fn from_json(json: &[u8]) -> Result<Self, BlockError> {
        serde_json::from_slice(json).map_err(BlockError::Meta)
    }

    /// Writes meta.json.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys and plain values always become JSON")
    }

    /// The block's format.
    ///
    /// # Errors
    /// [`BlockError::Format`] where it is none that is read here.
    pub fn version(&self) -> Result<Version, BlockError> {
        Version::of(&self.format).ok_or_else(|| BlockError::Format { found: self.format.clone() })
    }

    /// Nanoseconds since 1970 of `start` and `end`, 0 for what lies before.
    #[must_use]
    pub fn nanos(&self) -> (u64, u64) {
        let nanos = |time: Timestamp| u64::try_from(time.as_nanosecond()).unwrap_or(0);
        (nanos(self.start), nanos(self.end))
    }
}

impl DedicatedColumn {
    /// A string attribute of `scope`.
    #[must_use]
    pub fn string(scope: DedicatedScope, name: &str) -> Self {
        Self { scope, name: name.to_owned(), kind: DedicatedKind::String, options: Vec::new() }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

mod tenant {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::Tenant;

    pub(super) fn serialize<S: Serializer>(tenant: &Tenant, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(tenant.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Tenant, D::Error> {
        Tenant::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by Tempo 3.0 (format changed in the first, which it wrote without dedicated columns).
    const PLAIN: &str = r#"{"format":"vParquet4","blockID":"e62d00b6-f021-41ba-a0c3-70be7f90147d","tenantID":"single-tenant","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","totalObjects":813,"size":861781,"compactionLevel":0,"indexPageSize":0,"totalRecords":1,"bloomShards":1,"footerSize":20280,"replicationFactor":1}"#;
    const DEDICATED: &str = r#"{"format":"vParquet5","blockID":"804193fc-700f-4274-9ad1-7a1460a8ad0d","tenantID":"single-tenant","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","totalObjects":813,"size":865515,"compactionLevel":0,"indexPageSize":0,"totalRecords":1,"bloomShards":1,"footerSize":14079,"dedicatedColumns":[{"s":"resource","n":"k8s.cluster.name"},{"n":"http.request.method"},{"n":"http.response.status_code","t":"int"}],"replicationFactor":1}"#;

    #[test]
    fn a_meta_that_tempo_wrote_is_written_back_byte_for_byte() {
        for json in [PLAIN, DEDICATED] {
            let meta = Meta::from_json(json.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(meta.to_json()).unwrap(), json);
        }
    }

    #[test]
    fn fields_of_older_and_newer_versions_are_ignored() {
        let json = PLAIN.replace("\"size\"", "\"minID\":\"AAA=\",\"version\":\"x\",\"future\":{},\"size\"");
        assert_eq!(Meta::from_json(json.as_bytes()).unwrap().size, 861_781);
        let compacted = PLAIN.replace('}', ",\"compactedTime\":\"2026-11-22T08:00:00.5+01:00\"}");
        let time = Meta::from_json(compacted.as_bytes()).unwrap().compacted.unwrap();
        assert_eq!(time.to_string(), "2026-11-22T07:00:00.5Z");
    }

    #[test]
    fn other_formats_are_refused_by_name_only_when_their_data_is_read() {
        let meta = Meta::from_json(DEDICATED.as_bytes()).unwrap();
        assert_eq!(meta.version().unwrap(), Version::V5);
        assert_eq!(meta.dedicated[2].kind, DedicatedKind::Int);
        for format in ["vParquet3", "vParquet5-preview2", "v2"] {
            let meta = Meta { format: format.to_owned(), ..meta.clone() };
            let expected = format!("block format {format:?} is not read: expected vParquet4 or vParquet5");
            assert_eq!(meta.version().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_torn_meta_is_an_error() {
        for end in 0..PLAIN.len() {
            assert!(Meta::from_json(&PLAIN.as_bytes()[..end]).is_err());
        }
    }
}
