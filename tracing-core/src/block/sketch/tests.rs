//! A sketch never rules out what evaluation finds, and does rule out what is not there.

use std::{fmt::Write, sync::Arc};

use proptest::prelude::*;

use super::{gather::Memo, *};
use crate::{
    block::tests::model,
    table::{Code, SpanTable, ValueKind, evaluate},
    traceql::{Plan, parse},
};

fn sketch(table: &SpanTable) -> Sketch {
    let (mut builder, mut memo) = (SketchBuilder::default(), Memo::default());
    (0..table.trace_count()).for_each(|trace| builder.add(table, trace, &mut memo));
    builder.finish(0)
}

fn plan(query: &str) -> Plan {
    let parsed = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    Plan::search(&parsed).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// Values that a query may ask for, many of which the tables of `model` hold.
fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "``",
            "`a`",
            "`b`",
            "`GET`",
            "`http.method`",
            "`absent`",
            "true",
            "false",
            "error",
            "ok",
            "server",
            "client",
            "0",
            "1",
            "-1",
            "1.5",
            "0.0",
            "10ms",
            "100h",
            "maxInt",
            "minInt",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|n| n.to_string()),
    ]
}

fn field() -> impl Strategy<Value = String> {
    let names = ["a", "b", "http.method", "http.url", "http.status_code", "url.path", "cluster", "absent"];
    let scopes = [".", "span.", "resource.", "event.", "link.", "instrumentation."];
    let attribute = (proptest::sample::select(scopes.to_vec()), proptest::sample::select(names.to_vec()));
    prop_oneof![
        3 => attribute.prop_map(|(scope, name)| format!("{scope}{name}")),
        1 => Just("resource.service.name".to_owned()),
    ]
}

