//! The dictionary of a table: every distinct string once, named by a dense code.

use std::hash::{BuildHasher, RandomState};

/// A string of one table's dictionary. Code 0 is always the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

/// Distinct strings, back to back in one buffer.
///
/// Keys come from the network, so the index is hashed with a random seed. Codes are dense and given in
/// the order of first appearance; a table may hold at most `u32::MAX` strings and 4 GiB of text, beyond
/// which [`Strings::intern`] answers the empty string's code (tables are cut long before).
#[derive(Clone, Debug)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
    /// Open addressing: `hash << 32 | code + 1`, or 0 for a free slot. Its length is a power of two.
    /// With the hash at hand a string is compared only with its like, and growing reads no text.
    index: Vec<u64>,
    seed: [u64; 2],
}

impl Default for Strings {
    fn default() -> Self {
        let random = RandomState::new();
        let seed = [random.hash_one(0), random.hash_one(1)];
        let mut strings = Self { text: String::new(), ends: Vec::new(), index: vec![0; 16], seed };
        strings.intern("");
        strings
    }
}

impl Code {
    /// The code of the empty string.
    pub const EMPTY: Self = Self(0);

    /// The code in an attribute's payload.
    #[must_use]
    pub fn from_payload(payload: u64) -> Self {
        Self((payload & 0xffff_ffff) as u32)
    }

    /// The code as an attribute's payload.
    #[must_use]
    pub fn payload(self) -> u64 {
        u64::from(self.0)
    }

    /// The code as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Strings {
    /// The string's code, new or known.
    pub fn intern(&mut self, text: &str) -> Code {
        if (self.ends.len() + 1) * 4 > self.index.len() * 3 {
            self.grow();
        }
        let hash = hash(self.seed, text.as_bytes());
        let slot = match self.slot(hash, text) {
            Ok(code) => return code,
            Err(slot) => slot,
        };
        let (Ok(end), Ok(code)) =
            (u32::try_from(self.text.len() + text.len()), u32::try_from(self.ends.len()))
        else {
            return Code::EMPTY;
        };
        self.text.push_str(text);
        self.ends.push(end);
        if let Some(free) = self.index.get_mut(slot) {
            *free = u64::from(hash) << 32 | (u64::from(code) + 1);
        }
        Code(code)
    }

    /// The code of a string that is in the dictionary.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Code> {
        self.slot(hash(self.seed, text.as_bytes()), text).ok()
    }

    /// The string's code, or the free slot where it would stand.
    fn slot(&self, hash: u32, text: &str) -> Result<Code, usize> {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(&taken) = self.index.get(slot).filter(|&&taken| taken != 0) {
            let code = Code((taken as u32).wrapping_sub(1));
            if (taken >> 32) as u32 == hash && self.get(code) == Some(text) {
                return Ok(code);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }

    /// The string of a code.
    #[must_use]
    pub fn get(&self, code: Code) -> Option<&str> {
        let at = code.index();
        let end = *self.ends.get(at)? as usize;
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// The string of a code, or the empty one where the code is another table's.
    #[must_use]
    pub fn text(&self, code: Code) -> &str {
        self.get(code).unwrap_or_default()
    }

    /// Number of distinct strings, the empty one included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Never true: the empty string is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Every string, by code.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|at| self.text(Code(at as u32)))
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.index.capacity() * size_of::<u64>()
    }

    /// Gives back room that is not used.
    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    fn grow(&mut self) {
        let len = self.index.len() * 2;
        let mut index = vec![0; len];
        for &taken in self.index.iter().filter(|&&taken| taken != 0) {
            let mut slot = (taken >> 32) as usize & (len - 1);
            while index.get(slot).is_some_and(|&other| other != 0) {
                slot = (slot + 1) & (len - 1);
            }
            if let Some(free) = index.get_mut(slot) {
                *free = taken;
            }
        }
        self.index = index;
    }
}

/// Eight bytes a multiplication, folding the product's halves together. Most strings are short, for which
/// this takes a fifth of the time of SipHash; who does not know the seed cannot aim at a slot.
fn hash(seed: [u64; 2], bytes: &[u8]) -> u32 {
    let [mut sum, factor] = [seed[0] ^ bytes.len() as u64, seed[1] | 1];
    let fold = |a: u64| {
        let product = u128::from(a) * u128::from(factor);
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        sum = fold(sum ^ u64::from_le_bytes(*word));
    }
    let last = rest.iter().rev().fold(0, |last, &byte| last << 8 | u64::from(byte));
    sum = fold(fold(sum ^ last) ^ seed[0]);
    (sum >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_has_one_code_however_often_it_comes_and_however_large_the_dictionary() {
        let mut strings = Strings::default();
        let codes: Vec<_> = (0..5000).map(|i| strings.intern(&format!("value {i}"))).collect();
        for (i, &code) in codes.iter().enumerate() {
            assert_eq!(strings.intern(&format!("value {i}")), code);
            assert_eq!(strings.text(code), format!("value {i}"));
            assert_eq!(strings.find(&format!("value {i}")), Some(code));
        }
        assert_eq!(strings.len(), 5001);
        assert_eq!(strings.find("absent"), None);
        assert_eq!(strings.intern(""), Code::EMPTY);
    }
}
