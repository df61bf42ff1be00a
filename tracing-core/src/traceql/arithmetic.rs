//! Computing and comparing values, for constants and at run time alike. Wrong types give nil or false.

use std::cmp::Ordering;

use super::operator::{BinaryOp, Compare};
use super::value::Literal;

/// A number of one of the three numeric types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
    Duration(i64),
}

impl Number {
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) | Self::Duration(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    pub(crate) fn literal(self) -> Literal {
        match self {
            Self::Int(value) => Literal::Int(value),
            Self::Float(value) => Literal::Float(value),
            Self::Duration(ns) => Literal::Duration(ns),
        }
    }

    pub(crate) fn negative(self) -> Self {
        match self {
            Self::Int(value) => Self::Int(value.wrapping_neg()),
            Self::Float(value) => Self::Float(-value),
            Self::Duration(ns) => Self::Duration(ns.wrapping_neg()),
        }
    }
}

pub(crate) fn number(literal: &Literal) -> Option<Number> {
    match *literal {
        Literal::Int(value) => Some(Number::Int(value)),
        Literal::Float(value) => Some(Number::Float(value)),
        Literal::Duration(ns) => Some(Number::Duration(ns)),
        _ => None,
    }
}

/// Numbers of any types by value; `None` for not-a-number.
pub(crate) fn order(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a) | Number::Duration(a), Number::Int(b) | Number::Duration(b)) => Some(a.cmp(&b)),
        (a, b) => a.as_f64().partial_cmp(&b.as_f64()),
    }
}

/// `a op b` of two numbers: whole where both are, and `None` for a whole division by zero.
pub(crate) fn compute(op: BinaryOp, a: Number, b: Number) -> Option<Number> {
    if let (Number::Int(x) | Number::Duration(x), Number::Int(y) | Number::Duration(y)) = (a, b) {
        let value = match op {
            BinaryOp::Add => x.wrapping_add(y),
            BinaryOp::Sub => x.wrapping_sub(y),
            BinaryOp::Mul => x.wrapping_mul(y),
            BinaryOp::Div => x.checked_div(y)?,
            BinaryOp::Mod => x.checked_rem(y)?,
            BinaryOp::Pow => (x as f64).powf(y as f64) as i64,
            BinaryOp::Compare(_) | BinaryOp::And | BinaryOp::Or => return None,
        };
        let whole = matches!((a, b), (Number::Int(_), Number::Int(_)));
        return Some(if whole { Number::Int(value) } else { Number::Duration(value) });
    }
    let (x, y) = (a.as_f64(), b.as_f64());
    let value = match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Mod => x % y,
        BinaryOp::Pow => x.powf(y),
        BinaryOp::Compare(_) | BinaryOp::And | BinaryOp::Or => return None,
    };
    let duration = matches!(a, Number::Duration(_)) || matches!(b, Number::Duration(_));
    Some(if duration { Number::Duration(value as i64) } else { Number::Float(value) })
}

/// `-x`; nil for what is no number.
pub(crate) fn negative(literal: &Literal) -> Literal {
    number(literal).map_or(Literal::Nil, |value| value.negative().literal())
}

/// `a op b` of an arithmetic operator; nil where it has no value.
pub(crate) fn binary(op: BinaryOp, a: &Literal, b: &Literal) -> Literal {
    let sides = number(a).zip(number(b));
    sides.and_then(|(a, b)| compute(op, a, b)).map_or(Literal::Nil, Number::literal)
}

/// `a op b` of a comparison that is no regular expression. Nil compares with nothing.
pub(crate) fn compare(op: Compare, a: &Literal, b: &Literal) -> bool {
    let ordering = match (a, b) {
        (Literal::String(a), Literal::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Literal::Bool(a), Literal::Bool(b)) => Some(a.cmp(b)),
        (Literal::Status(a), Literal::Status(b)) => Some((*a as u8).cmp(&(*b as u8))),
        (Literal::Kind(a), Literal::Kind(b)) => Some((*a as u8).cmp(&(*b as u8))),
        _ => number(a).zip(number(b)).and_then(|(a, b)| order(a, b)),
    };
    ordering.is_some_and(|ordering| op.holds(ordering))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_stay_whole_and_division_by_zero_has_no_value() {
        let int = Literal::Int;
        assert_eq!(binary(BinaryOp::Div, &int(7), &int(2)), int(3));
        assert_eq!(binary(BinaryOp::Div, &int(7), &int(0)), Literal::Nil);
        assert_eq!(binary(BinaryOp::Mod, &int(i64::MIN), &int(-1)), Literal::Nil);
        assert_eq!(binary(BinaryOp::Pow, &int(2), &int(10)), int(1024));
        assert_eq!(binary(BinaryOp::Div, &int(7), &Literal::Float(2.0)), Literal::Float(3.5));
        assert_eq!(binary(BinaryOp::Mul, &Literal::Duration(10), &int(3)), Literal::Duration(30));
        assert_eq!(binary(BinaryOp::Add, &Literal::Bool(true), &int(3)), Literal::Nil);
    }

    #[test]
    fn numbers_compare_by_value_and_other_types_not_at_all() {
        assert!(compare(Compare::Eq, &Literal::Int(80), &Literal::Float(80.0)));
        assert!(compare(Compare::Lt, &Literal::Int(5), &Literal::Duration(6)));
        assert!(!compare(Compare::Eq, &Literal::Int(1), &Literal::Bool(true)));
        assert!(!compare(Compare::Ne, &Literal::Nil, &Literal::Nil));
        assert!(compare(Compare::Lt, &Literal::String("Z".into()), &Literal::String("a".into())));
    }
}
