//! Thrift's compact protocol, as far as Parquet's footers, page headers and page indexes need it: a reader
//! that takes nothing on trust, and a writer for page headers.

use super::BlockError;

/// Type of a field or list element on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    True,
    False,
    Byte,
    Int,
    Double,
    Binary,
    List,
    Struct,
}

/// Reads from the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    part: &'static str,
}

/// Where a struct's fields are, while they are read.
#[derive(Debug, Default)]
pub(crate) struct Fields(i64);

/// Structs and lists within one another, beyond what any Parquet structure needs.
const MAX_DEPTH: u8 = 16;

impl<'a> Reader<'a> {
    /// Reads `bytes`, called `part` in errors.
    pub(crate) fn new(bytes: &'a [u8], part: &'static str) -> Self {
        Self { left: bytes, part }
    }

    /// Bytes that were not read yet.
    pub(crate) fn remaining(&self) -> usize {
        self.left.len()
    }

    pub(crate) fn error(&self, reason: &str) -> BlockError {
        BlockError::corrupt(self.part, reason)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BlockError> {
        let (taken, left) = self.left.split_at_checked(count).ok_or_else(|| self.error("ends too early"))?;
        self.left = left;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BlockError> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    fn varint(&mut self) -> Result<u64, BlockError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("integer of more than ten bytes"))
    }

    /// A signed integer.
    pub(crate) fn int(&mut self) -> Result<i64, BlockError> {
        self.varint().map(unzigzag)
    }

    /// An integer that counts or measures something: not negative.
    pub(crate) fn count(&mut self) -> Result<u64, BlockError> {
        u64::try_from(self.int()?).map_err(|_| self.error("negative where a count was expected"))
    }

    /// Bytes or text.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], BlockError> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| self.error("ends too early"))?)
    }

    /// The next field of a struct, or `None` at its end.
    pub(crate) fn field(&mut self, fields: &mut Fields) -> Result<Option<(i64, Wire)>, BlockError> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        fields.0 = match head >> 4 {
            0 => self.int()?,
            delta => fields.0.wrapping_add(i64::from(delta)),
        };
        Ok(Some((fields.0, self.wire(head & 0xf)?)))
    }

    /// Element type and length of a list. Each element takes at least a byte, so that the length cannot go
    /// over what is left.
    pub(crate) fn list(&mut self) -> Result<(Wire, usize), BlockError> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        let wire = self.wire(head & 0xf)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left.len() => Ok((wire, length)),
            _ => Err(self.error("list longer than what holds it")),
        }
    }

    /// Passes over a value that nobody wants.
    pub(crate) fn skip(&mut self, wire: Wire) -> Result<(), BlockError> {
        self.skip_at(wire, 0)
    }

    fn skip_at(&mut self, wire: Wire, depth: u8) -> Result<(), BlockError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        match wire {
            Wire::True | Wire::False => {}
            Wire::Byte => drop(self.byte()?),
            Wire::Int => drop(self.varint()?),
            Wire::Double => drop(self.take(8)?),
            Wire::Binary => drop(self.binary()?),
            Wire::List => {
                let (wire, length) = self.list()?;
                for _ in 0..length {
                    match wire {
                        Wire::True | Wire::False => drop(self.byte()?),
                        wire => self.skip_at(wire, depth + 1)?,
                    }
                }
            }
            Wire::Struct => {
                let mut fields = Fields::default();
                while let Some((_, wire)) = self.field(&mut fields)? {
                    self.skip_at(wire, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn wire(&self, code: u8) -> Result<Wire, BlockError> {
        Ok(match code {
            1 => Wire::True,
            2 => Wire::False,
            3 => Wire::Byte,
            4..=6 => Wire::Int,
            7 => Wire::Double,
            8 => Wire::Binary,
            9 | 10 => Wire::List,
            12 => Wire::Struct,
            _ => return Err(self.error("unknown thrift type")),
        })
    }
}

/// The signed integer that `value` stands for.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// The opposite of [`unzigzag`].
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Writes an unsigned integer, seven bits a byte.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes integer fields 1, 2, 3, … of a struct; the end is left to the caller.
pub(crate) fn put_ints(out: &mut Vec<u8>, values: &[i64]) {
    for value in values {
        out.push(0x15);
        put_varint(out, zigzag(*value));
    }
}
