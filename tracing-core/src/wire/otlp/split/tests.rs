use super::*;
use crate::wire::protobuf::{put_bytes, put_message};

/// A span with ids made of one byte each, and some content.
fn span(out: &mut Vec<u8>, trace: &[u8], span: &[u8], parent: &[u8]) {
    put_message(out, SCOPE_SPANS.children, |out| {
        put_bytes(out, tags::span::TRACE_ID, trace);
        put_bytes(out, tags::span::SPAN_ID, span);
        if !parent.is_empty() {
            put_bytes(out, tags::span::PARENT_SPAN_ID, parent);
        }
        put_bytes(out, tags::span::NAME, b"name");
        put_message(out, tags::span::ATTRIBUTES, |out| {
            put_bytes(out, tags::key_value::KEY, b"key");
            put_message(out, tags::key_value::VALUE, |out| put_bytes(out, tags::value::STRING, b"v"));
        });
    });
}

fn resource(out: &mut Vec<u8>, service: &str, scope: &str, spans: &[(u8, u8)]) {
    put_message(out, tags::RESOURCE_SPANS, |out| {
        put_message(out, tags::resource_spans::RESOURCE, |out| {
            put_message(out, tags::resource::ATTRIBUTES, |out| {
                put_bytes(out, tags::key_value::KEY, b"service.name");
                put_message(out, tags::key_value::VALUE, |out| {
                    put_bytes(out, tags::value::STRING, service.as_bytes());
                });
            });
        });
        put_message(out, tags::resource_spans::SCOPE_SPANS, |out| {
            put_message(out, tags::scope_spans::SCOPE, |out| {
                put_bytes(out, tags::scope::NAME, scope.as_bytes());
            });
            for &(trace, id) in spans {
                span(out, &[trace; 16], &[id; 8], &[]);
            }
        });
        put_bytes(out, tags::resource_spans::SCHEMA_URL, b"https://example.org/schema");
    });
}

fn spans_of(slice: &TraceSlice) -> Vec<Span> {
    let mut walk = Walk::default();
    walk.request(&slice.otlp).unwrap();
    assert_eq!(walk.traces, [(slice.id, slice.spans)]);
    walk.spans
}

#[test]
fn spans_are_grouped_by_trace_with_their_resource_and_scope() {
    let mut body = Vec::new();
    resource(&mut body, "a", "lib", &[(1, 1), (2, 2), (1, 3)]);
    resource(&mut body, "b", "lib", &[(2, 4), (3, 5)]);
    let split = split(&Bytes::from(body)).unwrap();
    assert_eq!(split.spans, 5);
    assert_eq!(split.rejected, Rejected::default());
    let found: Vec<_> = split.traces.iter().map(|t| (t.id.0[0], t.spans, spans_of(t).len())).collect();
    assert_eq!(found, [(1, 2, 2), (2, 2, 2), (3, 1, 1)]);
    let mut expected = Vec::new();
    resource(&mut expected, "b", "lib", &[(3, 5)]);
    // schema URLs are not held by Tempo's blocks and so are not kept
    let url = b"https://example.org/schema".len() + 2;
    let kept = expected.len() - url;
    assert_eq!(split.traces[2].otlp[2..], expected[2..kept]);
}

#[test]
fn a_request_of_one_trace_is_passed_on_without_a_copy() {
    let mut body = Vec::new();
    resource(&mut body, "a", "lib", &[(1, 1), (1, 2)]);
    let body = Bytes::from(body);
    let split = split(&body).unwrap();
    assert_eq!(split.traces[0].otlp.as_ptr(), body.as_ptr());
    assert_eq!(split.traces[0].spans, 2);
}

