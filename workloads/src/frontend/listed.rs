//! Up to when a query's list of blocks has to be complete: rule *listed-or-named*.
//!
//! What was committed is in the list, or is named by who committed it, for an ingester names with each answer what
//! it flushed of late, for as long as it lives. So the list has to be from after the last time that an ingester's
//! process came or went, and from so short a time ago that those who are still there name all that is newer. An index
//! may be older than that, and then the tenant is listed before the query goes on.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing_core::{block::Meta, model::Tenant};
use uuid::Uuid;

use super::{Frontend, IngesterAddress, QueryError, Seen};
use crate::{
    ingester::PROCESS,
    membership::{Member, Role},
};

/// So long after its start a frontend may not have heard of all ingesters that are there, and of none that came and
/// went: lists are then from this short a time ago.
const SETTLING: Duration = Duration::from_secs(30);
const WHILE_SETTLING: Duration = Duration::from_secs(2);

/// Processes are remembered that have answered and are not known as members yet.
const REMEMBERED: usize = 1000;

/// Tenants that were asked for so recently are listed ahead of their next query when ingesters come or go.
const ASKED: Duration = Duration::from_mins(5);
const MOST_ASKED: usize = 64;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Listed {
    /// No list may be older.
    longest: Duration,
    settled: Option<Instant>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    members: HashSet<(IngesterAddress, Option<Uuid>)>,
    answered: HashSet<Uuid>,
    changed: Instant,
    asked: HashMap<Tenant, Instant>,
}

impl Listed {
    /// Of a frontend that starts `now`, among others or alone.
    pub(super) fn new(longest: Duration, has_others: bool, now: Instant) -> Self {
        let (members, answered, asked) = (HashSet::new(), HashSet::new(), HashMap::new());
        let known = Mutex::new(Known { members, answered, changed: now, asked });
        Self { longest, settled: has_others.then_some(now + SETTLING), known }
    }

    /// Notes who is there. Every look at the members whom a query asks is told of here.
    pub(super) fn look(&self, members: &[Member], now: Instant) {
        let process = |member: &Member| member.key(PROCESS).and_then(|process| Uuid::try_parse(process).ok());
        let members: HashSet<_> =
            members.iter().map(|member| (IngesterAddress::of(member), process(member))).collect();
        let mut known = self.lock();
        if known.members != members {
            known.members = members;
            known.changed = now;
        }
    }

    /// Notes which process answered: it may be another than the one that is known to be there.
    fn answered(&self, process: Uuid, now: Instant) {
        let mut known = self.lock();
        let is_member = known.members.iter().any(|(_, member)| *member == Some(process));
        if is_member || known.answered.contains(&process) {
            return;
        }
        if known.answered.len() >= REMEMBERED {
            known.answered.clear();
        }
        known.answered.insert(process);
        known.changed = now;
    }

    /// The moment up to which the list of a query that begins `now` has to be complete.
    fn needed(&self, tenant: &Tenant, now: Instant) -> Instant {
        let settling = self.settled.is_some_and(|settled| now < settled);
        let oldest = now.checked_sub(if settling { WHILE_SETTLING } else { self.longest });
        let mut known = self.lock();
        if known.asked.len() >= MOST_ASKED && !known.asked.contains_key(tenant) {
            known.asked.clear();
        }
        known.asked.insert(tenant.clone(), now);
        oldest.map_or(known.changed, |oldest| oldest.max(known.changed))
    }

    fn changed(&self) -> Instant {
        self.lock().changed
    }

