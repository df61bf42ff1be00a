//! Parquet's encodings, read: RLE/bit-packed hybrid, DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY and
//! PLAIN. Nothing is allocated for values that the bytes do not hold or the page's count does not allow.

use std::ops::Range;

use super::{BlockError, thrift::unzigzag};

/// Values that room is made for before they are seen.
const EAGER: usize = 1 << 16;

fn short(what: &str) -> BlockError {
    BlockError::corrupt("page", format!("{what} end before the page's last value"))
}

/// Up to 16 bytes from `at` on, as a little-endian number; what is missing counts as zeros.
fn window(bytes: &[u8], at: usize) -> u128 {
    let mut buffer = [0; 16];
    let bytes = bytes.get(at..).unwrap_or_default();
    buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u128::from_le_bytes(buffer)
}

/// An unsigned integer, seven bits a byte, off the front.
pub(crate) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A little-endian length of four bytes and the bytes it counts, off the front.
pub(crate) fn prefixed<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (taken, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(taken)
}

/// What levels and indexes are kept as.
pub(crate) trait Small: Copy {
    /// A value that was held against the highest that fits.
    fn of(value: u32) -> Self;
}

impl Small for u8 {
    fn of(value: u32) -> Self {
        value as Self
    }
}

impl Small for u32 {
    fn of(value: u32) -> Self {
        value
    }
}

fn over(value: u32, max: u32) -> BlockError {
    BlockError::corrupt("page", format!("value {value}, expected at most {max}"))
}

/// A stretch of values.
enum Run<'a> {
    Same(u32, usize),
    Packed(&'a [u8], usize),
}

/// The runs of `left` values of `width` bits.
struct Runs<'a> {
    bytes: &'a [u8],
    width: u8,
    left: usize,
}

impl<'a> Runs<'a> {
    fn new(bytes: &'a [u8], width: u8, count: usize) -> Result<Self, BlockError> {
        if width > 32 {
            return Err(BlockError::corrupt("page", format!("values of {width} bits, expected at most 32")));
        }
        Ok(Self { bytes, width, left: count })
    }

    fn next(&mut self) -> Result<Option<Run<'a>>, BlockError> {
        if self.left == 0 {
            return Ok(None);
        }
        let early = || short("levels or indexes");
        let (width, left) = (usize::from(self.width), self.left);
        let head = varint(&mut self.bytes).ok_or_else(early)?;
        if head & 1 == 0 {
            let (value, rest) = self.bytes.split_at_checked(width.div_ceil(8)).ok_or_else(early)?;
            self.bytes = rest;
            let run = usize::try_from(head >> 1).unwrap_or(usize::MAX).min(left);
            if run == 0 {
                return Err(BlockError::corrupt("page", "a run of no values"));
            }
            self.left -= run;
            return Ok(Some(Run::Same(window(value, 0) as u32, run)));
        }
        let groups = usize::try_from(head >> 1).unwrap_or(usize::MAX).min(left.div_ceil(8));
        let size = groups.saturating_mul(width);
        // The last group may be cut off where no values are left in it.
        let values = groups.saturating_mul(8).min(left);
        if groups == 0 || self.bytes.len() < (values * width).div_ceil(8) {
            return Err(early());
        }
        let (packed, rest) = self.bytes.split_at(size.min(self.bytes.len()));
        (self.bytes, self.left) = (rest, left - values);
        Ok(Some(Run::Packed(packed, values)))
    }
}

