//! What evaluation reads: the columns of a table, or the same columns out of pieces. A column that is in
//! neither is empty.

use std::{cell::OnceCell, ops::Range};

use super::{
    Attributes, Bitmap, Code, Column, Level, Offsets, Piece, PieceOf, SpanTable, Strings, Value, ValueColumn,
    ValueKind, piece::Data,
};
use crate::model::{SpanId, TraceId};

/// Columns by name, borrowed.
#[derive(Debug)]
pub struct View<'a> {
    pub(crate) trace_ids: &'a [TraceId],
    pub(crate) starts: &'a [u64],
    pub(crate) ends: &'a [u64],
    pub(crate) root_service: Texts<'a>,
    pub(crate) root_name: Texts<'a>,
    /// Entries of the statistics of each trace.
    pub(crate) stats: &'a Offsets,
    pub(crate) stats_service: Texts<'a>,
    pub(crate) stats_spans: &'a [u32],
    pub(crate) stats_errors: &'a [u32],
    pub(crate) services: Texts<'a>,
    pub(crate) has_service: &'a [bool],
    pub(crate) scope_names: Texts<'a>,
    pub(crate) scope_versions: Texts<'a>,
    pub(crate) span_ids: &'a [SpanId],
    pub(crate) parent_ids: &'a [SpanId],
    pub(crate) left: &'a [i32],
    pub(crate) right: &'a [i32],
    pub(crate) parent: &'a [i32],
    pub(crate) names: Texts<'a>,
    pub(crate) kinds: &'a [u8],
    pub(crate) statuses: &'a [u8],
    pub(crate) status_messages: Texts<'a>,
    pub(crate) span_starts: &'a [u64],
    pub(crate) durations: &'a [u64],
    pub(crate) event_names: Texts<'a>,
    pub(crate) event_times: &'a [u64],
    pub(crate) link_trace_ids: &'a [Box<[u8]>],
    pub(crate) link_span_ids: &'a [Box<[u8]>],
    pub(crate) resources: &'a Offsets,
    pub(crate) scopes: &'a Offsets,
    pub(crate) spans: &'a Offsets,
    pub(crate) events: &'a Offsets,
    pub(crate) links: &'a Offsets,
    /// Where the spans of each trace begin: given, or made when first asked for.
    of_traces: Option<&'a Offsets>,
    made: OnceCell<Offsets>,
    attributes: Keys<'a>,
}

/// Where the attributes are.
#[derive(Debug)]
enum Keys<'a> {
    Table(&'a SpanTable),
    Columns(Vec<(Level, &'a str, &'a ValueColumn)>),
}

/// A column of texts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Texts<'a> {
    Codes(&'a [Code], &'a Strings),
    Column(&'a ValueColumn),
    Nothing,
}

/// The attributes of one level that have one key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entries<'a> {
    Nothing,
    Table(&'a Attributes, Code, &'a Strings),
    Column(&'a ValueColumn),
}

static NO_OFFSETS: Offsets = Offsets(Vec::new());

impl<'a> From<&'a SpanTable> for View<'a> {
    fn from(table: &'a SpanTable) -> Self {
        let SpanTable { strings, traces, resources, scopes, spans, events, links } = table;
        let texts = |codes| Texts::Codes(codes, strings);
        Self {
            trace_ids: &traces.id,
            starts: &traces.start,
            ends: &traces.end,
            root_service: texts(&traces.root_service),
            root_name: texts(&traces.root_name),
            stats: &traces.stats,
            stats_service: texts(&traces.stats_service),
            stats_spans: &traces.stats_spans,
            stats_errors: &traces.stats_errors,
            services: texts(&resources.service),
            has_service: &resources.has_service,
            scope_names: texts(&scopes.name),
            scope_versions: texts(&scopes.version),
            span_ids: &spans.id,
            parent_ids: &spans.parent_id,
            left: &spans.left,
            right: &spans.right,
            parent: &spans.parent,
            names: texts(&spans.name),
            kinds: &spans.kind,
            statuses: &spans.status,
            status_messages: texts(&spans.status_message),
            span_starts: &spans.start,
            durations: &spans.duration,
            event_names: texts(&events.name),
            event_times: &events.since_start,
            link_trace_ids: &links.trace_id,
            link_span_ids: &links.span_id,
            resources: &traces.resources,
            scopes: &resources.scopes,
            spans: &scopes.spans,
            events: &spans.events,
            links: &spans.links,
            of_traces: None,
            made: OnceCell::new(),
            attributes: Keys::Table(table),
        }
    }
}

