//! Expressions over the spans of a table. Booleans are bitmaps; what computes or compares two fields goes
//! span by span, over those spans alone that the rest of the expression leaves.

use super::context::Context;
use super::lookup::Found;
use super::value::{Datum, compare};
use crate::table::{Bitmap, Level};
use crate::traceql::arithmetic::compute;
use crate::traceql::{
    BinaryOp, Compare, Condition, Expr, Field, FieldId, Intrinsic, Literal, Matcher, Scope, Source,
};

/// An operand that is evaluated span by span; boolean parts are bitmaps by now.
enum Operand<'p> {
    Bits(Bitmap),
    Constant(&'p Literal),
    Field(FieldId),
    Negative(Box<Self>),
    Binary(BinaryOp, Box<[Self; 2]>),
}

impl<'a> Context<'a> {
    /// The rows of a level, spans, events or links, for which a boolean expression is true, right at least for
    /// those `among`. For an event or link it looks at that one alone of its span's.
    pub(crate) fn bits(&self, at: Level, expr: &'a Expr, among: &Bitmap) -> Bitmap {
        let rows = self.rows(at);
        let asked = |id: &FieldId, of: &dyn Fn(&Source) -> Bitmap| {
            self.source(*id).map_or_else(|| Bitmap::none(rows), of)
        };
        match expr {
            Expr::Constant(Literal::Bool(true)) => Bitmap::all(rows),
            Expr::Constant(_) | Expr::Negative(_) => Bitmap::none(rows),
            Expr::Field(id) => asked(id, &|source| self.is(at, source, true, among)),
            Expr::Test(id, condition) => asked(id, &|source| self.test(at, source, condition, among)),
            Expr::Exists(id) => asked(id, &|source| self.exists(at, source)),
            Expr::Missing(id) => asked(id, &|source| self.missing(at, source)),
            Expr::All(all) => {
                let mut left = among.clone();
                let mut all: Vec<_> = all.iter().collect();
                all.sort_by_key(|expr| self.cost(expr));
                for expr in all {
                    if !left.any() {
                        break;
                    }
                    let next = self.bits(at, expr, &left);
                    left.and(&next);
                }
                left
            }
            Expr::Any(any) => {
                let mut found = Bitmap::none(rows);
                for expr in any {
                    found.or(&self.bits(at, expr, among));
                }
                found
            }
            Expr::Not(inner) => match &**inner {
                // What is not a boolean is neither true nor false.
                Expr::Field(id) => asked(id, &|source| self.is(at, source, false, among)),
                inner => {
                    let mut bits = self.bits(at, inner, among);
                    bits.not();
                    bits
                }
            },
            Expr::Binary(op, sides) => self.compared(at, *op, sides, among),
            Expr::OneOf(scope, inner) => {
                let level = if *scope == Scope::Link { Level::Link } else { Level::Event };
                let among = self.rows_below(level, among);
                let mut rows = self.bits(level, inner, &among);
                rows.and(&among);
                self.spans_of(level, &rows)
            }
        }
    }

    /// What an expression costs, about: conditions on traces, resources and scopes look at few rows, those on
    /// spans at one a span, and what computes at values. Which is first changes no answer.
    fn cost(&self, expr: &Expr) -> u8 {
        match expr {
            Expr::Constant(_) => 0,
            Expr::Field(id) | Expr::Test(id, _) | Expr::Exists(id) | Expr::Missing(id) => {
                self.source(*id).map_or(0, |source| match &source.field {
                    _ if source.of_parent => 6,
                    Field::Attribute(attribute) => match attribute.scope {
                        Scope::Resource | Scope::Instrumentation => 1,
                        Scope::Span => 3,
                        Scope::Any => 4,
                        Scope::Event | Scope::Link => 5,
                    },
                    Field::Intrinsic(Intrinsic::SpanId | Intrinsic::ParentId | Intrinsic::ChildCount) => 6,
                    Field::Intrinsic(
                        Intrinsic::TraceId
                        | Intrinsic::TraceDuration
                        | Intrinsic::RootName
                        | Intrinsic::RootService
                        | Intrinsic::ScopeName
                        | Intrinsic::ScopeVersion,
                    ) => 1,
                    Field::Intrinsic(_) | Field::OfParent(_) => 2,
                })
            }
            Expr::OneOf(..) => 6,
            Expr::Not(inner) | Expr::Negative(inner) => self.cost(inner),
            Expr::All(all) | Expr::Any(all) => all.iter().map(|expr| self.cost(expr)).max().unwrap_or(0),
            Expr::Binary(..) => 7,
        }
    }

