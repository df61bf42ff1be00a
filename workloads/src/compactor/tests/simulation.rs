//! Compaction, retention and the sweep under a seed: writers and two compactors, each of which takes every job for
//! its own, over a store that fails, is slow, loses answers and does things late; processes that die between any two
//! requests, or sleep there and go on much later, and days that pass. The code is the real one, over a store in
//! memory; time is tokio's paused clock. One thread runs everything but what computes, so that a seed gives the same
//! run again, as a rule.
//!
//! What must hold when all has settled: each span that retention keeps stands in exactly one block and is found by
//! lookup and search, what has expired is gone, each block passes the checks of `vivace blocks check`, and nothing
//! lies about that belongs to no block. `VIVACE_SEEDS=2000 cargo test -p vivace --lib compactor::tests::simulation`
//! runs more seeds, `VIVACE_SEED=17` one.

mod blocks;
mod process;
mod unsteady;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{Mutex, PoisonError},
};

use object_store::{ObjectStore, memory::InMemory};
use tokio::{task::JoinHandle, time::sleep};
use tracing_core::store::{
    Access, DATA, JOBS, Machine, Objects, PollOptions,
    fault::{Clocked, FaultStore, Faults},
};

use super::*;
use blocks::Prepared;
use process::Process;
use unsteady::{Fate, Unsteady};

/// Runs of the unit tests.
const SEEDS: u64 = 100;
/// Things go wrong for so long.
const CHAOS: Duration = Duration::from_hours(62);
/// Looks of both compactors after that, an hour apart: what nobody refers to goes when it is a day old, and a block
/// that seemed damaged is tried again then.
const ROUNDS: u32 = 32;
/// A block goes so long after the last of its traces had to, at the latest: a window of blocks has one time.
const LATE: SignedDuration = SignedDuration::from_hours(2);
const RETENTION: &str = r#"compactor: {compaction: {block_retention: 48h, compacted_block_retention: 1h, retention_rules: [{match: "{ status = error }", keep: 96h}]}}"#;

fn keep(error: bool) -> SignedDuration {
    SignedDuration::from_hours(if error { 96 } else { 48 })
}

/// When every run begins.
fn begin() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// What all processes of a run share.
struct Run {
    files: World,
    bucket: Arc<dyn ObjectStore>,
    dice: FaultStore,
    machine: Machine,
    began: Instant,
    blocks: Vec<&'static Prepared>,
    calm: CancellationToken,
    /// Whether one sleeps: what a process assumes of another's sleep does not hold for two that take turns in it.
    asleep: Mutex<bool>,
    processes: Mutex<u64>,
    /// What writers were told is stored.
    stored: Mutex<Vec<&'static Prepared>>,
    /// What was read of each block. It does not change.
    contents: Mutex<BTreeMap<BlockId, Contents>>,
}

/// Spans by trace and number, each with how often it is there.
type Contents = BTreeMap<(u8, u8), usize>;

impl Run {
    fn new(seed: u64) -> Arc<Self> {
        let bucket: Arc<dyn ObjectStore> = Arc::new(Clocked::at(Arc::new(InMemory::new()), begin()));
        let dice = FaultStore::new(bucket.clone(), seed);
        Arc::new(Self {
            files: World::new(RETENTION),
            blocks: blocks::some(&dice),
            dice,
            bucket,
            machine: Machine::simulated(begin()),
            began: Instant::now(),
            calm: CancellationToken::new(),
            asleep: Mutex::default(),
            processes: Mutex::new(seed << 16),
            stored: Mutex::default(),
            contents: Mutex::default(),
        })
    }

    fn is_calm(&self) -> bool {
        self.calm.is_cancelled()
    }

    /// A time up to `most`.
    fn up_to(&self, most: Duration) -> Duration {
        Duration::from_millis(self.dice.random(most.as_millis() as u64))
    }

    /// What goes wrong next for a process.
    fn faults(&self) -> Faults {
        let longest = [50, 200, 2000, 20_000][self.dice.random(4) as usize];
        // Each request takes some time, so that any two processes can meet between any two of theirs.
        let slow = Faults { delay: 1000, longest: Duration::from_millis(longest), ..Faults::NONE };
        match self.dice.random(3) {
            _ if self.is_calm() => Faults::NONE,
            0 => slow,
            _ => Faults { delay: slow.delay, longest: slow.longest, ..Faults::ALL },
        }
    }

