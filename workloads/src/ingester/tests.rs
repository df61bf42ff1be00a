//! What was acknowledged is held exactly once, wherever the process dies. Real files; "dies" means that the
//! tasks end before the step that is named, and that another ingester is started over the same files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message;
use tracing_core::store::StoreOptions;

use super::*;
use crate::proto::tempopb::{self, trace::v1 as trace};

mod object;

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().to_owned(), _dir: dir }
    }

    fn options(&self) -> IngesterOptions {
        IngesterOptions { push_wait: Duration::from_millis(300), ..IngesterOptions::new(&self.path) }
    }

    fn store(&self) -> Arc<Store> {
        Store::open(StoreOptions::local(self.bucket())).unwrap()
    }

    fn bucket(&self) -> PathBuf {
        self.path.join("bucket")
    }

    async fn start(&self) -> Arc<Ingester> {
        self.start_with(self.options()).await
    }

    async fn start_with(&self, options: IngesterOptions) -> Arc<Ingester> {
        let store = self.store();
        let engine = engine(&store);
        let members = alone("i-0").await;
        Ingester::start(options, store, engine, members, &mut Registry::default()).await.unwrap()
    }

    /// Traces in the store, as another process lists it.
    async fn stored(&self) -> u64 {
        let store = self.store();
        store.poll().await.unwrap();
        let tenants = store.tenants();
        tenants.iter().flat_map(|tenant| store.blocks(tenant).to_vec()).map(|meta| meta.traces).sum()
    }

    fn log_files(&self) -> usize {
        count(&self.path.join("log"), |name| name.contains(".wal"))
    }

    fn staged_tenant_dirs(&self, tenant: &str) -> usize {
        count(&self.path.join("blocks").join(tenant), |_| true)
    }
}

fn count(dir: &Path, wanted: impl Fn(&str) -> bool) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter(|e| wanted(e.as_ref().unwrap().file_name().to_str().unwrap())).count()
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn slice(n: u32) -> TraceSlice {
    let id = TraceId(u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes());
    let span = trace::Span {
        trace_id: Bytes::copy_from_slice(&id.0),
        span_id: Bytes::from_static(&[7; 8]),
        name: format!("span {n}"),
        start_time_unix_nano: 1_790_000_000_000_000_000 + u64::from(n),
        end_time_unix_nano: 1_790_000_000_000_001_000 + u64::from(n),
        ..trace::Span::default()
    };
    let scope = trace::ScopeSpans { spans: vec![span], ..trace::ScopeSpans::default() };
    let resource = trace::ResourceSpans { scope_spans: vec![scope], ..trace::ResourceSpans::default() };
    let otlp = tempopb::Trace { resource_spans: vec![resource] }.encode_to_vec().into();
    TraceSlice { id, spans: 1, otlp }
}

async fn push(ingester: &Ingester, name: &str, traces: std::ops::Range<u32>) {
    let slices = traces.map(slice).collect();
    ingester.push(Push { tenant: tenant(name), slices }).await.unwrap();
}

/// Traces that a search would look at in this ingester, each place counted.
fn held(ingester: &Ingester, name: &str) -> u64 {
    let seen = ingester.inner.state.see(&tenant(name));
    let live: usize = seen.heads.iter().map(|head| head.traces()).sum();
    live as u64 + seen.staged.iter().map(|staged| staged.meta.traces).sum::<u64>()
}

fn stop_before(ingester: &Ingester, step: &'static str) {
    *ingester.inner.stop_before.lock().unwrap() = Some(step);
}

