//! Queries over small traces, written as OTLP/JSON.

use serde_json::{Value, json};

use super::*;
use crate::model::TraceId;
use crate::table::{Column, Level, Projection, SpanTable, TableBuilder};
use crate::traceql::parse;
use crate::wire::otlp::json_to_proto;

/// Seconds since 1970 at which the first trace begins.
const EPOCH: u64 = 1_790_000_000;

fn any(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({"stringValue": text}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::Array(items) => json!({"arrayValue": {"values": items.iter().map(any).collect::<Vec<_>>()}}),
        other => json!({"kvlistValue": {"values": pairs(other)}}),
    }
}

fn pairs(attributes: &Value) -> Vec<Value> {
    let entries = attributes.as_object().into_iter().flatten();
    entries.map(|(key, value)| json!({"key": key, "value": any(value)})).collect()
}

/// A span of trace 1 that lasts `id` milliseconds and is named after its id; 0 is no parent.
fn span(id: u8, parent: u8, attributes: &Value) -> Value {
    let start = EPOCH * 1_000_000_000;
    let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
    json!({
        "traceId": format!("{:032x}", 1), "spanId": format!("{id:016x}"), "parentSpanId": parent,
        "name": format!("span {id}"), "kind": 2, "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + u64::from(id) * 1_000_000).to_string(), "attributes": pairs(attributes),
    })
}

fn resource(attributes: &Value, spans: &[Value]) -> Value {
    let scope = json!({"name": "lib", "version": "1", "attributes": pairs(&json!({"team": "core"}))});
    json!({"resource": {"attributes": pairs(attributes)}, "scopeSpans": [{"scope": scope, "spans": spans}]})
}

/// A table of traces 1, 2, …, each beginning a second after the one before.
fn table(traces: &[Vec<Value>]) -> SpanTable {
    let mut builder = TableBuilder::new();
    for (i, resources) in traces.iter().enumerate() {
        let text = json!({"resourceSpans": resources}).to_string();
        let text = text.replace(&format!("{:032x}", 1), &format!("{:032x}", i + 1));
        let text = text.replace(&EPOCH.to_string(), &(EPOCH + i as u64).to_string());
        builder.begin(TraceId((i as u128 + 1).to_be_bytes()));
        builder.add_otlp(&json_to_proto(text.as_bytes()).unwrap()).unwrap();
        builder.end();
    }
    builder.finish()
}

/// One trace with a root and a child for each set of attributes, of ids 1, 2, …
fn spans_with(attributes: &[Value]) -> SpanTable {
    let spans: Vec<_> = (1..).zip(attributes).map(|(id, it)| span(id, u8::from(id > 1), it)).collect();
    table(&[vec![resource(&json!({"service.name": "shop", "both": "resource", "size": 5}), &spans)]])
}

fn ask(query: &str, table: &SpanTable) -> Vec<TraceHit> {
    let plan = Plan::search(&parse(query).unwrap_or_else(|error| panic!("{query}: {error}"))).unwrap();
    hits(&plan, table, &search(&plan, table, None, None), 100)
}

/// Ids of the spans that a query finds in any trace.
fn found(query: &str, table: &SpanTable) -> Vec<u8> {
    let sets = ask(query, table).into_iter().flat_map(|hit| hit.span_sets);
    sets.flat_map(|set| set.spans).map(|span| span.id.0[7]).collect()
}

/// What the first span found shows, as `key=value`.
fn shown(query: &str, table: &SpanTable) -> Vec<String> {
    let hit = ask(query, table).remove(0);
    let attributes = hit.span_sets[0].spans[0].attributes.iter();
    attributes.map(|(key, value)| format!("{key}={value:?}")).collect()
}

