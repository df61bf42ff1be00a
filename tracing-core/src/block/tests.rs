//! What is written is read back; what is no block is an error.

mod merge;
pub(super) mod model;

use std::sync::Arc;

use bytes::Bytes;
use parquet::file::{
    metadata::PageIndexPolicy,
    reader::{FileReader, SerializedFileReader},
    serialized_reader::ReadOptionsBuilder,
};
use proptest::{prelude::*, strategy::ValueTree};

use self::model::{Trace, attrs_of, read, table, traces};
use super::*;
use crate::{
    model::{BlockId, Tenant, TraceId},
    table::{Column, Level, Offsets, Projection, SpanTable},
};

/// A block in memory.
struct Block {
    written: Written,
    data: Bytes,
    footer: Arc<Footer>,
}

/// Writes the traces in two tables, row groups of `group` estimated bytes and pages of `page` spans.
fn block(traces: &[Trace], group: u64, page: usize) -> Block {
    let (even, odd): (Vec<_>, Vec<_>) = traces.iter().cloned().enumerate().partition(|(at, _)| at % 2 == 0);
    let tables =
        [even, odd].map(|half| Arc::new(table(&half.into_iter().map(|(_, t)| t).collect::<Vec<_>>())));
    let rows = (0..traces.len()).map(|at| (Arc::clone(&tables[at % 2]), at as u32 / 2));
    let options = WriteOptions { row_group_bytes: group, ..WriteOptions::default() };
    let (mut data, id) = (Vec::new(), BlockId(uuid::Uuid::nil()));
    let written = write::write_pages(rows, &options, &Tenant::single(), id, &mut data, page).unwrap();
    let data = Bytes::from(data);
    assert_eq!(written.meta.size, data.len() as u64);
    let tail = Footer::range(&written.meta);
    let footer = Footer::decode(&written.meta, data.slice(tail.start as usize..tail.end as usize)).unwrap();
    Block { written, data, footer: Arc::new(footer) }
}

/// Feeds a scan from `data`; answers its tables and the bytes it asked for.
fn drive(mut scan: Scan, data: &Bytes) -> Result<(Vec<SpanTable>, u64), BlockError> {
    let (mut tables, mut asked) = (Vec::new(), 0);
    loop {
        match scan.next()? {
            Step::Done => return Ok((tables, asked)),
            Step::Table(table) => tables.push(table),
            Step::Need(ranges) => {
                let mut end = 0;
                let mut supplied = Vec::new();
                for range in ranges {
                    assert!(end <= range.start && range.start < range.end, "ascending and disjoint");
                    end = range.end;
                    asked += range.end - range.start;
                    let bytes = data.slice(range.start as usize..range.end as usize);
                    supplied.push((range, bytes));
                }
                scan.supply(supplied)?;
            }
        }
    }
}

impl Block {
    fn scan(&self, projection: Projection) -> Vec<SpanTable> {
        let scan =
            Scan::new(&self.written.meta, Arc::clone(&self.footer), 0..usize::MAX, projection).unwrap();
        drive(scan, &self.data).unwrap().0
    }

    fn trace(&self, id: TraceId) -> Vec<SpanTable> {
        let scan = Scan::trace(&self.written.meta, Arc::clone(&self.footer), id).unwrap();
        drive(scan, &self.data).unwrap().0
    }
}

const COLUMNS: [Column; 20] = [
    Column::TraceId,
    Column::TraceTime,
    Column::Root,
    Column::ServiceStats,
    Column::Service,
    Column::ScopeName,
    Column::ScopeVersion,
    Column::SpanId,
    Column::ParentSpanId,
    Column::NestedSet,
    Column::Name,
    Column::Kind,
    Column::Start,
    Column::Duration,
    Column::Status,
    Column::StatusMessage,
    Column::EventName,
    Column::EventTime,
    Column::LinkTraceId,
    Column::LinkSpanId,
];