/// Cuts, and waits until the pipeline has died at its step.
async fn die_before(ingester: Arc<Ingester>, step: &'static str) {
    stop_before(&ingester, step);
    ingester.inner.cut().await.unwrap();
    for _ in 0..2000 {
        let ended = ingester.tasks.lock().unwrap().iter().filter(|task| task.is_finished()).count();
        if ended == 1 {
            ingester.kill().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the step {step:?} was not reached: {:?}", ingester.status());
}

async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never {what}");
}

/// A cluster of one.
pub(super) async fn alone(id: &str) -> Arc<Membership> {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let options = crate::membership::Options {
        id: id.to_owned(),
        roles: vec![crate::membership::Role::Ingester],
        grpc: nowhere,
        zone: String::new(),
        join: Vec::new(),
        bind: nowhere,
        advertise: nowhere,
        cluster: "test".to_owned(),
        interval: Duration::from_millis(50),
    };
    Membership::start(options).await.unwrap()
}

fn engine(store: &Arc<Store>) -> Arc<Engine> {
    Engine::new(store.clone(), 2)
}

#[tokio::test]
async fn wal_before_ack_what_was_acknowledged_is_searchable_after_the_process_was_killed() {
    let place = Place::new();
    let first = place.start().await;
    push(&first, "a", 0..10).await;
    push(&first, "a", 10..12).await;
    push(&first, "b", 0..3).await;
    assert_eq!((held(&first, "a"), held(&first, "b")), (12, 3));
    first.kill().await;
    let second = place.start().await;
    assert_eq!((held(&second, "a"), held(&second, "b")), (12, 3));
    push(&second, "a", 12..13).await;
    assert_eq!(held(&second, "a"), 13);
}

#[tokio::test]
async fn a_flush_moves_everything_to_the_store_and_empties_log_and_stage() {
    let place = Place::new();
    let ingester = place.start().await;
    push(&ingester, "a", 0..10).await;
    push(&ingester, "b", 0..5).await;
    ingester.flush().await.unwrap();
    assert_eq!(place.stored().await, 15);
    assert_eq!((held(&ingester, "a"), held(&ingester, "b")), (0, 0));
    assert_eq!(place.log_files(), 0);
    eventually("unstaged", || place.staged_tenant_dirs("a") + place.staged_tenant_dirs("b") == 0).await;
    let recent = ingester.inner.state.see(&tenant("a")).recent;
    assert_eq!(recent.len(), 1, "named to queriers whose list is older");
    ingester.flush().await.unwrap();
    assert_eq!(place.stored().await, 15, "nothing new, no new block");
}

#[tokio::test]
async fn block_before_wal_removal_a_crash_before_the_block_is_on_the_stage_replays_its_spans() {
    let place = Place::new();
    let first = place.start().await;
    push(&first, "a", 0..10).await;
    die_before(first, "stage of a").await;
    let second = place.start().await;
    assert_eq!(held(&second, "a"), 10);
    second.flush().await.unwrap();
    assert_eq!(place.stored().await, 10);
}

#[tokio::test]
async fn one_block_a_generation_a_crash_before_wal_removal_does_not_store_spans_twice() {
    let place = Place::new();
    let first = place.start().await;
    push(&first, "a", 0..10).await;
    die_before(first, "wal removal").await;
    assert_eq!((place.log_files(), place.staged_tenant_dirs("a")), (1, 1));
    let second = place.start().await;
    assert_eq!(held(&second, "a"), 10);
    second.flush().await.unwrap();
    assert_eq!((place.stored().await, place.log_files()), (10, 0));
}

#[tokio::test]
async fn one_block_a_generation_also_when_only_some_tenants_had_their_block() {
    let place = Place::new();
    let first = place.start().await;
    push(&first, "a", 0..10).await;
    push(&first, "b", 0..5).await;
    die_before(first, "stage of b").await;
    let second = place.start().await;
    assert_eq!((held(&second, "a"), held(&second, "b")), (10, 5));
    second.flush().await.unwrap();
    assert_eq!(place.stored().await, 15);
}

#[tokio::test]
async fn wal_removal_before_upload_a_crash_between_them_uploads_from_the_stage() {
    let place = Place::new();
    let first = place.start().await;
    push(&first, "a", 0..10).await;
    die_before(first, "upload").await;
    assert_eq!((place.log_files(), place.staged_tenant_dirs("a"), place.stored().await), (0, 1, 0));
    let second = place.start().await;
    second.flush().await.unwrap();
    assert_eq!(place.stored().await, 10);
}

#[tokio::test]
async fn upload_before_unstage_a_crash_between_them_uploads_the_same_block_again() {
    let place = Place::new();
    let first = place.start().await;
    push(&first, "a", 0..10).await;
    die_before(first, "unstage").await;
    assert_eq!((place.staged_tenant_dirs("a"), place.stored().await), (1, 10));
    let second = place.start().await;
    second.flush().await.unwrap();
    assert_eq!(place.stored().await, 10);
    eventually("unstaged", || place.staged_tenant_dirs("a") == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_whole_pushes_during_cuts_are_neither_lost_nor_doubled() {
    let place = Place::new();
    let options = IngesterOptions { cut_bytes: 2000, ..place.options() };
    let first = place.start_with(options).await;
    let pushers = (0..8_u32).map(|pusher| {
        let ingester = first.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                let from = pusher * 1000 + n * 2;
                while ingester
                    .push(Push { tenant: tenant("a"), slices: vec![slice(from), slice(from + 1)] })
                    .await
                    .is_err()
                {}
            }
        })
    });
    futures::future::join_all(pushers).await;
    first.kill().await;
    let second = place.start().await;
    second.flush().await.unwrap();
    assert_eq!(place.stored().await, 320);
    assert!(place.log_files() == 0);
}

