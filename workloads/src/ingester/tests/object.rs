//! The log in the object store: what is acknowledged is in exactly one block, whoever builds it. A directory
//! stands for the bucket; "dies" means that nothing more is done, and the local disk is lost with it.

use tracing_core::store::Objects;

use super::*;

struct Bucket {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Bucket {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().to_owned(), _dir: dir }
    }

    fn store(&self) -> Arc<Store> {
        Store::open(StoreOptions::local(self.path.join("bucket"))).unwrap()
    }

    fn objects(&self) -> Objects {
        self.store().objects()
    }

    fn options(&self, disk: &str) -> IngesterOptions {
        IngesterOptions {
            push_wait: Duration::from_millis(300),
            home: WalHome::Object,
            ..IngesterOptions::new(&self.path.join(disk))
        }
    }

    /// An ingester on a disk of its own.
    async fn start(&self, name: &str, disk: &str) -> Arc<Ingester> {
        self.start_with(name, self.options(disk)).await
    }

    async fn start_with(&self, name: &str, options: IngesterOptions) -> Arc<Ingester> {
        let store = self.store();
        let engine = engine(&store);
        let members = alone(name).await;
        Ingester::start(options, store, engine, members, &mut Registry::default()).await.unwrap()
    }

    /// Traces in the store, as another process lists it.
    async fn stored(&self) -> u64 {
        let store = self.store();
        store.poll().await.unwrap();
        let tenants = store.tenants();
        tenants.iter().flat_map(|tenant| store.blocks(tenant).to_vec()).map(|meta| meta.traces).sum()
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.objects().list(prefix).await.unwrap();
        listed.into_iter().map(|object| object.key).collect()
    }
}

/// Cuts, and waits until the publisher has died at its step.
async fn publisher_dies_before(ingester: &Arc<Ingester>, step: &'static str) {
    stop_before(ingester, step);
    ingester.inner.cut().await.unwrap();
    for _ in 0..2000 {
        if ingester.tasks.lock().unwrap().iter().any(JoinHandle::is_finished) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the step {step:?} was not reached: {:?}", ingester.status());
}

#[tokio::test]
async fn wal_before_ack_what_was_acknowledged_is_found_by_the_next_start_on_an_empty_disk() {
    let bucket = Bucket::new();
    let first = bucket.start("i-0", "a").await;
    push(&first, "a", 0..10).await;
    push(&first, "b", 0..3).await;
    assert!(!bucket.keys("~vivace/wal/i-0").await.is_empty());
    first.kill().await;
    let second = bucket.start("i-0", "other disk").await;
    assert_eq!((held(&second, "a"), held(&second, "b")), (10, 3));
    push(&second, "a", 10..12).await;
    second.flush().await.unwrap();
    assert_eq!(bucket.stored().await, 15);
}

#[tokio::test]
async fn a_shutdown_leaves_blocks_and_no_log() {
    let bucket = Bucket::new();
    let ingester = bucket.start("i-0", "a").await;
    push(&ingester, "a", 0..10).await;
    ingester.shutdown(Instant::now() + Duration::from_secs(30)).await.unwrap();
    assert_eq!(bucket.stored().await, 10);
    assert_eq!(bucket.keys("~vivace").await, Vec::<String>::new());
}

#[tokio::test]
async fn one_block_a_generation_wherever_its_first_builder_dies() {
    for step in ["decision", "visible", "segment removal"] {
        let bucket = Bucket::new();
        let first = bucket.start("i-0", "a").await;
        push(&first, "a", 0..10).await;
        push(&first, "b", 0..5).await;
        publisher_dies_before(&first, step).await;
        push(&first, "a", 10..13).await;
        first.kill().await;
        let second = bucket.start("i-0", "other disk").await;
        second.flush().await.unwrap();
        assert_eq!(bucket.stored().await, 18, "dead before {step}");
        second.shutdown(Instant::now() + Duration::from_secs(30)).await.unwrap();
        let segments = bucket.keys("~vivace/wal").await;
        assert_eq!(segments.len(), 1, "the fence alone is left: {segments:?}");
        // The data of what was decided otherwise went as well.
        for tenant in ["a", "b"] {
            let blocks = bucket.keys(tenant).await;
            let data = |key: &&String| key.ends_with("/data.parquet");
            let metas = |key: &&String| key.ends_with("/meta.json");
            assert_eq!(blocks.iter().filter(data).count(), blocks.iter().filter(metas).count(), "{blocks:?}");
        }
    }
}

#[tokio::test]
async fn a_claimer_that_dies_is_followed_by_another_and_the_spans_are_in_one_block() {
    for step in ["decision", "visible", "segment removal"] {
        let bucket = Bucket::new();
        let first = bucket.start("i-0", "a").await;
        push(&first, "a", 0..10).await;
        first.kill().await;
        let second = bucket.start("i-0", "b").await;
        stop_before(&second, step);
        eventually("dead", || second.tasks.lock().unwrap().iter().any(JoinHandle::is_finished)).await;
        second.kill().await;
        let third = bucket.start("i-0", "c").await;
        third.flush().await.unwrap();
        assert_eq!(bucket.stored().await, 10, "the claimer died before {step}");
    }
}

#[tokio::test]
async fn fence_before_replay_an_ingester_that_wakes_up_late_acknowledges_nothing_and_answers_for_nothing() {
    let bucket = Bucket::new();
    let zombie = bucket.start("i-0", "a").await;
    push(&zombie, "a", 0..10).await;
    let heir = bucket.start("i-0", "b").await;
    assert_eq!(held(&heir, "a"), 10);
    let refused = zombie.push(Push { tenant: tenant("a"), slices: vec![slice(50)] }).await.unwrap_err();
    assert!(refused.retry_after().is_some() && refused.to_string().contains("taken over"), "{refused}");
    assert_eq!(held(&zombie, "a"), 0, "a stale epoch's answers are ignored");
    // It goes on under an epoch of its own.
    let mut again = zombie.push(Push { tenant: tenant("a"), slices: vec![slice(51)] }).await;
    for _ in 0..400 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        again = zombie.push(Push { tenant: tenant("a"), slices: vec![slice(51)] }).await;
    }
    again.unwrap();
    assert_eq!(held(&zombie, "a"), 1);
    heir.flush().await.unwrap();
    zombie.flush().await.unwrap();
    assert_eq!(bucket.stored().await, 11);
}

