//! Gathering a sketch while a block is written. What a dictionary code stands for is looked at once a table,
//! so that a span costs a few bits set.

use std::{collections::HashMap, ops::Range};

use super::{
    Field, Numbers, Place, Sketch, Values,
    filter::{Filter, Seed},
};
use crate::table::{Attributes, Code, Level, Offsets, SpanTable, ValueKind};

/// Fields that are told apart; what comes after them makes its place incomplete.
const MAX_FIELDS: usize = 1000;
/// Longest key that is kept, in bytes.
const MAX_KEY: usize = 256;
/// Values of a field, and their bytes, that are kept as they are.
const MAX_EXACT: usize = 64;
const MAX_EXACT_BYTES: usize = 1024;
/// Values of a field, and of all of them, whose hashes are kept: 8 bytes each while a block is written.
const MAX_HASHES: usize = 1 << 18;
const MAX_ALL_HASHES: usize = 1 << 20;
/// Words of codes that are remembered of a table; what goes beyond is looked at again and again.
const MAX_MEMO: usize = 1 << 20;
/// Of a block, the part that its sketch may take, and what it may take in any case, in bytes.
const SHARE: u64 = 250;
const FLOOR: usize = 16 << 10;
/// Largest filter, in bytes.
const MAX_FILTER: usize = 4 << 20;

const LEVELS: [Level; 5] = [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link];

/// Gathers the sketch of a block.
#[derive(Debug)]
pub(crate) struct SketchBuilder {
    pub(super) numbers: Numbers,
    fields: Vec<Gathering>,
    by_name: HashMap<(Place, String), usize>,
    /// Fields of columns, by the number of their place.
    columns: [Option<usize>; Place::ALL.len()],
    pub(super) incomplete: u16,
    /// Hashes of all fields together.
    hashes: usize,
}

/// What is known of a table's codes: to be kept with the table, and dropped with it.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// By place, then by the key's code: number of the field and one more, or 0 where that is not known.
    keys: Vec<Vec<u32>>,
    /// By field: a bit for each code that was seen as its value.
    seen: Vec<Vec<u64>>,
    /// Words in `seen`.
    words: usize,
}

/// A field's values so far.
#[derive(Debug)]
struct Gathering {
    place: Place,
    name: String,
    searchable: bool,
    seed: Seed,
    texts: Set<String>,
    ints: Set<i64>,
    doubles: Set<u64>,
    bools: u8,
    hashes: Hashes,
}

/// Distinct values of one type.
#[derive(Debug)]
struct Set<T> {
    /// Sorted; `None` where there are too many.
    exact: Option<Vec<T>>,
    bounds: Option<(T, T)>,
    bytes: usize,
}

/// Hashes of a field's values.
#[derive(Debug, Default)]
struct Hashes {
    all: Vec<u64>,
    /// Length at which repetitions are taken out again.
    next: usize,
    /// Hashes that were added lately, by their last bits.
    recent: Vec<u64>,
    full: bool,
}

impl Default for SketchBuilder {
    fn default() -> Self {
        let (fields, by_name, columns) = (Vec::new(), HashMap::new(), [None; Place::ALL.len()]);
        Self { numbers: Numbers::default(), fields, by_name, columns, incomplete: 0, hashes: 0 }
    }
}

impl SketchBuilder {
    /// Adds a trace. `memo` is that of the table.
    pub(crate) fn add(&mut self, table: &SpanTable, trace: usize, memo: &mut Memo) {
        let below = |offsets: &Offsets, of: &Range<usize>| match of.end.checked_sub(1) {
            Some(last) if !of.is_empty() => offsets.range(of.start).start..offsets.range(last).end,
            _ => 0..0,
        };
        let one = trace..trace + 1;
        let resources = table.traces.resources.range(trace);
        let scopes = below(&table.resources.scopes, &resources);
        let spans = below(&table.scopes.spans, &scopes);
        let events = below(&table.spans.events, &spans);
        let links = below(&table.spans.links, &spans);
        self.numbers.add(table, trace, &spans);
        self.numbers.events |= !events.is_empty();
        self.numbers.links |= !links.is_empty();
        for (place, codes, rows) in [
            (Place::RootName, &table.traces.root_name, &one),
            (Place::RootService, &table.traces.root_service, &one),
            (Place::Attribute(Level::Resource), &table.resources.service, &resources),
            (Place::ScopeName, &table.scopes.name, &scopes),
            (Place::ScopeVersion, &table.scopes.version, &scopes),
            (Place::Name, &table.spans.name, &spans),
            (Place::StatusMessage, &table.spans.status_message, &spans),
            (Place::EventName, &table.events.name, &events),
        ] {
            self.column(place, codes.get(rows.clone()).unwrap_or_default(), table, memo);
        }
        for (level, owners) in LEVELS.into_iter().zip([resources, scopes, spans, events, links]) {
            let attributes = table.attributes(level);
            self.entries(level, attributes, below(&attributes.offsets, &owners), table, memo);
        }
    }

