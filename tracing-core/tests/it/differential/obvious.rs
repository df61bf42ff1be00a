//! TraceQL over plain spans, one at a time: slow, without columns, plans, bitmaps or nested-set ranges. It
//! reads the syntax tree as it was written.
//!
//! Two of Tempo's habits are part of the language as clients know it, and stand here too. A comparison with a
//! literal makes only those attribute values seen that satisfy it and are of its type ([`Search::seen`]). And
//! `!=` over several events or links asks for one that differs, over an array for none that is equal.

mod tree;
mod values;

use std::collections::BTreeSet;

use tracing_core::table::evaluate::OwnedValue;
use tracing_core::traceql::syntax::{Aggregate, Expr, Hint, Pipeline, Query, Root, Scalar, Spansets, Stage};
use tracing_core::traceql::{
    BinaryOp, Compare, Field, Intrinsic, Keep, Kind, Literal, Scope, SpansetOp, Status, UnaryOp,
};

use super::Answer;
use super::traces::{Attrs, Event, Link, Span, Trace};
use tree::Tree;
use values::{compute, elements, float, holds, is_negative, is_number, owned, zero};

/// Spans of a trace by position, with the values of the set.
type Set = (Vec<usize>, Vec<(String, OwnedValue)>);

/// What a field is compared with somewhere in the query: `None` where all its values are looked at.
type Uses<'q> = Vec<(&'q Field, Option<(Compare, Literal)>)>;

pub(crate) fn search(query: &Query, traces: &[Trace]) -> Answer {
    let Root::Pipeline(pipeline) = &query.root else { return Vec::new() };
    let mut uses = Vec::new();
    uses_of_pipeline(pipeline, &mut uses);
    let asked = Hint { name: "orphans".to_owned(), value: Literal::Bool(true) };
    let orphans = query.hints.contains(&asked);
    let mut answer = Vec::new();
    for trace in traces {
        let search = Search { trace, tree: Tree::new(trace, orphans), uses: &uses, orphans };
        let all: Vec<usize> = (0..trace.spans.len()).collect();
        let sets = search.pipeline(&pipeline.stages, &all);
        let ids = |spans: Vec<usize>| spans.into_iter().map(|span| trace.spans[span].id).collect();
        if !sets.is_empty() {
            answer.push((trace.id, sets.into_iter().map(|(spans, values)| (ids(spans), values)).collect()));
        }
    }
    answer
}

struct Search<'q> {
    trace: &'q Trace,
    tree: Tree,
    uses: &'q Uses<'q>,
    /// Whether a span whose parent is missing counts as a root.
    orphans: bool,
}

