//! Whose job it is: rendezvous hashing over the live compactors, so that one that comes or goes moves only its
//! own jobs. Pure. Two that disagree for a moment do the same job twice, which is harmless.

use crate::membership::{Member, State};

/// Whether the member that is this process owns `key` among `members`.
pub(super) fn is_own(members: &[Member], key: &str) -> bool {
    let live = members.iter().filter(|member| member.state == State::Active);
    let owner = live.max_by_key(|member| (score(&member.id, key), &member.id));
    owner.is_some_and(|member| member.local)
}

/// FNV-1a over both, its bits mixed by the finaliser of `SplitMix64`.
fn score(member: &str, key: &str) -> u64 {
    let bytes = member.bytes().chain([0]).chain(key.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Role;

    fn members(names: &[&str], local: &str, state: State) -> Vec<Member> {
        let member = |name: &&str| Member {
            id: (*name).to_owned(),
            roles: vec![Role::Compactor],
            grpc: ([127, 0, 0, 1], 1).into(),
            state: if *name == "b" { state } else { State::Active },
            zone: String::new(),
            keys: Vec::new(),
            local: *name == local,
        };
        names.iter().map(member).collect()
    }

    fn owners(names: &[&str], state: State) -> Vec<Vec<String>> {
        let key = |n: u32| format!("tenant/A-0-{n}-1");
        let owner = |n| {
            let own = names.iter().filter(|local| is_own(&members(names, local, state), &key(n)));
            own.map(|name| (*name).to_owned()).collect()
        };
        (0..300).map(owner).collect()
    }

    #[test]
    fn each_job_has_one_owner_and_they_share_the_work() {
        let three = owners(&["a", "b", "c"], State::Active);
        assert!(three.iter().all(|owners| owners.len() == 1));
        for name in ["a", "b", "c"] {
            let share = three.iter().filter(|owners| owners[0] == name).count();
            assert!((60..140).contains(&share), "{name} has {share} of 300");
        }
    }

    #[test]
    fn a_compactor_that_leaves_gives_up_its_jobs_and_nobody_elses() {
        let (before, after) =
            (owners(&["a", "b", "c"], State::Active), owners(&["a", "b", "c"], State::Leaving));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(after.len(), 1);
            assert!(before == after || before[0] == "b", "{before:?} -> {after:?}");
        }
    }
}
