//! A section whose mere presence means something: `http:` with nothing below it turns the receiver on.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::section::{Blank, Key, Keys};

/// `None` when the key is absent, and `Some` when it stands there, even without a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch<T>(pub Option<T>);

impl<T> Switch<T> {
    /// What stands below the key, if the key is there.
    pub fn as_ref(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Default for Switch<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Blank for Switch<T> {
    fn is_blank(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Keys> Keys for Switch<T> {
    fn keys(path: &str, out: &mut Vec<Key>) {
        T::keys(path, out);
    }
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Some(Option::<T>::deserialize(deserializer)?.unwrap_or_default())))
    }
}

/// One text or a list of them: Tempo takes both for addresses. Empty texts are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Many(pub Vec<String>);

impl Blank for Many {
    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}

impl Keys for Many {
    fn keys(path: &str, out: &mut Vec<Key>) {
        Vec::<String>::keys(path, out);
    }
}

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Many;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Many, E> {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(Many(parts.map(str::to_owned).collect()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Many, E> {
                Ok(Many::default())
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Many, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = items.next_element::<String>()? {
                    if !item.is_empty() {
                        out.push(item);
                    }
                }
                Ok(Many(out))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
