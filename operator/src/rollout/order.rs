//! Whose turn it is when images change. Pure.
//!
//! Readers go before writers, so that whatever a new writer makes can be read: compactor, querier, query-frontend, ingester.
//! Who sends goes after who receives: the distributor after ingester and metrics-generator, the gateway after all that it leads to.
//!
//! A version that is taken back before it was everywhere goes back in the reverse order, writers first. A component that is
//! under way goes straight to what is wanted now: waiting for what is broken would be waiting forever.
//!
//! # Guarantees
//! One component is under way at a time, whenever and however often the wanted version changes. It is marked, so that a
//! restarted operator knows as much as one that never stopped.

use crate::role::Role;

/// Components in the order in which their images change.
pub(super) const ORDER: [Role; 7] = [
    Role::Compactor,
    Role::Querier,
    Role::QueryFrontend,
    Role::Ingester,
    Role::MetricsGenerator,
    Role::Distributor,
    Role::Gateway,
];

/// What a component's turn depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// It runs other images than are wanted.
    pub(super) is_changed: bool,
    /// Its images were changed, and that was not over when it was looked at last.
    pub(super) is_marked: bool,
    /// All its pods are of the present generation and ready.
    pub(super) is_settled: bool,
    /// It cannot begin now for another reason.
    pub(super) is_busy: bool,
}

/// What becomes of a component in this reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is written as it is wanted, and bears no mark.
    Free,
    /// It is written as it is wanted, and marked as under way.
    UnderWay,
    /// It stays as it was applied last.
    Wait,
}

/// The turns of the components of a stack, given in the order in which they change.
pub(super) fn turns(members: &[Member]) -> Vec<Turn> {
    let goes_on = |member: &Member| member.is_marked && (member.is_changed || !member.is_settled);
    let begins = if members.iter().any(goes_on) { None } else { next(members) };
    let turn = |(at, member): (usize, &Member)| {
        if goes_on(member) || begins == Some(at) {
            Turn::UnderWay
        } else if member.is_changed {
            Turn::Wait
        } else {
            Turn::Free
        }
    };
    members.iter().enumerate().map(turn).collect()
}

