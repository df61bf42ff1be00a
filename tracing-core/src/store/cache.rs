//! Small objects that are read again and again, kept within a number of bytes. The longest unused goes first.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use bytes::Bytes;

use crate::model::BlockId;

/// What is kept: an object of a block, whole or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) block: BlockId,
    pub(super) name: String,
    pub(super) part: Option<Range<u64>>,
}

/// The cache. Blocks never change, so nothing in it goes stale.
#[derive(Debug)]
pub(super) struct Cache {
    budget: usize,
    used: usize,
    clock: u64,
    entries: HashMap<Key, (Bytes, u64)>,
    by_use: BTreeMap<u64, Key>,
}

impl Cache {
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, used: 0, clock: 0, entries: HashMap::new(), by_use: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<Bytes> {
        let (bytes, used) = self.entries.get_mut(key)?;
        self.clock += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.clock, key.clone());
        *used = self.clock;
        Some(bytes.clone())
    }

    pub(super) fn put(&mut self, key: Key, bytes: &Bytes) {
        // One object may not push out everything else.
        if bytes.len() > self.budget / 4 || self.entries.contains_key(&key) {
            return;
        }
        self.clock += 1;
        self.used += bytes.len();
        self.by_use.insert(self.clock, key.clone());
        self.entries.insert(key, (bytes.clone(), self.clock));
        while self.used > self.budget {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((bytes, _)) = self.entries.remove(&oldest) {
                self.used -= bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { block: BlockId(uuid::Uuid::nil()), name: name.to_owned(), part: None }
    }

    #[test]
    fn the_longest_unused_goes_when_the_budget_is_spent() {
        let mut cache = Cache::new(100);
        for name in ["a", "b", "c", "d"] {
            cache.put(key(name), &Bytes::from(vec![0; 25]));
        }
        assert!(cache.get(&key("a")).is_some());
        cache.put(key("e"), &Bytes::from(vec![0; 20]));
        assert!(cache.get(&key("b")).is_none(), "b was unused for longest");
        assert!(cache.get(&key("a")).is_some() && cache.get(&key("e")).is_some());
        assert!(cache.used <= 100);
    }

    #[test]
    fn an_object_too_large_for_its_share_is_not_kept() {
        let mut cache = Cache::new(100);
        cache.put(key("a"), &Bytes::from(vec![0; 26]));
        assert!(cache.get(&key("a")).is_none());
    }
}
