//! What was stored is found exactly once, wherever a compactor dies and however many there are. Real files;
//! "dies" means that the work ends before the step that is named, and that another compactor goes on.

mod crash;
mod rules;
mod simulation;
mod sweep;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tracing_core::{
    block::{self, Meta, WriteOptions, Written},
    engine::SearchLimits,
    model::{BlockId, TraceId},
    store::{Stage, Staged, StoreOptions},
    table::{Projection, TableBuilder},
    traceql::{self, Plan},
    wire::otlp,
};

use super::*;
use crate::membership::{Options, Role, State};

/// A span: its trace, its number, its status, and its end in seconds before the blocks' time.
type SpanOf = (u8, u8, u8);

struct World {
    dir: tempfile::TempDir,
    yaml: String,
}

fn tenant() -> Tenant {
    Tenant::new("a").unwrap()
}

fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

/// The spans of some blocks, each with how often it was found.
type Found = Vec<(u8, u8)>;

impl World {
    fn new(yaml: &str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), yaml: yaml.to_owned() }
    }

    /// The store as another process sees it.
    async fn store(&self) -> Arc<Store> {
        let store = Store::open(StoreOptions::local(self.dir.path().join("store"))).unwrap();
        store.poll().await.unwrap();
        store
    }

    /// A block of these spans, which ended at `end`.
    async fn block(&self, spans: &[SpanOf], end: Timestamp) -> BlockId {
        let (stage, _) = Stage::open(self.dir.path().join("stage")).unwrap();
        let staged = staged(&stage, spans, end);
        let id = staged.meta.id;
        self.store().await.commit(&staged.meta, &staged.dir).await.unwrap();
        stage.remove(&tenant(), id).unwrap();
        id
    }

    async fn compactor(&self, name: &str) -> Compactor {
        self.compactor_over(self.store().await, alone(name).await, name)
    }

    fn compactor_over(&self, store: Arc<Store>, membership: Arc<Membership>, name: &str) -> Compactor {
        let work = self.dir.path().join("work").join(name);
        let config = vivace_config::load(&self.yaml, &[]).unwrap().config;
        let mut registry = Registry::default();
        let overrides = Overrides::open(&config.overrides, &mut registry).unwrap();
        let engine = Engine::new(Arc::clone(&store), 2);
        let mut config = config;
        config.compactor.compaction.work_path = Some(work.display().to_string());
        let blocks = (store, engine);
        let mut compactor = Compactor::new(&config, blocks, membership, overrides, &mut registry).unwrap();
        compactor.options.takeover = Duration::ZERO;
        compactor
    }

    async fn live(&self) -> Vec<Arc<Meta>> {
        let blocks = self.store().await.blocks(&tenant());
        blocks.iter().filter(|meta| meta.compacted.is_none()).cloned().collect()
    }

    /// Every span in live blocks, as lookups and searches of another process find it.
    async fn found(&self) -> Found {
        let store = self.store().await;
        let (engine, metas) = (Engine::new(Arc::clone(&store), 2), self.live().await);
        let plan = Arc::new(Plan::search(&traceql::parse("{ }").unwrap()).unwrap());
        let limits = SearchLimits { limit: 1000, spss: 1000, window: None };
        let mut ids = BTreeSet::new();
        for meta in &metas {
            let part =
                engine.search_block(meta, 0..usize::MAX, &plan, limits, CancellationToken::new()).await;
            ids.extend(part.unwrap().hits.into_iter().map(|hit| hit.trace_id));
        }
        let mut found = Vec::new();
        for id in ids {
            let parts = engine.find_trace(&tenant(), id, &metas, &Projection::Everything).await.unwrap();
            let mut builder = TableBuilder::new();
            builder.begin(id);
            for part in &parts {
                builder.add_otlp(part).unwrap();
            }
            builder.end();
            found.extend(builder.finish().spans.id.iter().map(|span| (id.0[0], span.0[7])));
        }
        found.sort_unstable();
        found
    }

    async fn records(&self) -> usize {
        self.store().await.objects().list("~vivace/jobs").await.unwrap().len()
    }
}

