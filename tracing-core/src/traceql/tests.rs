//! Queries through lexer, parser, display and validation together.

mod trees;

use proptest::prelude::*;

use super::parser::{MAX_DEPTH, MAX_OPERATORS, MAX_REGEXES, MAX_STAGES};
use super::{MAX_QUERY_BYTES, Plan, Problem, parse, parse_strict};

/// The query as the tree prints it.
fn printed(text: &str) -> String {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn refusal(text: &str) -> String {
    parse(text).map(|query| query.to_string()).expect_err(text).to_string()
}

#[test]
fn what_binds_tighter_needs_no_parentheses() {
    for (text, tree) in [
        ("{.a||.b&&.c}", "{ .a || .b && .c }"),
        ("{ (.a || .b) && .c }", "{ .a || .b && .c }"),
        ("{ .a || (.b && .c) }", "{ .a || (.b && .c) }"),
        ("{ .a + .b * .c ^ 2 ^ 3 > 1 }", "{ .a + .b * .c ^ 2 ^ 3 > 1 }"),
        ("{ (.a ^ 2) ^ 3 = 1 }", "{ (.a ^ 2) ^ 3 = 1 }"),
        ("{ !.a = .b }", "{ !.a = .b }"),
        ("{ !(.a = .b) }", "{ !(.a = .b) }"),
        ("{ (!.a) * .b = 1 }", "{ (!.a) * .b = 1 }"),
        ("{ -(.a + 1) = -3 }", "{ -(.a + 1) = -3 }"),
        ("{ .a - (.b - .c) = 1 }", "{ .a - (.b - .c) = 1 }"),
        ("{a} || {b} >> {c}", ""),
        ("{.a} || {.b} >> {.c}", "{ .a } || { .b } >> { .c }"),
        ("({.a} || {.b}) >> {.c}", "({ .a } || { .b }) >> { .c }"),
        ("({.a} | count() > 1) && {.b}", "({ .a } | count() > 1) && { .b }"),
        ("!{.a}&&!({.b}>{.c})", "!{ .a } && !({ .b } > { .c })"),
        ("(!{.a}) >> !!({.b})", "!{ .a } >> !!{ .b }"),
        ("!({.a} | count() > 1)", "!({ .a } | count() > 1)"),
        ("({}|rate())/({}|rate())*100", "(({ } | rate()) / ({ } | rate())) * 100"),
    ] {
        if tree.is_empty() {
            refusal(text);
        } else {
            assert_eq!(printed(text), tree);
        }
    }
}

#[test]
fn the_whole_grammar_is_read_and_prints_as_it_reads() {
    for text in [
        "{ }",
        "{ true }",
        "{ span.\"foo bar\" = `x` && resource.a-b != nil }",
        "{ name =~ `a|b` && duration > 1h0m0s && kind = server && status != error }",
        "{ event:name = `x` || link:traceID = `1` || instrumentation:version = `2` || span:id = `3` }",
        "{ traceDuration > 2s && rootName = `r` && rootServiceName = `s` && trace:id = `1` }",
        "{ nestedSetParent < 0 } | select(name, .a) | coalesce()",
        "{ .a } | by(resource.service.name) | count() > 2 | avg(duration) <= 1s",
        "{ .a } > { .b } >> { .c } < { .d } << { .e } ~ { .f }",
        "{ .a } !> { .b } !>> { .c } !< { .d } !<< { .e } !~ { .f }",
        "{ .a } &> { .b } &>> { .c } &< { .d } &<< { .e } &~ { .f }",
        "{ } | rate() by(name, .b) with (sample=true, exemplars=3)",
        "{ } | quantile_over_time(duration, 0.5, 1) by(name) | topk(5) | > 10",
        "{ } | histogram_over_time(.x)",
        "{ } | compare({ status = error }, 10, 1, 2)",
        "{ .a = minInt || .a = -1.5 || .a = 1e300 }",
        "{ .a = \"`\" }",
        "{ parent:name = `x` && parent:duration > 1s && parent.span.a = parent.resource.b }",
        "{ parent.a != nil } | by(parent:status) | select(parent:statusMessage, parent:childCount)",
        "{ !event(event:name = `x` && !(event.a || .b)) = link(true) }",
        "({ } | count()) > ({ .a } | count())",
        "{ } | count() + 1 > 2",
        "{ } | min(.a) * (max(.b) - 1) > 2",
    ] {
        assert_eq!(printed(text), text);
    }
    assert_eq!(
        printed("{ span:name = \"x\" && trace:duration > 1000ms }"),
        "{ name = `x` && traceDuration > 1s }"
    );
    assert_eq!(printed("{ } // all\n/* of them */ | count() > 1"), "{ } | count() > 1");
}

#[test]
fn what_is_no_traceql_is_refused() {
    for text in [
        "",
        "{",
        "}",
        "{}{}",
        "{} >",
        "{ .x = }",
        "{ .x 1 }",
        "{ .x == 1 }",
        "{ .x = 'y' }",
        "{ .x = \"y }",
        "{ span. = 2 }",
        "{ .x = 1 and .y = 2 }",
        "{ duration < 5q }",
        "{ status = fine }",
        "{ nonsense = 1 }",
        "{ childCount > 1 }",
        "{ span:nonsense = 1 }",
        "{ parent:nonsense = 1 }",
        "{ parent:rootName = `x` }",
        "{ parent: = 1 }",
        "{ 1 + }",
        "{ (.a }",
        "{ .a } | ",
        "{} | nonsense()",
        "{} | by()",
        "{} | count()",
        "{} | count() | count() > 1",
        "{} | select()",
        "{} | topk(3)",
        "{} | rate() by ()",
        "{} | rate() by (b.c)",
        "{} | histogram_over_time()",
        "{} | rate() | nonsense",
        "({} | rate()) + {}",
        "{} with (",
        "{} with (a)",
        "count() > 1 && {}",
        "{} && count() > 1",
        "1",
        "()",
        "!",
        "! && { }",
        "{ } !{ }",
        "!count() > 1",
        "!({ } | rate())",
    ] {
        refusal(text);
    }
}

#[test]
fn a_pipeline_beside_bare_spansets_is_read_and_refused_where_tempos_rules_are_asked_for() {
    for text in [
        "({ .a } | count() > 3) && { .b }",
        "{ .b } >> ({ .a } | count() > 3)",
        "({ .a }) && { .b } && ({ .c } | count() > 1)",
    ] {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let refused = parse_strict(text).expect_err(text).to_string();
        assert!(refused.contains("syntax error: unexpected"), "{text}: {refused}");
    }
    for text in [
        "({ .a } | count() > 3) && ({ .b })",
        "(({ .a } | count() > 3) || ({ .b })) > ({ .c } && { .d })",
        "({ .a } && { .b }) || { .c }",
        "{ .a } | count() > 3",
    ] {
        parse_strict(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn no_span_like_this_is_read_and_refused_where_tempos_rules_are_asked_for() {
    for text in ["!{ .a }", "{ .a } && !{ .b }", "{ } | !{ .a }", "!({ .a } >> { .b }) | rate()"] {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let refused = parse_strict(text).expect_err(text).to_string();
        assert!(refused.contains("syntax error: unexpected !"), "{text}: {refused}");
    }
    assert!(refusal("{ !{ .a } }").contains("syntax error"));
    assert!(refusal(&"!".repeat(50_000)).contains("levels"));
}

#[test]
fn conditions_of_one_event_are_read_and_refused_where_tempos_rules_are_asked_for() {
    for (text, word) in [
        ("{ event(event:name = `x` && event.y = 1) }", "event"),
        ("{ .a || !link(link.y = 1) }", "link"),
        ("{ } | by(event(true))", "event"),
    ] {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let refused = parse_strict(text).expect_err(text).to_string();
        assert!(refused.contains(&format!("unknown identifier: {word}")), "{text}: {refused}");
    }
    for text in ["{ event() }", "{ event(.a }", "{ span(.a) }", "{ event }"] {
        refusal(text);
    }
}

#[test]
fn the_parent_is_asked_and_refused_where_tempos_rules_are_asked_for() {
    for text in [
        "{ parent.a = 1 }",
        "{ parent.resource.a = 1 } | count() > 1",
        "{ } | select(parent.span.a)",
        "{ } | rate() by (parent.a)",
        "{ 1 < parent:childCount }",
    ] {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let refused = parse_strict(text).expect_err(text);
        assert_eq!(refused.message(), "parent not yet supported", "{text}");
    }
}

#[test]
fn a_hint_of_ours_is_checked_and_refused_where_tempos_rules_are_asked_for() {
    for (text, wrong) in [
        ("{ } > { } with (orphans=true)", "{ } with (orphans=1)"),
        ("{ } with (most_recent=true, order_by=\"duration\")", "{ } with (order_by=\"name\")"),
    ] {
        Plan::search(&parse(text).unwrap()).unwrap();
        let refused = parse_strict(text).expect_err(text).to_string();
        assert!(refused.contains("not yet supported"), "{text}: {refused}");
        assert!(refusal(wrong).contains("invalid hint"), "{wrong}");
    }
    assert!(parse_strict("{ } with (most_recent=1, unknown=true)").is_ok());
}

#[test]
fn what_makes_no_sense_is_refused_in_tempos_words() {
    for (text, words) in [
        ("{ 1 + `foo` = 2 }", "binary operations must operate on the same type: 1 + `foo`"),
        ("{ duration > `1s` }", "binary operations must operate on the same type"),
        ("{ status = `error` }", "binary operations must operate on the same type"),
        ("{ kind = 2 }", "binary operations must operate on the same type"),
        ("{ true + 1 = 2 }", "binary operations must operate on the same type"),
        ("{ true + true = true }", "illegal operation for the given types"),
        ("{ name + `x` = `y` }", "illegal operation for the given types"),
        ("{ duration =~ 1s }", "illegal operation for the given types"),
        ("{ .a =~ 3 }", "illegal operation for the given types"),
        ("{ .a =~ name }", "illegal operation for the given types"),
        ("{ .a =~ `(` }", "invalid regex: "),
        ("{ .a !~ `a{9999}{9999}` }", "invalid regex: "),
        ("{ -name = `x` }", "illegal operation for the given type"),
        ("{ !duration }", "illegal operation for the given type"),
        ("{ 1 + 1 }", "span filter field expressions must resolve to a boolean"),
        ("{ name }", "span filter field expressions must resolve to a boolean"),
        ("{ name = nil }", "name=nil is not valid because intrinsics cannot be nil"),
        ("{ nil = status }", "status=nil is not valid because intrinsics cannot be nil"),
        ("{ resource.service.name = nil }", "resource.service.name=nil is not valid"),
        ("{ .a < nil }", "illegal operation for the given types"),
        ("{ parent:name = nil }", "parent:name=nil is not valid because intrinsics cannot be nil"),
        ("{ parent:kind = `server` }", "binary operations must operate on the same type"),
        ("{ parent = nil }", "parent not yet supported"),
        ("{} | count() > `x`", "binary operations must operate on the same type"),
        ("{} | max(name) > 1", "aggregate field expressions must resolve to a number type"),
        ("{} | max(1 + 1) > 1", "aggregate field expressions must reference the span"),
        ("{ event(1 + 1) }", "expression must resolve to a boolean"),
        ("{ event(link(true) || .a) }", "event(…) and link(…) cannot stand in each other"),
        ("{} | by(1)", "grouping field expressions must reference the span"),
        ("{} | quantile_over_time(duration)", "quantile"),
        ("{} | quantile_over_time(duration, 3)", "quantile must be between 0 and 1: 3"),
        ("{} | rate() by (.a,.b,.c,.d,.e,.f)", "metrics group by 6 values not yet supported"),
        ("{} | rate() | topk(0)", "limit must be greater than 0"),
        ("{} | compare({}) | topk(1)", "`compare()` cannot be used with second stage functions"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(words), "{text}: {refusal}");
    }
}

#[test]
fn an_error_shows_the_place_and_what_was_expected_there() {
    let shown = refusal("{ name = \"x\" &&\n  status = broken }");
    assert_eq!(
        shown.lines().take(3).collect::<Vec<_>>(),
        [
            "invalid TraceQL query: parse error at line 2, col 12: unknown identifier: broken",
            "    status = broken }",
            "             ^^^^^^ expected an attribute (.x, span.x, resource.x), an intrinsic (name, status, \
             duration, …) or a value",
        ]
    );
    assert!(refusal("{ name = }").contains("parse error at line 1, col 10: syntax error: unexpected }"));
    assert!(refusal("{ .a = 1").contains("unexpected $end"));
    // What makes no sense has its place too, and what would make some.
    for (text, under, expected) in [
        ("{ status = `error` }", "  status = `error`", "error, ok or unset, without quotes"),
        ("{ .a = 1 && name + `x` = `y` }", "  name + `x`", "between texts"),
        ("{ .a } && { .b =~ `(` }", "  `(`", ""),
        ("{ .a || (1 + 1) }", "  .a || (1 + 1)", "arithmetic between numbers"),
        ("{ } | by(1)", "  1", "an attribute or an intrinsic among it"),
        ("{ .a && event(1 + 1 = name) }", "  1 + 1 = name", "two texts, or two numbers"),
        ("{ .a } | max(name) > 1", "  name", "a number or a duration of the span"),
        ("{ } | count() > 1 | count() > `x`", "  count() > `x`", "a number or a duration on both sides"),
        ("({ .a } | count() > true) && { .b }", "  count() > true", "a number or a duration on both sides"),
    ] {
        let shown = refusal(text);
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[2].find('^').unwrap_or_default();
        let width = lines[2].matches('^').count();
        assert_eq!(format!("  {}", &lines[1][caret..caret + width]), under, "{shown}");
        assert!(lines[2].ends_with(expected), "{shown}");
    }
    // A long line is cut around the caret.
    let long = format!("{{ .a = `{}` && ! }}", "x".repeat(5000));
    assert!(refusal(&long).lines().nth(1).is_some_and(|line| line.len() < 200));
}

#[test]
fn every_limit_is_named_where_it_is_exceeded() {
    let long = format!("{{ .a = `{}` }}", "x".repeat(MAX_QUERY_BYTES));
    let error = parse(&long).unwrap_err();
    assert_eq!(error.problem(), Problem::TooLarge);
    assert!(error.to_string().contains("131072 bytes"));
    for open in ["(", "-", "!", "2 ^ "] {
        let deep = format!("{{ {}.a }}", open.repeat(20_000));
        assert!(refusal(&deep).contains(&MAX_DEPTH.to_string()), "{open}");
    }
    assert!(refusal(&"(".repeat(50_000)).contains("100 levels"));
    let wide = format!("{{ {} }}", vec![".a=1"; MAX_OPERATORS].join("||"));
    assert!(refusal(&wide).contains(&format!("more than {MAX_OPERATORS} operators")));
    let patterns = format!("{{ {} }}", vec![".a=~`a.*`"; MAX_REGEXES + 1].join("||"));
    assert!(refusal(&patterns).contains(&format!("more than {MAX_REGEXES} regular expressions")));
    let many = vec!["{}"; MAX_STAGES + 2].join("&&");
    assert!(refusal(&many).contains(&format!("more than {MAX_STAGES} spansets")));
    let widest = format!("{{ {} }}", vec![".a"; MAX_OPERATORS].join("||"));
    assert_eq!(Plan::search(&parse(&widest).unwrap()).unwrap().sources.len(), 1);
    assert_eq!(printed(&printed(&widest)), printed(&widest));
}

#[test]
fn scalars_that_tempo_does_not_compare_are_answered_and_refused_where_its_rules_are_asked_for() {
    for text in [
        "({} | count()) > ({} | count())",
        "{} | count() + 1 > 2",
        "{} | avg(duration) > 2 * min(duration)",
        "{} | 1 = 1",
    ] {
        Plan::search(&parse(text).unwrap()).unwrap();
        let error = parse_strict(text).unwrap_err();
        assert_eq!(error.problem(), Problem::NotAnswered);
        assert!(error.to_string().contains("not yet supported"), "{error}");
    }
}

#[test]
fn of_a_query_for_series_the_spans_are_searched_that_it_counts() {
    let plan = |text: &str| format!("{:?}", Plan::search(&parse(text).unwrap()).unwrap());
    assert_eq!(plan("{ .a = 1 } | rate() by(.b) | topk(3)"), plan("{ .a = 1 }"));
    assert_eq!(plan("({ .a } | rate()) / ({ .b } | rate()) * 2"), plan("({ .a } || { .b }) || { false }"));
    assert!(parse("{} | rate()").unwrap().of_spans().is_err());
    assert!(parse("{}").unwrap().of_spans().is_ok());
}

#[test]
fn a_scalar_may_stand_on_the_left() {
    let plan = |text: &str| format!("{:?}", Plan::search(&parse(text).unwrap()).unwrap());
    assert_eq!(plan("{} | 1 < count()"), plan("{} | count() > 1"));
    assert_eq!(plan("{} | avg(.a) >= 2 * 3 - 1"), plan("{} | avg(.a) >= 5"));
    for text in ["{} | 1 < count()", "{} | count() > 1 + 1"] {
        let refused = parse_strict(text).expect_err(text).to_string();
        assert!(refused.contains("not yet supported"), "{refused}");
    }
}

/// Texts of expressions, most of which are valid.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        ".a",
        "span.b-c",
        "resource.\"x y\"",
        "event.e",
        "link.\"q\\\"\"",
        "instrumentation.i",
        "duration",
        "name",
        "status",
        "kind",
        "error",
        "server",
        "1",
        "2.5",
        "10ms",
        "\"s\"",
        "`r`",
        "true",
        "false",
        "nil",
        "span:id",
        "minInt",
        "maxInt",
        "nestedSetLeft",
        "1h30m",
        "\"`\\n\"",
        "trace:id",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 2, |inner| {
        let op = prop::sample::select(vec![
            "&&", "||", "=", "!=", "<", "<=", ">", ">=", "=~", "!~", "+", "-", "*", "/", "%", "^",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("!{a}")),
            inner.prop_map(|a| format!("-{a}")),
        ]
    })
}

fn query() -> impl Strategy<Value = String> {
    let filter = prop_oneof![expression().prop_map(|e| format!("{{ {e} }}")), Just("{}".to_owned())];
    let op = prop::sample::select(vec![
        "&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&>>", "&<", "&<<", "&~",
    ]);
    let spansets = filter.prop_recursive(3, 12, 2, move |inner| {
        prop_oneof![
            (inner.clone(), op.clone(), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.prop_map(|a| format!("({a} | count() > 1)")),
        ]
    });
    let stage = prop_oneof![
        Just(" | count() >= 2".to_owned()),
        Just(" | coalesce()".to_owned()),
        Just(" | select(.a, name)".to_owned()),
        Just(" | rate() by (.a) | topk(3)".to_owned()),
        expression().prop_map(|e| format!(" | by({e})")),
        expression().prop_map(|e| format!(" | avg({e}) + 1 > -2 ^ 3")),
        Just(" with (most_recent=true)".to_owned()),
    ];
    (spansets, prop::collection::vec(stage, 0..3)).prop_map(|(first, rest)| first + &rest.concat())
}

proptest! {
    #[test]
    fn a_printed_query_reads_back_as_the_same_tree(text in query()) {
        if let Ok(tree) = super::parser::parse(&text).map(|parsed| parsed.query) {
            let printed = tree.to_string();
            let again = super::parser::parse(&printed).map(|parsed| parsed.query);
            prop_assert!(again.is_ok(), "{text} printed as {printed}: {again:?}");
            prop_assert_eq!(again.ok(), Some(tree), "{} printed as {}", text, printed);
        }
    }

    #[test]
    fn no_text_at_all_panics(text in "\\PC{0,80}", pieces in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "(", ")", "|", "&&", "||", "=", "!", "~", "<", ">", ".", "\"", "`", "'", "\\", "span.", ".a", "name",
        "1", "1s", "e", "-", "^", "by(", "count()", "rate()", "with", "nil", ",", "/*", "//", "\n", "é", "☃", "parent.",
    ]), 0..24)) {
        for text in [text, pieces.concat(), pieces.join(" ")] {
            if let Ok(query) = parse(&text) {
                let _ = Plan::search(&query);
            }
        }
    }
}
