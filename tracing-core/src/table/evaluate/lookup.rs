//! The values that one span has for a field: for expressions that compute, for groups, and for answers.

use super::context::{Context, Place, is_service};
use super::value::{Datum, elements, is_searchable, is_visible};
use crate::model::SpanId;
use crate::table::{Code, Level};
use crate::traceql::{Attribute, Field, Intrinsic, Kind, Source, Status};

/// The values of a field at one span, as far as a query sees them. Texts made for the purpose (ids) are
/// owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found<'t> {
    Nothing,
    One(Datum<'t>),
    /// A text that the table does not hold as such.
    Made(String),
    /// An array, or the values of several events or links.
    Many(Vec<Datum<'t>>),
}

impl<'t> Found<'t> {
    fn from_vec(mut values: Vec<Datum<'t>>) -> Self {
        match values.len() {
            0 => Self::Nothing,
            1 => values.pop().map_or(Self::Nothing, Self::One),
            _ => Self::Many(values),
        }
    }

    /// Each value.
    pub(crate) fn data(&self) -> Vec<Datum<'_>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::One(datum) => vec![*datum],
            Self::Made(text) => vec![Datum::Text(text)],
            Self::Many(data) => data.clone(),
        }
    }
}

impl<'a> Context<'a> {
    /// The values that a query sees of a field at a span.
    pub(crate) fn find(&self, source: &Source, span: usize) -> Found<'a> {
        match &source.field {
            Field::Intrinsic(intrinsic) => self.find_intrinsic(*intrinsic, source, span),
            Field::Attribute(attribute) => match Place::of(attribute.scope) {
                Place::At(level) => self.find_at(level, attribute, source, span),
                Place::SpanOrResource if self.has(Level::Span, attribute, span) => {
                    self.find_at(Level::Span, attribute, source, span)
                }
                Place::SpanOrResource => self.find_at(Level::Resource, attribute, source, span),
            },
        }
    }

    fn has(&self, level: Level, attribute: &Attribute, span: usize) -> bool {
        let attributes = self.table.attributes(level);
        self.entries_at(level, attribute, span)
            .into_iter()
            .any(|entry| attributes.kind.get(entry).is_some_and(|&kind| is_searchable(kind)))
    }

    fn entries_at(&self, level: Level, attribute: &Attribute, span: usize) -> Vec<usize> {
        let attributes = self.table.attributes(level);
        let Some(key) = self.key(&attribute.name) else { return Vec::new() };
        self.rows_of(level, span)
            .flat_map(|row| attributes.offsets.range(row))
            .filter(|&entry| attributes.key.get(entry) == Some(&key))
            .collect()
    }

    fn find_at(&self, level: Level, attribute: &Attribute, source: &Source, span: usize) -> Found<'a> {
        let strings = &self.table.strings;
        let attributes = self.table.attributes(level);
        let mut seen = Vec::new();
        if is_service(level, attribute) {
            let resource = self.rows_of(level, span).start;
            let code = self.table.resources.service.get(resource).copied().unwrap_or_default();
            let text = Datum::Text(strings.text(code));
            let named = self.table.resources.has_service.get(resource) == Some(&true);
            let other = self.entries_at(level, attribute, span).into_iter().find_map(|entry| {
                let mut first = None;
                elements(attributes.get(entry, strings)?, strings, |datum| {
                    first = first.or(Some(datum).filter(|datum| is_visible(source, *datum)));
                });
                first
            });
            let text = Some(text).filter(|text| is_visible(source, *text));
            let shown = if named { text.or(other) } else { other.or(text) };
            return shown.map_or(Found::Nothing, Found::One);
        }
        for entry in self.entries_at(level, attribute, span) {
            let Some(value) = attributes.get(entry, strings) else { continue };
            elements(value, strings, |datum| {
                if is_visible(source, datum) {
                    seen.push(datum);
                }
            });
            // A key that is there twice counts once, except where it stands on different events or links.
            if !seen.is_empty() && !matches!(level, Level::Event | Level::Link) {
                break;
            }
        }
        Found::from_vec(seen)
    }

    fn find_intrinsic(&self, intrinsic: Intrinsic, source: &Source, span: usize) -> Found<'a> {
        let found = self.intrinsic(intrinsic, span);
        let mut seen = found.data();
        seen.retain(|datum| is_visible(source, *datum));
        match &found {
            _ if seen.is_empty() => Found::Nothing,
            Found::Many(all) => {
                Found::from_vec(all.iter().copied().filter(|datum| is_visible(source, *datum)).collect())
            }
            _ => found,
        }
    }

    fn intrinsic(&self, intrinsic: Intrinsic, span: usize) -> Found<'a> {
        let (table, spans) = (self.table, &self.table.spans);
        let text = |code: Option<&Code>| code.map(|&code| Datum::Text(table.strings.text(code)));
        let int = |at: Option<&i32>| at.map(|&at| Datum::Int(at.into()));
        let trace = || self.owners().trace.get(span).map_or(usize::MAX, |&trace| trace as usize);
        let scope = || self.owners().scope.get(span).map_or(usize::MAX, |&scope| scope as usize);
        let one = match intrinsic {
            Intrinsic::Duration => spans.duration.get(span).map(|&ns| duration(ns)),
            Intrinsic::Name => text(spans.name.get(span)),
            Intrinsic::Status => spans.status.get(span).map(|&code| Datum::Status(Status::from_otlp(code))),
            Intrinsic::StatusMessage => text(spans.status_message.get(span)),
            Intrinsic::Kind => spans.kind.get(span).map(|&code| Datum::Kind(Kind::from_otlp(code))),
            Intrinsic::ChildCount => self.children().get(span).map(|&count| Datum::Int(count.into())),
            Intrinsic::NestedSetLeft => int(spans.left.get(span)),
            Intrinsic::NestedSetRight => int(spans.right.get(span)),
            Intrinsic::NestedSetParent => int(spans.parent.get(span)),
            Intrinsic::RootName => text(table.traces.root_name.get(trace())),
            Intrinsic::RootService => text(table.traces.root_service.get(trace())),
            Intrinsic::TraceDuration => {
                let bounds = table.traces.end.get(trace()).zip(table.traces.start.get(trace()));
                bounds.map(|(end, start)| duration(end.saturating_sub(*start)))
            }
            Intrinsic::ScopeName => text(table.scopes.name.get(scope())),
            Intrinsic::ScopeVersion => text(table.scopes.version.get(scope())),
            Intrinsic::SpanId => return made(spans.id.get(span).map(ToString::to_string)),
            Intrinsic::ParentId => return made(spans.parent_id.get(span).map(|id| parent_id(*id))),
            Intrinsic::TraceId => {
                return made(table.traces.id.get(trace()).map(crate::model::TraceId::trimmed_hex));
            }
            Intrinsic::LinkTraceId => return self.link_id(&table.links.trace_id, span),
            Intrinsic::LinkSpanId => return self.link_id(&table.links.span_id, span),
            Intrinsic::EventName => {
                let range = spans.events.range(span);
                return Found::from_vec(range.filter_map(|at| text(table.events.name.get(at))).collect());
            }
            Intrinsic::EventTime => {
                let times = spans.events.range(span).filter_map(|at| table.events.since_start.get(at));
                return Found::from_vec(times.map(|&ns| duration(ns)).collect());
            }
            Intrinsic::Parent => None,
        };
        one.map_or(Found::Nothing, Found::One)
    }

    /// The id of a span's last link: ids are made as text, and an answer shows one.
    fn link_id(&self, ids: &[Box<[u8]>], span: usize) -> Found<'a> {
        made(
            self.table
                .spans
                .links
                .range(span)
                .next_back()
                .and_then(|at| ids.get(at))
                .map(|id| trimmed_hex(id)),
        )
    }
}

fn made(text: Option<String>) -> Found<'static> {
    text.map_or(Found::Nothing, Found::Made)
}

/// Nanoseconds of a column as a value.
pub(crate) fn duration(ns: u64) -> Datum<'static> {
    Datum::Duration(i64::try_from(ns).unwrap_or(i64::MAX))
}

/// A parent's id as text: empty for a root.
pub(crate) fn parent_id(id: SpanId) -> String {
    if id.is_zero() { String::new() } else { id.to_string() }
}

/// Bytes as hex without leading zeros.
pub(crate) fn trimmed_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).skip_while(|&digit| digit == 0);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
