//! The Bloom filter over a block's trace ids: the objects `bloom-0`, `bloom-1`, … A lookup reads the one
//! that its id belongs to. The layout is that of the Go library bits-and-blooms/bloom v3.

use bytes::{BufMut, Bytes};

use super::BlockError;
use crate::model::TraceId;

/// One shard of a block's Bloom filter, as read from its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bloom {
    bits: u64,
    hashes: u64,
    words: Bytes,
}

/// How large a Bloom filter is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BloomOptions {
    /// Share of absent ids that may be taken for present, above 0 and below 1.
    pub false_positive: f64,
    /// Size of each shard in bytes.
    pub shard_bytes: u32,
}

impl Default for BloomOptions {
    fn default() -> Self {
        Self { false_positive: 0.01, shard_bytes: 100 * 1024 }
    }
}

impl Bloom {
    const HEADER: usize = 24;
    /// Most shards a block has.
    const MAX_SHARDS: f64 = 1000.0;
    /// Shards taken for a block that does not say, as Tempo's first blocks did not.
    const LEGACY_SHARDS: u32 = 10;
    /// More hashes than any sensible filter has; a file that says more is not one.
    const MAX_HASHES: u64 = 64;

    /// The objects that hold `ids`, in the order of their numbers.
    #[must_use]
    pub fn build(ids: &[TraceId], options: BloomOptions) -> Vec<Bytes> {
        let shard_bits = u64::from(options.shard_bytes.max(8)).next_multiple_of(8) * 8;
        let (bits, hashes) = estimate(ids.len().max(1) as f64, options.false_positive);
        let shards = (bits / shard_bits as f64).ceil().clamp(1.0, Self::MAX_SHARDS) as u32;
        let mut words = vec![vec![0_u64; (shard_bits / 64) as usize]; shards as usize];
        for id in ids {
            let Some(words) = words.get_mut(Self::shard_of(*id, shards) as usize) else { continue };
            for bit in locations(*id, hashes, shard_bits) {
                if let Some(word) = words.get_mut((bit >> 6) as usize) {
                    *word |= 1 << (bit & 63);
                }
            }
        }
        words.iter().map(|words| encode(shard_bits, hashes, words)).collect()
    }

    /// Which of `shards` objects would hold the id: FNV-1 of its 16 bytes.
    #[must_use]
    pub fn shard_of(id: TraceId, shards: u32) -> u32 {
        let hash =
            id.0.iter().fold(0x811c_9dc5_u32, |hash, &byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
        hash % if shards == 0 { Self::LEGACY_SHARDS } else { shards }
    }

    /// Reads one shard. Nothing is copied.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] where the length does not fit the header.
    pub fn decode(mut file: Bytes) -> Result<Self, BlockError> {
        let word = |at: usize| {
            file.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes).ok_or_else(|| {
                BlockError::corrupt("bloom", format!("{} bytes, expected a header of 24", file.len()))
            })
        };
        let (bits, hashes, length) = (word(0)?, word(8)?, word(16)?);
        let expected = bits.div_ceil(64).checked_mul(8);
        if bits == 0 || bits != length || expected != Some((file.len() - Self::HEADER) as u64) {
            let reason = format!("{bits} bits and a set of {length} in {} bytes", file.len());
            return Err(BlockError::corrupt("bloom", reason));
        }
        if hashes == 0 || hashes > Self::MAX_HASHES {
            return Err(BlockError::corrupt("bloom", format!("{hashes} hashes, expected 1 to 64")));
        }
        Ok(Self { bits, hashes, words: file.split_off(Self::HEADER) })
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.words.len() + Self::HEADER
    }

    /// False where the block certainly does not hold the id.
    #[must_use]
    pub fn may_hold(&self, id: TraceId) -> bool {
        locations(id, self.hashes, self.bits).all(|bit| {
            // Words are big-endian, so bit b of a word lies in byte 7 - b / 8.
            let byte = (bit >> 6) * 8 + 7 - ((bit & 63) >> 3);
            self.words.get(byte as usize).is_some_and(|byte| byte >> (bit & 7) & 1 == 1)
        })
    }

    /// A filter of this one's size and hashes that holds `ids` and nothing else.
    #[must_use]
    pub fn holding(&self, ids: impl IntoIterator<Item = TraceId>) -> Self {
        let mut words = vec![0_u8; self.words.len()];
        for bit in ids.into_iter().flat_map(|id| locations(id, self.hashes, self.bits)) {
            if let Some(byte) = words.get_mut(((bit >> 6) * 8 + 7 - ((bit & 63) >> 3)) as usize) {
                *byte |= 1 << (bit & 7);
            }
        }
        Self { bits: self.bits, hashes: self.hashes, words: words.into() }
    }

