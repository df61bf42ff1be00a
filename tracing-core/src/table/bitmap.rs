//! A selection of rows, one bit each.

use std::ops::Range;

/// A fixed number of bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

/// Rows are few where there is one in so many or less: then picking them beats walking all.
const FEW: usize = 16;

impl Bitmap {
    /// `len` bits, none set.
    #[must_use]
    pub fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// `len` bits, all set.
    #[must_use]
    pub fn all(len: usize) -> Self {
        let mut bits = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        bits.trim();
        bits
    }

    /// The rows of a column for which `holds`, 64 at a time. With `among`, right for those rows alone: where
    /// they are few, no others are looked at.
    #[must_use]
    pub fn of<T>(column: &[T], among: Option<&Self>, mut holds: impl FnMut(&T) -> bool) -> Self {
        if let Some(among) = among.filter(|among| among.count() * FEW < column.len()) {
            let mut bits = Self::none(column.len());
            let found = among.iter().filter(|at| column.get(*at).is_some_and(&mut holds));
            found.for_each(|at| bits.set(at));
            return bits;
        }
        let word = |chunk: &[T]| {
            chunk.iter().enumerate().fold(0_u64, |word, (at, value)| word | u64::from(holds(value)) << at)
        };
        Self { words: column.chunks(64).map(word).collect(), len: column.len() }
    }

    /// Number of bits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether bit `at` is set; false past the end.
    #[must_use]
    pub fn get(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets bit `at`; nothing past the end.
    pub fn set(&mut self, at: usize) {
        if at < self.len
            && let Some(word) = self.words.get_mut(at / 64)
        {
            *word |= 1 << (at % 64);
        }
    }

    /// Clears bit `at`.
    pub fn clear(&mut self, at: usize) {
        if let Some(word) = self.words.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    /// Sets a range of bits, whole words at a time.
    pub fn set_range(&mut self, range: Range<usize>) {
        let end = range.end.min(self.len);
        let mut at = range.start;
        while at < end {
            let upto = ((at / 64 + 1) * 64).min(end);
            let width = upto - at;
            let mask = if width == 64 { u64::MAX } else { ((1 << width) - 1) << (at % 64) };
            if let Some(word) = self.words.get_mut(at / 64) {
                *word |= mask;
            }
            at = upto;
        }
    }

    /// Keeps what is set in both.
    pub fn and(&mut self, other: &Self) {
        let others = other.words.iter().chain(std::iter::repeat(&0));
        self.words.iter_mut().zip(others).for_each(|(a, b)| *a &= b);
    }

    /// Adds what is set in the other.
    pub fn or(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
        self.trim();
    }

    /// Removes what is set in the other.
    pub fn and_not(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    /// Turns every bit.
    pub fn not(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.trim();
    }

    /// Number of set bits.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether any bit is set.
    #[must_use]
    pub fn any(&self) -> bool {
        self.words.iter().any(|&word| word != 0)
    }

    /// The first set bit at or after `at`.
    #[must_use]
    pub fn first_from(&self, at: usize) -> Option<usize> {
        let rest = self.words.get(at / 64)? >> (at % 64);
        if rest != 0 {
            return Some(at + rest.trailing_zeros() as usize);
        }
        let words = self.words.iter().enumerate().skip(at / 64 + 1);
        words
            .into_iter()
            .find(|(_, word)| **word != 0)
            .map(|(i, word)| i * 64 + word.trailing_zeros() as usize)
    }

    /// The set bits, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(i, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(i * 64 + bit)
            })
        })
    }

    /// The set bits within `range`, ascending.
    pub fn iter_range(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        let end = range.end.min(self.len);
        let mut at = range.start;
        std::iter::from_fn(move || {
            while at < end {
                let word = self.words.get(at / 64)? >> (at % 64);
                if word == 0 {
                    at = (at / 64 + 1) * 64;
                    continue;
                }
                at += word.trailing_zeros() as usize;
                let found = (at < end).then_some(at)?;
                at += 1;
                return Some(found);
            }
            None
        })
    }

    fn trim(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_cross_words_are_set_and_walked() {
        let mut bits = Bitmap::none(200);
        bits.set_range(60..130);
        assert_eq!(bits.count(), 70);
        assert_eq!(bits.iter().collect::<Vec<_>>(), (60..130).collect::<Vec<_>>());
        assert_eq!(bits.iter_range(0..65).collect::<Vec<_>>(), (60..65).collect::<Vec<_>>());
        bits.not();
        assert_eq!(bits.count(), 130);
        assert!(!bits.get(200));
    }

    #[test]
    fn all_sets_no_bit_past_the_end() {
        assert_eq!(Bitmap::all(70).count(), 70);
        assert_eq!(Bitmap::all(64).count(), 64);
    }
}
