//! The traces of a page, and what of them goes where: which rows of which tables, how they nest, and
//! which attributes go to columns of their own.

use std::{borrow::Borrow, ops::Range};

use rustc_hash::FxHashMap;

use super::{complete, levels::Levels};
use crate::{
    block::{
        BlockError, DedicatedKind,
        schema::Slot,
        sketch::{Memo, SketchBuilder},
    },
    table::{Attributes, Code, Level, SpanTable, Strings, ValueKind},
};

/// The tables that a row group's traces come from, and the strings they have in common.
#[derive(Debug)]
pub(super) struct Sources<T> {
    held: Vec<Source<T>>,
    /// By address: tables are held, so that none moves or goes.
    by_address: FxHashMap<usize, u32>,
    pub(super) strings: Strings,
    /// Bytes of distinct strings.
    pub(super) text: usize,
}

/// A table, and what its codes are among the row group's.
#[derive(Debug)]
struct Source<T> {
    table: T,
    codes: Vec<u32>,
    memo: Memo,
    /// Pages since one had rows of it; 0 where that is the one that is being collected.
    idle: u8,
}

/// Pages that a table is held without being used.
const IDLE: u8 = 6;

/// Rows of one table that stand side by side.
#[derive(Clone, Copy, Debug)]
struct Run {
    table: u32,
    from: u32,
    to: u32,
}

/// Rows of one level, in the order of the page.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    rows: usize,
}

/// The rows of a page, level by level.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) traces: Runs,
    pub(super) stats: Runs,
    pub(super) resources: Runs,
    pub(super) scopes: Runs,
    pub(super) spans: Runs,
    pub(super) events: Runs,
    pub(super) links: Runs,
}

/// How the rows of a page nest.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) traces: Levels,
    pub(super) stats: Levels,
    pub(super) resources: Levels,
    pub(super) scopes: Levels,
    pub(super) spans: Levels,
    pub(super) events: Levels,
    pub(super) links: Levels,
}

/// The attributes of one level of a page, with the row group's codes.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Number of generic entries of each owner.
    pub(super) counts: Vec<u32>,
    pub(super) key: Vec<u32>,
    pub(super) kind: Vec<ValueKind>,
    /// As in [`Attributes`].
    pub(super) value: Vec<u64>,
    pub(super) elements: Vec<u64>,
    /// Owners and payloads of each slot, ascending by owner; an array has one for each of its elements. Of one whose
    /// text is taken verbatim, table and code there.
    pub(super) slots: Vec<Vec<(u32, u64)>>,
    /// Which slots those are.
    pub(super) verbatim: Vec<bool>,
}

impl Runs {
    fn push(&mut self, table: u32, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        self.rows += rows.len();
        let (from, to) = (rows.start as u32, rows.end as u32);
        match self.runs.last_mut() {
            Some(last) if last.table == table && last.to == from => last.to = to,
            _ => self.runs.push(Run { table, from, to }),
        }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }
}

impl Rows {
    pub(super) fn of(&self, level: Level) -> &Runs {
        match level {
            Level::Resource => &self.resources,
            Level::Scope => &self.scopes,
            Level::Span => &self.spans,
            Level::Event => &self.events,
            Level::Link => &self.links,
        }
    }
}

impl Shape {
    pub(super) fn of(&self, level: Level) -> &Levels {
        match level {
            Level::Resource => &self.resources,
            Level::Scope => &self.scopes,
            Level::Span => &self.spans,
            Level::Event => &self.events,
            Level::Link => &self.links,
        }
    }
}

impl<T: Borrow<SpanTable>> Sources<T> {
    pub(super) fn new() -> Self {
        Self { held: Vec::new(), by_address: FxHashMap::default(), strings: Strings::default(), text: 0 }
    }

    /// Takes a table in, which is then known by its number.
    pub(super) fn add(&mut self, table: T) -> Result<u32, BlockError> {
        let address = std::ptr::from_ref::<SpanTable>(table.borrow()).addr();
        if let Some(&known) = self.by_address.get(&address) {
            self.held.get_mut(known as usize).into_iter().for_each(|source| source.idle = 0);
            return Ok(known);
        }
        // The address must not change when the table is moved into its place, as an owned one's would.
        let spans: &SpanTable = table.borrow();
        complete::check(spans)?;
        let number = self.held.len() as u32;
        let codes = vec![u32::MAX; spans.strings.len()];
        self.held.push(Source { table, codes, memo: Memo::default(), idle: 0 });
        let held =
            self.held.last().map(|source| std::ptr::from_ref::<SpanTable>(source.table.borrow()).addr());
        if held == Some(address) {
            self.by_address.insert(address, number);
        }
        Ok(number)
    }

    /// A page has ended: lets go of tables that no page had rows of for a while. Others may be in the next
    /// one too, and are worth keeping for what is known of their codes.
    pub(super) fn release(&mut self) {
        let mut kept = 0..;
        let stays = |source: &Source<T>| source.idle < IDLE;
        let numbers: Vec<Option<u32>> =
            self.held.iter().map(|source| stays(source).then(|| kept.next()).flatten()).collect();
        self.by_address.retain(|_, number| match numbers.get(*number as usize) {
            Some(Some(new)) => {
                *number = *new;
                true
            }
            _ => false,
        });
        self.held.retain(stays);
        self.held.iter_mut().for_each(|source| source.idle += 1);
    }

