//! What a block holds, in a few kilobytes beside it: which attribute keys and services and names, the values
//! of attributes that have few, hashes of the values of those that have many, and bounds of its numbers. A
//! query that the sketch rules out costs no read of the block's data.
//!
//! Guarantees: [`Sketch::may_match`] is false only where no trace of the block matches the plan. Its object
//! is one of ours, beside the block: blocks of other writers have none, and other readers pass it over.
//!
//! Format of the object: `VSK1`, the CRC-32 of what follows (4 bytes, little-endian), the length of the body
//! (varint), the body compressed with zstd. The body: numbers as varints and texts with their length before
//! them, in the order of [`encoding`].

mod column;
mod encoding;
mod filter;
mod gather;
mod matching;
#[cfg(test)]
mod tests;

pub(crate) use gather::{Memo, SketchBuilder};

use filter::Filter;

use crate::table::Level;

/// What is known of a block without reading it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    numbers: Numbers,
    /// By place and name.
    fields: Vec<Field>,
    /// Places of which keys were left out: nothing is known of a key that is not in `fields`.
    incomplete: u16,
    filter: Filter,
}

/// What holds for all spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbers {
    /// Least and greatest duration of a span, nanoseconds.
    duration: Option<(u64, u64)>,
    /// The same of traces.
    trace_duration: Option<(u64, u64)>,
    /// A bit for each status, as evaluation sees it.
    statuses: u8,
    /// A bit for each kind.
    kinds: u8,
    events: bool,
    links: bool,
}

/// Where values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    Attribute(Level),
    Name,
    StatusMessage,
    RootName,
    RootService,
    EventName,
    ScopeName,
    ScopeVersion,
}

/// An attribute's key, or a column of text, and what is known of its values. Elements of arrays are values.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    place: Place,
    /// Empty for columns.
    name: String,
    /// Whether some value can be searched: those of mixed arrays, bytes and the like cannot.
    searchable: bool,
    texts: Values<String>,
    ints: Values<i64>,
    /// Bits of floats.
    doubles: Values<u64>,
    /// A bit for false, one for true.
    bools: u8,
}

/// Values of one type.
#[derive(Clone, Debug, PartialEq)]
enum Values<T> {
    /// These and no others.
    Exact(Vec<T>),
    /// Their hashes are in the filter; their least and greatest, where they have an order.
    Hashed(Option<(T, T)>),
    /// Anything between the two.
    Any(Option<(T, T)>),
}

impl Sketch {
    /// Name of the object beside the block.
    pub const NAME: &str = "sketch";

    fn field(&self, place: Place, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| (field.place, field.name.as_str()).cmp(&(place, name)));
        at.ok().and_then(|at| self.fields.get(at))
    }

    /// Whether all keys of a place are known.
    fn is_complete(&self, place: Place) -> bool {
        self.incomplete & (1 << place.number()) == 0
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let text = |texts: &Values<String>| match texts {
            Values::Exact(texts) => texts.iter().map(|text| text.len() + 24).sum(),
            _ => 0,
        };
        let fields = self.fields.iter().map(|field| 160 + field.name.len() + text(&field.texts));
        self.filter.memory() + fields.sum::<usize>()
    }
}

impl Place {
    const ALL: [Self; 12] = [
        Self::Attribute(Level::Resource),
        Self::Attribute(Level::Scope),
        Self::Attribute(Level::Span),
        Self::Attribute(Level::Event),
        Self::Attribute(Level::Link),
        Self::Name,
        Self::StatusMessage,
        Self::RootName,
        Self::RootService,
        Self::EventName,
        Self::ScopeName,
        Self::ScopeVersion,
    ];

    /// In the file.
    fn number(self) -> u8 {
        match self {
            Self::Attribute(Level::Resource) => 0,
            Self::Attribute(Level::Scope) => 1,
            Self::Attribute(Level::Span) => 2,
            Self::Attribute(Level::Event) => 3,
            Self::Attribute(Level::Link) => 4,
            Self::Name => 5,
            Self::StatusMessage => 6,
            Self::RootName => 7,
            Self::RootService => 8,
            Self::EventName => 9,
            Self::ScopeName => 10,
            Self::ScopeVersion => 11,
        }
    }
}
