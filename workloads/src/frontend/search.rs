//! Searching: a job for each ingester, one for each range of row groups of each block that may hold an
//! answer, newest first, until what is left cannot beat what is found. Where the longest traces are asked for, none can be left out.

use std::{
    collections::HashMap,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc;
use tracing_core::{
    block::Meta,
    engine::{Combiner, SearchLimits, SearchPart},
    model::{Tenant, TraceId},
    table::evaluate::{TimeRange, TraceHit},
    traceql::{Order, Plan},
};

use super::{
    Cost, Frontend, Seen,
    error::QueryError,
    job::{Failure, FailureKind, Found, Search, Work},
    metrics::Op,
    names,
    request::{Form, SearchRequest},
    run::Run,
};

/// How much of a query is logged.
const LOGGED_CHARS: usize = 1000;

/// What a search found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) part: SearchPart,
    pub(crate) cost: Cost,
    /// Why this is not all there is: time was up.
    pub(crate) partial: Option<String>,
}

/// A search under way.
struct Searching<'a> {
    frontend: &'a Frontend,
    search: Arc<Search>,
    /// Blocks that end before this are not looked into.
    since: u64,
    /// Blocks that start after this are not looked into.
    until: u64,
    seen: Seen,
    run: Run,
    told: Option<Told>,
    /// Traces that are wanted; jobs may be asked for more.
    limit: usize,
}

/// How a search ended.
enum Outcome {
    Answer(Answer),
    /// So many traces matched in part and not as a whole, and what they displaced may be missing.
    Short(usize, Option<Told>),
}

/// What a client was told so far.
struct Told {
    to: Progress,
    at: Instant,
    hits: HashMap<TraceId, TraceHit>,
}

impl Told {
    fn new(to: Progress) -> Self {
        Self { to, at: Instant::now(), hits: HashMap::new() }
    }

    /// Leaves of an answer what is news, and remembers it.
    fn news(&mut self, part: &mut SearchPart) {
        part.hits.retain(|hit| self.hits.get(&hit.trace_id) != Some(hit));
        self.hits.extend(part.hits.iter().map(|hit| (hit.trace_id, hit.clone())));
    }
}

/// Who is told of an answer while it grows: each time of the traces that are new or have changed and that
/// nothing can displace any more, and of the cost so far.
pub(crate) type Progress = mpsc::Sender<Result<Answer, QueryError>>;

/// Between two pieces of an answer passes at least this long.
const PIECES: Duration = Duration::from_millis(100);

impl Frontend {
    /// The newest traces of `tenants` that `request` asks for.
    pub(crate) async fn search(
        &self,
        tenants: &[Tenant],
        request: SearchRequest,
    ) -> Result<Answer, QueryError> {
        self.search_in_pieces(tenants, request, None).await
    }

    /// The plan of a search.
    ///
    /// # Errors
    /// [`QueryError::Query`]
    pub(crate) fn plan(&self, form: &Form) -> Result<Arc<Plan>, QueryError> {
        if self.options.traceql_strict {
            form.check_strictly()?;
        }
        Ok(form.plan()?)
    }

