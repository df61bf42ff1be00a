//! Tempo's JSON of a search answer: jsonpb, so 64-bit integers are strings, zero values are left out, and
//! names are those of `tempopb`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};
use tracing_core::table::evaluate::{OwnedValue, ServiceStats, SpanHit, SpanSet, TraceHit};

use crate::frontend::Answer;

/// The answer; by tags, without spans and statistics.
pub(super) fn encode(answer: &Answer, by_tags: bool) -> Vec<u8> {
    let traces = answer.part.hits.iter().map(|hit| trace(hit, by_tags)).collect();
    let (stats, cost) = (&answer.part.stats, &answer.cost);
    let metrics = Metrics {
        inspected_traces: stats.inspected_traces,
        inspected_bytes: Text(stats.inspected_bytes),
        total_blocks: cost.blocks,
        completed_jobs: cost.completed,
        total_jobs: cost.jobs,
        total_block_bytes: Text(cost.block_bytes),
        inspected_spans: Text(stats.inspected_spans),
    };
    let partial = answer.partial.as_deref();
    let (status, message) = (partial.map(|_| "PARTIAL"), partial);
    serde_json::to_vec(&Body { traces, metrics, status, message })
        .expect("maps with text keys and plain values always become JSON")
}

#[derive(Serialize)]
struct Body<'a> {
    traces: Vec<Trace<'a>>,
    metrics: Metrics,
    /// As in an answer to a lookup; Tempo has neither here, and an error instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    root_service_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_trace_name: &'a str,
    #[serde(skip_serializing_if = "Text::is_zero")]
    start_time_unix_nano: Text<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    duration_ms: u32,
    /// The first of `span_sets`, for clients that know no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    span_set: Option<Set<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    span_sets: Vec<Set<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service_stats: BTreeMap<&'a str, Stats>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(skip_serializing_if = "is_zero")]
    span_count: u32,
    #[serde(skip_serializing_if = "is_zero")]
    error_count: u32,
}

#[derive(Serialize)]
struct Set<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<Span<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    matched: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Text::is_zero")]
    start_time_unix_nano: Text<u64>,
    #[serde(skip_serializing_if = "Text::is_zero")]
    duration_nanos: Text<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    #[serde(skip_serializing_if = "is_none")]
    inspected_traces: u64,
    #[serde(skip_serializing_if = "Text::is_zero")]
    inspected_bytes: Text<u64>,
    #[serde(skip_serializing_if = "is_none")]
    total_blocks: u64,
    #[serde(skip_serializing_if = "is_none")]
    completed_jobs: u64,
    #[serde(skip_serializing_if = "is_none")]
    total_jobs: u64,
    #[serde(skip_serializing_if = "Text::is_zero")]
    total_block_bytes: Text<u64>,
    #[serde(skip_serializing_if = "Text::is_zero")]
    inspected_spans: Text<u64>,
}

/// A 64-bit integer, which JSON of protobuf writes as a string.
#[derive(Clone, Copy)]
struct Text<T>(T);

/// An OTLP AnyValue.
struct Value<'a>(&'a OwnedValue);

impl Text<u64> {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1))?;
        match self.0 {
            OwnedValue::String(text) => map.serialize_entry("stringValue", text)?,
            OwnedValue::Int(number) => map.serialize_entry("intValue", &Text(number))?,
            OwnedValue::Bool(truth) => map.serialize_entry("boolValue", truth)?,
            OwnedValue::Double(number) if number.is_nan() => map.serialize_entry("doubleValue", "NaN")?,
            OwnedValue::Double(number) if number.is_infinite() => {
                let text = if *number > 0.0 { "Infinity" } else { "-Infinity" };
                map.serialize_entry("doubleValue", text)?;
            }
            // Go writes whole numbers without a fraction, up to where it takes to exponents.
            OwnedValue::Double(number)
                if number.fract() == 0.0 && number.abs() < 1e15 && number.is_sign_positive() =>
            {
                map.serialize_entry("doubleValue", &(*number as i64))?;
            }
            OwnedValue::Double(number) => map.serialize_entry("doubleValue", number)?,
            OwnedValue::Array(values) => {
                let values: Vec<_> = values.iter().map(Value).collect();
                map.serialize_entry("arrayValue", &BTreeMap::from([("values", values)]))?;
            }
        }
        map.end()
    }
}

