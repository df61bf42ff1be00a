//! Trace, span and block ids, with the textual forms that Tempo's API uses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The 16 bytes that name a trace; an id of 8 bytes (Jaeger, Zipkin) is padded on the left with zeros.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// The 8 bytes that name a span within its trace; all zero where there is none (the parent of a root).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

/// A block's name: a random UUID of version 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockId(pub uuid::Uuid);

/// Why a text or byte string is no trace id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// More than 32 hex digits.
    #[error("trace IDs can't be larger than 128 bits")]
    TooLong,
    /// A character outside `0-9a-fA-F`; `position` counts from 1.
    #[error(
        "trace IDs can only contain hex characters: invalid character '{character}' at position {position}"
    )]
    NotHex {
        /// The first character that is no hex digit.
        character: char,
        /// Where it stands, the first character being 1.
        position: usize,
    },
    /// Bytes of another length than 16 (trace) or 8 (span).
    #[error("{what} ids must be {expected} bit, received {received} bits")]
    Length {
        /// `trace` or `span`.
        what: &'static str,
        /// Bits expected.
        expected: usize,
        /// Bits received.
        received: usize,
    },
}

impl TraceId {
    /// The id in exactly 16 bytes.
    ///
    /// # Errors
    /// [`IdError::Length`] for any other length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        let id = bytes.try_into().map_err(|_| IdError::Length {
            what: "trace",
            expected: 128,
            received: bytes.len() * 8,
        })?;
        Ok(Self(id))
    }

    /// Reads hex as Tempo's API does: any case, and short or odd texts are padded on the left.
    ///
    /// # Errors
    /// [`IdError::TooLong`] and [`IdError::NotHex`], in Tempo's words.
    pub fn from_hex(text: &str) -> Result<Self, IdError> {
        if let Some((at, character)) = text.chars().enumerate().find(|(_, c)| !c.is_ascii_hexdigit()) {
            return Err(IdError::NotHex { character, position: at + 1 });
        }
        if text.len() > 32 {
            return Err(IdError::TooLong);
        }
        let digits = text.chars().filter_map(|c| c.to_digit(16));
        Ok(Self(digits.fold(0_u128, |id, digit| id << 4 | u128::from(digit)).to_be_bytes()))
    }

    /// Hex without leading zeros, as Tempo prints ids in search answers.
    #[must_use]
    pub fn trimmed_hex(&self) -> String {
        format!("{:x}", u128::from_be_bytes(self.0))
    }
}

impl SpanId {
    /// The id in exactly 8 bytes.
    ///
    /// # Errors
    /// [`IdError::Length`] for any other length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        let id = bytes.try_into().map_err(|_| IdError::Length {
            what: "span",
            expected: 64,
            received: bytes.len() * 8,
        })?;
        Ok(Self(id))
    }

    /// True for the id that names no span.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 8]
    }
}

impl BlockId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_padded_on_the_left_and_printed_both_ways() {
        let id = TraceId::from_hex("aBc").unwrap();
        assert_eq!(id.to_string(), "00000000000000000000000000000abc");
        assert_eq!(id.trimmed_hex(), "abc");
    }

    #[test]
    fn hex_that_is_none_is_refused_in_tempos_words() {
        let wrong = TraceId::from_hex("z1").unwrap_err().to_string();
        assert_eq!(wrong, "trace IDs can only contain hex characters: invalid character 'z' at position 1");
        assert_eq!(TraceId::from_hex(&"a".repeat(33)), Err(IdError::TooLong));
    }

    #[test]
    fn ids_of_another_length_are_refused_with_both_lengths() {
        let wrong = TraceId::from_slice(&[1; 8]).unwrap_err().to_string();
        assert_eq!(wrong, "trace ids must be 128 bit, received 64 bits");
    }
}