    /// As [`Frontend::search`], with the answer told in pieces on the way; the whole is the answer all the
    /// same, less what was told.
    pub(crate) async fn search_in_pieces(
        &self,
        tenants: &[Tenant],
        request: SearchRequest,
        progress: Option<Progress>,
    ) -> Result<Answer, QueryError> {
        let began = Instant::now();
        let plan = self.plan(&request.form)?;
        let watch = self.metrics.watch(names(tenants), Op::search);
        let window = request.range.map(|range| {
            let (start, end) = range.nanos();
            TimeRange { start, end }
        });
        let (since, until) = match window {
            Some(window) => (window.start, window.end),
            None => (nanos_ago(self.options.recent), u64::MAX),
        };
        let spss = match request.spans_per_span_set {
            0 => usize::MAX,
            some => some as usize,
        };
        let limit = request.limit as usize;
        let text: String = request.form.to_string().chars().take(LOGGED_CHARS).collect();
        let (mut told, mut more) = (progress.map(Told::new), 0_usize);
        let deadline = began + self.options.search_timeout;
        let outcome = loop {
            let limits = SearchLimits { limit: limit.saturating_add(more), spss, window };
            let search = Arc::new(Search { form: request.form.clone(), plan: plan.clone(), limits });
            let run =
                Run::new(self.queue(), &self.options, deadline.saturating_duration_since(Instant::now()));
            let seen = Seen::default();
            let searching = Searching { frontend: self, search, since, until, seen, run, told, limit };
            match searching.answer(tenants).await {
                Ok(Outcome::Answer(answer)) => break Ok(answer),
                Ok(Outcome::Short(missing, back)) => (told, more) = (back, more + missing),
                Err(error) => break Err(error),
            }
        };
        let (hits, bytes, cost) = match &outcome {
            Ok(answer) => (answer.part.hits.len(), answer.part.stats.inspected_bytes, answer.cost),
            Err(_) => (0, 0, Cost::default()),
        };
        watch.end(bytes, outcome.as_ref().err());
        tracing::info!(
            tenant = names(tenants),
            query = text,
            duration_ms = began.elapsed().as_millis() as u64,
            jobs = cost.jobs,
            completed = cost.completed,
            blocks = cost.blocks,
            bytes,
            hits,
            partial = outcome.as_ref().ok().and_then(|answer| answer.partial.as_deref()),
            error = outcome.as_ref().err().map(tracing::field::display),
            "search"
        );
        outcome
    }
}