    /// Texts of a column; that of resources is their service.
    fn column(&mut self, place: Place, codes: &[Code], table: &SpanTable, memo: &mut Memo) {
        if codes.is_empty() {
            return;
        }
        let slot = usize::from(place.number());
        let name = if matches!(place, Place::Attribute(_)) { "service.name" } else { "" };
        let known = self.columns.get(slot).copied().flatten();
        let Some(field) = known.or_else(|| self.field(place, name)) else { return };
        self.columns.iter_mut().skip(slot).take(1).for_each(|slot| *slot = Some(field));
        for &code in codes {
            self.code(field, code.payload(), table, memo);
        }
    }

    fn entries(
        &mut self,
        level: Level,
        attributes: &Attributes,
        entries: Range<usize>,
        table: &SpanTable,
        memo: &mut Memo,
    ) {
        let columns = (
            attributes.key.get(entries.clone()).unwrap_or_default(),
            attributes.kind.get(entries.clone()).unwrap_or_default(),
            attributes.value.get(entries).unwrap_or_default(),
        );
        for ((&key, &kind), &value) in columns.0.iter().zip(columns.1).zip(columns.2) {
            let Some(field) = self.field_of(level, key, table, memo) else { continue };
            match kind {
                ValueKind::String => self.code(field, value, table, memo),
                ValueKind::Int | ValueKind::Double | ValueKind::Bool => self.number(field, kind, value),
                ValueKind::Strings | ValueKind::Ints | ValueKind::Doubles | ValueKind::Bools => {
                    let (start, length) = ((value >> 32) as usize, (value & 0xffff_ffff) as usize);
                    let elements = attributes.elements.get(start..start + length).unwrap_or_default();
                    for &element in elements {
                        match kind {
                            ValueKind::Strings => self.code(field, element, table, memo),
                            ValueKind::Ints => self.number(field, ValueKind::Int, element),
                            ValueKind::Doubles => self.number(field, ValueKind::Double, element),
                            _ => self.number(field, ValueKind::Bool, element),
                        }
                    }
                    self.is_searchable(field);
                }
                ValueKind::EmptyArray | ValueKind::Unsupported => {}
            }
        }
    }

    /// The field of a key, where it is kept.
    fn field_of(&mut self, level: Level, key: Code, table: &SpanTable, memo: &mut Memo) -> Option<usize> {
        let place = Place::Attribute(level);
        let known = memo.key(place, key, table.strings.len());
        if let Some(known) = known.as_deref().copied().filter(|known| *known > 0) {
            return Some(known as usize - 1);
        }
        let field = self.field(place, table.strings.text(key))?;
        if let Some(slot) = known {
            *slot = field as u32 + 1;
        }
        Some(field)
    }

    pub(super) fn field(&mut self, place: Place, name: &str) -> Option<usize> {
        // A key is looked up once a table, or for each entry where it is not kept: then nothing is copied.
        if name.len() > MAX_KEY {
            self.incomplete |= 1 << place.number();
            return None;
        }
        let key = (place, name.to_owned());
        if let Some(&known) = self.by_name.get(&key) {
            return Some(known);
        }
        if self.fields.len() >= MAX_FIELDS {
            self.incomplete |= 1 << place.number();
            return None;
        }
        self.fields.push(Gathering {
            place,
            name: name.to_owned(),
            searchable: false,
            seed: Seed::new(place, name),
            texts: Set::default(),
            ints: Set::default(),
            doubles: Set::default(),
            bools: 0,
            hashes: Hashes::default(),
        });
        self.by_name.insert(key, self.fields.len() - 1);
        Some(self.fields.len() - 1)
    }

