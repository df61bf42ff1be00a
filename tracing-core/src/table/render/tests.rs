use super::*;
use crate::table::{TableBuilder, Value, ValueKind};
use crate::wire::otlp::{json_to_proto, split};

/// A table with one trace of one span, which has these attributes.
fn table(attributes: &str) -> SpanTable {
    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
        "scopeSpans":[{{"spans":[{{"traceId":"000000000000000000000000000000ff","spanId":"00000000000000ff",
        "startTimeUnixNano":"5","endTimeUnixNano":"9","attributes":{attributes}}}]}}]}}]}}"#
    );
    let split = split(&json_to_proto(json.as_bytes()).unwrap()).unwrap();
    from_otlp(&split.traces[0].otlp)
}

fn from_otlp(otlp: &[u8]) -> SpanTable {
    let mut builder = TableBuilder::new();
    builder.begin(crate::model::TraceId::from_hex("ff").unwrap());
    builder.add_otlp(otlp).unwrap();
    builder.end();
    builder.finish()
}

#[test]
fn every_kind_of_value_comes_back_from_both_forms() {
    let attributes = r#"[{"key":"s","value":{"stringValue":""}},{"key":"i","value":{"intValue":"0"}},
        {"key":"d","value":{"doubleValue":"NaN"}},{"key":"inf","value":{"doubleValue":"-Infinity"}},
        {"key":"b","value":{"boolValue":true}},{"key":"is","value":{"arrayValue":{"values":[{"intValue":"1"},{"intValue":"2"}]}}},
        {"key":"none","value":{"arrayValue":{}}},
        {"key":"mixed","value":{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"a\"b"}]}}},
        {"key":"map","value":{"kvlistValue":{}}},{"key":"raw","value":{"bytesValue":"AAFyYXc="}},{"key":"empty","value":{}}]"#;
    let table = table(attributes);
    let kinds = &table.spans.attributes.kind;
    assert_eq!(kinds[5..8], [ValueKind::Ints, ValueKind::EmptyArray, ValueKind::Unsupported]);
    let rendered = resource_spans_json(&table, 0);
    let json: serde_json::Value = serde_json::from_str(&rendered).unwrap();
    let expected: serde_json::Value = serde_json::from_str(attributes).unwrap();
    assert_eq!(json[0]["scopeSpans"][0]["spans"][0]["attributes"], expected);
    let again = from_otlp(&otlp(&table, 0));
    assert_eq!(resource_spans_json(&again, 0), rendered);
    assert_eq!(otlp(&again, 0), otlp(&table, 0));
}

#[test]
fn an_unsupported_value_that_is_no_json_is_shown_as_text() {
    let mut table = table(r#"[{"key":"map","value":{"kvlistValue":{}}}]"#);
    let code = table.strings.intern("not {json");
    table.spans.attributes.value[0] = code.payload();
    let json: serde_json::Value = serde_json::from_str(&resource_spans_json(&table, 0)).unwrap();
    let value = &json[0]["scopeSpans"][0]["spans"][0]["attributes"][0]["value"];
    assert_eq!(value, &serde_json::json!({"stringValue": "not {json"}));
    let again = from_otlp(&otlp(&table, 0));
    assert_eq!(again.spans.attributes.get(0, &again.strings), Some(Value::String("not {json")));
}

#[test]
fn a_trace_that_is_not_there_is_empty() {
    let table = table("[]");
    assert_eq!(resource_spans_json(&table, 1), "[]");
    assert!(otlp(&table, 1).is_empty());
}

/// What a trace that came as JSON reads like when it is looked up.
fn through(json: &str) -> serde_json::Value {
    let split = split(&json_to_proto(json.as_bytes()).unwrap()).unwrap();
    let mut builder = TableBuilder::new();
    for slice in &split.traces {
        builder.begin(slice.id);
        builder.add_otlp(&slice.otlp).unwrap();
        builder.end();
    }
    serde_json::from_str(&resource_spans_json(&builder.finish(), 0)).unwrap()
}

const SPAN: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
    "scopeSpans":[{"scope":{"name":"lib","version":"1"},"spans":[{
        "traceId":"000102030405060708090a0B0C0D0E0F","spanId":"0102030405060708","parentSpanId":"","name":"GET /","kind":2,
        "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":1700000001000000000,"flags":256,
        "attributes":[
            {"key":"i","value":{"intValue":"-3"}},{"key":"n","value":{"intValue":7}},{"key":"d","value":{"doubleValue":0.5}},
            {"key":"b","value":{"boolValue":false}},{"key":"y","value":{"bytesValue":"AAFyYXc"}},
            {"key":"a","value":{"arrayValue":{"values":[{"stringValue":"x"},{"stringValue":"y"}]}}},
            {"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}}]}}},
            {"key":"e","value":{}}],
        "droppedAttributesCount":1,
        "events":[{"timeUnixNano":"1700000000500000000","name":"ev","attributes":[]}],
        "links":[{"traceId":"0f0e0d0c0b0a09080706050403020100","spanId":"0807060504030201","traceState":"a=b"}],
        "status":{"code":"STATUS_CODE_ERROR","message":"boom"},"unknownField":{"x":[1]}}]}]}]}"#;

#[test]
fn json_becomes_the_trace_that_tempo_answers() {
    let trace = through(SPAN);
    let span = &trace[0]["scopeSpans"][0]["spans"][0];
    let expected = serde_json::json!({
        "traceId": "AAECAwQFBgcICQoLDA0ODw==", "spanId": "AQIDBAUGBwg=", "name": "GET /", "kind": "SPAN_KIND_SERVER",
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000",
        "attributes": [
            {"key": "i", "value": {"intValue": "-3"}}, {"key": "n", "value": {"intValue": "7"}},
            {"key": "d", "value": {"doubleValue": 0.5}}, {"key": "b", "value": {"boolValue": false}},
            {"key": "y", "value": {"bytesValue": "AAFyYXc="}},
            {"key": "a", "value": {"arrayValue": {"values": [{"stringValue": "x"}, {"stringValue": "y"}]}}},
            {"key": "m", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}}},
            {"key": "e", "value": {}}],
        "droppedAttributesCount": 1,
        "events": [{"timeUnixNano": "1700000000500000000", "name": "ev"}],
        "links": [{"traceId": "Dw4NDAsKCQgHBgUEAwIBAA==", "spanId": "CAcGBQQDAgE=", "traceState": "a=b"}],
        "status": {"code": "STATUS_CODE_ERROR", "message": "boom"}
    });
    assert_eq!(span, &expected);
    assert_eq!(trace[0]["resource"]["attributes"][0]["value"]["stringValue"], "shop");
    assert_eq!(trace[0]["scopeSpans"][0]["scope"], serde_json::json!({"name": "lib", "version": "1"}));
}

#[test]
fn field_names_of_the_proto_are_taken_too() {
    let snake = SPAN
        .replace("resourceSpans", "resource_spans")
        .replace("scopeSpans", "scope_spans")
        .replace("traceId", "trace_id")
        .replace("spanId", "span_id")
        .replace("startTimeUnixNano", "start_time_unix_nano")
        .replace("endTimeUnixNano", "end_time_unix_nano")
        .replace("stringValue", "string_value")
        .replace("\"kind\":2", "\"kind\":\"SPAN_KIND_SERVER\"");
    assert_eq!(through(&snake), through(SPAN));
}