    fn asked(&self, now: Instant) -> Vec<Tenant> {
        let mut known = self.lock();
        known.asked.retain(|_, at| now.duration_since(*at) < ASKED);
        known.asked.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Frontend {
    /// All ingesters, whatever their state: each may hold spans that nobody else has.
    pub(super) fn ingesters(&self) -> Vec<IngesterAddress> {
        let members = self.membership.members(Role::Ingester);
        self.listed.look(&members, Instant::now());
        members.iter().map(IngesterAddress::of).collect()
    }

    /// The blocks of a tenant, for a query that has asked for the ingesters before: among them all that were
    /// committed and that none of those will name.
    ///
    /// # Errors
    /// What the store says, where it has to be listed.
    pub(super) async fn blocks(
        &self,
        tenant: &Tenant,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<Vec<Arc<Meta>>, QueryError> {
        let needed = self.listed.needed(tenant, Instant::now());
        self.list_to(tenant, needed, seen, deadline).await
    }

    /// The blocks that an answer of an ingester adds: those that it flushed of late, and, where it is of a process
    /// that nobody knew, those that the one before it had flushed.
    ///
    /// # Errors
    /// As [`Frontend::blocks`].
    pub(super) async fn named(
        &self,
        tenant: &Tenant,
        recent: super::Recent,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<Vec<Arc<Meta>>, QueryError> {
        if let Some(process) = recent.process {
            self.listed.answered(process, Instant::now());
        }
        let needed = self.listed.changed();
        let mut metas = Vec::new();
        if seen.listed.get(tenant).is_none_or(|listed| *listed < needed) {
            metas = self.list_to(tenant, needed, seen, deadline).await?;
        }
        metas.extend(self.not_replaced(tenant, recent.blocks));
        Ok(metas)
    }

    /// The blocks of a tenant as they are from now on: something that a query knew of is gone.
    ///
    /// # Errors
    /// As [`Frontend::blocks`].
    pub(super) async fn blocks_by_now(&self, tenant: &Tenant, deadline: Instant) -> Result<(), QueryError> {
        self.list_to(tenant, Instant::now(), &mut Seen::default(), deadline).await.map(drop)
    }

    async fn list_to(
        &self,
        tenant: &Tenant,
        needed: Instant,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<Vec<Arc<Meta>>, QueryError> {
        let failed =
            |reason: String| QueryError::Failed { what: format!("blocks of tenant {tenant}"), reason };
        let listed = tokio::time::timeout_at(deadline.into(), self.store.complete_to(tenant, needed)).await;
        listed
            .map_err(|_| failed("they could not be listed in time".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        seen.listed.insert(tenant.clone(), needed);
        Ok(self.store.blocks(tenant).to_vec())
    }

    /// Lists what is asked for often whenever an ingester comes or goes, so that queries need not wait for that.
    pub(super) async fn list_ahead(&self) {
        let changed = self.listed.changed();
        for tenant in self.listed.asked(Instant::now()) {
            if let Err(error) = self.store.complete_to(&tenant, changed).await {
                tracing::warn!(%tenant, %error, "blocks not listed after an ingester came or went");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::State;

    const LONGEST: Duration = Duration::from_mins(10);

    fn member(id: &str, process: u128) -> Member {
        Member {
            id: id.to_owned(),
            roles: vec![Role::Ingester],
            grpc: ([127, 0, 0, 1], 1).into(),
            state: State::Active,
            zone: String::new(),
            keys: vec![(PROCESS.to_owned(), Uuid::from_u128(process).to_string())],
            local: false,
        }
    }

    fn tenant() -> Tenant {
        Tenant::single()
    }

    #[test]
    fn listed_or_named_a_list_is_from_after_the_last_time_that_an_ingester_came_or_went() {
        let start = Instant::now() + Duration::from_hours(1);
        let at = |second| start + Duration::from_secs(second);
        let listed = Listed::new(LONGEST, false, start);
        assert_eq!(listed.needed(&tenant(), at(1)), start, "what was read before the start is not enough");
        listed.look(&[member("a", 1)], at(10));
        listed.look(&[member("a", 1)], at(20));
        assert_eq!(listed.needed(&tenant(), at(21)), at(10));
        listed.look(&[member("a", 2)], at(30));
        assert_eq!(listed.needed(&tenant(), at(31)), at(30), "another process of the same name and address");
        listed.look(&[], at(40));
        assert_eq!(listed.needed(&tenant(), at(41)), at(40));
        assert_eq!(listed.needed(&tenant(), at(1000)), at(400), "longer ago than anyone names it");
    }

    #[test]
    fn listed_or_named_an_answer_of_a_process_that_nobody_knew_counts_as_one_that_came() {
        let start = Instant::now() + Duration::from_hours(1);
        let at = |second| start + Duration::from_secs(second);
        let listed = Listed::new(LONGEST, false, start);
        listed.look(&[member("a", 1)], at(1));
        listed.answered(Uuid::from_u128(1), at(2));
        assert_eq!(listed.changed(), at(1));
        listed.answered(Uuid::from_u128(2), at(3));
        listed.answered(Uuid::from_u128(2), at(4));
        listed.look(&[member("a", 1)], at(5));
        assert_eq!(listed.changed(), at(3), "once");
    }

    #[test]
    fn while_members_are_still_being_found_lists_are_young() {
        let start = Instant::now() + Duration::from_hours(1);
        let listed = Listed::new(LONGEST, true, start);
        let young = start + SETTLING / 2;
        assert_eq!(listed.needed(&tenant(), young + WHILE_SETTLING), young);
        assert_eq!(listed.needed(&tenant(), start + SETTLING), start);
    }
}
