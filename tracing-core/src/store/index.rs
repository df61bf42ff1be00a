//! The index of a tenant's blocks, in both forms in which Tempo writes and reads it: protobuf in one frame of
//! zstd (`index.pb.zst`, preferred), and gzipped JSON (`index.json.gz`). Pure.
//!
//! Names and numbers of the fields are those of Tempo's `backend.v1.TenantIndex` and `BlockMeta`.

use std::io::{Read, Write};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use jiff::Timestamp;
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use crate::{
    block::{DedicatedColumn, Meta},
    model::{BlockId, Tenant},
};

/// Names below the tenant.
pub(super) const PROTO: &str = "index.pb.zst";
pub(super) const JSON: &str = "index.json.gz";

/// Most blocks of one index, and most bytes of it once decompressed.
pub(super) const MAX_METAS: usize = 1 << 20;
const MAX_BYTES: u64 = 512 << 20;

/// A few blocks a second come and go; a level that is quick to write is small enough.
const ZSTD_LEVEL: i32 = 3;

/// What an index says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    /// When the listing was made that it holds.
    pub(super) created_at: Timestamp,
    #[serde(default, rename = "meta", deserialize_with = "metas")]
    pub(super) live: Vec<Meta>,
    /// With [`Meta::compacted`] set.
    #[serde(default, deserialize_with = "metas")]
    pub(super) compacted: Vec<Meta>,
}

/// Why an index cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Not compressed as its name says, or cut off.
    #[error("cannot be decompressed: {0}")]
    Compressed(std::io::Error),
    /// More than it may be.
    #[error("expected at most {MAX_BYTES} bytes and {MAX_METAS} blocks")]
    TooLarge,
    /// No JSON of the expected form.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// No protobuf.
    #[error(transparent)]
    Proto(#[from] prost::DecodeError),
    /// A field that holds something else.
    #[error("{field}: expected {expected}")]
    Field {
        /// Its name in JSON.
        field: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct BlockMeta {
    #[prost(string, tag = "1")]
    format: String,
    #[prost(bytes = "vec", tag = "2")]
    block_id: Vec<u8>,
    #[prost(string, tag = "5")]
    tenant_id: String,
    #[prost(message, optional, tag = "6")]
    start_time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    end_time: Option<Time>,
    #[prost(int64, tag = "8")]
    total_objects: i64,
    #[prost(uint64, tag = "9")]
    size: u64,
    #[prost(uint32, tag = "10")]
    compaction_level: u32,
    #[prost(uint32, tag = "12")]
    index_page_size: u32,
    #[prost(uint32, tag = "13")]
    total_records: u32,
    #[prost(uint32, tag = "15")]
    bloom_shards: u32,
    #[prost(uint32, tag = "16")]
    footer_size: u32,
    #[prost(bytes = "vec", tag = "17")]
    dedicated_columns: Vec<u8>,
    #[prost(uint32, tag = "18")]
    replication_factor: u32,
    /// Ours: the JSON of [`Meta::retained`]. Tempo skips what it does not know.
    #[prost(bytes = "vec", tag = "1001")]
    vivace_retention: Vec<u8>,
    /// Ours: [`Meta::replaces`], 16 bytes each.
    #[prost(bytes = "vec", repeated, tag = "1002")]
    vivace_replaces: Vec<Vec<u8>>,
    /// Ours: [`Meta::continued`].
    #[prost(uint32, tag = "1003")]
    vivace_continued: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Compacted {
    #[prost(message, optional, tag = "1")]
    block_meta: Option<BlockMeta>,
    #[prost(message, optional, tag = "2")]
    compacted_time: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct TenantIndex {
    #[prost(message, optional, tag = "1")]
    created_at: Option<Time>,
    #[prost(message, repeated, tag = "2")]
    meta: Vec<BlockMeta>,
    #[prost(message, repeated, tag = "3")]
    compacted: Vec<Compacted>,
}

impl Index {
    /// `index.pb.zst`.
    pub(super) fn to_proto(&self) -> Result<Vec<u8>, IndexError> {
        let compacted = |meta: &Meta| Compacted {
            compacted_time: meta.compacted.map(time),
            block_meta: Some(to_proto(meta)),
        };
        let index = TenantIndex {
            created_at: Some(time(self.created_at)),
            meta: self.live.iter().map(to_proto).collect(),
            compacted: self.compacted.iter().map(compacted).collect(),
        };
        zstd::bulk::compress(&index.encode_to_vec(), ZSTD_LEVEL).map_err(IndexError::Compressed)
    }

    /// Reads `index.pb.zst`.
    pub(super) fn from_proto(bytes: &[u8]) -> Result<Self, IndexError> {
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(IndexError::Compressed)?;
        let raw = bounded(decoder)?;
        let mut rest = raw.as_slice();
        let mut index = Self::default();
        // Field by field, so that a count of blocks is never more than what is allowed: an empty one takes two
        // bytes here and hundreds in memory.
        while !rest.is_empty() {
            let (tag, wire) = decode_key(&mut rest)?;
            if index.live.len() + index.compacted.len() >= MAX_METAS {
                return Err(IndexError::TooLarge);
            }
            match (tag, wire) {
                (1, WireType::LengthDelimited) => {
                    index.created_at = instant("created_at", Some(Time::decode(slice(&mut rest)?)?))?;
                }
                (2, WireType::LengthDelimited) => {
                    index.live.push(from_proto(BlockMeta::decode(slice(&mut rest)?)?)?);
                }
                (3, WireType::LengthDelimited) => {
                    let Compacted { block_meta, compacted_time } = Compacted::decode(slice(&mut rest)?)?;
                    let compacted = Some(instant("compactedTime", compacted_time)?);
                    let meta = from_proto(block_meta.unwrap_or_default())?;
                    index.compacted.push(Meta { compacted, ..meta });
                }
                _ => skip_field(wire, tag, &mut rest, DecodeContext::default())?,
            }
        }
        Ok(index)
    }

    /// `index.json.gz`.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, IndexError> {
        let mut gzip = GzBuilder::new().filename("index.json").write(Vec::new(), Compression::default());
        gzip.write_all(&serde_json::to_vec(self)?)
            .and_then(|()| gzip.finish())
            .map_err(IndexError::Compressed)
    }

    /// Reads `index.json.gz`.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, IndexError> {
        let index: Self = serde_json::from_slice(&bounded(GzDecoder::new(bytes))?)?;
        if index.compacted.iter().any(|meta| meta.compacted.is_none()) {
            return Err(IndexError::Field { field: "compactedTime", expected: "a time" });
        }
        Ok(index)
    }
}

fn bounded(from: impl Read) -> Result<Vec<u8>, IndexError> {
    let mut raw = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut raw).map_err(IndexError::Compressed)?;
    if raw.len() as u64 > MAX_BYTES { Err(IndexError::TooLarge) } else { Ok(raw) }
}

/// The bytes of a length-delimited field.
fn slice<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], IndexError> {
    let length = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
    let cut_off = IndexError::Field { field: "meta", expected: "as many bytes as it says" };
    let (field, after) = rest.split_at_checked(length).ok_or(cut_off)?;
    *rest = after;
    Ok(field)
}

