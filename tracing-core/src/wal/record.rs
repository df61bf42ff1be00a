//! How a record is laid out in a segment, and how records are found again behind damage. Pure.
//!
//! ```text
//! mark  4  "VSR\x01"          where a reader that lost its way finds the next record
//! len   4  little endian      bytes of payload
//! crc   4  little endian      CRC-32 (IEEE) of `len` and payload
//! payload: version 1 | tenant length 1 | tenant | trace id 16 | OTLP TracesData
//! ```

use std::io::{self, Read};

use bytes::Bytes;

use crate::model::{Tenant, TraceId};

/// Largest payload of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 64 << 20;

const MARK: [u8; 4] = *b"VSR\x01";
const HEAD: usize = 12;
const VERSION: u8 = 1;
/// Bytes read from the source at a time.
const CHUNK: usize = 256 << 10;
/// Most damaged bytes handed out for keeping; the rest is only counted.
const MAX_KEPT: usize = 16 << 20;

/// Spans of one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose they are.
    pub tenant: Tenant,
    /// Their trace.
    pub id: TraceId,
    /// A protobuf TracesData (opentelemetry-proto) that holds these spans alone.
    pub otlp: Bytes,
}

/// Why a record cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`MAX_RECORD_BYTES`].
    #[error("spans of trace {id} take {bytes} bytes in one request, the limit is {MAX_RECORD_BYTES}")]
    TooLarge {
        /// The trace.
        id: TraceId,
        /// Bytes its spans take.
        bytes: usize,
    },
}

/// Appends a record to `out`.
///
/// # Errors
/// [`RecordError::TooLarge`]; `out` is then as it was.
pub(crate) fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let tenant = record.tenant.as_str().as_bytes();
    let len = 2 + tenant.len() + 16 + record.otlp.len();
    if len > MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge { id: record.id, bytes: record.otlp.len() });
    }
    let len = (len as u32).to_le_bytes();
    let tenant_len = tenant.len() as u8; // a tenant's name has at most 150 bytes
    let mut crc = crc32fast::Hasher::new();
    for part in [&len[..], &[VERSION, tenant_len], tenant, &record.id.0, &record.otlp] {
        crc.update(part);
    }
    out.reserve(encoded_len(record));
    let crc = crc.finalize().to_le_bytes();
    for part in [&MARK[..], &len, &crc, &[VERSION, tenant_len], tenant, &record.id.0, &record.otlp] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Bytes that `encode` appends.
pub(crate) fn encoded_len(record: &Record) -> usize {
    HEAD + 2 + record.tenant.as_str().len() + 16 + record.otlp.len()
}

/// What stands next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A whole record.
    Record(Record),
    /// Bytes that are no record.
    Damage(Damage),
}

/// Bytes between two records, or between a record and the end, that are no record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where they start.
    pub at: u64,
    /// How many there are.
    pub len: u64,
    /// The first of them.
    pub kept: Vec<u8>,
    /// Whether no record follows: a torn tail, if nothing was written after this segment.
    pub tail: bool,
}

enum Frame {
    Whole { record: Record, len: usize },
    Short { need: usize },
    None,
}

/// Reads the records of one segment, holding no more than one record and [`CHUNK`] bytes.
#[derive(Debug)]
pub(crate) struct Scan<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    ended: bool,
}

