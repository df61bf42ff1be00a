//! Columns of a row group become a table: levels become offsets, dictionary indexes become codes.

use rustc_hash::FxHashMap;

use super::{
    attributes::{Keys, Sparse},
    wanted::{LEVELS, Plan, Wanted},
};
use crate::{
    block::{
        BlockError,
        entries::Entries,
        page::{Column, Values},
        schema::{Leaf, Part, Slots, Spec, depth},
    },
    model::{SpanId, TraceId},
    table::{Attributes, Code, Level, Offsets, SpanTable, Strings},
};

/// A table that is being put together. The spine is added first, then the levels below it, then the rest.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    table: SpanTable,
    spine: Option<Leaf>,
    below: [Option<Leaf>; 2],
    only_levels: Vec<Leaf>,
    keys: Vec<(Level, Keys)>,
    slots: Vec<(Level, usize, Sparse)>,
}

/// What is wrong with a column that does not fit the others.
pub(crate) fn misfit(spec: &Spec, found: usize, expected: usize) -> BlockError {
    let reason = format!("{found} values for {expected} rows");
    BlockError::corrupt(format!("column {}", spec.path), reason)
}

impl Assembly {
    pub(crate) fn new(plan: &Plan) -> Self {
        let only_levels = plan.only_levels.clone();
        Self { spine: plan.spine, below: plan.below, only_levels, ..Self::default() }
    }

    /// Takes one column in.
    pub(crate) fn add(&mut self, wanted: &Wanted, spec: &Spec, column: Column) -> Result<(), BlockError> {
        if self.spine == Some(spec.leaf) {
            self.spine(spec, &column)?;
        }
        if self.below.contains(&Some(spec.leaf)) {
            let offsets = children(spec, &column, 3, self.table.span_count())?;
            match spec.leaf {
                Leaf::Dropped(Level::Event) | Leaf::EventName | Leaf::EventTime => {
                    self.table.spans.events = offsets;
                }
                _ => self.table.spans.links = offsets,
            }
        }
        match spec.leaf {
            Leaf::Attribute(level, Part::Key) => {
                let owners = self.owners(level);
                let wanted = wanted.keys(level);
                let strings = &mut self.table.strings;
                let keys = Keys::read(spec, &column, owners, wanted.as_deref(), strings)?;
                self.keys.push((level, keys));
                Ok(())
            }
            Leaf::Attribute(..) => Ok(()),
            leaf if self.only_levels.contains(&leaf) => Ok(()),
            Leaf::Slot(level, slot) => {
                let owners = self.owners(level);
                let sparse = Sparse::read(spec, level, column, owners, &mut self.table.strings)?;
                self.slots.push((level, slot, sparse));
                Ok(())
            }
            _ => self.plain(spec, column),
        }
    }

    /// Whether there is nothing that a column could hold a value of: no event, or no link, as far as is known.
    pub(crate) fn has_none_of(&self, leaf: Leaf) -> bool {
        let level = match leaf {
            Leaf::Dropped(level) | Leaf::Attribute(level, _) | Leaf::Slot(level, _) => level,
            Leaf::EventName | Leaf::EventTime => Level::Event,
            Leaf::LinkTraceId | Leaf::LinkSpanId | Leaf::LinkTraceState => Level::Link,
            _ => return false,
        };
        let known = match level {
            Level::Event => self.below[0].is_some(),
            Level::Link => self.below[1].is_some(),
            _ => false,
        };
        known && self.owners(level) == 0
    }

    /// Whether a column says how others hang together, and so has to come before them.
    pub(crate) fn comes_first(&self, leaf: Leaf) -> bool {
        self.spine == Some(leaf) || self.below.contains(&Some(leaf))
    }

    /// Takes a column of numbers that are 0 throughout.
    pub(crate) fn add_zeros(&mut self, spec: &Spec) {
        let links = matches!(spec.leaf, Leaf::Dropped(Level::Link));
        let rows = self.rows(spec.rep, links);
        self.numbers(spec.leaf, vec![0; rows]);
    }