    /// What becomes of a process at one of the next times that it waits for something.
    fn fate(&self) -> Fate {
        let after = self.dice.random(90);
        match self.dice.random(4) {
            _ if self.is_calm() => Fate::Steady,
            0 => Fate::Dies { after },
            1 => Fate::Sleeps { after, time: self.up_to(Duration::from_mins(45)) },
            _ => Fate::Steady,
        }
    }

    /// A writer stores a block that it holds on its disk, until it is told that it is stored.
    async fn write(self: Arc<Self>, block: &'static Prepared) {
        let due = Duration::try_from(block.end.duration_since(begin())).unwrap_or_default();
        sleep(due + self.up_to(Duration::from_hours(3))).await;
        let staged = block.stage(self.files.dir.path(), Process::start(&self).store.new_id());
        loop {
            let process = Process::start(&self);
            let commit =
                Unsteady::new(process.store.commit(&staged.meta, &staged.dir), self.fate(), &self.asleep);
            match commit.await {
                Some(Ok(())) => return self.stored.lock().unwrap().push(block),
                Some(Err(_)) => sleep(self.up_to(Duration::from_mins(5))).await,
                None => sleep(self.up_to(Duration::from_mins(40))).await,
            }
        }
    }

    /// A compactor looks every now and then, and is started again where it died.
    async fn compact(self: Arc<Self>, name: u64) {
        let mut process = Process::start(&self);
        let mut compactor = process.compactor(&self, name).await;
        while !self.is_calm() {
            // Often both at once.
            let mins = self.began.elapsed().as_secs() / 60;
            sleep(Duration::from_mins(60 - mins % 60) + self.up_to(Duration::from_secs(1))).await;
            if self.dice.random(3) == 0 {
                sleep(self.up_to(Duration::from_mins(50))).await;
            }
            process.faults.set(self.faults());
            let lived = Unsteady::new(process.round(&compactor), self.fate(), &self.asleep).await.is_some();
            if !lived {
                process = Process::start(&self);
                compactor = process.compactor(&self, name).await;
            }
        }
    }

    /// A reader looks every now and then at what there is by then.
    async fn look(self: Arc<Self>) {
        while !self.is_calm() {
            sleep(self.up_to(Duration::from_hours(6))).await;
            let store = self.judge().await;
            let mut found = Contents::new();
            for meta in store.blocks(&tenant()).iter() {
                let known = self.contents.lock().unwrap().get(&meta.id).cloned();
                let contents = match known {
                    Some(contents) => contents,
                    None => found_in(&store, std::slice::from_ref(meta)).await,
                };
                for (name, times) in &contents {
                    *found.entry(*name).or_default() += times;
                }
                self.contents.lock().unwrap().insert(meta.id, contents);
            }
            let stored = self.stored.lock().unwrap().clone();
            self.check_spans(&found, &stored, store.now());
        }
    }

    /// Everything works from now on, and all that is to be done is.
    async fn settle(self: &Arc<Self>) {
        let process = Process::start(self);
        let compactors = [process.compactor(self, 2).await, process.compactor(self, 3).await];
        for _ in 0..ROUNDS {
            sleep(Duration::from_hours(1)).await;
            for compactor in &compactors {
                process.round(compactor).await;
            }
        }
    }

    /// A store that works and knows what a listing says.
    async fn judge(&self) -> Arc<Store> {
        let poll = PollOptions { index_builders: 0, jitter: Duration::ZERO, ..PollOptions::default() };
        let store = Store::over_by(self.bucket.clone(), Access::default(), poll, self.machine.clone());
        store.poll().await.unwrap();
        store
    }

