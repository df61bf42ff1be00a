//! A view with what is derived from it while a plan is evaluated: who owns a span, how many children it has.

use std::cell::{Cell, OnceCell};

use crate::table::build::{Family, NO_ROW, Tree};
use crate::table::view::Entries;
use crate::table::{Bitmap, Level, Offsets, View};
use crate::traceql::{Attribute, Field, Intrinsic, Plan, Scope, Source};

/// A plan and the columns it is held against.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) view: View<'a>,
    /// The owners that were found last: spans are mostly asked about one after the other.
    trace: Cell<usize>,
    scope: Cell<usize>,
    resource: Cell<usize>,
    child: Cell<usize>,
    parents: OnceCell<Vec<u32>>,
    children: OnceCell<Vec<i32>>,
    nested: OnceCell<[Vec<i32>; 3]>,
}

/// A span, of whose events or links all are looked at or one alone.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) span: usize,
    /// The one, at its level.
    child: Option<(Level, usize)>,
}

impl From<usize> for Spot {
    fn from(span: usize) -> Self {
        Self { span, child: None }
    }
}

/// Where the values of an attribute stand.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// At one level.
    At(Level),
    /// On the span, and where that has none, on the resource.
    SpanOrResource,
}

impl<'a> Context<'a> {
    pub(crate) fn new(plan: &'a Plan, view: View<'a>) -> Self {
        let (trace, scope, resource, child) = Default::default();
        let (parents, children, nested) = Default::default();
        Self { plan, view, trace, scope, resource, child, parents, children, nested }
    }

    pub(crate) fn source(&self, id: usize) -> Option<&'a Source> {
        self.plan.sources.get(id)
    }

    /// The trace of a span.
    pub(crate) fn trace_of(&self, span: usize) -> usize {
        owner(self.view.of_traces(), &self.trace, span)
    }

    /// The scope of a span.
    pub(crate) fn scope_of(&self, span: usize) -> usize {
        owner(self.view.spans, &self.scope, span)
    }

    /// The resource of a span.
    pub(crate) fn resource_of(&self, span: usize) -> usize {
        owner(self.view.scopes, &self.resource, self.scope_of(span))
    }

    fn family(&self) -> Family<'a> {
        Family { ids: self.view.span_ids, parents: self.view.parent_ids, kinds: self.view.kinds }
    }

    /// Left, right and parent of each span in the nested sets: those that are stored, or where orphans count as
    /// roots, such as have a place for them.
    pub(crate) fn nested(&self) -> [&[i32]; 3] {
        if !self.plan.orphans {
            return [self.view.left, self.view.right, self.view.parent];
        }
        let made = self.nested.get_or_init(|| {
            let (mut nested, mut tree) = (<[Vec<i32>; 3]>::default(), Tree::default());
            for trace in 0..self.view.trace_count() {
                tree.number_orphans(self.family(), self.view.spans_of_trace(trace), &mut nested);
            }
            nested
        });
        made.each_ref().map(Vec::as_slice)
    }

    /// The parent of each span, by ids, or [`NO_ROW`].
    fn parents(&self) -> &[u32] {
        self.parents.get_or_init(|| {
            let (mut parents, mut tree) = (Vec::new(), Tree::default());
            for trace in 0..self.view.trace_count() {
                tree.parents(self.family(), self.view.spans_of_trace(trace), &mut parents);
            }
            parents
        })
    }

    /// The parent of a span, where it is among its trace's spans.
    pub(crate) fn parent_of(&self, span: usize) -> Option<usize> {
        self.parents().get(span).filter(|parent| **parent != NO_ROW).map(|parent| *parent as usize)
    }

    /// The parents of some spans.
    pub(crate) fn parents_of(&self, spans: &Bitmap) -> Bitmap {
        let mut parents = Bitmap::none(self.view.span_count());
        spans.iter().filter_map(|span| self.parent_of(span)).for_each(|parent| parents.set(parent));
        parents
    }

    /// The children of some spans.
    pub(crate) fn children_of(&self, spans: &Bitmap) -> Bitmap {
        let mut children = Bitmap::none(self.view.span_count());
        let is_child = |span: &usize| self.parent_of(*span).is_some_and(|parent| spans.get(parent));
        (0..self.view.span_count()).filter(is_child).for_each(|child| children.set(child));
        children
    }

    /// How many spans name each span as their parent.
    pub(crate) fn children(&self) -> &[i32] {
        self.children.get_or_init(|| {
            let (mut counts, mut tree) = (Vec::new(), Tree::default());
            for trace in 0..self.view.trace_count() {
                let rows = self.view.spans_of_trace(trace);
                tree.child_counts(self.family(), rows, self.plan.orphans, &mut counts);
            }
            counts
        })
    }

    /// The attributes of a level that have this name.
    pub(crate) fn entries(&self, level: Level, attribute: &Attribute) -> Entries<'a> {
        self.view.entries(level, &attribute.name)
    }

    /// The spans that belong to rows of a level.
    pub(crate) fn spans_of(&self, level: Level, rows: &Bitmap) -> Bitmap {
        let mut spans = Bitmap::none(self.view.span_count());
        match level {
            Level::Span => return rows.clone(),
            Level::Resource => {
                rows.iter().for_each(|row| spans.set_range(self.view.spans_of_resources(row..row + 1)));
            }
            Level::Scope => {
                rows.iter().for_each(|row| spans.set_range(self.view.spans_of_scopes(row..row + 1)));
            }
            Level::Event => parents_with(self.view.events, rows, &mut spans),
            Level::Link => parents_with(self.view.links, rows, &mut spans),
        }
        spans
    }

    /// The spans that have children at a level below them; all for the others.
    pub(crate) fn spans_with(&self, level: Level) -> Bitmap {
        let offsets = match level {
            Level::Event => self.view.events,
            Level::Link => self.view.links,
            _ => return Bitmap::all(self.view.span_count()),
        };
        let mut spans = Bitmap::none(self.view.span_count());
        (0..self.view.span_count())
            .filter(|&span| !offsets.range(span).is_empty())
            .for_each(|span| spans.set(span));
        spans
    }

    /// The rows of `level`, which is that of events or of links, that are of some spans.
    pub(crate) fn rows_below(&self, level: Level, spans: &Bitmap) -> Bitmap {
        let mut rows = Bitmap::none(self.rows(level));
        spans.iter().for_each(|span| rows.set_range(self.rows_of(level, span.into())));
        rows
    }

    /// What is looked at for a row: a span, or an event or link with its span.
    pub(crate) fn spot(&self, level: Level, row: usize) -> Spot {
        let offsets = match level {
            Level::Event => self.view.events,
            Level::Link => self.view.links,
            _ => return row.into(),
        };
        Spot { span: owner(offsets, &self.child, row), child: Some((level, row)) }
    }

    /// The rows of `level` that a span belongs to or has, as far as they are looked at.
    pub(crate) fn rows_of(&self, level: Level, spot: Spot) -> std::ops::Range<usize> {
        let one = |row: usize| row..row + 1;
        let Spot { span, child } = spot;
        if let Some((_, row)) = child.filter(|(of, _)| *of == level) {
            return one(row);
        }
        match level {
            Level::Span => one(span),
            Level::Resource => one(self.resource_of(span)),
            Level::Scope => one(self.scope_of(span)),
            Level::Event => self.view.events.range(span),
            Level::Link => self.view.links.range(span),
        }
    }

    pub(crate) fn rows(&self, level: Level) -> usize {
        match level {
            Level::Resource => self.view.scopes.parents(),
            Level::Scope => self.view.spans.parents(),
            Level::Span => self.view.span_count(),
            Level::Event => self.view.events.children(),
            Level::Link => self.view.links.children(),
        }
    }
}