#[test]
fn an_attribute_compares_with_its_own_type_and_one_that_is_missing_with_nothing() {
    let table = spans_with(&[
        json!({"a": "x"}),
        json!({"a": 1}),
        json!({"a": 1.0}),
        json!({"a": true}),
        json!({}),
        json!({"a": 2}),
        json!({"a": {"k": "v"}}),
    ]);
    for (query, ids) in [
        ("{ .a = `x` }", vec![1]),
        ("{ .a != `y` }", vec![1]),
        ("{ .a !~ `y` }", vec![1]),
        ("{ .a = 1 }", vec![2]),
        ("{ 1 < span.a }", vec![6]),
        ("{ .a >= 1.0 }", vec![3]),
        ("{ .a >= 1 || .a > 0.5 }", vec![2, 3, 6]),
        ("{ .a * 1 = 1 }", vec![2, 3]),
        ("{ .a }", vec![4]),
        ("{ !.a }", vec![]),
        ("{ .a != nil }", vec![1, 2, 3, 4, 6]),
        ("{ nil = .a }", vec![5, 7]),
        ("{ !(.a = 1) }", vec![1, 3, 4, 5, 6, 7]),
        ("{ .a = .a }", vec![1, 2, 3, 4, 6]),
        ("{ .nothing != `x` }", vec![]),
        ("{ 2 > 1 && .a = 1 }", vec![2]),
        ("{ 1 = 2 || .a = 1 }", vec![2]),
        ("{ 1 / 0 = 1 }", vec![]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
}

#[test]
fn an_array_is_what_any_of_its_elements_is_and_not_what_all_are_not() {
    let table = spans_with(&[
        json!({"a": ["x", "y"]}),
        json!({"a": ["x"]}),
        json!({"a": [1, 2, 3]}),
        json!({"a": []}),
        json!({"a": [1, "x"]}),
        json!({"a": [true, false]}),
    ]);
    for (query, ids) in [
        ("{ .a = `x` }", vec![1, 2]),
        ("{ .a = `x` && .a = `y` }", vec![1]),
        ("{ .a > 2 }", vec![3]),
        ("{ .a = false }", vec![6]),
        ("{ .a != nil }", vec![1, 2, 3, 6]),
        ("{ .a != nil && .a != `x` }", vec![]),
        ("{ .a != nil && .a !~ `z` }", vec![1, 2]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
    assert_eq!(shown("{ .a = `x` && .a = `y` }", &table), ["a=Array([String(\"x\"), String(\"y\")])"]);
    assert_eq!(shown("{ .a = `y` }", &table), ["a=String(\"y\")"]);
}

#[test]
fn an_attribute_without_scope_is_the_spans_and_where_that_has_none_the_resources() {
    let table = spans_with(&[json!({"both": "span"}), json!({}), json!({"size": "large"})]);
    assert_eq!(found("{ .both = `resource` }", &table), [2, 3]);
    assert_eq!(found("{ .both != `x` }", &table), [1, 2, 3]);
    assert_eq!(found("{ resource.both = `resource` }", &table), [1, 2, 3]);
    assert_eq!(found("{ span.both = nil }", &table), [2, 3]);
    assert_eq!(found("{ .size = 5 }", &table), [1, 2]);
    assert_eq!(found("{ .service.name = `shop` && span:id = `2` }", &table), [2]);
    assert_eq!(found("{ instrumentation.team = `core` }", &table), [1, 2, 3]);
    assert_eq!(found("{ .team = `core` }", &table), [] as [u8; 0]);
}

#[test]
fn regular_expressions_match_the_whole_text_and_texts_compare_by_bytes() {
    let table = spans_with(&[json!({"a": "one\ntwo"}), json!({"a": "Zebra"}), json!({"a": "été"})]);
    assert_eq!(found("{ .a =~ `one` }", &table), [] as [u8; 0]);
    assert_eq!(found("{ .a =~ `one.*` }", &table), [1]);
    assert_eq!(found("{ .a =~ `zebra|(?i)ZEBRA` }", &table), [2]);
    assert_eq!(found("{ .a !~ `.t.` }", &table), [1, 2]);
    assert_eq!(found("{ .a < `a` }", &table), [2]);
    assert_eq!(found("{ name =~ `span [12]` }", &table), [1, 2]);
}

#[test]
fn every_intrinsic_is_looked_up_where_it_stands() {
    let mut eventful = span(2, 1, &json!({}));
    let start = EPOCH * 1_000_000_000;
    eventful["status"] = json!({"code": 2, "message": "broke"});
    eventful["events"] = json!([
        {"timeUnixNano": (start + 7).to_string(), "name": "first", "attributes": pairs(&json!({"n": 1}))},
        {"timeUnixNano": (start + 9).to_string(), "name": "last"},
    ]);
    eventful["links"] = json!([{"traceId": format!("{:032x}", 171), "spanId": format!("{:016x}", 205),
        "attributes": pairs(&json!({"w": true}))}]);
    let spans = [span(1, 0, &json!({})), eventful, span(3, 9, &json!({}))];
    let table = table(&[vec![resource(&json!({"service.name": "shop"}), &spans)]]);
    for (query, ids) in [
        ("{ name = `span 2` }", vec![2]),
        ("{ duration > 1ms && duration <= 0.002s }", vec![2]),
        ("{ status = error }", vec![2]),
        ("{ status != error }", vec![1, 3]),
        ("{ statusMessage = `broke` }", vec![2]),
        ("{ kind = server }", vec![1, 2, 3]),
        ("{ kind = client }", vec![]),
        ("{ span:id = `3` }", vec![3]),
        ("{ span:parentID = `0000000000000001` }", vec![2]),
        ("{ span:parentID = `` }", vec![1]),
        ("{ span:childCount = 1 }", vec![1]),
        ("{ traceDuration = 3ms }", vec![1, 2, 3]),
        ("{ rootName = `span 1` && rootServiceName = `shop` }", vec![1, 2, 3]),
        ("{ trace:id = `0001` }", vec![1, 2, 3]),
        ("{ nestedSetParent < 0 }", vec![1]),
        ("{ nestedSetLeft = 0 }", vec![3]),
        ("{ event:name = `last` }", vec![2]),
        ("{ event:timeSinceStart > 8ns }", vec![2]),
        ("{ event.n = 1 && event:name != `first` }", vec![2]),
        ("{ event.m = nil }", vec![2]),
        ("{ link:traceID = `ab` && link:spanID = `cd` && link.w }", vec![2]),
        ("{ instrumentation:name = `lib` && instrumentation:version = `1` }", vec![1, 2, 3]),
        ("{ resource.service.name != nil && name != nil }", vec![1, 2, 3]),
        ("{ span.name = `span 1` }", vec![]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
    assert_eq!(shown("{ event:timeSinceStart > 0 }", &table), ["event:timeSinceStart=String(\"9ns\")"]);
}

#[test]
fn a_span_shows_what_the_query_saw_of_it_by_unscoped_name() {
    let table = spans_with(&[json!({"a": 1, "b": 2}), json!({"a": 9})]);
    let hit =
        &ask("{ span.a = 1 && name = `span 1` && duration > 0 && resource.service.name = `shop` }", &table)
            [0];
    assert_eq!((hit.trace_id, hit.duration_ns), (TraceId(1_u128.to_be_bytes()), 2_000_000));
    assert_eq!((hit.root_name.as_str(), hit.root_service.as_str()), ("span 1", "shop"));
    assert_eq!(hit.service_stats, [("shop".to_owned(), ServiceStats { spans: 2, errors: 0 })]);
    let span = &hit.span_sets[0].spans[0];
    assert_eq!((span.name.as_str(), span.duration), ("span 1", 1_000_000));
    assert_eq!(
        span.attributes,
        [
            ("a".to_owned(), OwnedValue::Int(1)),
            ("service.name".to_owned(), OwnedValue::String("shop".to_owned()))
        ]
    );
    // The other side of an `||` that does not hold is not shown, a value that is asked to be missing is.
    assert_eq!(shown("{ .a = 1 || .b = 3 || kind = client }", &table), ["a=Int(1)"]);
    assert_eq!(
        shown("{ .c = nil && status = unset }", &table),
        ["c=String(\"nil\")", "status=String(\"unset\")"]
    );
    assert_eq!(shown("{ .a = 9 } | select(.b, kind)", &table), ["a=Int(9)", "kind=String(\"server\")"]);
    assert_eq!(ask("{ }", &table)[0].span_sets[0].spans[1].attributes, []);
}

#[test]
fn structural_operators_follow_the_tree_and_leave_out_whom_no_root_reaches() {
    // 1 -> 2 -> 3, 1 -> 4; 5 hangs in the air with its child 6.
    let of = |id, parent| span(id, parent, &json!({"n": id}));
    let spans = [of(1, 0), of(2, 1), of(3, 2), of(4, 1), of(5, 99), of(6, 5)];
    let table = table(&[vec![resource(&json!({}), &spans)]]);
    for (query, ids) in [
        ("{ .n = 1 } > { }", vec![2, 4]),
        ("{ .n = 1 } >> { }", vec![2, 3, 4]),
        ("{ .n = 3 } < { }", vec![2]),
        ("{ .n = 3 } << { }", vec![1, 2]),
        ("{ .n = 2 } ~ { }", vec![4]),
        ("{ .n = 2 } !> { }", vec![1, 2, 4, 5, 6]),
        ("{ .n = 1 } !>> { }", vec![1, 5, 6]),
        ("{ .n = 2 } !~ { }", vec![1, 2, 3, 5, 6]),
        ("{ .n = 7 } !<< { .n > 4 }", vec![5, 6]),
        ("{ .n = 1 } &>> { .n = 3 }", vec![1, 3]),
        ("{ .n = 3 } &< { }", vec![2, 3]),
        ("{ .n = 2 } &~ { }", vec![2, 4]),
        ("{ .n = 5 } > { }", vec![]),
        ("{ .n = 1 } > { .n = 2 } > { }", vec![3]),
        ("{ .n = 1 } && { .n = 6 }", vec![1, 6]),
        ("{ .n = 1 } && { .n = 7 }", vec![]),
        ("{ .n = 1 } || { .n = 7 }", vec![1]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
}

#[test]
fn with_a_hint_orphans_count_as_roots() {
    // 1 -> 2; 3 hangs in the air, 3 -> 4 -> 5; 6 and 7 are each other's parents. The other trace has no root.
    let of = |id, parent| span(id, parent, &json!({"n": id}));
    let first = [of(1, 0), of(2, 1), of(3, 99), of(4, 3), of(5, 4), of(6, 7), of(7, 6)];
    let second = [of(8, 98), of(9, 8), of(10, 97)];
    let table = table(&[vec![resource(&json!({}), &first)], vec![resource(&json!({}), &second)]]);
    for (query, without, with) in [
        ("{ .n = 3 } >> { }", vec![], vec![4, 5]),
        ("{ .n = 1 } >> { }", vec![2], vec![2]),
        ("{ .n = 3 } > { }", vec![], vec![4]),
        ("{ .n = 5 } << { }", vec![], vec![3, 4]),
        ("{ .n = 1 } ~ { }", vec![], vec![3]),
        ("{ .n = 8 } > { }", vec![], vec![9]),
        ("{ .n = 8 } ~ { }", vec![], vec![10]),
        ("{ .n = 8 } !> { .n > 7 }", vec![8, 9, 10], vec![8, 10]),
        ("{ .n = 7 } > { }", vec![], vec![]),
        ("{ nestedSetParent < 0 }", vec![1], vec![1, 3, 8, 10]),
        ("{ nestedSetParent < 0 } | select(nestedSetLeft)", vec![1], vec![1, 3, 8, 10]),
        ("{ span:childCount = 1 }", vec![1, 3, 4, 6, 7], vec![1, 3, 4, 6, 7, 8]),
    ] {
        assert_eq!(found(query, &table), without, "{query}");
        assert_eq!(found(&format!("{query} with (orphans=true)"), &table), with, "{query}");
    }
}

#[test]
fn stages_group_aggregate_and_filter_the_spans_of_a_trace() {
    let table = spans_with(&[
        json!({"g": "a", "n": 1}),
        json!({"g": "b", "n": 2}),
        json!({"g": "a", "n": 4}),
        json!({}),
    ]);
    let values = |query: &str| {
        let sets = ask(query, &table).into_iter().flat_map(|hit| hit.span_sets);
        let values =
            sets.map(|set| (set.matched, set.attributes.into_iter().map(|(_, value)| value).collect()));
        values.collect::<Vec<(u32, Vec<OwnedValue>)>>()
    };
    let (int, double) = (OwnedValue::Int, OwnedValue::Double);
    let text = |text: &str| OwnedValue::String(text.to_owned());
    assert_eq!(values("{ } | count() = 4"), [(4, vec![int(4)])]);
    assert_eq!(values("{ } | count() > 4"), []);
    assert_eq!(values("{ } | sum(.n) > 6 | min(.n) = 1 | max(.n) = 4"), [(4, vec![int(7), int(1), int(4)])]);
    assert_eq!(values("{ .g = `a` } | avg(.n) > 2"), [(2, vec![double(2.5)])]);
    assert_eq!(values("{ } | avg(duration) >= 2.5ms"), [(4, vec![text("2.5ms")])]);
    assert_eq!(values("{ } | max(.g) > 0"), []);
    assert_eq!(values("{ } | by(.g)"), [(2, vec![text("a")]), (1, vec![text("b")]), (1, vec![text("nil")])]);
    assert_eq!(values("{ } | by(.g) | { .n > 1 } | count() > 0").len(), 2);
    assert_eq!(values("{ } | by(.g) | coalesce()"), [(4, vec![])]);
    assert_eq!(found("({ } | by(.g) | count() > 1) && { .n = 2 }", &table), [1, 2, 3]);
}

#[test]
fn the_parent_is_looked_at_where_it_is_there_whether_or_not_a_root_is() {
    let of = |id, parent, it: Value| span(id, parent, &it);
    let first = [of(1, 0, json!({"n": 1})), of(2, 1, json!({"n": 2, "m": "x"})), of(3, 2, json!({}))];
    let second = [of(4, 99, json!({"n": 4})), of(5, 4, json!({"n": 2.5})), of(6, 6, json!({"n": 6}))];
    let mut with_event = of(7, 3, json!({}));
    with_event["kind"] = json!(3);
    let third = [with_event];
    let table = table(&[vec![
        resource(&json!({"r": "one"}), &first),
        resource(&json!({"r": "two"}), &second),
        resource(&json!({}), &third),
    ]]);
    for (query, ids) in [
        ("{ parent.n = 1 }", vec![2]),
        ("{ parent.n > 0 }", vec![2, 3, 5]),
        ("{ parent.n != 1 }", vec![3, 5]),
        ("{ !(parent.n = 1) }", vec![1, 3, 4, 5, 6, 7]),
        ("{ parent.span.m = `x` || parent.span.m = `y` }", vec![3]),
        ("{ parent.span.r = `one` }", vec![]),
        ("{ parent.resource.r = `one` && resource.r = nil }", vec![7]),
        ("{ parent.r = `two` }", vec![5]),
        ("{ parent.n = nil }", vec![7]),
        ("{ parent.n != nil }", vec![2, 3, 5]),
        ("{ span.n > parent.n }", vec![2]),
        ("{ parent.n - span.n = 1.5 }", vec![5]),
        ("{ parent:name = `span 2` }", vec![3]),
        ("{ parent:name != nil }", vec![2, 3, 5, 7]),
        ("{ duration > parent:duration * 2 && parent:duration < 3ms }", vec![]),
        ("{ duration > parent:duration }", vec![2, 3, 5, 7]),
        ("{ parent:id = `3` }", vec![7]),
        ("{ parent:parentID = `` }", vec![2]),
        ("{ parent:kind = server && kind = client }", vec![7]),
        ("{ parent:childCount = 1 && parent.n = 1 }", vec![2]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
    assert_eq!(
        shown("{ .n = 2 && parent.n > 0 && parent:name != nil && parent:duration > 0 }", &table),
        ["n=Int(2)", "parent.n=Int(1)", "parent.name=String(\"span 1\")", "parent.duration=String(\"1ms\")"]
    );
    let groups = ask("{ } | by(parent:name)", &table).remove(0).span_sets;
    assert_eq!(groups.len(), 5);
}

#[test]
fn children_are_counted_by_ids_in_traces_that_have_a_root() {
    let of = |id, parent| span(id, parent, &json!({}));
    let rooted = [of(1, 0), of(2, 1), of(3, 99), of(4, 3), of(5, 3)];
    let table =
        table(&[vec![resource(&json!({}), &rooted)], vec![resource(&json!({}), &[of(6, 99), of(7, 6)])]]);
    for (query, ids) in [
        ("{ span:childCount = 1 }", vec![1]),
        ("{ span:childCount = 2 }", vec![3]),
        ("{ span:childCount = 0 }", vec![2, 4, 5, 6, 7]),
        ("{ parent:childCount = 2 }", vec![4, 5]),
        ("{ } | max(span:childCount) = 2", vec![1, 2, 3, 4, 5]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
    let plan = Plan::search(&parse("{ span:childCount > 1 }").unwrap()).unwrap();
    assert!(predicate(&plan).wants(Column::ParentSpanId) && !predicate(&plan).wants(Column::NestedSet));
}

#[test]
fn conditions_of_one_event_or_link_are_not_satisfied_by_two() {
    let event = |at: u64, attributes: &Value| json!({"timeUnixNano": at.to_string(), "name": format!("e{at}"), "attributes": pairs(attributes)});
    let link = |id: u8, attributes: &Value| {
        let of = format!("{id:032x}");
        json!({"traceId": of, "spanId": format!("{id:016x}"), "attributes": pairs(attributes)})
    };
    let with = |id: u8, attributes: &Value, events: &[Value], links: &[Value]| {
        let mut it = span(id, 0, attributes);
        it["events"] = events.into();
        it["links"] = links.into();
        it
    };
    let spans = [
        with(
            1,
            &json!({"n": 2}),
            &[event(1, &json!({"a": "x", "n": 1})), event(2, &json!({"a": "y", "n": [2, 3]}))],
            &[link(0xa, &json!({"a": 1})), link(0xb, &json!({}))],
        ),
        with(2, &json!({"n": 1}), &[event(2, &json!({"a": "x", "n": 2.5}))], &[]),
        with(3, &json!({}), &[], &[link(0xb, &json!({"a": 1}))]),
    ];
    let table = table(&[vec![resource(&json!({}), &spans)]]);
    for (query, ids) in [
        ("{ event:name = `e2` && event.a = `x` }", vec![1, 2]),
        ("{ event(event:name = `e2` && event.a = `x`) }", vec![2]),
        ("{ event(event:name = `e1` && event.a = `x`) }", vec![1]),
        ("{ event(event.n = 3 && event.n = 1) }", vec![]),
        ("{ event(event.n = 3 && event.n != 1) }", vec![1]),
        ("{ event(event.n = 3 && event.n = 2) }", vec![1]),
        ("{ event(event.a != `x`) }", vec![1]),
        ("{ !event(event.a = `x`) }", vec![3]),
        ("{ event(!(event.a = `x`)) }", vec![1]),
        ("{ event(event.a = nil) }", vec![]),
        ("{ event(event.a != nil && event:name = `e2`) }", vec![1, 2]),
        ("{ event(event.n > span.n) }", vec![1, 2]),
        ("{ event(event.n > 2.0 && event.n > span.n && duration = 2ms) }", vec![2]),
        ("{ event(event.n * 2 = span.n) }", vec![1]),
        ("{ event(event.a = event.a && span.n = 2) }", vec![1]),
        ("{ event(true) }", vec![1, 2]),
        ("{ link(true) }", vec![1, 3]),
        ("{ event(link.a = 1 && event.a = `y`) }", vec![1]),
        ("{ link:spanID = `b` && link.a = 1 }", vec![1, 3]),
        ("{ link(link:spanID = `b` && link.a = 1) }", vec![3]),
        ("{ link(link:traceID = `a` && link.a = 1) }", vec![1]),
        ("{ link(link.a = nil) }", vec![1]),
        ("{ event(event.a = `x` || event.a = `z`) && span.n = 1 }", vec![2]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
}

#[test]
fn traces_without_a_span_like_this_are_found_and_add_no_spans_to_others() {
    let of = |id, attributes: &Value| {
        resource(&json!({}), &[span(id, 0, attributes), span(id + 1, id, &json!({}))])
    };
    let table =
        table(&[vec![of(1, &json!({"a": 1}))], vec![of(3, &json!({"a": 2}))], vec![of(5, &json!({}))]]);
    for (query, ids) in [
        ("!{ .a = 1 }", vec![3, 4, 5, 6]),
        ("!{ .a != nil }", vec![5, 6]),
        ("!!{ .a = 1 }", vec![1, 2]),
        ("!{ }", vec![]),
        ("{ nestedSetParent < 0 } && !{ .a = 1 }", vec![3, 5]),
        ("!{ .a = 1 } && { nestedSetParent < 0 }", vec![3, 5]),
        ("!{ .a = 1 } && !{ .a = 2 } && { nestedSetParent < 0 }", vec![5]),
        ("(!{ .a = 1 } || !{ .a = 2 }) && { nestedSetParent < 0 }", vec![1, 3, 5]),
        ("{ .a = 1 } || !{ .a != nil }", vec![1, 5, 6]),
        ("!({ .a } || { .a = 1 } > { })", vec![3, 4, 5, 6]),
        ("!{ .a = 1 } > { }", vec![4, 6]),
        ("{ } | !{ .a = 1 }", vec![3, 4, 5, 6]),
        ("{ } | by(.a) | !{ .a != nil }", vec![2, 4, 5, 6]),
        ("{ } | by(.a) | { .a != nil } && !{ .a = 1 }", vec![3]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
}

#[test]
fn scalars_are_compared_with_each_other_and_each_aggregate_is_shown_once() {
    let table =
        spans_with(&[json!({"g": "a", "n": 1}), json!({"g": "b", "n": 2}), json!({"g": "a", "n": 4})]);
    for (query, ids) in [
        ("{ } | max(.n) > 3 * min(.n)", vec![1, 2, 3]),
        ("{ } | max(.n) > 4 * min(.n)", vec![]),
        ("{ } | count() > sum(.n) / 10", vec![1, 2, 3]),
        ("{ } | 10 * count() < sum(.n)", vec![]),
        ("{ } | sum(.n) = 7 * 1", vec![1, 2, 3]),
        ("{ } | max(.m) = max(.m)", vec![]),
        ("{ } | count() / 0 = count() / 0", vec![]),
        ("{ } | 1 > 2", vec![]),
        ("{ } | ({ .g = `a` } | count()) > count() / 2", vec![1, 2, 3]),
        ("{ } | ({ .g = `c` } | count()) = 0", vec![1, 2, 3]),
        ("{ } | by(.g) | ({ .n > 1 } | count()) = count()", vec![2]),
        ("({ .g = `a` } | by(.n) | count()) = 2", vec![1, 2, 3]),
        ("{ } | ({ } > { .g = `a` } | max(.n)) = 4", vec![1, 2, 3]),
    ] {
        assert_eq!(found(query, &table), ids, "{query}");
    }
    let hit = ask("{ } | count() > ({ .g = `a` } | max(.n)) - count()", &table).remove(0);
    let names: Vec<_> = hit.span_sets[0].attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["count()", "({ .g = `a` } | max(.n))"]);
}

#[test]
fn traces_outside_the_window_or_replaced_elsewhere_are_not_looked_at_and_the_newest_are_kept() {
    let traces: Vec<_> = (0..4).map(|_| vec![resource(&json!({}), &[span(1, 0, &json!({}))])]).collect();
    let table = table(&traces);
    let plan = Plan::search(&parse("{ }").unwrap()).unwrap();
    let at = |seconds: u64| (EPOCH + seconds) * 1_000_000_000;
    let window = TimeRange { start: at(1), end: at(2) };
    let mut alive = Bitmap::all(4);
    assert_eq!(search(&plan, &table, None, Some(window)).inspected_traces, 2);
    alive.clear(2);
    let matches = search(&plan, &table, Some(&alive), Some(window));
    assert_eq!(matches.ranks().collect::<Vec<_>>(), [at(1)]);
    assert_eq!((matches.inspected_traces, matches.inspected_spans), (1, 1));
    let mut matches = search(&plan, &table, None, None);
    matches.keep_first(3, Some(at(2)));
    let ids: Vec<_> = hits(&plan, &table, &matches, 1).iter().map(|hit| hit.trace_id.0[15]).collect();
    assert_eq!(ids, [3, 4]);
    matches.keep_first(1, None);
    assert_eq!(matches.ranks().collect::<Vec<_>>(), [at(3)]);
}

#[test]
fn by_a_hint_the_longest_traces_are_kept() {
    let lasting = |id: u8| vec![resource(&json!({}), &[span(id, 0, &json!({}))])];
    let table = table(&[lasting(2), lasting(9), lasting(4), lasting(1)]);
    for stages in ["", " | count() > 0"] {
        let query = format!("{{ }}{stages} with (order_by=\"duration\")");
        let plan = Plan::search(&parse(&query).unwrap()).unwrap();
        let mut matches = search(&plan, &table, None, None);
        assert_eq!(matches.ranks().collect::<Vec<_>>(), [2_000_000, 9_000_000, 4_000_000, 1_000_000]);
        matches.keep_first(2, Some(3_000_000));
        let ids: Vec<_> = hits(&plan, &table, &matches, 1).iter().map(|hit| hit.trace_id.0[15]).collect();
        assert_eq!(ids, [2, 3]);
    }
}

#[test]
fn tags_are_parts_of_texts_on_any_span_of_the_trace_and_durations_are_the_traces() {
    let table = spans_with(&[json!({"a": "Checkout"}), json!({"b": 500}), json!({})]);
    let tags = |text: &str, min, max| {
        let plan = Plan::legacy_tags(&crate::traceql::parse_tags(text).unwrap(), min, max).unwrap();
        hits(&plan, &table, &search(&plan, &table, None, None), 3)
    };
    let hit = tags("a=check b=500 service.name=SHO", Some(3_000_000), Some(3_000_000));
    assert_eq!(hit.len(), 1);
    assert!(hit[0].span_sets.is_empty() && hit[0].service_stats.is_empty());
    assert!(tags("a=checks", None, None).is_empty());
    assert!(tags("a=check", Some(4_000_000), None).is_empty());
    assert!(tags("", None, Some(2_000_000)).is_empty());
}

#[test]
fn a_plan_asks_for_the_columns_it_looks_at_and_no_more() {
    let plan =
        Plan::search(&parse("{ .a = 1 && name = `x` } >> { resource.service.name = `y` }").unwrap()).unwrap();
    let Projection::Some { columns, attributes } = predicate(&plan) else { panic!("a selection") };
    for column in [Column::TraceTime, Column::NestedSet, Column::Name, Column::Service] {
        assert!(columns.contains(&column), "{column:?}");
    }
    assert!(!columns.contains(&Column::SpanId));
    for level in [Level::Span, Level::Resource] {
        assert!(attributes.contains(&(level, "a".to_owned())));
    }
    assert!(output(&plan).wants(Column::ServiceStats));
}
