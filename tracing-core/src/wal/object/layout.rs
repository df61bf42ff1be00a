//! Where what of a log lies in an object store. Pure.
//!
//! ```text
//! ~vivace/wal/<ingester>/<epoch>/<sequence>            a segment, or the fence
//! ~vivace/claims/<ingester>/<epoch>/term-<n>           who holds the epoch: the greatest n; 0 is its writer
//! ~vivace/claims/<ingester>/<epoch>/decided-<number>   which blocks hold the spans of a generation
//! ~vivace/claims/<ingester>/<epoch>/ended              all of it is in blocks
//! ```
//!
//! Numbers are 16 hexadecimal digits. Claims stand apart from segments, so that listing all of them is cheap.

use std::fmt::{self, Write};

// The store's: it sweeps nothing away that a decision names.
pub(super) use crate::store::CLAIMS;
use crate::store::DECIDED;

/// Prefix of all segments.
pub(super) const SEGMENTS: &str = "~vivace/wal";
/// Prefix of what was no segment.
const DAMAGED: &str = "~vivace/damaged";

/// Bytes of an ingester's name that stand in a key.
const MAX_NAME: usize = 200;

/// One opening of one ingester's log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// The ingester that opened it, as keys spell it.
    pub ingester: String,
    /// Greater than all before it.
    pub number: u64,
}

/// An object beside the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Term(u64),
    Decided(u64),
    Ended,
}

/// A name as it stands in keys: letters, digits, `.`, `_` and `-` as they are, all else as `=` and two digits.
pub(super) fn spelled(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes().take(MAX_NAME) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            // A key must not begin with a point.
            b'.' if !out.is_empty() => out.push('.'),
            other => {
                // Writing to a string cannot fail.
                let _ = write!(out, "={other:02x}");
            }
        }
    }
    if out.is_empty() { "=".to_owned() } else { out }
}

impl Epoch {
    /// Key of the segment with this sequence number.
    pub(super) fn segment(&self, sequence: u64) -> String {
        format!("{SEGMENTS}/{self}/{sequence:016x}")
    }

    /// Prefix of all segments.
    pub(super) fn segments(&self) -> String {
        format!("{SEGMENTS}/{self}")
    }

    /// The sequence number of a segment's key.
    pub(super) fn sequence(key: &str) -> Option<u64> {
        number(key.rsplit('/').next()?)
    }

    /// Prefix of all claims.
    pub(super) fn claims(&self) -> String {
        format!("{CLAIMS}/{self}")
    }

    /// Key of a claim.
    pub(super) fn claim(&self, claim: Claim) -> String {
        format!("{CLAIMS}/{self}/{claim}")
    }

    /// Where a segment is kept that cannot be read.
    pub(super) fn damaged(&self, sequence: u64) -> String {
        format!("{DAMAGED}/{self}/{sequence:016x}")
    }

    /// Reads the key of a claim; `None` for anything else.
    pub(super) fn parse_claim(key: &str) -> Option<(Self, Claim)> {
        let rest = key.strip_prefix(CLAIMS)?.strip_prefix('/')?;
        let mut parts = rest.split('/');
        let (ingester, epoch, name) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let claim = match name.split_once('-') {
            Some(("term", n)) => Claim::Term(number(n)?),
            Some((DECIDED, n)) => Claim::Decided(number(n)?),
            None if name == "ended" => Claim::Ended,
            _ => return None,
        };
        Some((Self { ingester: ingester.to_owned(), number: number(epoch)? }, claim))
    }

    /// Reads what `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ingester, epoch) = text.rsplit_once('/')?;
        Some(Self { ingester: ingester.to_owned(), number: number(epoch)? })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}", self.ingester, self.number)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(n) => write!(f, "term-{n:016x}"),
            Self::Decided(n) => write!(f, "{DECIDED}-{n:016x}"),
            Self::Ended => f.write_str("ended"),
        }
    }
}

fn number(hex: &str) -> Option<u64> {
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_sort_by_number() {
        let epoch = Epoch { ingester: spelled("tempo-ingester-0"), number: 0x12 };
        assert_eq!(epoch.segment(3), "~vivace/wal/tempo-ingester-0/0000000000000012/0000000000000003");
        assert_eq!(Epoch::sequence(&epoch.segment(300)), Some(300));
        assert!(epoch.segment(9) < epoch.segment(10));
        for claim in [Claim::Term(7), Claim::Decided(8), Claim::Ended] {
            assert_eq!(Epoch::parse_claim(&epoch.claim(claim)), Some((epoch.clone(), claim)));
        }
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch.clone()));
        assert_eq!(Epoch::parse_claim("~vivace/claims/a/b/c"), None);
        assert_eq!(Epoch::parse_claim(&format!("{}/x", epoch.claim(Claim::Ended))), None);
    }

    #[test]
    fn any_name_is_one_segment_of_a_key_and_no_two_are_spelled_alike() {
        for name in ["", ".", "..", "a/b", "a%2fb", "ä", "a=2fb", "-"] {
            let spelled = spelled(name);
            assert!(!spelled.is_empty() && !spelled.contains('/') && !spelled.starts_with('.'), "{name}");
        }
        assert_ne!(spelled("a/b"), spelled("a=2fb"));
    }
}
