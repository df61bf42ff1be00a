//! Values of a JSON document that know where they stand.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Read;
use crate::wire::WireError;
use crate::wire::json::{Json, push_display};
use crate::wire::protobuf::{put_bytes, put_fixed64, put_uint};

/// Standard base64, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A field's name in lowerCamelCase and as it is in the .proto.
pub(super) type Names = [&'static str; 2];

/// From the root of a document to one of its values.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn push(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) => {
                parent.push(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Self::Element(parent, at) => {
                parent.push(out);
                push_display(out, format_args!("[{at}]"));
            }
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) value: &'a Json<'a>,
    pub(super) path: &'a Path<'a>,
}

impl Place<'_> {
    pub(super) fn error(&self, problem: impl Into<String>) -> WireError {
        let mut path = String::new();
        self.path.push(&mut path);
        if path.is_empty() {
            path.push_str("body");
        }
        WireError::Json { path, problem: problem.into() }
    }

    fn expected(&self, what: &str) -> WireError {
        let found = match self.value {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        };
        match self.value {
            Json::Text(text) if text.len() <= 40 => self.error(format!("expected {what}, found {text:?}")),
            Json::Number(number) if number.len() <= 40 => {
                self.error(format!("expected {what}, found {number}"))
            }
            _ => self.error(format!("expected {what}, found {found}")),
        }
    }

    pub(super) fn text(&self) -> Result<&str, WireError> {
        match self.value {
            Json::Text(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, WireError> {
        match self.value {
            Json::Bool(value) => Ok(*value),
            Json::Text(text) if text == "true" => Ok(true),
            Json::Text(text) if text == "false" => Ok(false),
            _ => Err(self.expected("true or false")),
        }
    }

    /// The text of a number, which may be quoted.
    fn number(&self) -> Option<&str> {
        match self.value {
            Json::Number(text) => Some(text),
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number such as `1e3` or `7.0`, if it is whole and small enough to be exact.
    fn whole(&self) -> Option<f64> {
        let Json::Number(text) = self.value else { return None };
        text.parse().ok().filter(|value: &f64| value.fract() == 0.0 && value.abs() < 2f64.powi(53))
    }

    pub(super) fn signed(&self) -> Result<i64, WireError> {
        let read = self.number().and_then(|text| text.parse().ok());
        let whole = || self.whole().map(|value| value as i64);
        read.or_else(whole).ok_or_else(|| self.expected("a 64-bit integer"))
    }

    fn unsigned(&self) -> Result<u64, WireError> {
        let read = self.number().and_then(|text| text.parse().ok());
        let whole = || self.whole().filter(|&value| value >= 0.0).map(|value| value as u64);
        read.or_else(whole).ok_or_else(|| self.expected("a 64-bit integer that is not negative"))
    }

    pub(super) fn double(&self) -> Result<f64, WireError> {
        let read = match self.number() {
            Some("Infinity") => Some(f64::INFINITY),
            Some("-Infinity") => Some(f64::NEG_INFINITY),
            Some("NaN") => Some(f64::NAN),
            Some(text) => text.parse().ok(),
            None => None,
        };
        read.ok_or_else(|| self.expected("a number"))
    }

    pub(super) fn base64(&self) -> Result<Vec<u8>, WireError> {
        let text = self.text()?;
        let standard: Cow<'_, str> = if text.contains(['-', '_']) {
            text.replace('-', "+").replace('_', "/").into()
        } else {
            text.into()
        };
        BASE64.decode(standard.as_bytes()).map_err(|_| self.expected("base64"))
    }

    fn hex(&self) -> Result<Vec<u8>, WireError> {
        let Json::Text(text) = self.value else { return Err(self.expected("an id in hex")) };
        let digits: Option<Vec<u8>> =
            text.bytes().map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8)).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let digits = digits.ok_or_else(|| self.expected("an id in hex, two digits a byte"))?;
        Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
    }
}

/// The fields of a message.
pub(super) struct Object<'a> {
    fields: &'a [(Cow<'a, str>, Json<'a>)],
    path: &'a Path<'a>,
}

impl<'a> Object<'a> {
    pub(super) fn of(place: Place<'a>) -> Result<Self, WireError> {
        match place.value {
            Json::Object(fields) => Ok(Self { fields, path: place.path }),
            _ => Err(place.expected("an object")),
        }
    }

    /// Reads the field, if it is there and not null.
    pub(super) fn one(&self, names: Names, read: impl FnOnce(Place<'_>) -> Read) -> Read {
        for name in names {
            let field = self.fields.iter().rev().find(|(known, _)| known == name);
            if let Some((_, value)) = field.filter(|(_, value)| *value != Json::Null) {
                return read(Place { value, path: &Path::Field(self.path, name) });
            }
        }
        Ok(())
    }

    /// Reads each element of a repeated field.
    pub(super) fn each(&self, names: Names, mut read: impl FnMut(Place<'_>) -> Read) -> Read {
        self.one(names, |place| {
            let Json::Array(elements) = place.value else { return Err(place.expected("an array")) };
            for (at, value) in elements.iter().enumerate() {
                read(Place { value, path: &Path::Element(place.path, at) })?;
            }
            Ok(())
        })
    }

    pub(super) fn text(&self, out: &mut Vec<u8>, tag: u32, names: Names) -> Read {
        self.one(names, |place| {
            put_bytes(out, tag, place.text()?.as_bytes());
            Ok(())
        })
    }

    pub(super) fn id(&self, out: &mut Vec<u8>, tag: u32, names: Names) -> Read {
        self.one(names, |place| {
            put_bytes(out, tag, &place.hex()?);
            Ok(())
        })
    }

    pub(super) fn fixed64(&self, out: &mut Vec<u8>, tag: u32, names: Names) -> Read {
        self.one(names, |place| {
            put_fixed64(out, tag, place.unsigned()?);
            Ok(())
        })
    }

    /// An integer of 32 bits.
    pub(super) fn count(&self, out: &mut Vec<u8>, tag: u32, names: Names) -> Read {
        self.one(names, |place| {
            let count = u32::try_from(place.unsigned()?).map_err(|_| place.expected("a 32-bit integer"))?;
            put_uint(out, tag, u64::from(count));
            Ok(())
        })
    }

    /// An enum, by number or by name.
    pub(super) fn choice(&self, out: &mut Vec<u8>, tag: u32, names: Names, of: &[&str]) -> Read {
        self.one(names, |place| {
            let number = match place.value {
                Json::Text(text) => of.iter().position(|name| name == text).map(|at| at as u64),
                _ => place.unsigned().ok().filter(|&number| i32::try_from(number).is_ok()),
            };
            let names = || place.expected(&format!("a number or one of {}", of.join(", ")));
            put_uint(out, tag, number.ok_or_else(names)?);
            Ok(())
        })
    }
}