/// A column of a table as text, by value and not by code.
fn dump(t: &SpanTable, column: Column) -> Vec<String> {
    fn debug<T: std::fmt::Debug>(values: &[T]) -> Vec<String> {
        values.iter().map(|value| format!("{value:?}")).collect()
    }
    let text =
        |codes: &[crate::table::Code]| codes.iter().map(|code| t.strings.text(*code).to_owned()).collect();
    match column {
        Column::TraceId => debug(&t.traces.id),
        Column::TraceTime => [debug(&t.traces.start), debug(&t.traces.end)].concat(),
        Column::Root => [text(&t.traces.root_service), text(&t.traces.root_name)].concat::<String>(),
        Column::ServiceStats => {
            let numbers = [debug(&t.traces.stats_spans), debug(&t.traces.stats_errors)].concat();
            [text(&t.traces.stats_service), numbers].concat::<String>()
        }
        Column::Service => [text(&t.resources.service), debug(&t.resources.has_service)].concat::<String>(),
        Column::ScopeName => text(&t.scopes.name),
        Column::ScopeVersion => text(&t.scopes.version),
        Column::SpanId => debug(&t.spans.id),
        Column::ParentSpanId => debug(&t.spans.parent_id),
        Column::NestedSet => [&t.spans.left, &t.spans.right, &t.spans.parent].map(|v| debug(v)).concat(),
        Column::Name => text(&t.spans.name),
        Column::Kind => debug(&t.spans.kind),
        Column::Start => debug(&t.spans.start),
        Column::Duration => debug(&t.spans.duration),
        Column::Status => debug(&t.spans.status),
        Column::StatusMessage => text(&t.spans.status_message),
        Column::EventName => text(&t.events.name),
        Column::EventTime => debug(&t.events.since_start),
        Column::LinkTraceId => debug(&t.links.trace_id),
        Column::LinkSpanId => debug(&t.links.span_id),
    }
}

const LEVELS: [Level; 5] = [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link];

fn owners(t: &SpanTable, level: Level) -> usize {
    match level {
        Level::Resource => t.traces.resources.children(),
        Level::Scope => t.resources.scopes.children(),
        Level::Span => t.span_count(),
        Level::Event => t.spans.events.children(),
        Level::Link => t.spans.links.children(),
    }
}

