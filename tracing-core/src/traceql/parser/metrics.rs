//! The functions that make series of spans, and the stages after them.

use super::{Parser, Result};
use crate::traceql::operator::BinaryOp;
use crate::traceql::syntax::{Function, FunctionKind, Metrics, Pipeline, SecondStage};
use crate::traceql::value::Literal;

impl Parser<'_> {
    /// Reads a function, its groups and what follows; its name is next.
    pub(super) fn metrics_query(&mut self, spans: Pipeline, kind: FunctionKind) -> Result<Metrics> {
        let function = self.function(kind)?;
        let mut second = Vec::new();
        while self.eat("|") {
            second.push(self.second_stage()?);
        }
        Ok(Metrics::Query { spans, function, second })
    }

    fn function(&mut self, kind: FunctionKind) -> Result<Function> {
        self.at += 1;
        self.expect("(", "(")?;
        let mut function = Function { kind, of: None, numbers: Vec::new(), selection: None, by: Vec::new() };
        if kind == FunctionKind::Compare {
            function.selection = Some(self.filter()?);
        } else if kind.takes_field() {
            function.of = Some(self.field()?);
        }
        let numbers = matches!(kind, FunctionKind::Compare | FunctionKind::QuantileOverTime);
        while numbers && self.eat(",") {
            function.numbers.push(self.literal("a number")?);
        }
        self.expect(")", ")")?;
        if self.word() == Some("by") {
            self.at += 1;
            self.expect("(", "(")?;
            function.by = self.list(Self::field)?;
        }
        Ok(function)
    }

    fn second_stage(&mut self) -> Result<SecondStage> {
        if let Some(word @ ("topk" | "bottomk")) = self.word() {
            self.at += 1;
            self.expect("(", "( and a number")?;
            let Literal::Int(count) = self.literal("a whole number")? else {
                return Err(self.unexpected("a whole number"));
            };
            self.expect(")", ")")?;
            return Ok(if word == "topk" { SecondStage::TopK(count) } else { SecondStage::BottomK(count) });
        }
        let op = self.sign().and_then(BinaryOp::from_sign);
        match op {
            Some(op @ BinaryOp::Compare(compare)) if !compare.is_regex() => {
                self.at += 1;
                Ok(SecondStage::Filter(op, self.literal("a number or a duration")?))
            }
            _ => Err(self.unexpected("topk(n), bottomk(n) or a comparison such as > 10")),
        }
    }
}
