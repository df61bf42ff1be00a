//! Seeds for the targets, below corpus/, out of the recorded data of e2e: its OTLP corpus, its questions,
//! and small blocks and logs made of them.

use std::{
    error::Error,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    basic::{Compression, Type},
    file::reader::{FileReader, SerializedFileReader},
};
use tracing_core::{
    block::{self, Sketch, Version, WriteOptions, Written},
    model::{BlockId, Tenant},
    table::{SpanTable, TableBuilder, render},
    wire::otlp::{TraceSlice, split},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Traces of the corpus that seeds are made of.
const TRACES: usize = 60;

fn main() -> Result<()> {
    let slices = slices()?;
    let mut blocks = Vec::new();
    for (at, part) in slices.chunks(6).take(8).enumerate() {
        blocks.push(small_block(at, part)?);
    }
    for (at, (written, data)) in blocks.iter().enumerate() {
        let format = u8::from(written.meta.format == "vParquet5");
        seed("block_file", at, &[&[format], data])?;
        seed("block_patched", at, &[&[at as u8]])?;
        seed("meta", at, &[&written.meta.to_json()])?;
        for (_, sketch) in written.extra.iter().filter(|(name, _)| *name == Sketch::NAME) {
            seed("sketch", at, &[sketch])?;
            // Its body, which the target packs again: behind mark, checksum and length.
            let packed = sketch.iter().skip(8).skip_while(|byte| **byte >= 0x80).skip(1).copied();
            let body = zstd::stream::decode_all(&packed.collect::<Vec<_>>()[..])?;
            seed("sketch", at + 1000, &[&body])?;
        }
        for shard in &written.bloom {
            seed("bloom", at, &[shard])?;
        }
        pages(at, data)?;
    }
    for (at, slice) in slices.iter().enumerate() {
        seed("otlp_split", at, &[&slice.otlp])?;
        let json = render::resource_spans_json(&table(std::slice::from_ref(slice))?, 0);
        seed("otlp_json", at, &[format!("{{\"resourceSpans\":{json}}}").as_bytes()])?;
    }
    questions()?;
    indexes()?;
    log(&slices)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn seed(target: &str, at: usize, parts: &[&[u8]]) -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&dir)?;
    Ok(fs::write(dir.join(format!("seed-{at:04}")), parts.concat())?)
}

/// Traces of the recorded corpus, the shortest first.
fn slices() -> Result<Vec<TraceSlice>> {
    let mut data = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(root().join("e2e/data/corpus.otlp.gz"))?).read_to_end(&mut data)?;
    let mut rest = &data[..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (mut size, mut shift) = (0_usize, 0);
        loop {
            let (byte, after) = rest.split_first().ok_or("a torn corpus")?;
            rest = after;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
        }
        let (request, after) = rest.split_at_checked(size).ok_or("a torn corpus")?;
        rest = after;
        found.extend(split(&Bytes::copy_from_slice(request))?.traces);
    }
    found.sort_by_key(|slice| (slice.otlp.len(), slice.id));
    found.dedup_by_key(|slice| slice.id);
    let every = (found.len() / TRACES).max(1);
    Ok(found.into_iter().step_by(every).take(TRACES).collect())
}

fn table(slices: &[TraceSlice]) -> Result<SpanTable> {
    let mut builder = TableBuilder::new();
    for slice in slices {
        builder.begin(slice.id);
        builder.add_otlp(&slice.otlp)?;
        builder.end();
    }
    Ok(builder.finish())
}

fn small_block(at: usize, slices: &[TraceSlice]) -> Result<(Written, Vec<u8>)> {
    let mut slices = slices.to_vec();
    slices.sort_by_key(|slice| slice.id);
    let table = Arc::new(table(&slices)?);
    let rows = (0..table.trace_count() as u32).map(|row| (Arc::clone(&table), row));
    // Every other block has more than one row group.
    let row_group_bytes = if at % 2 == 0 { 100_000_000 } else { 2_000 };
    let version = if at % 4 < 2 { Version::V4 } else { Version::V5 };
    let options = WriteOptions { version, row_group_bytes, ..WriteOptions::default() };
    let mut data = Vec::new();
    let written = block::write(rows, &options, &Tenant::single(), BlockId::random(), &mut data)?;
    Ok((written, data))
}

/// The pages of each column, with what the target needs to know of them before.
fn pages(block: usize, data: &[u8]) -> Result<()> {
    let file = SerializedFileReader::new(Bytes::copy_from_slice(data))?;
    let Some(group) = file.metadata().row_groups().first() else { return Ok(()) };
    for (at, column) in group.columns().iter().enumerate() {
        let descr = column.column_descr();
        let kind = match descr.physical_type() {
            Type::INT32 => 2,
            Type::INT64 => 4,
            Type::DOUBLE => 6,
            Type::BOOLEAN => 7,
            _ => 0,
        };
        let levels = descr.max_def_level() as u8 | (descr.max_rep_level() as u8) << 3;
        let codec = match column.compression() {
            Compression::SNAPPY => 1,
            Compression::ZSTD(_) => 2,
            _ => 0,
        };
        let (start, size) = column.byte_range();
        let bytes = data.get(start as usize..(start + size) as usize).ok_or("a column outside the file")?;
        seed("block_pages", block * 1000 + at, &[&[kind, levels, codec], bytes])?;
    }
    Ok(())
}

/// The indexes that Tempo wrote, and what is in them.
fn indexes() -> Result<()> {
    for (at, folder) in fs::read_dir(root().join("e2e/data/tempo-blocks"))?.flatten().enumerate() {
        let dir = folder.path().join("single-tenant");
        let (proto, json) = (fs::read(dir.join("index.pb.zst"))?, fs::read(dir.join("index.json.gz"))?);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&json[..]).read_to_end(&mut text)?;
        let raw = zstd::stream::decode_all(&proto[..])?;
        for (part, bytes) in [&proto, &json, &raw, &text].into_iter().enumerate() {
            seed("tenant_index", at * 4 + part, &[bytes])?;
        }
    }
    Ok(())
}

fn questions() -> Result<()> {
    let text = fs::read_to_string(root().join("e2e/data/queries.jsonl"))?;
    for (at, line) in text.lines().enumerate() {
        let question: serde_json::Value = serde_json::from_str(line)?;
        for (part, name) in ["q", "tags"].into_iter().enumerate() {
            if let Some(text) = question["params"][name].as_str() {
                seed("traceql", at * 2 + part, &[text.as_bytes()])?;
                seed("query_plan", at * 2 + part, &[&[0], text.as_bytes()])?;
            }
        }
    }
    Ok(())
}

/// Segments of the log, written by hand: the layout stands in wal/record.rs.
fn log(slices: &[TraceSlice]) -> Result<()> {
    for (at, part) in slices.chunks(3).enumerate() {
        let mut segment = Vec::new();
        for slice in part {
            let mut payload = vec![1, 1, b't'];
            payload.extend(slice.id.0);
            payload.extend(&slice.otlp);
            let len = (payload.len() as u32).to_le_bytes();
            let mut crc = flate2::Crc::new();
            crc.update(&len);
            crc.update(&payload);
            segment.extend([&b"VSR\x01"[..], &len, &crc.sum().to_le_bytes(), &payload].concat());
        }
        if at % 3 == 2 {
            segment.truncate(segment.len() - 5);
        }
        seed("wal_records", at, &[&segment])?;
    }
    Ok(())
}
