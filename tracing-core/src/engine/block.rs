//! Searching a block: what its sketch rules out is not read; of the rest first the columns that decide, and of
//! row groups with matches those that are shown. A search that names its traces looks them up.

use std::ops::Range;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Combiner, Engine, EngineError, SearchLimits, SearchPart, SearchStats};
use crate::block::{Footer, Meta, Scan, Step};
use crate::model::TraceId;
use crate::store::DATA;
use crate::table::evaluate::{self, Matches};
use crate::table::{Projection, SpanTable};
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
            if !self.may_match(meta, plan).await {
                return Ok(SearchPart::default());
            }
            match plan.trace_ids() {
                Some(ids) => self.search_traces(meta, row_groups, plan, limits, &ids).await,
                None => self.search_row_groups(meta, row_groups, plan, limits).await,
            }
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
        let mut combiner = Combiner::new(limits.limit);
        for &id in ids.iter().filter(|_| row_groups.start == 0) {
            if !self.bloom(meta, id).await? {
                continue;
            }
            let Some((table, inspected_bytes)) = self.trace_of_block(meta, id).await? else { continue };
            let plan = Arc::clone(plan);
            let search = move || {
                let matches = evaluate::search(&plan, &table, None, limits.window);
                let (inspected_traces, inspected_spans) = (matches.inspected_traces, matches.inspected_spans);
                let stats = SearchStats { inspected_traces, inspected_bytes, inspected_spans };
                SearchPart { hits: evaluate::hits(&plan, &table, &matches, limits.spss), stats }
            };
            combiner.add(self.pool.run(search).await?);
        }
        Ok(combiner.finish())
    }

    async fn search_row_groups(
        &self,
        meta: &Arc<Meta>,
        row_groups: Range<usize>,
        plan: &Arc<Plan>,
        limits: SearchLimits,
    ) -> Result<SearchPart, EngineError> {
        let footer = self.footer(meta).await?;
        let mut combiner = Combiner::new(limits.limit);
        let (predicate, output) = (evaluate::predicate(plan), evaluate::output(plan));
        for group in row_groups.start..row_groups.end.min(footer.row_groups()) {
            let _held = self.row_groups.acquire().await.map_err(|_| EngineError::Cancelled)?;
            let mut scan = Reader { engine: self, meta, footer: &footer, group, bytes: 0 };
            let Some(table) = scan.table(predicate.clone()).await? else { continue };
            let (asked, cutoff) = (Arc::clone(plan), combiner.cutoff());
            let matches = self.pool.run(move || {
                let mut matches = evaluate::search(&asked, &table, None, limits.window);
                matches.keep_newest(limits.limit, cutoff);
                matches
            });
            let matches: Matches = matches.await?;
            let mut part = SearchPart {
                stats: SearchStats {
                    inspected_traces: matches.inspected_traces,
                    inspected_spans: matches.inspected_spans,
                    inspected_bytes: 0,
                },
                hits: Vec::new(),
            };
            if !matches.is_empty()
                && let Some(table) = scan.table(output.clone()).await?
            {
                let asked = Arc::clone(plan);
                let hits = move || evaluate::hits(&asked, &table, &matches, limits.spss);
                part.hits = self.pool.run(hits).await?;
            }
            part.stats.inspected_bytes = scan.bytes;
            combiner.add(part);
        }
        Ok(combiner.finish())
    }

    /// Runs a scan to its next table, and counts the bytes it takes.
    pub(super) async fn drive(
        &self,
        meta: &Meta,
        mut scan: Scan,
        bytes: &mut u64,
    ) -> Result<Option<SpanTable>, EngineError> {
        loop {
            let stepped = move || {
                let step = scan.next();
                (scan, step)
            };
            let (back, step) = self.pool.run(stepped).await?;
            scan = back;
            let ranges = match step? {
                Step::Done => return Ok(None),
                Step::Table(table) => return Ok(Some(table)),
                Step::Need(ranges) => ranges,
            };
            let read = self.store.read_ranges(&meta.tenant, meta.id, DATA, &ranges).await?;
            *bytes += read.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
            scan.supply(ranges.into_iter().zip(read).collect())?;
        }
    }
}

/// One row group, read for one projection after the other.
struct Reader<'a> {
    engine: &'a Engine,
    meta: &'a Meta,
    footer: &'a Arc<Footer>,
    group: usize,
    bytes: u64,
}

impl Reader<'_> {
    async fn table(&mut self, projection: Projection) -> Result<Option<SpanTable>, EngineError> {
        let groups = self.group..self.group + 1;
        let scan = Scan::new(self.meta, Arc::clone(self.footer), groups, projection)?;
        self.engine.drive(self.meta, scan, &mut self.bytes).await
    }
}
