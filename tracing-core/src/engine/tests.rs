//! The same traces searched live and in a block, through the store.

use std::sync::Arc;
use std::time::Instant;

use object_store::memory::InMemory;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::block::{self, Meta, WriteOptions};
use crate::model::{BlockId, Tenant, TraceId};
use crate::store::cache::Role;
use crate::store::fault::FaultStore;
use crate::store::{Stage, StoreOptions};
use crate::table::{Live, Projection, evaluate};
use crate::traceql::{Order, Plan, parse};
use crate::wire::otlp::{json_to_proto, split};

const TRACES: u64 = 60;

/// How long each of them takes, nanoseconds.
fn lasts(i: u64) -> u64 {
    2_000_000 + i * 7919 % 61
}

/// Sixty traces, a second apart, of a root and a child each.
fn live() -> Live {
    let mut live = Live::default();
    for i in 0..TRACES {
        let start = (1_790_000_000 + i) * 1_000_000_000;
        let span = |id: u64, parent: &str, name: String| {
            json!({
                "traceId": format!("{:032x}", i + 1), "spanId": format!("{id:016x}"), "parentSpanId": parent,
                "name": name, "kind": 1 + id, "startTimeUnixNano": start.to_string(),
                "endTimeUnixNano": (start + if id == 1 { lasts(i) } else { 2_000_000 }).to_string(), "status": {"code": i % 3},
                "attributes": [
                    {"key": "n", "value": {"intValue": i.to_string()}},
                    {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}},
                ],
                "events": [{"timeUnixNano": start.to_string(), "name": format!("event {}", i % 2)}],
            })
        };
        let service = json!({"key": "service.name", "value": {"stringValue": format!("service {}", i % 5)}});
        let spans = [span(1, "", "root".into()), span(2, &format!("{:016x}", 1), format!("child {}", i % 7))];
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": [service]}, "scopeSpans": [{"scope": {"name": "lib"}, "spans": spans}],
        }]});
        for slice in split(&json_to_proto(body.to_string().as_bytes()).unwrap()).unwrap().traces {
            live.push(slice.id, slice.otlp, Instant::now());
        }
    }
    live
}

/// The traces as one committed block of several row groups.
async fn block(dir: &std::path::Path) -> (Arc<Engine>, Arc<Meta>) {
    let store = Store::open(StoreOptions::local(dir.join("store"))).unwrap();
    let (stage, _) = Stage::open(dir.join("stage")).unwrap();
    let (tenant, id) = (Tenant::single(), BlockId::random());
    let file = std::fs::File::create(stage.begin(&tenant, id).unwrap()).unwrap();
    let options = WriteOptions { row_group_bytes: 1500, ..WriteOptions::default() };
    let written = block::write(live().freeze().rows(), &options, &tenant, id, file).unwrap();
    let staged = stage.finish(&written).unwrap();
    store.commit(&staged.meta, &staged.dir).await.unwrap();
    assert!(staged.meta.row_groups > 2);
    (Engine::new(store, 2), staged.meta)
}

fn plan(query: &str) -> Arc<Plan> {
    Arc::new(Plan::search(&parse(query).unwrap()).unwrap())
}

fn limits(limit: usize) -> SearchLimits {
    SearchLimits { limit, spss: 10, window: None }
}

#[tokio::test]
async fn a_block_answers_as_the_live_tables_did_that_it_was_written_from() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = block(dir.path()).await;
    let cancel = CancellationToken::new();
    for query in [
        "{ }",
        "{ name = `root` }",
        "{ name =~ `child [1-3]` && status = error }",
        "{ .n > 30 && resource.service.name = `service 2` }",
        "{ span.list != `a` || event:name = `event 1` }",
        "{ .nothing = nil && kind = client }",
        "{ status = ok } >> { duration > 1ms }",
        "{ span.n = 7 } | select(instrumentation:name, .list)",
        "{ traceDuration > 1ms && rootName = `root` } | count() > 1",
        "{ name = `absent` }",
    ] {
        for limit in [1000, 7] {
            let view = live().snapshot();
            let there = engine.search_live(view, &plan(query), limits(limit), cancel.clone()).await.unwrap();
            // Read, and then from memory.
            for _ in 0..2 {
                let all = 0..meta.row_groups as usize;
                let plan = plan(query);
                let here = engine.search_block(&meta, all, &plan, limits(limit), cancel.clone()).await;
                let here = here.unwrap();
                assert_eq!(here.hits, there.hits, "{query}");
                let ruled_out = query.contains("absent");
                assert_eq!(here.stats.inspected_spans, if ruled_out { 0 } else { TRACES * 2 });
                assert!(here.hits.is_sorted_by(|a, b| a.start > b.start));
            }
        }
    }
}

