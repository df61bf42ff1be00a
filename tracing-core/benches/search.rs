//! What searches and lookups over many blocks cost: wall and CPU time of each query, warm, and of the first one
//! with nothing in memory.
//!
//! `VIVACE_CORPUS` names a file of length-delimited OTLP requests, `VIVACE_SPANS` says how many spans of it (3
//! million), `VIVACE_BLOCK_SPANS` how many make a block (500,000), `VIVACE_CACHE` the cache's budget in MiB, and
//! `VIVACE_QUERY` a part of the names of the queries that are asked. Blocks are made in `VIVACE_BLOCKS`, and found
//! there by the next run.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;
use tracing_core::{
    block::{self, Meta, WriteOptions},
    engine::{Combiner, Engine, SearchLimits, SearchPart},
    model::{BlockId, Tenant, TraceId},
    store::{Stage, Store, StoreOptions},
    table::{Projection, SpanTable, TableBuilder},
    traceql::{Order, Plan, parse},
    wire::otlp,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Names of queries, what they ask, and most traces of the answer.
const QUERIES: [(&str, &str, usize); 15] = [
    ("error", "{status=error}", 20),
    ("error 1000", "{status=error}", 1000),
    ("service and 5xx", "{ resource.service.name=`payment` && span.http.status_code>=500 }", 20),
    ("service and 5xx, all", "{ resource.service.name=`payment` && span.http.status_code>=500 }", 100_000),
    ("regex", "{ span.db.statement =~ `.*inventory_holds.*` }", 20),
    ("regex, none", "{ span.db.statement =~ `.*nosuchtable.*` }", 20),
    ("attribute, none", "{ span.http.url = `http://nope` }", 20),
    ("attribute, rare", "{ span.user.id = `u-0777777` }", 20),
    ("descendant", "{name=`HTTP GET payment`} >> {status=error}", 20),
    ("descendant 10000", "{name=`HTTP GET payment`} >> {status=error}", 10_000),
    ("count > 20", "{} | count() > 20", 20),
    ("count > 1000", "{} | count() > 1000", 20),
    ("duration", "{ duration > 5s }", 20),
    (
        "by and avg",
        "{ resource.service.name=`cart` } | by(span.http.status_code) | avg(duration) > 100ms",
        20,
    ),
    ("newest", "{}", 20),
];

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The requests of the corpus.
fn requests() -> impl Iterator<Item = Bytes> {
    let path = std::env::var("VIVACE_CORPUS").expect("VIVACE_CORPUS names a file of OTLP requests");
    let corpus = Bytes::from(std::fs::read(path).expect("a readable corpus"));
    let mut at = 0;
    std::iter::from_fn(move || {
        let (mut length, mut shift) = (0, 0);
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
    })
}

fn table(slices: BTreeMap<TraceId, Vec<Bytes>>) -> SpanTable {
    let mut builder = TableBuilder::keeping_duplicates();
    for (id, parts) in slices {
        builder.begin(id);
        for part in parts {
            builder.add_otlp(&part).expect("slices of whole requests");
        }
        builder.end();
    }
    builder.finish()
}

/// Makes the blocks of the corpus in `dir`.
async fn load(store: &Store, dir: &Path) {
    let (stage, _) = Stage::open(dir.join("stage")).expect("a directory");
    let (spans, of_block) = (setting("VIVACE_SPANS", 3_000_000), setting("VIVACE_BLOCK_SPANS", 500_000));
    let (mut all, mut some) = (0, 0);
    let mut slices = BTreeMap::<TraceId, Vec<Bytes>>::new();
    let mut requests = requests();
    loop {
        let request = requests.next().filter(|_| all < spans);
        if let Some(request) = &request {
            let split = otlp::split(request).expect("whole requests");
            all += split.spans as usize;
            some += split.spans as usize;
            for slice in split.traces {
                slices.entry(slice.id).or_default().push(slice.otlp);
            }
        }
        if (some >= of_block || request.is_none()) && some > 0 {
            let table = table(std::mem::take(&mut slices));
            let (tenant, id) = (Tenant::single(), BlockId::random());
            let file = std::fs::File::create(stage.begin(&tenant, id).expect("room")).expect("a file");
            let rows = (0..table.trace_count() as u32).map(|row| (&table, row));
            let written = block::write(rows, &WriteOptions::default(), &tenant, id, file).expect("a table");
            let staged = stage.finish(&written).expect("room");
            store.commit(&staged.meta, &staged.dir).await.expect("room");
            some = 0;
        }
        if request.is_none() {
            break;
        }
    }
}

fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

async fn search(engine: &Arc<Engine>, metas: &[Arc<Meta>], plan: &Arc<Plan>, limit: usize) -> SearchPart {
    let limits = SearchLimits { limit, spss: 3, window: None };
    let searches = metas.iter().map(|meta| {
        let (engine, meta, plan) = (Arc::clone(engine), Arc::clone(meta), Arc::clone(plan));
        async move {
            let all = 0..meta.row_groups as usize;
            engine.search_block(&meta, all, &plan, limits, CancellationToken::new()).await
        }
    });
    let mut combiner = Combiner::new(limit, Order::Newest);
    for part in try_join_all(searches).await.expect("whole blocks") {
        combiner.add(part);
    }
    combiner.finish()
}

/// Median wall and CPU time in ms.
fn median(mut times: Vec<(Duration, Duration)>) -> (f64, f64) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    times.sort_unstable();
    let wall = times.get(times.len() / 2).map_or(0.0, |(wall, _)| ms(*wall));
    let cpu = times.iter().map(|(_, cpu)| ms(*cpu)).sum::<f64>() / times.len().max(1) as f64;
    (wall, cpu)
}