fn trace(hit: &TraceHit, by_tags: bool) -> Trace<'_> {
    let sets = if by_tags { &[] } else { hit.span_sets.as_slice() };
    let stats = if by_tags { &[] } else { hit.service_stats.as_slice() };
    Trace {
        trace_id: hit.trace_id.trimmed_hex(),
        root_service_name: hit.shown_root_service(),
        root_trace_name: &hit.root_name,
        start_time_unix_nano: Text(hit.start),
        duration_ms: u32::try_from(hit.duration_ns / 1_000_000).unwrap_or(u32::MAX),
        span_set: sets.first().map(set),
        span_sets: sets.iter().map(set).collect(),
        service_stats: stats.iter().map(counts).collect(),
    }
}

fn counts((service, stats): &(String, ServiceStats)) -> (&str, Stats) {
    (service, Stats { span_count: stats.spans, error_count: stats.errors })
}

fn set(set: &SpanSet) -> Set<'_> {
    Set {
        spans: set.spans.iter().map(span).collect(),
        matched: set.matched,
        attributes: attributes(&set.attributes),
    }
}

fn span(span: &SpanHit) -> Span<'_> {
    Span {
        span_id: span.id.to_string(),
        name: &span.name,
        start_time_unix_nano: Text(span.start),
        duration_nanos: Text(span.duration),
        attributes: attributes(&span.attributes),
    }
}

fn attributes(attributes: &[(String, OwnedValue)]) -> Vec<Attribute<'_>> {
    attributes.iter().map(|(key, value)| Attribute { key, value: Value(value) }).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use tracing_core::{
        engine::{SearchPart, SearchStats},
        model::{SpanId, TraceId},
    };

    use super::*;
    use crate::frontend::Cost;

    fn answer() -> Answer {
        let values = vec![
            ("status".to_owned(), OwnedValue::String("error".into())),
            ("n".to_owned(), OwnedValue::Int(-7)),
            ("d".to_owned(), OwnedValue::Double(f64::NAN)),
            ("w".to_owned(), OwnedValue::Double(2.0)),
            ("b".to_owned(), OwnedValue::Bool(true)),
            ("a".to_owned(), OwnedValue::Array(vec![OwnedValue::Int(1)])),
        ];
        let span = SpanHit {
            id: SpanId([0, 0, 0, 0, 0, 0, 0, 1]),
            name: String::new(),
            start: 5,
            duration: 0,
            attributes: values,
        };
        let hit = TraceHit {
            trace_id: TraceId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0e, 0xd0]),
            root_service: String::new(),
            root_name: String::new(),
            start: 1_700_000_000_000_000_000,
            duration_ns: 2_999_999,
            service_stats: vec![("shop".into(), ServiceStats { spans: 2, errors: 0 })],
            span_sets: vec![SpanSet { matched: 2, spans: vec![span], attributes: Vec::new() }],
        };
        let stats = SearchStats { inspected_traces: 3, inspected_bytes: 44, inspected_spans: 0 };
        let cost = Cost { blocks: 0, block_bytes: 0, jobs: 2, completed: 1 };
        let part = SearchPart { hits: vec![hit], stats, ..SearchPart::default() };
        Answer { part, cost, partial: None }
    }

    #[test]
    fn an_answer_is_written_as_jsonpb_writes_it() {
        let set = r#"{"spans":[{"spanID":"0000000000000001","startTimeUnixNano":"5","attributes":[{"key":"status","value":{"stringValue":"error"}},{"key":"n","value":{"intValue":"-7"}},{"key":"d","value":{"doubleValue":"NaN"}},{"key":"w","value":{"doubleValue":2}},{"key":"b","value":{"boolValue":true}},{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"}]}}}]}],"matched":2}"#;
        let wanted = format!(
            r#"{{"traces":[{{"traceID":"ed0","rootServiceName":"<root span not yet received>","startTimeUnixNano":"1700000000000000000","durationMs":2,"spanSet":{set},"spanSets":[{set}],"serviceStats":{{"shop":{{"spanCount":2}}}}}}],"metrics":{{"inspectedTraces":3,"inspectedBytes":"44","completedJobs":1,"totalJobs":2}}}}"#
        );
        assert_eq!(String::from_utf8(encode(&answer(), false)).unwrap(), wanted);
    }

    #[test]
    fn a_search_by_tags_is_answered_with_traces_alone() {
        let json = String::from_utf8(encode(&answer(), true)).unwrap();
        assert!(json.contains("\"durationMs\":2}]"), "{json}");
    }

    #[test]
    fn nothing_found_is_an_empty_list() {
        let none = Answer::default();
        assert_eq!(encode(&none, false), br#"{"traces":[],"metrics":{}}"#);
    }
}