/// Appends those values of `width` bits that stand at `range`, none over `max`, which must fit the type. What
/// stands before is passed over, and what stands after is not looked at.
///
/// # Errors
/// Where the bytes end too early or a value is larger.
pub(crate) fn part<T: Small>(
    out: &mut Vec<T>,
    bytes: &[u8],
    width: u8,
    range: Range<usize>,
    max: u32,
) -> Result<(), BlockError> {
    let mut runs = Runs::new(bytes, width, range.end)?;
    let mut at = 0;
    while let Some(run) = runs.next()? {
        let length = match run {
            Run::Same(_, length) | Run::Packed(_, length) => length,
        };
        let (skip, upto) =
            (range.start.saturating_sub(at).min(length), range.end.saturating_sub(at).min(length));
        at += length;
        if skip >= upto {
            continue;
        }
        match run {
            Run::Same(value, _) if value > max => return Err(over(value, max)),
            Run::Same(value, _) => out.resize(out.len() + upto - skip, T::of(value)),
            Run::Packed(packed, _) => {
                let rest = packed.get(skip / 8 * usize::from(width)..).unwrap_or_default();
                let first = out.len();
                unpack(out, rest, width, upto - skip / 8 * 8, max)?;
                out.drain(first..first + skip % 8);
            }
        }
    }
    Ok(())
}

/// Looks for a value among packed ones of up to eight bits, as many whole groups of eight at a time as a word holds.
#[derive(Clone, Copy)]
struct Finder {
    width: usize,
    /// Values that are looked at together.
    many: usize,
    /// Bit 0 of each of these.
    low: u64,
    /// The value, as often.
    value: u64,
}

impl Finder {
    fn new(width: u8, value: u32) -> Self {
        let width = usize::from(width);
        let many = 8_usize.checked_div(width).unwrap_or(1).max(1) * 8;
        let low = (0..many).fold(0_u64, |low, i| low | 1 << (i * width));
        Self { width, many, low, value: low.wrapping_mul(value.into()) }
    }

    /// Bit 0 of those values of a stretch that are the value; `length` are packed in all.
    fn find(self, packed: &[u8], stretch: usize, length: usize) -> u64 {
        let first = stretch * self.many;
        let (at, count) = (first / 8 * self.width, length - first);
        let differs = word(packed, at) ^ self.value;
        let any = (1..self.width).fold(differs, |any, shift| any | differs >> shift);
        let found = self.low & !any;
        if count < self.many { found & ((1 << (count * self.width)) - 1) } else { found }
    }
}

/// How many of the first `upto` values are `value`. Of levels: at most eight bits.
pub(crate) fn count(bytes: &[u8], width: u8, upto: usize, value: u32) -> Result<usize, BlockError> {
    let width = width.min(8);
    let mut runs = Runs::new(bytes, width, upto)?;
    let finder = Finder::new(width, value);
    let mut found = 0;
    while let Some(run) = runs.next()? {
        match run {
            Run::Same(same, length) => found += if same == value { length } else { 0 },
            Run::Packed(packed, length) => {
                for stretch in 0..length.div_ceil(finder.many) {
                    found += finder.find(packed, stretch, length).count_ones() as usize;
                }
            }
        }
    }
    Ok(found)
}

/// Where among `count` values 0 stands for the `nth` time, counted from none; `count` where it does not. Of
/// levels: at most eight bits.
pub(crate) fn nth_zero(bytes: &[u8], width: u8, count: usize, nth: usize) -> Result<usize, BlockError> {
    let width = width.min(8);
    let mut runs = Runs::new(bytes, width, count)?;
    let finder = Finder::new(width, 0);
    let (mut at, mut left) = (0, nth);
    while let Some(run) = runs.next()? {
        match run {
            Run::Same(0, length) if left < length => return Ok(at + left),
            Run::Same(value, length) => {
                left -= if value == 0 { length } else { 0 };
                at += length;
            }
            Run::Packed(packed, length) => {
                for stretch in 0..length.div_ceil(finder.many) {
                    let mut here = finder.find(packed, stretch, length);
                    let zeros = here.count_ones() as usize;
                    if left >= zeros {
                        left -= zeros;
                        continue;
                    }
                    (0..left).for_each(|_| here &= here - 1);
                    let place = here.trailing_zeros().checked_div(u32::from(width)).unwrap_or(0);
                    return Ok(at + stretch * finder.many + place as usize);
                }
                at += length;
            }
        }
    }
    Ok(count)
}

