//! Searching what is in memory: all tables at once, as far as there are threads, and answers of the first.

use std::sync::Arc;

use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::combine::cutoff;
use super::{Combiner, Engine, EngineError, SearchLimits, SearchPart, SearchStats};
use crate::table::evaluate::{self, Matches};
use crate::table::{LiveTable, LiveView};
use crate::traceql::Plan;

impl Engine {
    /// Searches live tables.
    ///
    /// # Errors
    /// Where `cancel` is cancelled.
    pub async fn search_live(
        &self,
        view: LiveView,
        plan: &Arc<Plan>,
        limits: SearchLimits,
        cancel: CancellationToken,
    ) -> Result<SearchPart, EngineError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EngineError::Cancelled),
            part = self.search_tables(view, plan, limits) => part,
        }
    }

    async fn search_tables(
        &self,
        view: LiveView,
        plan: &Arc<Plan>,
        limits: SearchLimits,
    ) -> Result<SearchPart, EngineError> {
        let searches = view.tables.into_iter().map(|live| {
            let plan = Arc::clone(plan);
            self.pool.run(move || {
                let LiveTable { table, alive } = live;
                let mut matches = evaluate::search(&plan, &*table, Some(&alive), limits.window);
                matches.keep_first(limits.limit, None);
                (table, matches)
            })
        });
        let found: Vec<(Arc<_>, Matches)> = try_join_all(searches).await?;
        let mut combiner = Combiner::new(limits.limit, plan.order);
        let cutoff = cutoff(found.iter().flat_map(|(_, matches)| matches.ranks()), limits.limit);
        for (table, mut matches) in found {
            let stats = SearchStats {
                inspected_traces: matches.inspected_traces,
                inspected_spans: matches.inspected_spans,
                inspected_bytes: 0,
            };
            matches.keep_first(limits.limit, cutoff);
            let hits = if matches.is_empty() {
                Vec::new()
            } else {
                let plan = Arc::clone(plan);
                self.pool.run(move || evaluate::hits(&plan, &*table, &matches, limits.spss)).await?
            };
            combiner.add(SearchPart { hits, stats, ..SearchPart::default() });
        }
        Ok(combiner.finish())
    }
}
