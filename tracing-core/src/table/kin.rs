//! Who is whose ancestor within one trace, by parent ids: unlike nested sets these also hold where the root is missing.

use rustc_hash::FxHashMap;

use super::{Bitmap, SpanTable};
use crate::model::SpanId;

/// How many generations up and down; [`Generations::ALL`] for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// Parents, their parents, and so on.
    pub ancestors: u32,
    /// Children, their children, and so on.
    pub descendants: u32,
}

impl Generations {
    /// Nobody but oneself.
    pub const NONE: Self = Self { ancestors: 0, descendants: 0 };

    /// More than there can be.
    pub const ALL: u32 = u32::MAX;
}

/// The spans `of` trace `trace` with their kin. Of several spans with one id the first counts as the parent. Work is bounded by the
/// number of spans: each is visited once in each direction, and parents that go in circles end where they began.
#[must_use]
pub fn with_kin(table: &SpanTable, trace: usize, of: &Bitmap, generations: Generations) -> Bitmap {
    let parents = parents(table, trace);
    let mut all = of.clone();
    all.or(&ancestors(&parents, of, generations.ancestors));
    all.or(&descendants(&parents, of, generations.descendants));
    all
}

/// Rows of a trace's spans, each with the row of its parent.
struct Parents {
    first: usize,
    of: Vec<Option<u32>>,
}

fn parents(table: &SpanTable, trace: usize) -> Parents {
    let rows = table.spans_of_trace(trace);
    let id = |row: usize| table.spans.id.get(row).copied().unwrap_or_default();
    let mut by_id: FxHashMap<SpanId, u32> = FxHashMap::default();
    for row in rows.clone() {
        by_id.entry(id(row)).or_insert(row as u32);
    }
    let parent = |row: usize| {
        let parent = table.spans.parent_id.get(row).copied().unwrap_or_default();
        let found = (!parent.is_zero()).then(|| by_id.get(&parent).copied()).flatten();
        found.filter(|&found| found as usize != row)
    };
    Parents { first: rows.start, of: rows.map(parent).collect() }
}

/// The rows that `kin` leads to from `of` within `most` steps. One generation after the other, so that each row is met on its
/// shortest way first.
fn spread<I: Iterator<Item = usize>>(of: &Bitmap, most: u32, kin: impl Fn(usize) -> I) -> Bitmap {
    let mut found = Bitmap::none(of.len());
    let mut rows: Vec<usize> = of.iter().collect();
    for _ in 0..most {
        let mut next = Vec::new();
        for row in rows.into_iter().flat_map(&kin) {
            if !found.get(row) {
                found.set(row);
                next.push(row);
            }
        }
        if next.is_empty() {
            break;
        }
        rows = next;
    }
    found
}

fn ancestors(parents: &Parents, of: &Bitmap, most: u32) -> Bitmap {
    spread(of, most, |row| {
        let parent = row.checked_sub(parents.first).and_then(|at| *parents.of.get(at)?);
        parent.map(|parent| parent as usize).into_iter()
    })
}

fn descendants(parents: &Parents, of: &Bitmap, most: u32) -> Bitmap {
    let mut children: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
    for (at, parent) in parents.of.iter().enumerate().filter(|_| most > 0) {
        if let Some(parent) = parent {
            children.entry(*parent as usize).or_default().push(parents.first + at);
        }
    }
    spread(of, most, |row| children.get(&row).into_iter().flatten().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::TraceId,
        table::TableBuilder,
        wire::otlp::{json_to_proto, split},
    };

    /// A trace of spans, each with an id and a parent, of one byte each.
    fn table(spans: &[(u8, u8)]) -> SpanTable {
        let span = |(id, parent): &(u8, u8)| {
            let parent = if *parent == 0 { String::new() } else { format!("{parent:016x}") };
            format!(
                r#"{{"traceId":"000000000000000000000000000000ff","spanId":"{id:016x}","parentSpanId":"{parent}","startTimeUnixNano":"{id}"}}"#
            )
        };
        let spans: Vec<_> = spans.iter().map(span).collect();
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","));
        let split = split(&json_to_proto(json.as_bytes()).unwrap()).unwrap();
        let mut builder = TableBuilder::new();
        builder.begin(TraceId::from_hex("ff").unwrap());
        builder.add_otlp(&split.traces[0].otlp).unwrap();
        builder.end();
        builder.finish()
    }

    fn kin(table: &SpanTable, of: u8, ancestors: u32, descendants: u32) -> Vec<u8> {
        let mut chosen = Bitmap::none(table.span_count());
        let row = table.spans.id.iter().position(|id| id.0[7] == of).unwrap();
        chosen.set(row);
        let all = with_kin(table, 0, &chosen, Generations { ancestors, descendants });
        let mut ids: Vec<_> = all.iter().map(|row| table.spans.id[row].0[7]).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn so_many_generations_are_kept_as_asked_for() {
        let table = table(&[(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 3), (7, 1)]);
        assert_eq!(kin(&table, 3, 0, 0), [3]);
        assert_eq!(kin(&table, 3, 1, 0), [2, 3]);
        assert_eq!(kin(&table, 3, Generations::ALL, 0), [1, 2, 3]);
        assert_eq!(kin(&table, 3, 0, 1), [3, 4, 6]);
        assert_eq!(kin(&table, 3, Generations::ALL, Generations::ALL), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_missing_root_hides_nobody_and_a_circle_ends() {
        let orphans = table(&[(2, 1), (3, 2), (4, 3)]);
        assert_eq!(kin(&orphans, 3, Generations::ALL, Generations::ALL), [2, 3, 4]);
        let circle = table(&[(1, 3), (2, 1), (3, 2), (4, 4)]);
        assert_eq!(kin(&circle, 2, Generations::ALL, 0), [1, 2, 3]);
        assert_eq!(kin(&circle, 2, 0, Generations::ALL), [1, 2, 3]);
        assert_eq!(kin(&circle, 4, Generations::ALL, Generations::ALL), [4]);
    }
}
