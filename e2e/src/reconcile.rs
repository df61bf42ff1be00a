//! The operator over a real API server with seeded faults between the two: from any starting state and any sequence of faults it comes to
//! the same objects, says what is true, and falls silent.

mod api_server;
mod faults;
mod operator;
mod proxy;
mod refusals;
mod snapshot;
mod specs;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::api_server::ApiServer;
use self::operator::Operator;
use self::proxy::{Proxy, Seen};
use self::snapshot::Snapshot;
use self::specs::{Kind, NAME};
use crate::artifacts;
use crate::home::Home;
use crate::progress::{Step, end_of};
use crate::report::Report;
use crate::shop::Shop;

/// How long things go wrong, and within what time after that all must be well. The operator waits longer after each error in a
/// row, as long again as things went wrong at the most.
const STORM: Duration = Duration::from_secs(12);
const CONVERGED: Duration = Duration::from_mins(1);
/// So long nothing may be written, and how often a resource may be looked at in it: watches that begin anew wake it once.
const SILENCE: Duration = Duration::from_secs(6);
const LOOKS: u64 = 3;
/// More reconciles of a resource than these, by second of the storm, would be a hot loop: an event is answered within 100 ms.
const RECONCILES: u64 = 5;
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many seeds, each in a namespace of its own and all at one time
    #[arg(long, env = "RECONCILE_SEEDS", default_value_t = 24)]
    pub(crate) seeds: u64,
    /// The first of them
    #[arg(long, env = "RECONCILE_FIRST", default_value_t = 0)]
    pub(crate) first: u64,
}

impl Default for Options {
    fn default() -> Self {
        let number = |name: &str, default| {
            std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        Self { seeds: number("RECONCILE_SEEDS", 24), first: number("RECONCILE_FIRST", 0) }
    }
}

/// Asks again until it succeeds. Pauses are counted, not time: whoever stops this process for a while stops the operator with it.
fn wait<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(250);
    let mut left = limit.as_millis() / PAUSE.as_millis();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if left == 0 => return Err(error.context(format!("{what}: not within {limit:?}"))),
            Err(_) => left -= 1,
        }
        thread::sleep(PAUSE);
    }
}

/// One seed's namespace.
#[derive(Debug)]
struct Subject<'a> {
    api: &'a ApiServer,
    seed: u64,
    kind: Kind,
    namespace: String,
}

/// All of it.
pub(crate) fn run(home: &Home, options: &Options, report: &mut Report) -> Result<()> {
    let binary = artifacts::product(home)?.join("vivace-operator");
    let step = Step::start("starting an API server");
    let api = ApiServer::start(home)?;
    api.install_definitions(home)?;
    step.done("");
    let proxy = Proxy::start(&api.address)?;
    let folder = api.folder().to_owned();
    let mut operator = Operator::start(binary, folder.clone(), &proxy)?;
    let expected = one_by_one(&api, &proxy, report);
    let subject = |seed, kind, namespace| Subject { api: &api, seed, kind, namespace };
    let seeds: Vec<_> = (options.first..options.first + options.seeds)
        .map(|seed| subject(seed, Kind::of_seed(seed), format!("seed-{seed}")))
        .collect();
    let good = report.check("reconcile: from any state and any faults to the same objects", || {
        let began = Instant::now();
        storm(&seeds, &proxy, &mut operator)?;
        let stormed = began.elapsed();
        converge(&seeds, &expected, &mut operator)?;
        let faults: u64 = seeds.iter().map(|one| proxy.seen(&one.namespace).faults).sum();
        let most = seeds.iter().map(|one| proxy.seen(&one.namespace).reconciles).max().unwrap_or(0);
        let bound = RECONCILES * (began.elapsed().as_secs() + 1);
        ensure!(most <= bound, "a resource was reconciled {most} times in {:.0?}", began.elapsed());
        let after = began.elapsed().saturating_sub(stormed).as_secs_f64();
        Ok(format!(
            "{} seeds, {faults} faults, {} starts of the operator, at most {most} reconciles; all alike {after:.1} s after the last fault",
            seeds.len(), operator.starts
        ))
    });
    if good {
        report.check("reconcile: afterwards it is silent", || silent(&seeds, &proxy));
        report.check("reconcile: the status says what is so", || truthful(&seeds));
        report.check("reconcile: what is deleted under faults goes", || deleted(&seeds, &proxy));
    }
    report.check("reconcile: the operator did not panic", || {
        let log = operator.log()?;
        let panics: Vec<_> = log.lines().filter(|line| line.contains("panicked")).take(3).collect();
        ensure!(panics.is_empty(), "{}", panics.join("\n"));
        Ok(String::new())
    });
    if !good {
        let kept = home.logs().join("reconcile-operator.log");
        std::fs::create_dir_all(home.logs())?;
        std::fs::copy(folder.join("operator.log"), &kept)?;
        println!("the operator's log: {}\n{}", kept.display(), end_of(&kept, 5)?);
    }
    Ok(())
}

