//! Looking a trace up by its id: in every ingester and in every block that may hold it, and put together
//! once from what all of them have.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tracing_core::{
    block::Meta,
    model::{Tenant, TraceId},
    table::{SpanTable, TableBuilder},
};

use super::{
    Cost, Frontend, SecondsRange, Seen,
    error::QueryError,
    job::{FailureKind, Found, Search, Work},
    metrics::Op,
    names,
    run::Run,
};

/// Parts up to this many bytes are put together where they arrive; more go to a thread that may block.
const INLINE_BYTES: usize = 64 * 1024;

/// A trace put together.
#[derive(Debug)]
pub(crate) struct FoundTrace {
    /// The trace as the only one of a table.
    pub(crate) table: SpanTable,
    /// Length of the parts that it was put together from.
    pub(crate) bytes: u64,
}

/// A lookup under way.
pub(super) struct Lookup<'a> {
    frontend: &'a Frontend,
    id: TraceId,
    /// Whose columns are read alone.
    search: Option<Arc<Search>>,
    range: Option<SecondsRange>,
    /// Blocks outside of `range`.
    aside: Vec<Arc<Meta>>,
    seen: Seen,
    run: Run,
}

impl Frontend {
    /// The trace `id` of `tenants`, `None` where nobody has a span of it. `range` names the blocks that are
    /// looked into first: only where they hold nothing of the trace, all others are looked into as well.
    pub(crate) async fn find_trace(
        &self,
        tenants: &[Tenant],
        id: TraceId,
        range: Option<SecondsRange>,
    ) -> Result<Option<FoundTrace>, QueryError> {
        let began = Instant::now();
        let watch = self.metrics.watch(names(tenants), Op::traces);
        let outcome = Lookup::new(self, id, range, self.options.lookup_timeout).answer(tenants).await;
        let (found, cost) = match &outcome {
            Ok((found, cost)) => (found.as_ref(), *cost),
            Err(_) => (None, Cost::default()),
        };
        let (spans, bytes) = found.map_or((0, 0), |found| (found.table.span_count(), found.bytes));
        watch.end(bytes, outcome.as_ref().err());
        tracing::info!(
            tenant = names(tenants),
            trace_id = %id,
            duration_ms = began.elapsed().as_millis() as u64,
            jobs = cost.jobs,
            blocks = cost.blocks,
            bytes,
            spans,
            error = outcome.as_ref().err().map(tracing::field::display),
            "trace lookup"
        );
        outcome.map(|(found, _)| found)
    }
}

impl<'a> Lookup<'a> {
    /// Of one trace; `range` as for [`Frontend::find_trace`].
    pub(super) fn new(
        frontend: &'a Frontend,
        id: TraceId,
        range: Option<SecondsRange>,
        timeout: Duration,
    ) -> Self {
        let run = Run::new(frontend.queue(), &frontend.options, timeout);
        let (search, aside, seen) = (None, Vec::new(), Seen::default());
        Self { frontend, id, search, range, aside, seen, run }
    }

    /// Only what `search` needs to decide whether the trace matches, and to show it.
    pub(super) fn for_search(self, search: Arc<Search>) -> Self {
        Self { search: Some(search), ..self }
    }

    /// The trace, and what it cost to find it.
    pub(super) async fn answer(
        mut self,
        tenants: &[Tenant],
    ) -> Result<(Option<FoundTrace>, Cost), QueryError> {
        self.frontend.heirs(self.run.deadline()).await?;
        for tenant in tenants {
            self.add_ingesters(tenant);
            let metas = self.frontend.blocks(tenant, &mut self.seen, self.run.deadline()).await?;
            self.add_blocks(metas).await;
        }
        let mut parts = Vec::new();
        loop {
            let Some(done) = self.run.next().await? else {
                if !parts.is_empty() || self.aside.is_empty() {
                    break;
                }
                let aside = std::mem::take(&mut self.aside);
                self.add_jobs(&aside).await;
                continue;
            };
            match done.result {
                Ok(Found::Trace { parts: found, recent }) => {
                    parts.extend(found);
                    let (seen, deadline) = (&mut self.seen, self.run.deadline());
                    let metas = self.frontend.named(&done.tenant, recent, seen, deadline).await?;
                    self.add_blocks(metas).await;
                }
                Ok(Found::Search { .. }) => {
                    let what = done.work.subject();
                    return Err(QueryError::Failed {
                        what,
                        reason: "answered a lookup with a search".into(),
                    });
                }
                Err(failure) => {
                    let is_block_gone = failure.kind == FailureKind::BlockGone;
                    if self
                        .frontend
                        .look_elsewhere(&done.tenant, &done.work, failure, self.run.deadline())
                        .await?
                    {
                        self.seen.ask_all_again();
                    }
                    if is_block_gone {
                        self.ask_one_by_one(&done.tenant, &done.work)?;
                    }
                    self.add_ingesters(&done.tenant);
                    let metas = self.frontend.store.blocks(&done.tenant).to_vec();
                    self.add_blocks(metas).await;
                }
            }
        }
        Ok((assemble(self.id, parts, self.search.is_none()).await?, self.run.cost))
    }