impl Search<'_> {
    fn pipeline(&self, stages: &[Stage], among: &[usize]) -> Vec<Set> {
        let mut sets = vec![(among.to_vec(), Vec::new())];
        sets.retain(|(spans, _)| !spans.is_empty());
        for stage in stages {
            sets = sets.into_iter().flat_map(|set| self.stage(stage, set)).collect();
            if let Stage::Coalesce = stage {
                sets = vec![(union(sets), Vec::new())];
                sets.retain(|(spans, _)| !spans.is_empty());
            }
        }
        sets
    }

    fn stage(&self, stage: &Stage, (spans, mut values): Set) -> Vec<Set> {
        match stage {
            Stage::Spansets(filter) => {
                let spans = self.spansets(filter, &spans);
                if spans.is_empty() { Vec::new() } else { vec![(spans, values)] }
            }
            Stage::ScalarFilter { left, op: BinaryOp::Compare(op), right } => {
                let mut shown = Vec::new();
                let sides = [left, right].map(|side| self.scalar(side, &spans, &mut shown));
                values.extend(shown);
                let holds = matches!(&sides, [Some(a), Some(b)] if holds(*op, a, b));
                if holds { vec![(spans, values)] } else { Vec::new() }
            }
            Stage::By(of) => {
                let mut groups: Vec<Set> = Vec::new();
                for span in spans {
                    let mut found: Vec<_> = self.values(of, span).iter().map(owned).collect();
                    let value = match found.len() {
                        0 => OwnedValue::String("nil".to_owned()),
                        1 => found.remove(0),
                        _ => OwnedValue::Array(found),
                    };
                    let named = (format!("by({of})"), value);
                    match groups.iter_mut().find(|(_, group)| group.last() == Some(&named)) {
                        Some((group, _)) => group.push(span),
                        None => groups.push((vec![span], values.iter().cloned().chain([named]).collect())),
                    }
                }
                groups
            }
            _ => vec![(spans, values)],
        }
    }

    /// The number of a set of spans; what is shown of it is added to `shown`, each name once.
    fn scalar(
        &self,
        scalar: &Scalar,
        spans: &[usize],
        shown: &mut Vec<(String, OwnedValue)>,
    ) -> Option<Literal> {
        let number = match scalar {
            Scalar::Literal(literal) => return Some(literal.clone()),
            Scalar::Binary { op, left, right } => {
                let sides = [left, right].map(|side| self.scalar(side, spans, shown));
                return compute(*op, sides[0].as_ref()?, sides[1].as_ref()?);
            }
            Scalar::Aggregate(aggregate, of) => self.aggregate(*aggregate, of.as_ref(), spans)?,
            Scalar::Pipeline(inner) => {
                let Some((Stage::Scalar(last), before)) = inner.stages.split_last() else { return None };
                self.scalar(last, &union(self.pipeline(before, spans)), &mut Vec::new())?
            }
        };
        if shown.iter().all(|(name, _)| *name != scalar.to_string()) {
            shown.push((scalar.to_string(), owned(&number)));
        }
        Some(number)
    }

    fn aggregate(&self, aggregate: Aggregate, of: Option<&Expr>, spans: &[usize]) -> Option<Literal> {
        let Some(of) = of else { return Some(Literal::Int(spans.len() as i64)) };
        let single = |span: &usize| match self.values(of, *span).as_slice() {
            [one] if is_number(one) => Some(one.clone()),
            _ => None,
        };
        let numbers: Vec<Literal> = spans.iter().filter_map(single).collect();
        let count = numbers.len() as i64;
        let mut numbers = numbers.into_iter();
        let sorted = |a: Literal, b: Literal| if holds(Compare::Lt, &b, &a) { (b, a) } else { (a, b) };
        let first = numbers.next()?;
        match aggregate {
            Aggregate::Min => Some(numbers.fold(first, |best, it| sorted(best, it).0)),
            Aggregate::Max => Some(numbers.fold(first, |best, it| sorted(best, it).1)),
            _ => match numbers.try_fold(first, |a, b| compute(BinaryOp::Add, &a, &b))? {
                Literal::Duration(ns) if aggregate == Aggregate::Avg => Some(Literal::Duration(ns / count)),
                sum if aggregate == Aggregate::Avg => Some(Literal::Float(float(&sum) / count as f64)),
                sum => Some(sum),
            },
        }
    }

    fn spansets(&self, spansets: &Spansets, among: &[usize]) -> Vec<usize> {
        match spansets {
            Spansets::Filter(None) => among.to_vec(),
            Spansets::Filter(Some(of)) => {
                among.iter().copied().filter(|&span| self.is_true(of, span)).collect()
            }
            Spansets::Pipeline(inner) => union(self.pipeline(&inner.stages, among)),
            Spansets::Not(inner) if self.spansets(inner, among).is_empty() => among.to_vec(),
            Spansets::Not(_) => Vec::new(),
            Spansets::Binary { op, left, right } => {
                let is_condition = is_condition(left) || is_condition(right);
                let (left, right) = (self.spansets(left, among), self.spansets(right, among));
                let is_answer = |span: &usize| {
                    let (l, r) = (left.contains(span), right.contains(span));
                    let (relation, keep) = match op {
                        SpansetOp::And if is_condition => return l && r,
                        SpansetOp::And => return (l || r) && !left.is_empty() && !right.is_empty(),
                        SpansetOp::Or => return l || r,
                        SpansetOp::Structural { relation, keep } => (*relation, keep),
                    };
                    let stands = || left.iter().any(|&l| self.tree.stands(*span, relation, l));
                    let takes_part = || right.iter().any(|&r| self.tree.stands(r, relation, *span));
                    match keep {
                        Keep::Right => r && stands(),
                        Keep::Unrelated => r && !stands(),
                        Keep::Both => r && stands() || l && takes_part(),
                    }
                };
                among.iter().copied().filter(is_answer).collect()
            }
        }
    }

    fn is_true(&self, expr: &Expr, span: usize) -> bool {
        match expr {
            Expr::Literal(literal) => *literal == Literal::Bool(true),
            Expr::Field(field) => self.compared(field, Compare::Eq, &Literal::Bool(true), span),
            Expr::Unary(UnaryOp::Not, inner) => match &**inner {
                Expr::Field(field) => self.compared(field, Compare::Eq, &Literal::Bool(false), span),
                inner => !self.is_true(inner, span),
            },
            Expr::Binary { op: BinaryOp::And, left, right } => {
                self.is_true(left, span) && self.is_true(right, span)
            }
            Expr::Binary { op: BinaryOp::Or, left, right } => {
                self.is_true(left, span) || self.is_true(right, span)
            }
            Expr::Binary { op: BinaryOp::Compare(op), left, right } => {
                self.comparison(*op, left, right, span)
            }
            Expr::OneOf(scope, inner) => {
                let it = &self.trace.spans[span];
                let count = if *scope == Scope::Event { it.events.len() } else { it.links.len() };
                (0..count).any(|one| self.with_one(*scope, span, one, |alone| alone.is_true(inner, span)))
            }
            Expr::Unary(UnaryOp::Neg, _) | Expr::Binary { .. } => false,
        }
    }

    /// Asks a trace in which a span has but one of its events or links.
    fn with_one(&self, scope: Scope, span: usize, one: usize, ask: impl Fn(&Search<'_>) -> bool) -> bool {
        let mut trace = self.trace.clone();
        let it = &mut trace.spans[span];
        match scope {
            Scope::Event => it.events = vec![it.events[one].clone()],
            _ => it.links = vec![it.links[one].clone()],
        }
        ask(&Search { trace: &trace, tree: self.tree.clone(), ..*self })
    }

    fn comparison(&self, op: Compare, left: &Expr, right: &Expr, span: usize) -> bool {
        if let Some((field, op, literal)) = test(op, left, right) {
            return match (op, &literal) {
                (Compare::Ne, Literal::Nil) => self.exists(field, span),
                (_, Literal::Nil) => self.is_missing(field, span),
                _ => self.compared(field, op, &literal, span),
            };
        }
        let (left, right) = (self.values(left, span), self.values(right, span));
        if left.len() > 1 && right.len() > 1 {
            return false;
        }
        let mut pairs = left.iter().flat_map(|a| right.iter().map(move |b| holds(op, a, b))).peekable();
        pairs.peek().is_some() && if is_negative(op) { pairs.all(|it| it) } else { pairs.any(|it| it) }
    }

    /// The values of an expression: none for nil, several for an array.
    fn values(&self, expr: &Expr, span: usize) -> Vec<Literal> {
        match expr {
            Expr::Literal(Literal::Nil) => Vec::new(),
            Expr::Literal(literal) => vec![literal.clone()],
            Expr::Field(field) => {
                let mut values = self.rows(field, span);
                for row in &mut values {
                    row.retain(|value| self.seen(field, value));
                }
                values.retain(|row| !row.is_empty());
                let last = matches!(field, Field::Intrinsic(Intrinsic::LinkTraceId | Intrinsic::LinkSpanId));
                if last { values.pop().unwrap_or_default() } else { values.concat() }
            }
            Expr::Unary(UnaryOp::Neg, inner) => match self.values(inner, span).as_slice() {
                [one] => compute(BinaryOp::Sub, &zero(one), one).into_iter().collect(),
                _ => Vec::new(),
            },
            Expr::Binary { op, left, right }
                if !matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Compare(_)) =>
            {
                match (self.values(left, span).as_slice(), self.values(right, span).as_slice()) {
                    ([a], [b]) => compute(*op, a, b).into_iter().collect(),
                    _ => Vec::new(),
                }
            }
            boolean => vec![Literal::Bool(self.is_true(boolean, span))],
        }
    }

    /// `field op literal`: on one event or link of several; on all elements of an array for `!=` and `!~`.
    fn compared(&self, field: &Field, op: Compare, literal: &Literal, span: usize) -> bool {
        let literal = &normalised(field, op, literal);
        let elements = |row: Vec<Literal>| {
            let seen: Vec<_> = row.into_iter().filter(|it| self.seen(field, it)).collect();
            let mut holding = seen.iter().map(|it| holds(op, it, literal));
            !seen.is_empty() && if is_negative(op) { holding.all(|it| it) } else { holding.any(|it| it) }
        };
        self.rows(field, span).into_iter().any(elements)
    }

    /// Whether some comparison of the query makes a value of this field seen.
    fn seen(&self, field: &Field, value: &Literal) -> bool {
        let is_attribute = matches!(field, Field::Attribute(_));
        self.uses.iter().filter(|(used, _)| *used == field).any(|(_, asked)| match asked {
            None => true,
            Some((op, literal)) => {
                let literal = normalised(field, *op, literal);
                let other_type = matches!(
                    (&literal, value),
                    (Literal::Float(_), Literal::Int(_))
                        | (Literal::Int(_) | Literal::Duration(_), Literal::Float(_))
                );
                holds(*op, value, &literal) && !(is_attribute && other_type)
            }
        })
    }

    fn exists(&self, field: &Field, span: usize) -> bool {
        self.rows(field, span).iter().any(|row| !row.is_empty())
    }

    fn is_missing(&self, field: &Field, span: usize) -> bool {
        if let Some(own) = field.of_parent() {
            return self.parent(span).is_some_and(|parent| self.is_missing(&own, parent));
        }
        let it = &self.trace.spans[span];
        let has_some = match field {
            Field::Attribute(attribute) if attribute.scope == Scope::Event => !it.events.is_empty(),
            Field::Attribute(attribute) if attribute.scope == Scope::Link => !it.links.is_empty(),
            _ => true,
        };
        has_some && !self.exists(field, span)
    }

    /// The span that a span names as its parent.
    fn parent(&self, span: usize) -> Option<usize> {
        self.trace.spans.iter().position(|it| it.id == self.trace.spans[span].parent)
    }

    /// The values of a field: a row of elements for the span, or for each of its events or links.
    fn rows(&self, field: &Field, span: usize) -> Vec<Vec<Literal>> {
        if let Some(own) = field.of_parent() {
            return self.parent(span).map_or(Vec::new(), |parent| self.rows(&own, parent));
        }
        let attribute = match field {
            Field::Intrinsic(intrinsic) | Field::OfParent(intrinsic) => {
                let one = |literal| vec![literal];
                return self.intrinsic(*intrinsic, span).into_iter().map(one).collect();
            }
            Field::Attribute(attribute) => attribute,
        };
        let it = &self.trace.spans[span];
        let scope = &self.trace.scopes[it.scope];
        let resource = &self.trace.resources[scope.resource];
        let of = |attrs: &Attrs| {
            let found = attrs.iter().find(|(key, _)| *key == attribute.name);
            found.map_or(Vec::new(), |(_, value)| elements(value))
        };
        let of_resource = || match &*attribute.name {
            "service.name" => vec![Literal::String(resource.service.clone().unwrap_or_default())],
            _ => of(&resource.attrs),
        };
        match attribute.scope {
            Scope::Span => vec![of(&it.attrs)],
            Scope::Instrumentation => vec![of(&scope.attrs)],
            Scope::Event => it.events.iter().map(|event| of(&event.attrs)).collect(),
            Scope::Link => it.links.iter().map(|link| of(&link.attrs)).collect(),
            Scope::Any if !of(&it.attrs).is_empty() => vec![of(&it.attrs)],
            Scope::Resource | Scope::Any => vec![of_resource()],
        }
    }

    fn intrinsic(&self, intrinsic: Intrinsic, span: usize) -> Vec<Literal> {
        let (trace, it) = (self.trace, &self.trace.spans[span]);
        let scope = &trace.scopes[it.scope];
        let root = trace.spans.iter().rfind(|span| span.parent == 0);
        let of_events = |value: fn(&Event) -> Literal| it.events.iter().map(value).collect();
        let of_links = |value: fn(&Link) -> Literal| it.links.iter().map(value).collect();
        let service = |span: &Span| trace.resources[trace.scopes[span.scope].resource].service.clone();
        vec![match intrinsic {
            Intrinsic::Duration => Literal::Duration(it.duration as i64),
            Intrinsic::Name => text(&it.name),
            Intrinsic::Status => Literal::Status(Status::from_otlp(it.status)),
            Intrinsic::StatusMessage => text(&it.message),
            Intrinsic::Kind => Literal::Kind(Kind::from_otlp(it.kind)),
            Intrinsic::SpanId => text(&format!("{:016x}", it.id)),
            Intrinsic::ParentId if it.parent == 0 => text(""),
            Intrinsic::ParentId => text(&format!("{:016x}", it.parent)),
            Intrinsic::ChildCount => {
                let counted = root.is_some() || self.orphans;
                let children = trace.spans.iter().filter(|other| other.parent == it.id && counted);
                Literal::Int(children.count() as i64)
            }
            Intrinsic::TraceDuration => {
                let start = trace.spans.iter().map(|span| span.start).min().unwrap_or_default();
                let end = trace.spans.iter().map(|span| span.start + span.duration).max().unwrap_or_default();
                Literal::Duration((end - start) as i64)
            }
            Intrinsic::RootName => text(root.map_or("", |root| &root.name)),
            Intrinsic::RootService => text(&root.and_then(service).unwrap_or_default()),
            Intrinsic::TraceId => text(&format!("{:x}", trace.id)),
            Intrinsic::NestedSetLeft => Literal::Int(self.tree.left[span]),
            Intrinsic::NestedSetRight => Literal::Int(self.tree.right[span]),
            Intrinsic::NestedSetParent => Literal::Int(self.tree.left_of_parent(span)),
            Intrinsic::EventName => return of_events(|event| text(&event.name)),
            Intrinsic::EventTime => return of_events(|event| Literal::Duration(event.since as i64)),
            Intrinsic::LinkTraceId => return of_links(|link| text(&format!("{:x}", link.trace))),
            Intrinsic::LinkSpanId => return of_links(|link| text(&format!("{:x}", link.span))),
            Intrinsic::ScopeName => text(&scope.name),
            Intrinsic::ScopeVersion => text(&scope.version),
            Intrinsic::Parent => return Vec::new(),
        }]
    }
}

