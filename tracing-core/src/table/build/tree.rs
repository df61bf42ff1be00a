//! The nested set of a trace: where each span is entered and left on a walk from the roots.
//!
//! As Tempo numbers them: roots in order of appearance, from 1. A span that no root reaches has zeros, and
//! so has every span of a trace that has no root or an id more than twice. An id that stands twice is a
//! client and the server it called (Zipkin): a server below it belongs to the client, any other span to
//! the server.

use std::ops::Range;

use crate::model::SpanId;
use crate::table::columns::Spans;

const CLIENT: u8 = 3;
const SERVER: u8 = 2;
/// No row.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// Who is whose parent, in one trace after the other.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    by_id: Vec<(SpanId, u32)>,
    first_child: Vec<u32>,
    next_sibling: Vec<u32>,
    stack: Vec<u32>,
}

/// The columns that say who is whose parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family<'a> {
    pub(crate) ids: &'a [SpanId],
    pub(crate) parents: &'a [SpanId],
    pub(crate) kinds: &'a [u8],
}

impl<'a> Family<'a> {
    fn rows(self, rows: Range<usize>) -> (&'a [SpanId], &'a [SpanId], &'a [u8]) {
        let Self { ids, parents, kinds } = self;
        let ids = ids.get(rows.clone()).unwrap_or_default();
        (ids, parents.get(rows.clone()).unwrap_or_default(), kinds.get(rows).unwrap_or_default())
    }
}

impl<'a> From<&'a Spans> for Family<'a> {
    fn from(spans: &'a Spans) -> Self {
        Self { ids: &spans.id, parents: &spans.parent_id, kinds: &spans.kind }
    }
}

/// The numbers of a trace's spans.
struct Sets {
    left: Vec<i32>,
    right: Vec<i32>,
    parent: Vec<i32>,
}