#[tokio::test]
async fn what_was_read_for_one_question_is_not_read_again_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = block(dir.path()).await;
    let misses = || {
        let numbers = engine.store.cache().numbers();
        numbers.iter().find(|(role, _)| *role == Role::Column).map(|(_, numbers)| numbers.misses)
    };
    for (query, again) in [
        (
            "{ name =~ `child [1-3]` && status = error }",
            "{ status = error && name != `root` && name =~ `child [1-3]` }",
        ),
        ("{ .n > 3 }", "{ .n > 3 } | count() > 1"),
    ] {
        let ask = async |plan: &Arc<Plan>| {
            let all = 0..meta.row_groups as usize;
            engine.search_block(&meta, all, plan, limits(1000), CancellationToken::new()).await.unwrap()
        };
        let before = misses();
        let found = ask(&plan(query)).await;
        assert!(!found.hits.is_empty() && misses() > before, "{query}");
        let after = misses();
        assert_eq!(ask(&plan(again)).await.hits.len(), found.hits.len(), "{query}");
        assert_eq!(misses(), after, "{query}: all of it was in memory");
    }
}

#[tokio::test]
async fn the_longest_traces_of_a_block_and_of_live_tables_are_found_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = block(dir.path()).await;
    let cancel = CancellationToken::new();
    let plan = plan("{ .n < 50 } with (order_by=\"duration\")");
    let mut longest: Vec<_> = (0..50).map(|i| (lasts(i), i + 1)).collect();
    longest.sort_unstable_by(|a, b| b.cmp(a));
    let expected: Vec<_> =
        longest.iter().take(5).map(|(_, id)| TraceId(u128::from(*id).to_be_bytes())).collect();
    let mut combiner = Combiner::new(5, plan.order);
    for group in 0..meta.row_groups as usize {
        let part = engine.search_block(&meta, group..group + 1, &plan, limits(5), cancel.clone());
        combiner.add(part.await.unwrap());
    }
    let whole = engine.search_block(&meta, 0..usize::MAX, &plan, limits(5), cancel.clone()).await.unwrap();
    let live = engine.search_live(live().snapshot(), &plan, limits(5), cancel).await.unwrap();
    for part in [combiner.finish(), whole, live] {
        assert_eq!(part.hits.iter().map(|hit| hit.trace_id).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn row_groups_that_are_searched_apart_add_up_to_the_block() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = block(dir.path()).await;
    let cancel = CancellationToken::new();
    let mut combiner = Combiner::new(5, Order::Newest);
    let newer = plan("{ .n >= 50 }");
    for group in 0..meta.row_groups as usize + 2 {
        let part = engine.search_block(&meta, group..group + 1, &newer, limits(5), cancel.clone());
        combiner.add(part.await.unwrap());
    }
    let part = combiner.finish();
    let newest: Vec<_> = part.hits.iter().map(|hit| hit.trace_id).collect();
    assert_eq!(newest, (56..=60).rev().map(|n: u128| TraceId(n.to_be_bytes())).collect::<Vec<_>>());
    assert_eq!(part.stats.inspected_traces, TRACES);
}

#[tokio::test]
async fn a_search_that_nobody_waits_for_ends_and_a_block_outside_the_window_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = block(dir.path()).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let part = engine.search_block(&meta, 0..9, &plan("{ }"), limits(5), cancel.clone()).await;
    assert!(matches!(part, Err(EngineError::Cancelled)));
    let part = engine.search_live(live().snapshot(), &plan("{ }"), limits(5), cancel).await;
    assert!(matches!(part, Err(EngineError::Cancelled)));
    let window = evaluate::TimeRange { start: 0, end: 1_000 };
    let past = SearchLimits { window: Some(window), ..limits(5) };
    let part = engine.search_block(&meta, 0..9, &plan("{ }"), past, CancellationToken::new()).await.unwrap();
    assert_eq!((part.hits.len(), part.stats.inspected_bytes), (0, 0));
}

