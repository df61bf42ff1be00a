//! What a merge writes is what was in its inputs, whatever was torn over how many of them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Block,
    model::{Span, Trace, read, table, traces},
};
use crate::{
    block::{
        BlockError, Continued, Footer, Merge, MergeError, MergeRules, MergeStep, Merged, Scan, Sift, Step,
        Version, WriteOptions, write,
    },
    model::{BlockId, Tenant, TraceId},
    table::{Projection, SpanTable, TableBuilder},
    wire::otlp,
};

/// A block of all traces of a table, of small row groups and pages.
fn block(table: &Arc<SpanTable>) -> Block {
    block_in(Version::V4, table)
}

fn block_in(version: Version, table: &Arc<SpanTable>) -> Block {
    let rows = (0..table.trace_count() as u32).map(|row| (Arc::clone(table), row));
    let options = WriteOptions { version, row_group_bytes: 900, ..WriteOptions::default() };
    let (mut data, id) = (Vec::new(), BlockId(uuid::Uuid::nil()));
    let written = write::write_pages(rows, &options, &Tenant::single(), id, &mut data, 5).unwrap();
    let data = Bytes::from(data);
    let tail = Footer::range(&written.meta);
    let footer = Footer::decode(&written.meta, data.slice(tail.start as usize..tail.end as usize)).unwrap();
    Block { written, data, footer: Arc::new(footer) }
}

/// Drives a merge, windows being of about so many spans.
fn merge(inputs: &[Block], rules: MergeRules, window: u64) -> Result<(Merged, Bytes), MergeError> {
    let files: Vec<_> =
        inputs.iter().map(|b| (Arc::new(b.written.meta.clone()), Arc::clone(&b.footer))).collect();
    let version = inputs.first().map_or(Version::V4, |block| block.written.meta.version().unwrap());
    let options =
        WriteOptions { version, row_group_bytes: 1500, compaction_level: 3, ..WriteOptions::default() };
    let mut data = Vec::new();
    let to = (&Tenant::single(), BlockId(uuid::Uuid::max()));
    let merge = Merge::with_window(files, &options, to, &mut data, rules, (window, 7));
    let mut merge = merge.map_err(|error| MergeError { input: None, error })?;
    let merged = loop {
        match merge.next()? {
            MergeStep::Done(merged) => break *merged,
            MergeStep::Need { input, ranges } => {
                let cut = |range: std::ops::Range<u64>| {
                    let bytes = inputs[input].data.slice(range.start as usize..range.end as usize);
                    (range, bytes)
                };
                merge.supply(input, ranges.into_iter().map(cut).collect())?;
            }
        }
    };
    drop(merge);
    Ok((merged, data.into()))
}

/// The traces that a merge wrote.
fn traces_of(merged: &Merged, data: &Bytes) -> Vec<Trace> {
    let Some(written) = &merged.written else { return Vec::new() };
    let tail = Footer::range(&written.meta);
    let footer = Footer::decode(&written.meta, data.slice(tail.start as usize..tail.end as usize)).unwrap();
    let block = Block { written: written.clone(), data: data.clone(), footer: Arc::new(footer) };
    block.scan(Projection::Everything).iter().flat_map(read).collect()
}

/// Traces as sets: without the order of their parts, and what depends on it.
fn as_sets(mut traces: Vec<Trace>) -> Vec<Trace> {
    fn by_text<T: std::fmt::Debug>(items: &mut [T]) {
        items.sort_by_cached_key(|item| format!("{item:?}"));
    }
    for trace in &mut traces {
        trace.root = Default::default();
        for resource in &mut trace.resources {
            for scope in &mut resource.scopes {
                scope.spans.iter_mut().for_each(|span: &mut Span| span.nested = (0, 0, 0));
                by_text(&mut scope.spans);
            }
            by_text(&mut resource.scopes);
        }
        by_text(&mut trace.resources);
    }
    traces
}

