//! Values that a query can write down, and the types that validation reasons with.

use std::fmt;

use super::duration::write_duration;
use super::strings::quote;

/// A value written in a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `nil`
    Nil,
    /// `12`, `minInt`, `maxInt`
    Int(i64),
    /// `1.5`, `1e3`
    Float(f64),
    /// `"…"` or `` `…` ``
    String(String),
    /// `true`, `false`
    Bool(bool),
    /// `10ms`, in nanoseconds
    Duration(i64),
    /// `error`, `ok`, `unset`
    Status(Status),
    /// `server`, `client` …
    Kind(Kind),
}

/// A span's status. The numbers are OTLP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Neither set.
    Unset = 0,
    /// Explicitly good.
    Ok = 1,
    /// Failed.
    Error = 2,
}

/// A span's kind. The numbers are OTLP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Not said.
    Unspecified = 0,
    /// Within a service.
    Internal = 1,
    /// Answers a request.
    Server = 2,
    /// Makes a request.
    Client = 3,
    /// Puts a message.
    Producer = 4,
    /// Takes a message.
    Consumer = 5,
}

/// What is known of an expression's value before it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `nil`
    Nil,
    /// A whole number.
    Int,
    /// A floating-point number.
    Float,
    /// Text.
    String,
    /// True or false.
    Bool,
    /// Nanoseconds.
    Duration,
    /// A span's status.
    Status,
    /// A span's kind.
    Kind,
    /// An attribute: known only when it is looked up.
    Attribute,
}

impl Literal {
    /// The value's type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::Nil => Type::Nil,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::String(_) => Type::String,
            Self::Bool(_) => Type::Bool,
            Self::Duration(_) => Type::Duration,
            Self::Status(_) => Type::Status,
            Self::Kind(_) => Type::Kind,
        }
    }
}

impl Type {
    /// Whether values of this type can be computed with.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Duration)
    }

    /// Whether a value of one type can be held against one of the other.
    #[must_use]
    pub fn matches(self, other: Self) -> bool {
        let either = |kind| self == kind || other == kind;
        self == other || either(Self::Attribute) || self.is_numeric() && other.is_numeric()
    }
}

impl Status {
    /// Every status, in OTLP's order.
    pub const ALL: [Self; 3] = [Self::Unset, Self::Ok, Self::Error];

    /// The status of OTLP's number; unset for any other.
    #[must_use]
    pub fn from_otlp(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Unset)
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl Kind {
    /// Every kind, in OTLP's order.
    pub const ALL: [Self; 6] =
        [Self::Unspecified, Self::Internal, Self::Server, Self::Client, Self::Producer, Self::Consumer];

    /// The kind of OTLP's number; unspecified for any other.
    #[must_use]
    pub fn from_otlp(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Unspecified)
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(i64::MIN) => f.write_str("minInt"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::String(text) => f.write_str(&quote(text)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Duration(ns) => write_duration(*ns, f),
            Self::Status(status) => f.write_str(status.as_str()),
            Self::Kind(kind) => f.write_str(kind.as_str()),
        }
    }
}
