use super::*;
use crate::table::Code;
use crate::table::columns::{Level, Value};
use crate::wire::otlp::tags;
use crate::wire::protobuf::{put_bytes, put_fixed64, put_message, put_uint};

const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

fn attribute(out: &mut Vec<u8>, tag: u32, key: &str, text: &str) {
    put_message(out, tag, |out| {
        put_bytes(out, tags::key_value::KEY, key.as_bytes());
        put_message(out, tags::key_value::VALUE, |out| {
            put_bytes(out, tags::value::STRING, text.as_bytes());
        });
    });
}

/// A span named after its id.
fn span(out: &mut Vec<u8>, id: u8, parent: u8, kind: u64) {
    put_message(out, tags::scope_spans::SPANS, |out| {
        put_bytes(out, tags::span::TRACE_ID, &[1; 16]);
        put_bytes(out, tags::span::SPAN_ID, &[id; 8]);
        put_bytes(out, tags::span::PARENT_SPAN_ID, &[parent; 8]);
        put_bytes(out, tags::span::NAME, format!("span {id}").as_bytes());
        put_uint(out, tags::span::KIND, kind);
        put_fixed64(out, tags::span::START, 1000 + u64::from(id));
        put_fixed64(out, tags::span::END, 2000);
        attribute(out, tags::span::ATTRIBUTES, "key", "value");
        put_message(out, tags::span::EVENTS, |out| {
            put_fixed64(out, tags::event::TIME, 1500);
            put_bytes(out, tags::event::NAME, b"event");
        });
        put_message(out, tags::span::STATUS, |out| put_uint(out, tags::status::CODE, u64::from(id == 2) * 2));
    });
}

