//! `field op constant` over all spans of a table: decided once for each dictionary code, and at the level at
//! which the field stands.

use memchr::memmem;

use super::context::{Context, Place, attribute, is_service};
use super::lookup;
use super::value::{Datum, is_searchable, is_visible, satisfies, value_satisfies};
use crate::table::view::Texts;
use crate::table::{Bitmap, Level, Value};
use crate::traceql::{
    Attribute, Compare, Condition, Field, Intrinsic, Kind, Literal, Matcher, Source, Status,
};

impl Context<'_> {
    /// The spans for which `field op constant` holds, right at least for those `among`.
    pub(crate) fn test(&self, source: &Source, condition: &Condition, among: &Bitmap) -> Bitmap {
        match &source.field {
            Field::Intrinsic(intrinsic) => self.test_intrinsic(*intrinsic, condition, among),
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
                _ => Bitmap::all(self.view.span_count()),
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
            _ => Bitmap::all(self.view.span_count()),
        };
        spans.and_not(&self.exists(field));
        spans
    }

    fn exists_at(&self, level: Level, attribute: &Attribute) -> Bitmap {
        if is_service(level, attribute) {
            return Bitmap::all(self.view.span_count());
        }
        let rows = self.entries(level, attribute).with_kind(self.rows(level), is_searchable);
        self.spans_of(level, &rows)
    }

    fn test_at(
        &self,
        level: Level,
        attribute: &Attribute,
        source: &Source,
        condition: &Condition,
        among: &Bitmap,
    ) -> Bitmap {
        let entries = self.entries(level, attribute);
        let among = (level == Level::Span).then_some(among);
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
        self.spans_of(level, &rows)
    }

    fn test_intrinsic(&self, intrinsic: Intrinsic, condition: &Condition, among: &Bitmap) -> Bitmap {
        let view = &self.view;
        let among = Some(among);
        let condition = &normalised(intrinsic, condition);
        let holds = |datum: Datum<'_>| satisfies(condition, datum);
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
            Intrinsic::NestedSetLeft => Bitmap::of(view.left, among, |&at| holds(Datum::Int(at.into()))),
            Intrinsic::NestedSetRight => Bitmap::of(view.right, among, |&at| holds(Datum::Int(at.into()))),
            Intrinsic::NestedSetParent => Bitmap::of(view.parent, among, |&at| holds(Datum::Int(at.into()))),
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
            Intrinsic::EventName => self.spans_of(Level::Event, &texts(view.event_names, None, condition)),
            Intrinsic::EventTime => {
                let rows = Bitmap::of(view.event_times, None, |&ns| holds(lookup::duration(ns)));
                self.spans_of(Level::Event, &rows)
            }
            Intrinsic::LinkTraceId => {
                let rows =
                    Bitmap::of(view.link_trace_ids, None, |id| holds(Datum::Text(&lookup::trimmed_hex(id))));
                self.spans_of(Level::Link, &rows)
            }
            Intrinsic::LinkSpanId => {
                let rows =
                    Bitmap::of(view.link_span_ids, None, |id| holds(Datum::Text(&lookup::trimmed_hex(id))));
                self.spans_of(Level::Link, &rows)
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