/// Whether spansets are made of negations alone, which are all spans or none: the other side of an `&&` counts.
fn is_condition(spansets: &Spansets) -> bool {
    match spansets {
        Spansets::Not(_) => true,
        Spansets::Binary { op: SpansetOp::And | SpansetOp::Or, left, right } => {
            is_condition(left) && is_condition(right)
        }
        _ => false,
    }
}

fn text(text: &str) -> Literal {
    Literal::String(text.to_owned())
}

/// The spans of some sets, each once.
fn union(sets: Vec<Set>) -> Vec<usize> {
    let spans: BTreeSet<usize> = sets.into_iter().flat_map(|(spans, _)| spans).collect();
    spans.into_iter().collect()
}

/// `field op literal`, however it is written; the literal may be computed from others.
fn test<'q>(op: Compare, left: &'q Expr, right: &'q Expr) -> Option<(&'q Field, Compare, Literal)> {
    let turned = match op {
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
        same => same,
    };
    match (left, right) {
        (Expr::Field(field), right) if is_constant(right) => Some((field, op, constant(right))),
        (left, Expr::Field(field)) if is_constant(left) => Some((field, turned, constant(left))),
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(_) => true,
        Expr::Field(_) | Expr::OneOf(..) => false,
        Expr::Unary(_, inner) => is_constant(inner),
        Expr::Binary { left, right, .. } => is_constant(left) && is_constant(right),
    }
}

