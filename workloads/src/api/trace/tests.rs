use axum::http::{HeaderValue, header};
use bytes::Bytes;

use super::*;
use crate::proto::tempopb::trace::v1::{ResourceSpans, ScopeSpans, Span};

const ID: TraceId = TraceId([7; 16]);

fn found(spans: u8) -> FoundTrace {
    let span = |n| Span {
        trace_id: Bytes::copy_from_slice(&ID.0),
        span_id: Bytes::copy_from_slice(&[n; 8]),
        name: "x".repeat(100),
        start_time_unix_nano: 5,
        end_time_unix_nano: 6,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: (1..=spans).map(span).collect(), ..ScopeSpans::default() };
    let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let otlp = Trace { resource_spans: vec![resource] }.encode_to_vec();
    let mut builder = TableBuilder::new();
    builder.begin(ID);
    builder.add_otlp(&otlp).unwrap();
    builder.end();
    FoundTrace { table: builder.finish(), bytes: otlp.len() as u64 }
}

/// What the v2 route answers to these parameters.
fn asked(query: &str, found: FoundTrace, max: Option<u64>, encoding: Encoding) -> Reply {
    let uri: Uri = format!("/api/v2/traces/1?{query}").parse().unwrap();
    let bounds = crate::frontend::FrontendOptions::of(&vivace_config::Config::default()).bounds;
    let plan = |form: &crate::frontend::Form| form.plan().map_err(|e| Refusal::bad_request(e.to_string()));
    let options = Options::of(&Params::of(&uri).unwrap(), &bounds, plan).unwrap();
    Asked { id: ID, options, max }.answer(found, encoding).unwrap()
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[test]
fn a_trace_within_its_bound_is_answered_whole() {
    let json = text(&whole(&found(2), Some(1 << 20), Encoding::Json).unwrap());
    assert!(json.starts_with(r#"{"batches":[{"#) && json.contains(r#""spanId":"AQEBAQEBAQE=""#), "{json}");
    let json = text(&asked("", found(2), None, Encoding::Json));
    assert!(json.starts_with(r#"{"trace":{"resourceSpans":[{"#) && !json.contains("PARTIAL"), "{json}");
}

#[test]
fn a_trace_beyond_its_bound_is_refused_by_v1_and_cut_by_v2() {
    let refused = whole(&found(20), Some(1000), Encoding::Json).unwrap_err();
    assert_eq!(refused.to_string(), "trace exceeds max size (max bytes: 1000)");
    let json = text(&asked("", found(20), Some(1000), Encoding::Json));
    assert!(
        json.ends_with(
            r#""status":"PARTIAL","message":"Trace exceeds maximum size of 1000 bytes, a partial trace is returned; 6 of 20 spans are returned, the first by time"}"#
        ),
        "{json}"
    );
    let bytes = asked("", found(20), Some(1000), Encoding::Protobuf).body;
    let response = TraceByIdResponse::decode(bytes).unwrap();
    assert!(response.trace.len() <= 1000);
    let trace = Trace::decode(response.trace.clone()).unwrap();
    let spans = trace.resource_spans[0].scope_spans[0].spans.len();
    assert!((4..20).contains(&spans), "{spans} spans");
    assert_eq!(response.status(), PartialStatus::Partial);
}

#[test]
fn a_trace_that_is_not_there_is_an_empty_one_in_v2() {
    assert_eq!(text(&nothing(Encoding::Json)), r#"{"trace":{},"metrics":{}}"#);
}

/// A root at 100, a child that failed at 200 with a child of its own at 300, and a leaf at 50 below the root.
fn family() -> FoundTrace {
    let span = |id: u8, parent: u8, start, status| Span {
        trace_id: Bytes::copy_from_slice(&ID.0),
        span_id: Bytes::copy_from_slice(&[id; 8]),
        parent_span_id: if parent == 0 { Bytes::new() } else { Bytes::copy_from_slice(&[parent; 8]) },
        name: format!("span {id}"),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 10,
        status: Some(crate::proto::tempopb::trace::v1::Status { code: status, ..Default::default() }),
        ..Span::default()
    };
    let spans = [span(4, 1, 50, 0), span(1, 0, 100, 0), span(2, 1, 200, 2), span(3, 2, 300, 0)];
    let scope = |spans| ScopeSpans { spans, ..ScopeSpans::default() };
    let resource = |spans| ResourceSpans { scope_spans: vec![scope(spans)], ..ResourceSpans::default() };
    let (first, rest) = spans.split_at(1);
    let trace = Trace { resource_spans: vec![resource(first.to_vec()), resource(rest.to_vec())] };
    FoundTrace { table: table(ID, &trace).unwrap(), bytes: 1 << 20 }
}

/// The ids of the spans of an answer in Tempo's JSON.
fn ids(reply: &Reply) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let list = |value: &serde_json::Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let resources = list(&json["trace"], "resourceSpans");
    let scopes = resources.iter().flat_map(|resource| list(resource, "scopeSpans"));
    let spans = scopes.flat_map(|scope| list(&scope, "spans"));
    let mut names: Vec<_> = spans.map(|span| span["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_filter_keeps_what_matches_and_its_kin_and_says_that_it_did() {
    let q = "q=%7B%20status%20%3D%20error%20%7D";
    let kept = |more: &str| ids(&asked(&format!("{q}{more}"), family(), None, Encoding::Json));
    assert_eq!(kept(""), ["span 2"]);
    assert_eq!(kept("&keep_hierarchy=true"), ["span 1", "span 2"]);
    assert_eq!(kept("&match_depth=1"), ["span 2", "span 3"]);
    assert_eq!(kept("&keep_hierarchy=true&match_depth=-1"), ["span 1", "span 2", "span 3"]);
    let filtered = text(&asked(q, family(), None, Encoding::Json));
    let said = r#""status":"PARTIAL","message":"Trace filtered, only a subset of spans matching the filter is returned"}"#;
    assert!(filtered.ends_with(said), "{filtered}");
    let all = text(&asked("q=%7B%7D", family(), None, Encoding::Json));
    assert!(!all.contains("PARTIAL"), "{all}");
}

#[test]
fn of_a_trace_that_is_too_large_the_root_and_the_first_spans_by_time_are_answered() {
    let span = Excerpt::whole(&family().table, 0).otlp().len() as u64 / 4;
    let some = asked("", family(), Some(span * 3), Encoding::Json);
    assert_eq!(ids(&some), ["span 1", "span 4"], "the root, then what started first");
    assert!(text(&some).contains("2 of 4 spans"), "{}", text(&some));
    let filtered = asked("q=%7B%20status%20%3D%20error%20%7D", family(), Some(span * 3), Encoding::Json);
    assert_eq!(ids(&filtered), ["span 2"], "what is left after the filter is within the bound");
}

#[test]
fn pruning_sums_up_and_says_so() {
    let reply = asked("span_pruning=true&span_pruning_min_spans=2", found(20), None, Encoding::Json);
    assert_eq!(ids(&reply).len(), 1);
    assert!(text(&reply).contains("Spans pruned, 19 similar spans of 20"), "{}", text(&reply));
    assert_eq!(ids(&asked("span_pruning=false", found(20), None, Encoding::Json)).len(), 20);
}

#[test]
fn otlps_own_json_has_ids_in_hex_and_enums_by_number() {
    let reply = asked("q=%7B%20status%20%3D%20error%20%7D", family(), None, Encoding::Otlp);
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["spanId"], &span["parentSpanId"]), (&"02".repeat(8).into(), &"01".repeat(8).into()));
    assert_eq!((&span["traceId"], &span["status"]["code"]), (&"07".repeat(16).into(), &2.into()));
    assert_eq!(json["status"], "PARTIAL");
    // It is what a receiver takes.
    let again = tracing_core::wire::otlp::json_to_proto(&reply.body).unwrap();
    assert_eq!(Trace::decode(&*again).unwrap().resource_spans.len(), 1);
}

#[test]
fn the_plain_form_has_spans_by_service_and_attributes_by_key() {
    let json = text(&asked("", found(1), None, Encoding::Plain));
    let wanted = format!(
        r#"{{"trace":{{"traceId":"{}","services":[{{"resource":{{}},"scopes":[{{"spans":[{{"spanId":"0101010101010101","name":"{}","kind":"SPAN_KIND_UNSPECIFIED","startTimeUnixNano":"5","endTimeUnixNano":"6","durationMs":0.000001,"attributes":{{}},"status":{{"code":"STATUS_CODE_UNSET"}}}}]}}]}}]}}}}"#,
        "07".repeat(16),
        "x".repeat(100)
    );
    assert_eq!(json, wanted);
}

#[test]
fn a_client_says_by_accept_or_by_format_what_it_wants() {
    let accept =
        |accept: &'static str| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
    let plain: Uri = "/api/traces/1".parse().unwrap();
    for (header, wanted) in [
        ("*/*", Encoding::Json),
        ("application/protobuf", Encoding::Protobuf),
        ("text/plain, application/vnd.grafana.llm", Encoding::Plain),
        ("application/vnd.opentelemetry+json", Encoding::Otlp),
        ("application/json, application/vnd.opentelemetry+json", Encoding::Json),
    ] {
        assert_eq!(encoding(&accept(header), &plain).unwrap(), wanted, "{header}");
    }
    let otlp: Uri = "/api/traces/1?format=otlp".parse().unwrap();
    assert_eq!(encoding(&accept("application/protobuf"), &otlp).unwrap(), Encoding::Otlp);
    let other: Uri = "/api/traces/1?format=xml".parse().unwrap();
    assert!(format!("{:?}", encoding(&HeaderMap::new(), &other)).contains("expected otlp, found `xml`"));
}