    /// What was stored and has to be kept is there, and nothing is there more often than it was sent.
    fn check_spans(&self, found: &Contents, stored: &[&'static Prepared], now: Timestamp) {
        for span in stored.iter().flat_map(|block| &block.spans) {
            let (name, until) = (span.name(), span.end + keep(span.error));
            assert!(found.contains_key(&name) || until <= now, "span {name:?} of {until} is lost, at {now}");
        }
        for (name, times) in found {
            // A client may have sent a span twice, which then stands in as many blocks.
            let spans = self.blocks.iter().flat_map(|block| &block.spans);
            let sent = spans.filter(|span| span.name() == *name).count();
            assert!(
                *times <= sent,
                "span {name:?} stands in {times} blocks and was sent {sent} times, at {now}"
            );
        }
    }

    /// All is as it has to be in the end.
    async fn check(&self) -> usize {
        let store = self.judge().await;
        let (now, metas) = (store.now(), store.blocks(&tenant()).to_vec());
        assert_eq!(crate::blocks::problems(store.clone()).await, Vec::<String>::new());
        let found = found_in(&store, &metas).await;
        self.check_spans(&found, &self.blocks, now);
        for span in self.blocks.iter().flat_map(|block| &block.spans) {
            let (name, until) = (span.name(), span.end + keep(span.error) + LATE);
            assert!(
                !found.contains_key(&name) || until >= now,
                "span {name:?} had to go by {until}, at {now}"
            );
        }
        self.check_objects(&store).await;
        found.len()
    }

    /// Nothing is left of jobs, of what was replaced, and of what never came to be a block.
    async fn check_objects(&self, store: &Store) {
        let objects = Objects::over(self.bucket.clone(), "");
        let named = |prefix: String| {
            let objects = objects.clone();
            async move {
                objects.list(&prefix).await.unwrap().into_iter().map(|object| object.key).collect::<Vec<_>>()
            }
        };
        assert_eq!(named(JOBS.to_owned()).await, Vec::<String>::new());
        // What was marked within the last two looks is still waiting for its end.
        let waits = |meta: &&Arc<Meta>| meta.compacted.is_some_and(|at| at + LATE > store.now());
        let compacted = store.compacted(&tenant());
        let blocks = store.blocks(&tenant());
        let stay = blocks.iter().chain(compacted.iter().filter(waits));
        let live: BTreeSet<String> = stay.map(|meta| meta.id.to_string()).collect();
        let mut left = named(tenant().to_string()).await;
        left.retain(|key| key.split('/').nth(1).is_none_or(|block| !live.contains(block)));
        assert_eq!(left, Vec::<String>::new(), "of no block that is to be read");
    }
}

/// In how many blocks each span stands, by lookups; a search has to find the same traces.
async fn found_in(store: &Arc<Store>, metas: &[Arc<Meta>]) -> Contents {
    let engine = Engine::new(store.clone(), 1);
    let plan = Arc::new(Plan::search(&traceql::parse("{ }").unwrap()).unwrap());
    let limits = SearchLimits { limit: 1000, spss: 1000, window: None };
    let mut ids = BTreeSet::new();
    for meta in metas {
        let part = engine.search_block(meta, 0..usize::MAX, &plan, limits, CancellationToken::new()).await;
        ids.extend(part.unwrap().hits.into_iter().map(|hit| hit.trace_id));
    }
    let mut found = Contents::new();
    for id in ids {
        for part in engine.find_trace(&tenant(), id, metas, &Projection::Everything).await.unwrap() {
            let mut builder = TableBuilder::keeping_duplicates();
            builder.begin(id);
            builder.add_otlp(&part).unwrap();
            builder.end();
            for span in &builder.finish().spans.id {
                *found.entry((id.0[0], span.0[7])).or_default() += 1;
            }
        }
    }
    found
}

async fn run(seed: u64) -> usize {
    let run = Run::new(seed);
    let mut tasks: Vec<JoinHandle<()>> = vec![tokio::spawn(run.clone().look())];
    tasks.extend(run.blocks.iter().map(|block| tokio::spawn(run.clone().write(block))));
    tasks.extend((0..2).map(|name| tokio::spawn(run.clone().compact(name))));
    sleep(CHAOS).await;
    run.calm.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    run.settle().await;
    run.check().await
}

fn simulate(seed: u64) -> usize {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // One after the other, so that they end in the order in which they began.
    let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build().unwrap();
    runtime.block_on(run(seed))
}

#[test]
fn whatever_happens_what_is_kept_stands_in_one_block_and_what_has_expired_in_none() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("VIVACE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VIVACE_SEEDS").unwrap_or(SEEDS),
    };
    let one = |seed| {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        assert!(outcome.is_ok(), "seed {seed}: run it alone with VIVACE_SEED={seed}");
        outcome.unwrap()
    };
    // Two cores are what a test may take.
    let half = |odd| {
        let seeds = seeds.clone().filter(move |seed| seed % 2 == odd);
        move || seeds.map(one).sum::<usize>()
    };
    let kept: usize = std::thread::scope(|scope| {
        let halves = [scope.spawn(half(0)), scope.spawn(half(1))];
        halves.into_iter().map(|half| half.join().expect("a seed failed, see above")).sum()
    });
    println!("seeds {seeds:?}: {kept} spans kept, each in one block");
}