impl<R: Read> Scan<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), start: 0, offset: 0, ended: false }
    }

    /// The next record or damage, `None` at the end.
    ///
    /// # Errors
    /// Those of the source.
    pub(crate) fn next(&mut self) -> io::Result<Option<Item>> {
        self.fill(HEAD)?;
        if self.rest(0).is_empty() {
            return Ok(None);
        }
        if let Some((record, len)) = self.frame_at(0)? {
            self.advance(len);
            return Ok(Some(Item::Record(record)));
        }
        self.resync().map(|damage| Some(Item::Damage(damage)))
    }

    /// Skips to the next whole record.
    fn resync(&mut self) -> io::Result<Damage> {
        let mut damage = Damage { at: self.offset, len: 0, kept: Vec::new(), tail: false };
        let mut step = 1;
        loop {
            self.give_up(step, &mut damage);
            self.fill(CHUNK)?;
            match memchr::memmem::find(self.rest(0), &MARK) {
                Some(at) => {
                    self.give_up(at, &mut damage);
                    if self.frame_at(0)?.is_some() {
                        return Ok(damage);
                    }
                    step = 1;
                }
                None if self.ended => {
                    self.give_up(self.rest(0).len(), &mut damage);
                    damage.tail = true;
                    return Ok(damage);
                }
                // The mark may lie across the end of what is buffered.
                None => step = self.rest(0).len().saturating_sub(MARK.len() - 1),
            }
        }
    }

    fn give_up(&mut self, bytes: usize, damage: &mut Damage) {
        let room = MAX_KEPT.saturating_sub(damage.kept.len()).min(bytes);
        damage.kept.extend(self.rest(0).iter().take(room));
        damage.len += bytes as u64;
        self.advance(bytes);
    }

    fn frame_at(&mut self, at: usize) -> io::Result<Option<(Record, usize)>> {
        loop {
            match decode(self.rest(at)) {
                Frame::Whole { record, len } => return Ok(Some((record, len))),
                Frame::None => return Ok(None),
                Frame::Short { need } => {
                    self.fill(at + need)?;
                    if self.rest(at).len() < need {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn rest(&self, at: usize) -> &[u8] {
        self.buffer.get(self.start + at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Buffers at least `want` bytes, or all there are.
    fn fill(&mut self, want: usize) -> io::Result<()> {
        if self.rest(0).len() >= want || self.ended {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let missing = want - self.buffer.len();
        let chunk = missing.max(CHUNK) as u64;
        let read = (&mut self.source).take(chunk).read_to_end(&mut self.buffer)?;
        self.ended = (read as u64) < chunk;
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Frame {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
        return Frame::Short { need: HEAD };
    };
    let word = |at: usize| head.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    let (Some(len), Some(crc)) = (word(4), word(8)) else { return Frame::None };
    let size = len as usize;
    if head.get(..4) != Some(&MARK[..]) || !(18..=MAX_RECORD_BYTES).contains(&size) {
        return Frame::None;
    }
    let Some(payload) = rest.get(..size) else {
        return Frame::Short { need: HEAD + size };
    };
    let mut found = crc32fast::Hasher::new();
    found.update(&len.to_le_bytes());
    found.update(payload);
    match (found.finalize() == crc).then(|| open(payload)).flatten() {
        Some(record) => Frame::Whole { record, len: HEAD + size },
        None => Frame::None,
    }
}

fn open(payload: &[u8]) -> Option<Record> {
    let ([VERSION, tenant_len], rest) = payload.split_at_checked(2)? else { return None };
    let (tenant, rest) = rest.split_at_checked(usize::from(*tenant_len))?;
    let (id, otlp) = rest.split_at_checked(16)?;
    let tenant = Tenant::new(std::str::from_utf8(tenant).ok()?).ok()?;
    Some(Record { tenant, id: TraceId::from_slice(id).ok()?, otlp: Bytes::copy_from_slice(otlp) })
}

/// The way in for the fuzz target `wal_records`, which no other build has: `input` as a segment, and as the
/// payload of a record between two others.
#[cfg(fuzzing)]
pub fn fuzz_records(input: &[u8]) {
    let scan = |bytes: &[u8]| {
        let (mut scan, mut records, mut end) = (Scan::new(bytes), Vec::new(), 0);
        while let Some(item) = scan.next().expect("memory does not fail") {
            match item {
                Item::Record(record) => {
                    end += encoded_len(&record) as u64;
                    records.push(record);
                }
                Item::Damage(damage) => {
                    assert_eq!(damage.at, end);
                    end += damage.len;
                }
            }
        }
        assert_eq!(end, bytes.len() as u64, "every byte is a record's or damage");
        records
    };
    scan(input);
    let whole = Record { tenant: Tenant::single(), id: TraceId([1; 16]), otlp: Bytes::from_static(b"otlp") };
    let mut segment = Vec::new();
    let _ = encode(&whole, &mut segment);
    let len = (input.len() as u32).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&len);
    crc.update(input);
    for part in [&MARK[..], &len, &crc.finalize().to_le_bytes(), input] {
        segment.extend_from_slice(part);
    }
    let _ = encode(&whole, &mut segment);
    // What stands behind may be swallowed: the fuzzer solves checksums, and makes a record that reaches into it.
    assert_eq!(scan(&segment).first(), Some(&whole));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(n: u8, len: usize) -> Record {
        let tenant = Tenant::new("tenant-a").unwrap();
        Record { tenant, id: TraceId([n; 16]), otlp: Bytes::from(vec![n; len]) }
    }

    fn encoded(records: &[Record]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in records {
            let before = out.len();
            encode(record, &mut out).unwrap();
            assert_eq!(out.len() - before, encoded_len(record));
        }
        out
    }

    fn scan(bytes: &[u8]) -> (Vec<Record>, Vec<(u64, u64, bool)>) {
        let (mut records, mut damage) = (Vec::new(), Vec::new());
        let mut scan = Scan::new(bytes);
        while let Some(item) = scan.next().unwrap() {
            match item {
                Item::Record(record) => records.push(record),
                Item::Damage(found) => damage.push((found.at, found.len, found.tail)),
            }
        }
        (records, damage)
    }

    #[test]
    fn records_larger_than_the_buffer_read_back() {
        let records = [record(1, 0), record(2, 3 * CHUNK), record(3, 17)];
        assert_eq!(scan(&encoded(&records)), (records.to_vec(), vec![]));
    }

    #[test]
    fn a_record_too_large_is_refused_and_nothing_is_written() {
        let mut out = vec![1];
        let wrong = encode(&record(1, MAX_RECORD_BYTES), &mut out).unwrap_err().to_string();
        assert!(wrong.contains("the limit is 67108864"), "{wrong}");
        assert_eq!(out, [1]);
    }

    #[test]
    fn a_tail_torn_at_any_byte_loses_only_the_torn_record() {
        let records = [record(1, 30), record(2, 40)];
        let bytes = encoded(&records);
        let first = encoded_len(&records[0]);
        for end in first + 1..bytes.len() {
            let (found, damage) = scan(&bytes[..end]);
            assert_eq!(found, records[..1]);
            assert_eq!(damage, [(first as u64, (end - first) as u64, true)]);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_costs_one_record_and_the_next_is_found() {
        let records = [record(1, 9), record(2, 9), record(3, 9)];
        let bytes = encoded(&records);
        let len = encoded_len(&records[1]);
        for at in len..2 * len {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            let (found, damage) = scan(&bad);
            assert_eq!(found, [records[0].clone(), records[2].clone()], "bit flipped at {at}");
            assert_eq!(damage, [(len as u64, len as u64, false)]);
        }
    }

    #[test]
    fn a_tail_of_zeros_is_a_torn_tail() {
        let mut bytes = encoded(&[record(1, 9)]);
        let whole = bytes.len() as u64;
        bytes.extend(vec![0; 2 * CHUNK]);
        assert_eq!(scan(&bytes), (vec![record(1, 9)], vec![(whole, 2 * CHUNK as u64, true)]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_to_their_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..200) {
            let mut all = encoded(&[record(7, 50)]);
            all.truncate(cut);
            all.extend(&bytes);
            all.extend(encoded(&[record(8, 20)]));
            let (found, damage) = scan(&all);
            prop_assert_eq!(found.last(), Some(&record(8, 20)));
            let whole: usize = found.iter().map(encoded_len).sum();
            prop_assert_eq!(whole as u64 + damage.iter().map(|d| d.1).sum::<u64>(), all.len() as u64);
        }
    }
}