    fn code(&mut self, field: usize, payload: u64, table: &SpanTable, memo: &mut Memo) {
        let code = Code::from_payload(payload);
        if memo.is_new(field, code, table.strings.len()) {
            self.text(field, table.strings.text(code));
        }
    }

    /// Also where it has no element.
    pub(super) fn is_searchable(&mut self, field: usize) {
        self.fields.get_mut(field).into_iter().for_each(|field| field.searchable = true);
    }

    pub(super) fn text(&mut self, field: usize, text: &str) {
        let Some(field) = self.fields.get_mut(field) else { return };
        field.searchable = true;
        if field
            .texts
            .exact
            .as_ref()
            .is_some_and(|known| known.binary_search_by(|known| known.as_str().cmp(text)).is_ok())
        {
            return;
        }
        if field.texts.exact.is_some() {
            field.texts.insert(text.to_owned(), text.len());
        }
        field.hashes.add(field.seed.text(text), &mut self.hashes);
    }

    pub(super) fn number(&mut self, field: usize, kind: ValueKind, payload: u64) {
        let Some(field) = self.fields.get_mut(field) else { return };
        field.searchable = true;
        match kind {
            ValueKind::Int => {
                let value = payload.cast_signed();
                if field.ints.insert(value, 8) {
                    field.hashes.add(field.seed.int(value), &mut self.hashes);
                }
                field.ints.widen(value, |a, b| a < b);
            }
            ValueKind::Double => {
                field.doubles.insert(payload, 8);
                let (less, value) = (|a, b| f64::from_bits(a) < f64::from_bits(b), f64::from_bits(payload));
                if !value.is_nan() {
                    field.doubles.widen(payload, less);
                }
            }
            _ => field.bools |= if payload == 0 { 1 } else { 2 },
        }
    }

    /// The sketch of what was added; the block's data take `size` bytes.
    pub(crate) fn finish(self, size: u64) -> Sketch {
        let budget = FLOOR.max(usize::try_from(size / SHARE).unwrap_or(usize::MAX)).min(MAX_FILTER);
        let mut fields = self.fields;
        // Those with few values first: of these most fit, and queries ask for them most.
        for field in &mut fields {
            field.hashes.tidy();
        }
        fields.sort_by_key(|field| (field.texts.bytes, field.hashes.all.len()));
        let (mut left, mut hashed, mut finished) = (budget, 0, Vec::with_capacity(fields.len()));
        let mut hashes: Vec<Vec<u64>> = Vec::new();
        for mut field in fields {
            let exact = field.texts.exact.as_ref().filter(|_| field.texts.bytes <= left / 4);
            left -= exact.map_or(0, |_| field.texts.bytes);
            field.texts.exact = exact.cloned();
            let needed = field.texts.exact.is_none() || field.ints.exact.is_none();
            let mine = Filter::bytes_for(field.hashes.all.len());
            let fits = needed && !field.hashes.full && mine <= left;
            if fits {
                left -= mine;
                hashed += field.hashes.all.len();
                hashes.push(std::mem::take(&mut field.hashes.all));
            }
            finished.push(field.finish(fits));
        }
        finished.sort_by(|a, b| (a.place, &a.name).cmp(&(b.place, &b.name)));
        let filter = Filter::new(hashes.into_iter().flatten(), hashed);
        Sketch { numbers: self.numbers, fields: finished, incomplete: self.incomplete, filter }
    }
}

impl Numbers {
    fn add(&mut self, table: &SpanTable, trace: usize, spans: &Range<usize>) {
        let widen = |bounds: &mut Option<(u64, u64)>, value: u64| {
            *bounds =
                Some(bounds.map_or((value, value), |(least, most)| (least.min(value), most.max(value))));
        };
        for &duration in table.spans.duration.get(spans.clone()).unwrap_or_default() {
            widen(&mut self.duration, duration);
        }
        for &status in table.spans.status.get(spans.clone()).unwrap_or_default() {
            self.statuses |= 1 << status.min(2);
        }
        for &kind in table.spans.kind.get(spans.clone()).unwrap_or_default() {
            self.kinds |= 1 << kind.min(5);
        }
        if let (Some(start), Some(end)) = (table.traces.start.get(trace), table.traces.end.get(trace)) {
            widen(&mut self.trace_duration, end.saturating_sub(*start));
        }
    }
}

