//! What an accepted span costs between the network and a search: cutting requests by trace, building
//! tables, and taking slices in until a search sees them. Throughput is in spans a second on one core.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tracing_core::table::{Live, TableBuilder};
use tracing_core::wire::otlp::{self, Split, TraceSlice};

/// A fixed sequence of numbers (xorshift), so that every run measures the same bytes.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

const SERVICES: [&str; 8] =
    ["frontend", "gateway", "cart", "checkout", "payment", "catalog", "inventory", "shipping"];

fn text(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
}

fn int(key: &str, value: u64) -> String {
    format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#)
}

fn span(numbers: &mut Numbers, trace: u128, id: u64, parent: u64) -> String {
    let start = 1_700_000_000_000_000_000 + numbers.below(1_000_000_000);
    let attributes = [
        text("http.request.method", ["GET", "POST", "PUT"][numbers.below(3) as usize]),
        int("http.response.status_code", [200, 201, 404, 500][numbers.below(4) as usize]),
        text("http.route", &format!("/api/v1/resource{}", numbers.below(20))),
        text("url.full", &format!("http://shop.example.com/api/v1/resource/{}", numbers.below(100_000))),
        text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
        text("server.address", &format!("10.0.{}.{}", numbers.below(4), numbers.below(250))),
        int("server.port", 8080),
        text("user.id", &format!("user-{}", numbers.below(50_000))),
        int("db.rows", numbers.below(500)),
    ];
    let mut span = format!(
        r#"{{"traceId":"{trace:032x}","spanId":"{id:016x}","name":"GET /api/v1/resource{}","kind":{},
        "startTimeUnixNano":"{start}","endTimeUnixNano":"{}","attributes":[{}],"status":{{"code":{}}}"#,
        numbers.below(20),
        1 + numbers.below(5),
        start + numbers.below(50_000_000),
        attributes.join(","),
        numbers.below(3),
    );
    if parent != 0 {
        write!(span, r#","parentSpanId":"{parent:016x}""#).expect("writing to a string");
    }
    if numbers.below(10) == 0 {
        let error = text("exception.type", "TimeoutError");
        write!(span, r#","events":[{{"timeUnixNano":"{start}","name":"exception","attributes":[{error}]}}]"#)
            .expect("writing to a string");
    }
    span + "}"
}

/// A request as a collector batches it: six traces of 8 to 60 spans, grouped by the service they are of.
fn request(numbers: &mut Numbers) -> Bytes {
    let mut by_service: Vec<Vec<String>> = vec![Vec::new(); SERVICES.len()];
    for _ in 0..6 {
        let trace = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
        let mut ids: Vec<u64> = Vec::new();
        for _ in 0..8 + numbers.below(53) {
            let parent = if ids.is_empty() { 0 } else { ids[numbers.below(ids.len() as u64) as usize] };
            ids.push(numbers.next() | 1);
            let service = numbers.below(SERVICES.len() as u64) as usize;
            by_service[service].push(span(numbers, trace, *ids.last().unwrap_or(&1), parent));
        }
    }
    let resources = SERVICES.iter().zip(by_service).map(|(service, spans)| {
        let attributes = [
            text("service.name", service),
            text("service.version", "1.4.2"),
            text("k8s.namespace.name", "shop"),
            text("k8s.pod.name", &format!("{service}-5d8f7c9b4-x2x{}", numbers.below(3))),
            text("k8s.node.name", "node-1.example.com"),
            text("telemetry.sdk.language", "go"),
        ];
        format!(
            r#"{{"resource":{{"attributes":[{}]}},"scopeSpans":[{{"scope":{{"name":"otel/http","version":"0.49.0"}},
            "spans":[{}]}}]}}"#,
            attributes.join(","),
            spans.join(",")
        )
    });
    let json = format!(r#"{{"resourceSpans":[{}]}}"#, resources.collect::<Vec<_>>().join(","));
    otlp::json_to_proto(json.as_bytes()).expect("the generator writes OTLP/JSON")
}

fn split(body: &Bytes) -> Split {
    otlp::split(body).expect("the generator writes whole requests")
}

fn push(live: &mut Live, slices: &[TraceSlice], now: Instant) {
    for slice in slices {
        live.push(slice.id, slice.otlp.clone(), now);
    }
}

fn ingest(criterion: &mut Criterion) {
    let mut numbers = Numbers(0x5eed);
    let requests: Vec<Bytes> = (0..200).map(|_| request(&mut numbers)).collect();
    let slices: Vec<TraceSlice> = requests.iter().flat_map(|body| split(body).traces).collect();
    let spans: u64 = slices.iter().map(|slice| u64::from(slice.spans)).sum();
    let bytes: usize = requests.iter().map(Bytes::len).sum();
    println!("{spans} spans in {} traces, {} bytes a span", slices.len(), bytes as u64 / spans);

    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(spans)).sample_size(20);
    group.bench_function("split", |bencher| {
        bencher.iter(|| requests.iter().map(|body| black_box(split(body)).spans).sum::<u64>());
    });
    group.bench_function("build", |bencher| {
        bencher.iter(|| {
            let mut builder = TableBuilder::keeping_duplicates();
            for slice in &slices {
                builder.begin(slice.id);
                builder.add_otlp(&slice.otlp).expect("slices of a checked request");
                builder.end();
            }
            black_box(builder.finish())
        });
    });
    let now = Instant::now();
    group.bench_function("live push", |bencher| {
        bencher.iter(|| {
            let mut live = Live::default();
            push(&mut live, &slices, now);
            black_box(live)
        });
    });
    group.bench_function("live push and a snapshot every 100 traces", |bencher| {
        bencher.iter(|| {
            let mut live = Live::default();
            for some in slices.chunks(100) {
                push(&mut live, some, now);
                black_box(live.snapshot());
            }
            black_box(live)
        });
    });
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
