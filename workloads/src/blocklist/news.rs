//! Compactors tell by gossip whose blocks they changed, and who keeps a list of blocks looks at those tenants
//! soon, rather than at the next poll. A hint: what is not heard is found by the poll.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing_core::{model::Tenant, store::Store};

use crate::membership::{Membership, Role};

/// What members publish the news under.
const KEY: &str = "blocks";

/// News are gathered so long.
const EVERY: Duration = Duration::from_secs(10);

/// A tenant is not listed more often than this for the sake of news, and so many tenants at a time are told of.
const APART: Duration = Duration::from_mins(1);
const MOST: usize = 8;

/// Tells the others, until `stop`.
pub(crate) async fn tell(store: Arc<Store>, membership: Arc<Membership>, stop: CancellationToken) {
    let mut tick = ticks();
    let (mut told, mut latest) = (BTreeMap::new(), VecDeque::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Some(news) = gather(store.own_changes(), &mut told, &mut latest) {
            membership.publish(KEY, &news).await;
        }
    }
}

/// The tenants changed last with the number of their changes; `None` where nothing is new.
fn gather(
    changes: BTreeMap<Tenant, u64>,
    told: &mut BTreeMap<Tenant, u64>,
    latest: &mut VecDeque<Tenant>,
) -> Option<String> {
    let new: Vec<_> = changes.iter().filter(|(tenant, n)| told.get(tenant) != Some(n)).collect();
    if new.is_empty() {
        return None;
    }
    for (tenant, _) in new {
        latest.retain(|other| other != tenant);
        latest.push_front(tenant.clone());
    }
    latest.truncate(MOST);
    // Neither sign may stand in a tenant's name.
    let words = latest.iter().filter_map(|tenant| Some(format!("{tenant}={}", changes.get(tenant)?)));
    let news = words.collect::<Vec<_>>().join(",");
    *told = changes;
    Some(news)
}

/// Listens to the others, until `stop`.
pub(crate) async fn listen(store: Arc<Store>, membership: Arc<Membership>, stop: CancellationToken) {
    let (mut tick, mut heard) = (ticks(), Heard::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        for member in membership.members(Role::Compactor).iter().filter(|member| !member.local) {
            heard.note(&member.id, member.key(KEY).unwrap_or_default());
        }
        for tenant in heard.due(Instant::now()) {
            if let Err(error) = store.poll_now(&tenant).await {
                tracing::debug!(%tenant, %error, "a tenant whose blocks changed could not be listed");
            }
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// What was heard, and which tenants are to be looked at.
#[derive(Debug, Default)]
struct Heard {
    /// The last news of each member.
    of: BTreeMap<String, String>,
    /// When each tenant may be looked at again, if it is to be.
    looked: BTreeMap<Tenant, Instant>,
    waiting: Vec<Tenant>,
}

impl Heard {
    fn note(&mut self, member: &str, news: &str) {
        let Some(before) = self.of.insert(member.to_owned(), news.to_owned()) else {
            // Who is met for the first time tells what the first poll has found.
            return;
        };
        let known: Vec<_> = before.split(',').collect();
        for word in news.split(',').filter(|word| !known.contains(word)).take(MOST) {
            let name = word.split('=').next().unwrap_or_default();
            if let Ok(tenant) = Tenant::new(name)
                && !self.waiting.contains(&tenant)
            {
                self.waiting.push(tenant);
            }
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Tenant> {
        self.looked.retain(|_, at| now.duration_since(*at) < APART);
        let (due, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|tenant| !self.looked.contains_key(tenant));
        self.waiting = waiting;
        let due: Vec<Tenant> = due;
        self.looked.extend(due.iter().map(|tenant| (tenant.clone(), now)));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    #[test]
    fn the_tenants_changed_last_are_told_and_only_when_something_changed() {
        let (mut told, mut latest) = (BTreeMap::new(), VecDeque::new());
        let mut changes: BTreeMap<_, _> = (0..20).map(|n| (tenant(&format!("t{n:02}")), 1)).collect();
        let news = gather(changes.clone(), &mut told, &mut latest).unwrap();
        assert_eq!(news.split(',').count(), MOST);
        assert_eq!(gather(changes.clone(), &mut told, &mut latest), None);
        changes.insert(tenant("t00"), 2);
        let news = gather(changes, &mut told, &mut latest).unwrap();
        assert!(news.starts_with("t00=2,"), "{news}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_is_told_of_is_looked_at_once_and_not_again_within_a_minute() {
        let mut heard = Heard::default();
        heard.note("c-0", "a=1,b=4");
        assert!(heard.due(Instant::now()).is_empty(), "the first poll has found that");
        heard.note("c-0", "a=2,b=4");
        heard.note("c-0", "a=2,b=4");
        assert_eq!(heard.due(Instant::now()), [tenant("a")]);
        heard.note("c-0", "a=3,b=4,../x=1");
        assert!(heard.due(Instant::now()).is_empty());
        tokio::time::advance(APART).await;
        assert_eq!(heard.due(Instant::now()), [tenant("a")]);
        tokio::time::advance(APART).await;
        assert!(heard.due(Instant::now()).is_empty());
    }
}