/// Appends `count` bit-packed values.
fn unpack<T: Small>(
    out: &mut Vec<T>,
    packed: &[u8],
    width: u8,
    count: usize,
    max: u32,
) -> Result<(), BlockError> {
    let (mask, bits) = ((1_u64 << width) - 1, u32::from(width));
    out.reserve(count);
    let mut left = count;
    // Eight values are as many bytes as one has bits.
    for group in 0..count.div_ceil(8) {
        let at = group * usize::from(width);
        let mut values = [0_u32; 8];
        if width <= 8 {
            let taken = match packed.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
                Some(chunk) => u64::from_le_bytes(*chunk),
                None => window(packed, at) as u64,
            };
            for (value, shift) in values.iter_mut().zip((0..64).step_by(width.max(1).into())) {
                *value = (taken >> shift & mask) as u32;
            }
        } else {
            let (low, high) = values.split_at_mut(4);
            let mut taken = wide(packed, at);
            for value in low {
                *value = (taken as u64 & mask) as u32;
                taken >>= bits;
            }
            // Four values of an odd number of bits end within a byte.
            let mut taken = wide(packed, at + usize::from(width / 2)) >> ((bits * 4) & 7);
            for value in high {
                *value = (taken as u64 & mask) as u32;
                taken >>= bits;
            }
        }
        let here = values.get(..left.min(8)).unwrap_or_default();
        if let Some(value) = here.iter().find(|value| **value > max) {
            return Err(over(*value, max));
        }
        out.extend(here.iter().map(|value| T::of(*value)));
        left = left.saturating_sub(8);
    }
    Ok(())
}

/// Appends the first `wanted` of exactly `count` integers of DELTA_BINARY_PACKED and returns the bytes after
/// all of them.
///
/// # Errors
/// Where the bytes end too early, or hold another number of values.
pub(crate) fn delta<'a>(
    out: &mut Vec<u64>,
    mut bytes: &'a [u8],
    count: usize,
    wanted: usize,
    bits: u32,
) -> Result<&'a [u8], BlockError> {
    let early = || short("deltas");
    let mut next = || varint(&mut bytes).ok_or_else(early);
    let (block, minis, total, first) = (next()?, next()?, next()?, unzigzag(next()?));
    if total != count as u64 {
        return Err(BlockError::corrupt("page", format!("{total} deltas, expected {count}")));
    }
    let mini = block.checked_div(minis).unwrap_or(0);
    if mini == 0 || mini % 8 != 0 || block > 1 << 16 {
        return Err(BlockError::corrupt("page", format!("{minis} miniblocks in blocks of {block} deltas")));
    }
    if count == 0 {
        return Ok(bytes);
    }
    let wrap = |value: i64| if bits == 32 { i64::from(value as i32) } else { value };
    out.reserve(wanted.min(count).min(EAGER));
    if wanted > 0 {
        out.push(wrap(first).cast_unsigned());
    }
    let (mut last, mut left, mut wanted) = (first, count - 1, wanted.saturating_sub(1));
    while left > 0 {
        let least = unzigzag(varint(&mut bytes).ok_or_else(early)?);
        let (widths, rest) = bytes.split_at_checked(minis as usize).ok_or_else(early)?;
        bytes = rest;
        for &width in widths {
            if left == 0 {
                break;
            }
            if width > 64 {
                return Err(BlockError::corrupt("page", format!("deltas of {width} bits")));
            }
            let values = left.min(mini as usize);
            let size = mini as usize / 8 * usize::from(width);
            if bytes.len() < (values * usize::from(width)).div_ceil(8) {
                return Err(early());
            }
            let (packed, rest) = bytes.split_at(size.min(bytes.len()));
            bytes = rest;
            let mask = u64::MAX.checked_shr(64 - u32::from(width)).unwrap_or(0);
            let mut add = |raw: u64| {
                last = wrap(last.wrapping_add(least).wrapping_add((raw & mask).cast_signed()));
                out.push(last.cast_unsigned());
            };
            let bits = (0..values.min(wanted)).map(|i| i * usize::from(width));
            match width {
                0 => bits.for_each(|_| add(0)),
                // With the bits before it in its first byte, it lies in a word.
                1..=56 => bits.for_each(|bit| add(word(packed, bit / 8) >> (bit % 8))),
                _ => bits.for_each(|bit| add((wide(packed, bit / 8) >> (bit % 8)) as u64)),
            }
            left -= values;
            wanted = wanted.saturating_sub(values);
        }
    }
    Ok(bytes)
}