/// The traces of `source`, of each only the spans that `keep` says, by its place in the table.
fn part(source: &SpanTable, keep: impl Fn(usize) -> bool) -> Option<Arc<SpanTable>> {
    let mut builder = TableBuilder::new();
    for trace in 0..source.trace_count() {
        builder.begin(source.traces.id[trace]);
        builder.add_rows_where(source, trace, &keep);
        builder.end();
    }
    let table = builder.finish();
    (table.trace_count() > 0).then(|| Arc::new(table))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn traces_torn_over_any_number_of_blocks_are_merged_into_what_they_were(
        traces in traces(),
        homes in proptest::collection::vec(1_u8..16, 1..40),
        window in 1_u64..30,
        version in proptest::sample::select(vec![Version::V4, Version::V5]),
    ) {
        let source = table(&traces);
        // Which of four inputs a span is in, some in more than one.
        let home = |span: usize| homes[span % homes.len()];
        let inputs: Vec<_> =
            (0..4).filter_map(|n| part(&source, |span| home(span) >> n & 1 == 1)).map(|t| block_in(version, &t)).collect();
        prop_assume!(!inputs.is_empty());
        let whole = part(&source, |_| true).unwrap();
        let (merged, data) = merge(&inputs, MergeRules::default(), window).unwrap();
        let expected = as_sets(traces_of_table(&whole));
        prop_assert_eq!(as_sets(traces_of(&merged, &data)), expected);
        let meta = &merged.written.as_ref().unwrap().meta;
        prop_assert_eq!((meta.compaction_level, meta.format.as_str()), (3, version.name()));
        prop_assert_eq!(meta.size, data.len() as u64);
        let bounds = |f: fn(&Block) -> jiff::Timestamp| inputs.iter().map(f);
        prop_assert_eq!(meta.start, bounds(|b| b.written.meta.start).min().unwrap());
        prop_assert_eq!(meta.end, bounds(|b| b.written.meta.end).max().unwrap());
    }

    #[test]
    fn a_trace_that_one_input_holds_keeps_its_order_its_root_and_its_nested_sets(
        traces in traces(),
        homes in proptest::collection::vec(0..3, 1..20),
        window in 1_u64..30,
    ) {
        let source = table(&traces);
        let of = |home: i32| {
            let mut builder = TableBuilder::keeping_duplicates().tidily();
            for trace in (0..source.trace_count()).filter(|trace| homes[trace % homes.len()] == home) {
                builder.begin(source.traces.id[trace]);
                builder.add_rows(&source, trace);
                builder.end();
            }
            Arc::new(builder.finish())
        };
        let inputs: Vec<_> = (0..3).map(of).filter(|t| t.trace_count() > 0).map(|t| block(&t)).collect();
        prop_assume!(!inputs.is_empty());
        let (merged, data) = merge(&inputs, MergeRules::default(), window).unwrap();
        prop_assert_eq!(merged.traces_combined, 0);
        let scanned = inputs.iter().flat_map(|input| input.scan(Projection::Everything));
        let mut expected: Vec<_> = scanned.flat_map(|table| read(&table)).collect();
        expected.sort_by_key(|trace| trace.id);
        prop_assert_eq!(traces_of(&merged, &data), expected);
    }
}

/// As a block of the table is read back.
fn traces_of_table(table: &Arc<SpanTable>) -> Vec<Trace> {
    block(table).scan(Projection::Everything).iter().flat_map(read).collect()
}