/// A finished block of these spans that is not in the store yet.
fn staged(stage: &Stage, spans: &[SpanOf], end: Timestamp) -> Staged {
    stage.finish(&written(stage, BlockId::random(), spans, end)).unwrap()
}

/// The same, of which only the data is on the disk.
fn written(stage: &Stage, id: BlockId, spans: &[SpanOf], end: Timestamp) -> Written {
    let mut builder = TableBuilder::keeping_duplicates();
    let traces: BTreeSet<u8> = spans.iter().map(|(trace, ..)| *trace).collect();
    for trace in traces {
        builder.begin(TraceId([trace; 16]));
        for span in spans.iter().filter(|span| span.0 == trace) {
            builder.add_otlp(&otlp::json_to_proto(json(*span, end).as_bytes()).unwrap()).unwrap();
        }
        builder.end();
    }
    let table = builder.finish();
    let rows = (0..table.trace_count() as u32).map(|row| (&table, row));
    let file = std::fs::File::create(stage.begin(&tenant(), id).unwrap()).unwrap();
    block::write(rows, &WriteOptions::default(), &tenant(), id, file).unwrap()
}

fn json((trace, span, status): SpanOf, end: Timestamp) -> String {
    let nanos = end.as_nanosecond();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{span:016x}","name":"span {span}","startTimeUnixNano":"{}","endTimeUnixNano":"{nanos}","status":{{"code":{status}}}}}]}}]}}]}}"#,
        format!("{trace:02x}").repeat(16),
        nanos - 1000,
    )
}

/// A cluster of one, which is active.
async fn alone(name: &str) -> Arc<Membership> {
    beating(name, Duration::from_millis(100)).await
}

/// The same with a heartbeat every so often.
async fn beating(name: &str, interval: Duration) -> Arc<Membership> {
    let local = ([127, 0, 0, 1], 0).into();
    let membership = Membership::start(Options {
        id: name.to_owned(),
        roles: vec![Role::Compactor],
        grpc: local,
        zone: String::new(),
        join: Vec::new(),
        bind: local,
        advertise: local,
        cluster: "test".to_owned(),
        interval,
    });
    let membership = Box::pin(membership).await.unwrap();
    membership.set_state(State::Active).await;
    membership
}

/// Blocks of a window that has settled, with a trace that stands in two of them, and one span twice.
async fn three_blocks(world: &World) -> Found {
    let end = hours_ago(4);
    world.block(&[(1, 1, 0), (2, 1, 2)], end).await;
    world.block(&[(2, 1, 2), (2, 2, 0), (3, 1, 0)], end).await;
    world.block(&[(4, 1, 0)], end).await;
    vec![(1, 1), (2, 1), (2, 2), (3, 1), (4, 1)]
}

#[tokio::test]
async fn blocks_of_a_window_become_one_that_answers_as_they_did_together() {
    let world = World::new("{}");
    let spans = three_blocks(&world).await;
    assert_eq!(world.found().await, spans);
    let compactor = world.compactor("x").await;
    compactor.turn(&tenant()).await;
    let live = world.live().await;
    assert_eq!((live.len(), live[0].traces, live[0].compaction_level), (1, 4, 1));
    assert_eq!(live[0].replication_factor, 1);
    assert_eq!(world.found().await, spans);
    assert_eq!(world.store().await.compacted(&tenant()).len(), 3, "they wait for their deletion");
    assert_eq!(world.records().await, 0);
    assert_eq!(ids(&compactor.store.blocks(&tenant())), ids(&live), "known here without a poll");
}

fn ids(metas: &[Arc<Meta>]) -> Vec<BlockId> {
    metas.iter().map(|meta| meta.id).collect()
}

