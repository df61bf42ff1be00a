//! Attributes from their OTLP bytes into columns (placement: Tempo's vParquet, attribute by attribute).

use crate::table::columns::{Attributes, ValueKind};
use crate::table::strings::{Code, Strings};
use crate::wire::WireError;
use crate::wire::otlp::push_any_value;
use crate::wire::otlp::tags::{VALUES, key_value, value};
use crate::wire::protobuf::Reader;

/// What the last owner's attributes were, by position. Spans of one program mostly carry the same keys in
/// the same order, and comparing with the last one is cheaper than hashing.
#[derive(Debug, Default)]
pub(super) struct Memo {
    seen: Vec<(Code, Code)>,
    at: usize,
}

impl Memo {
    /// The next attribute is the first of another owner.
    pub(super) fn restart(&mut self) {
        self.at = 0;
    }

    fn advance(&mut self) -> &mut (Code, Code) {
        let at = self.at;
        self.at += 1;
        if at >= self.seen.len() {
            self.seen.resize(at + 1, (Code::EMPTY, Code::EMPTY));
        }
        &mut self.seen[at]
    }
}

/// The code of bytes that should be UTF-8; what is not becomes U+FFFD.
pub(super) fn intern(strings: &mut Strings, bytes: &[u8]) -> Code {
    match std::str::from_utf8(bytes) {
        Ok(text) => strings.intern(text),
        Err(_) => strings.intern(&String::from_utf8_lossy(bytes)),
    }
}

/// As [`intern`], where `last` is probably the answer, and becomes it.
pub(super) fn intern_like(strings: &mut Strings, bytes: &[u8], last: &mut Code) -> Code {
    if strings.text(*last).as_bytes() != bytes {
        *last = intern(strings, bytes);
    }
    *last
}

/// Decodes a KeyValue and appends it as an entry of the owner that is not closed yet.
pub(super) fn push_key_value(
    to: &mut Attributes,
    strings: &mut Strings,
    memo: &mut Memo,
    mut at: Reader<'_>,
) -> Result<(), WireError> {
    let (key, last_value) = memo.advance();
    let mut found = None;
    let mut any_key = false;
    while let Some(tag) = at.tag("KeyValue")? {
        match tag {
            key_value::KEY => {
                intern_like(strings, at.bytes("KeyValue.key")?, key);
                any_key = true;
            }
            key_value::VALUE => {
                let at = at.message("KeyValue.value")?;
                found = Some(any_value(strings, &mut to.elements, last_value, at)?);
            }
            other => at.skip(other, "KeyValue", key_value::KNOWN)?,
        }
    }
    let (kind, payload) = match found {
        Some(found) => found,
        None => (ValueKind::Unsupported, strings.intern("{}").payload()),
    };
    to.key.push(if any_key { *key } else { Code::EMPTY });
    to.kind.push(kind);
    to.value.push(payload);
    Ok(())
}

fn any_value(
    strings: &mut Strings,
    elements: &mut Vec<u64>,
    last: &mut Code,
    whole: Reader<'_>,
) -> Result<(ValueKind, u64), WireError> {
    let mut at = whole;
    let mut found = None;
    while let Some(tag) = at.tag("AnyValue")? {
        found = match tag {
            value::STRING => {
                let code = intern_like(strings, at.bytes("AnyValue.string_value")?, last);
                Some((ValueKind::String, code.payload()))
            }
            value::ARRAY => array(strings, elements, at.message("AnyValue.array_value")?)?,
            value::KVLIST | value::BYTES => {
                at.pass(tag, "AnyValue")?;
                None
            }
            value::INT | value::BOOL | value::DOUBLE => Some(scalar(&mut at, tag)?),
            other => {
                at.skip(other, "AnyValue", value::KNOWN)?;
                found
            }
        };
    }
    if let Some(found) = found {
        return Ok(found);
    }
    let mut json = String::new();
    push_any_value(&mut json, whole)?;
    Ok((ValueKind::Unsupported, strings.intern(&json).payload()))
}

/// The value of a field with the tag of an integer, a boolean or else a double.
fn scalar(at: &mut Reader<'_>, tag: u32) -> Result<(ValueKind, u64), WireError> {
    Ok(match tag {
        value::INT => (ValueKind::Int, at.varint("AnyValue.int_value")?),
        value::BOOL => (ValueKind::Bool, u64::from(at.varint("AnyValue.bool_value")? != 0)),
        _ => (ValueKind::Double, at.fixed64("AnyValue.double_value")?),
    })
}

/// An array whose elements are of one scalar kind; `None` for any other, with nothing left behind.
fn array(
    strings: &mut Strings,
    elements: &mut Vec<u64>,
    mut at: Reader<'_>,
) -> Result<Option<(ValueKind, u64)>, WireError> {
    let start = elements.len();
    let mut kind = None;
    while let Some(tag) = at.tag("ArrayValue")? {
        if tag != VALUES {
            at.pass(tag, "ArrayValue")?;
            continue;
        }
        let element = element(strings, at.message("ArrayValue.values")?)?;
        match element {
            Some((of, payload)) if kind.is_none_or(|kind| kind == of) => {
                kind = Some(of);
                elements.push(payload);
            }
            _ => {
                elements.truncate(start);
                return Ok(None);
            }
        }
    }
    let len = (elements.len() - start) as u64;
    Ok(Some(match kind {
        None => (ValueKind::EmptyArray, 0),
        Some(kind) => (array_of(kind), (start as u64) << 32 | len),
    }))
}

fn element(strings: &mut Strings, mut at: Reader<'_>) -> Result<Option<(ValueKind, u64)>, WireError> {
    let mut found = None;
    while let Some(tag) = at.tag("AnyValue")? {
        found = match tag {
            value::STRING => {
                let code = intern(strings, at.bytes("AnyValue.string_value")?);
                Some((ValueKind::String, code.payload()))
            }
            value::INT | value::BOOL | value::DOUBLE => Some(scalar(&mut at, tag)?),
            other => {
                at.pass(other, "AnyValue")?;
                None
            }
        };
    }
    Ok(found)
}

fn array_of(kind: ValueKind) -> ValueKind {
    match kind {
        ValueKind::String => ValueKind::Strings,
        ValueKind::Int => ValueKind::Ints,
        ValueKind::Double => ValueKind::Doubles,
        ValueKind::Bool => ValueKind::Bools,
        other => other,
    }
}