    /// Adds a trace to a sketch.
    pub(super) fn sketch(&mut self, sketch: &mut SketchBuilder, number: u32, trace: usize) {
        if let Some(source) = self.held.get_mut(number as usize) {
            sketch.add(source.table.borrow(), trace, &mut source.memo);
        }
    }

    pub(super) fn table(&self, number: u32) -> Option<&SpanTable> {
        self.held.get(number as usize).map(|source| source.table.borrow())
    }

    /// A text that is taken verbatim: `place` is a table's number and a code there.
    pub(super) fn text_at(&self, place: u64) -> &[u8] {
        let Some(table) = self.table((place >> 32) as u32) else { return &[] };
        table.strings.text(Code::from_payload(place & 0xffff_ffff)).as_bytes()
    }

    /// The tables of `runs` with their rows.
    pub(super) fn each<'a>(
        &'a self,
        runs: &'a Runs,
    ) -> impl Iterator<Item = (&'a SpanTable, Range<usize>)> + Clone {
        runs.runs.iter().filter_map(|run| Some((self.table(run.table)?, run.from as usize..run.to as usize)))
    }

    /// The values of a column, as they are in the tables.
    pub(super) fn values<'a, V: Copy + 'a>(
        &'a self,
        runs: &'a Runs,
        column: impl Fn(&'a SpanTable) -> &'a [V] + Clone + 'a,
    ) -> impl Iterator<Item = V> + 'a {
        self.each(runs).flat_map(move |(table, rows)| column(table).get(rows).unwrap_or_default()).copied()
    }

    /// The row group's codes of a column of strings.
    pub(super) fn codes(&mut self, out: &mut Vec<u32>, runs: &Runs, column: impl Fn(&SpanTable) -> &[Code]) {
        out.clear();
        for run in &runs.runs {
            let Some(source) = self.held.get_mut(run.table as usize) else { continue };
            let table: &SpanTable = source.table.borrow();
            let rows = column(table).get(run.from as usize..run.to as usize).unwrap_or_default();
            for code in rows {
                let known =
                    recode(&mut source.codes, *code, &table.strings, &mut self.strings, &mut self.text);
                out.push(known);
            }
        }
    }

    /// Adds a trace to a page.
    pub(super) fn rows(&self, rows: &mut Rows, number: u32, trace: usize) {
        let Some(table) = self.table(number) else { return };
        let below = |offsets: &crate::table::Offsets, of: &Range<usize>| match of.end.checked_sub(1) {
            Some(last) if !of.is_empty() => offsets.range(of.start).start..offsets.range(last).end,
            _ => 0..0,
        };
        let resources = table.traces.resources.range(trace);
        let scopes = below(&table.resources.scopes, &resources);
        let spans = below(&table.scopes.spans, &scopes);
        rows.traces.push(number, trace..trace + 1);
        rows.stats.push(number, table.traces.stats.range(trace));
        rows.resources.push(number, resources);
        rows.scopes.push(number, scopes);
        rows.events.push(number, below(&table.spans.events, &spans));
        rows.links.push(number, below(&table.spans.links, &spans));
        rows.spans.push(number, spans);
    }

    /// How the rows of a page nest.
    pub(super) fn shape(&self, rows: &Rows) -> Shape {
        let counts = |runs, offsets: fn(&SpanTable) -> &crate::table::Offsets| {
            self.each(runs)
                .flat_map(move |(table, rows)| rows.map(move |row| offsets(table).range(row).len()))
        };
        let traces = Levels::roots(rows.traces.len());
        let resources = traces.below(counts(&rows.traces, |table| &table.traces.resources));
        let scopes = resources.below(counts(&rows.resources, |table| &table.resources.scopes));
        let spans = scopes.below(counts(&rows.scopes, |table| &table.scopes.spans));
        Shape {
            stats: traces.below(counts(&rows.traces, |table| &table.traces.stats)),
            events: spans.below(counts(&rows.spans, |table| &table.spans.events)),
            links: spans.below(counts(&rows.spans, |table| &table.spans.links)),
            traces,
            resources,
            scopes,
            spans,
        }
    }

    /// The attributes of one level of a page.
    pub(super) fn attributes(&mut self, rows: &Rows, level: Level, placing: &Placing) -> Gathered {
        let (slots, verbatim) = (vec![Vec::new(); placing.slots.len()], placing.verbatim.clone());
        let mut gathered = Gathered { slots, verbatim, ..Gathered::default() };
        let mut owner = 0;
        for run in &rows.of(level).runs {
            let Some(source) = self.held.get_mut(run.table as usize) else { continue };
            let table: &SpanTable = source.table.borrow();
            let as_it_stands = u64::from(run.table) << 32;
            let mut code =
                |code| recode(&mut source.codes, code, &table.strings, &mut self.strings, &mut self.text);
            let attributes = table.attributes(level);
            for row in run.from as usize..run.to as usize {
                let before = gathered.key.len();
                for entry in attributes.offsets.range(row) {
                    gathered.entry(attributes, entry, owner, (placing, as_it_stands), &mut code);
                }
                gathered.counts.push((gathered.key.len() - before) as u32);
                owner += 1;
            }
        }
        gathered
    }
}