/// The value of an expression without fields, by way of a trace that nothing is asked of.
fn constant(expr: &Expr) -> Literal {
    let nothing = Trace { id: 0, resources: Vec::new(), scopes: Vec::new(), spans: Vec::new() };
    let search =
        Search { trace: &nothing, tree: Tree::new(&nothing, false), uses: &Vec::new(), orphans: false };
    search.values(expr, 0).pop().unwrap_or(Literal::Nil)
}

fn uses_of_pipeline<'q>(pipeline: &'q Pipeline, uses: &mut Uses<'q>) {
    for stage in &pipeline.stages {
        match stage {
            Stage::Spansets(of) => uses_of_spansets(of, uses),
            Stage::ScalarFilter { left, right, .. } => {
                uses_of_scalar(left, uses);
                uses_of_scalar(right, uses);
            }
            Stage::Scalar(of) => uses_of_scalar(of, uses),
            Stage::By(of) => uses_of(of, uses),
            Stage::Select(fields) => uses.extend(fields.iter().map(|field| (field, None))),
            Stage::Coalesce => {}
        }
    }
}

fn uses_of_scalar<'q>(scalar: &'q Scalar, uses: &mut Uses<'q>) {
    match scalar {
        Scalar::Aggregate(_, of) => of.iter().for_each(|of| uses_of(of, uses)),
        Scalar::Pipeline(inner) => uses_of_pipeline(inner, uses),
        Scalar::Binary { left, right, .. } => {
            uses_of_scalar(left, uses);
            uses_of_scalar(right, uses);
        }
        Scalar::Literal(_) => {}
    }
}

