//! What Tempo reads and does not answer, and is answered here unless its rules are asked for.

use super::error::{Problem, QueryError};
use super::hints;
use super::syntax::{Metrics, Pipeline, Query, Root, Scalar, Spansets, Stage};

/// How Tempo refuses a query, where it does.
pub(crate) fn refusal(query: &Query) -> Option<QueryError> {
    let of_root = match &query.root {
        Root::Pipeline(of) => pipeline(of),
        Root::Metrics(of) => metrics(of),
    };
    of_root.or_else(|| hints::refusal(&query.hints))
}

fn metrics(it: &Metrics) -> Option<QueryError> {
    match it {
        Metrics::Number(_) => None,
        Metrics::Query { spans, .. } => pipeline(spans),
        Metrics::Binary { left, right, .. } => metrics(left).or_else(|| metrics(right)),
    }
}

fn pipeline(it: &Pipeline) -> Option<QueryError> {
    it.stages.iter().find_map(|stage| match stage {
        Stage::Spansets(of) => spansets(of),
        Stage::ScalarFilter { left, op, right } => scalars(left, right).then(|| {
            let what =
                format!("comparing scalars other than an aggregate with a value ({left} {op} {right})");
            QueryError::new(Problem::NotAnswered, format!("{what} not yet supported"))
        }),
        Stage::Scalar(_) | Stage::By(_) | Stage::Coalesce | Stage::Select(_) => None,
    })
}

/// Whether two scalars are not an aggregate and a value.
fn scalars(left: &Scalar, right: &Scalar) -> bool {
    !matches!((left, right), (Scalar::Aggregate(..), Scalar::Literal(_)))
}

fn spansets(it: &Spansets) -> Option<QueryError> {
    match it {
        Spansets::Filter(_) => None,
        Spansets::Binary { left, right, .. } => spansets(left).or_else(|| spansets(right)),
        Spansets::Pipeline(inner) => pipeline(inner),
        Spansets::Not(inner) => spansets(inner),
    }
}
