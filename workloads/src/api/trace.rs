//! Traces by id, in both versions of Tempo's API.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::Response,
};
use bytes::Bytes;
use prost::Message;
use tracing_core::{
    model::TraceId,
    table::{TableBuilder, render},
};

use super::{
    Api, lookup,
    reply::{Encoding, Refusal, Reply},
    tenancy,
};
use crate::{
    frontend::{FoundTrace, QueryError},
    proto::tempopb::{PartialStatus, Trace, TraceByIdMetrics, TraceByIdResponse},
};

/// Traces of up to this many spans are written where they are found.
const INLINE_SPANS: usize = 200;

/// `/api/traces/{id}`: the trace, or 404 with an empty body.
pub(super) async fn v1(
    State(api): State<Arc<Api>>,
    id: Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let tenants = tenancy::tenants(&headers, &api.options)?;
    let (id, range) = lookup(&id, &uri)?;
    let found = api.frontend.find_trace(&tenants, id, range).await?.ok_or_else(Refusal::not_found)?;
    let (max, encoding) = (api.frontend.max_trace_bytes(&tenants), Encoding::wanted(&headers));
    let reply = off_the_loop(found.table.span_count(), move || whole(&found, max, encoding)).await?;
    Ok(reply.send(&headers).await)
}

/// `/api/v2/traces/{id}`: the trace, as much of it as may be answered, or an empty one.
pub(super) async fn v2(
    State(api): State<Arc<Api>>,
    id: Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let tenants = tenancy::tenants(&headers, &api.options)?;
    let (id, range) = lookup(&id, &uri)?;
    let (max, encoding) = (api.frontend.max_trace_bytes(&tenants), Encoding::wanted(&headers));
    let reply = match api.frontend.find_trace(&tenants, id, range).await? {
        Some(found) => {
            let spans = found.table.span_count();
            off_the_loop(spans, move || as_much_as(id, found, max, encoding)).await?
        }
        None => nothing(encoding),
    };
    Ok(reply.send(&headers).await)
}

/// Runs `encode` here where there is little to do, and else where it may block.
async fn off_the_loop(
    spans: usize,
    encode: impl FnOnce() -> Result<Reply, QueryError> + Send + 'static,
) -> Result<Reply, QueryError> {
    if spans <= INLINE_SPANS {
        return encode();
    }
    let encoded = tokio::task::spawn_blocking(encode).await;
    encoded.unwrap_or_else(|error| Err(QueryError::Combine(error.to_string())))
}

/// A trace longer than `max`, as TracesData; `None` where it is not.
fn too_long(found: &FoundTrace, max: Option<u64>) -> Option<(Bytes, u64)> {
    // The parts may hold spans twice, so that only a longer sum needs the exact length.
    let max = max.filter(|max| found.bytes > *max)?;
    let otlp = render::otlp(&found.table, 0);
    (otlp.len() as u64 > max).then_some((otlp, max))
}

fn whole(found: &FoundTrace, max: Option<u64>, encoding: Encoding) -> Result<Reply, QueryError> {
    if let Some((_, max)) = too_long(found, max) {
        return Err(QueryError::TraceTooLarge { max });
    }
    Ok(match encoding {
        Encoding::Protobuf => Reply::protobuf(render::otlp(&found.table, 0)),
        Encoding::Json => {
            let batches = render::resource_spans_json(&found.table, 0);
            Reply::json(format!("{{\"batches\":{batches}}}"))
        }
    })
}

