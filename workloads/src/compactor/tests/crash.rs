//! A compactor dies before each of its steps, and two have the same job at once.

use super::{super::record::Record, *};

/// All steps of a job, in their order.
const STEPS: [&str; 8] = [
    "merge",
    "end the local block",
    "upload",
    "put the record",
    "publish",
    "mark the first input",
    "mark another input",
    "remove the record",
];

fn die_before(compactor: &Compactor, step: &'static str) {
    *compactor.stop_before.lock().unwrap() = Some(step);
}

#[tokio::test]
async fn record_before_visible_a_crash_before_any_step_of_a_merge_loses_and_doubles_nothing() {
    for step in STEPS {
        let world = World::new("{}");
        let spans = three_blocks(&world).await;
        let dying = world.compactor("dying").await;
        die_before(&dying, step);
        dying.turn(&tenant()).await;
        assert_eq!(dying.metrics.errors(), 1, "{step}: it died");
        assert_eq!(world.found().await, spans, "{step}: with nobody to go on");
        let next = world.compactor("next").await;
        next.turn(&tenant()).await;
        let live = world.live().await;
        assert_eq!((live.len(), live[0].traces), (1, 4), "{step}");
        assert_eq!(world.found().await, spans, "{step}: with another that goes on");
        assert_eq!(world.records().await, 0, "{step}");
    }
}

