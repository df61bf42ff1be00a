//! Reading a block without IO: a scan says which bytes it needs, is handed them, and yields tables.
//!
//! Flow: for each row group, the columns of the projection are asked for; of generic attributes first
//! only the keys, and their values only where a wanted key occurs. A scan for one trace finds its row by
//! the page index of the ids, then asks for the pages that hold that row.
//! Guarantees: a table's columns are as long as its levels, or empty where they were not asked for.

mod assemble;
mod attributes;
mod stop;
mod task;
mod wanted;

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Bound, Range},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    BlockError, Dictionary, Footer, Meta,
    footer::{self, Chunk},
    page::{Column, Values},
    schema::{Leaf, Part},
};
use crate::{
    model::TraceId,
    table::{Projection, SpanTable},
};
use assemble::Assembly;
pub use stop::{Stop, StopOnDrop};
pub use task::{Decoded, Task};
use wanted::Wanted;

/// What a scan does next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one step a row group")]
pub enum Step {
    /// Fetch these ranges of data.parquet, ascending and disjoint, and hand them to [`Scan::supply`].
    Need(Vec<Range<u64>>),
    /// The traces of one row group (or the one trace asked for). Row groups without traces are left out.
    Table(SpanTable),
    /// Nothing more.
    Done,
}

/// A walk over row groups of one block.
#[derive(Debug)]
pub struct Scan {
    footer: Arc<Footer>,
    wanted: Wanted,
    /// Row groups that are still to be read, the present one first.
    groups: Range<usize>,
    /// The one trace that is looked for.
    target: Option<TraceId>,
    /// The rows of the row group that are wanted, where these are not all.
    window: Option<Range<u64>>,
    stage: Stage,
    /// Bytes that were handed over for the present row group, by their place in the file.
    held: BTreeMap<u64, Bytes>,
    dictionaries: Option<Arc<dyn Dictionaries>>,
    /// Those of the present row group that are at hand, by their place in the file.
    known: BTreeMap<u64, Arc<Dictionary>>,
    /// Columns of the present row group that were decoded elsewhere.
    decoded: BTreeMap<Leaf, Column>,
    stop: Stop,
}

/// Dictionaries of one block's columns, kept from scan to scan by whoever drives them: one that is as large as the
/// pages of thousands of traces has to be decompressed for each lookup otherwise.
pub trait Dictionaries: fmt::Debug + Send + Sync {
    /// The dictionary whose page stands at `place` of data.parquet, if it is at hand.
    fn get(&self, place: u64) -> Option<Arc<Dictionary>>;

    /// Keeps it, if there is room.
    fn keep(&self, place: u64, dictionary: &Arc<Dictionary>);
}

/// How far the present row group is.
#[derive(Debug)]
enum Stage {
    /// Which rows: all, or the one with the trace's id.
    Rows,
    /// The columns of these rows, those first that say how others hang together; all rows where there is no range.
    Columns(Option<Range<u64>>),
    /// The others.
    Rest(Box<Rest>),
    /// The values of those attributes that a wanted key was found of, of the same rows.
    Values(Box<Assembly>, Option<Range<u64>>),
}

/// See [`Stage::Rest`].
#[derive(Debug)]
struct Rest {
    assembly: Assembly,
    leaves: Vec<Leaf>,
    zeros: Vec<Leaf>,
    rows: Option<Range<u64>>,
}

/// Pages of a column that are to be read.
#[derive(Debug)]
struct Pick {
    leaf: Leaf,
    pieces: Vec<Range<u64>>,
    /// The rows to keep, counted from the first row of the pages.
    rows: Option<Range<u64>>,
    /// Where it is at hand; its page is then not among the pieces.
    dictionary: Option<Arc<Dictionary>>,
}

/// The rows of a row group that are wanted.
enum Rows {
    None,
    All,
    Some(Range<u64>),
}

/// Either what was asked for, or the ranges that must come first.
enum Have<T> {
    Yes(T),
    Need(Vec<Range<u64>>),
}