impl<'a> View<'a> {
    /// A view of what some pieces of the same rows have.
    pub fn of(pieces: impl IntoIterator<Item = &'a Piece>) -> Self {
        let mut view = Self::empty();
        for piece in pieces {
            view.add(piece);
        }
        view
    }

    fn empty() -> Self {
        let (texts, offsets) = (Texts::Nothing, &NO_OFFSETS);
        Self {
            trace_ids: &[],
            starts: &[],
            ends: &[],
            root_service: texts,
            root_name: texts,
            stats: offsets,
            stats_service: texts,
            stats_spans: &[],
            stats_errors: &[],
            services: texts,
            has_service: &[],
            scope_names: texts,
            scope_versions: texts,
            span_ids: &[],
            parent_ids: &[],
            left: &[],
            right: &[],
            parent: &[],
            names: texts,
            kinds: &[],
            statuses: &[],
            status_messages: texts,
            span_starts: &[],
            durations: &[],
            event_names: texts,
            event_times: &[],
            link_trace_ids: &[],
            link_span_ids: &[],
            resources: offsets,
            scopes: offsets,
            spans: offsets,
            events: offsets,
            links: offsets,
            of_traces: None,
            made: OnceCell::new(),
            attributes: Keys::Columns(Vec::new()),
        }
    }

    fn add(&mut self, piece: &'a Piece) {
        match (piece.of(), &piece.data) {
            (_, Data::Shape([resources, scopes, spans], of_traces)) => {
                (self.resources, self.scopes, self.spans) = (resources, scopes, spans);
                self.of_traces = Some(of_traces);
            }
            (PieceOf::Links, Data::Children(links)) => self.links = links,
            (_, Data::Children(events)) => self.events = events,
            (_, Data::TraceIds(ids)) => self.trace_ids = ids,
            (_, Data::Times(starts, ends)) => (self.starts, self.ends) = (starts, ends),
            (_, Data::Stats { of_traces, services, spans, errors }) => {
                (self.stats, self.stats_service) = (of_traces, Texts::Column(services));
                (self.stats_spans, self.stats_errors) = (spans, errors);
            }
            (_, Data::Services(services, named)) => {
                (self.services, self.has_service) = (Texts::Column(services), named);
            }
            (_, Data::Nested([left, right, parent])) => {
                (self.left, self.right, self.parent) = (left, right, parent);
            }
            (PieceOf::Attribute(level, key), Data::Texts(column)) => {
                if let (Keys::Columns(columns), [column]) = (&mut self.attributes, column.as_slice()) {
                    columns.push((*level, key, column));
                }
            }
            (PieceOf::Column(column), data) => self.add_column(*column, data),
            _ => {}
        }
    }

    fn add_column(&mut self, column: Column, data: &'a Data) {
        match (column, data) {
            (Column::Root, Data::Texts(texts)) => {
                if let [service, name] = texts.as_slice() {
                    (self.root_service, self.root_name) = (Texts::Column(service), Texts::Column(name));
                }
            }
            (column, Data::Texts(texts)) => {
                let texts = texts.first().map_or(Texts::Nothing, Texts::Column);
                match column {
                    Column::Name => self.names = texts,
                    Column::StatusMessage => self.status_messages = texts,
                    Column::ScopeName => self.scope_names = texts,
                    Column::ScopeVersion => self.scope_versions = texts,
                    Column::EventName => self.event_names = texts,
                    _ => {}
                }
            }
            (Column::SpanId, Data::SpanIds(ids)) => self.span_ids = ids,
            (Column::ParentSpanId, Data::SpanIds(ids)) => self.parent_ids = ids,
            (Column::Kind, Data::Bytes(kinds)) => self.kinds = kinds,
            (Column::Status, Data::Bytes(statuses)) => self.statuses = statuses,
            (Column::Start, Data::Numbers(starts)) => self.span_starts = starts,
            (Column::Duration, Data::Numbers(durations)) => self.durations = durations,
            (Column::EventTime, Data::Numbers(times)) => self.event_times = times,
            (Column::LinkTraceId, Data::Ids(ids)) => self.link_trace_ids = ids,
            (Column::LinkSpanId, Data::Ids(ids)) => self.link_span_ids = ids,
            _ => {}
        }
    }

