//! Rules that turn a plan into one that answers alike with less work, as Tempo rewrites its syntax trees. Each can be
//! switched off with the hint `skip_ast_transformations`: by its name, several with commas between them, or all
//! of them by `true` or `"all"`.

use super::{Condition, Expr, FieldId, Matcher, ScalarPlan, Source, SpansetPlan, StagePlan};
use crate::traceql::field::{Attribute, Field, Intrinsic, Scope};
use crate::traceql::operator::Compare;
use crate::traceql::syntax::Hint;
use crate::traceql::value::Literal;

/// The hint that switches rules off.
pub const SKIP_HINT: &str = "skip_ast_transformations";

/// Most alternatives of a regular expression that become values.
const MAX_ALTERNATIVES: usize = 1000;

/// A rule, with the name that it is switched off by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// `a = x || a = y`: one of both.
    OrToIn,
    /// `a != x && a != y`: none of both.
    AndToNotIn,
    /// `a =~ x || a =~ y`
    OrToMatchAny,
    /// `a !~ x && a !~ y`
    AndToMatchNone,
    /// `` a =~ `x|y` `` where both are plain text: one of both.
    AlternativesToIn,
}

const NAMES: [(Rule, &str); 5] = [
    (Rule::OrToIn, "or_to_in"),
    (Rule::AndToNotIn, "and_to_not_in"),
    (Rule::OrToMatchAny, "or_to_match_any"),
    (Rule::AndToMatchNone, "and_to_match_none"),
    (Rule::AlternativesToIn, "alternatives_to_in"),
];

/// The rules that are on, for a plan with these fields.
pub(super) struct Rewriter<'s> {
    on: Vec<Rule>,
    sources: &'s [Source],
}

impl<'s> Rewriter<'s> {
    pub(super) fn new(hints: &[Hint], sources: &'s [Source]) -> Self {
        let skipped = |name: &str| {
            hints.iter().filter(|hint| hint.name == SKIP_HINT).any(|hint| match &hint.value {
                Literal::Bool(all) => *all,
                Literal::String(names) => names.split(',').map(str::trim).any(|it| it == name || it == "all"),
                _ => false,
            })
        };
        let on = NAMES.into_iter().filter(|(_, name)| !skipped(name)).map(|(rule, _)| rule).collect();
        Self { on, sources }
    }

    pub(super) fn spansets(&self, plan: SpansetPlan) -> SpansetPlan {
        match plan {
            SpansetPlan::Filter(of) => SpansetPlan::Filter(self.expr(of)),
            SpansetPlan::Binary(op, sides) => {
                SpansetPlan::Binary(op, Box::new((*sides).map(|side| self.spansets(side))))
            }
            SpansetPlan::Pipeline(first, stages) => {
                SpansetPlan::Pipeline(Box::new(self.spansets(*first)), self.stages(stages))
            }
            SpansetPlan::Not(inner) => SpansetPlan::Not(Box::new(self.spansets(*inner))),
        }
    }

    pub(super) fn stages(&self, stages: Vec<StagePlan>) -> Vec<StagePlan> {
        let stage = |stage| match stage {
            StagePlan::Filter(of) => StagePlan::Filter(self.spansets(of)),
            StagePlan::By { name, of } => StagePlan::By { name, of: self.expr(of) },
            StagePlan::Scalars { left, op, right } => {
                StagePlan::Scalars { left: self.scalar(left), op, right: self.scalar(right) }
            }
            StagePlan::Coalesce => StagePlan::Coalesce,
        };
        stages.into_iter().map(stage).collect()
    }

    fn scalar(&self, plan: ScalarPlan) -> ScalarPlan {
        match plan {
            ScalarPlan::Constant(_) => plan,
            ScalarPlan::Aggregate { name, aggregate, of } => {
                ScalarPlan::Aggregate { name, aggregate, of: of.map(|of| self.expr(of)) }
            }
            ScalarPlan::Pipeline { name, spans, of } => {
                ScalarPlan::Pipeline { name, spans: self.spansets(spans), of: Box::new(self.scalar(*of)) }
            }
            ScalarPlan::Binary(op, sides) => {
                ScalarPlan::Binary(op, Box::new((*sides).map(|side| self.scalar(side))))
            }
        }
    }

    fn is_on(&self, rule: Rule) -> bool {
        self.on.contains(&rule)
    }

