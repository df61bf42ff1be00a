//! Searching a block: what its sketch rules out is not read; of the rest first the columns that decide, and of
//! row groups with matches those that are shown. A search that names its traces looks them up.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, try_join_all};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::pieces::Group;
use super::{Combiner, Engine, EngineError, SearchLimits, SearchPart, SearchStats};
use crate::block::{Decoded, Meta, Scan, Step, Stop, Task};
use crate::model::TraceId;
use crate::store::{DATA, read_local};
use crate::table::evaluate::{self, Matches, TraceHit};
use crate::table::{PieceOf, Projection, SpanTable, View};
use crate::traceql::Plan;

impl Engine {
    /// Searches row groups of a block; those that it does not have are left out.
    ///
    /// # Errors
    /// Where the block cannot be read or is damaged, or `cancel` is cancelled.
    pub async fn search_block(
        &self,
        meta: &Arc<Meta>,
        row_groups: Range<usize>,
        plan: &Arc<Plan>,
        limits: SearchLimits,
        cancel: CancellationToken,
    ) -> Result<SearchPart, EngineError> {
        let (start, end) = meta.nanos();
        if limits.window.is_some_and(|window| !window.overlaps(start, end)) {
            return Ok(SearchPart::default());
        }
        let search = async {
            // Said once a block, and whatever its own spans match: they may be what another block's lack.
            let continued = if row_groups.start == 0 { self.continued(meta).await? } else { Arc::default() };
            let mut part = match plan.trace_ids() {
                _ if !self.may_match(meta, plan).await => SearchPart::default(),
                Some(ids) => self.search_traces(meta, row_groups, plan, limits, &ids).await?,
                None => self.search_row_groups(meta, row_groups, plan, limits).await?,
            };
            part.continued = continued.entries().to_vec();
            Ok(part)
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EngineError::Cancelled),
            part = search => part,
        }
    }

    /// Searches these traces of a block alone. They are looked for with the block's first row groups: whoever
    /// searches the rest of it finds nothing more.
    async fn search_traces(
        &self,
        meta: &Arc<Meta>,
        row_groups: Range<usize>,
        plan: &Arc<Plan>,
        limits: SearchLimits,
        ids: &[TraceId],
    ) -> Result<SearchPart, EngineError> {
        let mut combiner = Combiner::new(limits.limit, plan.order);
        for &id in ids.iter().filter(|_| row_groups.start == 0) {
            if !self.bloom(meta, id).await? {
                continue;
            }
            let Some((table, inspected_bytes)) =
                self.trace_of_block(meta, id, Projection::Everything).await?
            else {
                continue;
            };
            let plan = Arc::clone(plan);
            let search = move || {
                let matches = evaluate::search(&plan, &table, None, limits.window);
                let (inspected_traces, inspected_spans) = (matches.inspected_traces, matches.inspected_spans);
                let stats = SearchStats { inspected_traces, inspected_bytes, inspected_spans };
                let hits = evaluate::hits(&plan, &table, &matches, limits.spss);
                SearchPart { hits, stats, ..SearchPart::default() }
            };
            combiner.add(self.pool.run(search).await?);
        }
        Ok(combiner.finish())
    }

    /// First what matches of every row group, then of the first of all what is shown: nothing is decoded for
    /// an answer that it does not get into.
    async fn search_row_groups(
        &self,
        meta: &Arc<Meta>,
        row_groups: Range<usize>,
        plan: &Arc<Plan>,
        limits: SearchLimits,
    ) -> Result<SearchPart, EngineError> {
        let footer = self.footer(meta).await?;
        let all = row_groups.start..row_groups.end.min(footer.row_groups());
        let wanted = PieceOf::of(&evaluate::predicate(plan));
        // Boxed one by one: a closure over borrowed metas would keep this future from being `Send`.
        let mut searches: Vec<BoxFuture<'_, Result<_, EngineError>>> = Vec::with_capacity(all.len());
        for group in all {
            let group = Group { engine: self, meta, footer: &footer, group, bytes: 0 };
            searches.push(search_group(group, wanted.clone(), plan, limits).boxed());
        }
        let mut under_way = stream::iter(searches).buffer_unordered(self.threads * 2);
        let mut found: Vec<(Group<'_>, Matches)> = Vec::new();
        let mut combiner = Combiner::new(limits.limit, plan.order);
        while let Some((group, matches)) = under_way.try_next().await? {
            let stats = SearchStats {
                inspected_traces: matches.inspected_traces,
                inspected_spans: matches.inspected_spans,
                inspected_bytes: 0,
            };
            combiner.add(SearchPart { stats, ..SearchPart::default() });
            found.push((group, matches));
        }
        let cutoff = super::combine::cutoff(found.iter().flat_map(|(_, found)| found.ranks()), limits.limit);
        let mut shown: Vec<BoxFuture<'_, Result<_, EngineError>>> = Vec::with_capacity(found.len());
        for (group, mut matches) in found {
            matches.keep_first(limits.limit, cutoff);
            shown.push(show(group, matches, plan, limits.spss).boxed());
        }
        let mut under_way = stream::iter(shown).buffer_unordered(self.threads * 2);
        while let Some(part) = under_way.try_next().await? {
            combiner.add(part);
        }
        Ok(combiner.finish())
    }

    /// Runs a scan to its next table, and counts the bytes it takes. Whoever drops this stops what runs for it, too.
    pub(super) async fn drive(
        &self,
        meta: &Meta,
        mut scan: Scan,
        bytes: &mut u64,
    ) -> Result<Option<SpanTable>, EngineError> {
        let stop = Stop::default();
        let _gone = stop.on_drop();
        scan = scan.until(stop);
        loop {
            // Of a search, row groups would be decoded in another order, in which fewer of their pieces stay in the cache.
            let near = scan.is_lookup().then(|| self.store.path_of(&meta.tenant, meta.id, DATA)).flatten();
            let stepped = move || {
                let stepped = step(&mut scan, near.as_deref());
                (scan, stepped)
            };
            let (back, stepped) = self.pool.run(stepped).await?;
            scan = back;
            let (stepped, read) = stepped?;
            *bytes += read;
            let ranges = match stepped {
                Stepped::Share(tasks) => {
                    scan.decoded(self.share(tasks).await?)?;
                    continue;
                }
                Stepped::Alone(step) => match *step {
                    Step::Done => return Ok(None),
                    Step::Table(table) => return Ok(Some(table)),
                    Step::Need(ranges) => ranges,
                },
            };
            let read = self.store.read_ranges(&meta.tenant, meta.id, DATA, &ranges).await?;
            *bytes += length(&read);
            scan.supply(ranges.into_iter().zip(read).collect())?;
        }
    }
}