fn open(dir: &Path) -> Arc<Store> {
    let options = StoreOptions::local(dir.join("store"));
    let cache_bytes = setting("VIVACE_CACHE", options.cache_bytes >> 20) << 20;
    Store::open(StoreOptions { cache_bytes, ..options }).expect("a directory")
}

async fn lookups(engine: &Arc<Engine>, metas: &[Arc<Meta>]) {
    let plan = Arc::new(Plan::search(&parse("{}").expect("a query")).expect("a search"));
    let ids: Vec<_> =
        search(engine, metas, &plan, 40_000).await.hits.iter().map(|hit| hit.trace_id).collect();
    let mut times = Vec::new();
    for id in ids.iter().step_by((ids.len() / 300).max(1)) {
        let (wall, before) = (Instant::now(), cpu());
        let found = engine
            .find_trace(&Tenant::single(), *id, metas, &Projection::Everything)
            .await
            .expect("whole blocks");
        assert!(!found.is_empty(), "{id} is in a block");
        times.push((wall.elapsed(), cpu().saturating_sub(before)));
    }
    let (wall, cpu) = median(times.clone());
    times.sort_unstable();
    let last = times.get(times.len() * 99 / 100).map_or(0.0, |(wall, _)| wall.as_secs_f64() * 1e3);
    println!("{:24} {wall:9.2} {last:9.2} (p99) {cpu:9.2} (cpu)", "lookup");
}

async fn run(dir: &Path) {
    let store = open(dir);
    store.poll().await.expect("a list");
    if store.blocks(&Tenant::single()).is_empty() {
        load(&store, dir).await;
        store.poll().await.expect("a list");
    }
    let metas: Vec<_> = store.blocks(&Tenant::single()).to_vec();
    let groups: u32 = metas.iter().map(|meta| meta.row_groups).sum();
    let bytes: u64 = metas.iter().map(|meta| meta.size).sum();
    println!("{} blocks, {groups} row groups, {bytes} bytes", metas.len());
    println!("{:24} {:>9} {:>9} {:>9} {:>9} {:>6}", "ms", "warm", "cpu", "cold", "cpu", "hits");
    let wanted = std::env::var("VIVACE_QUERY").unwrap_or_default();
    let engine = Engine::new(Arc::clone(&store), 2);
    if "lookup".contains(&wanted) {
        lookups(&engine, &metas).await;
    }
    for (name, query, limit) in QUERIES.into_iter().filter(|(name, ..)| name.contains(&wanted)) {
        let plan = Arc::new(Plan::search(&parse(query).expect("a query")).expect("a search"));
        let fresh = Engine::new(open(dir), 2);
        let (wall, before) = (Instant::now(), cpu());
        search(&fresh, &metas, &plan, limit).await;
        let (cold, cold_cpu) = median(vec![(wall.elapsed(), cpu().saturating_sub(before))]);
        let mut hits = 0;
        let mut times = Vec::new();
        for round in 0..setting("VIVACE_ROUNDS", 15) {
            let (wall, before) = (Instant::now(), cpu());
            hits = search(&engine, &metas, &plan, limit).await.hits.len();
            if round > 2 {
                times.push((wall.elapsed(), cpu().saturating_sub(before)));
            }
        }
        let (warm, warm_cpu) = median(times);
        println!("{name:24} {warm:9.2} {warm_cpu:9.2} {cold:9.2} {cold_cpu:9.2} {hits:6}");
    }
    println!("{:?}", store.cache());
}

fn main() {
    if std::env::var_os("VIVACE_CORPUS").is_none() {
        println!("VIVACE_CORPUS names no corpus: nothing is measured");
        return;
    }
    let made = tempfile::tempdir().expect("a directory");
    let dir = std::env::var_os("VIVACE_BLOCKS").map_or_else(|| made.path().to_owned(), Into::into);
    std::fs::create_dir_all(&dir).expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads").block_on(run(&dir));
}