fn resource(attributes: &[(&str, &str)], spans: &[(u8, u8, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, tags::RESOURCE_SPANS, |out| {
        put_message(out, tags::resource_spans::RESOURCE, |out| {
            for (key, text) in attributes {
                attribute(out, tags::resource::ATTRIBUTES, key, text);
            }
        });
        put_message(out, tags::resource_spans::SCOPE_SPANS, |out| {
            put_message(out, tags::scope_spans::SCOPE, |out| put_bytes(out, tags::scope::NAME, b"lib"));
            for &(id, parent, kind) in spans {
                span(out, id, parent, kind);
            }
        });
    });
    out
}

fn build(mut builder: TableBuilder, parts: &[Vec<u8>]) -> SpanTable {
    builder.begin(TraceId([1; 16]));
    for part in parts {
        builder.add_otlp(part).unwrap();
    }
    builder.end();
    builder.finish()
}

/// Id, left, right and parent of each span.
fn numbers(table: &SpanTable) -> Vec<(u8, i32, i32, i32)> {
    let spans = &table.spans;
    (0..spans.id.len()).map(|i| (spans.id[i].0[0], spans.left[i], spans.right[i], spans.parent[i])).collect()
}

#[test]
fn resources_that_differ_only_in_the_order_of_their_attributes_are_one() {
    let table = build(
        TableBuilder::new(),
        &[
            resource(&[("service.name", "a"), ("x", "1"), ("y", "2")], &[(1, 0, INTERNAL)]),
            resource(&[("service.name", "b")], &[(2, 1, INTERNAL)]),
            resource(&[("y", "2"), ("service.name", "a"), ("x", "1")], &[(3, 1, INTERNAL)]),
        ],
    );
    assert_eq!(table.resources.service.len(), 2);
    assert_eq!(table.scopes.name.len(), 2);
    let ids: Vec<u8> = table.spans.id.iter().map(|id| id.0[0]).collect();
    assert_eq!(ids, [1, 3, 2]);
    assert_eq!(table.strings.text(table.resources.service[0]), "a");
    let keys = &table.resources.attributes.key;
    assert_eq!(keys.iter().map(|&key| table.strings.text(key)).collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn a_trace_knows_its_root_its_bounds_and_its_services() {
    let table = build(
        TableBuilder::new(),
        &[
            resource(&[("service.name", "b")], &[(2, 1, SERVER), (3, 2, INTERNAL)]),
            resource(&[("service.name", "a")], &[(1, 0, SERVER)]),
        ],
    );
    let traces = &table.traces;
    assert_eq!(table.strings.text(traces.root_service[0]), "a");
    assert_eq!(table.strings.text(traces.root_name[0]), "span 1");
    assert_eq!((traces.start[0], traces.end[0]), (1001, 2000));
    let services: Vec<_> = traces.stats_service.iter().map(|&code| table.strings.text(code)).collect();
    assert_eq!(services, ["a", "b"]);
    assert_eq!((&traces.stats_spans[..], &traces.stats_errors[..]), (&[1, 2][..], &[0, 1][..]));
    assert_eq!(numbers(&table), [(2, 2, 5, 1), (3, 3, 4, 2), (1, 1, 6, -1)]);
    assert_eq!(table.events.since_start, [498, 497, 499]);
}

#[test]
fn spans_that_no_root_reaches_have_zeros() {
    let spans = [(1, 0, INTERNAL), (2, 9, INTERNAL), (3, 2, INTERNAL), (4, 5, INTERNAL), (5, 4, INTERNAL)];
    let table = build(TableBuilder::new(), &[resource(&[], &spans)]);
    assert_eq!(numbers(&table), [(1, 1, 2, -1), (2, 0, 0, 0), (3, 0, 0, 0), (4, 0, 0, 0), (5, 0, 0, 0)]);
}

#[test]
fn a_server_below_a_shared_id_hangs_on_the_client_and_others_on_the_server() {
    let spans = [
        (1, 0, INTERNAL),
        (2, 1, CLIENT),
        (2, 1, SERVER),
        (3, 2, SERVER),
        (4, 2, INTERNAL),
        (5, 0, INTERNAL),
    ];
    let table = build(TableBuilder::new(), &[resource(&[], &spans)]);
    let expected = [(1, 1, 10, -1), (2, 2, 5, 1), (2, 6, 9, 1), (3, 3, 4, 2), (4, 7, 8, 6), (5, 11, 12, -1)];
    assert_eq!(numbers(&table), expected);
}

#[test]
fn an_id_that_stands_three_times_leaves_the_whole_trace_without_numbers() {
    let spans = [(1, 0, INTERNAL), (2, 1, CLIENT), (2, 1, SERVER), (2, 1, INTERNAL)];
    let table = build(TableBuilder::new(), &[resource(&[], &spans)]);
    assert!(numbers(&table).iter().all(|&(_, left, right, parent)| (left, right, parent) == (0, 0, 0)));
}

#[test]
fn equal_spans_become_one_only_where_that_is_asked_for_and_others_with_the_same_id_stay() {
    let a = resource(&[("service.name", "a")], &[(1, 0, INTERNAL), (2, 1, CLIENT), (2, 1, SERVER)]);
    let b = resource(&[("service.name", "b")], &[(1, 0, INTERNAL)]);
    let parts = [a.clone(), b, a];
    assert_eq!(build(TableBuilder::new(), &parts).span_count(), 4);
    assert_eq!(build(TableBuilder::keeping_duplicates(), &parts).span_count(), 7);
}

#[test]
fn rows_of_another_table_are_added_as_if_decoded_again() {
    let first = resource(&[("service.name", "a"), ("x", "1")], &[(1, 0, SERVER), (2, 1, CLIENT)]);
    let second = resource(&[("x", "1"), ("service.name", "a")], &[(3, 2, INTERNAL)]);
    let once = build(TableBuilder::new(), &[first.clone(), second.clone()]);
    let source = build(TableBuilder::new(), &[first]);
    let mut builder = TableBuilder::new();
    for recode in [Recode::of(&source), Recode::sparse()] {
        let mut recode = recode;
        builder.begin(TraceId([1; 16]));
        builder.add_rows_with(&source, 0, &mut recode);
        builder.add_otlp(&second).unwrap();
        builder.end();
    }
    let table = builder.finish();
    assert_eq!(table.trace_count(), 2);
    for trace in 0..2 {
        let spans = table.spans_of_trace(trace);
        assert_eq!(table.traces.resources.range(trace).len(), 1);
        assert_eq!(table.spans.id[spans.clone()], once.spans.id[..]);
        assert_eq!(table.spans.left[spans.clone()], once.spans.left[..]);
        assert_eq!(table.spans.events.range(spans.start).len(), 1);
        let attributes = table.attributes(Level::Span);
        let entry = attributes.offsets.range(spans.start).start;
        assert_eq!(attributes.get(entry, &table.strings), Some(Value::String("value")));
    }
}

#[test]
fn what_follows_malformed_bytes_is_not_mixed_with_them() {
    let whole = resource(&[("service.name", "a")], &[(1, 0, INTERNAL)]);
    let mut builder = TableBuilder::new();
    builder.begin(TraceId([1; 16]));
    let mut broken = whole.clone();
    // the status, which stands behind attributes and events, gets a wrong wire type
    let status = broken.len() - 2;
    broken[status] = 0x7b;
    builder.add_otlp(&broken).unwrap_err();
    builder.add_otlp(&whole).unwrap();
    builder.end();
    let table = builder.finish();
    assert_eq!((table.span_count(), table.spans.events.children()), (1, 1));
    assert_eq!(table.spans.attributes.offsets.range(0).len(), 1);
    assert_eq!(table.events.since_start, [499]);
}

#[test]
fn a_trace_without_spans_has_no_row() {
    let mut builder = TableBuilder::new();
    builder.begin(TraceId([1; 16]));
    builder.add_otlp(&resource(&[("service.name", "a")], &[])).unwrap();
    assert_eq!(builder.end(), None);
    assert_eq!(builder.finish().trace_count(), 0);
}

#[test]
fn a_tidy_trace_has_small_resources_first_and_root_and_nested_sets_of_its_arrival() {
    let many = resource(&[("service.name", "a")], &[(1, 0, SERVER), (2, 1, CLIENT)]);
    let one = resource(&[("service.name", "b")], &[(3, 2, SERVER)]);
    let other = resource(&[("service.name", "c")], &[(4, 0, INTERNAL)]);
    let parts = [many, one, other];
    let plain = build(TableBuilder::new(), &parts);
    let tidy = build(TableBuilder::new().tidily(), &parts);
    let ids = |table: &SpanTable| table.spans.id.iter().map(|id| id.0[0]).collect::<Vec<_>>();
    assert_eq!((ids(&plain), ids(&tidy)), (vec![1, 2, 3, 4], vec![3, 4, 1, 2]));
    assert_eq!(sorted(&tidy), sorted(&plain));
    let last = ("c".to_owned(), "span 4".to_owned());
    assert_eq!((root(&plain), root(&tidy)), (last.clone(), last));
    let of = |table: &SpanTable| {
        table.resources.service.iter().map(|c| table.strings.text(*c).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&tidy), ["b", "c", "a"]);
}

/// Three roots in two resources, and a span on either side of a third one, which comes last.
fn forest() -> [Vec<u8>; 5] {
    [
        resource(&[("service.name", "a")], &[(1, 0, SERVER), (2, 1, CLIENT), (3, 1, SERVER)]),
        resource(&[("service.name", "b")], &[(4, 0, INTERNAL)]),
        resource(&[("service.name", "c")], &[(5, 9, SERVER), (6, 0, CLIENT), (7, 3, CLIENT)]),
        resource(&[("service.name", "b")], &[(8, 9, SERVER)]),
        resource(&[("service.name", "a")], &[(9, 4, CLIENT)]),
    ]
}

fn root(table: &SpanTable) -> (String, String) {
    let text = |codes: &[Code]| table.strings.text(codes[0]).to_owned();
    (text(&table.traces.root_service), text(&table.traces.root_name))
}

fn sorted(table: &SpanTable) -> Vec<(u8, i32, i32, i32)> {
    let mut numbers = numbers(table);
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_tidy_trace_that_is_built_again_and_again_answers_as_one_built_at_once() {
    let parts = forest();
    let mut last: Option<SpanTable> = None;
    for (at, part) in parts.iter().enumerate() {
        for more in [Some(part), None] {
            let mut builder = TableBuilder::keeping_duplicates().tidily();
            builder.begin(TraceId([1; 16]));
            if let Some(table) = &last {
                builder.add_rows(table, 0);
            }
            if let Some(part) = more {
                builder.add_otlp(part).unwrap();
            }
            builder.end();
            let table = last.insert(builder.finish());
            let once = build(TableBuilder::keeping_duplicates(), &parts[..=at]);
            assert_eq!((root(table), sorted(table)), (root(&once), sorted(&once)), "after part {at}");
        }
    }
}

#[test]
fn roots_of_a_tidy_block_keep_their_order_when_traces_are_put_together() {
    let whole = build(TableBuilder::new(), &forest());
    let mut stored = build(TableBuilder::new().tidily(), &forest());
    stored.spans.arrival.clear();
    assert_ne!(numbers(&stored), numbers(&whole));
    let below =
        build(TableBuilder::new().tidily(), &[resource(&[("service.name", "d")], &[(11, 4, SERVER)])]);
    for parts in [vec![&stored, &stored], vec![&stored, &below], vec![&below, &stored]] {
        let mut builder = TableBuilder::new().tidily();
        builder.begin(TraceId([1; 16]));
        for part in parts {
            builder.add_rows(part, 0);
        }
        builder.end();
        let merged = builder.finish();
        assert_eq!(root(&merged), root(&whole));
        let roots = |table: &SpanTable| {
            let mut roots: Vec<_> = sorted(table).into_iter().filter(|row| row.3 == -1).collect();
            roots.sort_unstable_by_key(|row| row.1);
            roots.into_iter().map(|row| row.0).collect::<Vec<_>>()
        };
        assert_eq!(roots(&merged), roots(&whole));
    }
}

/// Found by fuzzing: the split looked at the last of two ids, and the table at both.
#[test]
fn of_an_id_that_is_there_twice_the_last_counts_wherever_it_is_looked_at() {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let span = |ids: &[(u8, &[u8])]| {
        let fields = ids.iter().flat_map(|(number, bytes)| field(*number, bytes));
        let span: Vec<u8> = field(1, &[7; 16]).into_iter().chain(fields).collect();
        bytes::Bytes::from(field(1, &field(2, &field(2, &span))))
    };
    for (ids, kept) in [
        (&[(2, &[1; 12][..]), (2, &[2; 8][..])][..], true),
        (&[(2, &[1; 8][..]), (2, &[2; 12][..])][..], false),
        (&[(2, &[1; 8][..]), (4, &[3; 3][..]), (4, &[4; 8][..])][..], true),
        (&[(2, &[1; 8][..]), (4, &[4; 8][..]), (4, &[][..])][..], true),
        (&[(2, &[1; 8][..]), (2, &[][..])][..], false),
    ] {
        let cut = crate::wire::otlp::split(&span(ids)).unwrap();
        assert_eq!(cut.traces.len(), usize::from(kept), "{ids:?}");
        for trace in cut.traces {
            let mut builder = TableBuilder::new();
            builder.begin(trace.id);
            builder.add_otlp(&trace.otlp).unwrap();
            assert_eq!(builder.staged_spans(), 1, "{ids:?}");
        }
    }
}
