use super::*;
use crate::wire::otlp::split;

const SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
        "traceId":"000102030405060708090a0B0C0D0E0F","spanId":"0102030405060708","name":"GET /",
        "attributes":[{"key":"i","value":{"intValue":"-3"}},{"key":"n","value":{"intValue":7}},{"key":"e","value":{}}],
        "status":{"code":"STATUS_CODE_ERROR","message":"boom"},"unknownField":{"x":[1]}}]}]}]}"#;

#[test]
fn errors_name_the_field_by_its_path_and_what_was_expected() {
    let refused = |from: &str, to: &str| {
        assert!(SPAN.contains(from));
        json_to_proto(SPAN.replace(from, to).as_bytes()).unwrap_err().to_string()
    };
    let span = "resourceSpans[0].scopeSpans[0].spans[0]";
    assert_eq!(
        refused("\"0102030405060708\"", "\"xyz\""),
        format!("{span}.spanId: expected an id in hex, two digits a byte, found \"xyz\"")
    );
    assert_eq!(
        refused("\"name\":\"GET /\"", "\"name\":[1]"),
        format!("{span}.name: expected a string, found an array")
    );
    assert_eq!(
        refused("{\"intValue\":7}", "{\"intValue\":\"7.5\"}"),
        format!("{span}.attributes[1].value.intValue: expected a 64-bit integer, found \"7.5\"")
    );
    assert_eq!(
        refused("STATUS_CODE_ERROR", "BAD"),
        format!(
            "{span}.status.code: expected a number or one of STATUS_CODE_UNSET, STATUS_CODE_OK, \
             STATUS_CODE_ERROR, found \"BAD\""
        )
    );
    assert_eq!(json_to_proto(b"[]").unwrap_err().to_string(), "body: expected an object, found an array");
    let broken = json_to_proto(b"{\"resourceSpans\":").unwrap_err().to_string();
    assert!(broken.starts_with("body is no JSON: expected a value at line 1 column 18"), "{broken}");
}

#[test]
fn values_nested_too_deep_are_refused_and_the_deepest_allowed_ones_are_not() {
    let nested = |levels: usize| {
        let value = (0..levels).fold("{}".to_owned(), |inner, _| {
            format!("{{\"kvlistValue\":{{\"values\":[{{\"key\":\"k\",\"value\":{inner}}}]}}}}")
        });
        SPAN.replace("{\"key\":\"e\",\"value\":{}}", &format!("{{\"key\":\"e\",\"value\":{value}}}"))
    };
    let deepest = json_to_proto(nested(MAX_VALUE_DEPTH).as_bytes()).unwrap();
    assert_eq!(split(&deepest).unwrap().spans, 1);
    let error = json_to_proto(nested(MAX_VALUE_DEPTH + 1).as_bytes()).unwrap_err().to_string();
    assert!(error.ends_with("values are nested deeper than 24 levels"), "{error}");
    json_to_proto("[".repeat(100_000).as_bytes()).unwrap_err();
}
