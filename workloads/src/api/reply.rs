//! Answers and refusals as HTTP. IO: compresses on a thread that may block where there is much.

use std::io::Write;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tonic::Code;

use crate::frontend::QueryError;

/// What clients name for a trace in OTLP's own JSON, and in the form for language models.
const OTLP_JSON: &str = "application/vnd.opentelemetry+json";
const PLAIN_JSON: &str = "application/vnd.grafana.llm";

/// Bodies up to this length are compressed where they are made.
const INLINE_BYTES: usize = 64 * 1024;

/// Bodies below this length would grow.
const GZIP_FROM: usize = 256;

/// A request that is not answered. Bodies are plain text.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
}

/// A body and what it is.
#[derive(Debug)]
pub(super) struct Reply {
    content_type: &'static str,
    pub(super) body: Bytes,
}

/// In which encoding a client wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Tempo's JSON.
    Json,
    Protobuf,
    /// OTLP's own JSON.
    Otlp,
    /// Plain JSON for language models.
    Plain,
}

impl Encoding {
    /// By `Accept`, as Tempo reads it: what is named is looked for in this order, and JSON is the answer to everything else.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let accepts = || headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let known = [
            ("application/protobuf", Self::Protobuf),
            ("application/json", Self::Json),
            (PLAIN_JSON, Self::Plain),
            (OTLP_JSON, Self::Otlp),
        ];
        let named = |name: &str| accepts().any(|accept| accept.contains(name));
        known.into_iter().find(|(name, _)| named(name)).map_or(Self::Json, |(_, encoding)| encoding)
    }
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "so that map_err takes it by name")]
    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.to_string() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that map_err takes it by name")]
    pub(super) fn unauthorized(message: impl ToString) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, message: message.to_string() }
    }

    /// The trace is not there: an empty body, by which clients tell it from a wrong path.
    pub(super) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, message: String::new() }
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::Query(_) => StatusCode::BAD_REQUEST,
            QueryError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            QueryError::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
            QueryError::TraceTooLarge { .. } | QueryError::AnswerTooLarge { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            QueryError::Failed { .. } | QueryError::Combine(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, message: error.to_string() }
    }
}

impl From<Refusal> for tonic::Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidArgument,
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            // Tempo says so of a deadline too.
            _ => Code::Internal,
        };
        Self::new(code, refusal.message)
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        refusal.into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut message = self.message;
        if !message.is_empty() && !message.ends_with('\n') {
            message.push('\n');
        }
        (self.status, message).into_response()
    }
}

impl Reply {
    pub(super) fn json(body: impl Into<Bytes>) -> Self {
        Self { content_type: "application/json", body: body.into() }
    }

    pub(super) fn plain_json(body: impl Into<Bytes>) -> Self {
        Self { content_type: "application/vnd.grafana.llm+json", body: body.into() }
    }

    pub(super) fn protobuf(body: impl Into<Bytes>) -> Self {
        Self { content_type: "application/protobuf", body: body.into() }
    }

    /// The response, compressed where the client takes that.
    pub(super) async fn send(self, headers: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let zipped = if takes_gzip(headers) && self.body.len() >= GZIP_FROM {
            compressed(self.body.clone()).await
        } else {
            None
        };
        if zipped.is_some() {
            out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        *response.body_mut() = Body::from(zipped.unwrap_or(self.body));
        response
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// The body in gzip; `None` where that fails, and it then goes as it is.
async fn compressed(body: Bytes) -> Option<Bytes> {
    let much = body.len() > INLINE_BYTES;
    let compress = move || {
        let mut out = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        out.write_all(&body).and_then(|()| out.finish()).map(Bytes::from).ok()
    };
    if much { tokio::task::spawn_blocking(compress).await.ok().flatten() } else { compress() }
}
