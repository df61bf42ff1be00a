//! Blocks that Tempo wrote: read alike in every format, equal to what we make of the same spans, and written
//! back column by column as they were.

use std::{collections::BTreeMap, io::Read, path::PathBuf};

use super::{
    super::{
        page::{self, Pages},
        schema::Schema,
    },
    model::{Resource, Scope, Span, Trace},
    *,
};
use crate::{table::TableBuilder, wire::otlp};

fn data(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/data")).join(path)
}

/// The one block in a folder.
pub(super) fn tempo(folder: &str) -> Block {
    let tenant = data("tempo-blocks").join(folder).join("single-tenant");
    let entries = std::fs::read_dir(tenant).unwrap();
    let block = entries.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let meta = Meta::from_json(&std::fs::read(block.join("meta.json")).unwrap()).unwrap();
    let data = Bytes::from(std::fs::read(block.join("data.parquet")).unwrap());
    let tail = Footer::range(&meta);
    let footer = Footer::decode(&meta, data.slice(tail.start as usize..tail.end as usize)).unwrap();
    let bloom = vec![Bytes::from(std::fs::read(block.join("bloom-0")).unwrap())];
    let index = std::fs::read(block.join("index")).unwrap().into();
    let written = Written { meta, bloom, index, extra: Vec::new() };
    Block { written, data, footer: Arc::new(footer) }
}

const FOLDERS: [&str; 3] = ["vparquet4", "vparquet5", "vparquet5-dedicated"];

fn whole(block: &Block) -> Vec<Trace> {
    block.scan(Projection::Everything).iter().flat_map(read).collect()
}

/// The corpus that Tempo made its blocks of.
fn corpus() -> SpanTable {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(data("corpus.otlp.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let mut left = &bytes[..];
    let mut slices = BTreeMap::<TraceId, Vec<Bytes>>::new();
    while !left.is_empty() {
        let length = decode::varint(&mut left).unwrap() as usize;
        let (request, rest) = left.split_at(length);
        left = rest;
        for slice in otlp::split(&Bytes::copy_from_slice(request)).unwrap().traces {
            slices.entry(slice.id).or_default().push(slice.otlp);
        }
    }
    let mut builder = TableBuilder::keeping_duplicates();
    for (id, parts) in slices {
        builder.begin(id);
        for part in &parts {
            builder.add_otlp(part).unwrap();
        }
        builder.end();
    }
    builder.finish()
}

/// The same whatever order resources, scopes and spans stand in, which is by arrival.
fn in_order(mut traces: Vec<Trace>) -> Vec<Trace> {
    let key = |value: &dyn std::fmt::Debug| format!("{value:?}");
    for trace in &mut traces {
        for resource in &mut trace.resources {
            for scope in &mut resource.scopes {
                scope.spans.sort_by_key(|span: &Span| key(span));
            }
            resource.scopes.sort_by_key(|scope: &Scope| key(scope));
        }
        trace.resources.sort_by_key(|resource: &Resource| key(resource));
    }
    traces
}

#[test]
fn tempos_blocks_of_every_format_hold_the_same_traces() {
    let [v4, plain, dedicated] = FOLDERS.map(|folder| in_order(whole(&tempo(folder))));
    assert_eq!(v4.len(), 813);
    for other in [&plain, &dedicated] {
        assert_eq!(other.len(), v4.len());
        v4.iter().zip(other).for_each(|(one, other)| assert_eq!(one, other));
    }
}

#[test]
fn what_tempo_stored_of_the_corpus_is_what_we_make_of_it() {
    let ours = in_order(read(&corpus()));
    for folder in FOLDERS {
        let tempos = in_order(whole(&tempo(folder)));
        assert_eq!(ours.len(), tempos.len());
        ours.iter().zip(&tempos).for_each(|(ours, tempos)| assert_eq!(ours, tempos));
    }
}

/// Levels and values of a column, row group 0.
fn column(block: &Block, leaf: schema::Leaf) -> (Vec<u8>, Vec<u8>, Vec<Vec<u8>>) {
    let (spec, chunk) = block.footer.chunk(0, leaf).unwrap();
    let mut pages = Pages::new(spec, chunk.codec, chunk.values);
    pages.read(&block.data.slice(chunk.range.start as usize..chunk.range.end as usize)).unwrap();
    let column = pages.finish();
    let values = match column.values {
        page::Values::Numbers(numbers) => numbers.iter().map(|n| n.to_be_bytes().to_vec()).collect(),
        page::Values::Bytes(entries) => {
            entries.indexes.iter().map(|entry| entries.entry(*entry).to_vec()).collect()
        }
    };
    (column.rep, column.def, values)
}

/// The values of those spans whose trace has a root.
fn rooted(table: &SpanTable, values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let spans = &table.spans;
    let has_root = |trace| table.spans_of_trace(trace).any(|span| spans.parent_id[span].is_zero());
    let rows = (0..table.trace_count()).filter(|trace| has_root(*trace));
    rows.flat_map(|trace| values[table.spans_of_trace(trace)].to_vec()).collect()
}

#[test]
fn a_block_of_tempos_is_written_back_column_by_column_as_it_was() {
    for folder in FOLDERS {
        let tempos = tempo(folder);
        let meta = &tempos.written.meta;
        let tables = tempos.scan(Projection::Everything);
        let rows = tables.iter().flat_map(|t| (0..t.trace_count() as u32).map(move |row| (t, row)));
        let options = WriteOptions {
            version: meta.version().unwrap(),
            dedicated: Dedicated::Fixed(meta.dedicated.clone()),
            ..WriteOptions::default()
        };
        let mut data = Vec::new();
        let written = write(rows, &options, &meta.tenant, meta.id, &mut data).unwrap();
        let footer = Arc::new(Footer::decode(&written.meta, data.clone().into()).unwrap());
        let ours = Block { written, data: data.into(), footer };
        for spec in Schema::new(options.version, &meta.dedicated).specs() {
            if spec.leaf == schema::Leaf::ChildCount {
                // Where a trace has no root, Tempo leaves in place what an earlier trace had there.
                let [ours, tempos] =
                    [&ours, &tempos].map(|block| rooted(&tables[0], &column(block, spec.leaf).2));
                assert_eq!(ours, tempos);
                continue;
            }
            assert!(column(&ours, spec.leaf) == column(&tempos, spec.leaf), "{folder}: {}", spec.path);
        }
        // Tempo cuts the end to whole seconds; we go up, so that all spans lie within.
        let same = |meta: &Meta| {
            (meta.format.clone(), meta.start, meta.traces, meta.dedicated.clone(), meta.bloom_shards)
        };
        assert_eq!(same(&ours.written.meta), same(meta));
        assert_eq!(ours.written.index, tempos.written.index);
    }
}

#[test]
fn rows_and_traces_of_tempos_blocks_are_found_though_its_pages_end_anywhere() {
    for folder in FOLDERS {
        let block = tempo(folder);
        let all = whole(&block);
        for from in (0..all.len()).step_by(271) {
            let rows = from as u64..from as u64 + 31;
            let footer = Arc::clone(&block.footer);
            let scan = Scan::rows(&block.written.meta, footer, 0, rows, Projection::Everything).unwrap();
            let (tables, asked) = drive(scan, &block.data).unwrap();
            let found: Vec<_> = tables.iter().flat_map(read).collect();
            assert!(found[..] == all[from..all.len().min(from + 31)]);
            assert!(asked < block.data.len() as u64);
            let id = TraceId(all[from].id.to_be_bytes());
            assert!(block.trace(id).iter().flat_map(read).eq([all[from].clone()]));
        }
    }
}
