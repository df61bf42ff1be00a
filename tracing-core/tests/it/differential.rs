//! The engine against an evaluator that is slow and obvious: random queries over random traces, each pair
//! from its seed. `DIFFERENTIAL_PAIRS` sets how many, `DIFFERENTIAL_SEED` where they begin.

mod obvious;
mod queries;
mod traces;

use std::sync::Arc;

use tracing_core::block::{Footer, Meta, Scan, Step, WriteOptions, write};
use tracing_core::model::{BlockId, Tenant};
use tracing_core::table::evaluate::{self, OwnedValue, TraceHit};
use tracing_core::table::{Piece, PieceOf, Projection, SpanTable, View};
use tracing_core::traceql::syntax::Hint;
use tracing_core::traceql::{Literal, Plan, SKIP_HINT, parse};

use traces::{Random, Trace};

/// A spanset of an answer: its spans, and the values of the whole set.
pub(crate) type Answer = Vec<(u128, Vec<(Vec<u64>, Vec<(String, OwnedValue)>)>)>;

/// Queries asked of the same traces.
const QUERIES: usize = 100;

fn corpus(seed: u64) -> Vec<Trace> {
    let mut random = Random(seed);
    (1..=4).map(|id| Trace::random(&mut random, id)).collect()
}

fn answer(hits: Vec<TraceHit>) -> Answer {
    let mut answer: Answer = hits
        .into_iter()
        .map(|hit| {
            let sets = hit.span_sets.into_iter().map(|set| {
                assert_eq!(set.matched as usize, set.spans.len(), "all spans are listed");
                let ids = set.spans.iter().map(|span| u64::from_be_bytes(span.id.0)).collect();
                (ids, set.attributes)
            });
            (u128::from_be_bytes(hit.trace_id.0), sets.collect())
        })
        .collect();
    answer.sort_by_key(|(id, _)| *id);
    answer
}

/// The block that the traces become, for a scan of whatever a query needs.
struct Stored {
    meta: Arc<Meta>,
    footer: Arc<Footer>,
    data: Vec<u8>,
}

impl Stored {
    fn new(table: &SpanTable) -> Self {
        let mut data = Vec::new();
        let rows = (0..table.trace_count()).map(|row| (table, row as u32));
        let tenant = Tenant::new("t").expect("a tenant");
        let written =
            write(rows, &WriteOptions::default(), &tenant, BlockId::random(), &mut data).expect("written");
        let meta = Arc::new(written.meta);
        let range = Footer::range(&meta);
        let tail = data[range.start as usize..range.end as usize].to_vec();
        let footer = Arc::new(Footer::decode(&meta, tail.into()).expect("a footer"));
        Self { meta, footer, data }
    }

    fn read(&self, projection: Projection) -> SpanTable {
        let all = 0..usize::MAX;
        self.drive(Scan::new(&self.meta, Arc::clone(&self.footer), all, projection).expect("a scan"))
    }

    fn row(&self, row: usize, projection: Projection) -> SpanTable {
        let rows = row as u64..row as u64 + 1;
        self.drive(Scan::rows(&self.meta, Arc::clone(&self.footer), 0, rows, projection).expect("a scan"))
    }

    fn drive(&self, mut scan: Scan) -> SpanTable {
        loop {
            match scan.next().expect("what was written can be read") {
                Step::Table(table) => return table,
                Step::Done => return SpanTable::default(),
                Step::Need(ranges) => {
                    let bytes = ranges.into_iter().map(|range| {
                        let part = self.data[range.start as usize..range.end as usize].to_vec();
                        (range, part.into())
                    });
                    scan.supply(bytes.collect()).expect("as long as asked for");
                }
            }
        }
    }

    /// The answers: of all traces at once, of each by itself, and out of pieces.
    fn answers(&self, plan: &Plan) -> [Answer; 3] {
        let matches = evaluate::search(plan, &self.read(evaluate::predicate(plan)), None, None);
        let output = || evaluate::output(plan);
        let alone =
            |row: usize| evaluate::hits(plan, &self.row(row, output()), &matches.alone(row), usize::MAX);
        [
            answer(evaluate::hits(plan, &self.read(output()), &matches, usize::MAX)),
            answer(matches.traces().flat_map(alone).collect()),
            answer_of_pieces(plan, |projection| self.read(projection)),
        ]
    }
}

/// The answer out of the columns of a table one by one, as they are kept of blocks.
fn answer_of_pieces(plan: &Plan, read: impl Fn(Projection) -> SpanTable) -> Answer {
    let pieces = |projection: Projection| {
        let wanted = PieceOf::of(&projection);
        Piece::split(read(PieceOf::projection(&wanted)), wanted)
    };
    let matches = evaluate::search(plan, View::of(&pieces(evaluate::predicate(plan))), None, None);
    answer(evaluate::hits(plan, View::of(&pieces(evaluate::output(plan))), &matches, usize::MAX))
}

/// Holds one query against the traces of a seed, in memory and, where `stored`, from a block. Answers whether
/// the query is one.
fn check(seed: u64, traces: &[Trace], table: &SpanTable, stored: Option<&Stored>, text: &str) -> bool {
    let Ok(query) = parse(text) else { return false };
    let shown = query.to_string();
    assert_eq!(parse(&shown).as_ref(), Ok(&query), "{text} is shown as {shown}");
    let Ok(plan) = Plan::search(&query) else { return false };
    let expected = obvious::search(&query, traces);
    let matches = evaluate::search(&plan, table, None, None);
    let found = answer(evaluate::hits(&plan, table, &matches, usize::MAX));
    assert_eq!(found, expected, "seed {seed}: {text}\n{traces:#?}");
    let mut as_written = query;
    as_written.hints.push(Hint { name: SKIP_HINT.to_owned(), value: Literal::Bool(true) });
    let plan_as_written = Plan::search(&as_written).expect("a plan with rules is one without");
    let matches = evaluate::search(&plan_as_written, table, None, None);
    let found = answer(evaluate::hits(&plan_as_written, table, &matches, usize::MAX));
    assert_eq!(found, expected, "seed {seed}, as written: {text}\n{traces:#?}");
    let found = answer_of_pieces(&plan, |_| table.clone());
    assert_eq!(found, expected, "seed {seed}, out of pieces: {text}\n{traces:#?}");
    for found in stored.into_iter().flat_map(|stored| stored.answers(&plan)) {
        assert_eq!(found, expected, "seed {seed}, from a block: {text}\n{traces:#?}");
    }
    true
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn the_engine_answers_as_an_obvious_evaluator_does() {
    let (first, pairs) = (setting("DIFFERENTIAL_SEED", 1), setting("DIFFERENTIAL_PAIRS", 10_000));
    let (mut asked, mut valid) = (0, 0);
    for seed in first.. {
        let traces = corpus(seed);
        let table = traces::table(&traces);
        let stored = Stored::new(&table);
        let mut random = Random(!seed);
        for number in 0..QUERIES {
            let text = queries::random(&mut random);
            let stored = number.is_multiple_of(20).then_some(&stored);
            asked += 1;
            valid += u64::from(check(seed, &traces, &table, stored, &text));
        }
        if valid >= pairs {
            break;
        }
    }
    assert!(valid * 2 > asked, "{valid} of {asked} random queries were valid");
}