/// A list that stops at [`MAX_METAS`].
fn metas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Meta>, D::Error> {
    struct Metas;

    impl<'de> de::Visitor<'de> for Metas {
        type Value = Vec<Meta>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of blocks")
        }

        // What Go writes for an empty list that was never made.
        fn visit_unit<E: de::Error>(self) -> Result<Vec<Meta>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Meta>, A::Error> {
            let mut found = Vec::new();
            while let Some(meta) = seq.next_element()? {
                if found.len() == MAX_METAS {
                    return Err(de::Error::custom(IndexError::TooLarge));
                }
                found.push(meta);
            }
            Ok(found)
        }
    }

    deserializer.deserialize_any(Metas)
}

fn time(at: Timestamp) -> Time {
    // Before 1970 jiff counts both parts down, and protobuf counts nanoseconds up.
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        Time { seconds: seconds - 1, nanos: nanos + 1_000_000_000 }
    } else {
        Time { seconds, nanos }
    }
}

fn instant(field: &'static str, time: Option<Time>) -> Result<Timestamp, IndexError> {
    let Time { seconds, nanos } = time.unwrap_or_default();
    Timestamp::new(seconds, nanos).map_err(|_| IndexError::Field { field, expected: "a time" })
}

fn to_proto(meta: &Meta) -> BlockMeta {
    let dedicated = match meta.dedicated.as_slice() {
        [] => Vec::new(),
        columns => serde_json::to_vec(columns).unwrap_or_default(),
    };
    BlockMeta {
        format: meta.format.clone(),
        block_id: meta.id.0.as_bytes().to_vec(),
        tenant_id: meta.tenant.to_string(),
        start_time: Some(time(meta.start)),
        end_time: Some(time(meta.end)),
        total_objects: meta.traces as i64,
        size: meta.size,
        compaction_level: meta.compaction_level,
        index_page_size: meta.index_page_size,
        total_records: meta.row_groups,
        bloom_shards: meta.bloom_shards,
        footer_size: meta.footer_size,
        dedicated_columns: dedicated,
        replication_factor: meta.replication_factor,
        vivace_retention: meta
            .retained
            .as_ref()
            .and_then(|it| serde_json::to_vec(it).ok())
            .unwrap_or_default(),
        vivace_replaces: meta.replaces.iter().map(|id| id.0.as_bytes().to_vec()).collect(),
        vivace_continued: meta.continued,
    }
}

