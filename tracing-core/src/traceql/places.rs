//! Where the parts of a query stand in its text. The tree holds no places, so that equal queries are equal
//! however they are written: the parser notes them in the order in which it makes the parts, and that is the order in
//! which a walk over the tree comes by them again.

use std::ops::Range;

use super::syntax::{Expr, Metrics, Pipeline, Query, Root, Scalar, Spansets, Stage};

/// Places in bytes, of each sort of part in the order in which the parts end.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(super) exprs: Vec<Range<usize>>,
    pub(super) filters: Vec<Range<usize>>,
}

/// A part that has a place.
#[derive(Clone, Copy)]
pub(crate) enum Node<'q> {
    /// Any part of a field expression.
    Expr(&'q Expr),
    /// A [`Stage::ScalarFilter`].
    Filter(&'q Stage),
}

impl Places {
    /// Where a part of `query` stands.
    pub(crate) fn of(&self, query: &Query, node: Node<'_>) -> Option<Range<usize>> {
        let mut walk = Walk { wanted: node, exprs: 0, filters: 0, found: false };
        match &query.root {
            Root::Pipeline(of) => walk.pipeline(of),
            Root::Metrics(of) => walk.metrics(of),
        }
        let places = match node {
            Node::Expr(_) => self.exprs.get(walk.exprs),
            Node::Filter(_) => self.filters.get(walk.filters),
        };
        places.filter(|_| walk.found).cloned()
    }
}

/// Counts the parts before the wanted one.
struct Walk<'q> {
    wanted: Node<'q>,
    exprs: usize,
    filters: usize,
    found: bool,
}

impl Walk<'_> {
    fn pipeline(&mut self, it: &Pipeline) {
        for stage in &it.stages {
            if self.found {
                return;
            }
            match stage {
                Stage::Spansets(of) => self.spansets(of),
                Stage::ScalarFilter { left, right, .. } => {
                    self.scalar(left);
                    self.scalar(right);
                    if !self.found {
                        self.found = matches!(self.wanted, Node::Filter(it) if std::ptr::eq(it, stage));
                        self.filters += usize::from(!self.found);
                    }
                }
                Stage::Scalar(of) => self.scalar(of),
                Stage::By(of) => self.expr(of),
                Stage::Coalesce | Stage::Select(_) => {}
            }
        }
    }

    fn spansets(&mut self, it: &Spansets) {
        match it {
            Spansets::Filter(of) => of.iter().for_each(|of| self.expr(of)),
            Spansets::Binary { left, right, .. } => {
                self.spansets(left);
                self.spansets(right);
            }
            Spansets::Pipeline(inner) => self.pipeline(inner),
            Spansets::Not(inner) => self.spansets(inner),
        }
    }

    fn scalar(&mut self, it: &Scalar) {
        match it {
            Scalar::Literal(_) => {}
            Scalar::Aggregate(_, of) => of.iter().for_each(|of| self.expr(of)),
            Scalar::Pipeline(inner) => self.pipeline(inner),
            Scalar::Binary { left, right, .. } => {
                self.scalar(left);
                self.scalar(right);
            }
        }
    }

    fn metrics(&mut self, it: &Metrics) {
        match it {
            Metrics::Number(_) => {}
            Metrics::Binary { left, right, .. } => {
                self.metrics(left);
                self.metrics(right);
            }
            Metrics::Query { spans, function, .. } => {
                self.pipeline(spans);
                function.selection.iter().for_each(|of| self.spansets(of));
            }
        }
    }

    fn expr(&mut self, it: &Expr) {
        match it {
            Expr::Literal(_) | Expr::Field(_) => {}
            Expr::Unary(_, inner) | Expr::OneOf(_, inner) => self.expr(inner),
            Expr::Binary { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
        }
        if !self.found {
            self.found = matches!(self.wanted, Node::Expr(wanted) if std::ptr::eq(wanted, it));
            self.exprs += usize::from(!self.found);
        }
    }
}