    fn expr(&self, expr: Expr) -> Expr {
        match expr {
            Expr::Any(any) => {
                self.join(any, [(Compare::Eq, Rule::OrToIn), (Compare::Match, Rule::OrToMatchAny)], Expr::Any)
            }
            Expr::All(all) => self.join(
                all,
                [(Compare::Ne, Rule::AndToNotIn), (Compare::NotMatch, Rule::AndToMatchNone)],
                Expr::All,
            ),
            Expr::Not(inner) => Expr::Not(Box::new(self.expr(*inner))),
            Expr::OneOf(scope, inner) => Expr::OneOf(scope, Box::new(self.expr(*inner))),
            Expr::Negative(inner) => Expr::Negative(Box::new(self.expr(*inner))),
            Expr::Binary(op, sides) => Expr::Binary(op, Box::new((*sides).map(|side| self.expr(side)))),
            Expr::Test(id, condition) => Expr::Test(id, self.among_alternatives(id, condition)),
            other => other,
        }
    }

    /// The tests of one field with one operator as one.
    fn join(&self, of: Vec<Expr>, rules: [(Compare, Rule); 2], wrap: fn(Vec<Expr>) -> Expr) -> Expr {
        let mut out: Vec<Expr> = Vec::new();
        for expr in of.into_iter().map(|expr| self.expr(expr)) {
            let Expr::Test(id, condition) = expr else {
                out.push(expr);
                continue;
            };
            let applies = |(op, rule): &(Compare, Rule)| *op == condition.op && self.is_on(*rule);
            let joins = rules.iter().any(applies) && self.can_join(id, condition.op);
            let same = out.iter_mut().find_map(|before| match before {
                Expr::Test(other, first) if joins && *other == id && first.op == condition.op => Some(first),
                _ => None,
            });
            match same {
                Some(first) => {
                    let values = [first.value.each(), condition.value.each()].concat();
                    first.value = Matcher::AnyOf(values.into());
                }
                None => out.push(Expr::Test(id, condition)),
            }
        }
        // A field alone would become another thing below a `!`: `!.a` asks for false, `!(.a && true)` for not true.
        match out.as_slice() {
            [Expr::Test(..)] => out.remove(0),
            _ => wrap(out),
        }
    }

    /// Whether tests of a field can be one. Of several events or links each may be the one that is no x, and another
    /// the one that is no y. Ids are compared without their leading zeros, each in a form of its own.
    fn can_join(&self, id: FieldId, op: Compare) -> bool {
        let Some(source) = self.sources.get(id) else { return false };
        match &source.field {
            Field::Attribute(Attribute { scope: Scope::Event | Scope::Link, .. }) => !op.is_negative(),
            Field::Attribute(_) => true,
            Field::Intrinsic(intrinsic) | Field::OfParent(intrinsic) => match intrinsic {
                Intrinsic::TraceId | Intrinsic::SpanId | Intrinsic::ParentId => false,
                Intrinsic::EventName
                | Intrinsic::EventTime
                | Intrinsic::LinkTraceId
                | Intrinsic::LinkSpanId => !op.is_negative(),
                _ => true,
            },
        }
    }

    fn among_alternatives(&self, id: FieldId, condition: Condition) -> Condition {
        if !self.is_on(Rule::AlternativesToIn) || !self.can_join(id, Compare::Eq) {
            return condition;
        }
        let op = match condition.op {
            Compare::Match => Compare::Eq,
            Compare::NotMatch => Compare::Ne,
            _ => return condition,
        };
        let Matcher::Regex(regex) = &condition.value else { return condition };
        match alternatives(regex.as_str()) {
            Some(texts) => {
                let mut values: Vec<_> =
                    texts.into_iter().map(|text| Matcher::Literal(Literal::String(text))).collect();
                let value = if values.len() == 1 { values.remove(0) } else { Matcher::AnyOf(values.into()) };
                Condition { op, value }
            }
            None => condition,
        }
    }
}

/// The texts of which an expression is one, where it is made of plain characters and `|` alone.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let body = pattern.strip_prefix("^(?s:")?.strip_suffix(")$")?;
    let plain = |c: char| c.is_alphanumeric() || " _-/:,@=|".contains(c);
    let texts: Vec<_> = body.split('|').map(str::to_owned).collect();
    (body.chars().all(plain) && texts.len() <= MAX_ALTERNATIVES).then_some(texts)
}

