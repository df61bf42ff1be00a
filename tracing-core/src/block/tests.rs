//! What is written is read back; what is no block is an error.

mod formats;
mod golden;
mod merge;
pub(super) mod model;

use std::sync::Arc;

use bytes::Bytes;
use proptest::{prelude::*, strategy::ValueTree};

use self::model::{Trace, attrs_of, read, table, traces};
use super::*;
use crate::{
    model::{BlockId, Tenant, TraceId},
    table::{Column, Level, Offsets, Projection, SpanTable},
};

/// A block in memory.
#[derive(Clone)]
struct Block {
    written: Written,
    data: Bytes,
    footer: Arc<Footer>,
}

/// Writes the traces in two tables, row groups of `group` estimated bytes and pages of `page` spans.
fn block(traces: &[Trace], group: u64, page: usize) -> Block {
    let options = WriteOptions { row_group_bytes: group, ..WriteOptions::default() };
    block_of(traces, &options, page)
}

fn block_of(traces: &[Trace], options: &WriteOptions, page: usize) -> Block {
    let (even, odd): (Vec<_>, Vec<_>) = traces.iter().cloned().enumerate().partition(|(at, _)| at % 2 == 0);
    let tables =
        [even, odd].map(|half| Arc::new(table(&half.into_iter().map(|(_, t)| t).collect::<Vec<_>>())));
    let rows = (0..traces.len()).map(|at| (Arc::clone(&tables[at % 2]), at as u32 / 2));
    let (mut data, id) = (Vec::new(), BlockId(uuid::Uuid::nil()));
    let written = write::write_pages(rows, options, &Tenant::single(), id, &mut data, page).unwrap();
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
fn a_scan_that_nobody_waits_for_decodes_no_further_page() {
    let block = block(&many(500, 3), u64::MAX, 1000);
    let stop = Stop::default();
    let scan = |stop: &Stop| {
        let scan = Scan::new(&block.written.meta, Arc::clone(&block.footer), 0..1, Projection::Everything);
        drive(scan.unwrap().until(stop.clone()), &block.data)
    };
    assert_eq!(scan(&stop).unwrap().0.len(), 1);
    drop(stop.on_drop());
    assert!(matches!(scan(&stop), Err(BlockError::Stopped)));
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
    let options = WriteOptions {
        dedicated: Dedicated::Fixed(Vec::new()),
        row_group_bytes: u64::MAX,
        ..WriteOptions::default()
    };
    let block = block_of(&traces, &options, 1000);
    let value = schema::Leaf::Attribute(Level::Span, schema::Part::Text);
    let (_, chunk) = block.footer.chunk(0, value).unwrap();
    let index = chunk.offset_index.clone().unwrap();
    let index = block.data.slice(index.start as usize..index.end as usize);
    assert_eq!(footer::offset_index(&index, chunk).unwrap().len(), 2, "30 MiB in pages of 16");
    let back: Vec<_> = block.scan(Projection::Everything).iter().flat_map(read).collect();
    assert!(back == traces);
}

#[test]
fn text_of_a_column_whose_dictionary_grew_too_large_is_read_back_in_both_formats() {
    let mut traces = many(400, 3);
    for (at, trace) in traces.iter_mut().enumerate() {
        let spans = trace.resources.iter_mut().flat_map(|r| &mut r.scopes).flat_map(|s| &mut s.spans);
        for (nth, span) in spans.enumerate() {
            // Half a megabyte after a hundred traces; then texts that were there, others, none, and other types.
            let seed = (at % 300 * 10 + nth) as u64 + 1;
            let digits = |n: u64| format!("{:016x}", (seed * 1000 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let text: String = (0..125).map(digits).collect();
            span.attrs = match (at + nth) % 7 {
                0 => Vec::new(),
                1 => vec![("long".to_owned(), model::Val::Int(at as i64))],
                2 => vec![("long".to_owned(), model::Val::Texts(vec![text.clone(), text]))],
                _ => vec![("long".to_owned(), model::Val::Text(text))],
            };
        }
    }
    let long = DedicatedColumn::string(DedicatedScope::Span, "long");
    for version in [Version::V4, Version::V5] {
        let dedicated = Dedicated::Fixed(vec![long.clone()]);
        let options =
            WriteOptions { version, dedicated, row_group_bytes: u64::MAX, ..WriteOptions::default() };
        let block = block_of(&traces, &options, 20);
        let slots = block.footer.schema().slots().at(Level::Span);
        let slot = slots.iter().position(|slot| slot.name == "long").unwrap();
        let (_, chunk) = block.footer.chunk(0, schema::Leaf::Slot(Level::Span, slot)).unwrap();
        let dictionary = chunk.dictionary.as_ref().map(|range| range.end - range.start).unwrap();
        assert!(dictionary * 2 < chunk.range.end - chunk.range.start, "{dictionary} of {:?}", chunk.range);
        let back: Vec<_> = block.scan(Projection::Everything).iter().flat_map(read).collect();
        assert!(back == traces, "{version}");
    }
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
