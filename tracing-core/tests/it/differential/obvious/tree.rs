//! Who is above whom in a trace.

use tracing_core::traceql::Relation;

use super::super::traces::Trace;

/// What is above a span.
#[derive(Clone, Copy, PartialEq)]
enum Above {
    /// No root is.
    Unknown,
    /// Nothing: it is a root.
    Nothing,
    Parent(usize),
}

/// Who is whose child, for spans that a root reaches.
#[derive(Clone)]
pub(super) struct Tree {
    above: Vec<Above>,
    pub(super) left: Vec<i64>,
    pub(super) right: Vec<i64>,
}

impl Tree {
    pub(super) fn new(trace: &Trace, orphans: bool) -> Self {
        let count = trace.spans.len();
        let mut tree =
            Self { above: vec![Above::Unknown; count], left: vec![0; count], right: vec![0; count] };
        let is_there = |id: u64| trace.spans.iter().any(|span| span.id == id);
        let mut next = 1;
        for (root, span) in trace.spans.iter().enumerate() {
            if span.parent == 0 || orphans && !is_there(span.parent) {
                tree.walk(trace, root, Above::Nothing, &mut next);
            }
        }
        tree
    }

    fn walk(&mut self, trace: &Trace, span: usize, above: Above, next: &mut i64) {
        self.above[span] = above;
        self.left[span] = *next;
        *next += 1;
        for child in 0..trace.spans.len() {
            if trace.spans[child].parent == trace.spans[span].id {
                self.walk(trace, child, Above::Parent(span), next);
            }
        }
        self.right[span] = *next;
        *next += 1;
    }

    /// As a nested set has it: -1 above a root, 0 where no root is.
    pub(super) fn left_of_parent(&self, span: usize) -> i64 {
        match self.above[span] {
            Above::Unknown => 0,
            Above::Nothing => -1,
            Above::Parent(parent) => self.left[parent],
        }
    }

    /// Whether `span` is a child of `other`, …
    pub(super) fn stands(&self, span: usize, relation: Relation, other: usize) -> bool {
        let parent = |span: usize| match self.above[span] {
            Above::Parent(parent) => Some(parent),
            _ => None,
        };
        let is_below =
            |span, above| std::iter::successors(parent(span), |up| parent(*up)).any(|up| up == above);
        match relation {
            Relation::Child => parent(span) == Some(other),
            Relation::Parent => parent(other) == Some(span),
            Relation::Descendant => is_below(span, other),
            Relation::Ancestor => is_below(other, span),
            Relation::Sibling => {
                span != other && self.above[span] != Above::Unknown && self.above[span] == self.above[other]
            }
        }
    }
}
