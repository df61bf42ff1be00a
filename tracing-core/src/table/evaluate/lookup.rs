//! The values that one span has for a field: for expressions that compute, for groups, and for answers.

use super::context::{Context, Place, Spot, is_service};
use super::hit::OwnedValue;
use super::value::{Datum, elements, is_visible};
use crate::model::SpanId;
use crate::table::view::Entries;
use crate::table::{Level, Value};
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

    /// As an answer shows it: `nil` where there is nothing.
    pub(crate) fn owned(&self) -> OwnedValue {
        match self {
            Self::Nothing => OwnedValue::String("nil".to_owned()),
            Self::One(datum) => datum.owned(),
            Self::Made(text) => OwnedValue::String(text.clone()),
            Self::Many(data) => OwnedValue::Array(data.iter().map(|datum| datum.owned()).collect()),
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
    pub(crate) fn find(&self, source: &Source, spot: Spot) -> Found<'a> {
        let spot = if source.of_parent {
            let Some(parent) = self.parent_of(spot.span) else { return Found::Nothing };
            parent.into()
        } else {
            spot
        };
        match &source.field {
            Field::Intrinsic(intrinsic) | Field::OfParent(intrinsic) => {
                self.find_intrinsic(*intrinsic, source, spot)
            }
            Field::Attribute(attribute) => match Place::of(attribute.scope) {
                Place::At(level) => self.find_at(level, attribute, source, spot),
                Place::SpanOrResource if self.has(Level::Span, attribute, spot) => {
                    self.find_at(Level::Span, attribute, source, spot)
                }
                Place::SpanOrResource => self.find_at(Level::Resource, attribute, source, spot),
            },
        }
    }

    fn has(&self, level: Level, attribute: &Attribute, spot: Spot) -> bool {
        let entries = self.entries(level, attribute);
        self.rows_of(level, spot).any(|row| entries.values(row).any(is_found))
    }

    fn find_at(&self, level: Level, attribute: &Attribute, source: &Source, spot: Spot) -> Found<'a> {
        let entries = self.entries(level, attribute);
        if is_service(level, attribute) {
            return self.find_service(entries, source, spot.span);
        }
        let Some(strings) = entries.strings() else { return Found::Nothing };
        let mut seen = Vec::new();
        for value in self.rows_of(level, spot).flat_map(|row| entries.values(row)) {
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

    fn find_service(&self, entries: Entries<'a>, source: &Source, span: usize) -> Found<'a> {
        let resource = self.resource_of(span);
        let text = Datum::Text(self.view.services.get(resource).unwrap_or_default());
        let named = self.view.has_service.get(resource) == Some(&true);
        let other = entries.strings().and_then(|strings| {
            entries.values(resource).find_map(|value| {
                let mut first = None;
                elements(value, strings, |datum| {
                    first = first.or(Some(datum).filter(|datum| is_visible(source, *datum)));
                });
                first
            })
        });
        let text = Some(text).filter(|text| is_visible(source, *text));
        let shown = if named { text.or(other) } else { other.or(text) };
        shown.map_or(Found::Nothing, Found::One)
    }

    fn find_intrinsic(&self, intrinsic: Intrinsic, source: &Source, spot: Spot) -> Found<'a> {
        match self.intrinsic(intrinsic, spot) {
            Found::One(datum) if !is_visible(source, datum) => Found::Nothing,
            Found::Made(text) if !is_visible(source, Datum::Text(&text)) => Found::Nothing,
            Found::Many(mut all) => {
                all.retain(|datum| is_visible(source, *datum));
                Found::from_vec(all)
            }
            found => found,
        }
    }

    fn intrinsic(&self, intrinsic: Intrinsic, spot: Spot) -> Found<'a> {
        let (view, span) = (&self.view, spot.span);
        let text = |text: Option<&'a str>| text.map(Datum::Text);
        let int = |at: Option<&i32>| at.map(|&at| Datum::Int(at.into()));
        let trace = || self.trace_of(span);
        let scope = || self.scope_of(span);
        let one = match intrinsic {
            Intrinsic::Duration => view.durations.get(span).map(|&ns| duration(ns)),
            Intrinsic::Name => text(view.names.get(span)),
            Intrinsic::Status => view.statuses.get(span).map(|&code| Datum::Status(Status::from_otlp(code))),
            Intrinsic::StatusMessage => text(view.status_messages.get(span)),
            Intrinsic::Kind => view.kinds.get(span).map(|&code| Datum::Kind(Kind::from_otlp(code))),
            Intrinsic::ChildCount => self.children().get(span).map(|&count| Datum::Int(count.into())),
            Intrinsic::NestedSetLeft => int(self.nested()[0].get(span)),
            Intrinsic::NestedSetRight => int(self.nested()[1].get(span)),
            Intrinsic::NestedSetParent => int(self.nested()[2].get(span)),
            Intrinsic::RootName => text(view.root_name.get(trace())),
            Intrinsic::RootService => text(view.root_service.get(trace())),
            Intrinsic::TraceDuration => {
                let bounds = view.ends.get(trace()).zip(view.starts.get(trace()));
                bounds.map(|(end, start)| duration(end.saturating_sub(*start)))
            }
            Intrinsic::ScopeName => text(view.scope_names.get(scope())),
            Intrinsic::ScopeVersion => text(view.scope_versions.get(scope())),
            Intrinsic::SpanId => return made(view.span_ids.get(span).map(ToString::to_string)),
            Intrinsic::ParentId => return made(view.parent_ids.get(span).map(|id| parent_id(*id))),
            Intrinsic::TraceId => {
                return made(view.trace_ids.get(trace()).map(crate::model::TraceId::trimmed_hex));
            }
            Intrinsic::LinkTraceId => return self.link_id(view.link_trace_ids, spot),
            Intrinsic::LinkSpanId => return self.link_id(view.link_span_ids, spot),
            Intrinsic::EventName => {
                let range = self.rows_of(Level::Event, spot);
                return Found::from_vec(range.filter_map(|at| text(view.event_names.get(at))).collect());
            }
            Intrinsic::EventTime => {
                let times = self.rows_of(Level::Event, spot).filter_map(|at| view.event_times.get(at));
                return Found::from_vec(times.map(|&ns| duration(ns)).collect());
            }
            Intrinsic::Parent => None,
        };
        one.map_or(Found::Nothing, Found::One)
    }

    /// The id of a span's last link: ids are made as text, and an answer shows one.
    fn link_id(&self, ids: &[Box<[u8]>], spot: Spot) -> Found<'a> {
        made(self.rows_of(Level::Link, spot).next_back().and_then(|at| ids.get(at)).map(|id| trimmed_hex(id)))
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

/// Whether a value counts as one.
fn is_found(value: Value<'_>) -> bool {
    !matches!(value, Value::Unsupported(_) | Value::Array(_, []))
}