/// What a scan came to, alone or with columns that others are to decode.
enum Stepped {
    Alone(Box<Step>),
    Share(Vec<Task>),
}

/// Takes a scan as far as it comes without another thread, with the number of bytes that were read. Blocking.
fn step(scan: &mut Scan, near: Option<&Path>) -> Result<(Stepped, u64), EngineError> {
    let mut bytes = 0;
    loop {
        let tasks = scan.tasks()?;
        if tasks.iter().map(Task::bytes).sum::<usize>() >= SHARED {
            return Ok((Stepped::Share(tasks), bytes));
        }
        let step = scan.next()?;
        if let (Step::Need(ranges), Some(path)) = (&step, near)
            && ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum::<u64>() <= NEAR
            // Whoever awaits it reads it from the store, if it is there by now, or says what is wrong.
            && let Ok(read) = read_local(path, ranges)
        {
            bytes += length(&read);
            scan.supply(ranges.iter().cloned().zip(read).collect())?;
            continue;
        }
        return Ok((Stepped::Alone(Box::new(step)), bytes));
    }
}

/// Bytes that were read.
pub(super) fn length(read: &[Bytes]) -> u64 {
    read.iter().map(|bytes| bytes.len() as u64).sum()
}

impl Engine {
    /// Decodes columns on all threads at once.
    async fn share(&self, mut tasks: Vec<Task>) -> Result<Vec<Decoded>, EngineError> {
        // The largest first, in turn: parts of about the same work.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.bytes()));
        let mut parts: Vec<Vec<Task>> = Vec::new();
        parts.resize_with(self.threads, Vec::new);
        for (at, task) in tasks.into_iter().enumerate() {
            let (round, turn) = (at / self.threads, at % self.threads);
            let turn = if round % 2 == 0 { turn } else { self.threads - 1 - turn };
            if let Some(part) = parts.get_mut(turn) {
                part.push(task);
            }
        }
        let decode =
            |part: Vec<Task>| self.pool.run(move || part.into_iter().map(Task::run).collect::<Vec<_>>());
        let decoded = try_join_all(parts.into_iter().filter(|part| !part.is_empty()).map(decode)).await?;
        Ok(decoded.into_iter().flatten().collect())
    }
}