impl Scratch {
    /// Appends `left`, `right` and `parent` of a trace. Its spans are those of `stage` that `rows` names in the
    /// order in which they count as having appeared, and `tidy` in the order in which they stand in the table;
    /// `place` has the place in `rows` of each.
    pub(super) fn number(
        &mut self,
        to: &mut Spans,
        stage: &Spans,
        rows: &[u32],
        tidy: &[u32],
        place: &[u32],
    ) {
        fn pick<T: Copy + Default>(column: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|row| column.get(*row as usize).copied().unwrap_or_default()).collect()
        }
        let (parents, kinds) = (pick(&stage.parent_id, rows), pick(&stage.kind, rows));
        let mut sets =
            Sets { left: vec![0; rows.len()], right: vec![0; rows.len()], parent: vec![0; rows.len()] };
        if !self.index(&pick(&stage.id, rows)) {
            self.link(&parents, &kinds, false);
            self.walk(&mut sets.left, &mut sets.right, &mut sets.parent);
        }
        let places = pick(place, tidy);
        to.left.extend(pick(&sets.left, &places));
        to.right.extend(pick(&sets.right, &places));
        to.parent.extend(pick(&sets.parent, &places));
    }

    /// Appends `left`, `right` and `parent` of the spans `rows`, which are one trace, with those whose parent is
    /// missing as roots among the others.
    pub(crate) fn number_orphans(&mut self, of: Family<'_>, rows: Range<usize>, to: &mut [Vec<i32>; 3]) {
        let (ids, parents, kinds) = of.rows(rows);
        let [mut left, mut right, mut parent] = [0; 3].map(|nowhere| vec![nowhere; ids.len()]);
        if !self.index(ids) {
            self.link(parents, kinds, true);
            self.walk(&mut left, &mut right, &mut parent);
        }
        for (column, made) in to.iter_mut().zip([left, right, parent]) {
            column.extend(made);
        }
    }

    /// Works out the children of each span, and puts the roots on the stack.
    fn link(&mut self, parents: &[SpanId], kinds: &[u8], orphans: bool) {
        self.first_child.clear();
        self.first_child.resize(parents.len(), NO_ROW);
        self.next_sibling.clear();
        self.next_sibling.resize(parents.len(), NO_ROW);
        self.stack.clear();
        for (row, (&parent, &kind)) in parents.iter().zip(kinds).enumerate().rev() {
            if parent.is_zero() {
                self.stack.push(row as u32);
            } else if let Some(above) = self.parent(parent, kind, kinds)
                && let Some(head) = self.first_child.get_mut(above as usize)
                && let Some(next) = self.next_sibling.get_mut(row)
            {
                *next = std::mem::replace(head, row as u32);
            } else if orphans {
                self.stack.push(row as u32);
            }
        }
    }

    /// Appends the row of the parent of each of the spans `rows`, which are one trace, or [`NO_ROW`]. By ids alone: a
    /// parent is one also where no root reaches it. Nobody has one where an id stands more than twice.
    pub(crate) fn parents(&mut self, of: Family<'_>, rows: Range<usize>, to: &mut Vec<u32>) {
        let (first, end) = (rows.start as u32, to.len() + rows.len());
        let (ids, parents, kinds) = of.rows(rows);
        let ambiguous = self.index(ids);
        for ((row, parent), kind) in (0..).zip(parents).zip(kinds).filter(|_| !ambiguous) {
            let above = if parent.is_zero() { None } else { self.parent(*parent, *kind, kinds) };
            to.push(above.filter(|above| *above != row).map_or(NO_ROW, |above| first + above));
        }
        to.resize(end, NO_ROW);
    }

    /// Appends how many children each of the spans `rows`, which are one trace, has: also where no root
    /// reaches it, as Tempo counts them, but 0 for all where a nested set has only zeros. With `orphans` a trace
    /// needs no root.
    pub(crate) fn child_counts(
        &mut self,
        of: Family<'_>,
        rows: Range<usize>,
        orphans: bool,
        counts: &mut Vec<i32>,
    ) {
        let (ids, parents, kinds) = of.rows(rows);
        let first = counts.len();
        counts.resize(first + ids.len(), 0);
        let ambiguous = self.index(ids);
        if ambiguous || !(orphans || parents.iter().any(SpanId::is_zero)) {
            return;
        }
        for (parent, kind) in parents.iter().zip(kinds).filter(|(parent, _)| !parent.is_zero()) {
            let above = self.parent(*parent, *kind, kinds).map(|row| first + row as usize);
            above.and_then(|at| counts.get_mut(at)).into_iter().for_each(|count| *count += 1);
        }
    }

    /// Finds the rows of ids; answers whether one stands there more than twice.
    fn index(&mut self, ids: &[SpanId]) -> bool {
        self.by_id.clear();
        self.by_id.extend(ids.iter().zip(0..).map(|(&id, row)| (id, row)));
        self.by_id.sort_unstable();
        self.by_id.windows(3).any(|three| matches!(three, [a, _, c] if a.0 == c.0))
    }

    fn parent(&self, id: SpanId, child: u8, kinds: &[u8]) -> Option<u32> {
        let at = self.by_id.partition_point(|(known, _)| *known < id);
        let found = |at: usize| self.by_id.get(at).filter(|(known, _)| *known == id).map(|&(_, row)| row);
        let (one, other) = (found(at)?, found(at + 1));
        let wanted = if child == SERVER { CLIENT } else { SERVER };
        let is_wanted = |row: &u32| kinds.get(*row as usize) == Some(&wanted);
        Some(other.filter(|other| !is_wanted(&one) && is_wanted(other)).unwrap_or(one))
    }

    /// Numbers what the roots on the stack reach; the first root is on top. Spans on a circle are not
    /// reached, so each span is entered once.
    fn walk(&mut self, left: &mut [i32], right: &mut [i32], parent: &mut [i32]) {
        let mut counter = 1;
        while let Some(&row) = self.stack.last() {
            let at = row as usize;
            let (Some(entered), Some(child)) = (left.get_mut(at), self.first_child.get_mut(at)) else {
                return;
            };
            if *entered == 0 {
                *entered = counter;
                counter += 1;
                if let Some(of) = parent.get_mut(at).filter(|of| **of == 0) {
                    *of = -1;
                }
            }
            let below = *child;
            if below == NO_ROW {
                if let Some(out) = right.get_mut(at) {
                    *out = counter;
                }
                counter += 1;
                self.stack.pop();
                continue;
            }
            *child = self.next_sibling.get(below as usize).copied().unwrap_or(NO_ROW);
            if let Some(of) = parent.get_mut(below as usize) {
                *of = *entered;
            }
            self.stack.push(below);
        }
    }
}
