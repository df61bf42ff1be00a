//! Values: how they compare, compute, and are shown.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;
use tracing_core::table::evaluate::OwnedValue;
use tracing_core::traceql::{BinaryOp, Compare, Literal, write_duration};

use super::super::traces::Attr;

pub(super) fn elements(value: &Attr) -> Vec<Literal> {
    match value {
        Attr::Text(text) => vec![Literal::String(text.clone())],
        Attr::Int(value) => vec![Literal::Int(*value)],
        Attr::Float(value) => vec![Literal::Float(*value)],
        Attr::Bool(value) => vec![Literal::Bool(*value)],
        Attr::Array(items) => items.iter().flat_map(elements).collect(),
        Attr::Mixed => Vec::new(),
    }
}

pub(super) fn is_negative(op: Compare) -> bool {
    matches!(op, Compare::Ne | Compare::NotMatch)
}

pub(super) fn is_number(literal: &Literal) -> bool {
    matches!(literal, Literal::Int(_) | Literal::Float(_) | Literal::Duration(_))
}

pub(super) fn float(literal: &Literal) -> f64 {
    match literal {
        Literal::Int(value) | Literal::Duration(value) => *value as f64,
        Literal::Float(value) => *value,
        _ => f64::NAN,
    }
}

pub(super) fn zero(like: &Literal) -> Literal {
    match like {
        Literal::Duration(_) => Literal::Duration(0),
        Literal::Float(_) => Literal::Float(-0.0),
        _ => Literal::Int(0),
    }
}

thread_local! {
    /// Compiling one takes longer than all else here.
    static REGEXES: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn matches_whole(text: &str, pattern: &str) -> bool {
    REGEXES.with_borrow_mut(|known| {
        let compile = || Regex::new(&format!("^(?s:{pattern})$")).expect("a regular expression");
        known.entry(pattern.to_owned()).or_insert_with(compile).is_match(text)
    })
}

/// `a op b` of two values; what cannot be compared is not so.
pub(super) fn holds(op: Compare, a: &Literal, b: &Literal) -> bool {
    use Literal::{Bool, Duration, Int, Kind as K, Status as S, String as Text};
    let order = match (a, b) {
        (Text(text), Text(pattern)) if matches!(op, Compare::Match | Compare::NotMatch) => {
            return matches_whole(text, pattern) == (op == Compare::Match);
        }
        (Text(a), Text(b)) => a.cmp(b),
        (Bool(a), Bool(b)) => a.cmp(b),
        (S(a), S(b)) => (*a as u8).cmp(&(*b as u8)),
        (K(a), K(b)) => (*a as u8).cmp(&(*b as u8)),
        (Int(a) | Duration(a), Int(b) | Duration(b)) => a.cmp(b),
        _ => match float(a).partial_cmp(&float(b)) {
            Some(order) => order,
            None => return false,
        },
    };
    match op {
        Compare::Eq => order.is_eq(),
        Compare::Ne => order.is_ne(),
        Compare::Lt => order.is_lt(),
        Compare::Le => order.is_le(),
        Compare::Gt => order.is_gt(),
        Compare::Ge => order.is_ge(),
        Compare::Match | Compare::NotMatch => false,
    }
}

pub(super) fn compute(op: BinaryOp, a: &Literal, b: &Literal) -> Option<Literal> {
    if !is_number(a) || !is_number(b) {
        return None;
    }
    if let (Literal::Int(x) | Literal::Duration(x), Literal::Int(y) | Literal::Duration(y)) = (a, b) {
        let whole = match op {
            BinaryOp::Add => x.wrapping_add(*y),
            BinaryOp::Sub => x.wrapping_sub(*y),
            BinaryOp::Mul => x.wrapping_mul(*y),
            BinaryOp::Div => x.checked_div(*y)?,
            BinaryOp::Mod => x.checked_rem(*y)?,
            _ => (*x as f64).powf(*y as f64) as i64,
        };
        let ints = matches!((a, b), (Literal::Int(_), Literal::Int(_)));
        return Some(if ints { Literal::Int(whole) } else { Literal::Duration(whole) });
    }
    let (x, y) = (float(a), float(b));
    let value = match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Mod => x % y,
        _ => x.powf(y),
    };
    let duration = matches!(a, Literal::Duration(_)) || matches!(b, Literal::Duration(_));
    Some(if duration { Literal::Duration(value as i64) } else { Literal::Float(value) })
}

pub(super) fn owned(literal: &Literal) -> OwnedValue {
    match literal {
        Literal::String(text) => OwnedValue::String(text.clone()),
        Literal::Int(value) => OwnedValue::Int(*value),
        Literal::Float(value) => OwnedValue::Double(*value),
        Literal::Bool(value) => OwnedValue::Bool(*value),
        Literal::Duration(ns) => {
            let mut text = String::new();
            write_duration(*ns, &mut text).expect("writing to a string does not fail");
            OwnedValue::String(text)
        }
        Literal::Status(status) => OwnedValue::String(status.as_str().to_owned()),
        Literal::Kind(kind) => OwnedValue::String(kind.as_str().to_owned()),
        Literal::Nil => OwnedValue::String("nil".to_owned()),
    }
}