/// The first eight bytes of a [`window`], with a fast path for the middle of a slice.
fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => window(bytes, at) as u64,
    }
}

/// As [`window`], with a fast path for the middle of a slice.
fn wide(bytes: &[u8], at: usize) -> u128 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => window(bytes, at),
    }
}

/// Calls `entry` with the place of those at `range` of `count` byte arrays of DELTA_LENGTH_BYTE_ARRAY in `page`.
pub(crate) fn delta_length(
    page: &[u8],
    count: usize,
    range: Range<usize>,
    mut entry: impl FnMut(usize, usize),
) -> Result<(), BlockError> {
    let mut lengths = Vec::new();
    let rest = delta(&mut lengths, page, count, range.end, 32)?;
    let mut at = page.len() - rest.len();
    for (i, length) in lengths.into_iter().enumerate() {
        let length = usize::try_from(length).ok().filter(|&length| length <= page.len() - at);
        let length = length.ok_or_else(|| short("byte arrays"))?;
        if i >= range.start {
            entry(at, length);
        }
        at += length;
    }
    Ok(())
}

/// Calls `entry` with the place of those at `range` of the PLAIN byte arrays in `page`.
pub(crate) fn plain_bytes(
    page: &[u8],
    range: Range<usize>,
    mut entry: impl FnMut(usize, usize),
) -> Result<(), BlockError> {
    let mut left = page;
    for i in 0..range.end {
        let value = prefixed(&mut left).ok_or_else(|| short("byte arrays"))?;
        if i >= range.start {
            entry(page.len() - left.len() - value.len(), value.len());
        }
    }
    Ok(())
}

/// Appends those at `range` of the PLAIN numbers of `SIZE` bytes, as `widen` makes them.
pub(crate) fn plain<const SIZE: usize>(
    out: &mut Vec<u64>,
    bytes: &[u8],
    range: Range<usize>,
    widen: impl Fn([u8; SIZE]) -> u64,
) -> Result<(), BlockError> {
    let end = range.end.checked_mul(SIZE);
    let those = end.and_then(|end| bytes.get(range.start * SIZE..end)).ok_or_else(|| short("numbers"))?;
    out.extend(those.as_chunks::<SIZE>().0.iter().map(|&number| widen(number)));
    Ok(())
}

