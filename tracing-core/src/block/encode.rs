//! Parquet's encodings, written: RLE/bit-packed hybrid, DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY and
//! PLAIN. Each appends to a buffer.

use super::thrift::{put_varint, zigzag};

/// Runs of at least this many equal values are written as a run. The format allows eight; shorter runs
/// than this compress better as groups.
const MIN_RUN: usize = 24;

/// Bits that hold every value up to `max`.
pub(crate) fn width(max: u32) -> u8 {
    (u32::BITS - max.leading_zeros()) as u8
}

/// Values of `width` bits as runs and bit-packed groups of eight.
pub(crate) fn hybrid<T: Copy + PartialEq + Into<u32>>(out: &mut Vec<u8>, values: &[T], width: u8) {
    let mut left = values;
    // Start of the groups that were not written yet; they are closed by a run or the end.
    let mut packed = values;
    while let Some(&first) = left.first() {
        let run = left.iter().take_while(|&&value| value == first).count();
        if run >= MIN_RUN {
            let groups = packed.get(..packed.len() - left.len()).unwrap_or_default();
            bit_pack_run(out, groups, width);
            put_varint(out, (run as u64) << 1);
            let bytes = first.into().to_le_bytes();
            out.extend(bytes.iter().take(usize::from(width.div_ceil(8))));
            left = left.get(run..).unwrap_or_default();
            packed = left;
        } else {
            left = left.get(8..).unwrap_or_default();
        }
    }
    bit_pack_run(out, packed, width);
}

/// One bit-packed run: a multiple of eight values, but for the last run of all.
fn bit_pack_run<T: Copy + Into<u32>>(out: &mut Vec<u8>, values: &[T], width: u8) {
    if values.is_empty() {
        return;
    }
    put_varint(out, (values.len().div_ceil(8) as u64) << 1 | 1);
    let (mut bits, mut filled) = (0_u64, 0_u32);
    let padding = values.len().next_multiple_of(8) - values.len();
    for value in values.iter().map(|&v| v.into()).chain(std::iter::repeat_n(0, padding)) {
        bits |= u64::from(value) << filled;
        filled += u32::from(width);
        if filled >= 32 {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            filled -= 32;
        }
    }
    out.extend(bits.to_le_bytes().iter().take((filled / 8) as usize));
}

/// As [`hybrid`], for levels, of which a block has more than of anything else: eight at a time.
fn hybrid_levels(out: &mut Vec<u8>, levels: &[u8], width: u8) {
    let (mut packed, mut at) = (0, 0);
    while let Some(&first) = levels.get(at) {
        let run = run_length(levels.get(at..).unwrap_or_default(), first);
        if run < MIN_RUN {
            at += 8;
            continue;
        }
        pack_levels(out, levels.get(packed..at).unwrap_or_default(), width);
        put_varint(out, (run as u64) << 1);
        out.push(first);
        at += run;
        packed = at;
    }
    pack_levels(out, levels.get(packed..).unwrap_or_default(), width);
}

/// Levels at the start that are `first`.
fn run_length(levels: &[u8], first: u8) -> usize {
    let all = u64::from_le_bytes([first; 8]);
    let (groups, rest) = levels.as_chunks::<8>();
    for (at, group) in groups.iter().enumerate() {
        let other = u64::from_le_bytes(*group) ^ all;
        if other != 0 {
            return 8 * at + (other.trailing_zeros() / 8) as usize;
        }
    }
    8 * groups.len() + rest.iter().take_while(|level| **level == first).count()
}

/// One bit-packed run of levels of less than nine bits.
fn pack_levels(out: &mut Vec<u8>, levels: &[u8], width: u8) {
    if levels.is_empty() {
        return;
    }
    put_varint(out, (levels.len().div_ceil(8) as u64) << 1 | 1);
    let width = u32::from(width.min(8));
    let mut group = |levels: [u8; 8]| {
        // Pairs of eight bits move together, then pairs of 16, then of 32.
        let bits = u64::from_le_bytes(levels);
        let bits = bits & 0x00ff_00ff_00ff_00ff | (bits & 0xff00_ff00_ff00_ff00) >> (8 - width);
        let bits = bits & 0x0000_ffff_0000_ffff | (bits & 0xffff_0000_ffff_0000) >> (16 - 2 * width);
        let bits = bits & 0xffff_ffff | (bits >> 32) << (4 * width);
        out.extend(bits.to_le_bytes().iter().take(width as usize));
    };
    let (groups, rest) = levels.as_chunks::<8>();
    for levels in groups {
        group(*levels);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, level)| *to = *level);
        group(last);
    }
}