#[tokio::test]
async fn visible_before_marked_inputs_are_marked_only_when_their_output_can_be_seen() {
    let world = World::new("{}");
    let spans = three_blocks(&world).await;
    let dying = world.compactor("dying").await;
    die_before(&dying, "publish");
    dying.turn(&tenant()).await;
    // What was uploaded goes away before anyone finishes the job.
    let live: BTreeSet<_> = ids(&world.live().await).iter().map(ToString::to_string).collect();
    for entry in std::fs::read_dir(world.dir.path().join("store/a")).unwrap() {
        let entry = entry.unwrap();
        if !live.contains(entry.file_name().to_str().unwrap()) {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let next = world.compactor("next").await;
    next.turn(&tenant()).await;
    next.turn(&tenant()).await;
    assert_eq!(world.found().await, spans);
    assert_eq!(world.records().await, 0);
}

#[tokio::test]
async fn one_record_a_job_two_compactors_at_the_same_job_make_one_block() {
    for _ in 0..5 {
        let world = World::new("{}");
        let spans = three_blocks(&world).await;
        let (one, two) = (world.compactor("one").await, world.compactor("two").await);
        let tenant = tenant();
        tokio::join!(one.turn(&tenant), two.turn(&tenant));
        assert_eq!(world.live().await.len(), 1);
        assert_eq!(world.found().await, spans);
        assert_eq!(world.records().await, 0);
        let blocks = std::fs::read_dir(world.dir.path().join("store/a")).unwrap().count();
        assert_eq!(blocks, 4, "three inputs and one output: the loser took away what it had uploaded");
    }
}

#[tokio::test]
async fn one_record_a_job_also_when_one_of_two_dies_before_any_step() {
    for step in STEPS {
        let world = World::new("{}");
        let spans = three_blocks(&world).await;
        let (dying, other) = (world.compactor("dying").await, world.compactor("other").await);
        die_before(&dying, step);
        let tenant = tenant();
        tokio::join!(dying.turn(&tenant), other.turn(&tenant));
        assert_eq!(world.found().await, spans, "{step}");
        world.compactor("next").await.turn(&tenant).await;
        assert_eq!(world.live().await.len(), 1, "{step}");
        assert_eq!(world.found().await, spans, "{step}");
        assert_eq!(world.records().await, 0, "{step}");
    }
}

#[tokio::test]
async fn one_record_a_job_a_compactor_that_wakes_up_late_brings_nothing_back() {
    let world = World::new("{}");
    let spans = three_blocks(&world).await;
    let late = world.compactor("late").await;
    die_before(&late, "publish");
    late.turn(&tenant()).await;
    let key = world.store().await.objects().list("~vivace/jobs").await.unwrap()[0].key.clone();
    let record = late.record_at(&key).await.unwrap().unwrap();
    world.compactor("next").await.turn(&tenant()).await;
    // The output is replaced in turn, and then the first compactor goes on where it was.
    world.store().await.mark_compacted(&tenant(), record.output.id).await.unwrap();
    *late.stop_before.lock().unwrap() = None;
    late.finish(&key, &record).await.unwrap();
    assert!(world.live().await.is_empty());
    world.store().await.delete(&tenant(), record.output.id).await.unwrap();
    let _ = late.finish(&key, &record).await;
    assert!(world.live().await.is_empty(), "of {spans:?}");
}

/// A job whose record is put when another compactor has done it already and its own record has gone.
async fn a_late_record(world: &World, late: &Compactor) -> (String, Record) {
    die_before(late, "publish");
    late.turn(&tenant()).await;
    let objects = world.store().await.objects();
    let key = objects.list("~vivace/jobs").await.unwrap()[0].key.clone();
    let record = late.record_at(&key).await.unwrap().unwrap();
    objects.delete(&key).await.unwrap();
    world.compactor("other").await.turn(&tenant()).await;
    objects.put(&key, record.to_json()).await.unwrap();
    *late.stop_before.lock().unwrap() = None;
    (key, record)
}

#[tokio::test]
async fn one_record_a_job_one_that_is_put_when_the_job_is_done_comes_to_nothing() {
    let world = World::new("{}");
    let spans = three_blocks(&world).await;
    let late = world.compactor("late").await;
    let (key, record) = a_late_record(&world, &late).await;
    assert!(!late.carry_through(&key, &record).await.unwrap());
    assert_eq!((world.live().await.len(), world.found().await, world.records().await), (1, spans, 0));
}

#[tokio::test]
async fn one_record_a_job_one_that_came_too_late_is_not_finished_by_another() {
    let world = World::new("{}");
    let spans = three_blocks(&world).await;
    let late = world.compactor("late").await;
    a_late_record(&world, &late).await;
    world.compactor("next").await.turn(&tenant()).await;
    assert_eq!((world.live().await.len(), world.found().await, world.records().await), (1, spans, 0));
}

#[tokio::test]
async fn one_record_a_job_of_two_that_overlap_and_stand_at_once_none_counts_until_one_has_gone() {
    let world = World::new("{}");
    three_blocks(&world).await;
    let one = world.compactor("one").await;
    die_before(&one, "publish");
    one.turn(&tenant()).await;
    let objects = world.store().await.objects();
    let key = objects.list("~vivace/jobs").await.unwrap()[0].key.clone();
    let record = one.record_at(&key).await.unwrap().unwrap();
    assert!(one.is_valid(&record).await.unwrap());
    let mut output = record.output.clone();
    output.id = BlockId::random();
    let other = Record { inputs: record.inputs[..2].to_vec(), output };
    objects.put(&other.key(), other.to_json()).await.unwrap();
    assert!(!one.is_valid(&record).await.unwrap() && !one.is_valid(&other).await.unwrap());
    one.withdraw(&other.key(), &other).await.unwrap();
    assert!(one.is_valid(&record).await.unwrap());
}

#[tokio::test]
async fn whole_before_replaced_what_a_job_left_undone_is_done_before_its_output_goes() {
    for withdrawn in [false, true] {
        let world = World::new("{}");
        three_blocks(&world).await;
        let dying = world.compactor("dying").await;
        die_before(&dying, "mark another input");
        dying.turn(&tenant()).await;
        let objects = world.store().await.objects();
        let key = objects.list("~vivace/jobs").await.unwrap()[0].key.clone();
        let record = dying.record_at(&key).await.unwrap().unwrap();
        if withdrawn {
            dying.withdraw(&key, &record).await.unwrap();
        }
        // Another of its level, so that the two are to be merged.
        let (stage, _) = Stage::open(world.dir.path().join("stage")).unwrap();
        let mut beside = written(&stage, BlockId::random(), &[(9, 9, 0)], record.output.end);
        beside.meta.compaction_level = record.output.compaction_level;
        let beside = stage.finish(&beside).unwrap();
        world.store().await.commit(&beside.meta, &beside.dir).await.unwrap();
        let mut other = world.compactor("other").await;
        other.options.takeover = Duration::from_hours(1);
        other.turn(&tenant()).await;
        // By then it would be deleted, if it was replaced.
        let store = world.store().await;
        for meta in store.compacted(&tenant()).iter() {
            store.delete(&tenant(), meta.id).await.unwrap();
        }
        world.compactor("next").await.turn(&tenant()).await;
        world.compactor("next").await.turn(&tenant()).await;
        assert_eq!((world.live().await.len(), world.records().await), (1, 0), "withdrawn: {withdrawn}");
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_nothing() {
    let world = World::new("{}");
    three_blocks(&world).await;
    world.store().await.objects().put("~vivace/jobs/a/torn", "{\"inputs\":".into()).await.unwrap();
    world.compactor("x").await.turn(&tenant()).await;
    assert_eq!(world.live().await.len(), 1);
}