impl Matcher {
    /// The matchers that this is made of.
    fn each(&self) -> Vec<Self> {
        match self {
            Self::AnyOf(any) => any.to_vec(),
            one => vec![one.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traceql::{Plan, parse};

    /// The filter of a query as its plan has it, short.
    fn filter(query: &str) -> String {
        match Plan::search(&parse(query).unwrap()).unwrap().spansets {
            SpansetPlan::Filter(expr) => shown(&expr),
            other => format!("{other:?}"),
        }
    }

    fn shown(expr: &Expr) -> String {
        let all = |of: &[Expr], sign: &str| of.iter().map(shown).collect::<Vec<_>>().join(sign);
        match expr {
            Expr::Any(one) | Expr::All(one) if one.len() == 1 => format!("({})", all(one, "")),
            Expr::Any(any) => all(any, " || "),
            Expr::All(all_of) => all(all_of, " && "),
            Expr::Test(id, condition) => format!("{id}{}{}", condition.op, value(&condition.value)),
            Expr::Not(inner) => format!("!({})", shown(inner)),
            other => format!("{other:?}"),
        }
    }

    fn value(matcher: &Matcher) -> String {
        match matcher {
            Matcher::Literal(literal) => literal.to_string(),
            Matcher::Regex(_) => "re".to_owned(),
            Matcher::Contains(part) => part.clone(),
            Matcher::AnyOf(any) => format!("[{}]", any.iter().map(value).collect::<Vec<_>>().join(",")),
        }
    }

    #[test]
    fn tests_of_one_field_become_one() {
        for (query, plan) in [
            ("{ .a = 1 || .a = `x` || .a = 2 }", "0=[1,`x`,2]"),
            ("{ .a = 1 || .b = 2 || .a = 3 }", "0=[1,3] || 1=2"),
            ("{ .a != 1 && .b && .a != 3 }", "0!=[1,3] && Field(1)"),
            ("{ !(.a = 1 || .a = 3) }", "!(0=[1,3])"),
            ("{ !(.a && true) }", "!((Field(0)))"),
            ("{ .a =~ `x.` || .a =~ `y.` }", "0=~[re,re]"),
            ("{ .a !~ `x.` && .a !~ `y.` }", "0!~[re,re]"),
            ("{ name =~ `a b|c` }", "0=[`a b`,`c`]"),
            ("{ name !~ `a` || .b }", "0!=`a` || Field(1)"),
            ("{ name =~ `a|b` || name = `c` }", "0=[`a`,`b`,`c`]"),
        ] {
            assert_eq!(filter(query), plan, "{query}");
        }
    }

    #[test]
    fn what_is_not_the_same_stays_apart() {
        for (query, plan) in [
            ("{ .a = 1 && .a = 2 }", "0=1 && 0=2"),
            ("{ .a != 1 || .a != 2 }", "0!=1 || 0!=2"),
            ("{ .a > 1 || .a > 2 }", "0>1 || 0>2"),
            ("{ event.a != 1 && event.a != 2 }", "0!=1 && 0!=2"),
            ("{ link:spanID != `1` && link:spanID != `2` }", "0!=`1` && 0!=`2`"),
            ("{ trace:id = `1` || trace:id = `2` }", "0=`1` || 0=`2`"),
            ("{ trace:id =~ `01|2` }", "0=~re"),
            ("{ .a =~ `x.|y` }", "0=~re"),
            ("{ .a =~ `(?i)x` }", "0=~re"),
        ] {
            assert_eq!(filter(query), plan, "{query}");
        }
    }

    #[test]
    fn rules_are_switched_off_by_name_or_all_together() {
        let query = "{ (.a = 1 || .a = 2) && (.b =~ `x.` || .b =~ `y.`) && .c =~ `z` }";
        let on = "0=[1,2] && 1=~[re,re] && 2=`z`";
        for (skip, plan) in [
            ("", on),
            (" with (skip_ast_transformations=false)", on),
            (" with (skip_ast_transformations=\"nonsense\")", on),
            (
                " with (skip_ast_transformations=\"or_to_in, alternatives_to_in\")",
                "0=1 || 0=2 && 1=~[re,re] && 2=~re",
            ),
            (" with (skip_ast_transformations=true)", "0=1 || 0=2 && 1=~re || 1=~re && 2=~re"),
            (" with (skip_ast_transformations=\"all\")", "0=1 || 0=2 && 1=~re || 1=~re && 2=~re"),
        ] {
            assert_eq!(filter(&format!("{query}{skip}")), plan, "{skip}");
        }
    }
}