fn uses_of_spansets<'q>(spansets: &'q Spansets, uses: &mut Uses<'q>) {
    match spansets {
        Spansets::Filter(of) => of.iter().for_each(|of| uses_of(of, uses)),
        Spansets::Binary { left, right, .. } => {
            uses_of_spansets(left, uses);
            uses_of_spansets(right, uses);
        }
        Spansets::Pipeline(inner) => uses_of_pipeline(inner, uses),
        Spansets::Not(inner) => uses_of_spansets(inner, uses),
    }
}

fn uses_of<'q>(expr: &'q Expr, uses: &mut Uses<'q>) {
    match expr {
        Expr::Literal(_) => {}
        Expr::Field(field) => uses.push((field, None)),
        Expr::Unary(_, inner) | Expr::OneOf(_, inner) => uses_of(inner, uses),
        Expr::Binary { op, left, right } => {
            let asked = match op {
                BinaryOp::Compare(op) => test(*op, left, right),
                _ => None,
            };
            match asked {
                Some((field, _, Literal::Nil)) => uses.push((field, None)),
                Some((field, op, literal)) => uses.push((field, Some((op, literal)))),
                None => {
                    uses_of(left, uses);
                    uses_of(right, uses);
                }
            }
        }
    }
}

/// Ids are equal whatever zeros lead them.
fn normalised(field: &Field, op: Compare, literal: &Literal) -> Literal {
    let Literal::String(id) = literal else { return literal.clone() };
    if !matches!(op, Compare::Eq | Compare::Ne) {
        return literal.clone();
    }
    match field.of_parent().as_ref().unwrap_or(field) {
        Field::Intrinsic(Intrinsic::TraceId) => Literal::String(id.trim_start_matches('0').to_owned()),
        Field::Intrinsic(Intrinsic::SpanId | Intrinsic::ParentId) if !id.is_empty() => {
            Literal::String(format!("{id:0>16}"))
        }
        _ => literal.clone(),
    }
}