#[tokio::test]
async fn a_stale_builder_publishes_nothing_after_its_epoch_was_claimed() {
    let bucket = Bucket::new();
    let zombie = bucket.start("i-0", "a").await;
    push(&zombie, "a", 0..10).await;
    let heir = bucket.start("i-0", "b").await;
    // Both build the same generation; neither knows of the other.
    let (one, other) = tokio::join!(heir.flush(), zombie.flush());
    one.unwrap();
    drop(other);
    assert_eq!(bucket.stored().await, 10);
}

#[tokio::test]
async fn what_a_peer_says_that_it_has_claimed_is_given_up() {
    let bucket = Bucket::new();
    let ingester = bucket.start("i-0", "a").await;
    push(&ingester, "a", 0..10).await;
    let epoch = ingester.inner.journal.open().unwrap().keep.epoch().unwrap().clone();
    ingester.heed(
        [format!("{}:0", epoch.epoch()), "i-1/0000000000000001:7".to_owned()].iter().map(String::as_str),
    );
    assert_eq!(held(&ingester, "a"), 10);
    ingester.heed([format!("{}:1", epoch.epoch())].iter().map(String::as_str));
    assert_eq!(held(&ingester, "a"), 0);
}

#[tokio::test]
async fn while_the_store_is_away_pushes_are_refused_and_taken_again_when_it_is_back() {
    let bucket = Bucket::new();
    let ingester = bucket.start("i-0", "a").await;
    push(&ingester, "a", 0..10).await;
    let (away, there) = (bucket.path.join("bucket away"), bucket.path.join("bucket"));
    fs::rename(&there, &away).unwrap();
    fs::write(&there, "in the way").unwrap();
    let refused = ingester.push(Push { tenant: tenant("a"), slices: vec![slice(20)] }).await.unwrap_err();
    assert!(matches!(refused, PushError::StoreAway { .. }) && refused.retry_after().is_some(), "{refused}");
    let refused = ingester.push(Push { tenant: tenant("a"), slices: vec![slice(21)] }).await.unwrap_err();
    assert!(matches!(refused, PushError::StoreAway { .. }), "at once: {refused}");
    assert!(ingester.note().unwrap().contains("the object store is away"));
    assert_eq!((ingester.ready(), held(&ingester, "a")), (Ok(()), 10));
    fs::remove_file(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    eventually("back", || ingester.note().is_none()).await;
    push(&ingester, "a", 30..31).await;
    ingester.flush().await.unwrap();
    assert_eq!(bucket.stored().await, 11);
}

#[tokio::test]
async fn while_the_store_is_away_the_disk_stands_in_where_that_is_configured() {
    let bucket = Bucket::new();
    let options = IngesterOptions { when_away: WhenAway::Disk, ..bucket.options("a") };
    let first = bucket.start_with("i-0", options.clone()).await;
    push(&first, "a", 0..10).await;
    let (away, there) = (bucket.path.join("bucket away"), bucket.path.join("bucket"));
    fs::rename(&there, &away).unwrap();
    fs::write(&there, "in the way").unwrap();
    let refused = first.push(Push { tenant: tenant("a"), slices: vec![slice(20)] }).await.unwrap_err();
    assert!(refused.retry_after().is_some());
    eventually("degraded", || first.status().wal.contains("local disk")).await;
    push(&first, "a", 20..25).await;
    assert_eq!((first.ready(), held(&first, "a")), (Ok(()), 15));
    assert!(first.note().unwrap().contains("local disk"), "{:?}", first.note());
    // Also what the disk took survives the process.
    first.kill().await;
    fs::remove_file(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    let second = bucket.start_with("i-0", options).await;
    assert_eq!(held(&second, "a"), 15);
    assert!(second.note().is_none());
    second.flush().await.unwrap();
    assert_eq!(bucket.stored().await, 15);
}

#[tokio::test]
async fn a_disk_that_stood_in_hands_back_to_the_store() {
    let bucket = Bucket::new();
    let options = IngesterOptions { when_away: WhenAway::Disk, ..bucket.options("a") };
    let ingester = bucket.start_with("i-0", options).await;
    push(&ingester, "a", 0..10).await;
    let (away, there) = (bucket.path.join("bucket away"), bucket.path.join("bucket"));
    fs::rename(&there, &away).unwrap();
    fs::write(&there, "in the way").unwrap();
    let push_20 = || ingester.push(Push { tenant: tenant("a"), slices: vec![slice(20)] });
    while push_20().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::remove_file(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    eventually("back", || ingester.note().is_none()).await;
    push(&ingester, "a", 30..33).await;
    ingester.shutdown(Instant::now() + Duration::from_secs(30)).await.unwrap();
    assert_eq!(bucket.stored().await, 14);
    assert_eq!(bucket.keys("~vivace").await, Vec::<String>::new());
}