/// Levels as a page of version 1 has them: the length in four bytes, then the hybrid.
pub(crate) fn levels(out: &mut Vec<u8>, levels: &[u8], max: u8) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    hybrid_levels(out, levels, width(u32::from(max)));
    let length = (out.len() - start - 4) as u32;
    if let Some(prefix) = out.get_mut(start..start + 4) {
        prefix.copy_from_slice(&length.to_le_bytes());
    }
}

/// Integers whose differences wrap within 32 or 64 bits.
pub(crate) trait Delta: Copy {
    fn diff(self, before: Self) -> Self;
    fn widen(self) -> i64;
    /// `self - least`, which is at least `self`, as unsigned.
    fn above(self, least: Self) -> u64;
    fn less(self, other: Self) -> bool;
}

impl Delta for i32 {
    fn diff(self, before: Self) -> Self {
        self.wrapping_sub(before)
    }
    fn widen(self) -> i64 {
        i64::from(self)
    }
    fn above(self, least: Self) -> u64 {
        u64::from(self.wrapping_sub(least).cast_unsigned())
    }
    fn less(self, other: Self) -> bool {
        self < other
    }
}

impl Delta for i64 {
    fn diff(self, before: Self) -> Self {
        self.wrapping_sub(before)
    }
    fn widen(self) -> i64 {
        self
    }
    fn above(self, least: Self) -> u64 {
        self.wrapping_sub(least).cast_unsigned()
    }
    fn less(self, other: Self) -> bool {
        self < other
    }
}

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;

/// DELTA_BINARY_PACKED with blocks of 128 values in four miniblocks.
pub(crate) fn delta<T: Delta>(out: &mut Vec<u8>, values: &[T]) {
    put_varint(out, BLOCK as u64);
    put_varint(out, MINIBLOCKS as u64);
    put_varint(out, values.len() as u64);
    let Some((&first, rest)) = values.split_first() else {
        return out.push(0);
    };
    put_varint(out, zigzag(first.widen()));
    let everywhere = small_range(values);
    let mut last = first;
    let mut deltas = Vec::with_capacity(BLOCK);
    for block in rest.chunks(BLOCK) {
        deltas.clear();
        for &value in block {
            deltas.push(value.diff(last));
            last = value;
        }
        let least = || deltas.iter().copied().reduce(|a, b| if b.less(a) { b } else { a });
        let Some(least) = everywhere.or_else(least) else { continue };
        put_varint(out, zigzag(least.widen()));
        let widths = out.len();
        out.extend_from_slice(&[0; MINIBLOCKS]);
        for (at, mini) in deltas.chunks(BLOCK / MINIBLOCKS).enumerate() {
            let most = mini.iter().fold(0, |most, delta| most | delta.above(least));
            let width = (u64::BITS - most.leading_zeros()) as u8;
            // Whole bytes compress better than what lies across them.
            let width = width.next_multiple_of(8);
            if let Some(byte) = out.get_mut(widths + at) {
                *byte = width;
            }
            bit_pack_wide(out, mini, least, width);
        }
    }
}

/// The least difference of neighbours, where all differences are within one byte of it: counted from it in every block, equal
/// differences are equal bytes throughout, and compress.
fn small_range<T: Delta>(values: &[T]) -> Option<T> {
    let mut diffs = values.windows(2).map(|pair| pair[1].diff(pair[0]));
    let first = diffs.next()?;
    let (least, most) = diffs.fold((first, first), |(least, most), diff| {
        (if diff.less(least) { diff } else { least }, if most.less(diff) { diff } else { most })
    });
    (most.above(least) < 1 << 8).then_some(least)
}

/// One miniblock, filled up with zeros.
fn bit_pack_wide<T: Delta>(out: &mut Vec<u8>, mini: &[T], least: T, width: u8) {
    let (mut bits, mut filled) = (0_u128, 0_u32);
    let start = out.len();
    for delta in mini {
        bits |= u128::from(delta.above(least)) << filled;
        filled += u32::from(width);
        if filled >= 64 {
            out.extend_from_slice(&(bits as u64).to_le_bytes());
            bits >>= 64;
            filled -= 64;
        }
    }
    out.extend(bits.to_le_bytes().iter().take(filled.div_ceil(8) as usize));
    out.resize(start + BLOCK / MINIBLOCKS / 8 * usize::from(width), 0);
}

/// DELTA_LENGTH_BYTE_ARRAY: all lengths, then all bytes.
pub(crate) fn delta_length<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = &'a [u8]> + Clone) {
    let lengths: Vec<i32> = values.clone().map(|value| value.len() as i32).collect();
    delta(out, &lengths);
    values.for_each(|value| out.extend_from_slice(value));
}

/// PLAIN byte arrays: each with its length in four bytes.
pub(crate) fn plain_bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

/// PLAIN booleans: a bit each.
pub(crate) fn plain_bools(out: &mut Vec<u8>, values: &[bool]) {
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    out.extend(values.chunks(8).map(byte));
}