    pub(crate) fn trace_count(&self) -> usize {
        self.resources.parents()
    }

    pub(crate) fn span_count(&self) -> usize {
        self.spans.children()
    }

    /// The spans of a trace.
    pub(crate) fn spans_of_trace(&self, trace: usize) -> Range<usize> {
        self.of_traces().range(trace)
    }

    /// Where the spans of each trace begin.
    pub(crate) fn of_traces(&self) -> &Offsets {
        self.of_traces.unwrap_or_else(|| {
            self.made.get_or_init(|| {
                let end = |trace| self.spans_of_resources(self.resources.range(trace)).end as u32;
                let mut ends = vec![0];
                for trace in 0..self.trace_count() {
                    // A trace without spans ends where the one before it does.
                    let before = ends.last().copied().unwrap_or(0);
                    ends.push(end(trace).max(before));
                }
                Offsets(ends)
            })
        })
    }

    /// The spans of some resources that stand side by side.
    pub(crate) fn spans_of_resources(&self, resources: Range<usize>) -> Range<usize> {
        match resources.end.checked_sub(1) {
            Some(last) if !resources.is_empty() => {
                self.spans_of_scopes(self.scopes.range(resources.start).start..self.scopes.range(last).end)
            }
            _ => 0..0,
        }
    }

    /// The spans of some scopes that stand side by side.
    pub(crate) fn spans_of_scopes(&self, scopes: Range<usize>) -> Range<usize> {
        match scopes.end.checked_sub(1) {
            Some(last) if !scopes.is_empty() => {
                self.spans.range(scopes.start).start..self.spans.range(last).end
            }
            _ => 0..0,
        }
    }

    /// The attributes of a level that have a key.
    pub(crate) fn entries(&self, level: Level, key: &str) -> Entries<'a> {
        match &self.attributes {
            Keys::Table(table) => table
                .strings
                .find(key)
                .map_or(Entries::Nothing, |key| Entries::Table(table.attributes(level), key, &table.strings)),
            Keys::Columns(columns) => columns
                .iter()
                .find(|(at, name, _)| *at == level && *name == key)
                .map_or(Entries::Nothing, |(_, _, column)| Entries::Column(column)),
        }
    }
}

impl<'a> Texts<'a> {
    pub(crate) fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Self::Codes(codes, strings) => codes.get(row).map(|code| strings.text(*code)),
            Self::Column(column) => (row < column.rows()).then(|| column.text(row)),
            Self::Nothing => None,
        }
    }

    /// The rows whose text `holds`; `only` is the only text for which it does. With `among`, right for those
    /// rows alone.
    pub(crate) fn select(
        self,
        among: Option<&Bitmap>,
        only: Option<&str>,
        mut holds: impl FnMut(&str) -> bool,
    ) -> Bitmap {
        match self {
            Self::Nothing => Bitmap::default(),
            Self::Column(column) => {
                column.select(among, only, |value| matches!(value, Value::String(text) if holds(text)))
            }
            Self::Codes(codes, strings) => match only.map(|only| strings.find(only)) {
                Some(None) => Bitmap::none(codes.len()),
                Some(Some(only)) => {
                    let holds = holds(strings.text(only));
                    Bitmap::of(codes, among, |code| holds && *code == only)
                }
                None => {
                    let mut memo = Memo::new(strings.len(), |code| holds(strings.text(code)));
                    Bitmap::of(codes, among, |code| memo.get(*code))
                }
            },
        }
    }
}

