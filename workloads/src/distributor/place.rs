//! Which ingester a trace goes to: rendezvous hashing, so that a member that comes or goes moves only the
//! traces that are its own. Pure, and the same in every distributor.

use tracing_core::{model::TraceId, wire::otlp::TraceSlice};

use crate::membership::Member;

/// Slices by the position of their member. Members must not be empty.
pub(super) fn group(slices: Vec<TraceSlice>, members: &[&Member]) -> Vec<(usize, Vec<TraceSlice>)> {
    if members.len() == 1 {
        return vec![(0, slices)];
    }
    let seeds: Vec<u64> = members.iter().map(|member| seed(&member.id)).collect();
    let mut groups: Vec<Vec<TraceSlice>> = vec![Vec::new(); members.len()];
    for slice in slices {
        if let Some(group) = groups.get_mut(first(slice.id, &seeds)) {
            group.push(slice);
        }
    }
    groups.into_iter().enumerate().filter(|(_, group)| !group.is_empty()).collect()
}

/// The position of the member with the highest score.
fn first(id: TraceId, seeds: &[u64]) -> usize {
    let id = u128::from_be_bytes(id.0);
    let (high, low) = ((id >> 64) as u64, id as u64);
    let score = |seed: u64| mix(mix(seed ^ low).wrapping_add(high));
    let best = seeds.iter().enumerate().max_by_key(|(at, seed)| (score(**seed), usize::MAX - at));
    best.map_or(0, |(at, _)| at)
}

/// FNV-1a, 64 bits.
fn seed(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of SplitMix64: each bit of the input changes half of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(names: &[&str]) -> Vec<String> {
        let seeds: Vec<u64> = names.iter().map(|name| seed(name)).collect();
        (0..10_000_u128)
            .map(|id| TraceId((id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes()))
            .map(|id| names[first(id, &seeds)].to_owned())
            .collect()
    }

    #[test]
    fn a_member_that_goes_moves_only_its_own_traces() {
        let four = place(&["a", "b", "c", "d"]);
        let three = place(&["a", "b", "c"]);
        for (before, after) in four.iter().zip(&three) {
            assert!(before == after || before == "d", "{before} -> {after}");
        }
    }

    #[test]
    fn a_member_that_comes_takes_its_share_and_no_more() {
        let before = place(&["ingester-0", "ingester-1", "ingester-2"]);
        let after = place(&["ingester-0", "ingester-1", "ingester-2", "ingester-3"]);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!((2200..2800).contains(&moved), "{moved} of 10000 moved, 2500 are due");
        for name in ["ingester-0", "ingester-3"] {
            let share = after.iter().filter(|at| *at == name).count();
            assert!((2200..2800).contains(&share), "{name} has {share} of 10000");
        }
    }

    #[test]
    fn ids_that_count_up_spread_as_well() {
        let seeds = [seed("a"), seed("b")];
        let first_of_two =
            (0..10_000_u128).filter(|id| first(TraceId(id.to_be_bytes()), &seeds) == 0).count();
        assert!((4700..5300).contains(&first_of_two), "{first_of_two}");
    }
}