fn as_much_as(
    id: TraceId,
    mut found: FoundTrace,
    max: Option<u64>,
    encoding: Encoding,
) -> Result<Reply, QueryError> {
    let mut message = String::new();
    if let Some((otlp, max)) = too_long(&found, max) {
        let combine = |error: &dyn std::error::Error| QueryError::Combine(error.to_string());
        let trace = Trace::decode(otlp).map_err(|error| combine(&error))?;
        let mut builder = TableBuilder::new();
        builder.begin(id);
        builder.add_otlp(&truncated(trace, max).encode_to_vec()).map_err(|error| combine(&error))?;
        builder.end();
        found.table = builder.finish();
        message = format!("Trace exceeds maximum size of {max} bytes, a partial trace is returned");
    }
    Ok(match encoding {
        Encoding::Protobuf => {
            let metrics = TraceByIdMetrics { inspected_bytes: found.bytes, ..TraceByIdMetrics::default() };
            let status = if message.is_empty() { PartialStatus::Complete } else { PartialStatus::Partial };
            let trace = render::otlp(&found.table, 0);
            let response =
                TraceByIdResponse { trace, metrics: Some(metrics), status: status.into(), message };
            Reply::protobuf(response.encode_to_vec())
        }
        Encoding::Json => {
            let spans = render::resource_spans_json(&found.table, 0);
            let status = match message.as_str() {
                "" => String::new(),
                message => format!(",\"status\":\"PARTIAL\",\"message\":\"{message}\""),
            };
            Reply::json(format!(
                "{{\"trace\":{{\"resourceSpans\":{spans}}},\"metrics\":{{\"inspectedBytes\":\"{}\"}}{status}}}",
                found.bytes
            ))
        }
    })
}

fn nothing(encoding: Encoding) -> Reply {
    match encoding {
        Encoding::Json => Reply::json("{\"trace\":{},\"metrics\":{}}"),
        Encoding::Protobuf => {
            let metrics = Some(TraceByIdMetrics::default());
            Reply::protobuf(TraceByIdResponse { metrics, ..TraceByIdResponse::default() }.encode_to_vec())
        }
    }
}

/// The first spans of a trace, as many as fit into `max` bytes.
fn truncated(mut trace: Trace, max: u64) -> Trace {
    let mut left = max;
    let mut room = |bytes: usize| {
        let fits = bytes as u64 <= left;
        left = if fits { left - bytes as u64 } else { 0 };
        fits
    };
    trace.resource_spans.retain_mut(|resource| {
        let scopes = std::mem::take(&mut resource.scope_spans);
        if !room(resource.encoded_len()) {
            return false;
        }
        resource.scope_spans = scopes;
        resource.scope_spans.retain_mut(|scope| {
            let spans = std::mem::take(&mut scope.spans);
            if !room(scope.encoded_len()) {
                return false;
            }
            scope.spans = spans;
            // Tag and length of a span within its scope take at most six bytes more.
            scope.spans.retain(|span| room(span.encoded_len() + 6));
            !scope.spans.is_empty()
        });
        !resource.scope_spans.is_empty()
    });
    trace
}

#[cfg(test)]
mod tests {
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

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.body.to_vec()).unwrap()
    }

    #[test]
    fn a_trace_within_its_bound_is_answered_whole() {
        let json = text(&whole(&found(2), Some(1 << 20), Encoding::Json).unwrap());
        assert!(
            json.starts_with(r#"{"batches":[{"#) && json.contains(r#""spanId":"AQEBAQEBAQE=""#),
            "{json}"
        );
        let json = text(&as_much_as(ID, found(2), None, Encoding::Json).unwrap());
        assert!(json.starts_with(r#"{"trace":{"resourceSpans":[{"#) && !json.contains("PARTIAL"), "{json}");
    }

    #[test]
    fn a_trace_beyond_its_bound_is_refused_by_v1_and_cut_by_v2() {
        let refused = whole(&found(20), Some(1000), Encoding::Json).unwrap_err();
        assert_eq!(refused.to_string(), "trace exceeds max size (max bytes: 1000)");
        let json = text(&as_much_as(ID, found(20), Some(1000), Encoding::Json).unwrap());
        assert!(
            json.ends_with(
                r#""status":"PARTIAL","message":"Trace exceeds maximum size of 1000 bytes, a partial trace is returned"}"#
            ),
            "{json}"
        );
        let bytes = as_much_as(ID, found(20), Some(1000), Encoding::Protobuf).unwrap().body;
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
}
