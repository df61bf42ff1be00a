//! PromQL's selectors, functions and aggregations as a pipeline.

use super::{Piece, conditions, fields};

/// Aggregations between series; those of series that are counted from spans add nothing.
const AGGREGATIONS: [&str; 6] = ["sum", "avg", "min", "max", "count", "group"];

/// A query that is being put together.
#[derive(Default)]
struct Series {
    filter: String,
    function: Option<String>,
    by: Vec<String>,
    second: String,
}

/// The query of a PromQL expression; `None` where it is none.
pub(super) fn query(pieces: &[Piece<'_>]) -> Option<String> {
    let mut series = Series::default();
    let rest = expression(pieces, &mut series, 0)?;
    let second = match rest {
        [] => String::new(),
        [Piece::Sign(sign @ (">" | ">=" | "<" | "<=" | "==" | "!=")), Piece::Word(number)] => {
            format!(" | {} {number}", if *sign == "==" { "=" } else { sign })
        }
        _ => return None,
    };
    let by = if series.by.is_empty() { String::new() } else { format!(" by({})", series.by.join(", ")) };
    let function = series.function.map(|function| format!(" | {function}{by}")).unwrap_or_default();
    Some(format!("{{ {} }}{function}{}{second}", series.filter, series.second))
}

/// Reads an expression; what follows it.
fn expression<'p, 'a>(pieces: &'p [Piece<'a>], series: &mut Series, depth: usize) -> Option<&'p [Piece<'a>]> {
    let (first, after) = pieces.split_first()?;
    if depth > 8 {
        return None;
    }
    let Some(name) = first.lower().filter(|_| after.first().is_some_and(|it| !it.is_sign("{"))) else {
        return selector(pieces, series);
    };
    let mut rest = grouping(after, series);
    rest = rest.strip_prefix(&[Piece::Sign("(")])?;
    match name.as_str() {
        "topk" | "bottomk" | "histogram_quantile" | "quantile" => {
            let [Piece::Word(number), Piece::Sign(","), inner @ ..] = rest else { return None };
            rest = inner;
            if name.ends_with('k') {
                series.second = format!(" | {name}({number})");
            } else {
                series.function = Some(format!("quantile_over_time(duration, {number})"));
            }
        }
        "rate" | "irate" => {
            series.function.get_or_insert_with(|| "rate()".to_owned());
        }
        "increase" | "count_over_time" | "delta" => {
            series.function.get_or_insert_with(|| "count_over_time()".to_owned());
        }
        known if AGGREGATIONS.contains(&known) => {}
        _ => return None,
    }
    rest = expression(rest, series, depth + 1)?.strip_prefix(&[Piece::Sign(")")])?;
    if series.function.is_none() {
        series.function = Some("count_over_time()".to_owned());
    }
    Some(grouping(rest, series))
}

/// `name{a="b"}[5m]`
fn selector<'p, 'a>(pieces: &'p [Piece<'a>], series: &mut Series) -> Option<&'p [Piece<'a>]> {
    let pieces = match pieces {
        [Piece::Word(_), rest @ ..] => rest,
        all => all,
    };
    let end = pieces.iter().position(|piece| piece.is_sign("}"))?;
    let inside = pieces.get(..end)?.strip_prefix(&[Piece::Sign("{")])?;
    conditions::rewrite(inside).trim().clone_into(&mut series.filter);
    let mut rest = pieces.get(end + 1..)?;
    if let [Piece::Sign("["), Piece::Word(_), Piece::Sign("]"), after @ ..] = rest {
        rest = after;
    }
    Some(rest)
}

/// `by (a, b)`, if it is next.
fn grouping<'p, 'a>(pieces: &'p [Piece<'a>], series: &mut Series) -> &'p [Piece<'a>] {
    let [by, Piece::Sign("("), rest @ ..] = pieces else { return pieces };
    let Some(end) = rest.iter().position(|piece| piece.is_sign(")")).filter(|_| by.is_word("by")) else {
        return pieces;
    };
    let labels = rest.get(..end).unwrap_or_default().iter().filter_map(|piece| match piece {
        // The label of buckets has no counterpart.
        Piece::Word(label) if *label != "le" => Some(fields::field(label)),
        _ => None,
    });
    series.by.extend(labels);
    rest.get(end + 1..).unwrap_or_default()
}