#[tokio::test]
async fn what_was_merged_is_counted_under_tempos_names() {
    let world = World::new("{}");
    three_blocks(&world).await;
    let mut registry = Registry::default();
    let mut compactor = world.compactor("x").await;
    compactor.metrics = Metrics::register(&mut registry);
    compactor.turn(&tenant()).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "tempodb_compaction_blocks_total{level=\"0\"} 3",
        "tempodb_compaction_objects_written_total{level=\"0\"} 4",
        "tempodb_compaction_objects_combined_total{level=\"0\"} 1",
        "tempodb_compaction_errors_total 0",
        "tempodb_compaction_outstanding_blocks{tenant=\"a\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn a_damaged_block_is_set_aside_and_the_others_are_merged() {
    let world = World::new("{}");
    three_blocks(&world).await;
    let damaged = world.block(&[(9, 1, 0)], hours_ago(4)).await;
    let data = world.dir.path().join("store/a").join(damaged.to_string()).join("data.parquet");
    let length = std::fs::metadata(&data).unwrap().len();
    std::fs::write(&data, vec![0xff; length as usize]).unwrap();
    let compactor = world.compactor("x").await;
    compactor.turn(&tenant()).await;
    let live = world.live().await;
    assert_eq!(live.len(), 2, "the damaged one, and what the others became");
    assert!(live.iter().any(|meta| meta.id == damaged));
    assert_eq!((compactor.skipped.damaged(), compactor.metrics.errors()), (1, 1));
    compactor.turn(&tenant()).await;
    assert_eq!(compactor.metrics.errors(), 1, "it is not tried again each time");
}

#[tokio::test]
async fn what_is_flagged_or_disabled_is_left_alone() {
    let world = World::new("{}");
    let end = hours_ago(4);
    let blocks = [world.block(&[(1, 1, 0)], end).await, world.block(&[(2, 1, 0)], end).await];
    let flag = format!("a/{}/nocompact.flg", blocks[0]);
    world.store().await.objects().put(&flag, "".into()).await.unwrap();
    world.compactor("x").await.turn(&tenant()).await;
    assert_eq!(world.live().await.len(), 2);
    world.store().await.objects().delete(&flag).await.unwrap();
    let off = World { yaml: "overrides: {compaction_disabled: true}".to_owned(), ..world };
    off.compactor("x").await.turn(&tenant()).await;
    assert_eq!(off.live().await.len(), 2);
    let on = World { yaml: "{}".to_owned(), ..off };
    on.compactor("x").await.turn(&tenant()).await;
    assert_eq!(on.live().await.len(), 1);
}

#[tokio::test]
async fn a_trace_that_is_too_large_when_put_together_loses_spans_which_are_counted() {
    let world = World::new("overrides: {max_bytes_per_trace: 300}");
    for n in 0..2 {
        world.block(&[(1, 4 * n, 0), (1, 4 * n + 1, 0), (1, 4 * n + 2, 0)], hours_ago(4)).await;
    }
    let compactor = world.compactor("x").await;
    compactor.turn(&tenant()).await;
    assert_eq!(world.live().await.len(), 1);
    let kept = world.found().await.len() as u64;
    assert!((1..6).contains(&kept), "{kept}");
    assert_eq!(compactor.overrides.discarded_of(&tenant(), "trace_too_large_to_compact"), 6 - kept);
}

#[tokio::test]
async fn what_an_earlier_process_left_in_the_work_directory_goes_at_the_start_and_nothing_else() {
    let world = World::new("{}");
    let work = world.dir.path().join("work/x");
    std::fs::create_dir_all(work.join("inputs")).unwrap();
    std::fs::write(work.join("inputs/left.parquet"), "left").unwrap();
    std::fs::write(work.join("of a user"), "kept").unwrap();
    world.compactor("x").await;
    assert!(!work.join("inputs/left.parquet").exists());
    assert!(work.join("of a user").exists());
}
