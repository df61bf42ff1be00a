//! Commit, compaction, retention and polling over a store that fails under a seed. After each step every
//! visible block can be read; when all has settled every committed content is found exactly once, also by
//! who reads the index alone.
//!
//! `VIVACE_SEEDS=5000 cargo test -p vivace-tracing-core --lib store::seeds` runs more of them,
//! `VIVACE_SEED=17` one.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use object_store::{ObjectStore, memory::InMemory};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    fault::{FaultStore, Faults},
    *,
};
use crate::{
    block::Meta,
    model::{BlockId, Tenant},
};

/// Runs of the unit tests.
const SEEDS: u64 = 200;

/// Steps of a run.
const STEPS: u64 = 40;

/// What a process has yet to finish; it survives the process, as a stage or a record of a job does.
#[derive(Clone)]
struct Block {
    meta: Arc<Meta>,
    dir: PathBuf,
}

struct Job {
    output: Block,
    inputs: Vec<BlockId>,
    uploaded: bool,
}

struct Process {
    faults: FaultStore,
    store: Arc<Store>,
    elected: bool,
}

struct World {
    dir: PathBuf,
    inner: Arc<dyn ObjectStore>,
    dice: FaultStore,
    writer: Process,
    compactor: Process,
    reader: Process,
    pending: Vec<Block>,
    jobs: Vec<Job>,
    expiring: BTreeSet<BlockId>,
    /// What each block holds, by its id.
    contents: BTreeMap<BlockId, BTreeSet<u64>>,
    /// What must be found in the end.
    kept: BTreeSet<u64>,
    next: u64,
}

fn tenant() -> Tenant {
    Tenant::new("t").unwrap()
}

fn open(faults: &FaultStore, elected: bool) -> Arc<Store> {
    let access = Access { part_bytes: 64, ..Access::default() };
    let store = Store::over_with(Arc::new(faults.clone()), "", access, PollOptions::default());
    if elected {
        store.elect(|_| true);
    }
    store
}

impl Process {
    fn start(inner: &Arc<dyn ObjectStore>, seed: u64, elected: bool) -> Self {
        let faults = FaultStore::new(inner.clone(), seed);
        faults.set(Faults::ALL);
        Self { store: open(&faults, elected), faults, elected }
    }

    /// A process that died starts again with nothing in memory.
    fn restart(&mut self) {
        if self.faults.revive() {
            self.store = open(&self.faults, self.elected);
        }
    }
}

impl World {
    fn new(seed: u64, dir: &Path) -> Self {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let process = |n, elected| Process::start(&inner, seed * 4 + n, elected);
        Self {
            dir: dir.to_owned(),
            dice: FaultStore::new(inner.clone(), seed),
            writer: process(0, false),
            compactor: process(1, true),
            reader: process(2, false),
            inner,
            pending: Vec::new(),
            jobs: Vec::new(),
            expiring: BTreeSet::new(),
            contents: BTreeMap::new(),
            kept: BTreeSet::new(),
            next: 1,
        }
    }