fn from_proto(meta: BlockMeta) -> Result<Meta, IndexError> {
    let wrong = |field, expected| IndexError::Field { field, expected };
    // Tempo writes 16 bytes; its type reads the text too.
    let text = || std::str::from_utf8(&meta.block_id).ok().and_then(|text| Uuid::try_parse(text).ok());
    let id = Uuid::from_slice(&meta.block_id).ok().or_else(text);
    let dedicated: Vec<DedicatedColumn> = match meta.dedicated_columns.as_slice() {
        [] => Vec::new(),
        json => serde_json::from_slice(json)?,
    };
    Ok(Meta {
        id: BlockId(id.ok_or_else(|| wrong("blockID", "a UUID"))?),
        tenant: Tenant::new(&meta.tenant_id).map_err(|_| wrong("tenantID", "a tenant's name"))?,
        start: instant("startTime", meta.start_time)?,
        end: instant("endTime", meta.end_time)?,
        format: meta.format,
        traces: u64::try_from(meta.total_objects).unwrap_or(0),
        size: meta.size,
        compaction_level: meta.compaction_level,
        index_page_size: meta.index_page_size,
        row_groups: meta.total_records,
        bloom_shards: meta.bloom_shards,
        footer_size: meta.footer_size,
        dedicated,
        replication_factor: meta.replication_factor,
        compacted: None,
        retained: match meta.vivace_retention.as_slice() {
            [] => None,
            json => Some(serde_json::from_slice(json)?),
        },
        replaces: meta
            .vivace_replaces
            .iter()
            .map(|id| Uuid::from_slice(id).map(BlockId).map_err(|_| wrong("vivaceReplaces", "UUIDs")))
            .collect::<Result<_, _>>()?,
        continued: meta.vivace_continued,
    })
}

