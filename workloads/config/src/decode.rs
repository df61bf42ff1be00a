//! From a [`Node`] to a serde type. Complaints carry the path of keys and the line; keys that no type asked for
//! are collected, not refused.

use std::{cell::RefCell, fmt};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use crate::tree::{Entry, Node, Origin, Value};

/// What was found wrong, and where, as far as it is known yet.
#[derive(Debug)]
pub(crate) struct DecodeError {
    pub(crate) at: Option<(String, Origin)>,
    pub(crate) message: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { at: None, message: message.to_string() }
    }
}

/// A key that nothing asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) path: String,
    pub(crate) origin: Origin,
}

/// Decodes a document; the second part are the keys that the type does not have.
pub(crate) fn decode<T: de::DeserializeOwned>(root: &Node) -> Result<(T, Vec<Unknown>), DecodeError> {
    let unknown = RefCell::new(Vec::new());
    let decoder = Decoder { node: root, path: String::new(), key: &root.origin, unknown: &unknown };
    let value = T::deserialize(decoder)?;
    Ok((value, unknown.into_inner()))
}

#[derive(Clone)]
struct Decoder<'a> {
    node: &'a Node,
    path: String,
    /// Where the key stands; a value of several lines begins below it.
    key: &'a Origin,
    unknown: &'a RefCell<Vec<Unknown>>,
}

impl<'a> Decoder<'a> {
    fn wrong(&self, message: String) -> DecodeError {
        let origin = match (&self.node.origin, self.key) {
            (Origin::Flag(_), _) => &self.node.origin,
            _ => self.key,
        };
        DecodeError { at: Some((self.path.clone(), origin.clone())), message }
    }

    fn expected(&self, what: &str) -> DecodeError {
        self.wrong(format!("expected {what}, found {}", found(self.node)))
    }

    /// Gives an error without a place this one.
    fn place(&self, error: DecodeError) -> DecodeError {
        if error.at.is_some() { error } else { self.wrong(error.message) }
    }

    fn text(&self, what: &str) -> Result<&'a str, DecodeError> {
        match &self.node.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(self.expected(what)),
        }
    }

    fn number<T: std::str::FromStr>(&self, what: &str) -> Result<T, DecodeError> {
        self.text(what)?.trim().parse().map_err(|_| self.expected(what))
    }

    fn below(&self, segment: &str) -> String {
        if self.path.is_empty() { segment.to_owned() } else { format!("{}.{segment}", self.path) }
    }

    fn visit_map<V: Visitor<'a>>(&self, visitor: V) -> Result<V::Value, DecodeError> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => return Err(self.expected("a section of keys and values")),
        };
        let map = Map { decoder: self, entries: entries.iter(), current: None };
        visitor.visit_map(map).map_err(|error| self.place(error))
    }

    fn visit_seq<V: Visitor<'a>>(&self, visitor: V) -> Result<V::Value, DecodeError> {
        let items = match &self.node.value {
            Value::List(items) => items.as_slice(),
            Value::Null => &[],
            _ => return Err(self.expected("a list")),
        };
        let list = List { decoder: self, items: items.iter().enumerate() };
        visitor.visit_seq(list).map_err(|error| self.place(error))
    }
}

/// A short word for what stands there.
fn found(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Scalar { text, .. } if text.chars().count() <= 60 => format!("`{text}`"),
        Value::Scalar { text, .. } => format!("`{}…`", text.chars().take(60).collect::<String>()),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a section".to_owned(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $ty:ty: $what:literal),* $(,)?) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.number::<$ty>($what)?).map_err(|error| self.place(error))
        }
    )* };
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (text, plain) = match &self.node.value {
            Value::Null => return visitor.visit_unit().map_err(|error| self.place(error)),
            Value::List(_) => return self.visit_seq(visitor),
            Value::Map(_) => return self.visit_map(visitor),
            Value::Scalar { text, plain } => (text.as_str(), *plain),
        };
        let result = if !plain {
            visitor.visit_str(text)
        } else if text == "true" || text == "false" {
            visitor.visit_bool(text == "true")
        } else if let Ok(number) = text.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.parse::<i64>() {
            visitor.visit_i64(number)
        } else if let (Ok(number), true) = (text.parse::<f64>(), text.bytes().any(|b| b.is_ascii_digit())) {
            visitor.visit_f64(number)
        } else {
            visitor.visit_str(text)
        };
        result.map_err(|error| self.place(error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = boolean(self.text("true or false")?).ok_or_else(|| self.expected("true or false"))?;
        visitor.visit_bool(value).map_err(|error| self.place(error))
    }

    integers! {
        deserialize_u8 visit_u8 u8: "a number from 0 to 255",
        deserialize_u16 visit_u16 u16: "a number from 0 to 65535",
        deserialize_u32 visit_u32 u32: "a whole number of at least 0",
        deserialize_u64 visit_u64 u64: "a whole number of at least 0",
        deserialize_i8 visit_i8 i8: "a whole number",
        deserialize_i16 visit_i16 i16: "a whole number",
        deserialize_i32 visit_i32 i32: "a whole number",
        deserialize_i64 visit_i64 i64: "a whole number",
        deserialize_f32 visit_f32 f32: "a number",
        deserialize_f64 visit_f64 f64: "a number",
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(self.text("a text")?).map_err(|error| self.place(error))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.visit_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let expected = format!("one of {}", variants.join(", "));
        let text = self.text(&expected)?;
        if !variants.contains(&text) {
            return Err(self.expected(&expected));
        }
        visitor.visit_enum(Word(text)).map_err(|error| self.place(error))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let unknown = Unknown { path: self.path.clone(), origin: self.key.clone() };
        self.unknown.borrow_mut().push(unknown);
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit_struct tuple tuple_struct identifier
    }
}

struct Map<'a, 'd> {
    decoder: &'d Decoder<'a>,
    entries: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

impl<'a> MapAccess<'a> for Map<'a, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.current = self.entries.next();
        let Some(entry) = self.current else { return Ok(None) };
        seed.deserialize(entry.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let entry = self.current.take().ok_or_else(|| de::Error::custom("value before its key"))?;
        let decoder = Decoder {
            node: &entry.node,
            path: self.decoder.below(&entry.key),
            key: &entry.origin,
            unknown: self.decoder.unknown,
        };
        seed.deserialize(decoder.clone()).map_err(|error| decoder.place(error))
    }
}

struct List<'a, 'd> {
    decoder: &'d Decoder<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'a> SeqAccess<'a> for List<'a, '_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((at, node)) = self.items.next() else { return Ok(None) };
        let path = format!("{}[{at}]", self.decoder.path);
        let decoder = Decoder { node, path, key: &node.origin, unknown: self.decoder.unknown };
        seed.deserialize(decoder.clone()).map(Some).map_err(|error| decoder.place(error))
    }
}

/// A unit variant by its name.
struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        Ok((seed.deserialize(self.0.into_deserializer())?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, DecodeError> {
        Err(de::Error::custom("expected a word alone"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(de::Error::custom("expected a word alone"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(de::Error::custom("expected a word alone"))
    }
}