    /// A finished block on the local disk.
    fn block(&mut self, contents: BTreeSet<u64>) -> Block {
        let id = BlockId(Uuid::from_u128(u128::from(self.next)));
        self.next += 1;
        let data = data(&contents);
        let json = format!(
            r#"{{"format":"vParquet4","blockID":"{id}","tenantID":"t","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","size":{},"bloomShards":1}}"#,
            data.len()
        );
        let dir = self.dir.join(id.to_string());
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join(DATA), data).unwrap();
        std::fs::write(dir.join("bloom-0"), "bloom").unwrap();
        self.contents.insert(id, contents);
        Block { meta: Arc::new(Meta::from_json(json.as_bytes()).unwrap()), dir }
    }

    async fn step(&mut self) {
        match self.dice.random(8) {
            0 | 1 => {
                let content = self.next;
                let block = self.block(BTreeSet::from([content]));
                self.kept.insert(content);
                self.pending.push(block);
            }
            2 | 3 => self.commit().await,
            4 => self.plan(),
            5 => self.compact().await,
            6 => self.expire().await,
            _ => {
                let _ = self.compactor.store.poll().await;
                let _ = self.reader.store.poll().await;
            }
        }
        for process in [&mut self.writer, &mut self.compactor, &mut self.reader] {
            process.restart();
            if self.dice.random(6) == 0 {
                process.faults.die_after(self.dice.random(12));
            }
        }
    }

    async fn commit(&mut self) {
        if let Some(Block { meta, dir }) = self.pending.first().cloned()
            && self.writer.store.commit(&meta, &dir).await.is_ok()
        {
            self.pending.remove(0);
        }
    }

    /// Live blocks, as the compactor knows them, that nothing is being done with.
    fn idle(&self) -> Vec<BlockId> {
        let busy: BTreeSet<_> = self.jobs.iter().flat_map(|job| job.inputs.clone()).collect();
        let pending: BTreeSet<_> = self.pending.iter().map(|block| block.meta.id).collect();
        let live = self.compactor.store.blocks(&tenant());
        let compacted: BTreeSet<_> = self.compactor.store.compacted(&tenant()).iter().map(|m| m.id).collect();
        let mut ids: Vec<_> = live.iter().map(|meta| meta.id).collect();
        ids.retain(|id| ![&busy, &pending, &compacted, &self.expiring].iter().any(|set| set.contains(id)));
        ids
    }

    fn plan(&mut self) {
        let inputs: Vec<_> = self.idle().into_iter().take(2).collect();
        if inputs.len() == 2 && self.jobs.is_empty() {
            let contents = inputs.iter().flat_map(|id| self.contents[id].clone()).collect();
            let output = self.block(contents);
            self.jobs.push(Job { output, inputs, uploaded: false });
        }
    }

    async fn compact(&mut self) {
        let Some(Job { output, inputs, uploaded }) = self.jobs.first_mut() else { return };
        let store = &self.compactor.store;
        // Once: the output may have been replaced and deleted when its inputs are still to be marked.
        *uploaded = *uploaded || store.upload(&output.meta, &output.dir).await.is_ok();
        if !*uploaded || store.publish(&output.meta).await.is_err() {
            return;
        }
        for id in inputs {
            if !marked(store, *id).await {
                return;
            }
        }
        self.jobs.remove(0);
    }

    async fn expire(&mut self) {
        if let Some(id) = self.idle().first().copied() {
            for content in &self.contents[&id] {
                self.kept.remove(content);
            }
            self.expiring.insert(id);
        }
        for id in self.expiring.clone() {
            if marked(&self.compactor.store, id).await {
                self.expiring.remove(&id);
            }
        }
        // Blocks wait before they are deleted, longer than any request can take.
        sleep(Duration::from_secs(1)).await;
        let pending: BTreeSet<_> = self.pending.iter().map(|block| block.meta.id).collect();
        for meta in self.compactor.store.compacted(&tenant()).iter() {
            if !pending.contains(&meta.id) && !self.jobs.iter().any(|job| job.inputs.contains(&meta.id)) {
                let _ = self.compactor.store.delete(&tenant(), meta.id).await;
            }
        }
    }

    /// Everything is finished, by processes that work.
    async fn settle(&mut self) {
        for process in [&mut self.writer, &mut self.compactor, &mut self.reader] {
            process.faults.set(Faults::NONE);
            process.restart();
            process.faults.revive();
        }
        sleep(Duration::from_secs(1)).await;
        while !self.pending.is_empty() {
            self.commit().await;
        }
        while !self.jobs.is_empty() {
            self.compact().await;
        }
        for id in std::mem::take(&mut self.expiring) {
            assert!(marked(&self.compactor.store, id).await);
        }
        assert_eq!(self.compactor.store.poll().await.unwrap().failed, 0);
        assert_eq!(self.reader.store.poll().await.unwrap().failed, 0);
        // As a query does: what the reader listed itself may be newer than the index.
        self.reader.store.complete_to(&tenant(), Instant::now()).await.unwrap();
    }

    /// Who finds `meta.json` alone finds a whole block.
    async fn check_visible(&self) {
        let objects = Objects::over(self.inner.clone(), "");
        let keys: BTreeSet<_> =
            objects.list("").await.unwrap().into_iter().map(|object| object.key).collect();
        for key in keys.iter().filter(|key| key.ends_with("/meta.json")) {
            let block = key.trim_end_matches("meta.json");
            if !keys.contains(&format!("{block}meta.compacted.json")) {
                let meta = Meta::from_json(&objects.get(key).await.unwrap()).unwrap();
                let stored = objects.get(&format!("{block}{DATA}")).await;
                assert_eq!(stored.expect("the data of a visible block"), data(&self.contents[&meta.id]));
                assert!(keys.contains(&format!("{block}bloom-0")), "{block}");
            }
        }
    }

    async fn check_found(&self, store: &Store, who: &str) {
        let mut found = BTreeSet::new();
        for meta in store.blocks(&tenant()).iter().filter(|meta| meta.compacted.is_none()) {
            for content in &self.contents[&meta.id] {
                assert!(found.insert(*content), "{who} finds {content} twice");
            }
            let stored = store.read(&tenant(), meta.id, DATA).await.unwrap();
            assert_eq!(stored, data(&self.contents[&meta.id]));
        }
        assert_eq!(found, self.kept, "{who}");
    }
}

/// Whether a block is marked; one that is gone was, and the answer was lost.
async fn marked(store: &Store, id: BlockId) -> bool {
    store.mark_compacted(&tenant(), id).await.err().is_none_or(|error| error.is_not_found())
}

fn data(contents: &BTreeSet<u64>) -> Vec<u8> {
    // More than a part of an upload, so that it is one of many requests.
    contents.iter().flat_map(|content| format!("{content:>50}").into_bytes()).chain([b'.'; 90]).collect()
}

fn run(seed: u64, dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let mut world = World::new(seed, dir);
        for _ in 0..STEPS {
            world.step().await;
            world.check_visible().await;
        }
        world.settle().await;
        world.check_visible().await;
        let fresh = open(&world.dice, false);
        let lists = Store::over_with(
            world.inner.clone(),
            "",
            Access::default(),
            PollOptions { index_builders: 0, ..PollOptions::default() },
        );
        fresh.poll().await.unwrap();
        lists.poll().await.unwrap();
        world.check_found(&world.reader.store, "the reader").await;
        world.check_found(&world.compactor.store, "the compactor").await;
        world.check_found(&fresh, "who reads the index").await;
        world.check_found(&lists, "who lists").await;
    });
}

#[test]
fn whatever_the_store_does_every_committed_block_is_found_exactly_once_and_can_be_read() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("VIVACE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VIVACE_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let dir = tempfile::tempdir().unwrap();
        let outcome = std::panic::catch_unwind(|| run(seed, dir.path()));
        assert!(outcome.is_ok(), "seed {seed}: run it alone with VIVACE_SEED={seed}");
    }
}