    /// One of the blocks of a job is gone, and the others were not asked: each becomes a job of its own. What
    /// the one held stands in a block that is new to the list.
    fn ask_one_by_one(&mut self, tenant: &Tenant, work: &Work) -> Result<(), QueryError> {
        let listed = self.frontend.still_listed(tenant, work)?;
        let holding = matches!(work, Work::FindInBlocks { holding: true, .. });
        for meta in listed {
            self.run.add(tenant, self.find_in(vec![meta], holding));
        }
        Ok(())
    }

    fn find_in(&self, metas: Vec<Arc<Meta>>, holding: bool) -> Work {
        Work::FindInBlocks { id: self.id, metas, holding, search: self.search.clone() }
    }

    /// Adds a job for each ingester that is not asked yet.
    fn add_ingesters(&mut self, tenant: &Tenant) {
        for ingester in self.frontend.ingesters() {
            if self.seen.is_new(tenant, &ingester) {
                self.run.add(tenant, Work::FindLive { id: self.id, ingester });
            }
        }
    }

    /// Adds jobs for those of `metas` that are new to this lookup and overlap its range.
    async fn add_blocks(&mut self, metas: Vec<Arc<Meta>>) {
        let mut news = self.seen.news(metas);
        if let Some((since, until)) = self.range.map(SecondsRange::nanos) {
            self.aside.extend(news.extract_if(.., |meta| {
                let (start, end) = meta.nanos();
                start > until || end < since
            }));
        }
        self.add_jobs(&news).await;
    }

    /// Adds jobs for the blocks that may hold the trace: which these are, the filter over trace ids says.
    async fn add_jobs(&mut self, news: &[Arc<Meta>]) {
        self.run.cost.blocks += news.len() as u64;
        self.run.cost.block_bytes += news.iter().map(|meta| meta.size).sum::<u64>();
        for of_tenant in news.chunk_by(|a, b| a.tenant == b.tenant) {
            let Some(first) = of_tenant.first() else { continue };
            let narrowed = self.frontend.store.narrow(&first.tenant, &[self.id], of_tenant).await;
            for (metas, holding) in [(narrowed.holding, true), (narrowed.unknown, false)] {
                for metas in metas.chunks(self.frontend.options.blocks_per_lookup.max(1)) {
                    let work = self.find_in(metas.to_vec(), holding);
                    self.run.add(&first.tenant, work);
                }
            }
        }
    }
}

/// One trace of its parts, each of which is a TracesData. Parts that are not whole say less of a span than others.
async fn assemble(id: TraceId, parts: Vec<Bytes>, whole: bool) -> Result<Option<FoundTrace>, QueryError> {
    if parts.is_empty() {
        return Ok(None);
    }
    let bytes: usize = parts.iter().map(Bytes::len).sum();
    let build = move || {
        let mut builder = if whole { TableBuilder::new() } else { TableBuilder::of_excerpts() };
        builder.begin(id);
        for part in &parts {
            builder.add_otlp(part).map_err(|error| QueryError::Combine(error.to_string()))?;
        }
        Ok(builder.end().map(|_| FoundTrace { table: builder.finish(), bytes: bytes as u64 }))
    };
    if bytes <= INLINE_BYTES {
        return build();
    }
    let built = tokio::task::spawn_blocking(build).await;
    built.unwrap_or_else(|error| Err(QueryError::Combine(error.to_string())))
}