/// The level at which a field has several values a span, of which one may be looked at alone.
pub(crate) fn child_level(source: &Source) -> Option<Level> {
    if source.of_parent { None } else { several(&source.field) }
}

/// The level at which a field has several values a span.
pub(crate) fn several(field: &Field) -> Option<Level> {
    match field {
        Field::Attribute(Attribute { scope: Scope::Event, .. })
        | Field::Intrinsic(Intrinsic::EventName | Intrinsic::EventTime) => Some(Level::Event),
        Field::Attribute(Attribute { scope: Scope::Link, .. })
        | Field::Intrinsic(Intrinsic::LinkTraceId | Intrinsic::LinkSpanId) => Some(Level::Link),
        _ => None,
    }
}

impl Place {
    pub(crate) fn of(scope: Scope) -> Self {
        Self::At(match scope {
            Scope::Any => return Self::SpanOrResource,
            Scope::Span => Level::Span,
            Scope::Resource => Level::Resource,
            Scope::Event => Level::Event,
            Scope::Link => Level::Link,
            Scope::Instrumentation => Level::Scope,
        })
    }
}

/// Whether an attribute of a resource is its service's name, which stands in a column of its own.
pub(crate) fn is_service(level: Level, attribute: &Attribute) -> bool {
    level == Level::Resource && attribute.name == "service.name"
}

/// The attribute of a field that is one.
pub(crate) fn attribute(field: &Field) -> Option<&Attribute> {
    match field {
        Field::Attribute(attribute) => Some(attribute),
        Field::Intrinsic(_) | Field::OfParent(_) => None,
    }
}

/// The owner of a child, which is looked for where the last one was found.
fn owner(offsets: &Offsets, last: &Cell<usize>, child: usize) -> usize {
    let near = [last.get(), last.get() + 1].into_iter().find(|at| offsets.range(*at).contains(&child));
    let owner = near.unwrap_or_else(|| {
        // Of several that begin at the same place all but the last are empty.
        let after = offsets.0.partition_point(|start| *start as usize <= child);
        after.saturating_sub(1)
    });
    last.set(owner);
    owner
}

/// Sets the parents of which a child is set.
fn parents_with(offsets: &Offsets, children: &Bitmap, parents: &mut Bitmap) {
    if !children.any() {
        return;
    }
    for parent in 0..offsets.parents() {
        let range = offsets.range(parent);
        if !range.is_empty() && children.iter_range(range).next().is_some() {
            parents.set(parent);
        }
    }
}