impl<'a> Entries<'a> {
    /// The values of a row in their order, with their types.
    pub(crate) fn values(self, row: usize) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (mut at, mut of_column, mut of_table) = (0..0, None, None);
        match self {
            Self::Nothing => {}
            Self::Column(column) => of_column = Some(column.values(row)),
            Self::Table(attributes, key, strings) => {
                at = attributes.offsets.range(row);
                of_table = Some((attributes, key, strings));
            }
        }
        let of_table = of_table.into_iter().flat_map(move |(attributes, key, strings)| {
            let entries = at.clone().filter(move |at| attributes.key.get(*at) == Some(&key));
            entries.filter_map(move |at| attributes.get(at, strings))
        });
        of_column.into_iter().flatten().chain(of_table)
    }

    /// The texts that its strings are among.
    pub(crate) fn strings(self) -> Option<&'a Strings> {
        match self {
            Self::Nothing => None,
            Self::Table(_, _, strings) => Some(strings),
            Self::Column(column) => Some(column.strings()),
        }
    }

    /// The rows of `rows` of which a value `holds`; `only` is a text beside which no other single text does.
    /// With `among`, right for those rows alone.
    pub(crate) fn select(
        self,
        rows: usize,
        among: Option<&Bitmap>,
        only: Option<&str>,
        mut holds: impl FnMut(Value<'_>) -> bool,
    ) -> Bitmap {
        let mut found = Bitmap::none(rows);
        match self {
            Self::Nothing => {}
            Self::Column(column) => return column.select(among, only, holds),
            Self::Table(attributes, key, strings) => {
                let mut of_entries = Vec::new();
                each(attributes, key, |row, entry| of_entries.push((row, entry)));
                let text = |code: Code| strings.get(code).map(Value::String);
                let mut memo = vec![0_u8; strings.len()];
                for (row, entry) in of_entries {
                    let payload = attributes.value.get(entry).copied().unwrap_or_default();
                    let code = Code::from_payload(payload);
                    let holds = match (attributes.kind.get(entry), memo.get_mut(code.index())) {
                        (Some(ValueKind::String), Some(known)) => {
                            if *known == 0 {
                                *known = 1 + u8::from(text(code).is_some_and(&mut holds));
                            }
                            *known == 2
                        }
                        _ => attributes.get(entry, strings).is_some_and(&mut holds),
                    };
                    if holds {
                        found.set(row);
                    }
                }
            }
        }
        found
    }

    /// The rows of `rows` with a value of a type that `wanted` wants.
    pub(crate) fn with_kind(self, rows: usize, wanted: impl Fn(ValueKind) -> bool) -> Bitmap {
        let mut found = Bitmap::none(rows);
        match self {
            Self::Nothing => {}
            Self::Column(column) => return column.with_kind(wanted),
            Self::Table(attributes, key, _) => each(attributes, key, |row, entry| {
                if attributes.kind.get(entry).is_some_and(|kind| wanted(*kind)) {
                    found.set(row);
                }
            }),
        }
        found
    }
}

/// Calls `each` with row and entry of every entry that has the key.
fn each(attributes: &Attributes, key: Code, mut each: impl FnMut(usize, usize)) {
    let mut row = 0;
    let mut end = attributes.offsets.range(0).end;
    for (entry, &found) in attributes.key.iter().enumerate() {
        if found != key {
            continue;
        }
        while end <= entry && row < attributes.offsets.parents() {
            row += 1;
            end = attributes.offsets.range(row).end;
        }
        each(row, entry);
    }
}

/// Decisions by dictionary code, each made when it is first asked for.
struct Memo<F> {
    known: Vec<u8>,
    decide: F,
}

impl<F: FnMut(Code) -> bool> Memo<F> {
    fn new(codes: usize, decide: F) -> Self {
        Self { known: vec![0; codes], decide }
    }

    fn get(&mut self, code: Code) -> bool {
        match self.known.get(code.index()) {
            Some(1) => false,
            Some(2) => true,
            _ => {
                let decision = (self.decide)(code);
                if let Some(slot) = self.known.get_mut(code.index()) {
                    *slot = 1 + u8::from(decision);
                }
                decision
            }
        }
    }
}
