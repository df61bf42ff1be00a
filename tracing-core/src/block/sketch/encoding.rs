//! The sketch as bytes.

use super::{Field, Filter, Numbers, Place, Sketch, Values};
use crate::block::{
    BlockError,
    decode::varint,
    envelope::Envelope,
    thrift::{put_varint, unzigzag, zigzag},
};

const ENVELOPE: Envelope = Envelope { magic: b"VSK1", part: "sketch", max_body: 16 << 20 };

const EXACT: u8 = 0;
const HASHED: u8 = 1;
const ANY: u8 = 2;

impl Sketch {
    /// The object to be stored as [`Sketch::NAME`].
    ///
    /// # Errors
    /// [`BlockError::Sink`] where it cannot be compressed.
    pub fn encode(&self) -> Result<Vec<u8>, BlockError> {
        ENVELOPE.seal(&self.body(), 3)
    }

    /// Reads the object.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] and [`BlockError::Limit`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let body = ENVELOPE.open(bytes)?;
        let mut left = body.as_slice();
        let sketch = read(&mut left).ok_or_else(|| ENVELOPE.corrupt("its body ends too early"))?;
        if left.is_empty() { Ok(sketch) } else { Err(ENVELOPE.corrupt("its body goes on after its end")) }
    }

    fn body(&self) -> Vec<u8> {
        let Self { numbers, fields, incomplete, filter } = self;
        let Numbers { duration, trace_duration, statuses, kinds, events, links } = numbers;
        let mut out = Vec::new();
        for bounds in [duration, trace_duration] {
            out.push(u8::from(bounds.is_some()));
            let (least, most) = bounds.unwrap_or_default();
            put_varint(&mut out, least);
            put_varint(&mut out, most);
        }
        out.extend([*statuses, *kinds, u8::from(*events), u8::from(*links)]);
        put_varint(&mut out, u64::from(*incomplete));
        put_varint(&mut out, fields.len() as u64);
        for Field { place, name, searchable, texts, ints, doubles, bools } in fields {
            out.extend([place.number(), u8::from(*searchable), *bools]);
            text(&mut out, name);
            values(&mut out, texts, |out, value| text(out, value));
            values(&mut out, ints, |out, value| put_varint(out, zigzag(*value)));
            values(&mut out, doubles, |out, value| out.extend_from_slice(&value.to_le_bytes()));
        }
        put_varint(&mut out, filter.words().len() as u64);
        out.extend(filter.words().iter().flat_map(|word| word.to_le_bytes()));
        out
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn values<T>(out: &mut Vec<u8>, values: &Values<T>, mut one: impl FnMut(&mut Vec<u8>, &T)) {
    let (tag, bounds) = match values {
        Values::Exact(exact) => {
            out.push(EXACT);
            put_varint(out, exact.len() as u64);
            for value in exact {
                one(out, value);
            }
            return;
        }
        Values::Hashed(bounds) => (HASHED, bounds),
        Values::Any(bounds) => (ANY, bounds),
    };
    out.extend([tag, u8::from(bounds.is_some())]);
    if let Some((least, most)) = bounds {
        one(out, least);
        one(out, most);
    }
}

fn read(left: &mut &[u8]) -> Option<Sketch> {
    let mut bounds = || {
        let some = flag(left)?;
        let bounds = (varint(left)?, varint(left)?);
        Some(some.then_some(bounds))
    };
    let (duration, trace_duration) = (bounds()?, bounds()?);
    let (statuses, kinds, events, links) = (byte(left)?, byte(left)?, flag(left)?, flag(left)?);
    let numbers = Numbers { duration, trace_duration, statuses, kinds, events, links };
    let incomplete = u16::try_from(varint(left)?).ok()?;
    let count = varint(left)?;
    let mut fields: Vec<Field> = Vec::new();
    for _ in 0..count {
        let field = field(left)?;
        // They are looked up by bisection.
        let after = |last: &Field| (last.place, &last.name) < (field.place, &field.name);
        if !fields.last().is_none_or(after) {
            return None;
        }
        fields.push(field);
    }
    let words = usize::try_from(varint(left)?).ok()?;
    let (filter, rest) = left.split_at_checked(words.checked_mul(8)?)?;
    *left = rest;
    let words = filter.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    Some(Sketch { numbers, fields, incomplete, filter: Filter::from_words(words) })
}

fn field(left: &mut &[u8]) -> Option<Field> {
    let place = *Place::ALL.get(usize::from(byte(left)?))?;
    let (searchable, bools) = (flag(left)?, byte(left)?);
    let text = |left: &mut &[u8]| {
        let length = usize::try_from(varint(left)?).ok()?;
        let (text, rest) = left.split_at_checked(length)?;
        *left = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    let name = text(left)?;
    let texts = read_values(left, text)?;
    let ints = read_values(left, |left| varint(left).map(unzigzag))?;
    let doubles = read_values(left, |left| {
        let (bits, rest) = left.split_first_chunk::<8>()?;
        *left = rest;
        Some(u64::from_le_bytes(*bits))
    })?;
    Some(Field { place, name, searchable, texts, ints, doubles, bools })
}

fn read_values<T>(left: &mut &[u8], mut one: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Values<T>> {
    let tag = byte(left)?;
    if tag == EXACT {
        // Not believed before it is read: each value takes a byte at least.
        let count = varint(left)?;
        return (0..count).map(|_| one(left)).collect::<Option<_>>().map(Values::Exact);
    }
    let bounds = if flag(left)? { Some((one(left)?, one(left)?)) } else { None };
    match tag {
        HASHED => Some(Values::Hashed(bounds)),
        ANY => Some(Values::Any(bounds)),
        _ => None,
    }
}

fn byte(left: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = left.split_first()?;
    *left = rest;
    Some(*byte)
}

fn flag(left: &mut &[u8]) -> Option<bool> {
    match byte(left)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
