//! `field op constant` over all spans of a table: decided once for each dictionary code, and at the level at
//! which the field stands.

use memchr::memmem;

use super::context::{Context, Place, attribute, child_level, is_service, several};
use super::lookup;
use super::value::{Datum, is_searchable, is_visible, satisfies, value_satisfies};
use crate::table::view::Texts;
use crate::table::{Bitmap, Level, Value};
use crate::traceql::{
    Attribute, Compare, Condition, Field, Intrinsic, Kind, Literal, Matcher, Source, Status,
};

impl Context<'_> {
    /// The rows of a level, spans, events or links, for which `field op constant` holds, right at least for
    /// those `among`.
    pub(crate) fn test(&self, at: Level, source: &Source, condition: &Condition, among: &Bitmap) -> Bitmap {
        match child_level(source) {
            _ if at == Level::Span => self.test_spans(source, condition, among),
            Some(level) if level == at => self.test_children(level, source, condition),
            _ => self.rows_below(at, &self.test_spans(source, condition, &self.spans_of(at, among))),
        }
    }

    /// The rows that have a value for the field.
    pub(crate) fn exists(&self, at: Level, source: &Source) -> Bitmap {
        match child_level(source) {
            _ if at == Level::Span => self.exists_on_spans(source),
            Some(level) if level == at => match attribute(&source.field) {
                Some(attribute) => self.rows_with(level, attribute),
                None => Bitmap::all(self.rows(level)),
            },
            _ => self.rows_below(at, &self.exists_on_spans(source)),
        }
    }

    /// The rows without a value for the field; of an event, a link or a parent, the spans that have one and none
    /// with it.
    pub(crate) fn missing(&self, at: Level, source: &Source) -> Bitmap {
        if child_level(source) == Some(at) {
            let mut rows = self.exists(at, source);
            rows.not();
            return rows;
        }
        let mut spans = self.spans_with(several(&source.field).unwrap_or(Level::Span));
        spans.and_not(&self.exists_there(&source.field));
        if source.of_parent {
            spans = self.children_of(&spans);
        }
        if at == Level::Span { spans } else { self.rows_below(at, &spans) }
    }

    fn test_spans(&self, source: &Source, condition: &Condition, among: &Bitmap) -> Bitmap {
        if source.of_parent {
            return self.children_of(&self.test_there(source, condition, &self.parents_of(among)));
        }
        self.test_there(source, condition, among)
    }

    /// As [`Self::test_spans`], for spans that the field is looked at on.
    fn test_there(&self, source: &Source, condition: &Condition, among: &Bitmap) -> Bitmap {
        match &source.field {
            Field::Intrinsic(intrinsic) | Field::OfParent(intrinsic) => {
                self.test_intrinsic(*intrinsic, source, condition, among)
            }
            Field::Attribute(attribute) => match Place::of(attribute.scope) {
                Place::At(level) => self.test_at(level, attribute, source, condition, among),
                Place::SpanOrResource => {
                    let mut spans = self.test_at(Level::Resource, attribute, source, condition, among);
                    if spans.any() {
                        spans.and_not(&self.exists_at(Level::Span, attribute));
                    }
                    spans.or(&self.test_at(Level::Span, attribute, source, condition, among));
                    spans
                }
            },
        }
    }

    fn exists_on_spans(&self, source: &Source) -> Bitmap {
        let there = self.exists_there(&source.field);
        if source.of_parent { self.children_of(&there) } else { there }
    }

    fn exists_there(&self, field: &Field) -> Bitmap {
        let Some(attribute) = attribute(field) else {
            return self.spans_with(several(field).unwrap_or(Level::Span));
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

    fn exists_at(&self, level: Level, attribute: &Attribute) -> Bitmap {
        if is_service(level, attribute) {
            return Bitmap::all(self.view.span_count());
        }
        self.spans_of(level, &self.rows_with(level, attribute))
    }

    fn rows_with(&self, level: Level, attribute: &Attribute) -> Bitmap {
        self.entries(level, attribute).with_kind(self.rows(level), is_searchable)
    }

    fn test_at(
        &self,
        level: Level,
        attribute: &Attribute,
        source: &Source,
        condition: &Condition,
        among: &Bitmap,
    ) -> Bitmap {
        let among = (level == Level::Span).then_some(among);
        self.spans_of(level, &self.test_rows(level, attribute, source, condition, among))
    }

    fn test_rows(
        &self,
        level: Level,
        attribute: &Attribute,
        source: &Source,
        condition: &Condition,
        among: Option<&Bitmap>,
    ) -> Bitmap {
        let entries = self.entries(level, attribute);
        let part = part(condition).map(memmem::Finder::new);
        let lacks = |value: Value<'_>| match (&part, value) {
            (Some(part), Value::String(text)) => part.find(text.as_bytes()).is_none(),
            _ => false,
        };
        let mut rows = entries.select(self.rows(level), among, only(condition), |value| {
            !lacks(value)
                && entries.strings().is_some_and(|strings| value_satisfies(source, condition, value, strings))
        });
        if is_service(level, attribute) {
            let holds = |text: &str| {
                let text = Datum::Text(text);
                is_visible(source, text) && satisfies(condition, text)
            };
            rows.or(&self.view.services.select(None, only(condition), holds));
        }
        rows
    }

    /// The events or links, of which `level` is, for which `field op constant` holds.
    fn test_children(&self, level: Level, source: &Source, condition: &Condition) -> Bitmap {
        let view = &self.view;
        let holds = |datum: Datum<'_>| satisfies(condition, datum);
        let ids =
            |ids: &[Box<[u8]>]| Bitmap::of(ids, None, |id| holds(Datum::Text(&lookup::trimmed_hex(id))));
        match &source.field {
            Field::Attribute(attribute) => self.test_rows(level, attribute, source, condition, None),
            Field::Intrinsic(Intrinsic::EventName) => texts(view.event_names, None, condition),
            Field::Intrinsic(Intrinsic::EventTime) => {
                Bitmap::of(view.event_times, None, |&ns| holds(lookup::duration(ns)))
            }
            Field::Intrinsic(Intrinsic::LinkTraceId) => ids(view.link_trace_ids),
            Field::Intrinsic(Intrinsic::LinkSpanId) => ids(view.link_span_ids),
            Field::Intrinsic(_) | Field::OfParent(_) => Bitmap::none(self.rows(level)),
        }
    }

    fn test_intrinsic(
        &self,
        intrinsic: Intrinsic,
        source: &Source,
        condition: &Condition,
        among: &Bitmap,
    ) -> Bitmap {
        let view = &self.view;
        let among = Some(among);
        let condition = &normalised(intrinsic, condition);
        let holds = |datum: Datum<'_>| satisfies(condition, datum);
        let places =
            |column: usize| Bitmap::of(self.nested()[column], among, |&at| holds(Datum::Int(at.into())));
        match intrinsic {
            Intrinsic::Name => texts(view.names, among, condition),
            Intrinsic::StatusMessage => texts(view.status_messages, among, condition),
            Intrinsic::Status => {
                let table = Status::ALL.map(|status| holds(Datum::Status(status)));
                Bitmap::of(view.statuses, among, |&code| table[usize::from(code).min(2)])
            }
            Intrinsic::Kind => {
                let table = Kind::ALL.map(|kind| holds(Datum::Kind(kind)));
                Bitmap::of(view.kinds, among, |&code| table[usize::from(code).min(5)])
            }
            Intrinsic::Duration => Bitmap::of(view.durations, among, |&ns| holds(lookup::duration(ns))),
            Intrinsic::NestedSetLeft => places(0),
            Intrinsic::NestedSetRight => places(1),
            Intrinsic::NestedSetParent => places(2),
            Intrinsic::ChildCount => {
                Bitmap::of(self.children(), among, |&count| holds(Datum::Int(count.into())))
            }
            Intrinsic::SpanId => Bitmap::of(view.span_ids, among, |id| holds(Datum::Text(&id.to_string()))),
            Intrinsic::ParentId => {
                Bitmap::of(view.parent_ids, among, |id| holds(Datum::Text(&lookup::parent_id(*id))))
            }
            Intrinsic::TraceId | Intrinsic::TraceDuration | Intrinsic::RootName | Intrinsic::RootService => {
                self.of_traces(intrinsic, condition)
            }
            Intrinsic::EventName | Intrinsic::EventTime => {
                self.spans_of(Level::Event, &self.test_children(Level::Event, source, condition))
            }
            Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => {
                self.spans_of(Level::Link, &self.test_children(Level::Link, source, condition))
            }
            Intrinsic::ScopeName => self.spans_of(Level::Scope, &texts(view.scope_names, None, condition)),
            Intrinsic::ScopeVersion => {
                self.spans_of(Level::Scope, &texts(view.scope_versions, None, condition))
            }
            Intrinsic::Parent => Bitmap::none(view.span_count()),
        }
    }

    fn of_traces(&self, intrinsic: Intrinsic, condition: &Condition) -> Bitmap {
        let view = &self.view;
        let rows = match intrinsic {
            Intrinsic::RootName => texts(view.root_name, None, condition),
            Intrinsic::RootService => texts(view.root_service, None, condition),
            Intrinsic::TraceId => {
                Bitmap::of(view.trace_ids, None, |id| satisfies(condition, Datum::Text(&id.trimmed_hex())))
            }
            _ => {
                let ends = view.ends.iter().zip(view.starts);
                let mut rows = Bitmap::none(view.ends.len());
                for (row, (end, start)) in ends.enumerate() {
                    if satisfies(condition, lookup::duration(end.saturating_sub(*start))) {
                        rows.set(row);
                    }
                }
                rows
            }
        };
        let mut spans = Bitmap::none(self.view.span_count());
        rows.iter().for_each(|trace| spans.set_range(view.spans_of_trace(trace)));
        spans
    }
}

