//! OTLP over HTTP: `POST /v1/traces`, protobuf or JSON.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tracing_core::wire::otlp;
use vivace_config::OtlpHttp;

use super::{Intake, inflate::Encoding, status};
use crate::distributor::{Accepted, Refusal};

const SETTING: &str = "otlp.protocols.http.max_request_body_size";

/// A body that is too long is read up to so many times the limit before it is refused.
const READ_ON: usize = 16;
/// A body must arrive within so long.
const ARRIVAL: Duration = Duration::from_mins(1);

#[derive(Clone)]
struct Http {
    intake: Arc<Intake>,
    limit: usize,
}

pub(super) fn router(intake: Arc<Intake>, config: &OtlpHttp) -> Router {
    let path = config.traces_url_path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/v1/traces");
    let state = Http { intake, limit: config.body_bytes().as_usize() };
    Router::new().route(path, post(export)).with_state(state)
}

/// How the body is written, and so the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

impl Format {
    fn from_headers(headers: &HeaderMap) -> Result<Self, Refusal> {
        let value =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = value.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/x-protobuf")
            || kind.eq_ignore_ascii_case("application/protobuf")
        {
            Ok(Self::Protobuf)
        } else if kind.eq_ignore_ascii_case("application/json") {
            Ok(Self::Json)
        } else {
            Err(Refusal::Unsupported(format!(
                "unsupported content type `{kind}`, supported: application/x-protobuf, application/json"
            )))
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

async fn export(State(state): State<Http>, request: Request) -> Response {
    let format = match Format::from_headers(request.headers()) {
        Ok(format) => format,
        Err(refusal) => return (status::http_code(&refusal), format!("{refusal}\n")).into_response(),
    };
    match state.take(request, format).await {
        Ok(accepted) => {
            let body = match format {
                Format::Protobuf => status::response(&accepted),
                Format::Json => status::json_response(&accepted),
            };
            answer(StatusCode::OK, format, body)
        }
        Err(refusal) => {
            use prost::Message as _;
            let body = match format {
                Format::Protobuf => status::rpc(&refusal).encode_to_vec().into(),
                Format::Json => status::json_refusal(&refusal),
            };
            let mut response = answer(status::http_code(&refusal), format, body);
            if let Some(after) = refusal.retry_after() {
                let seconds = after.as_secs().max(1);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
    }
}

fn answer(code: StatusCode, format: Format, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
    response
}

impl Http {
    async fn take(&self, request: Request, format: Format) -> Result<Accepted, Refusal> {
        let tenant = self.intake.tenant(request.headers())?;
        let encoding = request.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let encoding = Encoding::from_header(encoding)?;
        // A body of unknown length may be as long as the limit.
        let longest = request.body().size_hint().upper().unwrap_or(u64::MAX).min(self.limit as u64);
        let _held = self.intake.admit(longest as usize).await?;
        let raw = self.body(request).await?;
        let received = raw.len();
        let body = encoding.decode(raw, self.limit, SETTING).await?;
        let body = match format {
            Format::Protobuf => body,
            Format::Json => {
                otlp::json_to_proto(&body).map_err(|error| Refusal::Invalid(error.to_string()))?
            }
        };
        self.intake.take("http", &tenant, body, received).await
    }

    /// The body, within the limit. A longer one is read on for a while: a client that is cut off while it still
    /// sends never reads why.
    async fn body(&self, request: Request) -> Result<Bytes, Refusal> {
        let mut body = request.into_body();
        let expected = body.size_hint().lower().min(self.limit as u64) as usize;
        let mut buffer = BytesMut::with_capacity(expected);
        let mut total = 0;
        let reading = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Refusal::Invalid(format!("body breaks off: {error}")))?;
                let Ok(data) = frame.into_data() else { continue };
                total += data.len();
                if total <= self.limit {
                    buffer.extend_from_slice(&data);
                } else if total > self.limit.saturating_mul(READ_ON) {
                    break;
                }
            }
            Ok(())
        };
        let late = || Refusal::Invalid(format!("body did not arrive within {} s", ARRIVAL.as_secs()));
        tokio::time::timeout(ARRIVAL, reading).await.map_err(|_| late())??;
        if total > self.limit {
            return Err(Refusal::TooLarge(format!(
                "body is over the limit of {} bytes ({SETTING})",
                self.limit
            )));
        }
        Ok(buffer.freeze())
    }
}
