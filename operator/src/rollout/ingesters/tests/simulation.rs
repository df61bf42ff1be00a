//! Ingesters in a cluster of plain values: whatever is wanted, and however pods end.

use proptest::prelude::*;

use super::*;

const CLASSES: [&str; 2] = ["fast", "slow"];

/// What is there of one ordinal.
#[derive(Clone, Debug)]
struct One {
    uid: usize,
    state: State,
    is_held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starts,
    Ready,
    Leaves,
    Ended(i32),
}

#[derive(Clone, Debug)]
struct Volume {
    class: &'static str,
    /// Spans are on it that are nowhere else.
    is_dirty: bool,
    mark: Option<String>,
}

/// A StatefulSet with its controller and kubelet.
#[derive(Clone, Debug, Default)]
struct Cluster {
    size: i32,
    class: &'static str,
    pods: BTreeMap<i32, One>,
    volumes: BTreeMap<i32, Volume>,
    uids: usize,
}

impl Cluster {
    fn reconcile(&mut self, wanted: i32, class: &'static str, drops_claims: bool) -> bool {
        let is_changed = self.class != class;
        let (live, wanted_set) = (self.set(self.size, self.class), self.set(wanted, class));
        let pods: Vec<Pod> = self.pods.iter().map(|(at, one)| one.pod(*at)).collect();
        let claims: Vec<_> = self
            .volumes
            .iter()
            .map(|(at, volume)| claim(*at, volume.class, volume.mark.as_deref()))
            .collect();
        let course = course(&Ground {
            wanted: &wanted_set,
            live: Some(&live),
            pods: super::super::super::of_set(&pods, "i"),
            claims: super::super::super::of_set(&claims, "data-i"),
            count: Some(wanted),
            drops_claims,
            is_changed,
        });
        let size = course.replicas.expect("it is ours to say");
        for act in &course.before {
            self.carry_out(act);
        }
        assert!(size >= self.size - 1, "more than one at a time");
        if size < self.size {
            let held = self.pods.get(&size).is_some_and(|one| one.is_held);
            assert!(held, "one leaves that nobody watches");
        }
        let did = is_changed || size != self.size || !course.before.is_empty() || !course.after.is_empty();
        (self.size, self.class) = (size, class);
        for act in &course.after {
            self.carry_out(act);
        }
        did
    }

    fn set(&self, size: i32, class: &str) -> Value {
        let mut set = set(size);
        set["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = json!(class);
        let count = self.pods.len();
        set["status"] = json!({"observedGeneration": 1, "replicas": count, "updatedReplicas": count});
        set
    }

    fn carry_out(&mut self, act: &Act) {
        let at = |name: &str| {
            name.rsplit('-').next().and_then(|text| text.parse::<i32>().ok()).expect("an ordinal")
        };
        match act {
            Act::Hold { pod, .. } => self.pods.get_mut(&at(pod)).expect("it is there").is_held = true,
            Act::Release { pod, .. } => {
                let one = self.pods.get_mut(&at(pod)).expect("it is there");
                one.is_held = false;
                if matches!(one.state, State::Ended(_)) {
                    self.pods.remove(&at(pod));
                }
            }
            Act::Remove { pod, .. } => {
                self.pods.get_mut(&at(pod)).expect("it is there").state = State::Leaves;
            }
            Act::Drop { claim, .. } => {
                let volume = self.volumes.remove(&at(claim)).expect("it is there");
                assert!(!volume.is_dirty, "spans are lost with {claim}");
            }
            Act::Mark { claim, why } => {
                self.volumes.get_mut(&at(claim)).expect("it is there").mark.clone_from(why);
            }
            Act::Adopt { .. } => unreachable!("all have their labels"),
        }
    }

    /// Controller and kubelet do one thing each. A pod that leaves is killed, or uploads everything.
    fn pass(&mut self, is_killed: bool) {
        for at in 0..self.size {
            self.uids += 1;
            let (uid, class) = (self.uids, self.class);
            self.pods.entry(at).or_insert(One { uid, state: State::Starts, is_held: false });
            let volume = Volume { class, is_dirty: false, mark: None };
            self.volumes.entry(at).or_insert(volume);
        }
        for (at, one) in &mut self.pods {
            let volume = self.volumes.get_mut(at).expect("a pod has a volume");
            one.state = match one.state {
                State::Ready | State::Starts if *at >= self.size => State::Leaves,
                State::Starts | State::Ready => {
                    volume.is_dirty = true;
                    State::Ready
                }
                State::Leaves if is_killed => State::Ended(137),
                State::Leaves => {
                    volume.is_dirty = false;
                    State::Ended(0)
                }
                State::Ended(code) => State::Ended(code),
            };
        }
        self.pods.retain(|_, one| one.is_held || !matches!(one.state, State::Ended(_)));
    }

    fn away(&self) -> usize {
        self.pods.values().filter(|one| matches!(one.state, State::Leaves | State::Ended(_))).count()
    }
}

impl One {
    fn pod(&self, at: i32) -> Pod {
        let mut changes = match self.state {
            State::Starts => json!({"status": {"conditions": [], "containerStatuses": []}}),
            State::Ready => json!({}),
            State::Leaves => leaving(&json!({"running": {}})),
            State::Ended(code) => leaving(&ended(code, "Error")),
        };
        changes["metadata"]["finalizers"] = if self.is_held { json!([HELD]) } else { json!([]) };
        changes["metadata"]["uid"] = json!(self.uid.to_string());
        pod(at, &changes)
    }
}

proptest! {
    #[test]
    fn whatever_is_wanted_one_leaves_at_a_time_and_no_span_is_lost_with_a_volume(
        events in prop::collection::vec((1_i32..5, 0_usize..2, any::<bool>(), prop::bool::weighted(0.3)), 1..40),
    ) {
        let mut cluster = Cluster { size: 3, class: "fast", ..Cluster::default() };
        cluster.pass(false);
        for (wanted, class, drops_claims, is_killed) in &events {
            cluster.reconcile(*wanted, CLASSES[*class], *drops_claims);
            prop_assert!(cluster.away() <= 1, "{cluster:?}");
            cluster.pass(*is_killed);
            prop_assert!(cluster.away() <= 1, "{cluster:?}");
        }
        let (wanted, class, drops_claims, _) = events[events.len() - 1];
        let mut quiet = 0;
        for _ in 0..200 {
            let did = cluster.reconcile(wanted, CLASSES[class], drops_claims);
            cluster.pass(false);
            quiet = if did { 0 } else { quiet + 1 };
        }
        prop_assert!(quiet > 100, "no end: {cluster:?}");
        prop_assert_eq!(cluster.size, wanted);
        let ready = cluster.pods.values().filter(|one| one.state == State::Ready && !one.is_held).count();
        prop_assert_eq!(ready, usize::try_from(wanted).unwrap_or(0));
        let serving = cluster.volumes.iter().filter(|(at, _)| **at < wanted);
        prop_assert!(serving.clone().all(|(_, volume)| volume.class == CLASSES[class] && volume.mark.is_none()));
        let left = cluster.volumes.iter().filter(|(at, _)| **at >= wanted);
        prop_assert!(left.clone().all(|(_, volume)| !volume.is_dirty), "spans are left: {cluster:?}");
    }
}
