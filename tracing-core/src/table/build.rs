//! Builds a SpanTable from OTLP bytes and from rows of other tables, a trace at a time.
//!
//! A trace is first decoded into a stage in the order received, then appended to the table with its spans
//! ordered by resource and scope. What vParquet4 does not hold (flags, schema URLs, entity references)
//! is not kept either, so that a trace reads the same before and after it is flushed.

mod arrival;
mod copy;
mod decode;
mod heads;
mod order;
mod rows;
mod trace;
mod tree;
mod values;

use rustc_hash::FxHashMap;

use self::decode::Decoder;
use self::heads::Heads;
pub use self::rows::Recode;
pub(crate) use self::tree::{Family, NO_ROW, Scratch as Tree};
use super::SpanTable;
use super::columns::{Events, Links, Spans};
use crate::model::TraceId;
use crate::wire::WireError;

/// Collects traces into a [`SpanTable`].
#[derive(Debug)]
pub struct TableBuilder {
    table: SpanTable,
    heads: Heads,
    stage: Stage,
    id: TraceId,
    duplicates: Duplicates,
    tidies: bool,
    scratch: order::Scratch,
    memo: values::Memo,
}

/// The spans of the trace being built, in the order received. Nested sets are not known yet.
#[derive(Debug, Default)]
struct Stage {
    /// Pairs of resource and scope, ordinals in [`Heads`], in order of first appearance.
    groups: Vec<Group>,
    by_group: FxHashMap<Group, u32>,
    /// Ordinal in `groups` of each span.
    group_of: Vec<u32>,
    spans: Spans,
    events: Events,
    links: Links,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group {
    resource: u32,
    scope: u32,
}

/// What becomes of a span that came twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duplicates {
    Keep,
    /// Of spans equal in every field one stays.
    DropEqual,
    /// Of spans equal in what every excerpt has of them.
    DropAlike,
}

impl TableBuilder {
    /// An empty table. Of spans that are equal in every field, resource and scope included, one stays:
    /// for lookups and compaction, where parts of a trace come together.
    #[must_use]
    pub fn new() -> Self {
        Self { duplicates: Duplicates::DropEqual, ..Self::keeping_duplicates() }
    }

    /// An empty table for parts of a trace of which not all columns were read (see [`evaluate::whole`]): of spans
    /// that are equal in id, parent, name, kind, status and times one stays.
    ///
    /// [`evaluate::whole`]: super::evaluate::whole
    #[must_use]
    pub fn of_excerpts() -> Self {
        Self { duplicates: Duplicates::DropAlike, ..Self::keeping_duplicates() }
    }

    /// An empty table in which a span that came twice stands twice, as in a block that Tempo writes from
    /// what it received.
    #[must_use]
    pub fn keeping_duplicates() -> Self {
        Self {
            table: SpanTable::default(),
            heads: Heads::default(),
            stage: Stage::default(),
            id: TraceId::default(),
            duplicates: Duplicates::Keep,
            tidies: false,
            scratch: order::Scratch::default(),
            memo: values::Memo::default(),
        }
    }

    /// Resources of a trace, and spans of a scope, stand in the order in which a block takes least room, else in
    /// that of arrival. Root and nested sets go by arrival in either case.
    #[must_use]
    pub fn tidily(self) -> Self {
        Self { tidies: true, ..self }
    }

    /// Begins a trace. What was added since the last [`TableBuilder::end`] is forgotten.
    pub fn begin(&mut self, id: TraceId) {
        self.stage.clear();
        self.id = id;
    }

    /// Adds the spans of a TracesData, all of which must be the present trace's.
    ///
    /// # Errors
    /// [`WireError`] where the bytes are malformed, which [`crate::wire::otlp::split()`] rules out; the spans
    /// before that place stay added.
    pub fn add_otlp(&mut self, otlp: &[u8]) -> Result<(), WireError> {
        let strings = &mut self.table.strings;
        Decoder { strings, heads: &mut self.heads, stage: &mut self.stage, memo: &mut self.memo }
            .traces_data(otlp)
    }

    /// Adds the spans of a trace in another table, every column of which must be there. Where many traces
    /// of one table are added, [`TableBuilder::add_rows_with`] is cheaper.
    pub fn add_rows(&mut self, source: &SpanTable, trace: usize) {
        self.add_rows_with(source, trace, &mut Recode::sparse());
    }

    /// As [`TableBuilder::add_rows`], remembering in `recode` what strings of `source` became here.
    /// A [`Recode`] belongs to one pair of builder and source.
    pub fn add_rows_with(&mut self, source: &SpanTable, trace: usize, recode: &mut Recode) {
        rows::add(self, source, trace, recode, None);
    }

    /// As [`TableBuilder::add_rows`], but of the trace's spans only those that `keep` says, which is asked in
    /// their order.
    pub fn add_rows_where(&mut self, source: &SpanTable, trace: usize, mut keep: impl FnMut(usize) -> bool) {
        rows::add(self, source, trace, &mut Recode::sparse(), Some(&mut keep));
    }

    /// Spans added to the present trace.
    #[must_use]
    pub fn staged_spans(&self) -> usize {
        self.stage.group_of.len()
    }

    /// Ends the trace: merges equal resources and scopes, drops duplicates if told so, and works out
    /// what is known of the trace as a whole. Answers its ordinal in the table, or `None` where it has no
    /// spans and so no row.
    pub fn end(&mut self) -> Option<usize> {
        let built = trace::append(self);
        self.stage.clear();
        built
    }

    /// The table so far.
    #[must_use]
    pub fn table(&self) -> &SpanTable {
        &self.table
    }

    /// The table, with no more room than it needs.
    #[must_use]
    pub fn finish(mut self) -> SpanTable {
        self.table.shrink();
        self.table
    }
}

impl Default for TableBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    fn clear(&mut self) {
        self.groups.clear();
        self.by_group.clear();
        self.group_of.clear();
        copy::clear_spans(&mut self.spans);
        copy::clear_events(&mut self.events);
        copy::clear_links(&mut self.links);
    }

    /// Takes away what was read of a span that is not there as a whole.
    fn forget_open(&mut self) {
        copy::forget_open(&mut self.spans.attributes);
        let events = self.spans.events.children();
        self.events.since_start.truncate(events);
        self.events.name.truncate(events);
        self.events.dropped_attributes.truncate(events);
        self.events.attributes.offsets.0.truncate(events + 1);
        copy::forget_open(&mut self.events.attributes);
        let links = self.spans.links.children();
        self.links.trace_id.truncate(links);
        self.links.span_id.truncate(links);
        self.links.trace_state.truncate(links);
        self.links.dropped_attributes.truncate(links);
        self.links.attributes.offsets.0.truncate(links + 1);
        copy::forget_open(&mut self.links.attributes);
    }

    /// The group of a resource and scope; the last one most of the time.
    fn group(&mut self, group: Group) -> u32 {
        let next = self.groups.len() as u32;
        if self.groups.last() == Some(&group) {
            return next - 1;
        }
        let at = *self.by_group.entry(group).or_insert(next);
        if at == next {
            self.groups.push(group);
        }
        at
    }
}

#[cfg(test)]
mod tests;
