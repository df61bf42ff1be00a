//! What docs/traceql.md says of the language is so.

use tracing_core::traceql::{Plan, parse, parse_strict};

const DOCS: &str = include_str!("../../../docs/traceql.md");

/// The code in the columns of a section's tables, row by row.
fn rows(section: &str) -> Vec<Vec<String>> {
    let from = DOCS.find(&format!("\n## {section}\n")).expect("a section of that name");
    let body = DOCS.get(from + 4..).unwrap_or_default();
    let body = body.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let line = line.replace("\\|", "¦");
        let cells =
            line.split('|').filter_map(|cell| cell.split('`').nth(1).map(|code| code.replace('¦', "|")));
        cells.collect::<Vec<_>>()
    };
    body.lines().filter(|line| line.starts_with('|')).map(row).filter(|row| !row.is_empty()).collect()
}

#[test]
fn each_extension_is_answered_and_refused_where_tempos_rules_are_asked_for() {
    let examples = rows("Extensions");
    assert!(examples.len() >= 2, "{examples:?}");
    for example in examples.iter().filter_map(|row| row.first()) {
        let query = parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        Plan::search(&query).unwrap_or_else(|error| panic!("{example}: {error}"));
        parse_strict(example).expect_err(example);
    }
}

#[test]
fn each_mistake_gets_the_suggestion_that_stands_beside_it() {
    let mistakes = rows("Errors");
    assert!(mistakes.len() >= 5, "{mistakes:?}");
    for row in mistakes {
        let [mistake, suggestion] = row.as_slice() else { panic!("two columns: {row:?}") };
        let error = parse(mistake).expect_err(mistake);
        assert_eq!(error.suggestion(), Some(suggestion.as_str()), "{mistake}");
    }
    let (from, to) = (DOCS.find("invalid TraceQL query").expect("an example"), "\n```\n\n| written");
    let shown = DOCS.get(from..).unwrap_or_default().split(to).next().unwrap_or_default();
    let query = shown.lines().nth(1).expect("the query").trim();
    assert_eq!(parse(query).expect_err(query).to_string(), shown);
}