/// Appends those at `range` of the PLAIN booleans.
pub(crate) fn plain_bools(out: &mut Vec<u64>, bytes: &[u8], range: Range<usize>) -> Result<(), BlockError> {
    if bytes.len() < range.end.div_ceil(8) {
        return Err(short("booleans"));
    }
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| u64::from(byte >> (at % 8) & 1));
    out.extend(range.map(bit));
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::block::encode;

    proptest! {
        #[test]
        fn levels_of_every_width_come_back(
            max in 1_u8..=200,
            runs in proptest::collection::vec((any::<u8>(), 1_usize..60), 0..20),
        ) {
            let levels: Vec<u8> = runs
                .iter()
                .flat_map(|(level, run)| {
                    (0..*run as u8).map(move |i| (level ^ if run % 2 == 0 { i } else { 0 }) % (max + 1))
                })
                .collect();
            let mut bytes = Vec::new();
            encode::levels(&mut bytes, &levels, max);
            let packed = prefixed(&mut &bytes[..]).unwrap();
            let mut back: Vec<u8> = Vec::new();
            let width = encode::width(u32::from(max));
            part(&mut back, packed, width, 0..levels.len(), u32::from(max)).unwrap();
            prop_assert_eq!(back, levels);
        }

        #[test]
        fn runs_and_groups_of_every_width_come_back(
            width in 0_u8..=32,
            runs in proptest::collection::vec((any::<u32>(), 1_usize..60), 0..20),
            damage in any::<(prop::sample::Index, u8)>(),
            ends in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let max = ((1_u64 << width) - 1) as u32;
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|(value, run)| {
                    // Half of the runs vary from value to value.
                    (0..*run as u32).map(move |i| (value ^ if run % 2 == 0 { i } else { 0 }) & max)
                })
                .collect();
            let mut bytes = Vec::new();
            encode::hybrid(&mut bytes, &values, width);
            let mut back: Vec<u32> = Vec::new();
            part(&mut back, &bytes, width, 0..values.len(), max).unwrap();
            prop_assert_eq!(&back, &values);
            let (from, to) = (ends.0.index(values.len() + 1), ends.1.index(values.len() + 1));
            let range = from.min(to)..from.max(to);
            let mut some: Vec<u32> = Vec::new();
            part(&mut some, &bytes, width, range.clone(), max).unwrap();
            prop_assert_eq!(&some, &values[range.clone()]);
            if (1..=8).contains(&width) {
                let value = values.first().copied().unwrap_or(0);
                let expected = values[..range.end].iter().filter(|other| **other == value).count();
                prop_assert_eq!(count(&bytes, width, range.end, value).unwrap(), expected);
                let zeros: Vec<_> = (0..values.len()).filter(|at| values[*at] == 0).collect();
                for nth in [0, 1, range.start] {
                    let expected = zeros.get(nth).copied().unwrap_or(values.len());
                    prop_assert_eq!(nth_zero(&bytes, width, values.len(), nth).unwrap(), expected);
                }
            }
            if !bytes.is_empty() {
                let at = damage.0.index(bytes.len());
                bytes[at] ^= damage.1;
                let _ = part(&mut Vec::<u32>::new(), &bytes, width, 0..values.len(), max);
                let _ = (count(&bytes, width, values.len(), 1), nth_zero(&bytes, width, values.len(), 3));
                let _ = part(&mut Vec::<u8>::new(), &bytes[..at], width, 0..values.len(), 255);
            }
        }

        #[test]
        fn deltas_of_every_width_come_back(
            shift in 0_u32..64,
            values in proptest::collection::vec(any::<i64>(), 0..400),
            damage in any::<(prop::sample::Index, u8)>(),
        ) {
            let values: Vec<i64> = values.into_iter().map(|value| value >> shift).collect();
            let small: Vec<i32> = values.iter().map(|value| *value as i32).collect();
            let mut bytes = Vec::new();
            encode::delta(&mut bytes, &values);
            let mut back = Vec::new();
            let rest = delta(&mut back, &bytes, values.len(), usize::MAX, 64).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(back.iter().map(|value| value.cast_signed()).collect::<Vec<_>>(), values.clone());
            let mut narrow = Vec::new();
            encode::delta(&mut narrow, &small);
            let mut back = Vec::new();
            delta(&mut back, &narrow, small.len(), usize::MAX, 32).unwrap();
            prop_assert_eq!(back.iter().map(|value| value.cast_signed() as i32).collect::<Vec<_>>(), small);
            let at = damage.0.index(bytes.len());
            bytes[at] ^= damage.1;
            let _ = delta(&mut Vec::new(), &bytes, values.len(), usize::MAX, 64);
            let _ = delta(&mut Vec::new(), &bytes[..at], values.len(), usize::MAX, 64);
        }
    }
}
