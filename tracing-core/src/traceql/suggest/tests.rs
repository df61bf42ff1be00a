use proptest::prelude::*;

use crate::traceql::parse;

fn suggestion(text: &str) -> Option<String> {
    parse(text).expect_err(text).suggestion().map(str::to_owned)
}

fn all_are_suggested(pairs: &[(&str, &str)]) {
    for (text, form) in pairs {
        assert_eq!(suggestion(text).as_deref(), Some(*form), "{text}");
        assert!(parse(form).is_ok(), "{form}");
    }
}

#[test]
fn other_words_quotes_and_missing_braces_get_the_valid_form() {
    all_are_suggested(&[
        ("service = \"x\" and operation = \"y\"", "{ resource.service.name = \"x\" && name = \"y\" }"),
        ("{ .a = 'x' }", "{ .a = \"x\" }"),
        ("name = \"x\"", "{ name = \"x\" }"),
        (".http.method = \"GET\"", "{ .http.method = \"GET\" }"),
        ("{ status = \"ERROR\" }", "{ status = error }"),
        ("{ status = \"STATUS_CODE_ERROR\" }", "{ status = error }"),
        ("{ status = 2 }", "{ status = error }"),
        ("{ status = 500 }", "{ .http.status_code = 500 }"),
        ("{ kind = 'server' or status == error }", "{ kind = server || status = error }"),
        ("{ kind = 3 }", "{ kind = client }"),
        ("{ duration > \"1s\" }", "{ duration > 1s }"),
        ("{ duration > \"100\" }", "{ duration > 100ms }"),
        ("{ duration > 100 ms }", "{ duration > 100ms }"),
        ("{ http.status_code = 500 }", "{ .http.status_code = 500 }"),
        ("{ .a = 1", "{ .a = 1 }"),
        ("{ .a = 1 | count() > 2", "{ .a = 1 } | count() > 2"),
        ("name = \"x\" | count() > 2", "{ name = \"x\" } | count() > 2"),
        ("{ Name = \"x\" AND NOT .b }", "{ name = \"x\" && !.b }"),
        ("{ name = \"x\" & .b }", "{ name = \"x\" && .b }"),
        ("{ service: \"x\" }", "{ resource.service.name = \"x\" }"),
        ("service:shop", "{ resource.service.name = \"shop\" }"),
        ("{ service = shop }", "{ resource.service.name = \"shop\" }"),
        ("{ .a = 1 } and { .b = 2 }", "{ .a = 1 } && { .b = 2 }"),
        ("{} | count > 3", "{ } | count() > 3"),
        ("{ name = “x” }", "{ name = \"x\" }"),
    ]);
    assert_eq!(suggestion("{ ))) }"), None);
}

#[test]
fn sqls_habits_get_the_valid_form() {
    all_are_suggested(&[
        (
            "select * from traces where service = 'x' and duration > '1s'",
            "{ resource.service.name = \"x\" && duration > 1s }",
        ),
        (
            "SELECT name, http.url FROM spans WHERE status = 'error' ORDER BY duration LIMIT 10",
            "{ status = error } | select(name, .http.url)",
        ),
        (
            "select service from spans where .a <> 1 group by service having count(*) > 3",
            "{ .a != 1 } | by(resource.service.name) | count() > 3 | select(resource.service.name)",
        ),
        ("{ http.url like '%/cart_' }", "{ .http.url =~ \".*/cart.\" }"),
        ("{ .a not like 'x%' }", "{ .a !~ \"x.*\" }"),
        ("{ .a is null }", "{ .a = nil }"),
        ("{ .a is not null && .b = 1 }", "{ .a != nil && .b = 1 }"),
        ("{ .a in (1, 2) && .b = 1 }", "{ (.a = 1 || .a = 2) && .b = 1 }"),
        ("{ status not in ('error', 'ok') }", "{ (status != error && status != ok) }"),
        ("{ duration between 1s and 2s }", "{ (duration >= 1s && duration <= 2s) }"),
        ("where name = 'x'", "{ name = \"x\" }"),
        ("{ .a = null }", "{ .a = nil }"),
    ]);
}

#[test]
fn promqls_habits_get_the_valid_form() {
    all_are_suggested(&[
        ("{service=\"x\"}", "{ resource.service.name = \"x\" }"),
        ("{service=\"x\", status=\"error\"}", "{ resource.service.name = \"x\" && status = error }"),
        ("rate({service=\"x\"}[5m])", "{ resource.service.name = \"x\" } | rate()"),
        (
            "sum by (service) (rate({status=\"error\"}[5m]))",
            "{ status = error } | rate() by(resource.service.name)",
        ),
        ("sum(rate({}[1m])) by (http.method) > 5", "{  } | rate() by(.http.method) | > 5"),
        (
            "histogram_quantile(0.9, sum(rate(latency_bucket{span_name=\"x\"}[5m])) by (le))",
            "{ name = \"x\" } | quantile_over_time(duration, 0.9)",
        ),
        ("topk(5, sum by (name) (rate({}[5m])))", "{  } | rate() by(name) | topk(5)"),
        ("count({status=\"error\"})", "{ status = error } | count_over_time()"),
    ]);
}

proptest! {
    #[test]
    fn every_suggestion_is_itself_a_query(pieces in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "(", ")", "|", "and", "OR", "not", "==", "=", "<>", ">", "like", "in", "is", "null", ",", "'x'", "\"y\"",
        "service", "status", "'error'", "kind", "duration", "100", "5m", "ms", "rate", "sum", "by", "[5m]", "select", "*",
        "from", "where", "group", "having", "count", "count(*)", "between", ".a", "span.b", "name", "a:b", "a:", ";", "“z”",
        "topk(3,", "histogram_quantile(0.9,", "\\", "é", "`", "nil",
    ]), 0..16)) {
        for text in [pieces.join(" "), pieces.concat(), format!("{{ {} }}", pieces.join(" "))] {
            if let Err(error) = parse(&text)
                && let Some(form) = error.suggestion()
            {
                prop_assert!(parse(form).is_ok(), "{} of {}", form, text);
                prop_assert_ne!(form, text.as_str());
            }
        }
    }
}
