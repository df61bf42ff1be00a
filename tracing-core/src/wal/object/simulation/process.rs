//! An ingester of the simulation: what `workloads` does with the log, with lists of texts for heads and blocks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::RwLock,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    super::{Claimed, Epoch, Held, HomeError, Logs, Verdict},
    Link, World,
};
use crate::{
    store::Objects,
    wal::{Log, LogOptions, Record},
};

pub(super) struct Process {
    world: Arc<World>,
    pub(super) name: String,
    pub(super) instance: Uuid,
    pub(super) link: Link,
    objects: Objects,
    logs: Logs,
    /// Held for reading by pushes, for writing by a cut.
    gate: RwLock<()>,
    state: Mutex<State>,
    suspected_until: Mutex<Instant>,
}

#[derive(Default)]
struct State {
    open: Option<Arc<Open>>,
    head: Vec<String>,
    cuts: VecDeque<Arc<Cut>>,
    retired: Vec<Arc<Held>>,
}

struct Open {
    log: Log,
    held: Arc<Held>,
}

struct Cut {
    held: Arc<Held>,
    number: u64,
    id: String,
    spans: Vec<String>,
}

impl Process {
    pub(super) fn start(world: Arc<World>, name: String, instance: Uuid, link: Link) -> Arc<Self> {
        let objects = Objects::over(Arc::new(link.clone()), "");
        let began = world.began;
        let clock = Arc::new(move || began.elapsed().as_millis() as u64);
        let logs = Logs::with_clock(objects.clone(), &name, instance, clock);
        let suspected_until = Mutex::new(Instant::now());
        let process = Arc::new(Self {
            world,
            name,
            instance,
            link,
            objects,
            logs,
            gate: RwLock::default(),
            state: Mutex::default(),
            suspected_until,
        });
        tokio::spawn(process.clone().keep_open());
        tokio::spawn(process.clone().cut_now_and_then());
        tokio::spawn(process.clone().publish());
        tokio::spawn(process.clone().watch());
        process
    }

    pub(super) fn number(&self) -> u64 {
        self.name.trim_start_matches("i-").parse().unwrap()
    }

    /// The others take it for gone, wrongly.
    pub(super) fn suspect(&self, time: Duration) {
        *self.suspected_until.lock().unwrap() = Instant::now() + time;
    }

    pub(super) fn is_suspected(&self) -> bool {
        *self.suspected_until.lock().unwrap() > Instant::now()
    }

    pub(super) fn open_epoch(&self) -> Option<Epoch> {
        self.state.lock().unwrap().open.as_ref().map(|open| open.held.epoch().clone())
    }

    pub(super) async fn push(&self, records: Vec<Record>) -> Result<(), String> {
        self.link.awake().await;
        let no_cut_meanwhile = self.gate.read().await;
        let open = self.state.lock().unwrap().open.clone().ok_or("no log")?;
        open.log.append(&records).await.map_err(|error| error.to_string())?;
        let spans = records.iter().map(|r| String::from_utf8(r.otlp.to_vec()).unwrap());
        self.state.lock().unwrap().head.extend(spans);
        drop(no_cut_meanwhile);
        self.link.awake().await;
        Ok(())
    }

    /// Nothing is held but an empty head.
    pub(super) async fn is_quiet(self: &Arc<Self>) -> bool {
        self.cut().await;
        let state = self.state.lock().unwrap();
        state.open.as_ref().is_some_and(|open| !open.held.is_lost())
            && state.head.is_empty()
            && state.cuts.is_empty()
            && state.retired.is_empty()
    }

    async fn keep_open(self: Arc<Self>) {
        loop {
            self.link.awake().await;
            let open = self.state.lock().unwrap().open.clone();
            let Some(open) = open else {
                let Ok(home) = self.logs.open().await else {
                    sleep(Duration::from_millis(300)).await;
                    continue;
                };
                let held = home.held().clone();
                let (log, _) = Log::open(Arc::new(home), LogOptions::default()).await.unwrap();
                self.state.lock().unwrap().open = Some(Arc::new(Open { log, held }));
                continue;
            };
            drop(open.held.lost().await);
            // Lost: what it held is another's.
            let _no_push = self.gate.write().await;
            let mut state = self.state.lock().unwrap();
            state.head.clear();
            state.open = None;
        }
    }

    async fn cut_now_and_then(self: Arc<Self>) {
        loop {
            sleep(self.world.random.millis(200, 3000)).await;
            self.link.awake().await;
            self.cut().await;
        }
    }