/// One trace of spans in a chain, from `from` up to `to`, each with a text of `bytes`.
fn chain(id: u8, from: u64, to: u64, bytes: usize) -> SpanTable {
    let spans: Vec<_> = (from..to)
        .map(|n| {
            let parent = if n == 1 { String::new() } else { format!(r#""parentSpanId":"{:016x}","#, n - 1) };
            let text = format!("{n}").repeat(bytes);
            format!(
                r#"{{"traceId":"{:032x}","spanId":"{n:016x}",{parent}"name":"span {n}","kind":1,"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{{"key":"text","value":{{"stringValue":"{text}"}}}}]}}"#,
                TraceId([id; 16]).0.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte)),
                1_000_000_000 + n,
                2_000_000_000 + n,
            )
        })
        .collect();
    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},"scopeSpans":[{{"scope":{{"name":"lib"}},"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    );
    let mut builder = TableBuilder::new();
    builder.begin(TraceId([id; 16]));
    builder.add_otlp(&otlp::json_to_proto(json.as_bytes()).unwrap()).unwrap();
    builder.end();
    builder.finish()
}

#[test]
fn what_is_known_of_a_trace_as_a_whole_is_worked_out_anew_from_all_its_parts() {
    let inputs = [chain(1, 3, 5, 1), chain(1, 1, 3, 1), chain(1, 2, 4, 1)].map(|t| block(&Arc::new(t)));
    let (merged, data) = merge(&inputs, MergeRules::default(), 100).unwrap();
    assert_eq!((merged.traces_read, merged.traces_combined), (3, 1));
    let traces = traces_of(&merged, &data);
    assert_eq!(traces.len(), 1);
    let trace = &traces[0];
    assert_eq!(trace.root, ("shop".to_owned(), "span 1".to_owned()));
    assert_eq!(trace.times, (1_000_000_001, 2_000_000_004));
    assert_eq!(trace.stats, [("shop".to_owned(), 4, 0)]);
    let spans = &trace.resources[0].scopes[0].spans;
    let nested: BTreeMap<_, _> = spans.iter().map(|span| (span.ids.0, span.nested)).collect();
    let expected = [(1, (1, 8, -1)), (2, (2, 7, 1)), (3, (3, 6, 2)), (4, (4, 5, 3))];
    assert_eq!(nested, BTreeMap::from(expected));
}

#[test]
fn a_trace_that_is_too_long_when_put_together_loses_spans_but_never_for_being_there_twice() {
    let limit = MergeRules { max_trace_bytes: Some(4000), ..MergeRules::default() };
    let halves = [chain(1, 1, 11, 300), chain(1, 11, 21, 300)].map(|t| block(&Arc::new(t)));
    let (merged, data) = merge(&halves, limit, 100).unwrap();
    let spans = traces_of(&merged, &data)[0].resources[0].scopes[0].spans.len() as u64;
    assert!(merged.spans_discarded > 0 && spans >= 5, "{merged:?}");
    assert_eq!(spans + merged.spans_discarded, 20);
    let limit = MergeRules { max_trace_bytes: Some(4000), ..MergeRules::default() };
    let copies = [chain(1, 1, 8, 300), chain(1, 1, 8, 300)].map(|t| block(&Arc::new(t)));
    let (merged, data) = merge(&copies, limit, 100).unwrap();
    assert_eq!(merged.spans_discarded, 0);
    assert_eq!(traces_of(&merged, &data)[0].resources[0].scopes[0].spans.len(), 7);
}

#[test]
fn of_the_parts_of_a_trace_all_but_the_first_are_named_as_going_on_whatever_is_merged_with_what() {
    // Of trace 1 the blocks hold the first part and two others; of 2 two others; 3 and 4 are in one alone.
    let inputs = [&[1, 3][..], &[1, 2], &[1, 2, 4]].map(|ids: &[u8]| {
        let mut builder = TableBuilder::new();
        for id in ids {
            builder.begin(TraceId([*id; 16]));
            builder.add_rows(&chain(*id, 1, 3, 1), 0);
            builder.end();
        }
        block(&Arc::new(builder.finish()))
    });
    let start = 1_000_000_001;
    let named = |ids: &[u8]| Continued::new(ids.iter().map(|id| (TraceId([*id; 16]), start)).collect());
    let continued = [named(&[]), named(&[1, 2]), named(&[1, 2, 4])].map(Arc::new);
    for (parts, expected) in [(&[0, 1][..], &[2][..]), (&[1, 2], &[1, 2, 4]), (&[0, 2], &[2, 4]), (&[0], &[])]
    {
        let some: Vec<_> = parts.iter().map(|at: &usize| inputs[*at].clone()).collect();
        let continued = parts.iter().map(|at| Arc::clone(&continued[*at])).collect();
        let (merged, _) = merge(&some, MergeRules { continued, ..MergeRules::default() }, 2).unwrap();
        let written = merged.written.unwrap();
        let list = written.extra.iter().find(|(name, _)| *name == Continued::NAME);
        let list = list.map_or_else(Continued::default, |(_, bytes)| Continued::decode(bytes).unwrap());
        assert_eq!(list, named(expected), "{parts:?}");
        assert_eq!(written.meta.continued as usize, expected.len());
    }
}

#[test]
fn a_trace_that_is_left_out_is_not_named_as_going_on() {
    let inputs = [chain(1, 1, 2, 1), chain(2, 1, 4, 1)].map(|table| block(&Arc::new(table)));
    let both = Continued::new(vec![(TraceId([1; 16]), 1), (TraceId([2; 16]), 1)]);
    let continued = vec![Arc::new(both.clone()), Arc::new(both)];
    let rules = MergeRules { sift: Some(Box::new(Several)), continued, ..MergeRules::default() };
    let (merged, _) = merge(&inputs, rules, 2).unwrap();
    assert_eq!((merged.traces_dropped, merged.written.unwrap().meta.continued), (1, 1));
}

/// Leaves out the traces with one span.
struct Several;

impl Sift for Several {
    fn sift(&self, table: &SpanTable) -> Vec<Option<usize>> {
        let class = |trace: usize| table.spans_of_trace(trace).len();
        (0..table.trace_count()).map(class).map(|spans| (spans > 1).then_some(spans)).collect()
    }
}

#[test]
fn a_trace_is_sifted_as_what_it_is_when_all_its_parts_are_together() {
    let inputs = [
        [chain(1, 1, 2, 1), chain(2, 1, 2, 1), chain(3, 1, 4, 1)],
        [chain(1, 2, 3, 1), chain(4, 1, 2, 1), chain(5, 1, 3, 1)],
    ];
    let inputs = inputs.map(|tables| {
        let mut builder = TableBuilder::new();
        for table in &tables {
            builder.begin(table.traces.id[0]);
            builder.add_rows(table, 0);
            builder.end();
        }
        block(&Arc::new(builder.finish()))
    });
    let rules = || MergeRules { sift: Some(Box::new(Several)), ..MergeRules::default() };
    let (merged, data) = merge(&inputs, rules(), 2).unwrap();
    let ids: Vec<u8> = traces_of(&merged, &data).iter().map(|trace| trace.id as u8).collect();
    assert_eq!(ids, [1, 3, 5]);
    assert_eq!(merged.traces_dropped, 2);
    assert_eq!(merged.newest.into_iter().collect::<Vec<_>>(), [(2, 2_000_000_002), (3, 2_000_000_003)]);
    let alone = [block(&Arc::new(chain(1, 1, 2, 1)))];
    let (merged, _) = merge(&alone, rules(), 2).unwrap();
    assert!(merged.written.is_none(), "nothing is left of it");
}

#[test]
fn a_damaged_input_is_named() {
    let mut inputs = [1, 2, 3].map(|id| block(&Arc::new(chain(id, 1, 4, 1))));
    let mut data = inputs[1].data.to_vec();
    data[4..200].fill(0xff);
    inputs[1].data = data.into();
    // A short tail, so that the damage is fetched and not in what came with the footer.
    let meta = &inputs[1].written.meta;
    let tail = inputs[1].data.slice(inputs[1].data.len() - meta.footer_size as usize - 8..);
    inputs[1].footer = Arc::new(Footer::decode(meta, tail).unwrap());
    let error = merge(&inputs, MergeRules::default(), 10).err().unwrap();
    assert_eq!(error.input, Some(1), "{error}");
    assert!(matches!(error.error, BlockError::Corrupt { .. }), "{error}");
}

#[test]
fn only_blocks_of_one_format_are_merged() {
    let mut inputs = [1, 2].map(|id| block(&Arc::new(chain(id, 1, 4, 1))));
    inputs[1].written.meta.format = "vParquet3".to_owned();
    assert!(matches!(
        merge(&inputs, MergeRules::default(), 10),
        Err(MergeError { error: BlockError::Format { .. }, .. })
    ));
}

#[test]
fn a_scan_of_the_output_finds_each_trace() {
    let inputs = [7, 3, 5].map(|id| block(&Arc::new(chain(id, 1, 4, 1))));
    let (merged, data) = merge(&inputs, MergeRules::default(), 10).unwrap();
    let written = merged.written.unwrap();
    let tail = Footer::range(&written.meta);
    let footer = Footer::decode(&written.meta, data.slice(tail.start as usize..tail.end as usize)).unwrap();
    let footer = Arc::new(footer);
    for id in [3, 5, 7] {
        let scan = Scan::trace(&written.meta, Arc::clone(&footer), TraceId([id; 16])).unwrap();
        assert_eq!(super::drive(scan, &data).unwrap().0.len(), 1);
    }
    let mut absent = Scan::trace(&written.meta, footer, TraceId([4; 16])).unwrap();
    assert!(!matches!(absent.next().unwrap(), Step::Table(_)));
}

#[test]
fn blocks_that_tempo_wrote_are_merged_and_copies_of_their_spans_become_one() {
    for folder in ["vparquet4", "vparquet5-dedicated"] {
        let block = super::golden::tempo(folder);
        let tables = block.scan(Projection::Everything);
        let expected: Vec<_> = tables.iter().map(|t| part(t, |_| true).unwrap()).collect();
        let expected = as_sets(expected.iter().flat_map(|t| read(t)).collect());
        let twice = [block, super::golden::tempo(folder)];
        let (merged, data) = merge(&twice, MergeRules::default(), 2000).unwrap();
        assert_eq!(merged.traces_combined, expected.len() as u64);
        assert!(as_sets(traces_of(&merged, &data)) == expected, "{folder}");
    }
}
