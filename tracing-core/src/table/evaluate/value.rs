//! Values of spans while a plan is evaluated, and how they compare with what a query says.

use crate::table::{Strings, Value, ValueKind};
use crate::traceql::arithmetic::{Number, order};
use crate::traceql::{Compare, Condition, Kind, Literal, Matcher, Source, Status, Visible, write_duration};

use super::hit::OwnedValue;

/// One value, or one element of an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Datum<'t> {
    Text(&'t str),
    Int(i64),
    Float(f64),
    Bool(bool),
    Duration(i64),
    Status(Status),
    Kind(Kind),
}

impl<'t> Datum<'t> {
    pub(crate) fn number(self) -> Option<Number> {
        match self {
            Self::Int(value) => Some(Number::Int(value)),
            Self::Float(value) => Some(Number::Float(value)),
            Self::Duration(ns) => Some(Number::Duration(ns)),
            _ => None,
        }
    }

    pub(crate) fn from_number(number: Number) -> Self {
        match number {
            Number::Int(value) => Self::Int(value),
            Number::Float(value) => Self::Float(value),
            Number::Duration(ns) => Self::Duration(ns),
        }
    }

    pub(crate) fn from_literal(literal: &'t Literal) -> Option<Self> {
        Some(match literal {
            Literal::Nil => return None,
            Literal::Int(value) => Self::Int(*value),
            Literal::Float(value) => Self::Float(*value),
            Literal::String(text) => Self::Text(text),
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Duration(ns) => Self::Duration(*ns),
            Literal::Status(status) => Self::Status(*status),
            Literal::Kind(kind) => Self::Kind(*kind),
        })
    }

    /// As an answer shows it: what OTLP has no type for is text.
    pub(crate) fn owned(self) -> OwnedValue {
        match self {
            Self::Text(text) => OwnedValue::String(text.to_owned()),
            Self::Int(value) => OwnedValue::Int(value),
            Self::Float(value) => OwnedValue::Double(value),
            Self::Bool(value) => OwnedValue::Bool(value),
            Self::Duration(_) | Self::Status(_) | Self::Kind(_) => OwnedValue::String(self.text()),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Duration(ns) => {
                let mut out = String::new();
                // Writing to a string does not fail.
                write_duration(ns, &mut out).map_or_else(|_| String::new(), |()| out)
            }
            Self::Status(status) => status.as_str().to_owned(),
            Self::Kind(kind) => kind.as_str().to_owned(),
        }
    }
}

/// `a op b`: texts by bytes, numbers by value, other types only with themselves. `=~` and `!~` are never so.
pub(crate) fn compare(op: Compare, a: Datum<'_>, b: Datum<'_>) -> bool {
    let ordering = match (a, b) {
        (Datum::Text(a), Datum::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Datum::Bool(a), Datum::Bool(b)) => Some(a.cmp(&b)),
        (Datum::Status(a), Datum::Status(b)) => Some((a as u8).cmp(&(b as u8))),
        (Datum::Kind(a), Datum::Kind(b)) => Some((a as u8).cmp(&(b as u8))),
        _ => a.number().zip(b.number()).and_then(|(a, b)| order(a, b)),
    };
    ordering.is_some_and(|ordering| op.holds(ordering))
}

/// Whether a value satisfies a condition.
pub(crate) fn satisfies(condition: &Condition, datum: Datum<'_>) -> bool {
    meets(condition.op, &condition.value, datum)
}

fn meets(op: Compare, value: &Matcher, datum: Datum<'_>) -> bool {
    match value {
        Matcher::Literal(literal) => {
            Datum::from_literal(literal).is_some_and(|literal| compare(op, datum, literal))
        }
        Matcher::Regex(regex) => match datum {
            Datum::Text(text) => regex.is_match(text) != op.is_negative(),
            _ => false,
        },
        Matcher::Contains(part) => datum.text().to_lowercase().contains(part),
        Matcher::AnyOf(any) if op.is_negative() => any.iter().all(|value| meets(op, value, datum)),
        Matcher::AnyOf(any) => any.iter().any(|value| meets(op, value, datum)),
    }
}

/// Whether an attribute's value is seen because of a condition: it satisfies it and is of the same type,
/// whole and floating numbers being different ones.
fn is_seen_by(condition: &Condition, datum: Datum<'_>) -> bool {
    let other_type = matches!(
        (&condition.value, datum),
        (Matcher::Literal(Literal::Float(_)), Datum::Int(_))
            | (Matcher::Literal(Literal::Int(_) | Literal::Duration(_)), Datum::Float(_))
    );
    !other_type && satisfies(condition, datum)
}

/// Whether an attribute's value, or an element of it, is seen by a query.
pub(crate) fn is_visible(source: &Source, datum: Datum<'_>) -> bool {
    match &source.visible {
        Visible::Always => true,
        Visible::Where(conditions) => conditions.iter().any(|condition| is_seen_by(condition, datum)),
    }
}

/// Whether a value of this type can be searched at all; what cannot is as if it were not there.
pub(crate) fn is_searchable(kind: ValueKind) -> bool {
    !matches!(kind, ValueKind::EmptyArray | ValueKind::Unsupported)
}

/// Calls `each` with the elements of a value in order, one for what is no array.
pub(crate) fn elements<'t>(value: Value<'t>, strings: &'t Strings, mut each: impl FnMut(Datum<'t>)) {
    match value {
        Value::String(text) => each(Datum::Text(text)),
        Value::Int(value) => each(Datum::Int(value)),
        Value::Double(value) => each(Datum::Float(value)),
        Value::Bool(value) => each(Datum::Bool(value)),
        Value::Array(kind, payloads) => {
            for &payload in payloads {
                each(match kind {
                    ValueKind::Int => Datum::Int(payload.cast_signed()),
                    ValueKind::Double => Datum::Float(f64::from_bits(payload)),
                    ValueKind::Bool => Datum::Bool(payload != 0),
                    _ => Datum::Text(strings.text(crate::table::Code::from_payload(payload))),
                });
            }
        }
        Value::Unsupported(_) => {}
    }
}

/// Whether a value, as far as a query sees it, satisfies a condition: some element does, or for `!=` and `!~`
/// all of them do and there is one.
pub(crate) fn value_satisfies(
    source: &Source,
    condition: &Condition,
    value: Value<'_>,
    strings: &Strings,
) -> bool {
    let (mut any, mut all) = (false, true);
    elements(value, strings, |datum| {
        if is_visible(source, datum) {
            let holds = satisfies(condition, datum);
            any |= holds;
            all &= holds;
        }
    });
    any && (all || !condition.op.is_negative())
}