/// Traces of one row group that is too large to come with the footer, in a bucket.
async fn large_block(dir: &std::path::Path, traces: u64) -> (FaultStore, Arc<Engine>, Arc<Meta>) {
    let mut live = Live::default();
    let mut noise = 1_u64;
    let mut text = || {
        noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        format!("{noise:016x}")
    };
    for i in 1..=traces {
        let attributes: Vec<_> =
            (0..20).map(|n| json!({"key": format!("k{n}"), "value": {"stringValue": text()}})).collect();
        let span = json!({
            "traceId": format!("{i:032x}"), "spanId": text(), "name": text(), "startTimeUnixNano": "1790000000000000000",
            "endTimeUnixNano": "1790000000000000001", "attributes": attributes,
        });
        let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
        for slice in split(&json_to_proto(body.to_string().as_bytes()).unwrap()).unwrap().traces {
            live.push(slice.id, slice.otlp, Instant::now());
        }
    }
    let faults = FaultStore::new(Arc::new(InMemory::new()), 7);
    let store = Store::over(Arc::new(faults.clone()), "");
    let (stage, _) = Stage::open(dir.join("stage")).unwrap();
    let (tenant, id) = (Tenant::single(), BlockId::random());
    let file = std::fs::File::create(stage.begin(&tenant, id).unwrap()).unwrap();
    let written = block::write(live.freeze().rows(), &WriteOptions::default(), &tenant, id, file).unwrap();
    let staged = stage.finish(&written).unwrap();
    store.commit(&staged.meta, &staged.dir).await.unwrap();
    (faults, Engine::new(store, 2), staged.meta)
}

#[tokio::test]
async fn of_many_traces_that_a_search_looks_up_the_columns_are_read_once() {
    const TRACES: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let (faults, engine, meta) = large_block(dir.path(), TRACES).await;
    assert!(meta.row_groups == 1 && meta.size > 512 << 10, "{} bytes", meta.size);
    let projection = evaluate::whole(&plan("{ .k3 = `x` }"));
    let read = async |n: u64| {
        let id = TraceId(u128::from(n).to_be_bytes());
        engine.read_trace(id, std::slice::from_ref(&meta), &projection).await
    };
    let mut first = Vec::new();
    for n in 1..=5 {
        first.push(read(n * 300).await.unwrap());
    }
    let asked = faults.requests().gets;
    for n in [2, 900, 1999] {
        let parts = read(n).await.unwrap();
        assert_eq!(parts.len(), 1, "trace {n}");
        assert_ne!(parts, first[0]);
    }
    assert!(read(TRACES + 1).await.unwrap().is_empty());
    assert_eq!(faults.requests().gets, asked);
    let whole = Projection::Everything;
    engine.read_trace(TraceId(900_u128.to_be_bytes()), std::slice::from_ref(&meta), &whole).await.unwrap();
    assert!(faults.requests().gets > asked, "a trace that is read whole is read by itself");
    // By its pages, or out of its columns: the same.
    let fresh = Engine::new(Store::over(Arc::new(faults), ""), 2);
    for (n, parts) in first.iter().enumerate().rev() {
        let id = TraceId((300 * (n as u128 + 1)).to_be_bytes());
        assert_eq!(fresh.read_trace(id, std::slice::from_ref(&meta), &projection).await.unwrap(), *parts);
    }
}

#[tokio::test]
async fn what_is_shown_of_a_few_traces_takes_no_more_requests_than_what_is_shown_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, _, meta) = large_block(dir.path(), 2000).await;
    let plan = plan("{ .k3 != nil } | select(.k4, .k5, name)");
    let mut asked = Vec::new();
    let mut found: Vec<Vec<_>> = Vec::new();
    for limit in [1, 6, 1000] {
        let fresh = Engine::new(Store::over(Arc::new(faults.clone()), ""), 2);
        let before = faults.requests().gets;
        let part =
            fresh.search_block(&meta, 0..1, &plan, limits(limit), CancellationToken::new()).await.unwrap();
        asked.push(faults.requests().gets - before);
        let again = faults.requests().gets;
        assert_eq!(part.hits.len(), limit);
        let once_more =
            fresh.search_block(&meta, 0..1, &plan, limits(limit), CancellationToken::new()).await.unwrap();
        assert_eq!((&once_more.hits, faults.requests().gets), (&part.hits, again), "from memory");
        found.push(part.hits);
    }
    assert_eq!(asked[0], asked[1]);
    // Alone, or out of columns that are read whole: the same.
    assert!(found[0].iter().all(|hit| found[2].contains(hit)));
    assert!(found[1].iter().all(|hit| found[2].contains(hit)));
}