/// Columns of a few rows are decoded on several threads from so many bytes on.
const SHARED: usize = 32 << 10;
/// So many bytes of a file of this machine are read sooner than another thread has been told to.
const NEAR: u64 = 4 << 20;

/// What matches of a row group.
async fn search_group<'a>(
    mut group: Group<'a>,
    wanted: Vec<PieceOf>,
    plan: &Arc<Plan>,
    limits: SearchLimits,
) -> Result<(Group<'a>, Matches), EngineError> {
    if group.is_ruled_out(&wanted, plan) {
        return Ok((group, Matches::default()));
    }
    let Some(pieces) = group.pieces(wanted).await? else { return Ok((group, Matches::default())) };
    let plan = Arc::clone(plan);
    let search = move || {
        let view = View::of(pieces.iter().map(AsRef::as_ref));
        let mut matches = evaluate::search(&plan, view, None, limits.window);
        matches.keep_first(limits.limit, None);
        matches
    };
    let matches = group.engine.pool.run(search).await?;
    Ok((group, matches))
}

/// Of so many traces of a row group at most, their rows alone are read to show them.
const FEW: usize = 8;

impl Group<'_> {
    /// What an answer shows of the matches.
    async fn hits(
        &mut self,
        plan: &Arc<Plan>,
        matches: Matches,
        spss: usize,
    ) -> Result<Vec<TraceHit>, EngineError> {
        if matches.is_empty() {
            return Ok(Vec::new());
        }
        let projection = evaluate::output(plan);
        let wanted = PieceOf::of(&projection);
        let pieces = match self.at_hand(&wanted) {
            None if matches.traces().len() <= FEW => return self.hits_alone(plan, matches, spss).await,
            None => self.pieces(wanted).await?,
            some => some,
        };
        let Some(pieces) = pieces else { return Ok(Vec::new()) };
        let plan = Arc::clone(plan);
        let hits = move || {
            let view = View::of(pieces.iter().map(AsRef::as_ref));
            evaluate::hits(&plan, view, &matches, spss)
        };
        self.engine.pool.run(hits).await
    }

    /// The same, of these traces alone.
    async fn hits_alone(
        &mut self,
        plan: &Arc<Plan>,
        matches: Matches,
        spss: usize,
    ) -> Result<Vec<TraceHit>, EngineError> {
        let rows: Vec<u64> = matches.traces().map(|row| row as u64).collect();
        let tables = self.rows(&rows, &evaluate::output(plan)).await?;
        let plan = Arc::clone(plan);
        let hits = move || {
            let tables = matches.traces().zip(tables).filter_map(|(row, table)| Some((row, table?)));
            tables
                .flat_map(|(row, table)| evaluate::hits(&plan, &*table, &matches.alone(row), spss))
                .collect()
        };
        self.engine.pool.run(hits).await
    }
}

/// What an answer shows of the matches of a row group, and what it took in all.
async fn show(
    mut group: Group<'_>,
    matches: Matches,
    plan: &Arc<Plan>,
    spss: usize,
) -> Result<SearchPart, EngineError> {
    let hits = group.hits(plan, matches, spss).await?;
    let stats = SearchStats { inspected_bytes: group.bytes, ..SearchStats::default() };
    Ok(SearchPart { hits, stats, ..SearchPart::default() })
}
