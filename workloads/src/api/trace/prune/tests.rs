use super::*;
use crate::proto::tempopb::trace::v1::{ResourceSpans, ScopeSpans, Status};

fn span(id: u8, parent: u8, name: &str, millis: u64) -> Span {
    let id_bytes = |id: u8| Bytes::copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, id]);
    Span {
        span_id: id_bytes(id),
        parent_span_id: if parent == 0 { Bytes::new() } else { id_bytes(parent) },
        name: name.to_owned(),
        start_time_unix_nano: u64::from(id),
        end_time_unix_nano: u64::from(id) + millis * 1_000_000,
        ..Span::default()
    }
}

fn trace(spans: Vec<Span>) -> Trace {
    let scope = ScopeSpans { spans, ..ScopeSpans::default() };
    Trace { resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }] }
}

fn how(min_spans: usize, max_parent_depth: u32) -> Pruning {
    Pruning { group_by: vec!["db.*".into()], min_spans, max_parent_depth }
}

fn names(trace: &Trace) -> Vec<(String, Option<i64>)> {
    let spans = trace.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
    let mut names: Vec<_> =
        spans.map(|span| (span.name.clone(), number(span, "aggregation.span_count"))).collect();
    names.sort();
    names
}

fn number(span: &Span, key: &str) -> Option<i64> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn with(mut span: Span, key: &str, value: &str) -> Span {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    span.attributes.push(KeyValue { key: key.to_owned(), value });
    span
}

#[test]
fn similar_leaves_become_one_that_sums_them_up() {
    let mut spans = vec![span(1, 0, "root", 100)];
    spans.extend((2..8).map(|id| span(id, 1, "leaf", u64::from(id))));
    let mut pruned = trace(spans.clone());
    assert_eq!(prune(&mut pruned, &how(5, 1)), 5);
    assert_eq!(names(&pruned), [("leaf".into(), Some(6)), ("root".into(), None)]);
    let summary = &pruned.resource_spans[0].scope_spans[0].spans[1];
    assert_eq!((summary.start_time_unix_nano, summary.end_time_unix_nano), (2, 7_000_007));
    assert_eq!(*summary.parent_span_id.last().unwrap(), 1);
    let of = |name: &str| number(summary, &format!("aggregation.{name}")).unwrap();
    assert_eq!(
        (of("duration_min_ns"), of("duration_max_ns"), of("duration_avg_ns")),
        (2_000_000, 7_000_000, 4_500_000)
    );
    let mut kept = trace(spans);
    assert_eq!(prune(&mut kept, &how(10, 1)), 0, "six are fewer than ten");
    assert_eq!(names(&kept).len(), 7);
}

#[test]
fn status_and_grouping_attributes_tell_groups_apart() {
    let failed = |span: Span| Span { status: Some(Status { code: 2, ..Status::default() }), ..span };
    let mut spans = vec![span(1, 0, "root", 1)];
    spans.extend((2..5).map(|id| with(span(id, 1, "SELECT", 1), "db.system", "mysql")));
    spans.extend((5..8).map(|id| with(span(id, 1, "SELECT", 1), "db.system", "redis")));
    spans.extend((8..10).map(|id| failed(with(span(id, 1, "SELECT", 1), "db.system", "redis"))));
    spans.push(with(span(10, 1, "SELECT", 1), "other", "x"));
    let mut pruned = trace(spans);
    prune(&mut pruned, &how(2, 0));
    let counts: Vec<_> = names(&pruned).into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [None, Some(2), Some(3), Some(3), None]);
}

#[test]
fn parents_follow_their_children_as_far_as_is_asked_for_and_never_a_root() {
    let mut spans = vec![span(1, 0, "root", 9)];
    for handler in [10, 20, 30] {
        spans.push(span(handler, 1, "handler", 5));
        spans.push(span(handler + 1, handler, "SELECT", 2));
    }
    spans.push(span(40, 1, "handler", 5));
    spans.push(span(41, 40, "INSERT", 1));
    let mut leaves = trace(spans.clone());
    prune(&mut leaves, &how(2, 0));
    assert_eq!(names(&leaves).iter().filter(|(name, _)| name == "handler").count(), 4);
    let mut deeper = trace(spans);
    prune(&mut deeper, &how(2, 1));
    let wanted =
        [("INSERT", None), ("SELECT", Some(3)), ("handler", None), ("handler", Some(3)), ("root", None)];
    assert_eq!(names(&deeper), wanted.map(|(name, count)| (name.to_owned(), count)));
    let spans = &deeper.resource_spans[0].scope_spans[0].spans;
    let id = |name: &str| spans.iter().find(|s| s.name == name && !s.attributes.is_empty()).unwrap();
    assert_eq!(id("SELECT").parent_span_id, id("handler").span_id, "below the summary of its parents");
}

#[test]
fn patterns_have_stars_and_question_marks() {
    for (pattern, text, wanted) in [
        ("db.*", "db.system", true),
        ("db.*", "db", false),
        ("*", "", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-b", false),
        ("h?t", "hüt", true),
        ("h?t", "ht", false),
    ] {
        assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
    }
}