#[test]
fn spans_with_ids_that_name_nothing_are_counted_and_the_others_taken() {
    let mut body = Vec::new();
    put_message(&mut body, tags::RESOURCE_SPANS, |out| {
        put_message(out, tags::resource_spans::SCOPE_SPANS, |out| {
            span(out, &[1; 8], &[1; 8], &[]);
            span(out, &[0; 16], &[1; 8], &[]);
            span(out, &[1; 16], &[1; 4], &[]);
            span(out, &[1; 16], &[0; 8], &[]);
            span(out, &[1; 16], &[1; 8], &[1; 3]);
            span(out, &[1; 16], &[2; 8], &[0; 8]);
        });
    });
    let split = split(&Bytes::from(body)).unwrap();
    assert_eq!((split.spans, split.traces.len()), (1, 1));
    assert_eq!(spans_of(&split.traces[0]).len(), 1);
    let rejected = split.rejected;
    assert_eq!((rejected.spans, rejected.invalid_trace_id, rejected.invalid_span_id), (5, 2, 3));
    assert_eq!(rejected.first_reason, "trace ids must be 128 bit, received 64 bits");
}

#[test]
fn a_head_that_stands_behind_its_spans_is_still_theirs() {
    let mut body = Vec::new();
    put_message(&mut body, tags::RESOURCE_SPANS, |out| {
        put_message(out, tags::resource_spans::SCOPE_SPANS, |out| {
            span(out, &[1; 16], &[1; 8], &[]);
            span(out, &[2; 16], &[1; 8], &[]);
            put_message(out, tags::scope_spans::SCOPE, |out| put_bytes(out, tags::scope::NAME, b"late"));
        });
    });
    let split = split(&Bytes::from(body)).unwrap();
    for slice in &split.traces {
        assert!(slice.otlp.windows(4).any(|w| w == b"late"));
    }
}

#[test]
fn malformed_requests_are_refused_naming_field_and_place() {
    let mut body = Vec::new();
    resource(&mut body, "a", "lib", &[(1, 1)]);
    for cut in 1..body.len() {
        split(&Bytes::copy_from_slice(&body[..cut])).expect_err("a cut request is malformed");
    }
    let wrong = split(&Bytes::from_static(b"\x0a\x02\x0b\x00")).unwrap_err();
    assert_eq!(wrong.to_string(), "ResourceSpans at byte 3: wire type 3 is not that of the field");
    let text = split(&Bytes::from_static(b"{\"resourceSpans\":[]}")).unwrap_err();
    assert!(text.to_string().starts_with("TracesData at byte"), "{text}");
}

#[test]
fn values_nested_too_deep_are_refused() {
    let mut value = Vec::new();
    for _ in 0..=super::super::MAX_VALUE_DEPTH {
        let inner = std::mem::take(&mut value);
        put_message(&mut value, tags::value::ARRAY, |out| put_bytes(out, tags::VALUES, &inner));
    }
    let mut body = Vec::new();
    put_message(&mut body, tags::RESOURCE_SPANS, |out| {
        put_message(out, tags::resource_spans::RESOURCE, |out| {
            put_message(out, tags::resource::ATTRIBUTES, |out| {
                put_bytes(out, tags::key_value::VALUE, &value);
            });
        });
    });
    let error = split(&Bytes::from(body)).unwrap_err().to_string();
    assert!(error.ends_with("values are nested deeper than 24 levels"), "{error}");
}

#[test]
fn a_request_that_would_swell_out_of_proportion_is_refused() {
    let mut body = Vec::new();
    put_message(&mut body, tags::RESOURCE_SPANS, |out| {
        put_message(out, tags::resource_spans::RESOURCE, |out| {
            put_message(out, tags::resource::ATTRIBUTES, |out| {
                put_bytes(out, tags::key_value::KEY, &vec![b'x'; 1 << 20]);
            });
        });
        put_message(out, tags::resource_spans::SCOPE_SPANS, |out| {
            for i in 1..=100 {
                span(out, &[i; 16], &[i; 8], &[]);
            }
        });
    });
    let error = split(&Bytes::from(body)).unwrap_err().to_string();
    assert!(error.contains("over the limit of"), "{error}");
}
