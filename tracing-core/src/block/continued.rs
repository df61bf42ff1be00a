//! Traces that began before the block did: whoever cut the block had spans of them in an earlier one. What a query
//! says of such a trace takes all of its parts, and this is how it is known which traces have several.
//!
//! Of the parts of a trace exactly one, the first, is not named so; a merge keeps it that way
//! ([`Continued::merged`]). Blocks of other writers name none. The object lies beside the block, and the number of
//! its entries stands in [`Meta::continued`](super::Meta::continued), so that it is asked for only where there is one.
//!
//! Format: as a sketch's, with `VCT1` before it. The body: the number of entries (varint), then for each, ascending
//! by id, the 16 bytes of the id and when the part starts (8 bytes, little-endian, nanoseconds since 1970).

use super::{BlockError, decode::varint, envelope::Envelope, thrift::put_varint};
use crate::model::TraceId;

const ENVELOPE: Envelope =
    Envelope { magic: b"VCT1", part: "list of continued traces", max_body: 8 + (Continued::MAX as u64) * 24 };

/// The traces of a block that an earlier block has spans of, too, each with the start of what this one has of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Continued {
    /// Ascending by id.
    entries: Vec<(TraceId, u64)>,
}

impl Continued {
    /// Name of the object beside the block.
    pub const NAME: &str = "continued";
    /// Most entries. A block with more of them (some minutes of a hundred thousand spans a second, all of whose traces
    /// were cut in two) names the newest.
    pub const MAX: usize = 1 << 18;

    /// Of these traces, in any order, each with the start of its part, nanoseconds since 1970.
    #[must_use]
    pub fn new(mut entries: Vec<(TraceId, u64)>) -> Self {
        if entries.len() > Self::MAX {
            entries.select_nth_unstable_by_key(Self::MAX, |(_, start)| std::cmp::Reverse(*start));
            entries.truncate(Self::MAX);
        }
        entries.sort_unstable();
        entries.dedup_by_key(|(id, _)| *id);
        Self { entries }
    }

    /// The traces, ascending by id, each with the start of its part.
    #[must_use]
    pub fn entries(&self) -> &[(TraceId, u64)] {
        &self.entries
    }

    /// Whether it names a trace.
    #[must_use]
    pub fn names(&self, id: TraceId) -> bool {
        self.entries.binary_search_by_key(&id, |(id, _)| *id).is_ok()
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<(TraceId, u64)>()
    }

    /// The object to be stored as [`Continued::NAME`].
    ///
    /// # Errors
    /// [`BlockError::Sink`] where it cannot be compressed.
    pub fn encode(&self) -> Result<Vec<u8>, BlockError> {
        let mut body = Vec::with_capacity(8 + self.entries.len() * 24);
        put_varint(&mut body, self.entries.len() as u64);
        for (id, start) in &self.entries {
            body.extend_from_slice(&id.0);
            body.extend_from_slice(&start.to_le_bytes());
        }
        ENVELOPE.seal(&body, 3)
    }

    /// Reads the object.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] and [`BlockError::Limit`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let body = ENVELOPE.open(bytes)?;
        let mut left = body.as_slice();
        let count = varint(&mut left).ok_or_else(|| ENVELOPE.corrupt("too short"))?;
        let (entries, rest) = left.as_chunks::<24>();
        if entries.len() as u64 != count || !rest.is_empty() {
            return Err(ENVELOPE.corrupt("another number of entries than it says"));
        }
        let entry = |bytes: &[u8; 24]| {
            let (id, start) = bytes.split_first_chunk::<16>()?;
            Some((TraceId(*id), u64::from_le_bytes(start.try_into().ok()?)))
        };
        let entries: Vec<_> = entries.iter().filter_map(entry).collect();
        if entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            Ok(Self { entries })
        } else {
            Err(ENVELOPE.corrupt("ids that do not ascend"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TraceId {
        TraceId([n; 16])
    }

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_refused() {
        let continued = Continued::new(vec![(id(3), 30), (id(1), u64::MAX), (id(3), 30)]);
        assert_eq!(continued.entries(), [(id(1), u64::MAX), (id(3), 30)]);
        assert!(continued.names(id(3)) && !continued.names(id(2)));
        let bytes = continued.encode().unwrap();
        assert_eq!(Continued::decode(&bytes).unwrap(), continued);
        for at in 0..bytes.len() {
            assert!(Continued::decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Continued::decode(&damaged).is_err(), "damaged at {at}");
        }
        let mut falling = vec![2];
        falling.extend([[9; 24], [8; 24]].concat());
        let falling = ENVELOPE.seal(&falling, 1).unwrap();
        assert!(Continued::decode(&falling).unwrap_err().to_string().contains("do not ascend"));
        let many = ENVELOPE.seal(&[200, 1, 0], 1).unwrap();
        assert!(Continued::decode(&many).unwrap_err().to_string().contains("number of entries"));
    }

    #[test]
    fn of_too_many_the_newest_are_named() {
        let all = (0..Continued::MAX as u64 + 10).map(|n| (TraceId(u128::from(n).to_be_bytes()), n));
        let continued = Continued::new(all.collect());
        assert_eq!(continued.entries().len(), Continued::MAX);
        assert_eq!(continued.entries()[0].1, 10);
    }
}