/// What is looked at without seeds. Returns what each kind comes to when nothing happens to it.
fn one_by_one(api: &ApiServer, proxy: &Proxy, report: &mut Report) -> Vec<(Kind, Snapshot)> {
    let subject = |seed, kind, namespace| Subject { api, seed, kind, namespace };
    report.check("reconcile: what contradicts itself is refused by the definitions", || refused(api));
    let calm =
        [Kind::Stack, Kind::Monolithic].map(|kind| subject(0, kind, format!("calm-{kind:?}").to_lowercase()));
    let mut expected = Vec::new();
    report.check("reconcile: without faults, few writes and then none", || {
        for subject in &calm {
            expected.push((subject.kind, undisturbed(subject, proxy)?));
        }
        let writes: Vec<_> = calm.iter().map(|one| proxy.seen(&one.namespace).writes).collect();
        let objects: Vec<_> = expected.iter().map(|(_, all)| all.len()).collect();
        Ok(format!("{writes:?} writes for {objects:?} objects, events and status counted"))
    });
    report.check("reconcile: defect_2: a binding to another role is made anew", || rebound(&calm[0]));
    let strict = subject(0, Kind::Stack, "strict".to_owned());
    report.check("reconcile: a quota is named, and the stack goes on without it", || {
        refusals::quota(&strict, proxy)
    });
    report.check("reconcile: a policy that refuses is named, and the stack goes on without it", || {
        refusals::policy(&strict)
    });
    report.check("reconcile: a namespace that goes is not held up", || refusals::going(&strict, proxy));
    expected
}

/// Each rule of what is ours beside Grafana's fields, by a resource that it refuses and one that it lets pass.
fn refused(api: &ApiServer) -> Result<String> {
    let all = specs::contradictions();
    for (kind, spec, expected) in &all {
        let path = format!("{}?dryRun=All", kind.path("default"));
        let answer = api.request("POST", &path, Some(&kind.resource(spec)))?;
        let said = answer.text_whole();
        match expected {
            None => ensure!(answer.status == 201, "{spec} is refused: {said}"),
            Some(word) => {
                ensure!(
                    answer.status == 422 && said.contains(word),
                    "{spec}: HTTP {}: {said}",
                    answer.status
                );
            }
        }
    }
    Ok(format!("{} resources", all.len()))
}

/// A resource to which nothing happens: its objects are what all others must come to.
fn undisturbed(subject: &Subject<'_>, proxy: &Proxy) -> Result<Snapshot> {
    proxy.storm(&subject.namespace, 0, false);
    subject.prepare()?;
    subject.apply(&subject.kind.last())?;
    let mut last = Seen::default();
    wait(LIMIT, "the first resource settles", || {
        let seen = proxy.seen(&subject.namespace);
        let quiet = seen.writes == last.writes && seen.reads == last.reads && seen.writes > 5;
        last = seen;
        thread::sleep(Duration::from_millis(700));
        ensure!(quiet, "still at work: {last:?}");
        Ok(())
    })?;
    subject.says("Pending")?;
    let objects = snapshot::take(subject.api, &subject.namespace, &subject.uid()?)?;
    ensure!(last.writes <= objects.len() as u64 + 5, "{} writes for {} objects", last.writes, objects.len());
    Ok(objects)
}

