//! What a merge costs: spans a second on one core, of four blocks whose traces are apart, and of four that hold
//! parts of the same traces.
//!
//! With `VIVACE_MERGE_DIR` the first run writes ten blocks of `VIVACE_MERGE_SPANS` (400,000) spans each there, and
//! every further one merges them and prints CPU time a million spans and the most memory that was resident.
//! `VIVACE_CORPUS` names a file of length-delimited OTLP requests to make them of.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hint::black_box,
    io::{BufReader, BufWriter, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use tracing_core::{
    block::{self, Footer, Merge, MergeRules, MergeStep, Meta, WriteOptions},
    model::{BlockId, Tenant, TraceId},
    table::{SpanTable, TableBuilder},
    wire::otlp,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Inputs of the large merge.
const BLOCKS: usize = 10;

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

/// One trace of twenty spans as an OTLP/JSON request.
fn trace(numbers: &mut Numbers) -> Bytes {
    let id = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
    let start = 1_700_000_000_000_000_000 + numbers.below(1_800_000_000_000);
    let services = ["frontend", "cart", "checkout", "payment"].map(|service| {
        let spans: Vec<_> = (0..5).map(|_| span(numbers, id, start, service)).collect();
        format!(
            r#"{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"scope":{{"name":"auto"}},"spans":[{}]}}]}}"#,
            spans.join(",")
        )
    });
    let json = format!(r#"{{"resourceSpans":[{}]}}"#, services.join(","));
    otlp::json_to_proto(json.as_bytes()).expect("made as OTLP/JSON")
}

fn span(numbers: &mut Numbers, id: u128, start: u64, service: &str) -> String {
    let begin = start + numbers.below(900_000_000);
    let text = |key: &str, value: String| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let int = |key: &str, value: u64| format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#);
    let attributes = [
        text("http.method", ["GET", "POST"][numbers.below(2) as usize].to_owned()),
        int("http.status_code", [200, 204, 404, 500][numbers.below(4) as usize]),
        text("http.url", format!("http://{service}.svc:8080/api/v1/{}", numbers.below(100_000))),
        text("http.route", format!("/api/v1/resource{}", numbers.below(20))),
        text("net.peer.ip", format!("10.0.{}.{}", numbers.below(32), numbers.below(250))),
        text("user.id", format!("u-{:07}", numbers.below(100_000))),
        int("thread.id", 1 + numbers.below(64)),
    ];
    format!(
        r#"{{"traceId":"{id:032x}","spanId":"{:016x}","parentSpanId":"{:016x}","name":"op {}","kind":2,"startTimeUnixNano":"{begin}","endTimeUnixNano":"{}","attributes":[{}]}}"#,
        numbers.next() | 1,
        numbers.next() | 1,
        numbers.below(20),
        begin + numbers.below(50_000_000),
        attributes.join(",")
    )
}

/// Requests without end, or those of the corpus.
fn requests() -> Box<dyn Iterator<Item = Bytes>> {
    let Ok(path) = std::env::var("VIVACE_CORPUS") else {
        let mut numbers = Numbers(0x5eed);
        return Box::new(std::iter::repeat_with(move || trace(&mut numbers)));
    };
    let mut corpus = BufReader::new(File::open(path).expect("VIVACE_CORPUS can be read"));
    Box::new(std::iter::from_fn(move || {
        let (mut length, mut shift, mut byte) = (0_usize, 0, [0]);
        loop {
            corpus.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut request = vec![0; length];
        corpus.read_exact(&mut request).ok()?;
        Some(request.into())
    }))
}

/// A table of the next requests, of about so many spans.
fn table(requests: &mut dyn Iterator<Item = Bytes>, spans: usize) -> SpanTable {
    let mut slices = BTreeMap::<TraceId, Vec<Bytes>>::new();
    let mut taken = 0;
    while taken < spans
        && let Some(request) = requests.next()
    {
        let split = otlp::split(&request).expect("whole requests");
        taken += split.spans as usize;
        for slice in split.traces {
            slices.entry(slice.id).or_default().push(slice.otlp);
        }
    }
    let mut builder = TableBuilder::keeping_duplicates().tidily();
    for (id, parts) in slices {
        builder.begin(id);
        for part in &parts {
            builder.add_otlp(part).expect("slices of whole requests");
        }
        builder.end();
    }
    builder.finish()
}

/// Every `of`th span of each trace, from `first` on.
fn part(table: &SpanTable, first: usize, of: usize) -> SpanTable {
    let mut builder = TableBuilder::new();
    for trace in 0..table.trace_count() {
        builder.begin(table.traces.id[trace]);
        builder.add_rows_where(table, trace, |span| span % of == first);
        builder.end();
    }
    builder.finish()
}

fn write(table: &SpanTable) -> (Meta, Bytes) {
    let rows = (0..table.trace_count() as u32).map(|row| (table, row));
    let mut data = Vec::new();
    let written =
        block::write(rows, &WriteOptions::default(), &Tenant::single(), BlockId::random(), &mut data)
            .expect("a whole table");
    (written.meta, data.into())
}

fn footer(meta: &Meta, read: impl Fn(&Range<u64>) -> Bytes) -> Arc<Footer> {
    Arc::new(Footer::decode(meta, read(&Footer::range(meta))).expect("a whole block"))
}

/// Merges and answers the bytes written.
fn merge(
    inputs: Vec<(Arc<Meta>, Arc<Footer>)>,
    sink: impl std::io::Write + Send,
    read: impl Fn(usize, &Range<u64>) -> Bytes,
) -> u64 {
    let options = WriteOptions { compaction_level: 1, ..WriteOptions::default() };
    let rules = MergeRules { max_trace_bytes: Some(5_000_000), ..MergeRules::default() };
    let merge = Merge::new(inputs, &options, &Tenant::single(), BlockId::random(), sink, rules);
    let mut merge = merge.expect("blocks of one format");
    loop {
        match merge.next().expect("whole blocks") {
            MergeStep::Done(merged) => return merged.written.map_or(0, |written| written.meta.size),
            MergeStep::Need { input, ranges } => {
                let bytes = ranges.into_iter().map(|range| (range.clone(), read(input, &range))).collect();
                merge.supply(input, bytes).expect("bytes as long as their range");
            }
        }
    }
}

fn small(criterion: &mut Criterion) {
    let mut requests = requests();
    let apart: Vec<_> = (0..4).map(|_| write(&table(&mut *requests, 50_000))).collect();
    let whole = table(&mut *requests, 200_000);
    let torn: Vec<_> = (0..4).map(|first| write(&part(&whole, first, 4))).collect();
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(200_000)).sample_size(10);
    for (name, blocks) in [("blocks with traces of their own", apart), ("blocks with parts of traces", torn)]
    {
        let slice = |at: usize, range: &Range<u64>| {
            let data: &Bytes = &blocks[at].1;
            data.slice(range.start as usize..range.end as usize)
        };
        let inputs: Vec<_> = (0..blocks.len())
            .map(|at| (Arc::new(blocks[at].0.clone()), footer(&blocks[at].0, |range| slice(at, range))))
            .collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(merge(inputs.clone(), std::io::sink(), slice)));
        });
    }
    group.finish();
}

