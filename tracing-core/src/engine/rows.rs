//! Single traces of a row group, of which an answer shows something: read side by side, so that a bucket is asked as often
//! for some of them as for one, and kept by the store's cache. IO.

use std::ops::Range;
use std::sync::Arc;

use futures::future::try_join_all;

use super::block::length;
use super::pieces::Group;
use super::{Engine, EngineError};
use crate::block::{BlockError, Meta, Scan, Step, Stop, disjoint};
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
    /// Those that need more.
    waiting: Scans,
    needed: Vec<Range<u64>>,
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
        loop {
            let (mut waiting, mut needed) = (Vec::new(), Vec::new());
            for round in self.round(scans).await? {
                tables.extend(round.tables);
                waiting.extend(round.waiting);
                needed.extend(round.needed);
            }
            scans = waiting;
            if scans.is_empty() {
                return Ok(tables);
            }
            let needed = disjoint(needed.iter());
            let read = self.store.read_ranges(&meta.tenant, meta.id, DATA, &needed).await?;
            *bytes += length(&read);
            // A scan finds its own in what is handed over, and what others need costs it nothing.
            let parts: Vec<_> = needed.into_iter().zip(read).collect();
            for (_, scan) in &mut scans {
                scan.supply(parts.clone())?;
            }
        }
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
            Step::Need(ranges) => {
                round.needed.extend(ranges);
                round.waiting.push((at, scan));
            }
            Step::Table(table) => round.tables.push((at, table)),
            Step::Done => {}
        }
    }
    Ok(round)
}
