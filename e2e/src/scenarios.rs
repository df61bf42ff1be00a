//! Scenarios on the cluster: what a user does to a `TempoStack` and what can happen to it, one after the other on the same stack.
//! Each has a time limit; a scenario that fails does not stop the next.

mod gather;
mod gitops;
mod healing;
mod installed;
mod kinds;
mod lifecycle;
mod migration;
mod quiet;
mod rollout;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cluster;
use crate::home::Home;
use crate::otlp::Trace;
use crate::report::Report;
use crate::stack::{NAMESPACE, Stack};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only the scenarios whose names contain one of these words
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Seconds in which an idle operator may not write
    #[arg(long, default_value_t = 30)]
    pub(crate) idle: u64,
}

/// What the scenarios share.
#[derive(Debug)]
struct World<'a> {
    stack: Stack<'a>,
    /// Traces that were acknowledged and must be found from then on.
    traces: Vec<Trace>,
    idle: Duration,
    deadline: Instant,
}

impl World<'_> {
    /// What is left of the scenario's time.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Ask until it succeeds or the scenario's time is over.
    fn until<T>(&self, what: &str, probe: impl FnMut() -> Result<T>) -> Result<T> {
        crate::stack::wait(self.left(), what, probe)
    }

    /// Scale MinIO to nothing, and wait until it is gone.
    fn take_storage_away(&self) -> Result<()> {
        self.stack.kubectl(&["scale", "deployment/minio", "--replicas=0"])?;
        self.until("MinIO to be gone", || {
            let pods =
                self.stack.cluster.list(&["--namespace", NAMESPACE, "pods", "--selector", "app=minio"])?;
            ensure!(pods.is_empty(), "it is still there");
            Ok(())
        })
    }

    /// Until the operator has seen the present generation and all of it is ready.
    fn until_ready(&self) -> Result<()> {
        self.until("Ready", || self.stack.condition("Ready")).map(drop)
    }

    /// Everything acknowledged so far is found.
    fn find_all(&self) -> Result<()> {
        self.stack.find(&self.traces, self.left())
    }
}

struct Scenario {
    name: &'static str,
    seconds: u64,
    run: fn(&mut World<'_>) -> Result<String>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "create: a TempoStack becomes Ready with all its pods",
        seconds: 180,
        run: lifecycle::create,
    },
    Scenario {
        name: "traces are found at once, after a flush, and after every pod was deleted",
        seconds: 240,
        run: lifecycle::traces,
    },
    Scenario {
        name: "scale: queriers and ingesters go up and down, nothing is lost",
        seconds: 300,
        run: lifecycle::scale,
    },
    Scenario { name: "a changed retention rolls the pods", seconds: 180, run: lifecycle::retention },
    Scenario {
        name: "a storage Secret that is gone or incomplete is named, and Ready returns by itself",
        seconds: 180,
        run: lifecycle::secret,
    },
    Scenario { name: "a deleted child is made again", seconds: 120, run: healing::deleted },
    Scenario { name: "an edited child is put right", seconds: 120, run: healing::edited },
    Scenario { name: "a foreign label and a foreign field stay", seconds: 60, run: healing::foreign },
    Scenario {
        name: "object storage away: traces are still taken and found, and uploaded later",
        seconds: 240,
        run: lifecycle::storage_away,
    },
    Scenario {
        name: "a larger storageSize makes the volume larger, and no pod restarts for it",
        seconds: 120,
        run: kinds::volume,
    },
    Scenario {
        name: "a lost certificate is made anew, and no pod restarts for it",
        seconds: 120,
        run: kinds::certificate,
    },
    Scenario {
        name: "a TempoMonolithic becomes Ready, answers, and goes",
        seconds: 180,
        run: kinds::monolithic,
    },
    Scenario {
        name: "roll-out: images change in order, halt where a component does not get ready, and go back",
        seconds: 150,
        run: rollout::images,
    },
    Scenario {
        name: "roll-out: ingesters leave one at a time, with everything uploaded",
        seconds: 90,
        run: rollout::leaving,
    },
    Scenario {
        name: "roll-out: an ingester that is killed while it uploads is brought back to do so",
        seconds: 120,
        run: rollout::killed,
    },
    Scenario {
        name: "roll-out: another storage class gives each ingester a new volume, drained, one by one",
        seconds: 150,
        run: rollout::class,
    },
    Scenario { name: "roll-out: pods are told the zone of their node", seconds: 90, run: rollout::zones },
    Scenario { name: "roll-out: an autoscaler wins, ours or theirs", seconds: 120, run: rollout::autoscaler },
    Scenario {
        name: "manifests: what was applied does not differ from what is there, whoever looks",
        seconds: 180,
        run: gitops::no_difference,
    },
    Scenario {
        name: "must-gather: everything is there, and nothing that a Secret holds",
        seconds: 120,
        run: gather::gather,
    },
    Scenario {
        name: "namespaced: with Roles in one namespace the operator does the same there, and nothing elsewhere",
        seconds: 180,
        run: installed::namespaced,
    },
    Scenario {
        name: "rendered: the single manifest and the kustomize base are accepted, with the same objects",
        seconds: 60,
        run: installed::rendered,
    },
    Scenario {
        name: "two operators: one leads, and the other takes over",
        seconds: 120,
        run: installed::two,
    },
    Scenario { name: "idle: the operator writes nothing beside its lease", seconds: 900, run: quiet::idle },
    Scenario { name: "an operator restart changes nothing", seconds: 120, run: quiet::restart },
    Scenario {
        name: "an unmanaged TempoStack is left alone until it is managed again",
        seconds: 120,
        run: quiet::unmanaged,
    },
    Scenario { name: "delete: nothing is left but the volumes", seconds: 180, run: lifecycle::delete },
    Scenario {
        name: "migration: a stack of Grafana's operator is taken over by the guide's commands, and given back",
        seconds: 420,
        run: migration::migrate,
    },
];