/// The way in for the fuzz target `tenant_index`, which no other build has: `input` as both files, and as what
/// they hold compressed.
#[cfg(fuzzing)]
pub fn fuzz_index(input: &[u8]) {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::fast());
    let _ = gzip.write_all(input);
    let packed = (zstd::bulk::compress(input, 1).unwrap_or_default(), gzip.finish().unwrap_or_default());
    let read = [
        Index::from_proto(input),
        Index::from_proto(&packed.0),
        Index::from_json(input),
        Index::from_json(&packed.1),
    ];
    for index in read.into_iter().flatten() {
        if let Ok(proto) = index.to_proto() {
            assert_eq!(Index::from_proto(&proto).expect("what we wrote"), index);
        }
        if let Ok(json) = index.to_json() {
            assert_eq!(Index::from_json(&json).expect("what we wrote"), index);
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    /// The indexes that Tempo 3.0 wrote beside one block with dedicated columns, in base64.
    const TEMPO_PROTO: &str = "KLUv/UQA/wCdCABSzzcyYG8CcGLYDM9/R+A/vfu4HcZSylAF+3v3+3+f9aHuUw8LrjOExo/6Hyn44z5ub2m6/RWtcURgPb+jdN+2LPh6P72+P2NfD+XDej53lNLXSdeKlYTPh+9vnaN0K16/2Xvf6dl+8v9SSpk78DlWVpRbQembQZ4ydDPIr/d9YtVzhQqllHXSrXpG31ZKXTEgMCAtlL00ULNoF8JJioMTLbhRaKRFcpQbhUJWJHfwDHnfYDEK7rimQCMSmSC4MPn4hgHp4sEA2nASfqen4cMnIINR4QCwlGygbNxIo4NEEsgEEgA2U8FGABhLQCqAEcVsjMLIBLCFhNCJVM1C0zycp4r/GHj5q+2BM0eNo6nxJNaipM71mcg=";
    const TEMPO_JSON: &str = "H4sICAAJbogA/2luZGV4Lmpzb24AhJJBb9swDIX/C8+yITl27Oi6YcCAASvWnlYEBSsxjVdbdCUqGFbkvw92t2wpUvTox4+PzxSfwUVCIX+HAhYqXa0LY4qqujHaNsY2pmy7dm1Wtem+g4KRBMHePsOO47i0HK4wPmWSBhTcD+weP38EC52uzWa1c0Wr9a6oq7YuNuhN0aKp1xo79NqDAqGAQZaO1IeHgYoXBRQkwSg3/UjnsXRrtbZaz2Eo+ItAs7FNMwPCgsPX+x/kJIHtzEpB6n8R2G7dNKZR4Hic0EnP4QsdaACrFfTB088rfKDrBdV/bL6R4+gTWLP8J4/Xe/z7vWMWii+8qXW7UeDJ925e7Ace8hjSsrQEFiIlztERKAhg4bFLpRtyEoplwJHgqN7k5nqa0NG75MT+XcZxEOzD/3PnQHuRqYz0lClJOZLs2b+upYlDojIJSk53jv1sO99CH+TE5jiUE8r+TIic5d+oRPFAsUTvI6X0Wp44ygXfJcOlXDkOJ4tFOB+2SG9E3iqINA3zg/UcPqETjmDNcXu6EPJgb7fH3wAAAP//AwBv4t5rLwMAAA==";

    fn tempo() -> (Index, Index) {
        let proto = Index::from_proto(&STANDARD.decode(TEMPO_PROTO).unwrap()).unwrap();
        (proto, Index::from_json(&STANDARD.decode(TEMPO_JSON).unwrap()).unwrap())
    }

    #[test]
    fn both_indexes_that_tempo_wrote_say_the_same() {
        let (proto, json) = tempo();
        assert_eq!(proto, json);
        assert_eq!(proto.created_at.to_string(), "2026-11-22T10:51:51.787613418Z");
        let meta = &proto.live[0];
        assert_eq!(meta.id.to_string(), "804193fc-700f-4274-9ad1-7a1460a8ad0d");
        assert_eq!(
            (meta.traces, meta.size, meta.footer_size, meta.dedicated.len()),
            (813, 865_515, 14_079, 14)
        );
    }

    #[test]
    fn what_is_written_is_read_back_in_both_forms_and_the_protobuf_is_tempos_to_the_byte() {
        let (mut index, _) = tempo();
        let raw = zstd::stream::decode_all(STANDARD.decode(TEMPO_PROTO).unwrap().as_slice()).unwrap();
        assert_eq!(zstd::stream::decode_all(index.to_proto().unwrap().as_slice()).unwrap(), raw);
        let gone =
            Meta { compacted: Some("2026-11-22T11:00:00.5Z".parse().unwrap()), ..index.live[0].clone() };
        index.compacted.push(gone);
        index.live[0].continued = 7;
        index.live[0].replaces = vec![BlockId(Uuid::from_u128(1)), BlockId(Uuid::from_u128(2))];
        assert_eq!(Index::from_proto(&index.to_proto().unwrap()).unwrap(), index);
        assert_eq!(Index::from_json(&index.to_json().unwrap()).unwrap(), index);
        let old = Index { created_at: "1969-12-31T23:59:58.5Z".parse().unwrap(), ..Index::default() };
        assert_eq!(Index::from_proto(&old.to_proto().unwrap()).unwrap(), old);
    }

    #[test]
    fn an_index_larger_than_allowed_once_decompressed_is_refused() {
        let zeros = vec![0_u8; 1 << 20];
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..=MAX_BYTES >> 20 {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(Index::from_proto(&bomb), Err(IndexError::TooLarge)));
        // Blocks of two bytes each.
        let blocks = [0x1a, 0].repeat(MAX_METAS + 2);
        let error = Index::from_proto(&zstd::bulk::compress(&blocks, 1).unwrap()).unwrap_err();
        assert!(matches!(error, IndexError::Field { .. } | IndexError::TooLarge), "{error}");
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_another_index_and_never_a_panic(at in 0..400_usize, to in any::<u8>()) {
            let mut raw = zstd::stream::decode_all(STANDARD.decode(TEMPO_PROTO).unwrap().as_slice()).unwrap();
            let at = at % raw.len();
            raw[at] = to;
            let _ = Index::from_proto(&zstd::bulk::compress(&raw, 1).unwrap());
            let _ = Index::from_proto(&zstd::bulk::compress(&raw[..at], 1).unwrap());
            let _ = Index::from_proto(&raw);
            let _ = Index::from_json(&raw);
        }
    }
}
