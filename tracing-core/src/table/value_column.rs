//! One attribute, or one column of texts, by itself: distinct values once, and for each row a code as narrow
//! as their number allows.
//!
//! A comparison is decided for each distinct value; where none satisfies it, no row is looked at. One byte a
//! row is usual, against the 17 of an entry in [`Attributes`].

use rustc_hash::FxHashMap;

use super::{Attributes, Bitmap, Code, Strings, Value, ValueKind};

/// The values of the rows of one level.
#[derive(Debug, Default)]
pub struct ValueColumn {
    /// Of each row 0 for no value, else one more than the index of its (first) value.
    codes: Codes,
    /// Rows with more than one value, ascending, and the further ones in their order: a key that is there twice.
    more: Vec<(u32, u32)>,
    kinds: Vec<ValueKind>,
    /// As in [`Attributes`].
    payloads: Vec<u64>,
    elements: Vec<u64>,
    strings: Strings,
}

/// Codes in as many bytes as the largest needs.
#[derive(Debug)]
enum Codes {
    Bytes(Vec<u8>),
    Shorts(Vec<u16>),
    Words(Vec<u32>),
}

/// Which values satisfy something.
enum Decided {
    None,
    One(u32),
    Some(Vec<bool>),
}

impl Default for Codes {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

impl Codes {
    fn narrow(codes: Vec<u32>, values: usize) -> Self {
        if values < 1 << 8 {
            Self::Bytes(codes.iter().map(|code| *code as u8).collect())
        } else if values < 1 << 16 {
            Self::Shorts(codes.iter().map(|code| *code as u16).collect())
        } else {
            Self::Words(codes)
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(codes) => codes.len(),
            Self::Shorts(codes) => codes.len(),
            Self::Words(codes) => codes.len(),
        }
    }

    fn get(&self, row: usize) -> u32 {
        match self {
            Self::Bytes(codes) => codes.get(row).map_or(0, |code| u32::from(*code)),
            Self::Shorts(codes) => codes.get(row).map_or(0, |code| u32::from(*code)),
            Self::Words(codes) => codes.get(row).copied().unwrap_or(0),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(codes) => codes.capacity(),
            Self::Shorts(codes) => codes.capacity() * 2,
            Self::Words(codes) => codes.capacity() * 4,
        }
    }

    fn select(&self, among: Option<&Bitmap>, holds: impl Fn(u32) -> bool) -> Bitmap {
        match self {
            Self::Bytes(codes) => Bitmap::of(codes, among, |code| holds(u32::from(*code))),
            Self::Shorts(codes) => Bitmap::of(codes, among, |code| holds(u32::from(*code))),
            Self::Words(codes) => Bitmap::of(codes, among, |code| holds(*code)),
        }
    }
}

/// Gives values their codes.
struct Coding<'a> {
    column: ValueColumn,
    from: &'a Strings,
    /// The code of each string of `from` that was met.
    texts: Vec<u32>,
    others: FxHashMap<(ValueKind, u64), u32>,
}

impl<'a> Coding<'a> {
    fn new(from: &'a Strings) -> Self {
        let texts = vec![0; from.len()];
        Self { column: ValueColumn::default(), from, texts, others: FxHashMap::default() }
    }

    fn push(&mut self, kind: ValueKind, payload: u64) -> u32 {
        self.column.kinds.push(kind);
        self.column.payloads.push(payload);
        self.column.kinds.len() as u32
    }

    fn text(&mut self, code: Code) -> u32 {
        match self.texts.get(code.index()) {
            Some(0) => {
                let own = self.column.strings.intern(self.from.text(code));
                let known = self.push(ValueKind::String, own.payload());
                self.texts[code.index()] = known;
                known
            }
            Some(known) => *known,
            // A code of another table reads as the empty text.
            None => self.text(Code::EMPTY),
        }
    }

    fn value(&mut self, kind: ValueKind, payload: u64, elements: &[u64]) -> u32 {
        match kind {
            ValueKind::String => self.text(Code::from_payload(payload)),
            ValueKind::Unsupported => {
                let own = self.column.strings.intern(self.from.text(Code::from_payload(payload)));
                self.other(kind, own.payload())
            }
            ValueKind::Int | ValueKind::Double | ValueKind::Bool | ValueKind::EmptyArray => {
                self.other(kind, payload)
            }
            ValueKind::Strings | ValueKind::Ints | ValueKind::Doubles | ValueKind::Bools => {
                let (start, len) = ((payload >> 32) as usize, (payload & 0xffff_ffff) as usize);
                let elements = elements.get(start..start.saturating_add(len)).unwrap_or_default();
                let first = self.column.elements.len() as u64;
                for element in elements {
                    let element = match kind {
                        ValueKind::Strings => {
                            let text = self.from.text(Code::from_payload(*element));
                            self.column.strings.intern(text).payload()
                        }
                        _ => *element,
                    };
                    self.column.elements.push(element);
                }
                self.push(kind, first << 32 | elements.len() as u64)
            }
        }
    }