    /// Bits that are set, and bits there are.
    #[must_use]
    pub fn fill(&self) -> (u64, u64) {
        (self.words.iter().map(|byte| u64::from(byte.count_ones())).sum(), self.bits)
    }

    /// Bits that an id sets.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes
    }
}

/// Bits and hashes for `items` at a rate of false positives, as the Go library estimates them.
fn estimate(items: f64, rate: f64) -> (f64, u64) {
    let rate = if rate > 0.0 && rate < 1.0 { rate } else { BloomOptions::default().false_positive };
    let bits = (-items * rate.ln() / std::f64::consts::LN_2.powi(2)).ceil();
    (bits, (std::f64::consts::LN_2 * bits / items).ceil().clamp(1.0, 64.0) as u64)
}

fn encode(bits: u64, hashes: u64, words: &[u64]) -> Bytes {
    let mut file = Vec::with_capacity(Bloom::HEADER + words.len() * 8);
    for word in [bits, hashes, bits].iter().chain(words) {
        file.put_u64(*word);
    }
    file.into()
}

/// The bits of an id.
fn locations(id: TraceId, hashes: u64, bits: u64) -> impl Iterator<Item = u64> {
    let mut longer = [1; 17];
    longer[..16].copy_from_slice(&id.0);
    let ([h0, h1], [h2, h3]) = (murmur3(&id.0), murmur3(&longer));
    (0..hashes).map(move |i| {
        let first = if i % 2 == 0 { h0 } else { h1 };
        let second = if (i + i % 2) % 4 < 2 { h2 } else { h3 };
        first.wrapping_add(i.wrapping_mul(second)) % bits
    })
}

/// MurmurHash3 x64 128 with seed 0 of 16 bytes, or of 16 bytes and a tail of up to 8.
pub(super) fn murmur3(data: &[u8]) -> [u64; 2] {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, tail) = data.as_chunks::<16>();
    for block in blocks {
        let block = u128::from_le_bytes(*block);
        let (k1, k2) = (block as u64, (block >> 64) as u64);
        h1 ^= k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let k1 = tail.iter().rev().fold(0, |k, &byte| k << 8 | u64::from(byte));
    h1 ^= k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    h1 ^= data.len() as u64;
    h2 ^= data.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = mix(h1);
    h2 = mix(h2);
    h1 = h1.wrapping_add(h2);
    [h1, h2.wrapping_add(h1)]
}

fn mix(mut k: u64) -> u64 {
    k = (k ^ k >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ k >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ k >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> TraceId {
        TraceId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
    }

    #[test]
    fn the_hash_is_the_published_one() {
        let bytes: Vec<u8> = (0..16).chain([1]).collect();
        assert_eq!(murmur3(&bytes[..16]), [0x4449_24b5_9190_3f30, 0xab90_6456_762f_e845]);
        assert_eq!(murmur3(&bytes), [0x1063_00c2_2a59_6dc7, 0x010b_4135_a11d_549e]);
    }

    #[test]
    fn every_id_is_found_in_its_shard_and_hardly_any_other() {
        let ids: Vec<_> = (0..300_000).map(id).collect();
        let shards = Bloom::build(&ids, BloomOptions::default());
        assert_eq!(shards.len(), 4, "2.9 million bits in shards of 819,200");
        let blooms: Vec<_> = shards.into_iter().map(|s| Bloom::decode(s).unwrap()).collect();
        let found = |id| blooms[Bloom::shard_of(id, 4) as usize].may_hold(id);
        assert!(ids.iter().all(|&id| found(id)));
        let wrong = (300_000..400_000).filter(|&n| found(id(n))).count();
        assert!(wrong < 1500, "{wrong} of 100000");
    }

    #[test]
    fn a_filter_made_again_from_its_ids_is_the_same() {
        let ids: Vec<_> = (0..1000).map(id).collect();
        let bloom = Bloom::decode(Bloom::build(&ids, BloomOptions::default()).remove(0)).unwrap();
        assert_eq!(bloom.holding(ids.iter().copied()), bloom);
        assert_ne!(bloom.holding(ids.into_iter().skip(1)), bloom);
    }

    #[test]
    fn a_filter_of_another_length_than_its_header_says_is_refused() {
        let shard = Bloom::build(&[id(1)], BloomOptions::default()).remove(0);
        assert_eq!(shard.len(), 102_424, "what Tempo writes");
        for end in [0, 7, 23, 24, 102_423] {
            assert!(Bloom::decode(shard.slice(..end)).is_err());
        }
        let huge = [[0xff_u8; 8], [0, 0, 0, 0, 0, 0, 0, 7], [0xff; 8]].concat();
        assert!(Bloom::decode(Bytes::from(huge)).is_err());
    }
}