    async fn cut(&self) {
        let _no_push = self.gate.write().await;
        let Some(open) = self.state.lock().unwrap().open.clone() else { return };
        if self.state.lock().unwrap().head.is_empty() || open.held.is_lost() {
            return;
        }
        let Ok(generation) = open.log.rotate().await else { return };
        let mut state = self.state.lock().unwrap();
        let spans = std::mem::take(&mut state.head);
        state.cuts.push_back(Arc::new(cut_of(&open.held, generation.number, spans)));
    }

    async fn publish(self: Arc<Self>) {
        loop {
            sleep(self.world.random.millis(20, 400)).await;
            self.link.awake().await;
            let cut = {
                let mut state = self.state.lock().unwrap();
                state.cuts.retain(|cut| !cut.held.is_lost());
                state.retired.retain(|held| !held.is_lost());
                state.cuts.front().cloned()
            };
            if let Some(cut) = cut {
                if self.publish_one(&cut).await.is_ok() {
                    self.state.lock().unwrap().cuts.retain(|other| !Arc::ptr_eq(other, &cut));
                }
                continue;
            }
            let retired = self.state.lock().unwrap().retired.clone();
            for held in retired {
                if held.end().await.is_ok() {
                    self.state.lock().unwrap().retired.retain(|other| !Arc::ptr_eq(other, &held));
                }
            }
        }
    }

    async fn publish_one(&self, cut: &Cut) -> Result<(), String> {
        let error = |error: Arc<HomeError>| error.to_string();
        let data = format!("blocks/{}/data", cut.id);
        self.objects.put(&data, cut.spans.join("\n").into()).await.map_err(|e| e.to_string())?;
        let visible = match cut.held.decide(cut.number, &cut.id).await.map_err(error)? {
            Verdict::Ours => cut.id.clone(),
            Verdict::Theirs(id) => id,
        };
        self.make_visible(&visible).await?;
        cut.held.remove(cut.number).await.map_err(error)
    }

    async fn make_visible(&self, id: &str) -> Result<(), String> {
        let key = format!("blocks/{id}/meta.json");
        self.objects.put_new(&key, id.to_owned().into()).await.map(drop).map_err(|e| e.to_string())
    }

    async fn watch(self: Arc<Self>) {
        loop {
            sleep(self.world.random.millis(300, 900)).await;
            self.link.awake().await;
            let Ok(found) = self.logs.find().await else { continue };
            for found in found {
                let live = self.world.members(Some(&self)).iter().any(|p| p.instance == found.instance);
                let ours = found.instance == self.instance && !self.holds(&found.epoch);
                // An epoch of ours may only just be opening.
                let young = self.world.milliseconds() < found.epoch.number + 10_000;
                if (!live || (ours && !young)) && self.world.random.one_in(2) {
                    let claimed = self.logs.claim(&found).await;
                    if let Ok(Some(claimed)) = claimed {
                        let _ = self.adopt(claimed).await;
                    }
                }
            }
        }
    }

    fn holds(&self, epoch: &Epoch) -> bool {
        let state = self.state.lock().unwrap();
        let open = state.open.as_ref().map(|open| &open.held);
        open.into_iter().chain(&state.retired).any(|held| held.epoch() == epoch && !held.is_lost())
    }

    async fn adopt(&self, claimed: Claimed) -> Result<(), String> {
        if let Some(id) = claimed.decided() {
            self.make_visible(id).await?;
        }
        claimed.remove_decided().await.map_err(|e| e.to_string())?;
        let spans = Arc::new(Mutex::new(Vec::<(u64, String)>::new()));
        let into = spans.clone();
        let visit = move |number, record: Record| {
            into.lock().unwrap().push((number, String::from_utf8(record.otlp.to_vec()).unwrap()));
        };
        let (parts, replayed) = claimed.replay(Arc::new(visit)).await.map_err(|e| e.to_string())?;
        assert_eq!(replayed.damaged, 0);
        let spans = spans.lock().unwrap();
        let mut state = self.state.lock().unwrap();
        for part in parts {
            let number = part.generation.number;
            let of_part = spans.iter().filter(|(n, _)| *n == number).map(|(_, span)| span.clone());
            state.cuts.push_back(Arc::new(cut_of(claimed.held(), number, of_part.collect())));
        }
        state.retired.push(claimed.held().clone());
        Ok(())
    }
}

/// The block's id is derived from generation and term, as in the ingester.
fn cut_of(held: &Arc<Held>, number: u64, spans: Vec<String>) -> Cut {
    let id = format!("{}-{number}-{}", held.log().simple(), held.term());
    Cut { held: held.clone(), number, id, spans }
}