    fn other(&mut self, kind: ValueKind, payload: u64) -> u32 {
        if let Some(known) = self.others.get(&(kind, payload)) {
            return *known;
        }
        let known = self.push(kind, payload);
        self.others.insert((kind, payload), known);
        known
    }

    fn finish(self, codes: Vec<u32>) -> ValueColumn {
        let Self { mut column, .. } = self;
        column.codes = Codes::narrow(codes, column.kinds.len());
        column.more.shrink_to_fit();
        column.kinds.shrink_to_fit();
        column.payloads.shrink_to_fit();
        column.elements.shrink_to_fit();
        column.strings.shrink();
        column
    }
}

impl ValueColumn {
    /// A column of texts, one a row.
    pub(crate) fn of_texts(texts: &[Code], strings: &Strings) -> Self {
        let mut coding = Coding::new(strings);
        let codes = texts.iter().map(|code| coding.text(*code)).collect();
        coding.finish(codes)
    }

    /// The attributes that have the key `key`, of all owners.
    pub(crate) fn of_attribute(attributes: &Attributes, key: Option<Code>, strings: &Strings) -> Self {
        let mut coding = Coding::new(strings);
        let mut codes = vec![0_u32; attributes.offsets.parents()];
        let Some(key) = key else { return coding.finish(codes) };
        for (owner, code) in codes.iter_mut().enumerate() {
            let range = attributes.offsets.range(owner);
            let (first, keys) = (range.start, attributes.key.get(range).unwrap_or_default());
            for (at, _) in keys.iter().enumerate().filter(|(_, found)| **found == key) {
                let (at, kinds, values) = (first + at, &attributes.kind, &attributes.value);
                let Some((kind, payload)) = kinds.get(at).zip(values.get(at)) else { continue };
                let value = coding.value(*kind, *payload, &attributes.elements);
                if *code == 0 {
                    *code = value;
                } else {
                    coding.column.more.push((owner as u32, value));
                }
            }
        }
        coding.finish(codes)
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.codes.len()
    }

    /// The dictionary of its values.
    #[must_use]
    pub fn strings(&self) -> &Strings {
        &self.strings
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let values = self.kinds.capacity() + (self.payloads.capacity() + self.elements.capacity()) * 8;
        size_of::<Self>() + self.codes.bytes() + self.more.capacity() * 8 + values + self.strings.bytes()
    }

    /// The code of a row's first value: 0 where it has none. Rows with equal codes have equal values.
    pub(crate) fn code(&self, row: usize) -> u32 {
        self.codes.get(row)
    }

    /// Whether no row has more than one value, and no value is an array.
    pub(crate) fn is_simple(&self) -> bool {
        self.more.is_empty() && self.elements.is_empty()
    }

    /// One more than the greatest code.
    pub(crate) fn codes(&self) -> usize {
        self.kinds.len() + 1
    }

    /// The value of a code.
    pub(crate) fn value(&self, code: u32) -> Option<Value<'_>> {
        let at = (code as usize).checked_sub(1)?;
        Value::of(*self.kinds.get(at)?, *self.payloads.get(at)?, &self.elements, &self.strings)
    }

    /// The values of a row, in their order.
    pub(crate) fn values(&self, row: usize) -> impl Iterator<Item = Value<'_>> {
        let first = self.value(self.codes.get(row));
        let at = self.more.partition_point(|(of, _)| (*of as usize) < row);
        let more = self.more.get(at..).unwrap_or_default().iter();
        let more = more.take_while(move |(of, _)| *of as usize == row);
        first.into_iter().chain(more.filter_map(|(_, code)| self.value(*code)))
    }

    /// The text of a row of a column of texts; empty where there is none.
    pub(crate) fn text(&self, row: usize) -> &str {
        match self.value(self.codes.get(row)) {
            Some(Value::String(text)) => text,
            _ => "",
        }
    }

    /// The rows with a value of a type that `wanted` wants.
    pub(crate) fn with_kind(&self, wanted: impl Fn(ValueKind) -> bool) -> Bitmap {
        let of_kind: Vec<bool> = self.kinds.iter().map(|kind| wanted(*kind)).collect();
        self.decided(Decided::of(of_kind), None)
    }

    /// The rows of which a value `holds`; `only` is a text beside which no other single text does. With
    /// `among`, right for those rows alone.
    pub(crate) fn select(
        &self,
        among: Option<&Bitmap>,
        only: Option<&str>,
        mut holds: impl FnMut(Value<'_>) -> bool,
    ) -> Bitmap {
        let only = only.map(|only| self.strings.find(only).map(Code::payload));
        if matches!(only, Some(None)) && self.elements.is_empty() && !self.has_other_than_texts() {
            return Bitmap::none(self.rows());
        }
        let decide = |(at, kind): (usize, &ValueKind)| {
            let payload = self.payloads.get(at).copied().unwrap_or_default();
            if *kind == ValueKind::String && only.is_some_and(|only| only != Some(payload)) {
                return false;
            }
            Value::of(*kind, payload, &self.elements, &self.strings).is_some_and(&mut holds)
        };
        let decided = self.kinds.iter().enumerate().map(decide).collect();
        self.decided(Decided::of(decided), among)
    }

    fn has_other_than_texts(&self) -> bool {
        self.kinds.iter().any(|kind| *kind != ValueKind::String)
    }

    fn decided(&self, decided: Decided, among: Option<&Bitmap>) -> Bitmap {
        let (mut rows, holds): (_, Box<dyn Fn(u32) -> bool>) = match decided {
            Decided::None => return Bitmap::none(self.rows()),
            Decided::One(one) => {
                (self.codes.select(among, |code| code == one), Box::new(move |code| code == one))
            }
            Decided::Some(table) => {
                let holds = move |code: u32| table.get(code as usize).copied().unwrap_or(false);
                (self.codes.select(among, &holds), Box::new(holds))
            }
        };
        self.more.iter().filter(|(_, code)| holds(*code)).for_each(|(row, _)| rows.set(*row as usize));
        rows
    }
}

