//! Whatever is sent as a query: it is read, planned or refused in bounded time and memory, and nothing panics.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tracing_core::traceql::{MAX_QUERY_BYTES, Plan, parse, parse_bound, parse_strict, parse_tags};

use crate::allocations::peak;

/// Of one query: a hundred regular expressions at their limit, and everything else.
const BYTES: usize = 64 << 20;
/// Of one query, in a build without optimisation on a machine that does other things too.
const TIME: Duration = Duration::from_secs(20);

/// Short soups, and mutations of each query of the corpus.
const SOUPS: usize = 3000;
const MUTATIONS: usize = 4;

const WORDS: [&str; 78] = [
    "{ ",
    " }",
    "(",
    ")",
    " && ",
    " || ",
    "!",
    "-",
    " = ",
    " != ",
    " =~ ",
    " !~ ",
    " > ",
    " < ",
    " >= ",
    " >> ",
    " << ",
    " ~ ",
    " !>> ",
    " !<< ",
    " &>> ",
    " &<< ",
    " &~ ",
    " | ",
    " + ",
    " * ",
    " / ",
    " % ",
    " ^ ",
    ".a",
    "span.b",
    "resource.c",
    "event.d",
    "link.e",
    "parent.f",
    "instrumentation.g",
    "name",
    "status",
    "kind",
    "duration",
    "traceDuration",
    "rootName",
    "nestedSetLeft",
    "span:id",
    "trace:id",
    "event:name",
    "parent",
    "nil",
    "true",
    "error",
    "server",
    "1",
    "9223372036854775807",
    "1.5",
    "1h",
    "\"x\"",
    "`y`",
    "\".*\"",
    "\"(a|b)+\"",
    "\"[a-z]{1,40}\"",
    "\"((x*)*)*\"",
    "\"\\\\pL{9}\"",
    ".\"q r\"",
    "count()",
    "avg(",
    "max(",
    "sum(",
    "by(",
    "select(",
    "coalesce()",
    "rate()",
    "quantile_over_time(",
    "topk(3)",
    "with(",
    "most_recent=true",
    ", ",
    "\n",
    "\u{1f600}",
];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }
}

/// Everything that is done with a query before it meets a span.
fn ask(text: &str) {
    let began = Instant::now();
    let held = peak(|| {
        let _ = (parse_tags(text), parse_bound(text), parse_strict(text));
        if let Ok(query) = parse(text) {
            let _ = Plan::search(&query);
            let _ = query.to_string();
        }
    });
    let (took, start) = (began.elapsed(), text.chars().take(300).collect::<String>());
    assert!(held <= BYTES, "{held} bytes are held for {} of `{start}`", text.len());
    assert!(took <= TIME, "{took:?} for {} bytes of `{start}`", text.len());
}

fn corpus() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/data/queries.jsonl");
    let lines = fs::read_to_string(file).expect("the corpus of queries");
    let query = |line: &str| {
        let question: serde_json::Value = serde_json::from_str(line).expect("JSON");
        question["params"]["q"].as_str().map(str::to_owned)
    };
    lines.lines().filter_map(query).collect()
}

/// A valid query with a word put in, taken out, or doubled.
fn mutated(dice: &mut Dice, query: &str) -> String {
    let mut parts: Vec<&str> = query.split_inclusive([' ', '(', ')', '.', '"']).collect();
    for _ in 0..=dice.below(3) {
        let at = dice.below(parts.len());
        match dice.below(4) {
            0 if !parts.is_empty() => drop(parts.remove(at)),
            1 => {
                let part = parts.get(at).copied().unwrap_or_default();
                let times = if dice.below(20) == 0 { 500 } else { 2 };
                parts.splice(at..at, std::iter::repeat_n(part, times));
            }
            _ => parts.insert(at, dice.word()),
        }
    }
    parts.concat()
}

#[test]
fn a_soup_of_words_and_a_valid_query_that_was_changed_are_answered_in_bounded_time_and_memory() {
    let mut dice = Dice(7);
    for _ in 0..SOUPS {
        let words = 1 + dice.below(60);
        let soup: String = (0..words).map(|_| dice.word()).collect();
        ask(&soup);
        ask(&format!("{{ {soup} }}"));
    }
    let queries = corpus();
    assert!(queries.len() > 100);
    for query in &queries {
        for _ in 0..MUTATIONS {
            ask(&mutated(&mut dice, query));
        }
    }
}

#[test]
fn a_query_as_long_as_is_read_at_all_is_answered_in_bounded_time_and_memory() {
    let mut dice = Dice(11);
    let filled = |piece: &str, begin: &str, end: &str| {
        let room = MAX_QUERY_BYTES - begin.len() - end.len();
        format!("{begin}{}{end}", piece.repeat(room / piece.len()))
    };
    for word in WORDS {
        ask(&filled(word, "{ ", " }"));
    }
    for (piece, begin, end) in [
        (".a = 1 && ", "{ ", "true }"),
        (".a =~ \"[a-z]{1,40}\" || ", "{ ", "true }"),
        ("{ .a } >> ", "", "{ }"),
        ("{ } | ", "", "count() > 1"),
        ("a{1,1000}", "{ .a =~ \"", "\" }"),
        ("(a", "{ .a =~ \"", "\" }"),
        ("\\pL", "{ .a =~ `", "` }"),
        ("\\\"", "{ .a = \"", "\" }"),
        ("-", "{ .a = ", "1 }"),
        ("!", "{ ", "true }"),
        ("1 + ", "{ .a = ", "1 }"),
        ("9", "{ .a = ", " }"),
        ("k=v ", "", ""),
    ] {
        ask(&filled(piece, begin, end));
    }
    for _ in 0..6 {
        let piece: String = (0..40).map(|_| dice.word()).collect();
        ask(&filled(&piece, "", ""));
    }
}
