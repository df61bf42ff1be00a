//! What every section of the configuration can do: say that nothing in it is set, and list its keys.

use serde_json::Value;

use crate::{Duration, RetentionRule, Secret, Size};

/// A part of Tempo's configuration that is accepted and carried, but that nothing here reads.
pub type Opaque = Value;

/// True where nothing is set, so that rendering leaves it out.
pub(crate) trait Blank {
    fn is_blank(&self) -> bool;
}

/// What a flag's value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Integer,
    Float,
    Text,
    Duration,
    Size,
    List,
}

impl Kind {
    /// The word for it in `-help`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Integer => "int",
            Self::Float => "float",
            Self::Text => "string",
            Self::Duration => "duration",
            Self::Size => "bytes",
            Self::List => "string, may be repeated",
        }
    }
}

/// A key that can be given as a dotted flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Segments joined by dots, as in the file.
    pub(crate) path: String,
    pub(crate) kind: Kind,
}

/// Lists the keys below a path.
pub(crate) trait Keys {
    fn keys(path: &str, out: &mut Vec<Key>);
}

/// A value that stands at the end of a path.
pub(crate) trait Leaf {
    const KIND: Kind;
}

macro_rules! leaves {
    ($($ty:ty => $kind:ident),* $(,)?) => { $(impl Leaf for $ty { const KIND: Kind = Kind::$kind; })* };
}

leaves! {
    bool => Bool, u16 => Integer, u32 => Integer, u64 => Integer, i64 => Integer, f64 => Float,
    String => Text, Secret => Text, Duration => Duration, Size => Size,
}

impl<T> Blank for Option<T> {
    fn is_blank(&self) -> bool {
        self.is_none()
    }
}

impl<T> Blank for Vec<T> {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl Blank for Opaque {
    fn is_blank(&self) -> bool {
        self.is_null()
    }
}

impl<T: Leaf> Keys for Option<T> {
    fn keys(path: &str, out: &mut Vec<Key>) {
        out.push(Key { path: path.to_owned(), kind: T::KIND });
    }
}

impl Keys for Vec<String> {
    fn keys(path: &str, out: &mut Vec<Key>) {
        out.push(Key { path: path.to_owned(), kind: Kind::List });
    }
}

/// Given as a list of sections, for which there is no flag.
impl Keys for Vec<RetentionRule> {
    fn keys(_path: &str, _out: &mut Vec<Key>) {}
}

impl Keys for Opaque {
    fn keys(_path: &str, _out: &mut Vec<Key>) {}
}

/// Declares sections: every field may be absent, and what is absent is not written.
macro_rules! section {
    ($(
        $(#[$meta:meta])*
        $name:ident { $( $(#[$field_meta:meta])* $field:ident: $ty:ty, )* }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::section::Blank::is_blank")]
                pub $field: $ty,
            )*
        }

        impl crate::section::Blank for $name {
            fn is_blank(&self) -> bool {
                true $( && crate::section::Blank::is_blank(&self.$field) )*
            }
        }

        impl crate::section::Keys for $name {
            fn keys(path: &str, out: &mut Vec<crate::section::Key>) {
                let below = |field: &str| {
                    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
                };
                $( <$ty as crate::section::Keys>::keys(&below(stringify!($field)), out); )*
            }
        }
    )* };
}

pub(crate) use section;