impl Searching<'_> {
    async fn answer(mut self, tenants: &[Tenant]) -> Result<Outcome, QueryError> {
        let mut combiner = Combiner::new(self.search.limits.limit, self.search.plan.order);
        let mut partial = self.ask(tenants, &mut combiner).await?;
        if partial.is_none() {
            let was_full = combiner.cutoff().is_some();
            let (frontend, search, deadline) = (self.frontend, &self.search, self.run.deadline());
            match frontend.settle_continued(tenants, search, &mut combiner, deadline).await {
                Ok(settled) => {
                    self.run.cost.add(settled.cost);
                    if settled.lost > 0 && was_full {
                        return Ok(Outcome::Short(settled.lost, self.told));
                    }
                    partial = (settled.left > 0).then(|| left_in_parts(settled.left));
                }
                Err(error @ QueryError::Deadline { .. }) if self.may_be_partial() => {
                    partial = Some(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        let mut part = combiner.finish();
        part.hits.truncate(self.limit);
        if let Some(told) = &mut self.told {
            told.news(&mut part);
        }
        Ok(Outcome::Answer(Answer { part, cost: self.run.cost, partial }))
    }

    /// Collects what ingesters and blocks answer. Says why that is not all, where time was up.
    async fn ask(
        &mut self,
        tenants: &[Tenant],
        combiner: &mut Combiner,
    ) -> Result<Option<String>, QueryError> {
        self.frontend.heirs(self.run.deadline()).await?;
        for tenant in tenants {
            self.add_ingesters(tenant);
        }
        let mut metas = Vec::new();
        for tenant in tenants {
            metas.extend(self.frontend.blocks(tenant, &mut self.seen, self.run.deadline()).await?);
        }
        self.add_blocks(metas).await;
        loop {
            let done = match self.run.next().await {
                Ok(Some(done)) => done,
                Ok(None) => return Ok(None),
                Err(error @ QueryError::Deadline { .. }) if self.may_be_partial() => {
                    return Ok(Some(error.to_string()));
                }
                Err(error) => return Err(error),
            };
            match done.result {
                Ok(Found::Search { part, recent }) => {
                    combiner.add(part);
                    let max = self.frontend.options.max_answer_bytes;
                    if combiner.memory() > max {
                        return Err(QueryError::AnswerTooLarge { max });
                    }
                    let (seen, deadline) = (&mut self.seen, self.run.deadline());
                    let metas = self.frontend.named(&done.tenant, recent, seen, deadline).await?;
                    self.add_blocks(metas).await;
                }
                Ok(Found::Trace { .. }) => {
                    let what = done.work.subject();
                    return Err(QueryError::Failed { what, reason: "answered a search with a trace".into() });
                }
                Err(failure) => self.make_up_for(done.tenant, &done.work, failure).await?,
            }
            if let Some(cutoff) = combiner.cutoff() {
                self.run.drop_older_than(cutoff);
            }
            self.tell(combiner).await;
        }
    }

    /// Whether what was found by the deadline is an answer: some work was done, and whoever asks is not told as it goes on. Tempo
    /// refuses then.
    fn may_be_partial(&self) -> bool {
        !self.frontend.options.traceql_strict && self.told.is_none() && self.run.cost.completed > 0
    }

    /// Tells the client what is certain by now. Traces that what is still under way might displace wait: a
    /// client keeps what it was told.
    async fn tell(&mut self, combiner: &Combiner) {
        // Of the longest traces none is certain before all are known.
        let is_due =
            |told: &&mut Told| told.at.elapsed() >= PIECES && self.search.plan.order == Order::Newest;
        let Some(told) = self.told.as_mut().filter(is_due) else { return };
        let Some(newest) = self.run.newest() else { return };
        told.at = Instant::now();
        let mut part = combiner.snapshot();
        part.hits.truncate(self.limit);
        part.hits.retain(|hit| hit.start > newest);
        told.news(&mut part);
        // A client that went away ends the search by dropping it.
        let _ = told.to.send(Ok(Answer { part, cost: self.run.cost, partial: None })).await;
    }

    /// Adds a job for each ingester that is not asked yet.
    fn add_ingesters(&mut self, tenant: &Tenant) {
        for ingester in self.frontend.ingesters() {
            if self.seen.is_new(tenant, &ingester) {
                self.run.add(tenant, Work::SearchLive { search: self.search.clone(), ingester });
            }
        }
    }

    /// Adds jobs for those of `metas` that are new to this search and overlap its window, newest first.
    async fn add_blocks(&mut self, metas: Vec<Arc<Meta>>) {
        let mut news = self.seen.news(metas);
        news.retain(|meta| {
            let (start, end) = meta.nanos();
            start <= self.until && end >= self.since
        });
        let ids = self.search.plan.trace_ids();
        if let Some(ids) = &ids {
            news = self.may_hold(ids, news).await;
        }
        news.sort_by_key(|meta| std::cmp::Reverse(meta.end));
        for meta in news {
            self.run.cost.blocks += 1;
            self.run.cost.block_bytes += meta.size;
            // A trace is looked up in the whole block at once.
            let bytes = if ids.is_some() { u64::MAX } else { self.frontend.options.target_bytes_per_job };
            for row_groups in split(&meta, bytes) {
                let search = self.search.clone();
                self.run.add(&meta.tenant, Work::SearchBlock { search, meta: meta.clone(), row_groups });
            }
        }
    }

    /// Those of `metas` that may hold one of these traces.
    async fn may_hold(&self, ids: &[TraceId], mut metas: Vec<Arc<Meta>>) -> Vec<Arc<Meta>> {
        metas.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        let mut left = Vec::new();
        for of_tenant in metas.chunk_by(|a, b| a.tenant == b.tenant) {
            let Some(first) = of_tenant.first() else { continue };
            let narrowed = self.frontend.store.narrow(&first.tenant, ids, of_tenant).await;
            left.extend(narrowed.holding.into_iter().chain(narrowed.unknown));
        }
        left
    }

    /// What a failed job leaves unanswered is either found elsewhere, or the search fails.
    async fn make_up_for(&mut self, tenant: Tenant, work: &Work, failure: Failure) -> Result<(), QueryError> {
        let is_block_gone = failure.kind == FailureKind::BlockGone;
        if self.frontend.look_elsewhere(&tenant, work, failure, self.run.deadline()).await? {
            self.seen.ask_all_again();
        }
        if is_block_gone {
            self.frontend.still_listed(&tenant, work)?;
        }
        self.add_ingesters(&tenant);
        let metas = self.frontend.store.blocks(&tenant).to_vec();
        self.add_blocks(metas).await;
        Ok(())
    }
}

impl Frontend {
    /// Where a block or an ingester is gone for good, what it held stands in blocks, and the block list is
    /// fetched anew to know them; an ingester may also have come back under another address. Answers whether
    /// another ingester took over what it held, and is to be asked again.
    ///
    /// # Errors
    /// The failure, where nothing else can hold what is missing.
    pub(super) async fn look_elsewhere(
        &self,
        tenant: &Tenant,
        work: &Work,
        failure: Failure,
        deadline: Instant,
    ) -> Result<bool, QueryError> {
        let inherited = self.inherited(work, failure.kind, deadline).await?;
        let gone = match (work, failure.kind) {
            (Work::SearchLive { ingester, .. } | Work::FindLive { ingester, .. }, FailureKind::Retry) => {
                !self.still_member(ingester)
            }
            (_, kind) => kind == FailureKind::BlockGone,
        };
        let failed = |reason: String| QueryError::Failed { what: work.subject(), reason };
        if !gone {
            return Err(failed(failure.message));
        }
        tracing::info!(job = work.subject(), %failure, "gone since the query was planned");
        self.blocks_by_now(tenant, deadline).await?;
        Ok(inherited)
    }
}

impl Frontend {
    /// The blocks of a job, one of which is gone, that the list still has.
    ///
    /// # Errors
    /// Where the job was about that one alone: the list has it, and its data is not there.
    pub(super) fn still_listed(&self, tenant: &Tenant, work: &Work) -> Result<Vec<Arc<Meta>>, QueryError> {
        let metas = match work {
            Work::FindInBlocks { metas, .. } => metas.as_slice(),
            Work::SearchBlock { meta, .. } => std::slice::from_ref(meta),
            Work::SearchLive { .. } | Work::FindLive { .. } => &[],
        };
        let blocks = self.store.blocks(tenant);
        let is_live = |meta: &&Arc<Meta>| {
            blocks.iter().any(|listed| listed.id == meta.id && listed.compacted.is_none())
        };
        let listed: Vec<_> = metas.iter().filter(is_live).cloned().collect();
        if metas.len() == 1 && !listed.is_empty() {
            let reason = "the block is listed, and its data is not there".to_owned();
            return Err(QueryError::Failed { what: work.subject(), reason });
        }
        Ok(listed)
    }
}

fn left_in_parts(traces: usize) -> String {
    format!(
        "{traces} traces that lie in several blocks were searched part by part: there are more than are put together \
         for one query; a narrower time range has fewer"
    )
}

/// The row groups of a block in ranges of about `target` bytes.
fn split(meta: &Meta, target: u64) -> impl Iterator<Item = Range<usize>> + use<> {
    let groups = meta.row_groups.max(1) as usize;
    let bytes = (meta.size / groups as u64).max(1);
    let step = usize::try_from(target / bytes).unwrap_or(usize::MAX).max(1);
    (0..groups).step_by(step).map(move |first| first..first.saturating_add(step).min(groups))
}

fn nanos_ago(span: Duration) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(span).as_nanos()).unwrap_or(u64::MAX)
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TraceQl(text) => f.write_str(text),
            Self::Tags { tags, min, max } => {
                write!(f, "tags")?;
                for (key, value) in tags {
                    write!(f, " {key:?}={value:?}")?;
                }
                for (name, bound) in [("minDuration", min), ("maxDuration", max)] {
                    if let Some(bound) = bound {
                        write!(f, " {name}={bound:?}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(size: u64, row_groups: u32) -> Meta {
        let json = format!(
            r#"{{"format":"vParquet4","blockID":"e62d00b6-f021-41ba-a0c3-70be7f90147d","tenantID":"t","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","size":{size},"totalRecords":{row_groups}}}"#
        );
        Meta::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_block_is_cut_between_row_groups_into_jobs_of_about_the_target() {
        let ranges = |size, groups, target| {
            let ranges = split(&meta(size, groups), target);
            ranges.map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(100, 1, 1000), [(0, 1)]);
        assert_eq!(ranges(1000, 10, 400), [(0, 4), (4, 8), (8, 10)]);
        assert_eq!(ranges(1000, 2, 1), [(0, 1), (1, 2)]);
        assert_eq!(ranges(0, 0, 0), [(0, 1)]);
    }
}
