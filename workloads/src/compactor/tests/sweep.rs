//! What a compactor left that died between its upload and its record.

use std::time::SystemTime;

use tracing_core::store::ORPHAN_AGE;

use super::*;

/// Objects of a tenant's blocks, of which there may be a meta or not.
fn blocks(world: &World) -> BTreeSet<String> {
    let entries = std::fs::read_dir(world.dir.path().join("store/a")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Makes everything of a block older.
fn age(world: &World, block: &str, by: Duration) {
    for entry in std::fs::read_dir(world.dir.path().join("store/a").join(block)).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }
}

#[tokio::test]
async fn young_or_named_what_a_compactor_left_that_died_before_its_record_is_swept_a_day_later() {
    for step in ["put the record", "publish"] {
        let world = World::new("{}");
        let spans = three_blocks(&world).await;
        let before = blocks(&world);
        let dying = world.compactor("dying").await;
        *dying.stop_before.lock().unwrap() = Some(step);
        dying.turn(&tenant()).await;
        let after = blocks(&world);
        let left: Vec<_> = after.difference(&before).collect();
        assert_eq!(left.len(), 1, "{step}");
        for block in &after {
            age(&world, block, ORPHAN_AGE / 2);
        }
        let young = world.compactor("young").await;
        young.sweep().await;
        assert_eq!(young.metrics.swept.get(), 0, "{step}");
        for block in &after {
            age(&world, block, ORPHAN_AGE * 2);
        }
        young.sweep().await;
        assert_eq!(young.metrics.swept.get(), 0, "{step}: it looks once an hour");
        let next = world.compactor("next").await;
        next.sweep().await;
        let gone = blocks(&world).is_disjoint(&left.into_iter().cloned().collect());
        assert_eq!(gone, step == "put the record", "{step}: a record names what is yet to be seen");
        assert_eq!(next.metrics.swept.get() > 0, gone, "{step}");
        assert_eq!(next.metrics.swept_bytes.get() > 0, gone, "{step}");
        assert_eq!(world.found().await, spans, "{step}");
        next.turn(&tenant()).await;
        assert_eq!((world.live().await.len(), world.found().await), (1, spans), "{step}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_tenant_without_blocks_is_swept_too_and_a_tenant_that_is_left_alone_is_not() {
    let orphan = "a/00000000-0000-0000-0000-000000000009/data.parquet";
    for (yaml, swept) in [("overrides: {compaction_disabled: true}", 0), ("{}", 1)] {
        let world = World::new(yaml);
        world.store().await.objects().put(orphan, "data".into()).await.unwrap();
        age(&world, orphan.split('/').nth(1).unwrap(), ORPHAN_AGE * 2);
        let compactor = world.compactor("x").await;
        compactor.sweep().await;
        assert_eq!(compactor.metrics.swept.get(), swept);
    }
}
