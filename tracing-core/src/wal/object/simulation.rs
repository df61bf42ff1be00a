//! Distributors, ingesters and a store under a seed: delays, refusals, lost answers, partitions, crashes, zombies
//! that wake up late, and clients that send again. The log, its home and the claims are the real ones, over a
//! store in memory that fails; time is tokio's paused clock, and one thread runs everything, so that a seed gives
//! the same run each time.
//!
//! What must hold when all has settled: whatever was acknowledged stands in exactly one block, and nothing stands
//! in two. `SIMULATION_SEEDS` sets how many seeds are run, `SIMULATION_FIRST` the first of them.

mod link;
mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use object_store::memory::InMemory;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::*;
use crate::{
    model::{Tenant, TraceId},
    store::fault::{FaultStore, Faults},
    wal::Record,
};
use link::Link;
use process::Process;

const INGESTERS: u64 = 3;
const CLIENTS: u64 = 4;
const SPANS_OF_A_CLIENT: u64 = 30;
const CHAOS: Duration = Duration::from_secs(30);
/// A member that is silent for so long is taken for gone.
const SILENCE: Duration = Duration::from_secs(3);

/// SplitMix64.
#[derive(Debug)]
struct Random(Mutex<u64>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn below(&self, n: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Everything there is.
struct World {
    random: Random,
    memory: Arc<InMemory>,
    faults: FaultStore,
    began: Instant,
    /// All processes that were ever started, the last of each name last.
    processes: Mutex<Vec<Arc<Process>>>,
    /// What clients were told is durable, and all they sent.
    acknowledged: Mutex<BTreeSet<String>>,
    sent: Mutex<u64>,
}

impl World {
    fn new(seed: u64) -> Arc<Self> {
        let memory = Arc::new(InMemory::new());
        Arc::new(Self {
            random: Random::new(seed ^ 0x5eed),
            faults: FaultStore::new(memory.clone(), seed),
            memory,
            began: Instant::now(),
            processes: Mutex::default(),
            acknowledged: Mutex::default(),
            sent: Mutex::default(),
        })
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Arc<Process>>> {
        self.processes.lock().unwrap()
    }

    /// A new process under a name; who had it before is gone or asleep.
    fn start(self: &Arc<Self>, name: u64) {
        let number = self.processes().len() as u128 + 1;
        let instance = Uuid::from_u128(number << 64 | u128::from(self.random.below(u64::MAX)));
        let link = Link::new(self.faults.clone(), self.clone());
        let process = Process::start(self.clone(), format!("i-{name}"), instance, link);
        self.processes().push(process);
    }

    /// The processes that `asking` takes for members: those heard of lately, and sometimes not even they.
    fn members(&self, asking: Option<&Process>) -> Vec<Arc<Process>> {
        let own = |p: &Arc<Process>| asking.is_some_and(|asking| asking.instance == p.instance);
        let heard = |p: &Arc<Process>| p.link.heard_of().elapsed() < SILENCE;
        self.processes().iter().filter(|p| own(p) || (heard(p) && !p.is_suspected())).cloned().collect()
    }

    fn milliseconds(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// A client: sends its spans one batch after the other, each until it is acknowledged, by one ingester or the
    /// next.
    async fn client(self: Arc<Self>, number: u64) {
        for span in 0..SPANS_OF_A_CLIENT {
            sleep(self.random.millis(20, 900)).await;
            for attempt in 0.. {
                let members = self.members(None);
                if members.is_empty() {
                    sleep(Duration::from_millis(500)).await;
                    continue;
                }
                let to = members[self.random.below(members.len() as u64) as usize].clone();
                let spans = 1 + self.random.below(3);
                let texts: Vec<_> = (0..spans).map(|n| format!("{number}.{span}.{n}#{attempt}")).collect();
                let record = |text: &String| Record {
                    tenant: Tenant::single(),
                    id: TraceId([number as u8 + 1; 16]),
                    otlp: Bytes::from(text.clone()),
                };
                let records = texts.iter().map(record).collect();
                *self.sent.lock().unwrap() += spans;
                let patience = self.random.millis(300, 6000);
                if let Ok(Ok(())) = timeout(patience, to.push(records)).await {
                    self.acknowledged.lock().unwrap().extend(texts);
                    break;
                }
                sleep(self.random.millis(10, 300)).await;
            }
        }
    }

    /// What happens to ingesters and store.
    async fn chaos(self: Arc<Self>) {
        let faults = Faults { longest: Duration::from_millis(1500), ..Faults::ALL };
        while self.began.elapsed() < CHAOS {
            sleep(self.random.millis(100, 2500)).await;
            let live: Vec<_> = self.processes().iter().filter(|p| !p.link.is_dead()).cloned().collect();
            let one = live.get(self.random.below(live.len() as u64) as usize).cloned();
            match (self.random.below(8), one) {
                (0, Some(one)) => {
                    one.link.kill();
                    let name = one.number();
                    if self.random.one_in(2) {
                        sleep(self.random.millis(0, 4000)).await;
                        self.start(name);
                    }
                }
                (1 | 2, Some(one)) => {
                    let time = self.random.millis(200, 15_000);
                    one.link.pause(time);
                    // Its place is taken while it sleeps.
                    if self.random.one_in(4) {
                        self.start(one.number());
                    }
                }
                (3, Some(one)) => one.link.cut_off(self.random.millis(200, 12_000)),
                (4, Some(one)) => one.suspect(self.random.millis(1000, 8000)),
                (5, _) => self.faults.set(faults),
                (6, _) => self.faults.set(Faults::NONE),
                _ => {
                    let name = self.random.below(INGESTERS);
                    let there = live.iter().any(|p| p.number() == name);
                    if !there {
                        self.start(name);
                    }
                }
            }
        }
    }

    /// Everything works from now on; somebody is there, and all that is held is published.
    async fn settle(self: &Arc<Self>) {
        self.faults.set(Faults::NONE);
        for process in self.processes().iter() {
            process.link.heal();
        }
        if self.processes().iter().all(|p| p.link.is_dead()) {
            self.start(0);
        }
        for _ in 0..600 {
            sleep(Duration::from_millis(500)).await;
            let live: Vec<_> = self.processes().iter().filter(|p| !p.link.is_dead()).cloned().collect();
            let quiet = join_all(live.iter().map(Process::is_quiet)).await;
            if quiet.iter().all(|quiet| *quiet) && self.all_ended(&live).await {
                return;
            }
        }
        panic!("it does not settle");
    }

    /// Whether every epoch that has not ended is the open one of a live process.
    async fn all_ended(&self, live: &[Arc<Process>]) -> bool {
        let objects = Objects::over(self.memory.clone(), "");
        let found = Logs::new(objects, "judge", Uuid::nil()).find().await.unwrap();
        found.iter().all(|found| {
            let opened = |p: &Arc<Process>| p.open_epoch().as_ref() == Some(&found.epoch);
            found.term == 0 && live.iter().any(opened)
        })
    }

    /// How often each span stands in a block that is visible.
    async fn stored(&self) -> BTreeMap<String, usize> {
        let objects = Objects::over(self.memory.clone(), "");
        let mut stored = BTreeMap::new();
        for object in objects.list("blocks").await.unwrap() {
            if let Some(block) = object.key.strip_suffix("/meta.json") {
                let data = objects.get(&format!("{block}/data")).await.unwrap();
                for span in String::from_utf8(data.to_vec()).unwrap().lines() {
                    *stored.entry(span.to_owned()).or_default() += 1;
                }
            }
        }
        stored
    }
}

/// What a run came to: spans acknowledged, spans stored, virtual milliseconds.
async fn run(seed: u64) -> (usize, usize, u64) {
    let world = World::new(seed);
    for name in 0..INGESTERS {
        world.start(name);
    }
    let clients = (0..CLIENTS).map(|n| tokio::spawn(world.clone().client(n)));
    let clients: Vec<_> = clients.collect();
    world.clone().chaos().await;
    for process in world.processes().iter() {
        process.link.heal();
    }
    world.faults.set(Faults::NONE);
    if world.processes().iter().all(|p| p.link.is_dead()) {
        world.start(0);
    }
    for client in clients {
        client.await.unwrap();
    }
    world.settle().await;
    let stored = world.stored().await;
    let acknowledged = world.acknowledged.lock().unwrap().clone();
    let lost: Vec<_> = acknowledged.iter().filter(|span| !stored.contains_key(*span)).collect();
    let doubled: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    assert!(lost.is_empty(), "seed {seed}: acknowledged and lost: {lost:?}");
    assert!(doubled.is_empty(), "seed {seed}: in two blocks: {doubled:?}");
    (acknowledged.len(), stored.len(), world.milliseconds())
}

fn simulate(seed: u64) -> (usize, usize, u64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run(seed))
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_what_was_acknowledged_is_stored_exactly_once() {
    let (first, seeds) = (setting("SIMULATION_FIRST", 0), setting("SIMULATION_SEEDS", 100));
    let (mut acknowledged, mut stored) = (0, 0);
    for seed in first..first + seeds {
        let outcome = simulate(seed);
        acknowledged += outcome.0;
        stored += outcome.1;
    }
    println!("{seeds} seeds: {acknowledged} spans acknowledged, {stored} stored, none lost, none twice");
    assert!(acknowledged as u64 >= seeds * CLIENTS * SPANS_OF_A_CLIENT);
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in [3, 4] {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
}