impl Scan {
    /// Reads what `projection` wants of the row groups `row_groups` (those the block does not have are
    /// left out), one table a row group.
    ///
    /// # Errors
    /// [`BlockError::Format`] for formats that are not read here.
    pub fn new(
        meta: &Meta,
        footer: Arc<Footer>,
        row_groups: Range<usize>,
        projection: Projection,
    ) -> Result<Self, BlockError> {
        meta.version()?;
        let groups = row_groups.start..row_groups.end.min(footer.row_groups());
        let wanted = Wanted::new(projection);
        let (held, known, decoded) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (target, window, stage, dictionaries) = (None, None, Stage::Rows, None);
        let stop = Stop::default();
        Ok(Self { footer, wanted, groups, target, window, stage, held, dictionaries, known, decoded, stop })
    }

    /// Where only some rows are read: with dictionaries that are at hand, and keeping those that are not.
    #[must_use]
    pub fn with_dictionaries(self, dictionaries: Arc<dyn Dictionaries>) -> Self {
        Self { dictionaries: Some(dictionaries), ..self }
    }

    /// Ends with [`BlockError::Stopped`] at the next page when it is told to.
    #[must_use]
    pub fn until(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// Reads what `projection` wants of the traces `rows` of one row group, counted from its first; what the
    /// row group does not have of them is left out. Yields one table, or none where nothing is left. Only
    /// the pages that hold these rows are asked for, and of each column its dictionary.
    ///
    /// # Errors
    /// As [`Scan::new`].
    pub fn rows(
        meta: &Meta,
        footer: Arc<Footer>,
        row_group: usize,
        rows: Range<u64>,
        projection: Projection,
    ) -> Result<Self, BlockError> {
        let groups = row_group..row_group.saturating_add(1);
        Ok(Self { window: Some(rows), ..Self::new(meta, footer, groups, projection)? })
    }

    /// Reads one trace whole. Yields one table of that trace, or none where the block does not hold it.
    ///
    /// # Errors
    /// As [`Scan::new`].
    pub fn trace(meta: &Meta, footer: Arc<Footer>, id: TraceId) -> Result<Self, BlockError> {
        Self::excerpt(meta, footer, id, Projection::Everything)
    }

    /// As [`Scan::trace`], but only what `projection` wants of the trace.
    ///
    /// # Errors
    /// As [`Scan::new`].
    pub fn excerpt(
        meta: &Meta,
        footer: Arc<Footer>,
        id: TraceId,
        projection: Projection,
    ) -> Result<Self, BlockError> {
        let all = 0..footer.row_groups();
        Ok(Self { target: Some(id), ..Self::new(meta, footer, all, projection)? })
    }

    /// Whether it reads one trace.
    #[must_use]
    pub fn is_lookup(&self) -> bool {
        self.target.is_some()
    }

    /// What to do next.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] and [`BlockError::Limit`]; the scan is then over.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and needs bytes between two calls")]
    pub fn next(&mut self) -> Result<Step, BlockError> {
        let step = self.step();
        if step.is_err() {
            self.groups = 0..0;
        }
        step
    }

    /// Hands over bytes that were asked for, each with its range.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] where the bytes are not as long as their range.
    pub fn supply(&mut self, bytes: Vec<(Range<u64>, Bytes)>) -> Result<(), BlockError> {
        for (range, bytes) in bytes {
            if range.end.checked_sub(range.start) != Some(bytes.len() as u64) {
                let reason = format!("{} bytes fetched for {range:?}", bytes.len());
                return Err(BlockError::corrupt("data.parquet", reason));
            }
            self.held.insert(range.start, bytes);
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Step, BlockError> {
        while !self.groups.is_empty() {
            match std::mem::replace(&mut self.stage, Stage::Rows) {
                Stage::Rows => match self.find_rows()? {
                    Have::Need(ranges) => return Ok(Step::Need(ranges)),
                    Have::Yes(Rows::None) => self.end_group(),
                    Have::Yes(Rows::All) => self.stage = Stage::Columns(None),
                    Have::Yes(Rows::Some(rows)) => self.stage = Stage::Columns(Some(rows)),
                },
                Stage::Columns(rows) => {
                    if let Have::Need(ranges) = self.structure(rows)? {
                        return Ok(Step::Need(ranges));
                    }
                }
                Stage::Rest(rest) => {
                    let Rest { mut assembly, leaves, zeros, rows } = *rest;
                    for leaf in leaves {
                        let (spec, _) = self.footer.chunk(self.groups.start, leaf)?;
                        let column = match self.decoded.remove(&leaf) {
                            Some(column) => column,
                            None if assembly.has_none_of(leaf) => Column::empty(spec),
                            None => self.task(leaf, rows.as_ref())?.column()?,
                        };
                        assembly.add(&self.wanted, spec, column)?;
                    }
                    for leaf in zeros {
                        assembly.add_zeros(self.footer.chunk(self.groups.start, leaf)?.0);
                    }
                    let all = || self.footer.row_groups.get(self.groups.start).map_or(0, |group| group.rows);
                    assembly.check(rows.as_ref().map_or_else(all, |rows| rows.end - rows.start))?;
                    self.stage = Stage::Values(Box::new(assembly), rows);
                }
                Stage::Values(assembly, rows) => {
                    if let Some(ranges) = self.missing_values(&assembly, rows.as_ref())? {
                        self.stage = Stage::Values(assembly, rows);
                        return Ok(Step::Need(ranges));
                    }
                    let mut decoded = std::mem::take(&mut self.decoded);
                    let read = |leaf| match decoded.remove(&leaf) {
                        None if !self.has_values(leaf) => Ok(None),
                        None => self.task(leaf, rows.as_ref())?.column().map(Some),
                        some => Ok(some),
                    };
                    let table = assembly.finish(self.footer.schema().slots(), read)?;
                    self.end_group();
                    if self.target.is_some() {
                        // A block holds a trace once: there is nothing left to find.
                        self.groups.start = self.groups.end;
                    }
                    return Ok(Step::Table(table));
                }
            }
        }
        Ok(Step::Done)
    }

    /// Of a scan of some rows: what [`Scan::next`] would decode one column after the other, as far as its bytes are
    /// there. Whoever decodes them, on several threads, hands them to [`Scan::decoded`].
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn tasks(&mut self) -> Result<Vec<Task>, BlockError> {
        if let Stage::Columns(Some(rows)) = &self.stage {
            let rows = Some(rows.clone());
            self.structure(rows)?;
        }
        let rows = match &self.stage {
            Stage::Rest(rest) => rest.rows.clone(),
            Stage::Values(_, rows) => rows.clone(),
            _ => None,
        };
        let Some(rows) = rows else { return Ok(Vec::new()) };
        let stage = std::mem::replace(&mut self.stage, Stage::Rows);
        let leaves = self.leaves_to_share(&stage);
        self.stage = stage;
        let new = leaves?.into_iter().filter(|leaf| !self.decoded.contains_key(leaf));
        new.map(|leaf| self.task(leaf, Some(&rows))).collect()
    }

    fn leaves_to_share(&mut self, stage: &Stage) -> Result<Vec<Leaf>, BlockError> {
        Ok(match stage {
            Stage::Rest(rest) => {
                rest.leaves.iter().copied().filter(|leaf| !rest.assembly.has_none_of(*leaf)).collect()
            }
            // Values of other types are looked for where some are missing after these.
            Stage::Values(assembly, rows) if self.missing_values(assembly, rows.as_ref())?.is_none() => {
                let often = |leaf: &Leaf| matches!(leaf, Leaf::Attribute(_, Part::Text | Part::Int));
                assembly.pending().filter(|leaf| often(leaf) && self.has_values(*leaf)).collect()
            }
            _ => Vec::new(),
        })
    }

    /// Takes what tasks came to. What is not handed over is decoded by [`Scan::next`].
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] and [`BlockError::Limit`], of any of the columns.
    pub fn decoded(&mut self, columns: impl IntoIterator<Item = Decoded>) -> Result<(), BlockError> {
        for Decoded { leaf, column } in columns {
            self.decoded.insert(leaf, column?);
        }
        Ok(())
    }

    /// The one row group that can hold the trace that is looked for, by the bounds of the ids: no other is read then.
    /// None where several can, or none.
    pub fn settle_group(&mut self) -> Option<usize> {
        let id = self.target?;
        let mut holding = self.groups.clone().filter(|group| {
            let bounds = self.footer.chunk(*group, Leaf::TraceId).ok().and_then(|(_, chunk)| chunk.bounds);
            bounds.is_none_or(|(first, last)| first <= id && id <= last)
        });
        let group = holding.next().filter(|_| holding.next().is_none())?;
        self.groups = group..group + 1;
        Some(group)
    }

    /// All that the present row group may be asked for, whichever trace is looked for: the columns whole, and their
    /// indexes, but for what came with the footer. Ascending and disjoint.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn columns_whole(&self) -> Result<Vec<Range<u64>>, BlockError> {
        let group = self.groups.start;
        let mut leaves = self.wanted.columns(&self.footer, group)?.leaves;
        let values = |leaf: &Leaf| match *leaf {
            Leaf::Attribute(level, Part::Key) => Some(level),
            _ => None,
        };
        let levels: Vec<_> = leaves.iter().filter_map(values).collect();
        let parts = levels.iter().flat_map(|level| Part::ALL.map(|part| Leaf::Attribute(*level, part)));
        leaves.extend(parts.filter(|leaf| self.has_values(*leaf)));
        leaves.push(Leaf::TraceId);
        let chunks = leaves.iter().map(|leaf| self.footer.chunk(group, *leaf).map(|(_, chunk)| chunk));
        let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
        let ranges = chunks.iter().flat_map(|chunk| {
            [Some(&chunk.range), chunk.offset_index.as_ref(), chunk.column_index.as_ref()]
                .into_iter()
                .flatten()
        });
        Ok(self.missing(ranges).unwrap_or_default())
    }

    fn end_group(&mut self) {
        self.groups.start += 1;
        self.held.clear();
        self.known.clear();
        self.decoded.clear();
    }

    /// Which rows of the present row group are wanted.
    fn find_rows(&mut self) -> Result<Have<Rows>, BlockError> {
        let rows = self.footer.row_groups.get(self.groups.start).map_or(0, |group| group.rows);
        let Some(id) = self.target else {
            let window = self.window.clone().map_or(0..rows, |window| window.start..window.end.min(rows));
            return Ok(Have::Yes(match window {
                none if none.is_empty() => Rows::None,
                all if all == (0..rows) => Rows::All,
                some => Rows::Some(some),
            }));
        };
        let (_, chunk) = self.footer.chunk(self.groups.start, Leaf::TraceId)?;
        if rows == 0 || chunk.bounds.is_some_and(|(first, last)| id < first || id > last) {
            return Ok(Have::Yes(Rows::None));
        }
        let indexes: Vec<_> = [&chunk.offset_index, &chunk.column_index].into_iter().flatten().collect();
        if let Some(ranges) = self.missing(indexes.into_iter()) {
            return Ok(Have::Need(ranges));
        }
        let pages = self.pages_of_id(chunk, id)?;
        if let Some(ranges) = self.missing(pages.iter().map(|(range, _)| range)) {
            return Ok(Have::Need(ranges));
        }
        for (range, first) in pages {
            let pick = Pick { leaf: Leaf::TraceId, pieces: vec![range], rows: None, dictionary: None };
            let Values::Bytes(ids) = self.task_of(pick)?.column()?.values else { continue };
            let row = ids.indexes.iter().position(|&at| ids.entry(at) == id.0);
            if let Some(row) = row {
                let row = first.saturating_add(row as u64);
                return Ok(Have::Yes(Rows::Some(row..row.saturating_add(1))));
            }
        }
        Ok(Have::Yes(Rows::None))
    }

    /// The pages of the ids that may hold `id`, each with its first row.
    fn pages_of_id(&self, chunk: &Chunk, id: TraceId) -> Result<Vec<(Range<u64>, u64)>, BlockError> {
        let Some(offsets) = &chunk.offset_index else {
            return Ok(vec![(chunk.range.clone(), 0)]);
        };
        if chunk.dictionary.is_some() {
            return Ok(vec![(chunk.range.clone(), 0)]);
        }
        let pages = footer::offset_index(&self.bytes(offsets)?, chunk)?;
        let bounds = match &chunk.column_index {
            Some(index) => footer::page_bounds(&self.bytes(index)?)?,
            None => Vec::new(),
        };
        let may_hold = |at: usize| match bounds.get(at) {
            Some(Some((first, last))) => *first <= id && id <= *last,
            _ => true,
        };
        let pages = pages.iter().enumerate().filter(|(at, _)| may_hold(*at));
        Ok(pages.map(|(_, page)| page.clone()).collect())
    }

    /// Decodes the columns that say how the others hang together, once the bytes of all columns of the projection are
    /// there, of `rows`.
    fn structure(&mut self, rows: Option<Range<u64>>) -> Result<Have<()>, BlockError> {
        let plan = self.wanted.columns(&self.footer, self.groups.start)?;
        self.stage = Stage::Columns(rows.clone());
        if rows.is_some() {
            let chunks = plan.leaves.iter().map(|leaf| self.footer.chunk(self.groups.start, *leaf));
            let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
            let indexes = chunks.iter().filter_map(|(_, chunk)| chunk.offset_index.as_ref());
            if let Some(ranges) = self.missing(indexes) {
                return Ok(Have::Need(ranges));
            }
            self.recall(&plan.leaves)?;
        }
        let picks = self.picks(&plan.leaves, rows.as_ref())?;
        if let Some(ranges) = self.missing(picks.iter().flat_map(|pick| &pick.pieces)) {
            return Ok(Have::Need(ranges));
        }
        let mut assembly = Assembly::new(&plan);
        let mut leaves = plan.leaves;
        let first: Vec<_> = leaves.extract_if(.., |leaf| assembly.comes_first(*leaf)).collect();
        leaves.retain(|leaf| !leaf.is_attribute_value());
        for leaf in first {
            let (spec, _) = self.footer.chunk(self.groups.start, leaf)?;
            assembly.add(&self.wanted, spec, self.task(leaf, rows.as_ref())?.column()?)?;
        }
        self.stage = Stage::Rest(Box::new(Rest { assembly, leaves, zeros: plan.zeros, rows }));
        Ok(Have::Yes(()))
    }

    /// What is to be fetched of the values of attributes.
    fn missing_values(
        &mut self,
        assembly: &Assembly,
        rows: Option<&Range<u64>>,
    ) -> Result<Option<Vec<Range<u64>>>, BlockError> {
        let there: Vec<_> = assembly.pending().filter(|leaf| self.has_values(*leaf)).collect();
        if rows.is_some() {
            self.recall(&there)?;
        }
        let picks = self.picks(&there, rows)?;
        Ok(self.missing(picks.iter().flat_map(|pick| &pick.pieces)))
    }

    /// Whether a column of attributes' values says anything: one of flags that none is set of does not.
    fn has_values(&self, leaf: Leaf) -> bool {
        let group = self.groups.start;
        let is_flag = matches!(leaf, Leaf::Attribute(_, Part::IsArray));
        !(self.footer.is_empty(group, leaf) || is_flag && self.footer.is_zero(group, leaf))
    }

    fn picks(&self, leaves: &[Leaf], rows: Option<&Range<u64>>) -> Result<Vec<Pick>, BlockError> {
        leaves.iter().map(|leaf| self.pick(*leaf, rows.cloned())).collect()
    }

    /// Takes hold of those dictionaries of the columns that are at hand: they may be gone the next moment.
    fn recall(&mut self, leaves: &[Leaf]) -> Result<(), BlockError> {
        let Some(dictionaries) = &self.dictionaries else { return Ok(()) };
        for leaf in leaves {
            let (_, chunk) = self.footer.chunk(self.groups.start, *leaf)?;
            let place = chunk.range.start;
            if chunk.dictionary.is_none() || self.known.contains_key(&place) {
                continue;
            }
            if let Some(dictionary) = dictionaries.get(place) {
                self.known.insert(place, dictionary);
            }
        }
        Ok(())
    }

    /// All pages of a column.
    fn whole(&self, leaf: Leaf) -> Result<Pick, BlockError> {
        let (_, chunk) = self.footer.chunk(self.groups.start, leaf)?;
        Ok(Pick { leaf, pieces: vec![chunk.range.clone()], rows: None, dictionary: None })
    }

    /// The pages of a column that hold `rows`.
    fn pick(&self, leaf: Leaf, rows: Option<Range<u64>>) -> Result<Pick, BlockError> {
        let (_, chunk) = self.footer.chunk(self.groups.start, leaf)?;
        let (Some(rows), Some(offsets)) = (rows.clone(), &chunk.offset_index) else {
            return Ok(Pick { rows, ..self.whole(leaf)? });
        };
        let pages = footer::offset_index(&self.bytes(offsets)?, chunk)?;
        let first = pages.iter().rposition(|(_, row)| *row <= rows.start).unwrap_or(0);
        let holding: Vec<_> = pages.iter().skip(first).take_while(|(_, row)| *row < rows.end).collect();
        let before = holding.first().map_or(0, |(_, row)| *row);
        let dictionary = self.known.get(&chunk.range.start).cloned();
        let page = chunk.dictionary.clone().filter(|_| dictionary.is_none()).map(|_| {
            let end = pages.first().map_or(chunk.range.end, |(range, _)| range.start);
            chunk.range.start..end
        });
        let pieces = page.into_iter().chain(holding.into_iter().map(|(range, _)| range.clone()));
        let rows = rows.start.saturating_sub(before)..rows.end.saturating_sub(before);
        Ok(Pick { leaf, pieces: pieces.collect(), rows: Some(rows), dictionary })
    }

    /// Decoding a column, whose bytes are there.
    fn task(&self, leaf: Leaf, rows: Option<&Range<u64>>) -> Result<Task, BlockError> {
        self.task_of(self.pick(leaf, rows.cloned())?)
    }

    fn task_of(&self, pick: Pick) -> Result<Task, BlockError> {
        let Pick { leaf, pieces, rows, dictionary } = pick;
        let pages = pieces.iter().map(|piece| self.bytes(piece)).collect::<Result<_, _>>()?;
        let (footer, keeper) = (Arc::clone(&self.footer), self.dictionaries.clone());
        let (group, stop) = (self.groups.start, self.stop.clone());
        Ok(Task { footer, group, leaf, pages, rows, dictionary, keeper, stop })
    }

    /// Those of `ranges` that were not handed over yet, in the file's order.
    fn missing<'a>(&self, ranges: impl Iterator<Item = &'a Range<u64>>) -> Option<Vec<Range<u64>>> {
        let missing = disjoint(ranges.filter(|range| self.bytes(range).is_err()));
        (!missing.is_empty()).then_some(missing)
    }

