//! Field expressions: what stands between `{` and `}`.

use super::{Parser, Result};
use crate::traceql::field::Scope;
use crate::traceql::lexer::Token;
use crate::traceql::operator::{BinaryOp, UnaryOp};
use crate::traceql::syntax::Expr;

const FIELD: &str =
    "an attribute (.x, span.x, resource.x), an intrinsic (name, status, duration, …) or a value";

/// Level of the prefix `!`: it takes in `*` and `^` to its right, and nothing looser.
const NOT_LEVEL: u8 = 6;

impl Parser<'_> {
    /// Reads a field expression.
    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.climb(0)
    }

    /// Reads an expression whose operators bind at least as tight as `level`.
    fn climb(&mut self, level: u8) -> Result<Expr> {
        self.deeper(|parser| {
            let first = parser.at;
            let mut left = parser.operand()?;
            while let Some(op) = parser.sign().and_then(BinaryOp::from_sign).filter(|op| op.level() >= level)
            {
                parser.count_operator()?;
                if matches!(op, BinaryOp::Compare(compare) if compare.is_regex()) {
                    parser.count_regex()?;
                }
                parser.at += 1;
                // `^` is the only operator that groups to the right.
                let next = if op == BinaryOp::Pow { op.level() } else { op.level() + 1 };
                let right = parser.climb(next)?;
                left = parser.made(first, Expr::Binary { op, left: Box::new(left), right: Box::new(right) });
            }
            Ok(left)
        })
    }

    /// Reads `event(…)` or `link(…)`; the word is next.
    fn one_of(&mut self, scope: Scope) -> Result<Expr> {
        let first = self.at;
        self.beyond_tempo.get_or_insert(self.unknown_identifier(scope.as_str(), FIELD));
        self.count_operator()?;
        self.at += 2;
        let inner = self.climb(0)?;
        self.expect(")", "an operator or )")?;
        Ok(self.made(first, Expr::OneOf(scope, Box::new(inner))))
    }

    /// Notes where an expression stands: from the token `first` up to here.
    fn made(&mut self, first: usize, it: Expr) -> Expr {
        let span = self.since(first);
        self.places.exprs.push(span);
        it
    }

    fn operand(&mut self) -> Result<Expr> {
        let first = self.at;
        if self.eat("!") {
            self.count_operator()?;
            let operand = self.climb(NOT_LEVEL)?;
            return Ok(self.made(first, Expr::Unary(UnaryOp::Not, Box::new(operand))));
        }
        if self.eat("-") {
            self.count_operator()?;
            let operand = self.deeper(Self::operand)?;
            return Ok(self.made(first, Expr::Unary(UnaryOp::Neg, Box::new(operand))));
        }
        if self.eat("(") {
            let inner = self.climb(0)?;
            self.expect(")", "an operator or )")?;
            return Ok(inner);
        }
        if let Some(literal) = self.peek_literal() {
            self.at += 1;
            return Ok(self.made(first, Expr::Literal(literal)));
        }
        if let Some(scope) = self.word().and_then(Scope::of_several).filter(|_| self.is_call()) {
            return self.one_of(scope);
        }
        match self.peek() {
            Token::Attribute(_) | Token::Word(_) => {
                let field = self.field_or(FIELD)?;
                Ok(self.made(first, Expr::Field(field)))
            }
            _ => Err(self.unexpected("an attribute, an intrinsic, a value or (")),
        }
    }
}