fn comparison() -> impl Strategy<Value = String> {
    let op = proptest::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let text = proptest::sample::select(vec![
        "name",
        "statusMessage",
        "rootName",
        "rootServiceName",
        "event:name",
        "instrumentation:name",
        "instrumentation:version",
    ]);
    let number = proptest::sample::select(vec!["duration", "traceDuration", "event:timeSinceStart"]);
    let time = proptest::sample::select(vec!["0ms", "1ms", "1000h", "2000000h"]);
    prop_oneof![
        6 => (field(), op.clone(), literal()).prop_map(|(field, op, value)| format!("{field} {op} {value}")),
        2 => (field(), proptest::sample::select(vec!["=~", "!~"]))
            .prop_map(|(field, op)| format!("{field} {op} `a|ht.*`")),
        2 => (text, op.clone(), proptest::sample::select(vec!["`a`", "``", "`absent`", "`http.url`"]))
            .prop_map(|(field, op, value)| format!("{field} {op} {value}")),
        1 => (number, op.clone(), time).prop_map(|(field, op, value)| format!("{field} {op} {value}")),
        1 => proptest::sample::select(vec!["error", "ok", "unset"]).prop_map(|s| format!("status = {s}")),
        1 => proptest::sample::select(vec!["server", "client"]).prop_map(|k| format!("kind != {k}")),
        1 => (field(), proptest::sample::select(vec!["=", "!="])).prop_map(|(f, op)| format!("{f} {op} nil")),
        1 => (field(), op, field()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => field().prop_map(|field| format!("!({field} = `a`)")),
        1 => field().prop_map(|field| format!("{field} * 2 > 1")),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    let join = proptest::sample::select(vec!["&&", "||"]);
    (comparison(), proptest::collection::vec((join, comparison()), 0..3)).prop_map(|(first, rest)| {
        let mut text = format!("{{ {first}");
        for (op, next) in rest {
            write!(text, " {op} {next}").expect("writing to a string");
        }
        text + " }"
    })
}

fn query() -> impl Strategy<Value = String> {
    let join =
        proptest::sample::select(vec!["&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!~", "&>", "&>>"]);
    let stage = prop_oneof![
        filter(),
        field().prop_map(|field| format!("by({field})")),
        field().prop_map(|field| format!("avg({field}) > 0")),
        field().prop_map(|field| format!("max({field}) != 1")),
        Just("count() > 1".to_owned()),
        Just("coalesce()".to_owned()),
    ];
    (filter(), proptest::option::of((join, filter())), proptest::option::of(stage)).prop_map(
        |(left, right, stage)| {
            let spansets = right.map_or(left.clone(), |(op, right)| format!("{left} {op} {right}"));
            stage.map_or(spansets.clone(), |stage| format!("({spansets}) | {stage}"))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_evaluation_finds_may_match(traces in model::traces(), queries in proptest::collection::vec(query(), 40)) {
        let mut table = model::table(&traces);
        nest(&mut table);
        let sketch = sketch(&table);
        for query in queries {
            let Ok(parsed) = parse(&query) else { continue };
            let Ok(plan) = Plan::search(&parsed) else { continue };
            let found = evaluate::search(&plan, &table, None, None);
            prop_assert!(found.is_empty() || sketch.may_match(&plan), "{query}");
        }
    }

    #[test]
    fn a_sketch_comes_back_from_its_bytes_and_damage_is_an_error(
        traces in model::traces(),
        at in any::<prop::sample::Index>(),
    ) {
        let sketch = sketch(&model::table(&traces));
        let bytes = sketch.encode().unwrap();
        prop_assert_eq!(Sketch::decode(&bytes).unwrap(), sketch);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= 0x40;
        prop_assert!(Sketch::decode(&damaged).is_err());
        prop_assert!(Sketch::decode(&bytes[..at.index(bytes.len())]).is_err());
    }
}

/// Each span of a trace within the one before: the nested sets of `model` are no sets, and what is no child
/// of anybody may be found below nobody.
fn nest(table: &mut SpanTable) {
    for trace in 0..table.trace_count() {
        let spans = table.spans_of_trace(trace);
        let count = spans.len() as i32;
        for (depth, span) in (0..count).zip(spans) {
            table.spans.left[span] = depth + 1;
            table.spans.right[span] = 2 * count - depth;
            table.spans.parent[span] = if depth == 0 { -1 } else { depth };
        }
    }
}

/// Spans of a shop, with an attribute of few values and one of many.
fn shop(spans: u64) -> SpanTable {
    let mut table = SpanTable::default();
    let t = &mut table;
    let [few, many, size] = ["http.method", "http.url", "size"].map(|key| t.strings.intern(key));
    for n in 0..spans {
        t.traces.id.push(crate::model::TraceId(u128::from(n).to_be_bytes()));
        t.traces.start.push(0);
        t.traces.end.push(1_000_000 * (n + 1));
        let service = t.strings.intern(["cart", "payment"][n as usize % 2]);
        t.traces.root_service.push(service);
        t.traces.root_name.push(Code::EMPTY);
        t.resources.service.push(service);
        let name = t.strings.intern("GET");
        t.scopes.name.push(Code::EMPTY);
        t.scopes.version.push(Code::EMPTY);
        t.spans.name.push(name);
        t.spans.kind.push(2);
        t.spans.status.push(0);
        t.spans.duration.push(1_000_000 * (n + 1));
        t.spans.status_message.push(Code::EMPTY);
        let url = t.strings.intern(&format!("/orders/{n}"));
        let attributes = &mut t.spans.attributes;
        attributes.key.extend([few, many, size]);
        attributes.kind.extend([ValueKind::String, ValueKind::String, ValueKind::Int]);
        attributes.value.extend([name.payload(), url.payload(), n * 3]);
        attributes.offsets.close(attributes.key.len());
        let row = n as usize + 1;
        for offsets in [&mut t.traces.resources, &mut t.resources.scopes, &mut t.scopes.spans] {
            offsets.close(row);
        }
        t.traces.stats.close(0);
        t.resources.attributes.offsets.close(0);
        t.scopes.attributes.offsets.close(0);
        t.spans.events.close(0);
        t.spans.links.close(0);
    }
    table
}

#[test]
fn what_is_not_there_is_ruled_out_and_the_sketch_stays_small() {
    let table = shop(5000);
    let sketch = sketch(&table);
    let bytes = sketch.encode().unwrap();
    assert!(bytes.len() < 20 << 10, "{} bytes", bytes.len());
    for query in [
        "{ span.http.url = `http://nope` }",
        "{ .http.url = `http://nope` || resource.service.name = `shipping` }",
        "{ span.size = 100000 }",
        "{ span.size > 15000 }",
        "{ status = error }",
        "{ kind = client }",
        "{ duration > 6s }",
        "{ traceDuration > 6s }",
        "{ name =~ `P.*` }",
        "{ name != `GET` }",
        "{ span.absent != nil }",
        "{ span.absent != `a` }",
        "{ span.absent = `a` && name = `GET` }",
        "{ event:name = `exception` }",
        "{ event.message = nil }",
        "{ span.http.method > 5 }",
        "{ name = `GET` } >> { status = error }",
        "{ status = error } >> { name = `GET` }",
        "{ status = error } && { name = `GET` }",
        "{ name = `GET` } | { kind = client }",
        "{ name = `GET` } | avg(span.absent) > 1",
        "({ name = `POST` } | count() > 1) || { span.http.method = `PUT` }",
        "{ rootServiceName = `shipping` }",
        "{ span.absent > span.size }",
    ] {
        assert!(!sketch.may_match(&plan(query)), "{query}");
    }
    for query in [
        "{ }",
        "{ span.http.url = `/orders/17` }",
        "{ span.size = 30 && status = unset }",
        "{ span.size = 30.0 }",
        "{ status != error }",
        "{ duration < 2ms }",
        "{ span.absent = nil }",
        "{ !(status = error) }",
        "{ status = error } || { name = `GET` }",
        "{ status = error } !>> { name = `GET` }",
        "{ .service.name = `cart` }",
        "{ span:id = `1` }",
        "{ name = `GET` } | by(span.absent) | count() > 1",
    ] {
        assert!(sketch.may_match(&plan(query)), "{query}");
    }
}

#[test]
fn beyond_its_bounds_a_sketch_knows_less_and_is_no_larger() {
    let mut table = shop(1);
    // A thousand keys are kept; what a key that is left out holds is not known.
    for n in 0..2000 {
        let key = table.strings.intern(&format!("key {n:04}"));
        table.spans.attributes.key.push(key);
        table.spans.attributes.kind.push(ValueKind::Int);
        table.spans.attributes.value.push(n);
    }
    table.spans.attributes.offsets = crate::table::Offsets(vec![0, 2003]);
    let keys = sketch(&table);
    assert!(keys.fields.len() <= 1000);
    assert!(keys.may_match(&plan("{ span.\"key 1999\" = 1999 }")));
    assert!(!keys.may_match(&plan("{ span.\"key 0001\" = 7 }")));
    assert!(!keys.may_match(&plan("{ resource.\"key 1999\" = 1999 }")), "other places are known whole");
    let values = sketch(&shop(300_000));
    assert!(values.encode().unwrap().len() < 20 << 10, "{} bytes", values.encode().unwrap().len());
    assert!(values.may_match(&plan("{ span.http.url = `http://nope` }")), "too many values to keep");
    assert!(!values.may_match(&plan("{ span.size > 900000 }")));
    assert!(!values.may_match(&plan("{ span.http.method = `PUT` }")));
}

#[test]
fn tables_that_come_and_go_are_told_apart() {
    let mut builder = SketchBuilder::default();
    for text in ["first", "second"] {
        let mut table = shop(1);
        let code = table.strings.intern(text);
        table.spans.name = vec![code];
        builder.add(&Arc::new(table), 0, &mut Memo::default());
    }
    let sketch = builder.finish(0);
    assert!(sketch.may_match(&plan("{ name = `first` }")) && sketch.may_match(&plan("{ name = `second` }")));
    assert!(!sketch.may_match(&plan("{ name = `third` }")));
}
