//! Refusals as gRPC and HTTP say them: `google.rpc.Status` with `google.rpc.RetryInfo` (google/rpc/status.proto
//! and error_details.proto, as the OTLP specification asks), and OTLP's response with its partial success.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::distributor::{Accepted, Refusal};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// opentelemetry/proto/collector/trace/v1/trace_service.proto
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

pub(super) fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Invalid(_) => Code::InvalidArgument,
        Refusal::Unsupported(_) => Code::Unimplemented,
        Refusal::NoTenant(_) => Code::Unauthenticated,
        Refusal::TooLarge(_) | Refusal::Limited { .. } => Code::ResourceExhausted,
        Refusal::Unavailable(_) => Code::Unavailable,
    }
}

pub(super) fn http_code(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::NoTenant(_) => StatusCode::UNAUTHORIZED,
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn retry_info(after: Duration) -> Any {
    let delay = prost_types::Duration { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() as i32 };
    let info = RetryInfo { retry_delay: Some(delay) };
    Any { type_url: RETRY_INFO.to_owned(), value: info.encode_to_vec() }
}

pub(super) fn rpc(refusal: &Refusal) -> RpcStatus {
    let details = refusal.retry_after().map(retry_info).into_iter().collect();
    RpcStatus { code: code(refusal) as i32, message: refusal.to_string(), details }
}

/// With the details that tell a client when to come again.
pub(super) fn grpc(refusal: &Refusal) -> Status {
    let status = rpc(refusal);
    if status.details.is_empty() {
        return Status::new(code(refusal), status.message);
    }
    let details = Bytes::from(status.encode_to_vec());
    Status::with_details(code(refusal), status.message, details)
}

/// OTLP's answer, as protobuf.
pub(super) fn response(accepted: &Accepted) -> Bytes {
    let partial_success = (accepted.rejected > 0).then(|| PartialSuccess {
        rejected_spans: accepted.rejected as i64,
        error_message: accepted.reason.clone(),
    });
    ExportResponse { partial_success }.encode_to_vec().into()
}

/// OTLP's answer, as JSON.
pub(super) fn json_response(accepted: &Accepted) -> Bytes {
    if accepted.rejected == 0 {
        return Bytes::from_static(br#"{"partialSuccess":{}}"#);
    }
    let partial = serde_json::json!({"partialSuccess": {
        "rejectedSpans": accepted.rejected.to_string(),
        "errorMessage": accepted.reason,
    }});
    partial.to_string().into()
}

/// A refusal as JSON.
pub(super) fn json_refusal(refusal: &Refusal) -> Bytes {
    let mut status = serde_json::json!({"code": code(refusal) as i32, "message": refusal.to_string()});
    if let Some(after) = refusal.retry_after() {
        let delay = format!("{}s", after.as_secs_f64());
        status["details"] = serde_json::json!([{"@type": RETRY_INFO, "retryDelay": delay}]);
    }
    status.to_string().into()
}
