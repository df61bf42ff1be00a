//! `field op constant` over all spans of a table: decided once for each dictionary code, and at the level at
//! which the field stands.

use super::context::{Context, Place, attribute, is_service};
use super::lookup;
use super::value::{Datum, is_searchable, is_visible, satisfies, value_satisfies};
use crate::table::{Bitmap, Code, Level, ValueKind};
use crate::traceql::{
    Attribute, Compare, Condition, Field, Intrinsic, Kind, Literal, Matcher, Source, Status,
};

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

impl Context<'_> {
    /// The spans for which `field op constant` holds.
    pub(crate) fn test(&self, source: &Source, condition: &Condition) -> Bitmap {
        match &source.field {
            Field::Intrinsic(intrinsic) => self.test_intrinsic(*intrinsic, condition),
            Field::Attribute(attribute) => match Place::of(attribute.scope) {
                Place::At(level) => self.test_at(level, attribute, source, condition),
                Place::SpanOrResource => {
                    let mut spans = self.test_at(Level::Resource, attribute, source, condition);
                    if spans.any() {
                        spans.and_not(&self.exists_at(Level::Span, attribute));
                    }
                    spans.or(&self.test_at(Level::Span, attribute, source, condition));
                    spans
                }
            },
        }
    }

    /// The spans that have a value for the field.
    pub(crate) fn exists(&self, field: &Field) -> Bitmap {
        let Some(attribute) = attribute(field) else {
            return match field {
                Field::Intrinsic(Intrinsic::EventName | Intrinsic::EventTime) => {
                    self.spans_with(Level::Event)
                }
                Field::Intrinsic(Intrinsic::LinkTraceId | Intrinsic::LinkSpanId) => {
                    self.spans_with(Level::Link)
                }
                _ => Bitmap::all(self.table.span_count()),
            };
        };
        match Place::of(attribute.scope) {
            Place::At(level) => self.exists_at(level, attribute),
            Place::SpanOrResource => {
                let mut spans = self.exists_at(Level::Span, attribute);
                spans.or(&self.exists_at(Level::Resource, attribute));
                spans
            }
        }
    }

    /// The spans without a value for the field; of an event or link, those that have some and none with it.
    pub(crate) fn missing(&self, field: &Field) -> Bitmap {
        let level = attribute(field).map(|attribute| Place::of(attribute.scope));
        let mut spans = match level {
            Some(Place::At(level)) => self.spans_with(level),
            _ => Bitmap::all(self.table.span_count()),
        };
        spans.and_not(&self.exists(field));
        spans
    }

    fn exists_at(&self, level: Level, attribute: &Attribute) -> Bitmap {
        if is_service(level, attribute) {
            return Bitmap::all(self.table.span_count());
        }
        let mut rows = Bitmap::none(self.rows(level));
        self.entries(level, attribute, |row, entry| {
            if self.table.attributes(level).kind.get(entry).is_some_and(|&kind| is_searchable(kind)) {
                rows.set(row);
            }
        });
        self.spans_of(level, &rows)
    }

    fn test_at(&self, level: Level, attribute: &Attribute, source: &Source, condition: &Condition) -> Bitmap {
        let strings = &self.table.strings;
        let attributes = self.table.attributes(level);
        let mut rows = Bitmap::none(self.rows(level));
        let mut memo = Memo::new(strings.len(), |code| {
            let text = Datum::Text(strings.text(code));
            is_visible(source, text) && satisfies(condition, text)
        });
        self.entries(level, attribute, |row, entry| {
            let payload = attributes.value.get(entry).copied().unwrap_or_default();
            let holds = if attributes.kind.get(entry) == Some(&ValueKind::String) {
                memo.get(Code::from_payload(payload))
            } else {
                let value = attributes.get(entry, strings);
                value.is_some_and(|value| value_satisfies(source, condition, value, strings))
            };
            if holds {
                rows.set(row);
            }
        });
        if is_service(level, attribute) {
            for (row, &code) in self.table.resources.service.iter().enumerate() {
                if memo.get(code) {
                    rows.set(row);
                }
            }
        }
        self.spans_of(level, &rows)
    }

    /// Calls `each` with row and entry of every entry of a level that has the attribute's key.
    fn entries(&self, level: Level, attribute: &Attribute, mut each: impl FnMut(usize, usize)) {
        let attributes = self.table.attributes(level);
        let Some(key) = self.key(&attribute.name) else { return };
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

    fn test_intrinsic(&self, intrinsic: Intrinsic, condition: &Condition) -> Bitmap {
        let table = self.table;
        let spans = &table.spans;
        let condition = &normalised(intrinsic, condition);
        let holds = |datum: Datum<'_>| satisfies(condition, datum);
        match intrinsic {
            Intrinsic::Name => self.codes(&spans.name, condition),
            Intrinsic::StatusMessage => self.codes(&spans.status_message, condition),
            Intrinsic::Status => {
                let table = Status::ALL.map(|status| holds(Datum::Status(status)));
                select(&spans.status, |&code| table[usize::from(code).min(2)])
            }
            Intrinsic::Kind => {
                let table = Kind::ALL.map(|kind| holds(Datum::Kind(kind)));
                select(&spans.kind, |&code| table[usize::from(code).min(5)])
            }
            Intrinsic::Duration => select(&spans.duration, |&ns| holds(lookup::duration(ns))),
            Intrinsic::NestedSetLeft => select(&spans.left, |&at| holds(Datum::Int(at.into()))),
            Intrinsic::NestedSetRight => select(&spans.right, |&at| holds(Datum::Int(at.into()))),
            Intrinsic::NestedSetParent => select(&spans.parent, |&at| holds(Datum::Int(at.into()))),
            Intrinsic::ChildCount => select(self.children(), |&count| holds(Datum::Int(count.into()))),
            Intrinsic::SpanId => select(&spans.id, |id| holds(Datum::Text(&id.to_string()))),
            Intrinsic::ParentId => select(&spans.parent_id, |id| holds(Datum::Text(&lookup::parent_id(*id)))),
            Intrinsic::TraceId | Intrinsic::TraceDuration | Intrinsic::RootName | Intrinsic::RootService => {
                self.of_traces(intrinsic, condition)
            }
            Intrinsic::EventName => self.spans_of(Level::Event, &self.codes(&table.events.name, condition)),
            Intrinsic::EventTime => {
                let rows = select(&table.events.since_start, |&ns| holds(lookup::duration(ns)));
                self.spans_of(Level::Event, &rows)
            }
            Intrinsic::LinkTraceId => {
                let rows = select(&table.links.trace_id, |id| holds(Datum::Text(&lookup::trimmed_hex(id))));
                self.spans_of(Level::Link, &rows)
            }
            Intrinsic::LinkSpanId => {
                let rows = select(&table.links.span_id, |id| holds(Datum::Text(&lookup::trimmed_hex(id))));
                self.spans_of(Level::Link, &rows)
            }
            Intrinsic::ScopeName => self.spans_of(Level::Scope, &self.codes(&table.scopes.name, condition)),
            Intrinsic::ScopeVersion => {
                self.spans_of(Level::Scope, &self.codes(&table.scopes.version, condition))
            }
            Intrinsic::Parent => Bitmap::none(table.span_count()),
        }
    }

    fn of_traces(&self, intrinsic: Intrinsic, condition: &Condition) -> Bitmap {
        let traces = &self.table.traces;
        let rows = match intrinsic {
            Intrinsic::RootName => self.codes(&traces.root_name, condition),
            Intrinsic::RootService => self.codes(&traces.root_service, condition),
            Intrinsic::TraceId => {
                select(&traces.id, |id| satisfies(condition, Datum::Text(&id.trimmed_hex())))
            }
            _ => {
                let ends = traces.end.iter().zip(&traces.start);
                let mut rows = Bitmap::none(traces.end.len());
                for (row, (end, start)) in ends.enumerate() {
                    if satisfies(condition, lookup::duration(end.saturating_sub(*start))) {
                        rows.set(row);
                    }
                }
                rows
            }
        };
        let mut spans = Bitmap::none(self.table.span_count());
        rows.iter().for_each(|trace| spans.set_range(self.table.spans_of_trace(trace)));
        spans
    }

    /// The rows whose text satisfies the condition.
    fn codes(&self, column: &[Code], condition: &Condition) -> Bitmap {
        let strings = &self.table.strings;
        if let (Compare::Eq, Matcher::Literal(Literal::String(text))) = (condition.op, &condition.value) {
            return match strings.find(text) {
                Some(wanted) => select(column, |&code| code == wanted),
                None => Bitmap::none(column.len()),
            };
        }
        let mut memo = Memo::new(strings.len(), |code| satisfies(condition, Datum::Text(strings.text(code))));
        select(column, |&code| memo.get(code))
    }
}

fn select<T>(column: &[T], mut holds: impl FnMut(&T) -> bool) -> Bitmap {
    let mut rows = Bitmap::none(column.len());
    for (row, value) in column.iter().enumerate() {
        if holds(value) {
            rows.set(row);
        }
    }
    rows
}

/// Ids are compared without regard to leading zeros: the constant takes the form of the values.
fn normalised(intrinsic: Intrinsic, condition: &Condition) -> Condition {
    let equality = matches!(condition.op, Compare::Eq | Compare::Ne);
    match (&condition.value, intrinsic) {
        (Matcher::Literal(Literal::String(id)), Intrinsic::TraceId) if equality => {
            let id = id.trim_start_matches('0').to_ascii_lowercase();
            let id = if id.is_empty() { "0".to_owned() } else { id };
            Condition { op: condition.op, value: Matcher::Literal(Literal::String(id)) }
        }
        (Matcher::Literal(Literal::String(id)), Intrinsic::SpanId | Intrinsic::ParentId)
            if equality && !id.is_empty() =>
        {
            let id = format!("{:0>16}", id.to_ascii_lowercase());
            Condition { op: condition.op, value: Matcher::Literal(Literal::String(id)) }
        }
        _ => condition.clone(),
    }
}