/// The rows whose text satisfies the condition.
fn texts(texts: Texts<'_>, among: Option<&Bitmap>, condition: &Condition) -> Bitmap {
    let part = part(condition).map(memmem::Finder::new);
    texts.select(among, only(condition), |text| {
        let lacks = part.as_ref().is_some_and(|part| part.find(text.as_bytes()).is_none());
        !lacks && satisfies(condition, Datum::Text(text))
    })
}

/// What every text has in it that satisfies a condition: of `.*part.*`, which is what people write. Looking for
/// it costs a tenth of what the expression does.
fn part(condition: &Condition) -> Option<&str> {
    let Matcher::Regex(regex) = &condition.value else { return None };
    let pattern = regex.as_str().strip_prefix("^(?s:")?.strip_suffix(")$")?;
    let part = pattern.strip_prefix(".*").unwrap_or(pattern);
    let part = part.strip_suffix(".*").unwrap_or(part);
    // A backslash before the last two would make them another text; it is among those that are not taken.
    let is_plain = !part.is_empty() && !part.contains(|c: char| r"\.+*?()|[]{}^$#&-~".contains(c));
    (is_plain && !condition.op.is_negative()).then_some(part)
}

/// The only text that satisfies a condition, where there is but one.
fn only(condition: &Condition) -> Option<&str> {
    match (condition.op, &condition.value) {
        (Compare::Eq, Matcher::Literal(Literal::String(text))) => Some(text),
        _ => None,
    }
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
