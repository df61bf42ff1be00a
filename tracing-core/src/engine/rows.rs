//! Single traces of a row group, of which an answer shows something: read side by side, so that a bucket is asked as often
//! for some of them as for one, and kept by the store's cache. IO.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;

use super::pieces::Group;
use super::{Engine, EngineError};
use crate::block::{BlockError, Meta, Scan, Step, Stop};
use crate::store::DATA;
use crate::store::cache::Weigh;
use crate::table::{Projection, SpanTable};

/// What is shown of one trace.
struct Shown {
    row: u64,
    projection: Projection,
    table: Arc<SpanTable>,
}

impl Weigh for Shown {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.projection.bytes() + self.table.bytes()
    }
}

impl Group<'_> {
    /// A table of each of these traces, with what `projection` wants of it, in the order of `rows`; none of a row that the
    /// row group does not have.
    pub(super) async fn rows(
        &mut self,
        rows: &[u64],
        projection: &Projection,
    ) -> Result<Vec<Option<Arc<SpanTable>>>, EngineError> {
        let cache = self.engine.store.cache();
        let mut tables = Vec::with_capacity(rows.len());
        let mut scans = Vec::new();
        for (place, &row) in rows.iter().enumerate() {
            let shown = cache.get::<Shown>(&self.key(&(row, projection)));
            let shown = shown.filter(|shown| shown.row == row && shown.projection == *projection);
            if shown.is_none() {
                let (footer, only) = (Arc::clone(self.footer), row..row.saturating_add(1));
                let scan = Scan::rows(self.meta, footer, self.group, only, projection.clone())?;
                scans.push((place, scan.with_dictionaries(self.engine.dictionaries(self.meta.id))));
            }
            self.bytes += shown.as_ref().map_or(0, |shown| shown.table.bytes() as u64);
            tables.push(shown.map(|shown| Arc::clone(&shown.table)));
        }
        for (place, table) in self.engine.drive_together(self.meta, scans, &mut self.bytes).await? {
            let (Some(&row), Some(slot)) = (rows.get(place), tables.get_mut(place)) else { continue };
            let (table, projection) = (Arc::new(table), projection.clone());
            *slot = Some(Arc::clone(&table));
            cache.put(self.key(&(row, &projection)), Arc::new(Shown { row, projection, table }));
        }
        Ok(tables)
    }
}

/// Scans with what tells them apart.
type Scans = Vec<(usize, Scan)>;

/// How far some scans came without more bytes.
#[derive(Default)]
struct Round {
    /// Those that need some, and what.
    waiting: Vec<(usize, Scan, Vec<Range<u64>>)>,
    tables: Vec<(usize, SpanTable)>,
}

impl Engine {
    /// Runs scans of a block that yield one table each, or none. What they need next is read at once, and the bytes it
    /// takes are counted. Whoever drops this stops what runs for it, too.
    async fn drive_together(
        &self,
        meta: &Meta,
        scans: Scans,
        bytes: &mut u64,
    ) -> Result<Vec<(usize, SpanTable)>, EngineError> {
        let stop = Stop::default();
        let _gone = stop.on_drop();
        let mut scans: Scans = scans.into_iter().map(|(at, scan)| (at, scan.until(stop.clone()))).collect();
        let mut tables = Vec::new();
        while !scans.is_empty() {
            let mut waiting = Vec::new();
            for round in self.round(scans).await? {
                tables.extend(round.tables);
                waiting.extend(round.waiting);
            }
            let wanted = union(waiting.iter().flat_map(|(_, _, ranges)| ranges));
            let read = match &wanted[..] {
                [] => Vec::new(),
                some => self.store.read_ranges(&meta.tenant, meta.id, DATA, some).await?,
            };
            *bytes += read.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
            scans = Vec::with_capacity(waiting.len());
            for (at, mut scan, ranges) in waiting {
                scan.supply(ranges.into_iter().map(|range| part(&wanted, &read, range)).collect())?;
                scans.push((at, scan));
            }
        }
        Ok(tables)
    }

    /// Takes each scan as far as it comes, on all threads.
    async fn round(&self, scans: Scans) -> Result<Vec<Round>, EngineError> {
        let share = scans.len().div_ceil(self.threads).max(1);
        let mut scans = scans.into_iter();
        let parts = std::iter::from_fn(|| {
            Some(scans.by_ref().take(share).collect()).filter(|part: &Scans| !part.is_empty())
        });
        let rounds = try_join_all(parts.map(|part| self.pool.run(move || step(part)))).await?;
        Ok(rounds.into_iter().collect::<Result<_, _>>()?)
    }
}

/// Takes each scan as far as it comes. Blocking.
fn step(scans: Scans) -> Result<Round, BlockError> {
    let mut round = Round::default();
    for (at, mut scan) in scans {
        match scan.next()? {
            Step::Need(ranges) => round.waiting.push((at, scan, ranges)),
            Step::Table(table) => round.tables.push((at, table)),
            Step::Done => {}
        }
    }
    Ok(round)
}

/// Ranges that cover those given, ascending and disjoint.
fn union<'a>(ranges: impl Iterator<Item = &'a Range<u64>>) -> Vec<Range<u64>> {
    let mut all: Vec<_> = ranges.filter(|range| !range.is_empty()).cloned().collect();
    all.sort_unstable_by_key(|range| range.start);
    all.dedup_by(|next, before| {
        let overlaps = next.start < before.end;
        before.end = if overlaps { before.end.max(next.end) } else { before.end };
        overlaps
    });
    all
}

/// A range that is among those read, with its bytes.
fn part(wanted: &[Range<u64>], read: &[Bytes], range: Range<u64>) -> (Range<u64>, Bytes) {
    let at = wanted.partition_point(|wanted| wanted.start <= range.start).saturating_sub(1);
    let bytes = wanted.get(at).zip(read.get(at)).and_then(|(from, bytes)| {
        let first = usize::try_from(range.start.checked_sub(from.start)?).ok()?;
        let last = usize::try_from(range.end.checked_sub(from.start)?).ok()?;
        (last <= bytes.len()).then(|| bytes.slice(first..last))
    });
    (range, bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_need_is_read_once_and_each_gets_its_own() {
        let needed = [[5..9, 20..30], [0..6, 22..25], [9..12, 40..41]];
        let wanted = union(needed.iter().flatten());
        assert_eq!(wanted, [0..9, 9..12, 20..30, 40..41]);
        let read: Vec<_> =
            wanted.iter().map(|range| (range.start as u8..range.end as u8).collect::<Bytes>()).collect();
        for range in needed.into_iter().flatten() {
            let expected: Bytes = (range.start as u8..range.end as u8).collect();
            assert_eq!(part(&wanted, &read, range.clone()), (range, expected));
        }
        assert_eq!(part(&wanted, &read, 13..14).1, Bytes::new(), "was not read");
        assert_eq!(part(&[], &[], 0..1).1, Bytes::new());
    }
}