/// Bring the cluster up, run the chosen scenarios, and take our own cluster down when all went well.
pub(crate) fn run(home: &Home, options: &Options, report: &mut Report) -> Result<()> {
    let cluster = cluster::ready(home)?;
    let ran_before = cluster.is_own() && cluster.kubectl(&["get", "namespace", NAMESPACE]).is_ok();
    let stack = Stack::prepare(&cluster)?;
    let mut world = World {
        stack,
        traces: Vec::new(),
        idle: Duration::from_secs(options.idle),
        deadline: Instant::now(),
    };
    if ran_before {
        // an old run's stack would make "create" say nothing
        world.stack.kubectl(&["delete", "tempostack", "--all", "--ignore-not-found", "--timeout=60s"])?;
    }
    let mut good = true;
    for scenario in SCENARIOS {
        let chosen =
            options.only.is_empty() || options.only.iter().any(|word| scenario.name.contains(word.as_str()));
        if chosen {
            world.deadline = Instant::now() + Duration::from_secs(scenario.seconds);
            good &= report.check(scenario.name, || (scenario.run)(&mut world));
        }
    }
    if good && options.only.is_empty() && cluster.is_own() {
        cluster.stop()?;
    } else if !good {
        println!("the cluster stays up: cargo e2e kubectl -n {NAMESPACE} get pods; cargo e2e down");
    }
    Ok(())
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

fn component(object: &Value) -> &str {
    object["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or("")
}

/// Names and uids of the sample's pods, sorted.
fn identities(world: &World<'_>) -> Result<Vec<(String, String)>> {
    let pods = world.stack.pods()?;
    let mut all: Vec<_> =
        pods.iter().map(|p| (name(p).to_owned(), text(p, "/metadata/uid").to_owned())).collect();
    all.sort();
    ensure!(!all.is_empty(), "no pods");
    Ok(all)
}

/// The only object of a kind with a name.
fn object(world: &World<'_>, kind: &str, name: &str) -> Result<Value> {
    let found = world.stack.cluster.list(&["--namespace", NAMESPACE, kind, name])?;
    found.into_iter().next().with_context(|| format!("no {kind} {name}"))
}

/// How many pods of a component are ready; an error when there are others too.
fn all_ready(world: &World<'_>, wanted: usize, of: &str) -> Result<()> {
    let pods = world.stack.pods()?;
    let mine: Vec<_> = pods.iter().filter(|p| component(p) == of).collect();
    let ready = mine.iter().filter(|p| crate::stack::is_ready(p)).count();
    if ready != wanted || mine.len() != wanted {
        bail!("{ready} of {} pods of {of} are ready, not {wanted}", mine.len());
    }
    Ok(())
}