/// Holds a table that was read by a projection against the same one read whole.
fn holds_to(part: &SpanTable, whole: &SpanTable, columns: &[Column], wanted: &[(Level, String)]) {
    let spine =
        |t: &SpanTable| [&t.traces.resources, &t.resources.scopes, &t.scopes.spans].map(Offsets::clone);
    assert_eq!(spine(part), spine(whole));
    for column in COLUMNS {
        let expected = if columns.contains(&column) { dump(whole, column) } else { Vec::new() };
        assert_eq!(dump(part, column), expected, "{column:?}");
    }
    for level in LEVELS {
        let attributes = part.attributes(level);
        assert_eq!(attributes.offsets.parents(), owners(part, level), "{level:?}");
        if !wanted.iter().any(|(of, _)| *of == level) {
            assert!(attributes.key.is_empty());
            continue;
        }
        assert_eq!(owners(part, level), owners(whole, level), "{level:?}");
        for owner in 0..owners(whole, level) {
            let mut expected = attrs_of(whole.attributes(level), owner, &whole.strings);
            expected.retain(|(key, _)| wanted.iter().any(|(of, name)| *of == level && name == key));
            assert_eq!(attrs_of(attributes, owner, &part.strings), expected, "{level:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(traces in traces(), group in 1_u64..2000, page in 1_usize..20) {
        let block = block(&traces, group, page);
        let tables = block.scan(Projection::Everything);
        prop_assert_eq!(tables.len(), block.written.meta.row_groups as usize);
        let back: Vec<_> = tables.iter().flat_map(read).collect();
        prop_assert_eq!(back, traces);
    }

    #[test]
    fn a_projection_reads_the_same_as_everything_restricted_to_it(
        traces in traces(),
        columns in proptest::sample::subsequence(COLUMNS.to_vec(), 0..6),
        keys in proptest::collection::btree_set(
            (proptest::sample::select(LEVELS.to_vec()),
             proptest::sample::select(vec!["a", "http.url", "http.status_code", "url.path", "cluster", "zz"])),
            0..4),
    ) {
        let block = block(&traces, 1500, 7);
        let attributes: Vec<_> = keys.into_iter().map(|(level, key)| (level, key.to_owned())).collect();
        let parts = block.scan(Projection::Some { columns: columns.clone(), attributes: attributes.clone() });
        let whole = block.scan(Projection::Everything);
        prop_assert_eq!(parts.len(), whole.len());
        for (part, whole) in parts.iter().zip(&whole) {
            holds_to(part, whole, &columns, &attributes);
        }
    }

    #[test]
    fn a_trace_is_found_by_its_id_and_no_other(traces in traces(), absent in any::<u128>()) {
        let block = block(&traces, 800, 3);
        for trace in &traces {
            let found = block.trace(TraceId(trace.id.to_be_bytes()));
            prop_assert_eq!(found.iter().flat_map(read).collect::<Vec<_>>(), vec![trace.clone()]);
        }
        if traces.iter().all(|trace| trace.id != absent) {
            prop_assert!(block.trace(TraceId(absent.to_be_bytes())).is_empty());
        }
    }

    #[test]
    fn a_window_of_rows_is_read_as_these_rows_of_the_whole(
        traces in traces(),
        page in 1_usize..6,
        from in 0_u64..12,
        count in 0_u64..12,
    ) {
        let block = block(&traces, u64::MAX, page);
        let rows = from..from + count;
        let everything = Projection::Everything;
        let scan =
            Scan::rows(&block.written.meta, Arc::clone(&block.footer), 0, rows.clone(), everything).unwrap();
        let back: Vec<_> = drive(scan, &block.data).unwrap().0.iter().flat_map(read).collect();
        let end = traces.len().min(rows.end as usize);
        let expected = traces.get(rows.start as usize..end).unwrap_or_default();
        prop_assert_eq!(&back, expected);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic(
        traces in traces(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        tail in any::<bool>(),
    ) {
        let block = block(&traces, 1000, 5);
        let mut data = block.data.to_vec();
        let from = if tail { data.len() - block.written.meta.footer_size as usize - 8 } else { 0 };
        for (at, byte) in damage {
            let at = from + at.index(data.len() - from);
            data[at] ^= byte;
        }
        let id = TraceId(traces[0].id.to_be_bytes());
        let meta = &block.written.meta;
        let end = cut.index(data.len());
        let short = Bytes::copy_from_slice(&data[..end]);
        let _ = Footer::decode(&Meta { size: end as u64, ..meta.clone() }, short.clone());
        let _ = Bloom::decode(short.clone());
        let _ = Meta::from_json(&short);
        let data = Bytes::from(data);
        if let Ok(footer) = Footer::decode(meta, data.clone()) {
            let footer = Arc::new(footer);
            let _ = drive(Scan::new(meta, Arc::clone(&footer), 0..9, Projection::Everything).unwrap(), &data);
            let _ = drive(Scan::trace(meta, Arc::clone(&footer), id).unwrap(), &data);
            let _ = drive(Scan::rows(meta, footer, 0, 1..3, Projection::Everything).unwrap(), &data);
        }
    }
}

/// Traces enough for many pages, each of which is as the others but for its id.
fn many(count: u128, spans: u32) -> Vec<Trace> {
    let one = {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let strategy = traces().prop_filter("large", |traces| {
            let spans =
                |t: &Trace| t.resources.iter().flat_map(|r| &r.scopes).map(|s| s.spans.len()).sum::<usize>();
            traces.iter().any(|t| spans(t) >= 3)
        });
        let generated = strategy.new_tree(&mut runner).unwrap().current();
        let spans =
            |t: &Trace| t.resources.iter().flat_map(|r| &r.scopes).map(|s| s.spans.len()).sum::<usize>();
        generated.into_iter().max_by_key(spans).unwrap()
    };
    let of = |id: u128| {
        let mut trace = Trace { id: id << 64 | 7, ..one.clone() };
        let span =
            trace.resources.iter().flat_map(|r| &r.scopes).flat_map(|s| &s.spans).next().unwrap().clone();
        let scope = trace.resources.iter_mut().flat_map(|r| &mut r.scopes).next().unwrap();
        scope.spans.extend((0..spans).map(|i| model::Span { ids: (u64::from(i), 0), ..span.clone() }));
        scope.spans[0].attrs.insert(0, ("everywhere".to_owned(), model::Val::Int(1)));
        scope.spans[0].attrs.sort();
        trace
    };
    (1..=count).map(of).collect()
}

#[test]
fn a_lookup_asks_for_a_small_part_of_the_block() {
    let traces = many(2000, 20);
    let block = block(&traces, u64::MAX, 1000);
    assert_eq!(block.written.meta.row_groups, 1);
    let id = TraceId(traces[1234].id.to_be_bytes());
    let scan = Scan::trace(&block.written.meta, Arc::clone(&block.footer), id).unwrap();
    let (found, asked) = drive(scan, &block.data).unwrap();
    assert_eq!(found.iter().flat_map(read).collect::<Vec<_>>(), traces[1234..=1234]);
    assert!(asked * 10 < block.data.len() as u64, "{asked} of {}", block.data.len());
}

#[test]
fn a_search_for_an_absent_key_asks_for_no_values() {
    let traces = many(500, 3);
    let block = block(&traces, u64::MAX, 1000);
    // The footer alone, so that all else must be asked for.
    let start = block.data.len() - block.written.meta.footer_size as usize - 8;
    let footer = Arc::new(Footer::decode(&block.written.meta, block.data.slice(start..)).unwrap());
    let asked = |key: &str| {
        let attributes = vec![(Level::Span, key.to_owned())];
        let projection = Projection::Some { columns: vec![], attributes };
        let scan = Scan::new(&block.written.meta, Arc::clone(&footer), 0..1, projection).unwrap();
        drive(scan, &block.data).unwrap().1
    };
    assert!(asked("nowhere") < asked("everywhere"));
}

#[test]
fn long_texts_end_a_page_before_it_is_too_large_to_read() {
    let mut traces = many(30, 0);
    for (at, trace) in traces.iter_mut().enumerate() {
        let spans = trace.resources.iter_mut().flat_map(|r| &mut r.scopes).flat_map(|s| &mut s.spans);
        let long = ["long", &at.to_string(), &"x".repeat(1 << 20)].concat();
        spans.take(1).for_each(|span| span.attrs = vec![("long".to_owned(), model::Val::Text(long.clone()))]);
    }
    let block = block(&traces, u64::MAX, 1000);
    let value = schema::Leaf::Attribute(Level::Span, schema::Part::Text);
    let (_, chunk) = block.footer.chunk(0, value).unwrap();
    let index = chunk.offset_index.clone().unwrap();
    let index = block.data.slice(index.start as usize..index.end as usize);
    assert_eq!(footer::offset_index(&index, chunk).unwrap().len(), 2, "30 MiB in pages of 16");
    let back: Vec<_> = block.scan(Projection::Everything).iter().flat_map(read).collect();
    assert!(back == traces);
}

#[test]
fn meta_and_index_say_what_was_written() {
    let mut traces = many(40, 0);
    for (at, trace) in traces.iter_mut().enumerate() {
        trace.times = (1_700_000_000_500_000_000 + at as u64, 1_700_000_009_000_000_001);
    }
    let block = block(&traces, 500, 8);
    let meta = &block.written.meta;
    assert!(meta.row_groups > 1);
    assert_eq!((meta.traces, meta.replication_factor, meta.bloom_shards), (40, 1, 1));
    assert_eq!((meta.start.to_string(), meta.end.to_string()), {
        let text = |seconds| jiff::Timestamp::from_second(seconds).unwrap().to_string();
        (text(1_700_000_000), text(1_700_000_010))
    });
    let length = &block.data[block.data.len() - 8..block.data.len() - 4];
    assert_eq!(meta.footer_size.to_le_bytes(), length);
    assert_eq!(Meta::from_json(&meta.to_json()).unwrap(), *meta);
    let index: serde_json::Value = serde_json::from_slice(&block.written.index).unwrap();
    assert_eq!(index["rowGroups"].as_array().unwrap().len(), meta.row_groups as usize);
    let bloom = Bloom::decode(block.written.bloom[0].clone()).unwrap();
    assert!(traces.iter().all(|trace| bloom.may_hold(TraceId(trace.id.to_be_bytes()))));
}

#[test]
fn another_reader_of_parquet_finds_every_row_statistics_and_both_page_indexes() {
    let traces = many(300, 2);
    let block = block(&traces, 8000, 100);
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(block.data.clone(), options).unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().schema().name(), "Trace");
    assert!(metadata.num_row_groups() > 1);
    for group in metadata.row_groups() {
        for column in group.columns() {
            assert!(column.statistics().is_some(), "{}", column.column_path());
            assert!(column.column_index_offset().is_some(), "{}", column.column_path());
            assert!(column.offset_index_offset().is_some(), "{}", column.column_path());
        }
    }
    let mut rows = 0;
    for (row, trace) in reader.get_row_iter(None).unwrap().zip(&traces) {
        use parquet::record::RowAccessor;
        let row = row.unwrap();
        assert_eq!(row.get_bytes(0).unwrap().data(), trace.id.to_be_bytes());
        assert_eq!(row.get_list(8).unwrap().len(), trace.resources.len());
        rows += 1;
    }
    assert_eq!(rows, traces.len());
    let strict = parquet::file::metadata::ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&block.data);
    assert!(strict.is_ok(), "{strict:?}");
}

#[test]
fn rows_out_of_order_twice_or_missing_are_refused() {
    let traces = many(3, 0);
    let table = table(&traces);
    let write = |rows: &[u32]| {
        let rows = rows.iter().map(|row| (&table, *row));
        write(rows, &WriteOptions::default(), &Tenant::single(), BlockId::random(), std::io::sink())
    };
    assert!(write(&[0, 1, 2]).is_ok());
    assert!(matches!(write(&[]), Err(BlockError::Empty)));
    assert!(matches!(write(&[1, 0]), Err(BlockError::Order { .. })));
    assert!(matches!(write(&[1, 1]), Err(BlockError::Order { .. })));
    assert!(matches!(write(&[0, 3]), Err(BlockError::Row { traces: 3, row: 3 })));
}

#[test]
fn a_sink_that_is_full_is_told_apart_from_a_bad_table() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut table = table(&many(3, 0));
    let write_to = |table: &SpanTable, sink: &mut (dyn std::io::Write + Send)| {
        write([(table, 0)], &WriteOptions::default(), &Tenant::single(), BlockId::random(), sink)
    };
    assert!(matches!(write_to(&table, &mut Full), Err(BlockError::Sink(_))));
    table.spans.name.clear();
    assert!(matches!(write_to(&table, &mut std::io::sink()), Err(BlockError::Corrupt { .. })));
}

#[test]
fn other_formats_are_refused_before_a_byte_is_looked_at() {
    let block = block(&many(2, 0), 500, 8);
    for format in ["vParquet3", "vParquet5", "v2"] {
        let meta = Meta { format: format.to_owned(), ..block.written.meta.clone() };
        let refused = Footer::decode(&meta, Bytes::new()).unwrap_err().to_string();
        assert!(refused.contains(format), "{refused}");
        assert!(Scan::new(&meta, Arc::clone(&block.footer), 0..1, Projection::Everything).is_err());
    }
}