impl Memo {
    /// Where the field of a key is remembered.
    fn key(&mut self, place: Place, key: Code, codes: usize) -> Option<&mut u32> {
        let place = usize::from(place.number());
        if self.keys.len() <= place {
            self.keys.resize(place + 1, Vec::new());
        }
        let keys = self.keys.get_mut(place)?;
        if keys.len() < codes {
            keys.resize(codes, 0);
        }
        keys.get_mut(key.index())
    }

    /// Whether a code was not seen before as a value of the field; from now on it was.
    fn is_new(&mut self, field: usize, code: Code, codes: usize) -> bool {
        if self.seen.len() <= field {
            self.seen.resize(field + 1, Vec::new());
        }
        let Some(seen) = self.seen.get_mut(field) else { return true };
        let words = codes.div_ceil(64);
        if seen.len() < words {
            if self.words + words > MAX_MEMO {
                return true;
            }
            self.words += words - seen.len();
            seen.resize(words, 0);
        }
        let Some(word) = seen.get_mut(code.index() / 64) else { return true };
        let bit = 1 << (code.index() % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

impl Gathering {
    /// `hashed`: whether the filter holds the hashes of its texts and integers.
    fn finish(self, hashed: bool) -> Field {
        let Self { place, name, searchable, texts, ints, doubles, bools, .. } = self;
        let texts = Set { bounds: None, ..texts };
        Field {
            place,
            name,
            searchable,
            texts: texts.finish(hashed),
            ints: ints.finish(hashed),
            doubles: doubles.finish(false),
            bools,
        }
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { exact: Some(Vec::new()), bounds: None, bytes: 0 }
    }
}

impl<T: Ord + Clone> Set<T> {
    /// Adds a value; false where it is known to have been added before.
    fn insert(&mut self, value: T, bytes: usize) -> bool {
        let Some(exact) = &mut self.exact else { return true };
        let Err(at) = exact.binary_search(&value) else { return false };
        self.bytes += bytes;
        if exact.len() >= MAX_EXACT || self.bytes > MAX_EXACT_BYTES {
            self.exact = None;
        } else {
            exact.insert(at, value);
        }
        true
    }

    fn widen(&mut self, value: T, less: impl Fn(T, T) -> bool) {
        match &mut self.bounds {
            None => self.bounds = Some((value.clone(), value)),
            Some((least, most)) => {
                if less(value.clone(), least.clone()) {
                    *least = value.clone();
                }
                if less(most.clone(), value.clone()) {
                    *most = value;
                }
            }
        }
    }

    fn finish(self, hashed: bool) -> Values<T> {
        match self.exact {
            Some(exact) => Values::Exact(exact),
            None if hashed => Values::Hashed(self.bounds),
            None => Values::Any(self.bounds),
        }
    }
}

impl Hashes {
    fn add(&mut self, hash: u64, all: &mut usize) {
        if self.full {
            return;
        }
        if self.recent.is_empty() {
            self.recent = vec![!hash; 64];
        }
        let at = (hash % self.recent.len() as u64) as usize;
        if let Some(recent) = self.recent.get_mut(at) {
            if *recent == hash {
                return;
            }
            *recent = hash;
        }
        self.all.push(hash);
        *all += 1;
        if self.all.len() >= self.next.max(1024) {
            *all -= self.all.len();
            self.tidy();
            self.next = self.all.len() * 2;
            if self.all.len() > MAX_HASHES || *all + self.all.len() > MAX_ALL_HASHES {
                *self = Self { full: true, ..Self::default() };
            }
            *all += self.all.len();
        }
    }

    fn tidy(&mut self) {
        self.all.sort_unstable();
        self.all.dedup();
        self.recent = Vec::new();
    }
}
