//! Generic attributes come back from their seven columns, and those with a column of their own join them.

use super::assemble::{Codes, misfit};
use crate::{
    block::{
        BlockError,
        page::{Column, Values},
        schema::{Leaf, Part, Spec, depth},
    },
    table::{Attributes, Code, Level, Offsets, Strings, ValueKind},
};

/// The entries of a level whose key is wanted.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The wanted entries of each owner.
    offsets: Offsets,
    /// Their keys.
    pub(crate) codes: Vec<Code>,
    /// Which of all entries they are; `None` for all.
    picked: Option<Vec<u32>>,
    /// Number of all entries.
    total: usize,
}

/// A column that only some of its owners have a value in.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    /// Ascending by owner, one each.
    values: Vec<Given>,
    elements: Vec<u64>,
}

/// What one owner has in such a column. Several values are an array.
#[derive(Clone, Copy, Debug)]
struct Given {
    owner: u32,
    kind: ValueKind,
    /// As in [`Attributes`], with the elements of the column.
    payload: u64,
}

/// The value of one entry while it is gathered: its type, and its payloads in a buffer.
#[derive(Clone, Copy)]
struct Cell {
    kind: Option<ValueKind>,
    start: u32,
    length: u32,
}

impl Keys {
    /// Reads a column of keys, of which only those in `wanted` are taken.
    pub(crate) fn read(
        spec: &Spec,
        column: &Column,
        owners: usize,
        wanted: Option<&[&str]>,
        strings: &mut Strings,
    ) -> Result<Self, BlockError> {
        let Values::Bytes(entries) = &column.values else { return Err(misfit(spec, 0, owners)) };
        let is_wanted = |entry| {
            let key = entries.entry(entry);
            wanted.is_none_or(|wanted| wanted.iter().any(|name| name.as_bytes() == key))
        };
        let is_wanted: Vec<bool> = (0..entries.count() as u32).map(is_wanted).collect();
        let depth = spec.rep - 1;
        let mut codes_of = Codes::new(entries);
        let (mut starts, mut codes) = (Vec::with_capacity(owners + 1), Vec::new());
        let (mut picked, mut total) = (wanted.is_some().then(Vec::new), 0_usize);
        for (&rep, &def) in column.rep.iter().zip(&column.def) {
            if rep <= depth && def >= depth {
                starts.push(codes.len() as u32);
            }
            if def != spec.def {
                continue;
            }
            let entry = entries.indexes.get(total).copied().unwrap_or(u32::MAX);
            if is_wanted.get(entry as usize).copied().unwrap_or(false) {
                codes.push(codes_of.get(entries, entry, strings));
                if let Some(picked) = &mut picked {
                    picked.push(total as u32);
                }
            }
            total += 1;
        }
        starts.push(codes.len() as u32);
        if starts.len() != owners + 1 {
            return Err(misfit(spec, starts.len() - 1, owners));
        }
        if picked.is_none() && codes.len() != total {
            return Err(misfit(spec, codes.len(), total));
        }
        Ok(Self { offsets: Offsets(starts), codes, picked, total })
    }

