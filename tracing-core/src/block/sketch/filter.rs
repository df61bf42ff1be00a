//! A Bloom filter over hashes of values. The hash is part of the format.

use super::Place;

/// Bits for each value: with [`PROBES`], fewer than one in a hundred that are not there are taken for there.
const BITS: usize = 10;
/// Bits that a value sets.
const PROBES: u64 = 7;

/// Hashes of values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    words: Vec<u64>,
}

/// What is hashed before a value: where it stands. A value's type is part of its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    pub(super) fn new(place: Place, name: &str) -> Self {
        Self(hash(u64::from(place.number()) + 1, name.as_bytes()))
    }

    pub(super) fn text(self, text: &str) -> u64 {
        hash(self.0 ^ 0x51, text.as_bytes())
    }

    pub(super) fn int(self, value: i64) -> u64 {
        hash(self.0 ^ 0x52, &value.to_le_bytes())
    }
}

impl Filter {
    /// Bytes of a filter over so many values.
    pub(super) fn bytes_for(values: usize) -> usize {
        (values * BITS).div_ceil(64) * 8
    }

    pub(super) fn new(hashes: impl Iterator<Item = u64>, count: usize) -> Self {
        let mut filter = Self { words: vec![0; (count * BITS).div_ceil(64)] };
        for hash in hashes {
            for bit in bits(hash, filter.words.len()) {
                if let Some(word) = filter.words.get_mut((bit >> 6) as usize) {
                    *word |= 1 << (bit & 63);
                }
            }
        }
        filter
    }

    pub(super) fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn may_hold(&self, hash: u64) -> bool {
        !self.words.is_empty()
            && bits(hash, self.words.len()).all(|bit| {
                self.words.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
            })
    }

    pub(super) fn memory(&self) -> usize {
        self.words.len() * 8
    }
}

fn bits(hash: u64, words: usize) -> impl Iterator<Item = u64> {
    let (count, step) = (words as u64 * 64, mix(hash) | 1);
    let place = move |hash: u64| ((u128::from(hash) * u128::from(count)) >> 64) as u64;
    (0..PROBES).map(move |n| place(hash.wrapping_add(n.wrapping_mul(step))))
}

/// Not keyed: who chooses values so that they collide makes blocks be read that need not be, and no more.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9e37_79b1_85eb_ca87;
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(PRIME);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word).wrapping_mul(PRIME));
    }
    let last = tail.iter().rev().fold(0_u64, |last, byte| last << 8 | u64::from(*byte));
    mix(mix(state ^ last.wrapping_mul(PRIME)))
}

fn mix(mut k: u64) -> u64 {
    k = (k ^ k >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    k = (k ^ k >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    k ^ k >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_and_hardly_any_other() {
        let seed = Seed::new(Place::Name, "");
        let text = |n: u32| seed.text(&format!("GET /orders/{n}"));
        let filter = Filter::new((0..50_000).map(text), 50_000);
        assert_eq!(filter.memory(), Filter::bytes_for(50_000));
        assert!((0..50_000).all(|n| filter.may_hold(text(n))));
        let wrong = (50_000..150_000).filter(|&n| filter.may_hold(text(n))).count();
        assert!(wrong < 1500, "{wrong} of 100000");
        assert!(!Filter::default().may_hold(1));
    }

    #[test]
    fn the_hash_is_that_of_the_blocks_that_are_stored() {
        assert_eq!(Seed::new(Place::Name, "").text("a longer text"), 603_911_048_624_728_092);
        assert_eq!(Seed::new(Place::RootName, "key").int(-1), 1_233_117_918_545_764_150);
    }
}