    /// The rows whose field is this boolean.
    fn is(&self, at: Level, source: &Source, value: bool, among: &Bitmap) -> Bitmap {
        let condition = Condition { op: Compare::Eq, value: Matcher::Literal(Literal::Bool(value)) };
        self.test(at, source, &condition, among)
    }

    fn compared(&self, at: Level, op: BinaryOp, sides: &'a [Expr; 2], among: &Bitmap) -> Bitmap {
        let mut found = Bitmap::none(self.rows(at));
        let BinaryOp::Compare(op) = op else { return found };
        let [left, right] = sides;
        let (left, right) = (self.operand(at, left, among), self.operand(at, right, among));
        for row in among.iter() {
            if holds(op, &self.value(at, &left, row), &self.value(at, &right, row)) {
                found.set(row);
            }
        }
        found
    }

    fn operand(&self, at: Level, expr: &'a Expr, among: &Bitmap) -> Operand<'a> {
        match expr {
            Expr::Constant(literal) => Operand::Constant(literal),
            Expr::Field(id) => Operand::Field(*id),
            Expr::Negative(inner) => Operand::Negative(Box::new(self.operand(at, inner, among))),
            Expr::Binary(op, sides) if !matches!(op, BinaryOp::Compare(_)) => {
                let [left, right] = &**sides;
                let sides = [self.operand(at, left, among), self.operand(at, right, among)];
                Operand::Binary(*op, Box::new(sides))
            }
            boolean => Operand::Bits(self.bits(at, boolean, among)),
        }
    }

    fn value(&self, at: Level, operand: &Operand<'a>, row: usize) -> Found<'a> {
        match operand {
            Operand::Bits(bits) => Found::One(Datum::Bool(bits.get(row))),
            Operand::Constant(literal) => Datum::from_literal(literal).map_or(Found::Nothing, Found::One),
            Operand::Field(id) => {
                let find = |source| self.find(source, self.spot(at, row));
                self.source(*id).map_or(Found::Nothing, find)
            }
            Operand::Negative(inner) => match self.value(at, inner, row) {
                Found::One(datum) => number(datum.number().map(crate::traceql::arithmetic::Number::negative)),
                _ => Found::Nothing,
            },
            Operand::Binary(op, sides) => {
                let [left, right] = &**sides;
                match (self.value(at, left, row), self.value(at, right, row)) {
                    (Found::One(a), Found::One(b)) => {
                        number(a.number().zip(b.number()).and_then(|(a, b)| compute(*op, a, b)))
                    }
                    _ => Found::Nothing,
                }
            }
        }
    }

    /// The value of an expression at any of some spans.
    pub(crate) fn values<'s>(
        &'s self,
        expr: &'a Expr,
        among: &Bitmap,
    ) -> impl Fn(usize) -> Found<'a> + use<'s, 'a> {
        let operand = self.operand(Level::Span, expr, among);
        move |span| self.value(Level::Span, &operand, span)
    }
}

fn number<'a>(number: Option<crate::traceql::arithmetic::Number>) -> Found<'a> {
    number.map_or(Found::Nothing, |number| Found::One(Datum::from_number(number)))
}

/// Whether `left op right`: an array holds where any of its elements does, and for `!=` where all do. Two
/// arrays do not compare, nor does what is missing.
fn holds(op: Compare, left: &Found<'_>, right: &Found<'_>) -> bool {
    let (left, right) = (left.data(), right.data());
    if left.len() > 1 && right.len() > 1 {
        return false;
    }
    let (mut any, mut all) = (false, true);
    for &a in &left {
        for &b in &right {
            let holds = compare(op, a, b);
            any |= holds;
            all &= holds;
        }
    }
    any && (all || !op.is_negative())
}
