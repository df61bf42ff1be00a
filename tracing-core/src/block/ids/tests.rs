//! What was merged is found, whatever comes and goes; damage is an error.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::BlockId;

/// Objects by name.
type Objects = HashMap<Uuid, Bytes>;

fn merge(
    ids: Vec<(u64, u16)>,
    sets: Vec<(Vec<Shard>, Vec<Option<u16>>)>,
    objects: &mut Objects,
) -> Vec<Shard> {
    let mut merge = MergeIds::new(ids, sets);
    loop {
        match merge.next(Uuid::new_v4).unwrap() {
            MergeIdsStep::Need(source, object) => merge.supply(source, objects[&object].clone()),
            MergeIdsStep::Store(object, bytes) => drop(objects.insert(object, bytes)),
            MergeIdsStep::Done(shards) => return shards,
        }
    }
}

fn covered(n: usize) -> Vec<Covered> {
    (0..n as u128).map(|n| Covered { id: BlockId(Uuid::from_u128(n)), traces: 1 }).collect()
}

fn lookup(set: &IdSet, hash: u64, objects: &Objects) -> Vec<u16> {
    let Some((object, chunk)) = set.locate(hash) else { return Vec::new() };
    let range = chunk.range();
    let bytes = objects[&object].slice(range.start as usize..range.end as usize);
    find(&bytes, chunk.first, hash).unwrap()
}

fn id(n: u64) -> TraceId {
    TraceId(u128::from(n).to_be_bytes())
}

#[test]
fn twenty_blocks_of_many_traces_take_five_bytes_a_trace_and_name_hardly_any_wrong_block() {
    let (blocks, each) = (20_u16, 20_000_u64);
    let entries = |block: u16| (0..each).map(move |n| (hash(id(u64::from(block) * each + n)), block));
    let mut objects = Objects::new();
    let shards = merge((0..blocks).flat_map(entries).collect(), Vec::new(), &mut objects);
    let set = IdSet::new(covered(20), shards);
    let bytes: usize = objects.values().map(Bytes::len).sum();
    assert!(bytes <= 20 * 20_000 * 5, "{bytes} bytes");
    for block in 0..blocks {
        for (hash, _) in entries(block).step_by(97) {
            assert!(lookup(&set, hash, &objects).contains(&block));
        }
    }
    let wrong = (1 << 40..(1 << 40) + 4000).filter(|&n| !lookup(&set, hash(id(n)), &objects).is_empty());
    assert_eq!(wrong.count(), 0, "400,000 of a trillion hashes are taken");
    let largest = set.shards.iter().flat_map(|shard| &shard.chunks).map(|chunk| chunk.length).max();
    assert!(largest.unwrap() < 32 << 10, "a lookup reads little");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_keeps_what_lives_under_new_numbers_and_drops_the_rest(
        old in proptest::collection::vec((0..1_u64 << 40, 0_u16..4), 0..9000),
        new in proptest::collection::vec((0..1_u64 << 40, 0_u16..2), 0..5000),
        same in proptest::collection::vec(0_u16..4, 0..4),
    ) {
        let mut objects = Objects::new();
        // One hash that several blocks have.
        let old: Vec<_> = old.into_iter().chain(same.iter().map(|&block| (77, block))).collect();
        let first = merge(old.clone(), Vec::new(), &mut objects);
        // Of four blocks the first and the third live on, behind two new ones.
        let numbers = vec![Some(2), None, Some(3), None];
        let shards = merge(new.clone(), vec![(first, numbers.clone())], &mut objects);
        let set = IdSet::new(covered(4), shards);
        let kept = old.iter().filter_map(|&(hash, block)| Some((hash, numbers[usize::from(block)]?)));
        let expected: std::collections::BTreeSet<_> = new.iter().copied().chain(kept).collect();
        for &(hash, block) in expected.iter().step_by(13) {
            prop_assert!(lookup(&set, hash, &objects).contains(&block));
        }
        let sevens = expected.iter().filter(|(hash, _)| *hash == 77).count();
        prop_assert_eq!(lookup(&set, 77, &objects).len(), sevens);
        let directory = Directory { built: Timestamp::from_second(17).unwrap(), sets: vec![set] };
        prop_assert_eq!(Directory::decode(&directory.encode().unwrap()).unwrap(), directory);
    }
}

#[test]
fn damaged_bytes_are_an_error() {
    let mut objects = Objects::new();
    let shards = merge((0..5000).map(|n| (hash(id(n)), 0)).collect(), Vec::new(), &mut objects);
    let set = IdSet::new(covered(1), shards);
    let bytes = Directory { built: Timestamp::UNIX_EPOCH, sets: vec![set.clone()] }.encode().unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Directory::decode(&damaged).is_err());
        assert!(Directory::decode(&bytes[..at]).is_err());
    }
    let (object, chunk) = set.locate(hash(id(1))).unwrap();
    let mut chunk_bytes = objects[&object][chunk.offset as usize..][..chunk.length as usize].to_vec();
    chunk_bytes[9] ^= 1;
    assert!(find(&chunk_bytes, chunk.first, hash(id(1))).is_err());
    assert!(find(&[], 0, 0).is_err());
}