    /// The entries with their values, whose columns `read` has.
    pub(crate) fn values(
        self,
        level: Level,
        strings: &mut Strings,
        mut read: impl FnMut(Leaf) -> Result<Option<Column>, BlockError>,
    ) -> Result<Attributes, BlockError> {
        let mut cells = vec![Cell { kind: None, start: 0, length: 0 }; self.codes.len()];
        let mut is_array = vec![false; self.codes.len()];
        let mut payloads: Vec<u64> = Vec::new();
        let parts = if self.codes.is_empty() { &[][..] } else { &Part::ALL[1..] };
        for &part in parts {
            let Some(column) = read(Leaf::Attribute(level, part))? else { continue };
            let kind = match part {
                Part::Key | Part::Text => ValueKind::String,
                Part::Int => ValueKind::Int,
                Part::Double => ValueKind::Double,
                Part::Bool | Part::IsArray => ValueKind::Bool,
                Part::Unsupported => ValueKind::Unsupported,
            };
            let depth = depth(level) + 1;
            let take = |at: usize, payload: u64| {
                if part == Part::IsArray {
                    is_array.get_mut(at).into_iter().for_each(|flag| *flag = payload != 0);
                    return;
                }
                let Some(cell) = cells.get_mut(at) else { return };
                if cell.kind.is_none() {
                    *cell = Cell { kind: Some(kind), start: payloads.len() as u32, length: 0 };
                }
                if cell.kind == Some(kind) {
                    payloads.push(payload);
                    cell.length += 1;
                }
            };
            self.each(&column, depth, part, strings, take).map_err(|found| {
                BlockError::corrupt(
                    format!("attributes of {level:?}"),
                    format!("{found} entries in {part:?}, {} keys", self.total),
                )
            })?;
            // A value is of one type: where all are known, no other column has one of them.
            if part != Part::IsArray && cells.iter().all(|cell| cell.kind.is_some()) {
                break;
            }
        }
        let mut attributes = Attributes { offsets: self.offsets, key: self.codes, ..Attributes::default() };
        for (cell, is_array) in cells.iter().zip(is_array) {
            let range = cell.start as usize..(cell.start + cell.length) as usize;
            let payloads = payloads.get(range).unwrap_or_default();
            attributes.push_value(cell.kind, is_array, payloads, strings);
        }
        Ok(attributes)
    }

    /// Calls `take` with each value of the wanted entries: the entry's place among them, and a payload.
    /// Fails with the number of entries where that is not the number of keys.
    fn each(
        &self,
        column: &Column,
        depth: u8,
        part: Part,
        strings: &mut Strings,
        mut take: impl FnMut(usize, u64),
    ) -> Result<(), usize> {
        if column.values.len() == 0 && part != Part::IsArray {
            return Ok(());
        }
        let present = if part == Part::IsArray { depth } else { depth + 1 };
        let mut codes = match &column.values {
            Values::Bytes(entries) => Some(Codes::new(entries)),
            Values::Numbers(_) => None,
        };
        let (mut entries, mut value, mut next) = (0, 0, 0);
        let mut current = None;
        for (&rep, &def) in column.rep.iter().zip(&column.def) {
            if rep <= depth {
                current = None;
                if def >= depth {
                    let wanted = match &self.picked {
                        None => true,
                        Some(picked) => picked.get(next).is_some_and(|at| *at as usize == entries),
                    };
                    if wanted {
                        current = Some(next);
                        next += 1;
                    }
                    entries += 1;
                }
            }
            if def != present {
                continue;
            }
            if let Some(at) = current {
                let payload = match (&column.values, &mut codes) {
                    (Values::Bytes(texts), Some(codes)) => {
                        let entry = texts.indexes.get(value).copied().unwrap_or(u32::MAX);
                        codes.get(texts, entry, strings).payload()
                    }
                    (Values::Numbers(numbers), _) => numbers.get(value).copied().unwrap_or(0),
                    (Values::Bytes(_), None) => 0,
                };
                take(at, payload);
            }
            value += 1;
        }
        if entries == self.total { Ok(()) } else { Err(entries) }
    }
}

impl Attributes {
    /// Adds one value, as vParquet spreads it: its type, whether it is an array, and its payloads.
    fn push_value(
        &mut self,
        kind: Option<ValueKind>,
        is_array: bool,
        payloads: &[u64],
        strings: &mut Strings,
    ) {
        let first = payloads.first().copied();
        let (kind, value) = match (kind, first) {
            (Some(ValueKind::Unsupported), Some(payload)) => (ValueKind::Unsupported, payload),
            (Some(kind), Some(payload)) if !is_array => (kind, payload),
            (Some(kind), Some(_)) => {
                let start = self.elements.len() as u64;
                self.elements.extend_from_slice(payloads);
                let kind = match kind {
                    ValueKind::String => ValueKind::Strings,
                    ValueKind::Int => ValueKind::Ints,
                    ValueKind::Double => ValueKind::Doubles,
                    _ => ValueKind::Bools,
                };
                (kind, start << 32 | payloads.len() as u64)
            }
            _ if is_array => (ValueKind::EmptyArray, 0),
            // No value at all: an AnyValue in which nothing is set.
            _ => (ValueKind::Unsupported, strings.intern("{}").payload()),
        };
        self.kind.push(kind);
        self.value.push(value);
    }
}