#[tokio::test]
async fn while_the_store_is_away_ingest_goes_on_and_uploads_follow_when_it_is_back() {
    let place = Place::new();
    let ingester = place.start().await;
    fs::remove_dir(place.bucket()).unwrap();
    fs::write(place.bucket(), "in the way").unwrap();
    for n in 0..5 {
        push(&ingester, "a", n * 10..n * 10 + 10).await;
        ingester.inner.cut().await.unwrap();
    }
    eventually("staged", || ingester.status().frozen == 0 && ingester.status().upload_error.is_some()).await;
    assert_eq!(held(&ingester, "a"), 50, "staged blocks are searched");
    assert_eq!(ingester.ready(), Ok(()));
    fs::remove_file(place.bucket()).unwrap();
    ingester.flush().await.unwrap();
    assert_eq!((place.stored().await, ingester.status().upload_error), (50, None));
}

#[tokio::test]
async fn while_uploads_fail_pushes_are_taken_until_the_disk_budget_is_used_up_and_again_afterwards() {
    let place = Place::new();
    let options = IngesterOptions { cut_bytes: 1000, max_disk_bytes: Some(20_000), ..place.options() };
    let ingester = place.start_with(options).await;
    fs::remove_dir(place.bucket()).unwrap();
    fs::write(place.bucket(), "in the way").unwrap();
    let mut taken = 0;
    let refused = loop {
        match ingester.push(Push { tenant: tenant("a"), slices: vec![slice(taken)] }).await {
            Ok(()) => taken += 1,
            Err(PushError::Busy { .. }) => {}
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, PushError::DiskBudget { limit: 20_000, .. }), "{refused}");
    assert!(refused.retry_after().is_some() && taken > 5, "{taken}");
    assert_eq!(held(&ingester, "a"), u64::from(taken), "what was taken is searched");
    fs::remove_file(place.bucket()).unwrap();
    ingester.flush().await.unwrap();
    push(&ingester, "a", taken..taken + 1).await;
    ingester.flush().await.unwrap();
    assert_eq!(place.stored().await, u64::from(taken) + 1);
}

#[tokio::test]
async fn when_no_block_can_be_built_pushes_wait_and_are_refused_and_it_recovers() {
    let place = Place::new();
    let options = IngesterOptions { cut_bytes: 1000, max_frozen: 1, ..place.options() };
    let ingester = place.start_with(options).await;
    fs::remove_dir(place.path.join("blocks")).unwrap();
    fs::write(place.path.join("blocks"), "in the way").unwrap();
    let mut taken = 0;
    let refused = loop {
        match ingester.push(Push { tenant: tenant("a"), slices: vec![slice(taken)] }).await {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, PushError::Busy { .. }) && refused.retry_after().is_some(), "{refused}");
    assert!(ingester.status().build_error.is_some());
    fs::remove_file(place.path.join("blocks")).unwrap();
    fs::create_dir(place.path.join("blocks")).unwrap();
    eventually("built", || ingester.status().build_error.is_none()).await;
    push(&ingester, "a", taken..taken + 1).await;
    ingester.flush().await.unwrap();
    assert_eq!(place.stored().await, u64::from(taken) + 1);
}

#[tokio::test]
async fn a_shutdown_refuses_pushes_and_leaves_nothing_behind() {
    let place = Place::new();
    let ingester = place.start().await;
    push(&ingester, "a", 0..10).await;
    ingester.shutdown(Instant::now() + Duration::from_secs(30)).await.unwrap();
    let refused = ingester.push(Push { tenant: tenant("a"), slices: vec![slice(1)] }).await.unwrap_err();
    assert!(matches!(refused, PushError::Leaving));
    assert!(ingester.ready().unwrap_err().contains("leaving"));
    assert_eq!((place.stored().await, place.log_files()), (10, 0));
}

#[tokio::test]
async fn a_head_is_cut_by_age() {
    let place = Place::new();
    let options = IngesterOptions { max_block_duration: Duration::from_millis(50), ..place.options() };
    let ingester = place.start_with(options).await;
    push(&ingester, "a", 0..10).await;
    eventually("cut", || ingester.inner.state.current().oldest().is_none()).await;
    eventually("stored", || held(&ingester, "a") == 0).await;
    assert_eq!(place.stored().await, 10);
}