/// The row group's code of a table's.
fn recode(known: &mut [u32], code: Code, from: &Strings, to: &mut Strings, text: &mut usize) -> u32 {
    match known.get_mut(code.index()) {
        Some(known) if *known != u32::MAX => *known,
        Some(known) => {
            let value = from.text(code);
            let before = to.len();
            *known = to.intern(value).0;
            *text += if to.len() > before { value.len() } else { 0 };
            *known
        }
        None => 0,
    }
}

/// Which attributes of a level have a column of their own.
#[derive(Debug)]
pub(super) struct Placing {
    /// Of each slot, the kinds of value that it takes.
    slots: Vec<(ValueKind, Option<ValueKind>)>,
    /// By the row group's code of a key: the slot. Short, as these keys are interned first.
    by_key: Vec<Option<usize>>,
    /// Of each slot, whether its text goes into the file as it stands in the tables: the row group's strings need not
    /// know it.
    pub(super) verbatim: Vec<bool>,
}

impl Placing {
    /// For a row group whose strings are still empty.
    pub(super) fn new(slots: &[Slot], arrays: bool, strings: &mut Strings) -> Self {
        let (mut by_key, mut kinds) = (Vec::new(), Vec::with_capacity(slots.len()));
        for (at, slot) in slots.iter().enumerate() {
            kinds.push(match slot.kind {
                DedicatedKind::String => (ValueKind::String, arrays.then_some(ValueKind::Strings)),
                DedicatedKind::Int => (ValueKind::Int, None),
            });
            let code = strings.intern(&slot.name).index();
            by_key.resize(by_key.len().max(code + 1), None);
            if let Some(known @ None) = by_key.get_mut(code) {
                *known = Some(at);
            }
        }
        let verbatim = vec![false; kinds.len()];
        Self { slots: kinds, by_key, verbatim }
    }

    /// Whether a text under this key goes into a slot as it stands.
    fn is_verbatim(&self, key: u32, kind: ValueKind) -> bool {
        let slot = self.by_key.get(key as usize).copied().flatten();
        kind == ValueKind::String && slot.is_some_and(|slot| self.verbatim.get(slot) == Some(&true))
    }
}

impl Gathered {
    /// Takes one attribute of owner `owner` in.
    fn entry(
        &mut self,
        attributes: &Attributes,
        entry: usize,
        owner: u32,
        (placing, as_it_stands): (&Placing, u64),
        code: &mut impl FnMut(Code) -> u32,
    ) {
        let (Some(&key), Some(&kind), Some(&value)) =
            (attributes.key.get(entry), attributes.kind.get(entry), attributes.value.get(entry))
        else {
            return;
        };
        let name = code(key);
        if placing.is_verbatim(name, kind) && self.place(kind, as_it_stands | value, owner, name, placing) {
            return;
        }
        let value = match kind {
            ValueKind::String | ValueKind::Unsupported => u64::from(code(Code::from_payload(value))),
            ValueKind::Strings | ValueKind::Ints | ValueKind::Doubles | ValueKind::Bools => {
                let (start, length) = ((value >> 32) as usize, (value & 0xffff_ffff) as usize);
                let elements = attributes.elements.get(start..start + length).unwrap_or_default();
                let start = self.elements.len() as u64;
                if kind == ValueKind::Strings {
                    self.elements.extend(elements.iter().map(|e| u64::from(code(Code::from_payload(*e)))));
                } else {
                    self.elements.extend_from_slice(elements);
                }
                start << 32 | elements.len() as u64
            }
            _ => value,
        };
        if self.place(kind, value, owner, name, placing) {
            return;
        }
        self.key.push(name);
        self.kind.push(kind);
        self.value.push(value);
    }

    /// Puts the attribute into a column of its own, if it has one, fits its type, and is the first of
    /// that name. An array of one element does not fit: it would read back as its element.
    fn place(&mut self, kind: ValueKind, value: u64, owner: u32, name: u32, placing: &Placing) -> bool {
        let Some(Some(slot)) = placing.by_key.get(name as usize).copied() else { return false };
        let (Some(&(scalar, array)), Some(values)) = (placing.slots.get(slot), self.slots.get_mut(slot))
        else {
            return false;
        };
        if values.last().is_some_and(|(last, _)| *last == owner) {
            return false;
        }
        if kind == scalar {
            values.push((owner, value));
            return true;
        }
        let (start, length) = ((value >> 32) as usize, (value & 0xffff_ffff) as usize);
        if array != Some(kind) || length < 2 {
            return false;
        }
        let elements = self.elements.get(start..start + length).unwrap_or_default();
        values.extend(elements.iter().map(|element| (owner, *element)));
        self.elements.truncate(start);
        true
    }
}
