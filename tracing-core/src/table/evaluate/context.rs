//! A table with what is derived from it while a plan is evaluated: who owns a span, which codes keys have.

use std::cell::OnceCell;

use crate::table::{Bitmap, Code, Level, Offsets, SpanTable};
use crate::traceql::{Attribute, Field, Plan, Scope, Source};

/// A plan and the table it is held against.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) table: &'a SpanTable,
    owners: OnceCell<Owners>,
    children: OnceCell<Vec<u32>>,
}

/// The owner of each span.
pub(crate) struct Owners {
    pub(crate) trace: Vec<u32>,
    pub(crate) resource: Vec<u32>,
    pub(crate) scope: Vec<u32>,
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
    pub(crate) fn new(plan: &'a Plan, table: &'a SpanTable) -> Self {
        Self { plan, table, owners: OnceCell::new(), children: OnceCell::new() }
    }

    pub(crate) fn source(&self, id: usize) -> Option<&'a Source> {
        self.plan.sources.get(id)
    }

    pub(crate) fn owners(&self) -> &Owners {
        self.owners.get_or_init(|| {
            let scope = parents(&self.table.scopes.spans);
            let scope_resource = parents(&self.table.resources.scopes);
            let resource_trace = parents(&self.table.traces.resources);
            let resource = through(&scope, &scope_resource);
            let trace = through(&resource, &resource_trace);
            Owners { trace, resource, scope }
        })
    }

    /// How many spans name each span as their parent, by the nested sets.
    pub(crate) fn children(&self) -> &[u32] {
        self.children.get_or_init(|| {
            let spans = &self.table.spans;
            let mut counts = vec![0; self.table.span_count()];
            for trace in 0..self.table.trace_count() {
                let range = self.table.spans_of_trace(trace);
                let mut by_left = vec![u32::MAX; range.len() * 2 + 2];
                for span in range.clone() {
                    let left = spans.left.get(span).copied().unwrap_or_default();
                    if let Some(slot) =
                        usize::try_from(left).ok().filter(|&l| l > 0).and_then(|l| by_left.get_mut(l))
                    {
                        *slot = span as u32;
                    }
                }
                for span in range {
                    let parent = spans.parent.get(span).copied().unwrap_or_default();
                    let parent = usize::try_from(parent).ok().filter(|&p| p > 0);
                    let parent = parent.and_then(|p| by_left.get(p)).copied().unwrap_or(u32::MAX);
                    if let Some(count) = counts.get_mut(parent as usize) {
                        *count += 1;
                    }
                }
            }
            counts
        })
    }

    /// The code of an attribute's key, where any attribute of the table may have it.
    pub(crate) fn key(&self, name: &str) -> Option<Code> {
        self.table.strings.find(name)
    }

    /// The spans that belong to rows of a level.
    pub(crate) fn spans_of(&self, level: Level, rows: &Bitmap) -> Bitmap {
        let mut spans = Bitmap::none(self.table.span_count());
        match level {
            Level::Span => return rows.clone(),
            Level::Resource => {
                rows.iter().for_each(|row| spans.set_range(self.table.spans_of_resources(row..row + 1)));
            }
            Level::Scope => {
                rows.iter().for_each(|row| spans.set_range(self.table.spans_of_scopes(row..row + 1)));
            }
            Level::Event => parents_with(&self.table.spans.events, rows, &mut spans),
            Level::Link => parents_with(&self.table.spans.links, rows, &mut spans),
        }
        spans
    }

    /// The spans that have children at a level below them; all for the others.
    pub(crate) fn spans_with(&self, level: Level) -> Bitmap {
        let offsets = match level {
            Level::Event => &self.table.spans.events,
            Level::Link => &self.table.spans.links,
            _ => return Bitmap::all(self.table.span_count()),
        };
        let mut spans = Bitmap::none(self.table.span_count());
        (0..self.table.span_count())
            .filter(|&span| !offsets.range(span).is_empty())
            .for_each(|span| spans.set(span));
        spans
    }

    /// The rows of `level` that a span belongs to or has.
    pub(crate) fn rows_of(&self, level: Level, span: usize) -> std::ops::Range<usize> {
        let one = |owners: &[u32]| owners.get(span).map_or(0..0, |&row| row as usize..row as usize + 1);
        match level {
            Level::Span => span..span + 1,
            Level::Resource => one(&self.owners().resource),
            Level::Scope => one(&self.owners().scope),
            Level::Event => self.table.spans.events.range(span),
            Level::Link => self.table.spans.links.range(span),
        }
    }

    pub(crate) fn rows(&self, level: Level) -> usize {
        match level {
            Level::Resource => self.table.resources.scopes.parents(),
            Level::Scope => self.table.scopes.spans.parents(),
            Level::Span => self.table.span_count(),
            Level::Event => self.table.spans.events.children(),
            Level::Link => self.table.spans.links.children(),
        }
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
        Field::Intrinsic(_) => None,
    }
}

/// The parent of each child.
fn parents(offsets: &Offsets) -> Vec<u32> {
    let mut out = Vec::with_capacity(offsets.children());
    for parent in 0..offsets.parents() {
        out.resize(offsets.range(parent).end, parent as u32);
    }
    out
}

fn through(first: &[u32], then: &[u32]) -> Vec<u32> {
    first.iter().map(|&at| then.get(at as usize).copied().unwrap_or_default()).collect()
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
