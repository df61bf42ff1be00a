//! What may be asked of a trace beside its id: `q` and how much around its matches is kept, and pruning.

use std::sync::Arc;

use tracing_core::{
    table::Generations,
    traceql::{Field, Intrinsic, Plan, SpansetPlan},
};

use super::{
    super::{
        params::{Bounds, ParamError, Params},
        reply::Refusal,
    },
    prune::Pruning,
};
use crate::frontend::Form;

/// Attributes that tell groups of similar spans apart where a request names none.
const GROUP_BY: [&str; 9] = [
    "db.system",
    "db.system.name",
    "db.operation",
    "db.operation.name",
    "http.method",
    "http.request.method",
    "rpc.service",
    "rpc.method",
    "messaging.destination.name",
];
const MIN_SPANS: i64 = 5;
const MAX_PARENT_DEPTH: u32 = 1;
/// Most patterns of `span_pruning_group_by`.
const MOST_PATTERNS: usize = 100;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) filter: Option<Filter>,
    pub(super) pruning: Option<Pruning>,
}

/// Which spans are kept.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// One spanset filter.
    pub(super) plan: Arc<Plan>,
    /// What else is kept of the trace.
    pub(super) kin: Generations,
}

impl Options {
    /// Reads the parameters; `plan` parses and plans a query.
    pub(super) fn of(
        params: &Params,
        bounds: &Bounds,
        plan: impl FnOnce(&Form) -> Result<Arc<Plan>, Refusal>,
    ) -> Result<Self, Refusal> {
        let kin = kin(params).map_err(Refusal::bad_request)?;
        let pruning = pruning(params).map_err(Refusal::bad_request)?;
        let filter = match params.get("q") {
            None => None,
            Some(q) if bounds.max_query_bytes > 0 && q.len() > bounds.max_query_bytes => {
                return Err(Refusal::bad_request(ParamError::QueryTooLong { max: bounds.max_query_bytes }));
            }
            Some(q) => {
                let plan = plan(&Form::TraceQl(q.to_owned()))?;
                check(&plan).map_err(Refusal::bad_request)?;
                Some(Filter { plan, kin })
            }
        };
        Ok(Self { filter, pruning })
    }
}

/// One filter over spans: what is asked of a whole trace is known already, by its id.
fn check(plan: &Plan) -> Result<(), &'static str> {
    if !matches!(plan.spansets, SpansetPlan::Filter(_)) || !plan.stages.is_empty() {
        return Err(
            "invalid q: expected a single spanset filter such as { status = error }, found a pipeline or \
                    an operator between spansets",
        );
    }
    let of_trace = plan.sources.iter().any(|source| {
        matches!(
            source.field,
            Field::Intrinsic(
                Intrinsic::TraceId | Intrinsic::TraceDuration | Intrinsic::RootName | Intrinsic::RootService
            )
        )
    });
    if of_trace {
        return Err("invalid q: expected conditions on spans, found an intrinsic of the trace as a whole");
    }
    Ok(())
}

/// Ancestors are kept where that is asked for, by `keep_hierarchy` or by a depth of their own.
fn kin(params: &Params) -> Result<Generations, ParamError> {
    let depth = params.generations("ancestor_depth")?;
    let keep = params.truth("keep_hierarchy")?.unwrap_or(depth.is_some());
    let ancestors = if keep { depth.unwrap_or(Generations::ALL) } else { 0 };
    Ok(Generations { ancestors, descendants: params.generations("match_depth")?.unwrap_or(0) })
}

fn pruning(params: &Params) -> Result<Option<Pruning>, ParamError> {
    let invalid = |name, reason: String| ParamError::Invalid { name, reason };
    let is_asked = params.truth("span_pruning")?.unwrap_or(false);
    let min_spans = params.integer("span_pruning_min_spans")?.unwrap_or(MIN_SPANS);
    if min_spans < 2 {
        let reason = format!("expected at least 2, found `{min_spans}`");
        return Err(invalid("span_pruning_min_spans", reason));
    }
    let max_parent_depth = params.generations("span_pruning_max_parent_depth")?.unwrap_or(MAX_PARENT_DEPTH);
    let group_by: Vec<String> = match params.get("span_pruning_group_by") {
        Some(list) => list.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect(),
        None => GROUP_BY.map(str::to_owned).to_vec(),
    };
    if group_by.len() > MOST_PATTERNS {
        let reason = format!("expected at most {MOST_PATTERNS} patterns, found {}", group_by.len());
        return Err(invalid("span_pruning_group_by", reason));
    }
    let min_spans = usize::try_from(min_spans).unwrap_or(usize::MAX);
    Ok(is_asked.then_some(Pruning { group_by, min_spans, max_parent_depth }))
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;

    fn options(query: &str) -> Result<Options, String> {
        let uri: Uri = format!("/api/v2/traces/1?{query}").parse().unwrap();
        let bounds = crate::frontend::FrontendOptions::of(&vivace_config::Config::default()).bounds;
        let plan = |form: &Form| form.plan().map_err(|error| Refusal::bad_request(error.to_string()));
        Options::of(&Params::of(&uri).unwrap(), &bounds, plan).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn ancestors_are_kept_where_that_is_asked_for_and_descendants_to_their_depth() {
        let kin = |query: &str| options(&format!("q=%7B%7D&{query}")).unwrap().filter.unwrap().kin;
        assert_eq!(kin(""), Generations::NONE);
        assert_eq!(kin("keep_hierarchy=true"), Generations { ancestors: Generations::ALL, descendants: 0 });
        assert_eq!(kin("keep_hierarchy=true&ancestor_depth=2").ancestors, 2);
        assert_eq!(kin("ancestor_depth=-1").ancestors, Generations::ALL);
        assert_eq!(kin("keep_hierarchy=false&ancestor_depth=2").ancestors, 0);
        assert_eq!(kin("match_depth=-1").descendants, Generations::ALL);
        assert!(options("q=%7B%7D&match_depth=-2").unwrap_err().contains("match_depth"));
        assert!(options("q=%7B%7D&keep_hierarchy=maybe").unwrap_err().contains("keep_hierarchy"));
    }

    #[test]
    fn only_a_filter_over_spans_is_taken() {
        assert!(options("q=%7B%20status%20%3D%20error%20%7D").unwrap().filter.is_some());
        for q in ["%7B%7D%7Ccount()%3E1", "%7B%7D%3E%7B%7D", "%7B%20traceDuration%3E1s%20%7D", "%7B"] {
            assert!(options(&format!("q={q}")).is_err(), "{q}");
        }
        assert!(options("").unwrap().filter.is_none());
    }

    #[test]
    fn pruning_is_off_unless_asked_for_and_its_numbers_are_checked() {
        assert!(options("span_pruning_min_spans=7").unwrap().pruning.is_none());
        let asked = options(
            "span_pruning=true&span_pruning_group_by=db.*,%20http.method&span_pruning_max_parent_depth=-1",
        );
        let wanted = Pruning {
            group_by: vec!["db.*".into(), "http.method".into()],
            min_spans: 5,
            max_parent_depth: Generations::ALL,
        };
        assert_eq!(asked.unwrap().pruning, Some(wanted));
        assert!(options("span_pruning_min_spans=1").unwrap_err().contains("at least 2"));
        assert!(options("span_pruning_max_parent_depth=-2").unwrap_err().contains("-1 for all"));
    }
}
