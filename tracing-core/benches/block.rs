//! What a block costs: writing it, its size, a search for one attribute, a lookup by trace id. Throughput
//! is in spans a second on one core.
//!
//! `VIVACE_CORPUS` names a file of length-delimited OTLP requests to measure with instead of the traces
//! made here, which are smaller and more alike than real ones.

use std::{fmt::Write, hint::black_box, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tracing_core::{
    block::{self, Footer, Scan, Step, WriteOptions, Written},
    model::{BlockId, Tenant, TraceId},
    table::{Column, Level, Projection, SpanTable, TableBuilder},
    wire::otlp,
};

/// Spans of the block.
const SPANS: usize = 386_000;

/// A fixed sequence of numbers (splitmix64), so that every run measures the same bytes.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// One trace of about twenty spans as an OTLP/JSON request.
fn trace(numbers: &mut Numbers) -> String {
    let id = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
    let start = 1_700_000_000_000_000_000 + numbers.below(1_800_000_000_000);
    let mut ids: Vec<u64> = Vec::new();
    let mut resources = String::new();
    for service in ["frontend", "cart", "checkout", "payment"] {
        let mut spans = String::new();
        for _ in 0..4 + numbers.below(3) {
            let parent = ids.get(numbers.below(ids.len().max(1) as u64) as usize).copied();
            ids.push(numbers.next() | 1);
            let (span, begin) = (ids[ids.len() - 1], start + numbers.below(900_000_000));
            let parent = parent.map(|id| format!(r#","parentSpanId":"{id:016x}""#)).unwrap_or_default();
            let text = |key: &str, value: String| {
                format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
            };
            let int =
                |key: &str, value: u64| format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#);
            let attributes = [
                text("http.method", ["GET", "POST"][numbers.below(2) as usize].to_owned()),
                int("http.status_code", [200, 204, 404, 500][numbers.below(4) as usize]),
                text("http.url", format!("http://{service}.svc:8080/api/v1/{}", numbers.below(100_000))),
                text("http.route", format!("/api/v1/resource{}", numbers.below(20))),
                text("net.peer.ip", format!("10.0.{}.{}", numbers.below(32), numbers.below(250))),
                text("user.id", format!("u-{:07}", numbers.below(100_000))),
                int("thread.id", 1 + numbers.below(64)),
                int("http.request_content_length", numbers.below(60_000)),
            ];
            let (name, end) = (numbers.below(20), begin + numbers.below(50_000_000));
            let comma = if spans.is_empty() { "" } else { "," };
            write!(
                spans,
                r#"{comma}{{"traceId":"{id:032x}","spanId":"{span:016x}"{parent},"name":"op {name}","kind":2,
                "startTimeUnixNano":"{begin}","endTimeUnixNano":"{end}","attributes":[{}]}}"#,
                attributes.join(",")
            )
            .expect("writing to a string");
        }
        let comma = if resources.is_empty() { "" } else { "," };
        write!(
            resources,
            r#"{comma}{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},
            "scopeSpans":[{{"scope":{{"name":"auto","version":"2.6.0"}},"spans":[{spans}]}}]}}"#
        )
        .expect("writing to a string");
    }
    format!(r#"{{"resourceSpans":[{resources}]}}"#)
}

/// Requests of about [`SPANS`] spans.
fn requests() -> Box<dyn Iterator<Item = Bytes>> {
    let Ok(path) = std::env::var("VIVACE_CORPUS") else {
        let mut numbers = Numbers(0x5eed);
        let make = move || otlp::json_to_proto(trace(&mut numbers).as_bytes()).expect("made as OTLP/JSON");
        return Box::new(std::iter::repeat_with(make));
    };
    let corpus = Bytes::from(std::fs::read(path).expect("VIVACE_CORPUS can be read"));
    let mut at = 0;
    Box::new(std::iter::from_fn(move || {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = *corpus.get(at)?;
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        at += length;
        Some(corpus.slice(at - length..at))
    }))
}