/// Which component begins, while none is under way.
fn next(members: &[Member]) -> Option<usize> {
    let is_changed = |member: &Member| member.is_changed;
    // Whoever comes last is as it is wanted, and others are not: it never came to the last one.
    let goes_back = members.last().is_some_and(|last| !last.is_changed);
    let at = if goes_back {
        members.iter().rposition(is_changed)?
    } else {
        let first = members.iter().position(is_changed)?;
        members.iter().take(first).all(|before| before.is_settled).then_some(first)?
    };
    members.get(at).filter(|member| !member.is_busy).map(|_| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMBER: Member = Member { is_changed: false, is_marked: false, is_settled: true, is_busy: false };

    /// A stack whose components run versions, in a cluster where some versions never get ready.
    #[derive(Clone, Debug)]
    struct Cluster {
        version: [u8; 7],
        marked: [bool; 7],
        settled: [bool; 7],
        /// Components and versions that do not work.
        broken: Vec<(usize, u8)>,
        /// In which order versions were written to components.
        written: Vec<(usize, u8)>,
    }

    impl Cluster {
        fn new(broken: Vec<(usize, u8)>) -> Self {
            Self { version: [0; 7], marked: [false; 7], settled: [true; 7], broken, written: Vec::new() }
        }

        fn members(&self, wanted: u8) -> Vec<Member> {
            let member = |at: usize| Member {
                is_changed: self.version[at] != wanted,
                is_marked: self.marked[at],
                is_settled: self.settled[at],
                is_busy: false,
            };
            (0..7).map(member).collect()
        }

        /// One reconcile; answers whether it wrote anything.
        fn reconcile(&mut self, wanted: u8) -> bool {
            let mut wrote = false;
            for (at, turn) in turns(&self.members(wanted)).into_iter().enumerate() {
                let mark = turn == Turn::UnderWay;
                let rolls = turn != Turn::Wait && self.version[at] != wanted;
                assert!(!rolls || mark, "a version is written without a mark");
                if rolls {
                    self.version[at] = wanted;
                    self.settled[at] = false;
                    self.written.push((at, wanted));
                }
                wrote |= rolls || (turn != Turn::Wait && self.marked[at] != mark);
                if turn != Turn::Wait {
                    self.marked[at] = mark;
                }
            }
            wrote
        }

        /// Pods get ready, where they can.
        fn pass(&mut self) {
            for at in 0..7 {
                self.settled[at] = !self.broken.contains(&(at, self.version[at]));
            }
        }

        fn under_way(&self) -> usize {
            self.marked.iter().filter(|marked| **marked).count()
        }

        /// Goes on until nothing is written; answers how many reconciles that took.
        fn run(&mut self, wanted: u8) -> usize {
            let mut count = 0;
            while self.reconcile(wanted) {
                self.pass();
                count += 1;
                assert!(count < 50, "no end");
            }
            count
        }
    }

    #[test]
    fn images_change_in_order_each_after_the_one_before_is_ready() {
        let mut cluster = Cluster::new(Vec::new());
        assert!(cluster.reconcile(1) && !cluster.reconcile(1), "the second waits for the first to be ready");
        cluster.pass();
        cluster.run(1);
        assert_eq!(cluster.written, (0..7).map(|at| (at, 1)).collect::<Vec<_>>());
        assert_eq!((cluster.version, cluster.under_way()), ([1; 7], 0));
    }

    #[test]
    fn a_step_that_fails_halts_there_and_goes_back_in_reverse_when_the_version_does() {
        for broken in 0..7 {
            let mut cluster = Cluster::new(vec![(broken, 1)]);
            cluster.run(1);
            let there: Vec<_> = (0..7).map(|at| u8::from(at <= broken)).collect();
            assert_eq!(cluster.version.to_vec(), there, "halted at {broken}");
            cluster.written.clear();
            cluster.run(0);
            assert_eq!(cluster.version, [0; 7]);
            assert_eq!(cluster.under_way(), 0);
            let first = cluster.written.first().copied();
            assert_eq!(first, Some((broken, 0)), "what is broken is not waited for");
            if broken < 6 {
                let back: Vec<_> = (0..=broken).rev().map(|at| (at, 0)).collect();
                assert_eq!(cluster.written, back);
            }
        }
    }

    #[test]
    fn a_version_that_mends_what_is_broken_goes_there_first_and_then_in_order() {
        let mut cluster = Cluster::new(vec![(3, 1)]);
        cluster.run(1);
        cluster.written.clear();
        cluster.run(2);
        let order = [3, 0, 1, 2, 4, 5, 6].map(|at| (at, 2));
        assert_eq!(cluster.written, order);
    }

    #[test]
    fn a_component_that_is_not_well_halts_those_behind_it_and_not_those_before() {
        let mut members = vec![Member { is_changed: true, ..MEMBER }; 3];
        members[2].is_settled = false;
        assert_eq!(turns(&members), [Turn::UnderWay, Turn::Wait, Turn::Wait]);
        members[0] = Member { is_settled: false, ..MEMBER };
        assert_eq!(turns(&members), [Turn::Free, Turn::Wait, Turn::Wait]);
    }

    #[test]
    fn one_that_is_busy_begins_later() {
        let busy = Member { is_changed: true, is_busy: true, ..MEMBER };
        assert_eq!(
            turns(&[MEMBER, busy, Member { is_changed: true, ..MEMBER }])[1..],
            [Turn::Wait, Turn::Wait]
        );
    }

    #[test]
    fn nothing_is_marked_or_waits_where_nothing_changes() {
        let unwell = Member { is_settled: false, ..MEMBER };
        assert_eq!(turns(&[MEMBER, unwell, MEMBER]), [Turn::Free; 3]);
        assert_eq!(turns(&[]), []);
    }

    proptest! {
        #[test]
        fn whatever_is_wanted_when_one_component_is_under_way_at_a_time_and_a_version_that_works_gets_everywhere(
            events in prop::collection::vec((0_u8..4, any::<bool>()), 0..40),
            broken in prop::collection::vec((0_usize..7, 1_u8..3), 0..4),
            last in prop::sample::select(vec![0_u8, 3]),
        ) {
            let mut cluster = Cluster::new(broken);
            for (wanted, passes) in events {
                cluster.reconcile(wanted);
                prop_assert!(cluster.under_way() <= 1);
                let unsettled = cluster.settled.iter().filter(|settled| !**settled).count();
                prop_assert!(unsettled <= 1, "two are rolling");
                if passes {
                    cluster.pass();
                }
            }
            cluster.pass();
            cluster.run(last);
            prop_assert_eq!(cluster.version, [last; 7]);
            prop_assert_eq!(cluster.under_way(), 0);
        }

        #[test]
        fn from_any_state_at_all_a_version_that_works_gets_everywhere(
            version in prop::array::uniform7(0_u8..3),
            marked in prop::array::uniform7(any::<bool>()),
            broken in prop::collection::vec((0_usize..7, 1_u8..3), 0..4),
        ) {
            let mut cluster = Cluster { version, marked, ..Cluster::new(broken) };
            cluster.pass();
            cluster.run(0);
            prop_assert_eq!((cluster.version, cluster.under_way()), ([0; 7], 0));
        }
    }
}
