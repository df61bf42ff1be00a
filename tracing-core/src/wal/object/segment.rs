//! What an object of a log holds. Pure.
//!
//! ```text
//! mark        8  "VIVASEG1" or "VIVAFNC1" (a fence)
//! log        16  random id of the writer's opening, or of who fences
//! epoch       8  little endian, as all numbers
//! generation  8  of a fence: the term
//! sequence    8
//! packing     1  0 none, 1 zstd
//! crc         4  CRC-32 (IEEE) of the body as it stands here
//! head crc    4  of all before
//! body           records, one after the other
//! ```
//!
//! The head makes the bytes of no two writers equal, and no two of a writer's, which is how a lost answer to our
//! own put is told from another's object.

use std::io::{Cursor, Read, Write};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

const SEGMENT: [u8; 8] = *b"VIVASEG1";
const FENCE: [u8; 8] = *b"VIVAFNC1";
const HEAD: usize = 57;
/// A body shorter than this is not packed.
const WORTH_PACKING: usize = 512;
/// zstd's fast levels: the log is read once or never, and written with every span.
const LEVEL: i32 = -3;

/// What stands before the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) log: Uuid,
    pub(super) epoch: u64,
    pub(super) generation: u64,
    pub(super) sequence: u64,
}

/// An object of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Segment(Head, Body),
    /// No writer of the epoch gets past this; `generation` is the term of who put it.
    Fence(Head),
}

/// Records as they lie in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    packed: bool,
    bytes: Bytes,
}

impl Body {
    /// Its length in the object.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The records, unpacked as they are read: however long a damaged body says that it is, no more than a
    /// reader's buffer is held.
    pub(super) fn source(self) -> std::io::Result<Box<dyn Read + Send>> {
        if !self.packed {
            return Ok(Box::new(Cursor::new(self.bytes)));
        }
        let mut decoder = zstd::stream::read::Decoder::with_buffer(Cursor::new(self.bytes))?;
        decoder.window_log_max(27)?;
        Ok(Box::new(decoder))
    }
}

/// The bytes of a segment.
pub(super) fn encode(head: &Head, frames: &[Bytes]) -> Bytes {
    let len: usize = frames.iter().map(Bytes::len).sum();
    if len >= WORTH_PACKING
        && let Ok(packed) = pack(frames, len)
    {
        return whole(SEGMENT, head, 1, &[&packed]);
    }
    let frames: Vec<&[u8]> = frames.iter().map(AsRef::as_ref).collect();
    whole(SEGMENT, head, 0, &frames)
}

/// The bytes of a fence.
pub(super) fn fence(head: &Head) -> Bytes {
    whole(FENCE, head, 0, &[])
}

/// Reads an object; `None` where it is none of ours or is damaged.
pub(super) fn decode(bytes: &Bytes) -> Option<Object> {
    let head = bytes.get(..HEAD)?;
    let (covered, crc) = head.split_at_checked(HEAD - 4)?;
    if crc32fast::hash(covered).to_le_bytes() != crc {
        return None;
    }
    let number = |at: usize| head.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let log = Uuid::from_slice(head.get(8..24)?).ok()?;
    let found = Head { log, epoch: number(24)?, generation: number(32)?, sequence: number(40)? };
    let body = bytes.slice(HEAD..);
    if head.get(49..53)? != crc32fast::hash(&body).to_le_bytes() {
        return None;
    }
    match (head.get(..8)?, *head.get(48)?) {
        (mark, 0) if mark == FENCE => Some(Object::Fence(found)),
        (mark, packing @ (0 | 1)) if mark == SEGMENT => {
            Some(Object::Segment(found, Body { packed: packing == 1, bytes: body }))
        }
        _ => None,
    }
}

fn pack(frames: &[Bytes], len: usize) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::with_capacity(len / 3), LEVEL)?;
    encoder.set_pledged_src_size(Some(len as u64))?;
    for frame in frames {
        encoder.write_all(frame)?;
    }
    encoder.finish()
}

fn whole(mark: [u8; 8], head: &Head, packing: u8, body: &[&[u8]]) -> Bytes {
    let mut crc = crc32fast::Hasher::new();
    for part in body {
        crc.update(part);
    }
    let mut out = BytesMut::with_capacity(HEAD + body.iter().map(|part| part.len()).sum::<usize>());
    out.extend_from_slice(&mark);
    out.extend_from_slice(head.log.as_bytes());
    for number in [head.epoch, head.generation, head.sequence] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&[packing]);
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    for part in body {
        out.extend_from_slice(part);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head { log: Uuid::from_u128(5), epoch: 6, generation: 7, sequence: 8 }
    }

    fn records(object: Object) -> Vec<u8> {
        let Object::Segment(found, body) = object else { panic!("a fence") };
        assert_eq!(found, head());
        let mut out = Vec::new();
        body.source().unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn short_and_long_bodies_read_back_and_long_ones_are_packed() {
        let short = encode(&head(), &[Bytes::from_static(b"abc"), Bytes::from_static(b"def")]);
        assert_eq!(records(decode(&short).unwrap()), b"abcdef");
        let long = encode(&head(), &[Bytes::from(vec![1; 3000]), Bytes::from(vec![2; 3000])]);
        assert!(long.len() < 300, "{}", long.len());
        assert_eq!(records(decode(&long).unwrap()), [vec![1; 3000], vec![2; 3000]].concat());
        assert_eq!(decode(&fence(&head())), Some(Object::Fence(head())));
    }

    #[test]
    fn a_flipped_bit_or_a_missing_byte_anywhere_is_seen() {
        let whole = encode(&head(), &[Bytes::from_static(b"some records")]);
        for at in 0..whole.len() {
            let mut bad = whole.to_vec();
            bad[at] ^= 4;
            assert_eq!(decode(&bad.into()), None, "bit flipped at {at}");
            assert_eq!(decode(&whole.slice(..at)), None, "cut at {at}");
        }
    }

    #[test]
    fn no_two_commits_and_no_two_writers_put_equal_bytes() {
        let of = |head: Head| encode(&head, &[Bytes::from_static(b"x")]);
        let all = [
            of(head()),
            of(Head { log: Uuid::from_u128(9), ..head() }),
            of(Head { epoch: 9, ..head() }),
            of(Head { sequence: 9, ..head() }),
            fence(&head()),
        ];
        for (n, a) in all.iter().enumerate() {
            assert!(all.iter().skip(n + 1).all(|b| a != b));
        }
    }
}