impl Decided {
    fn of(mut values: Vec<bool>) -> Self {
        let mut those = values.iter().enumerate().filter(|(_, holds)| **holds).map(|(at, _)| at as u32 + 1);
        match (those.next(), those.next()) {
            (None, _) => Self::None,
            (Some(one), None) => Self::One(one),
            _ => {
                values.insert(0, false);
                Self::Some(values)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Offsets;

    fn attributes(strings: &mut Strings) -> Attributes {
        let (a, b) = (strings.intern("a"), strings.intern("b"));
        let (x, y) = (strings.intern("x").payload(), strings.intern("y").payload());
        // Of four owners: a = x; a = 7, b = x, a = y; none; a = [y, x].
        Attributes {
            offsets: Offsets(vec![0, 1, 4, 4, 5]),
            key: vec![a, a, b, a, a],
            kind: vec![
                ValueKind::String,
                ValueKind::Int,
                ValueKind::String,
                ValueKind::String,
                ValueKind::Strings,
            ],
            value: vec![x, 7, x, y, 2],
            elements: vec![y, x],
        }
    }

    #[test]
    fn a_column_has_the_values_of_its_key_in_their_order_and_no_others() {
        let mut strings = Strings::default();
        let attributes = attributes(&mut strings);
        let column = ValueColumn::of_attribute(&attributes, strings.find("a"), &strings);
        let shown: Vec<_> =
            (0..5).map(|row| format!("{:?}", column.values(row).collect::<Vec<_>>())).collect();
        assert_eq!(shown[0], r#"[String("x")]"#);
        assert_eq!(shown[1], r#"[Int(7), String("y")]"#);
        assert_eq!((shown[2].as_str(), shown[4].as_str()), ("[]", "[]"));
        assert!(shown[3].starts_with("[Array(String"), "{shown:?}");
        let y = |value: Value<'_>| matches!(value, Value::String("y"));
        assert_eq!(column.select(None, Some("y"), y).iter().collect::<Vec<_>>(), [1]);
        let any = |value: Value<'_>| matches!(value, Value::String(_) | Value::Array(..));
        assert_eq!(column.select(None, None, any).iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert!(!column.select(None, Some("z"), |value| matches!(value, Value::String("z"))).any());
        let missing = ValueColumn::of_attribute(&attributes, None, &strings);
        assert_eq!((missing.rows(), missing.with_kind(|_| true).any()), (4, false));
    }

    #[test]
    fn codes_stay_right_beyond_one_byte_and_two() {
        for distinct in [200_usize, 300, 70_000] {
            let mut strings = Strings::default();
            let texts: Vec<_> =
                (0..distinct * 2).map(|i| strings.intern(&(i % distinct).to_string())).collect();
            let column = ValueColumn::of_texts(&texts, &strings);
            for row in [0, distinct - 1, distinct, distinct * 2 - 1] {
                assert_eq!(column.text(row), (row % distinct).to_string());
            }
            let last = (distinct - 1).to_string();
            let found = column.select(
                None,
                Some(&last),
                |value| matches!(value, Value::String(text) if text == last),
            );
            assert_eq!(found.iter().collect::<Vec<_>>(), [distinct - 1, distinct * 2 - 1]);
        }
    }
}