    /// Whether the levels fit the row group's number of traces.
    pub(crate) fn check(&mut self, rows: u64) -> Result<(), BlockError> {
        let traces = self.table.trace_count();
        if traces as u64 != rows {
            return Err(BlockError::corrupt("row group", format!("{traces} traces, expected {rows}")));
        }
        let none = |parents: usize| Offsets(vec![0; parents + 1]);
        if self.table.traces.stats.parents() != traces {
            self.table.traces.stats = none(traces);
        }
        let spans = self.table.span_count();
        if self.below[0].is_none() {
            self.table.spans.events = none(spans);
        }
        if self.below[1].is_none() {
            self.table.spans.links = none(spans);
        }
        Ok(())
    }

    /// The value columns that are needed: of those levels where a wanted key was found.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Leaf> + '_ {
        let levels = self.keys.iter().filter(|(_, keys)| !keys.codes.is_empty());
        levels.flat_map(|(level, _)| Part::ALL.iter().skip(1).map(|part| Leaf::Attribute(*level, *part)))
    }

    /// The table, with the values of its attributes as `read` has them; nothing of a column without values.
    pub(crate) fn finish(
        mut self,
        names: &Slots,
        mut read: impl FnMut(Leaf) -> Result<Option<Column>, BlockError>,
    ) -> Result<SpanTable, BlockError> {
        let mut all_keys = std::mem::take(&mut self.keys);
        for level in LEVELS {
            let owners = self.owners(level);
            let at = all_keys.iter().position(|(of, _)| *of == level);
            let keys = at.map(|at| all_keys.swap_remove(at).1);
            let slots = self.slots.iter().filter(|(of, ..)| *of == level);
            let name = |slot: usize| names.at(level).get(slot).map(|slot| slot.name.as_str());
            let slots = slots.filter_map(|(_, slot, sparse)| Some((name(*slot)?, sparse)));
            let slots: Vec<_> = slots.collect();
            let strings = &mut self.table.strings;
            let generic = match keys {
                Some(keys) => keys.values(level, strings, &mut read)?,
                None => Attributes { offsets: Offsets(vec![0; owners + 1]), ..Attributes::default() },
            };
            let merged = super::attributes::merge(generic, &slots, strings);
            *match level {
                Level::Resource => &mut self.table.resources.attributes,
                Level::Scope => &mut self.table.scopes.attributes,
                Level::Span => &mut self.table.spans.attributes,
                Level::Event => &mut self.table.events.attributes,
                Level::Link => &mut self.table.links.attributes,
            } = merged;
        }
        Ok(self.table)
    }

    fn owners(&self, level: Level) -> usize {
        self.rows(depth(level), matches!(level, Level::Link))
    }

    /// Number of rows at a depth.
    fn rows(&self, depth: u8, links: bool) -> usize {
        let table = &self.table;
        match depth {
            0 => table.trace_count(),
            1 => table.traces.resources.children(),
            2 => table.resources.scopes.children(),
            3 => table.span_count(),
            _ if links => table.spans.links.children(),
            _ => table.spans.events.children(),
        }
    }

    /// Traces, resources, scopes and spans, from the levels of a column that every span has a value in.
    fn spine(&mut self, spec: &Spec, column: &Column) -> Result<(), BlockError> {
        let wrong = || BlockError::corrupt(format!("column {}", spec.path), "levels that do not nest");
        let (mut traces, mut resources, mut scopes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut spans, mut before) = (0_u32, 0);
        if column.rep.len() != column.def.len() || column.rep.first().is_some_and(|rep| *rep != 0) {
            return Err(wrong());
        }
        for (&rep, &def) in column.rep.iter().zip(&column.def) {
            if rep > before || rep > def {
                return Err(wrong());
            }
            before = def;
            if rep == 0 {
                traces.push(resources.len() as u32);
            }
            if def >= 1 && rep <= 1 {
                resources.push(scopes.len() as u32);
            }
            if def >= 2 && rep <= 2 {
                scopes.push(spans);
            }
            spans += u32::from(def >= 3);
        }
        traces.push(resources.len() as u32);
        resources.push(scopes.len() as u32);
        scopes.push(spans);
        self.table.traces.resources = Offsets(traces);
        self.table.resources.scopes = Offsets(resources);
        self.table.scopes.spans = Offsets(scopes);
        Ok(())
    }

    /// A column that holds one value for every row of its level.
    fn plain(&mut self, spec: &Spec, column: Column) -> Result<(), BlockError> {
        if matches!(spec.leaf, Leaf::StatsService | Leaf::StatsSpans | Leaf::StatsErrors) {
            self.table.traces.stats = children(spec, &column, 0, self.table.trace_count())?;
            return self.stats(spec, column);
        }
        let links = matches!(
            spec.leaf,
            Leaf::LinkTraceId | Leaf::LinkSpanId | Leaf::LinkTraceState | Leaf::Dropped(Level::Link)
        );
        let (found, rows) = (column.values.len(), self.rows(spec.rep, links));
        if found != rows {
            return Err(misfit(spec, found, rows));
        }
        match column.values {
            Values::Numbers(numbers) => self.numbers(spec.leaf, numbers),
            Values::Bytes(entries) => self.texts(spec, &entries)?,
        }
        Ok(())
    }

    fn stats(&mut self, spec: &Spec, column: Column) -> Result<(), BlockError> {
        let rows = self.table.traces.stats.children();
        if column.values.len() != rows {
            return Err(misfit(spec, column.values.len(), rows));
        }
        let traces = &mut self.table.traces;
        match (spec.leaf, column.values) {
            (Leaf::StatsService, Values::Bytes(entries)) => {
                traces.stats_service = codes(&entries, &mut self.table.strings);
            }
            (Leaf::StatsSpans, Values::Numbers(numbers)) => traces.stats_spans = narrow(&numbers),
            (Leaf::StatsErrors, Values::Numbers(numbers)) => traces.stats_errors = narrow(&numbers),
            _ => {}
        }
        Ok(())
    }

    fn numbers(&mut self, leaf: Leaf, numbers: Vec<u64>) {
        let table = &mut self.table;
        let (traces, spans) = (&mut table.traces, &mut table.spans);
        match leaf {
            Leaf::TraceStart => traces.start = numbers,
            Leaf::TraceEnd => traces.end = numbers,
            Leaf::ParentLeft => spans.parent = signed(&numbers),
            Leaf::Left => spans.left = signed(&numbers),
            Leaf::Right => spans.right = signed(&numbers),
            Leaf::Kind => spans.kind = bytes(&numbers),
            Leaf::Status => spans.status = bytes(&numbers),
            Leaf::Start => spans.start = numbers,
            Leaf::Duration => spans.duration = numbers,
            Leaf::DroppedEvents => spans.dropped_events = narrow(&numbers),
            Leaf::DroppedLinks => spans.dropped_links = narrow(&numbers),
            Leaf::EventTime => table.events.since_start = numbers,
            Leaf::Dropped(level) => {
                *match level {
                    Level::Resource => &mut table.resources.dropped_attributes,
                    Level::Scope => &mut table.scopes.dropped_attributes,
                    Level::Span => &mut spans.dropped_attributes,
                    Level::Event => &mut table.events.dropped_attributes,
                    Level::Link => &mut table.links.dropped_attributes,
                } = narrow(&numbers);
            }
            _ => {}
        }
    }

    fn texts(&mut self, spec: &Spec, entries: &Entries) -> Result<(), BlockError> {
        let table = &mut self.table;
        let each = || entries.indexes.iter().map(|at| entries.entry(*at));
        match spec.leaf {
            Leaf::TraceId => {
                let ids = each().map(TraceId::from_slice).collect::<Result<_, _>>();
                let wrong = |error: crate::model::IdError| {
                    BlockError::corrupt(format!("column {}", spec.path), error.to_string())
                };
                table.traces.id = ids.map_err(wrong)?;
            }
            Leaf::SpanId => table.spans.id = each().map(span_id).collect(),
            Leaf::ParentSpanId => table.spans.parent_id = each().map(span_id).collect(),
            Leaf::LinkTraceId => table.links.trace_id = each().map(Box::from).collect(),
            Leaf::LinkSpanId => table.links.span_id = each().map(Box::from).collect(),
            leaf => {
                let codes = codes(entries, &mut table.strings);
                match leaf {
                    Leaf::RootService => table.traces.root_service = codes,
                    Leaf::RootName => table.traces.root_name = codes,
                    Leaf::Service => {
                        table.resources.has_service = codes.iter().map(|code| *code != Code::EMPTY).collect();
                        table.resources.service = codes;
                    }
                    Leaf::ScopeName => table.scopes.name = codes,
                    Leaf::ScopeVersion => table.scopes.version = codes,
                    Leaf::Name => table.spans.name = codes,
                    Leaf::TraceState => table.spans.trace_state = codes,
                    Leaf::StatusMessage => table.spans.status_message = codes,
                    Leaf::EventName => table.events.name = codes,
                    Leaf::LinkTraceState => table.links.trace_state = codes,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The children that each of `owners` rows at `depth` has, from a column of theirs.
pub(crate) fn children(
    spec: &Spec,
    column: &Column,
    depth: u8,
    owners: usize,
) -> Result<Offsets, BlockError> {
    let mut starts = Vec::with_capacity(owners + 1);
    let mut count = 0_u32;
    for (&rep, &def) in column.rep.iter().zip(&column.def) {
        if rep <= depth && def >= depth {
            starts.push(count);
        }
        count += u32::from(def > depth && rep <= depth + 1);
    }
    starts.push(count);
    if starts.len() != owners + 1 {
        return Err(misfit(spec, starts.len() - 1, owners));
    }
    Ok(Offsets(starts))
}

/// The codes of a column's entries, each looked up when it is first met.
#[derive(Debug)]
pub(crate) enum Codes {
    /// By entry; `u32::MAX` for one that was not met.
    Many(Vec<u32>),
    /// Where a column has few values and a large dictionary.
    Few(FxHashMap<u32, u32>),
}

impl Codes {
    pub(crate) fn new(entries: &Entries) -> Self {
        match entries.count() {
            count if entries.indexes.len() < count / 8 => Self::Few(FxHashMap::default()),
            count => Self::Many(vec![u32::MAX; count]),
        }
    }

    pub(crate) fn get(&mut self, entries: &Entries, entry: u32, strings: &mut Strings) -> Code {
        let known = match self {
            Self::Many(codes) => codes.get_mut(entry as usize),
            Self::Few(codes) => Some(codes.entry(entry).or_insert(u32::MAX)),
        };
        let Some(code) = known else { return Code::EMPTY };
        if *code == u32::MAX {
            // Text that is no UTF-8 cannot come by OTLP, but Go would store it.
            *code = strings.intern(&String::from_utf8_lossy(entries.entry(entry))).0;
        }
        Code(*code)
    }
}

fn codes(entries: &Entries, strings: &mut Strings) -> Vec<Code> {
    let mut codes = Codes::new(entries);
    entries.indexes.iter().map(|entry| codes.get(entries, *entry, strings)).collect()
}

/// A span id of any length: as eight bytes, filled up or cut on the left.
fn span_id(bytes: &[u8]) -> SpanId {
    let mut id = [0; 8];
    id.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
    SpanId(id)
}

fn signed(numbers: &[u64]) -> Vec<i32> {
    numbers.iter().map(|number| number.cast_signed() as i32).collect()
}

/// Counts, which are never negative in a file that Tempo or this crate wrote.
fn narrow(numbers: &[u64]) -> Vec<u32> {
    numbers.iter().map(|number| *number as u32).collect()
}

fn bytes(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().map(|number| u8::try_from(*number).unwrap_or(0)).collect()
}
