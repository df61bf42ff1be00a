//! Both formats, with every choice of dedicated columns: what is written is read back.

use parquet::file::{
    metadata::PageIndexPolicy,
    reader::{FileReader, SerializedFileReader},
    serialized_reader::ReadOptionsBuilder,
};

use super::*;
use crate::table::TableBuilder;

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

/// A format with dedicated columns that it takes.
fn options() -> impl Strategy<Value = WriteOptions> {
    use DedicatedKind::{Int, String};
    use DedicatedScope::{Event, Resource, Span};
    let of = |scope, kind, name: &str, blob| DedicatedColumn {
        kind,
        options: if blob { vec!["blob".to_owned()] } else { Vec::new() },
        ..DedicatedColumn::string(scope, name)
    };
    let v4 = vec![
        of(Resource, String, "a", false),
        of(Resource, String, "b", false),
        of(Span, String, "url.path", false),
        of(Span, String, "a", false),
        of(Span, String, "b", true),
    ];
    let v5 = vec![
        of(Resource, String, "a", false),
        of(Resource, String, "cluster", true),
        of(Resource, Int, "b", false),
        of(Span, Int, "http.status_code", false),
        of(Span, String, "http.url", true),
        of(Span, Int, "a", false),
        of(Span, String, "b", false),
        of(Event, String, "a", false),
        of(Event, Int, "b", false),
    ];
    let fixed = |version, columns: Vec<DedicatedColumn>| {
        let most = columns.len();
        proptest::sample::subsequence(columns, 0..=most).prop_shuffle().prop_map(move |columns| {
            WriteOptions { version, dedicated: Dedicated::Fixed(columns), ..WriteOptions::default() }
        })
    };
    let auto = |version| Just(WriteOptions { version, ..WriteOptions::default() });
    prop_oneof![fixed(Version::V4, v4), fixed(Version::V5, v5), auto(Version::V4), auto(Version::V5),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(options in options(), traces in traces(), group in 1_u64..2000, page in 1_usize..20) {
        let options = WriteOptions { row_group_bytes: group, ..options };
        let block = block_of(&traces, &options, page);
        let tables = block.scan(Projection::Everything);
        prop_assert_eq!(tables.len(), block.written.meta.row_groups as usize);
        let back: Vec<_> = tables.iter().flat_map(read).collect();
        prop_assert_eq!(back, traces);
    }

    #[test]
    fn a_projection_reads_the_same_as_everything_restricted_to_it(
        options in options(),
        traces in traces(),
        columns in proptest::sample::subsequence(COLUMNS.to_vec(), 0..6),
        keys in proptest::collection::btree_set(
            (proptest::sample::select(LEVELS.to_vec()),
             proptest::sample::select(vec!["a", "http.url", "http.status_code", "url.path", "cluster", "zz"])),
            0..4),
    ) {
        let options = WriteOptions { row_group_bytes: 1500, ..options };
        let block = block_of(&traces, &options, 7);
        let attributes: Vec<_> = keys.into_iter().map(|(level, key)| (level, key.to_owned())).collect();
        let parts = block.scan(Projection::Some { columns: columns.clone(), attributes: attributes.clone() });
        let whole = block.scan(Projection::Everything);
        prop_assert_eq!(parts.len(), whole.len());
        for (part, whole) in parts.iter().zip(&whole) {
            holds_to(part, whole, &columns, &attributes);
        }
    }

    #[test]
    fn a_trace_is_found_by_its_id_and_no_other(options in options(), traces in traces(), absent in any::<u128>()) {
        let options = WriteOptions { row_group_bytes: 800, ..options };
        let block = block_of(&traces, &options, 3);
        for trace in &traces {
            let found = block.trace(TraceId(trace.id.to_be_bytes()));
            prop_assert_eq!(found.iter().flat_map(read).collect::<Vec<_>>(), vec![trace.clone()]);
        }
        if traces.iter().all(|trace| trace.id != absent) {
            prop_assert!(block.trace(TraceId(absent.to_be_bytes())).is_empty());
        }
    }

    #[test]
    fn what_two_blocks_hold_in_other_columns_is_still_the_same(
        one in options(),
        other in options(),
        traces in traces(),
    ) {
        let [one, other] = [one, other].map(|options| {
            block_of(&traces, &WriteOptions { row_group_bytes: u64::MAX, ..options }, 5)
                .scan(Projection::Everything)
                .remove(0)
        });
        let count = |tables: &[&SpanTable]| {
            let mut builder = TableBuilder::new();
            for trace in 0..traces.len() {
                builder.begin(one.traces.id[trace]);
                for table in tables {
                    builder.add_rows(table, trace);
                }
                builder.end();
            }
            builder.finish().span_count()
        };
        prop_assert_eq!(count(&[&one, &other]), count(&[&one]));
    }

    #[test]
    fn a_window_of_rows_is_read_as_these_rows_of_the_whole(
        options in options(),
        traces in traces(),
        page in 1_usize..6,
        from in 0_u64..12,
        count in 0_u64..12,
    ) {
        let options = WriteOptions { row_group_bytes: u64::MAX, ..options };
        let block = block_of(&traces, &options, page);
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
        options in options(),
        traces in traces(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        tail in any::<bool>(),
    ) {
        let options = WriteOptions { row_group_bytes: 1000, ..options };
        let block = block_of(&traces, &options, 5);
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

#[test]
fn another_reader_of_parquet_finds_every_row_statistics_and_both_page_indexes() {
    for version in [Version::V4, Version::V5] {
        let options = WriteOptions { version, row_group_bytes: 8000, ..WriteOptions::default() };
        let traces = many(300, 2);
        is_found(&block_of(&traces, &options, 100), &traces);
    }
}

fn is_found(block: &Block, traces: &[Trace]) {
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
    for (row, trace) in reader.get_row_iter(None).unwrap().zip(traces) {
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
fn other_formats_are_refused_before_a_byte_is_looked_at() {
    let block = block(&many(2, 0), 500, 8);
    for format in ["vParquet3", "vParquet5-preview5", "v2"] {
        let meta = Meta { format: format.to_owned(), ..block.written.meta.clone() };
        let refused = Footer::decode(&meta, Bytes::new()).unwrap_err().to_string();
        assert!(refused.contains(format), "{refused}");
        assert!(Scan::new(&meta, Arc::clone(&block.footer), 0..1, Projection::Everything).is_err());
    }
}
