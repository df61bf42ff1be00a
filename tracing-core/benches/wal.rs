//! What the write-ahead log costs on this machine's disk: appends that share commits, and the replay of what a
//! crash left, with the taking in of its spans. Throughput is in spans a second.

use std::{
    hint::black_box,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, stream};
use tokio::runtime::Runtime;
use tracing_core::{
    model::{Tenant, TraceId},
    table::Live,
    wal::{Disk, DiskOptions, Log, LogOptions, Record},
};

/// Spans of a record, and bytes of a span: those of the load generator's corpus.
const SPANS: u64 = 20;
const SPAN_BYTES: usize = 456;
/// Records of a generation: about what an ingester cuts.
const RECORDS: u64 = 5_000;
const GENERATIONS: u64 = 4;

fn record(n: u64) -> Record {
    let id = u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mut state = n;
    let bytes = (0..SPANS as usize * SPAN_BYTES).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 58) as u8 + b' '
    });
    Record { tenant: Tenant::single(), id: TraceId(id.to_be_bytes()), otlp: bytes.collect() }
}

async fn open(path: &Path) -> (Log, Vec<tracing_core::wal::Generation>) {
    let disk = Disk::open(DiskOptions::new(path)).expect("a directory of our own");
    Log::open(Arc::new(disk), LogOptions::default()).await.expect("a log")
}

fn append(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let batches: Vec<Vec<Record>> = (0..100).map(|n| (0..10).map(|m| record(n * 10 + m)).collect()).collect();
    let mut group = c.benchmark_group("wal");
    group.sample_size(10).throughput(Throughput::Elements(100 * 10 * SPANS));
    group.bench_function("append, 100 at once", |b| {
        b.iter_batched(
            || {
                let dir = tempfile::tempdir().expect("a directory");
                let log = runtime.block_on(open(dir.path())).0;
                (dir, log)
            },
            |(dir, log)| {
                runtime.block_on(async {
                    let appends = batches.iter().map(|batch| log.append(batch));
                    for done in futures::future::join_all(appends).await {
                        black_box(done.expect("appended"));
                    }
                    log.close().await;
                });
                dir
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn replay(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    runtime.block_on(async {
        let (log, _) = open(dir.path()).await;
        for generation in 0..GENERATIONS {
            for first in (0..RECORDS).step_by(100) {
                let batch: Vec<_> = (first..first + 100).map(|n| record(generation * RECORDS + n)).collect();
                log.append(&batch).await.expect("appended");
            }
            log.rotate().await.expect("rotated");
        }
        log.close().await;
    });
    let mut group = c.benchmark_group("wal");
    group.sample_size(10).throughput(Throughput::Elements(GENERATIONS * RECORDS * SPANS));
    group.bench_function("replay into live tables", |b| {
        b.iter(|| {
            let records: u64 = runtime.block_on(async {
                let (log, generations) = open(dir.path()).await;
                let one = |generation| {
                    let log = &log;
                    async move {
                        let live = Arc::new(Mutex::new(Live::default()));
                        let visit = move |record: Record| {
                            let mut live = live.lock().expect("nobody panics");
                            black_box(live.push(record.id, record.otlp, Instant::now()));
                        };
                        log.replay(&generation, visit).await.expect("replayed").records
                    }
                };
                let records =
                    stream::iter(generations).map(one).buffered(4).fold(0, async |a, b| a + b).await;
                log.close().await;
                records
            });
            assert_eq!(records, GENERATIONS * RECORDS);
        });
    });
    group.finish();
}

criterion_group!(benches, append, replay);
criterion_main!(benches);