    fn bytes(&self, range: &Range<u64>) -> Result<Bytes, BlockError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let upto = (Bound::Unbounded, Bound::Included(range.start));
        let held = self.held.range(upto).next_back().and_then(|(start, bytes)| {
            let from = (range.start - start) as usize;
            let to = (range.end - start) as usize;
            (to <= bytes.len()).then(|| bytes.slice(from..to))
        });
        held.or_else(|| self.footer.fetched(range))
            .ok_or_else(|| BlockError::corrupt("data.parquet", format!("{range:?} was not handed over")))
    }
}

/// Ranges that cover those given, ascending and disjoint: nothing is asked for twice.
pub(crate) fn disjoint<'a>(ranges: impl Iterator<Item = &'a Range<u64>>) -> Vec<Range<u64>> {
    let mut all: Vec<_> = ranges.filter(|range| !range.is_empty()).cloned().collect();
    all.sort_unstable_by_key(|range| range.start);
    // Columns that overlap are no Parquet file's; what several scans need is often the same.
    all.dedup_by(|next, before| {
        let overlap = next.start < before.end;
        before.end = if overlap { before.end.max(next.end) } else { before.end };
        overlap
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_need_is_read_once() {
        let needed = [[5..9, 20..30], [0..6, 22..25], [9..12, 40..41]];
        assert_eq!(disjoint(needed.iter().flatten()), [0..9, 9..12, 20..30, 40..41]);
    }
}
