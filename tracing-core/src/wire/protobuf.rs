//! The protobuf encoding (protobuf.dev/programming-guides/encoding), read from and written to byte slices.

use super::error::{Problem, WireError};

/// Walks the fields of one message, knowing how far into the whole body it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Offset in the body at which `rest` ends.
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, end: body.len() }
    }

    /// Bytes of the body before the next field.
    pub(crate) fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    pub(crate) fn error(&self, field: &'static str, problem: Problem) -> WireError {
        WireError::Protobuf { field, offset: self.offset(), problem }
    }

    /// The next field's number and wire type as one (`number << 3 | type`), or `None` at the end.
    #[inline]
    pub(crate) fn tag(&mut self, message: &'static str) -> Result<Option<u32>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint(message)?;
        match u32::try_from(tag) {
            Ok(tag) if tag >= 8 => Ok(Some(tag)),
            _ => Err(self.error(message, Problem::FieldNumber)),
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64, WireError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(field),
        }
    }

    fn long_varint(&mut self, field: &'static str) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (i, &byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = self.rest.split_at_checked(i + 1).map_or(&[], |(_, rest)| rest);
                return Ok(value);
            }
        }
        let problem = if self.rest.len() < 10 { Problem::Truncated } else { Problem::Varint };
        Err(self.error(field, problem))
    }

    #[inline]
    pub(crate) fn fixed64(&mut self, field: &'static str) -> Result<u64, WireError> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.error(field, Problem::Truncated)),
        }
    }

    /// A nested message.
    #[inline]
    pub(crate) fn message(&mut self, field: &'static str) -> Result<Reader<'a>, WireError> {
        let len = self.varint(field)?;
        let inside = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        match inside {
            Some((inside, rest)) => {
                self.rest = rest;
                Ok(Reader { rest: inside, end: self.end - rest.len() })
            }
            None => Err(self.error(field, Problem::Truncated)),
        }
    }

    /// A string or bytes field.
    #[inline]
    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], WireError> {
        self.message(field).map(|inside| inside.rest)
    }

    /// Passes over a field that is not among the known ones of `message`, whose numbers go up to `known`.
    pub(crate) fn skip(&mut self, tag: u32, message: &'static str, known: u32) -> Result<(), WireError> {
        let wire_type = tag & 7;
        if tag >> 3 <= known {
            return Err(self.error(message, Problem::WireType(wire_type as u8)));
        }
        self.pass(tag, message)
    }

    /// Passes over a field of any number.
    #[inline]
    pub(crate) fn pass(&mut self, tag: u32, message: &'static str) -> Result<(), WireError> {
        let fixed = match tag & 7 {
            0 => return self.varint(message).map(drop),
            1 => 8,
            2 => return self.message(message).map(drop),
            5 => 4,
            other => return Err(self.error(message, Problem::WireType(other as u8))),
        };
        match self.rest.split_at_checked(fixed) {
            Some((_, rest)) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.error(message, Problem::Truncated)),
        }
    }
}

/// Bytes that `value` takes as a varint.
pub(crate) fn varint_len(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A string or bytes field, empty or not.
pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_varint(out, u64::from(tag));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A varint field, left out where it is zero.
pub(crate) fn put_uint(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(tag));
        put_varint(out, value);
    }
}

/// A fixed64 field, left out where it is zero.
pub(crate) fn put_fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(tag));
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A nested message. Its length is put before it once it is known: a move of what was written, which
/// is cheaper than counting it beforehand.
pub(crate) fn put_message(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(tag));
    let start = out.len();
    out.push(0);
    write(out);
    let len = out.len() - start - 1;
    if let (Ok(small), Some(first)) = (u8::try_from(len), out.get_mut(start))
        && small < 0x80
    {
        *first = small;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    put_varint(&mut prefix, len as u64);
    out.splice(start..=start, prefix);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_every_length_come_back_and_longer_ones_are_refused() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len() as u64, varint_len(value));
                let mut reader = Reader::new(&out);
                assert_eq!(reader.varint("x"), Ok(value));
                assert!(reader.rest.is_empty());
            }
        }
        let endless = [0xff; 11];
        let error = Reader::new(&endless).varint("Span.kind").unwrap_err();
        assert_eq!(error.to_string(), "Span.kind at byte 0: variable-length integer is longer than 64 bits");
        assert!(Reader::new(&[0x80; 3]).varint("x").unwrap_err().to_string().contains("ends inside"));
    }

    #[test]
    fn nested_messages_of_any_size_get_the_length_they_have() {
        for len in [0, 1, 127, 128, 20_000] {
            let mut out = vec![7];
            put_message(&mut out, 0x0a, |out| out.extend(vec![5; len]));
            let mut reader = Reader::new(&out[1..]);
            assert_eq!(reader.tag("M"), Ok(Some(0x0a)));
            assert_eq!(reader.bytes("M.f").unwrap(), vec![5; len]);
            assert_eq!(reader.tag("M"), Ok(None));
        }
    }

    #[test]
    fn errors_name_the_offset_within_the_whole_body() {
        let mut body = Vec::new();
        put_message(&mut body, 0x0a, |out| out.extend([0x0a, 9, 1]));
        let mut reader = Reader::new(&body);
        reader.tag("Outer").unwrap();
        let mut inside = reader.message("Outer.inner").unwrap();
        inside.tag("Inner").unwrap();
        let error = inside.bytes("Inner.name").unwrap_err();
        assert_eq!(error.to_string(), "Inner.name at byte 4: message ends inside the field");
    }
}
