//! What our own objects beside blocks have in common: four letters, the CRC-32 of what follows (little-endian),
//! the length of the body (varint), the body compressed with zstd.

use super::{BlockError, decode::varint, thrift::put_varint};

/// An object's kind.
pub(crate) struct Envelope {
    /// The four letters that it begins with.
    pub(crate) magic: &'static [u8; 4],
    /// What it is called in errors.
    pub(crate) part: &'static str,
    /// Longest body, decompressed, in bytes.
    pub(crate) max_body: u64,
}

impl Envelope {
    /// The object around a body, compressed at a level of zstd.
    pub(crate) fn seal(&self, body: &[u8], level: i32) -> Result<Vec<u8>, BlockError> {
        let packed = zstd::bulk::compress(body, level).map_err(BlockError::Sink)?;
        let mut after = Vec::with_capacity(packed.len() + 8);
        put_varint(&mut after, body.len() as u64);
        after.extend_from_slice(&packed);
        Ok([self.magic.as_slice(), &crc32fast::hash(&after).to_le_bytes(), &after].concat())
    }

    /// The body of an object.
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
        let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(self.corrupt("too short"));
        };
        let Some((checksum, after)) = rest.split_first_chunk::<4>() else {
            return Err(self.corrupt("too short"));
        };
        if magic != self.magic {
            return Err(self.corrupt(&format!("does not begin with {}", self.magic.escape_ascii())));
        }
        if crc32fast::hash(after) != u32::from_le_bytes(*checksum) {
            return Err(self.corrupt("its checksum is another"));
        }
        let mut packed = after;
        let length = varint(&mut packed).ok_or_else(|| self.corrupt("too short"))?;
        if length > self.max_body {
            let (part, found, limit) = (self.part.to_owned(), length, self.max_body);
            return Err(BlockError::Limit { part, what: "its length in bytes", found, limit });
        }
        zstd::bulk::decompress(packed, length as usize).map_err(|error| self.corrupt(&error.to_string()))
    }

    pub(crate) fn corrupt(&self, reason: &str) -> BlockError {
        BlockError::corrupt(self.part, reason)
    }
}