/// Somebody puts a binding to another role in the place of ours. It cannot be changed, only be made anew.
fn rebound(subject: &Subject<'_>) -> Result<String> {
    let all = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings", subject.namespace);
    let one = format!("{all}/tempo-{NAME}-metrics-reader");
    let mut theirs = subject.api.must("GET", &one, None)?;
    theirs["roleRef"]["name"] = "somebody-s".into();
    for given in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        theirs["metadata"][given] = Value::Null;
    }
    // The operator may be faster.
    wait(LIMIT, "their binding stands", || {
        subject.api.request("DELETE", &one, None)?;
        subject.api.must("POST", &all, Some(&theirs)).map(drop)
    })?;
    wait(LIMIT, "ours is back", || {
        let found = subject.api.must("GET", &one, None)?;
        let role = found["roleRef"]["name"].as_str().unwrap_or_default();
        ensure!(role == format!("tempo-{NAME}-metrics-reader"), "it is to {role}");
        Ok(())
    })?;
    wait(LIMIT, "the status is as before", || subject.says("Pending"))?;
    Ok(String::new())
}

/// Every seed lets its own things go wrong, and the operator is killed twice.
fn storm(seeds: &[Subject<'_>], proxy: &Proxy, operator: &mut Operator) -> Result<()> {
    let first = seeds.first().map_or(0, |one| one.seed);
    let end = Instant::now() + STORM;
    // Watches, and everything else that is in no namespace.
    proxy.storm("", first, true);
    let outcome = thread::scope(|scope| {
        let running: Vec<_> = seeds.iter().map(|one| scope.spawn(move || one.disturb(proxy, end))).collect();
        let mut dice = Shop::new(first ^ 0x6b69_6c6c);
        for _ in 0..2 {
            thread::sleep(STORM / 4 + Duration::from_millis(dice.below(1500)));
            operator.kill()?;
        }
        while Instant::now() < end {
            operator.tend()?;
            thread::sleep(Duration::from_millis(200));
        }
        for one in running {
            one.join().map_err(|_| anyhow::anyhow!("a seed's thread panicked"))??;
        }
        anyhow::Ok(())
    });
    for one in seeds {
        proxy.storm(&one.namespace, one.seed, false);
    }
    proxy.storm("", first, false);
    outcome
}

fn converge(seeds: &[Subject<'_>], expected: &[(Kind, Snapshot)], operator: &mut Operator) -> Result<()> {
    let mut wrong = Vec::new();
    for one in seeds {
        let (_, wanted) = expected.iter().find(|(kind, _)| *kind == one.kind).context("no example")?;
        // Who waits for the first waits for all: those behind are asked once more at the least.
        let limit = if wrong.is_empty() { CONVERGED } else { Duration::ZERO };
        let alike = wait(limit, "all alike", || {
            operator.tend()?;
            snapshot::compare(wanted, &snapshot::take(one.api, &one.namespace, &one.uid()?)?)
        });
        wrong.extend(alike.err().map(|error| format!("seed {}: {error:#}", one.seed)));
        let theirs = one.api.find(&format!("/api/v1/namespaces/{}/configmaps/lookalike", one.namespace))?;
        ensure!(theirs.is_some(), "seed {}: a user's own ConfigMap with our labels is gone", one.seed);
    }
    ensure!(wrong.is_empty(), "{} seeds differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Once everything is as it shall be, nothing is written and hardly anything read.
fn silent(seeds: &[Subject<'_>], proxy: &Proxy) -> Result<String> {
    let sum = || seeds.iter().map(|one| proxy.seen(&one.namespace).writes).sum::<u64>();
    // The last events of what went before, and retries that find nothing to do.
    let mut before = sum();
    wait(CONVERGED, "the last write", || {
        thread::sleep(Duration::from_secs(2));
        let now = sum();
        let quiet = now == before;
        before = now;
        ensure!(quiet, "still writing");
        Ok(())
    })?;
    let all = || seeds.iter().map(|one| proxy.seen(&one.namespace)).collect::<Vec<_>>();
    let before = all();
    thread::sleep(SILENCE);
    for ((one, before), after) in seeds.iter().zip(before).zip(all()) {
        ensure!(after.writes == before.writes, "seed {} writes on: {:?}", one.seed, after.last);
        let looks = after.reconciles - before.reconciles;
        ensure!(looks <= LOOKS, "seed {} was reconciled {looks} times", one.seed);
    }
    Ok(format!("0 writes in {} s", SILENCE.as_secs()))
}

/// Pods are played here: Pending until they are ready, Ready then, and not when one is ready no longer.
fn truthful(seeds: &[Subject<'_>]) -> Result<String> {
    let some = || seeds.iter().take(12);
    for one in some() {
        one.says("Pending")?;
        one.play_pods(1)?;
    }
    for one in some() {
        wait(LIMIT, &format!("seed {} is Ready", one.seed), || one.says("Ready"))?;
        one.play_pods(0)?;
    }
    for one in some() {
        wait(LIMIT, &format!("seed {} is no longer Ready", one.seed), || one.says("Pending"))?;
    }
    Ok(String::new())
}

/// A few are deleted while things go wrong; the operator has nothing left to do for them, and nothing comes back.
fn deleted(seeds: &[Subject<'_>], proxy: &Proxy) -> Result<String> {
    let few = || seeds.iter().take(6);
    let uids = few().map(Subject::uid).collect::<Result<Vec<_>>>()?;
    for one in few() {
        proxy.storm(&one.namespace, one.seed, true);
        one.api.must("DELETE", &format!("{}/{NAME}", one.kind.path(&one.namespace)), None)?;
    }
    thread::sleep(Duration::from_secs(3));
    for (one, uid) in few().zip(uids) {
        proxy.storm(&one.namespace, one.seed, false);
        wait(LIMIT, &format!("everything of seed {} to go", one.seed), || {
            let path = format!("{}/{NAME}", one.kind.path(&one.namespace));
            ensure!(one.api.find(&path)?.is_none(), "{path} is still there");
            let left = snapshot::owned(one.api, &one.namespace, &uid)?;
            ensure!(left.is_empty(), "{} objects are left, {}", left.len(), left[0].0);
            Ok(())
        })?;
    }
    Ok(format!("{} resources", few().count()))
}

impl Subject<'_> {
    fn in_namespace(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// The namespace with its Secrets, and a ConfigMap of somebody else's that looks like ours.
    fn prepare(&self) -> Result<()> {
        self.api.must("POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": self.namespace}})))?;
        for secret in specs::secrets() {
            self.api.must("POST", &self.in_namespace("secrets"), Some(&secret))?;
        }
        self.api.must("POST", &self.in_namespace("configmaps"), Some(&specs::lookalike()))?;
        Ok(())
    }

    /// The resource with this spec, and no other field in it.
    fn apply(&self, spec: &Value) -> Result<()> {
        let (path, mut resource) = (self.kind.path(&self.namespace), self.kind.resource(spec));
        let one = format!("{path}/{NAME}");
        wait(LIMIT, "the resource is taken", || {
            let Some(found) = self.api.find(&one)? else {
                return self.api.must("POST", &path, Some(&resource)).map(drop);
            };
            resource["metadata"] = found["metadata"].clone();
            self.api.must("PUT", &one, Some(&resource)).map(drop)
        })
    }

    /// A starting state, and then changes by users and strangers until the time is over; in the end the spec is the last one.
    fn disturb(&self, proxy: &Proxy, end: Instant) -> Result<()> {
        let mut dice = Shop::new(self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(1));
        self.prepare()?;
        if dice.below(2) == 0 {
            for (plural, object) in specs::squatters() {
                self.api.must("POST", &self.in_namespace(plural), Some(&object))?;
            }
        }
        // Half of them have an untroubled youth: the storm then finds objects that are as they shall be.
        let calm = Duration::from_millis(dice.below(2) * 2500);
        proxy.storm(&self.namespace, self.seed, calm.is_zero());
        self.apply(&self.kind.other(&mut dice))?;
        thread::sleep(calm);
        proxy.storm(&self.namespace, self.seed, true);
        while Instant::now() + Duration::from_millis(1500) < end {
            self.act(&mut dice)?;
            thread::sleep(Duration::from_millis(100 + dice.below(900)));
        }
        self.restore_secrets()?;
        self.apply(&self.kind.last())?;
        thread::sleep(end.saturating_duration_since(Instant::now()));
        Ok(())
    }

    fn act(&self, dice: &mut Shop) -> Result<()> {
        match dice.below(8) {
            0..=2 => self.apply(&self.kind.other(dice))?,
            3 => {
                let path = format!("{}/bucket", self.in_namespace("secrets"));
                self.api.request("DELETE", &path, None)?;
            }
            4 => self.restore_secrets()?,
            act => {
                let mut all = snapshot::owned(self.api, &self.namespace, &self.uid()?)?;
                if all.is_empty() {
                    return Ok(());
                }
                let index = dice.below(all.len() as u64) as usize;
                let (path, _) = all.swap_remove(index);
                // Whether it can be done is no matter: the object may be gone by now.
                if act == 5 {
                    self.api.request("DELETE", &path, None)?;
                } else {
                    self.api.request("PATCH", &path, Some(&faults::meddling(dice, &path)))?;
                }
            }
        }
        Ok(())
    }

    fn restore_secrets(&self) -> Result<()> {
        for secret in specs::secrets() {
            let answer = self.api.request("POST", &self.in_namespace("secrets"), Some(&secret))?;
            ensure!(answer.status < 300 || answer.status == 409, "a Secret: {}", answer.text());
        }
        Ok(())
    }

    fn resource(&self) -> Result<Value> {
        self.api.must("GET", &format!("{}/{NAME}", self.kind.path(&self.namespace)), None)
    }

    fn uid(&self) -> Result<String> {
        Ok(self.resource()?["metadata"]["uid"].as_str().context("a resource without a uid")?.to_owned())
    }

    /// The one condition of the four that is true, for the present generation.
    fn says(&self, expected: &str) -> Result<()> {
        let resource = self.resource()?;
        let (generation, status) = (&resource["metadata"]["generation"], &resource["status"]);
        ensure!(
            status["observedGeneration"] == *generation,
            "the status is of another generation than {generation}"
        );
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let truth: Vec<_> = all
            .iter()
            .filter(|one| one["status"] == "True")
            .filter_map(|one| one["type"].as_str())
            .filter(|name| ["Ready", "Pending", "Failed", "ConfigurationError"].contains(name))
            .collect();
        ensure!(truth == [expected], "seed {}: {truth:?} is true: {}", self.seed, status["conditions"]);
        Ok(())
    }

    /// Writes what the controllers of workloads would: all pods are ready, or the first workload's are not.
    fn play_pods(&self, ready: i64) -> Result<()> {
        for (path, object) in snapshot::owned(self.api, &self.namespace, &self.uid()?)? {
            if !path.contains("/deployments/") && !path.contains("/statefulsets/") {
                continue;
            }
            let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
            let status = json!({
                "observedGeneration": object["metadata"]["generation"], "replicas": wanted, "updatedReplicas": wanted,
                "readyReplicas": wanted * ready, "availableReplicas": wanted * ready,
            });
            self.api.must("PATCH", &format!("{path}/status"), Some(&json!({"status": status})))?;
        }
        Ok(())
    }
}
