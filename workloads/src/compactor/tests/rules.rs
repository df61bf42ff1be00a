//! Retention: by time, and by rules in TraceQL.

use super::*;

const RULES: &str = r#"compactor: {compaction: {block_retention: 48h, retention_rules: [{match: "{ status = error }", keep: 96h}]}}"#;

#[tokio::test]
async fn an_expired_block_is_marked_first_and_deleted_when_no_query_can_read_it_any_more() {
    let world = World::new("compactor: {compaction: {block_retention: 48h}}");
    let old = world.block(&[(1, 1, 0)], hours_ago(49)).await;
    let young = world.block(&[(2, 1, 0)], hours_ago(40)).await;
    let compactor = world.compactor("x").await;
    let now = Timestamp::now();
    compactor.retain(&tenant(), now).await;
    assert_eq!(ids(&compactor.store.blocks(&tenant())), [young]);
    assert_eq!(ids(&compactor.store.compacted(&tenant())), [old]);
    let data = world.dir.path().join("store/a").join(old.to_string()).join("data.parquet");
    assert!(data.exists(), "a query that began before may still read it");
    compactor.retain(&tenant(), now + SignedDuration::from_hours(2)).await;
    assert!(!data.exists() && compactor.store.compacted(&tenant()).is_empty());
    assert_eq!(ids(&compactor.store.blocks(&tenant())), [young]);
    assert_eq!((compactor.metrics.marked.get(), compactor.metrics.deleted.get()), (1, 1));
}

#[tokio::test]
async fn without_a_setting_blocks_are_kept_for_two_weeks() {
    let world = World::new("{}");
    let kept = world.block(&[(1, 1, 0)], hours_ago(13 * 24)).await;
    world.block(&[(2, 1, 0)], hours_ago(15 * 24)).await;
    let compactor = world.compactor("x").await;
    compactor.turn(&tenant()).await;
    assert_eq!(ids(&compactor.store.blocks(&tenant())), [kept]);
}

#[tokio::test]
async fn of_a_block_past_its_time_the_traces_that_a_rule_keeps_stay_and_it_is_rewritten_once() {
    let world = World::new(RULES);
    world.block(&[(1, 1, 0), (2, 1, 2), (3, 1, 0)], hours_ago(50)).await;
    let compactor = world.compactor("x").await;
    compactor.turn(&tenant()).await;
    assert_eq!(world.found().await, [(2, 1)]);
    let live = world.live().await;
    assert_eq!(live.len(), 1);
    let due = live[0].retained.as_ref().unwrap().due;
    assert!((due - hours_ago(-46)).total(jiff::Unit::Second).unwrap().abs() < 60.0, "{due}");
    world.compactor("y").await.turn(&tenant()).await;
    assert_eq!(ids(&world.live().await), ids(&live), "and not again");
    let later = Timestamp::now() + SignedDuration::from_hours(47);
    compactor.retain(&tenant(), later).await;
    assert!(world.live().await.is_empty(), "its time is over too");
}

#[tokio::test]
async fn a_block_of_which_no_rule_keeps_anything_goes() {
    let world = World::new(RULES);
    world.block(&[(1, 1, 0), (3, 1, 0)], hours_ago(50)).await;
    world.compactor("x").await.turn(&tenant()).await;
    assert!(world.live().await.is_empty());
    assert_eq!(world.store().await.compacted(&tenant()).len(), 1);
}

#[tokio::test]
async fn rules_hold_while_blocks_are_merged_for_a_trace_as_it_is_in_all_of_them_together() {
    let world = World::new(RULES);
    // Of trace 2 only the second block knows that it failed.
    world.block(&[(1, 1, 0), (2, 1, 0)], hours_ago(50)).await;
    world.block(&[(2, 2, 2), (3, 1, 0)], hours_ago(50)).await;
    world.compactor("x").await.turn(&tenant()).await;
    assert_eq!(world.found().await, [(2, 1), (2, 2)]);
}

#[tokio::test]
async fn a_tenants_own_rules_take_the_place_of_those_for_all() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "overrides:\n  a:\n    compaction:\n      retention_rules: [{match: '{ name = \"span 7\" }', keep: 96h}]\n";
    std::fs::write(file.path(), text).unwrap();
    let world =
        World::new(&format!("{RULES}\noverrides: {{per_tenant_override_config: {}}}", file.path().display()));
    world.block(&[(1, 7, 0), (2, 1, 2)], hours_ago(50)).await;
    world.compactor("x").await.turn(&tenant()).await;
    assert_eq!(world.found().await, [(1, 7)]);
}

#[tokio::test]
async fn record_before_visible_a_crash_before_any_step_of_a_rewrite_loses_nothing_that_a_rule_keeps() {
    for step in [
        "merge",
        "end the local block",
        "upload",
        "put the record",
        "publish",
        "mark the first input",
        "remove the record",
    ] {
        let world = World::new(RULES);
        world.block(&[(1, 1, 0), (2, 1, 2)], hours_ago(50)).await;
        let dying = world.compactor("dying").await;
        *dying.stop_before.lock().unwrap() = Some(step);
        dying.turn(&tenant()).await;
        assert!(world.found().await.contains(&(2, 1)), "{step}");
        world.compactor("next").await.turn(&tenant()).await;
        assert_eq!(world.found().await, [(2, 1)], "{step}");
        assert_eq!((world.live().await.len(), world.records().await), (1, 0), "{step}");
    }
}
