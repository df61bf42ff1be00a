//! Traces whose spans lie in several blocks, or in blocks and ingesters: what each part answers alone is not what the
//! trace answers. Whoever holds a part that is not the first says so with its answer (see
//! `tracing_core::block::Continued`); such a trace is put together here, as far as the query looks at it, and held against
//! the query as a whole. Those of which a part matched always are: there are no more of them than an answer holds. Those that
//! may match as a whole alone are unless `query_frontend.search.whole_traces` is false.

use std::{sync::Arc, time::Instant};

use futures::{StreamExt, stream};
use tracing_core::{
    engine::Combiner,
    model::{Tenant, TraceId},
    table::evaluate::{self, TraceHit},
};

use super::{
    Cost, Frontend,
    error::QueryError,
    job::Search,
    lookup::{FoundTrace, Lookup},
};

/// Traces that are put together for one query at most: some seconds of work, and a hundred times what two neighbouring
/// blocks share of a thousand traces a second.
const MAX_WHOLE: usize = 1000;
/// Of them, at the same time: a bucket answers many no later than one, and their row groups' columns are read once for all.
const AT_ONCE: usize = 16;

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// Traces that matched in part and do not as a whole.
    pub(super) lost: usize,
    /// Traces that were left as their parts answered.
    pub(super) left: usize,
    pub(super) cost: Cost,
}

impl Frontend {
    /// Lets the whole of each trace decide of which some of the answers in `combiner` are about parts.
    pub(super) async fn settle_continued(
        &self,
        tenants: &[Tenant],
        search: &Arc<Search>,
        combiner: &mut Combiner,
        deadline: Instant,
    ) -> Result<Settled, QueryError> {
        let mut settled = Settled::default();
        let matched = !(self.options.whole_traces && search.plan.needs_whole_traces());
        let mut candidates = combiner.continued(matched);
        settled.left = candidates.len().saturating_sub(MAX_WHOLE);
        candidates.truncate(MAX_WHOLE);
        for some in candidates.chunks(AT_ONCE) {
            // What was found meanwhile may be newer than all that is left.
            let cutoff = combiner.cutoff().unwrap_or(0);
            let asked: Vec<TraceId> = some
                .iter()
                .filter(|(id, start)| *start >= cutoff || combiner.holds(*id))
                .map(|(id, _)| *id)
                .collect();
            let whole = asked.into_iter().map(|id| self.whole(tenants, id, search, deadline));
            let mut whole = stream::iter(whole).buffer_unordered(AT_ONCE);
            while let Some(answered) = whole.next().await {
                let (id, hit, cost) = answered?;
                settled.cost.add(cost);
                settled.lost += usize::from(combiner.replace(id, hit));
            }
        }
        Ok(settled)
    }

    /// What a trace as a whole answers.
    async fn whole(
        &self,
        tenants: &[Tenant],
        id: TraceId,
        search: &Arc<Search>,
        deadline: Instant,
    ) -> Result<(TraceId, Option<TraceHit>, Cost), QueryError> {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let (found, cost) =
            Lookup::new(self, id, None, timeout).for_search(search.clone()).answer(tenants).await?;
        let Some(FoundTrace { table, .. }) = found else { return Ok((id, None, cost)) };
        let (plan, limits) = (search.plan.clone(), search.limits);
        let evaluated = tokio::task::spawn_blocking(move || {
            let matches = evaluate::search(&plan, &table, None, limits.window);
            evaluate::hits(&plan, &table, &matches, limits.spss).pop()
        });
        let hit = evaluated.await.map_err(|error| QueryError::Combine(error.to_string()))?;
        Ok((id, hit, cost))
    }
}