impl Sparse {
    /// Reads a column of `owners` rows of `level`, some of which have a value in it, or several.
    pub(crate) fn read(
        spec: &Spec,
        level: Level,
        column: Column,
        owners: usize,
        strings: &mut Strings,
    ) -> Result<Self, BlockError> {
        let (kind, payloads) = match column.values {
            Values::Numbers(numbers) => (ValueKind::Int, numbers),
            Values::Bytes(entries) => {
                let mut codes = Codes::new(&entries);
                let mut code = |entry: &u32| codes.get(&entries, *entry, strings).payload();
                (ValueKind::String, entries.indexes.iter().map(&mut code).collect())
            }
        };
        let (depth, mut rows, mut payloads) = (depth(level), 0_u32, payloads.into_iter());
        let mut sparse = Self::default();
        for (&rep, &def) in column.rep.iter().zip(&column.def) {
            rows += u32::from(rep <= depth && def >= depth);
            if def != spec.def {
                continue;
            }
            let (Some(owner), Some(payload)) = (rows.checked_sub(1), payloads.next()) else {
                return Err(misfit(spec, rows as usize, owners));
            };
            match sparse.values.last_mut().filter(|given| given.owner == owner) {
                Some(given) => given.more(payload, &mut sparse.elements),
                None => sparse.values.push(Given { owner, kind, payload }),
            }
        }
        if rows as usize != owners || payloads.len() > 0 {
            return Err(misfit(spec, rows as usize, owners));
        }
        Ok(sparse)
    }
}

impl Given {
    /// Another value of the same owner, which follows at once.
    fn more(&mut self, payload: u64, elements: &mut Vec<u64>) {
        let array = match self.kind {
            ValueKind::String => ValueKind::Strings,
            ValueKind::Int => ValueKind::Ints,
            _ => {
                // The array so far ends where the elements do.
                elements.push(payload);
                self.payload += 1;
                return;
            }
        };
        let start = elements.len() as u64;
        elements.extend([self.payload, payload]);
        (self.kind, self.payload) = (array, start << 32 | 2);
    }
}

/// Generic attributes and, behind them, those from columns of their own.
pub(crate) fn merge(generic: Attributes, slots: &[(&str, &Sparse)], strings: &mut Strings) -> Attributes {
    let slots = slots.iter().filter(|(_, sparse)| !sparse.values.is_empty());
    let mut slots: Vec<_> = slots.map(|(key, sparse)| (strings.intern(key), sparse, 0_usize)).collect();
    if slots.is_empty() {
        return generic;
    }
    let more: usize = slots.iter().map(|(_, sparse, _)| sparse.values.len()).sum();
    let room = generic.key.len() + more;
    let mut merged = Attributes {
        offsets: Offsets::default(),
        key: Vec::with_capacity(room),
        kind: Vec::with_capacity(room),
        value: Vec::with_capacity(room),
        elements: generic.elements,
    };
    // Where the elements of each column begin among all.
    let bases: Vec<u64> = slots
        .iter()
        .map(|(_, sparse, _)| {
            let base = merged.elements.len() as u64;
            merged.elements.extend_from_slice(&sparse.elements);
            base << 32
        })
        .collect();
    for owner in 0..generic.offsets.parents() {
        let range = generic.offsets.range(owner);
        merged.key.extend_from_slice(generic.key.get(range.clone()).unwrap_or_default());
        merged.kind.extend_from_slice(generic.kind.get(range.clone()).unwrap_or_default());
        merged.value.extend_from_slice(generic.value.get(range).unwrap_or_default());
        for ((key, sparse, next), base) in slots.iter_mut().zip(&bases) {
            if let Some(given) = sparse.values.get(*next).filter(|given| given.owner as usize == owner) {
                let is_array = matches!(given.kind, ValueKind::Strings | ValueKind::Ints);
                merged.key.push(*key);
                merged.kind.push(given.kind);
                merged.value.push(given.payload + if is_array { *base } else { 0 });
                *next += 1;
            }
        }
        merged.offsets.close(merged.key.len());
    }
    merged
}
