//! Logs of ingesters that are gone and that nobody has claimed yet: a query that did not wait for their heirs
//! would miss what was acknowledged.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing_core::wal::Epoch;

use super::{Frontend, IngesterAddress, QueryError, Work, job::FailureKind};
use crate::{
    ingester::{CLAIMED, HELD, entries, parse_claim},
    membership::{Member, Role, View},
};

/// A log that nobody claims for so long is not waited for any more.
const GIVEN_UP: Duration = Duration::from_mins(1);
/// A query waits at most so long for an heir, whatever its own deadline.
const LONGEST: Duration = Duration::from_secs(20);
/// What a query has left after it waited.
const RESERVE: Duration = Duration::from_secs(1);
/// Between two looks at who is there, when nobody comes or goes.
const LOOK: Duration = Duration::from_millis(200);

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Takeovers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    view: Arc<View>,
    /// Logs without a holder, by epoch.
    open: HashMap<Epoch, Lost>,
}

#[derive(Debug)]
struct Lost {
    term: u64,
    /// Who held it.
    ingester: String,
    since: Instant,
}

impl Takeovers {
    /// Takes a look at who is there. Answers with the ingesters whose logs nobody has claimed yet.
    fn look(&self, view: &Arc<View>, now: Instant) -> Vec<String> {
        let mut known = self.lock();
        if known.view != *view {
            let before = std::mem::replace(&mut known.view, view.clone());
            let same = |a: &Member, b: &Member| a.id == b.id && a.grpc == b.grpc;
            for gone in before.all().iter().filter(|old| !view.all().iter().any(|new| same(old, new))) {
                for (epoch, term) in entries(std::slice::from_ref(gone), HELD).filter_map(parse_claim) {
                    let ingester = gone.id.clone();
                    known.open.insert(epoch, Lost { term, ingester, since: now });
                }
            }
        }
        if known.open.is_empty() {
            return Vec::new();
        }
        // Published by one who claimed it, or by the holder itself, who was only not heard of for a while.
        let claimed =
            entries(view.all(), CLAIMED).filter_map(parse_claim).map(|(epoch, term)| (epoch, term, true));
        let held =
            entries(view.all(), HELD).filter_map(parse_claim).map(|(epoch, term)| (epoch, term, false));
        for (epoch, term, by_claim) in claimed.chain(held) {
            let settled = known
                .open
                .get(&epoch)
                .is_some_and(|lost| term > lost.term || (!by_claim && term == lost.term));
            if settled {
                known.open.remove(&epoch);
            }
        }
        known.open.retain(|epoch, lost| {
            let keep = now.duration_since(lost.since) < GIVEN_UP;
            if !keep {
                tracing::warn!(%epoch, ingester = lost.ingester, "nobody has claimed the log of an ingester that is gone: queries go on without it");
            }
            keep
        });
        let mut waiting: Vec<_> = known.open.values().map(|lost| lost.ingester.clone()).collect();
        waiting.sort();
        waiting.dedup();
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Frontend {
    /// Notes who comes and goes.
    pub(super) fn note_takeovers(&self) {
        let view = self.membership.watch().borrow().clone();
        self.takeovers.look(&view, Instant::now());
    }

    /// Returns when the logs of all ingesters that are gone have heirs.
    ///
    /// # Errors
    /// Whose spans are missing, where that is not so in time.
    pub(super) async fn heirs(&self, deadline: Instant) -> Result<(), QueryError> {
        let until = limit(deadline);
        let mut changes = self.membership.watch();
        loop {
            let view = changes.borrow_and_update().clone();
            let waiting = self.takeovers.look(&view, Instant::now());
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(QueryError::Failed {
                    what: format!("ingester {}", waiting.join(", ")),
                    reason: "it is gone, and no other has taken its write-ahead log over yet: what it acknowledged last cannot be read".to_owned(),
                });
            }
            // Views that do not change are looked at all the same, since logs are given up in the end.
            let _ = tokio::time::timeout(LOOK, changes.changed()).await;
        }
    }

    /// Where an ingester whose log is in the object store does not answer: returns when it answers for nothing
    /// any more and its log has an heir. `false` where its log is not there, or nobody has noticed in time
    /// that it is gone.
    pub(super) async fn inherited(
        &self,
        work: &Work,
        kind: FailureKind,
        deadline: Instant,
    ) -> Result<bool, QueryError> {
        let (Work::SearchLive { ingester, .. } | Work::FindLive { ingester, .. }) = work else {
            return Ok(false);
        };
        if kind != FailureKind::Retry || !self.shares_its_log(ingester) {
            return Ok(false);
        }
        let until = limit(deadline);
        let mut changes = self.membership.watch();
        while self.still_member(ingester) {
            if Instant::now() >= until {
                return Ok(false);
            }
            let _ = tokio::time::timeout(LOOK, changes.changed()).await;
        }
        self.heirs(deadline).await.map(|()| true)
    }

    /// Whether an ingester's log can be claimed by others.
    fn shares_its_log(&self, ingester: &IngesterAddress) -> bool {
        let members = self.membership.members(Role::Ingester);
        let at = |member: &&Member| member.id == ingester.id && member.grpc == ingester.grpc;
        match members.iter().find(at) {
            Some(member) => member.key(HELD).is_some_and(|held| !held.is_empty()),
            None => true,
        }
    }
}

fn limit(deadline: Instant) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    now + left.saturating_sub(RESERVE).max(left / 2).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::State;

    fn member(id: &str, keys: &[(&str, &str)]) -> Member {
        let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let grpc = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let roles = vec![Role::Ingester];
        Member {
            id: id.to_owned(),
            roles,
            grpc,
            state: State::Active,
            zone: String::new(),
            keys,
            local: false,
        }
    }

    fn view(members: Vec<Member>) -> Arc<View> {
        Arc::new(View::new(members))
    }

    const LOG: &str = "a/0000000000000009";

    #[test]
    fn a_log_whose_holder_is_gone_is_waited_for_until_it_is_claimed() {
        let (takeovers, now) = (Takeovers::default(), Instant::now());
        let held = format!("{LOG}:0");
        let a = || member("a", &[(HELD, &held)]);
        let b = || member("b", &[]);
        assert!(takeovers.look(&view(vec![a(), b()]), now).is_empty());
        assert_eq!(takeovers.look(&view(vec![b()]), now), ["a"]);
        assert_eq!(takeovers.look(&view(vec![b()]), now), ["a"]);
        let stale = member("b", &[(CLAIMED, &held)]);
        assert_eq!(takeovers.look(&view(vec![stale]), now), ["a"], "an old claim is none");
        let heir = member("b", &[(CLAIMED, &format!("{LOG}:1"))]);
        assert!(takeovers.look(&view(vec![heir]), now).is_empty());
    }

    #[test]
    fn one_who_comes_back_one_who_leaves_with_nothing_and_one_whom_nobody_follows_are_not_waited_for() {
        let (takeovers, now) = (Takeovers::default(), Instant::now());
        let held = format!("{LOG}:0");
        let a = || member("a", &[(HELD, &held)]);
        let left = || member("c", &[(HELD, "")]);
        takeovers.look(&view(vec![a(), left()]), now);
        assert_eq!(takeovers.look(&view(vec![]), now), ["a"]);
        assert!(takeovers.look(&view(vec![a()]), now).is_empty());
        assert_eq!(takeovers.look(&view(vec![]), now), ["a"]);
        assert!(takeovers.look(&view(vec![]), now + GIVEN_UP).is_empty());
    }
}