fn corpus() -> SpanTable {
    let mut slices = std::collections::BTreeMap::<TraceId, Vec<Bytes>>::new();
    let mut spans = 0;
    for request in requests() {
        let split = otlp::split(&request).expect("whole requests");
        spans += split.spans as usize;
        for slice in split.traces {
            slices.entry(slice.id).or_default().push(slice.otlp);
        }
        if spans >= SPANS {
            break;
        }
    }
    let mut builder = TableBuilder::keeping_duplicates().tidily();
    for (id, parts) in slices {
        builder.begin(id);
        for part in parts {
            builder.add_otlp(&part).expect("slices of whole requests");
        }
        builder.end();
    }
    builder.finish()
}

fn write(table: &SpanTable, data: &mut Vec<u8>) -> Written {
    data.clear();
    let rows = (0..table.trace_count() as u32).map(|row| (table, row));
    block::write(rows, &WriteOptions::default(), &Tenant::single(), BlockId::random(), data)
        .expect("a whole table")
}

fn drive(mut scan: Scan, data: &Bytes) -> (usize, u64) {
    let slice = |range: &Range<u64>| data.slice(range.start as usize..range.end as usize);
    let (mut spans, mut asked) = (0, 0);
    loop {
        match scan.next().expect("a whole block") {
            Step::Done => return (spans, asked),
            Step::Table(table) => spans += black_box(table).span_count(),
            Step::Need(ranges) => {
                asked += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                let bytes = ranges.into_iter().map(|range| (range.clone(), slice(&range))).collect();
                scan.supply(bytes).expect("bytes as long as their range");
            }
        }
    }
}

fn blocks(criterion: &mut Criterion) {
    let table = corpus();
    let spans = table.span_count();
    let mut data = Vec::new();
    let meta = write(&table, &mut data).meta;
    let bytes = meta.size as f64 / spans as f64;
    println!("{spans} spans in {} traces: {bytes:.1} bytes a span", meta.traces);

    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(spans as u64)).sample_size(10);
    group.measurement_time(Duration::from_secs(12));
    group.bench_function("write", |bencher| bencher.iter(|| black_box(write(&table, &mut data))));

    let meta = write(&table, &mut data).meta;
    let data = Bytes::from(data);
    let tail = Footer::range(&meta);
    let tail = data.slice(tail.start as usize..tail.end as usize);
    let footer = Arc::new(Footer::decode(&meta, tail.clone()).expect("a whole block"));
    let scan = |projection| {
        let scan = Scan::new(&meta, Arc::clone(&footer), 0..usize::MAX, projection);
        drive(scan.expect("a block of this format"), &data)
    };
    let some = |columns: &[Column], attributes: &[(Level, &str)]| Projection::Some {
        columns: columns.to_vec(),
        attributes: attributes.iter().map(|(level, key)| (*level, (*key).to_owned())).collect(),
    };
    let cases = [
        ("scan name and duration", some(&[Column::Name, Column::Duration], &[])),
        ("scan span.user.id", some(&[], &[(Level::Span, "user.id")])),
        ("scan span.http.status_code", some(&[], &[(Level::Span, "http.status_code")])),
        ("scan an absent attribute", some(&[], &[(Level::Span, "absent")])),
        ("scan everything", Projection::Everything),
    ];
    for (name, projection) in cases {
        println!("{name}: {} bytes", scan(projection.clone()).1);
        group.bench_function(name, |bencher| bencher.iter(|| scan(projection.clone())));
    }
    group.throughput(Throughput::Elements(1));
    let mut next = 0;
    group.bench_function("look up a trace", |bencher| {
        bencher.iter(|| {
            next = (next + 7919) % table.trace_count();
            let scan = Scan::trace(&meta, Arc::clone(&footer), table.traces.id[next]);
            drive(scan.expect("a block of this format"), &data)
        });
    });
    group.bench_function("decode the footer", |bencher| {
        bencher.iter(|| Footer::decode(&meta, tail.clone()).expect("a whole block"));
    });
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