fn make(dir: &Path) {
    let spans = std::env::var("VIVACE_MERGE_SPANS").ok().and_then(|text| text.parse().ok());
    let mut requests = requests();
    let mut written = 0;
    for n in 0..BLOCKS {
        let table = table(&mut *requests, spans.unwrap_or(400_000));
        let (meta, data) = write(&table);
        written += table.span_count();
        fs::write(dir.join(format!("{n}.parquet")), data).expect("the directory can be written");
        fs::write(dir.join(format!("{n}.json")), meta.to_json()).expect("the directory can be written");
    }
    fs::write(dir.join("spans"), written.to_string()).expect("the directory can be written");
    println!("{BLOCKS} blocks, {written} spans");
}

fn large(dir: &Path, spans: f64) {
    let files: Vec<PathBuf> = (0..BLOCKS).map(|n| dir.join(format!("{n}.parquet"))).collect();
    let files: Vec<File> = files.iter().map(|path| File::open(path).expect("made before")).collect();
    let read = |at: usize, range: &Range<u64>| {
        let (mut file, mut bytes) = (&files[at], vec![0; (range.end - range.start) as usize]);
        file.seek(SeekFrom::Start(range.start)).expect("a file");
        file.read_exact(&mut bytes).expect("a whole file");
        Bytes::from(bytes)
    };
    let inputs: Vec<_> = (0..BLOCKS)
        .map(|n| {
            let json = fs::read(dir.join(format!("{n}.json"))).expect("made before");
            let meta = Meta::from_json(&json).expect("made before");
            let footer = footer(&meta, |range| read(n, range));
            (Arc::new(meta), footer)
        })
        .collect();
    let before: u64 = inputs.iter().map(|(meta, _)| meta.size).sum();
    let out = BufWriter::new(File::create(dir.join("out.parquet")).expect("the directory can be written"));
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let after = merge(inputs, out, read);
    println!(
        "{spans:.0} spans: {:.2} CPU-s a million, {:.1} s, peak {}, {:.1} -> {:.1} bytes a span",
        (cpu_seconds() - cpu) / spans * 1e6,
        began.elapsed().as_secs_f64(),
        status("VmHWM:"),
        before as f64 / spans,
        after as f64 / spans,
    );
}

fn status(key: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or("?").trim().to_owned()
}

/// Of this process, in user and system mode.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() {
    let Some(dir) = std::env::var_os("VIVACE_MERGE_DIR").map(PathBuf::from) else {
        let mut criterion = Criterion::default().configure_from_args();
        small(&mut criterion);
        return criterion.final_summary();
    };
    match fs::read_to_string(dir.join("spans")) {
        Ok(spans) => large(&dir, spans.parse().expect("made before")),
        Err(_) => make(&dir),
    }
}
