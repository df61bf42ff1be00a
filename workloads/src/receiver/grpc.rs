//! OTLP over gRPC: `TraceService/Export`. The message is taken as bytes, so the framing of gRPC over HTTP/2
//! (a flag, four bytes of length, the message) is read here and no message type is needed.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};
use vivace_config::Size;

use super::{Intake, inflate::Encoding, status};
use crate::distributor::{Accepted, Refusal};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const SETTING: &str = "otlp.protocols.grpc.max_recv_msg_size_mib";
/// Flag and length.
const HEAD: usize = 5;

#[derive(Clone)]
struct Grpc {
    intake: Arc<Intake>,
    limit: usize,
}

pub(super) fn router(intake: Arc<Intake>, limit: Size) -> Router {
    let state = Grpc { intake, limit: limit.as_usize() };
    Router::new().route(EXPORT, post(export)).fallback(unknown).with_state(state)
}

async fn unknown(request: Request) -> Response {
    let message = format!("unknown method {}", request.uri().path());
    Status::new(Code::Unimplemented, message).into_http()
}

async fn export(State(state): State<Grpc>, request: Request) -> Response {
    match state.take(request).await {
        Ok(accepted) => success(&status::response(&accepted)),
        Err(refusal) => status::grpc(&refusal).into_http(),
    }
}

fn success(message: &[u8]) -> Response {
    let mut framed = BytesMut::with_capacity(HEAD + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("gzip,zstd,identity"));
    response
}

impl Grpc {
    async fn take(&self, request: Request) -> Result<Accepted, Refusal> {
        let tenant = self.intake.tenant(request.headers())?;
        let encoding = request.headers().get("grpc-encoding").and_then(|value| value.to_str().ok());
        let encoding = Encoding::from_header(encoding)?;
        let (_held, compressed, message) = self.message(request.into_body()).await?;
        let received = message.len();
        let encoding = if compressed { encoding } else { Encoding::Identity };
        let message = encoding.decode(message, self.limit, SETTING).await?;
        self.intake.take("grpc", &tenant, message, received).await
    }

    /// The one message of the request, and whether it is compressed. It may be held until the permit is dropped.
    async fn message(&self, mut body: Body) -> Result<(Option<OwnedSemaphorePermit>, bool, Bytes), Refusal> {
        let mut buffer = BytesMut::new();
        let mut end = None;
        let mut held = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::Invalid(format!("request breaks off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            buffer.extend_from_slice(&data);
            if end.is_none() {
                end = self.end(&buffer)?;
                if let Some(end) = end {
                    held = Some(self.intake.admit(end).await?);
                    buffer.reserve(end.saturating_sub(buffer.len()));
                }
            }
            if end.is_some_and(|end| buffer.len() > end) {
                return Err(Refusal::Invalid("expected one message, found more".to_owned()));
            }
        }
        if end != Some(buffer.len()) {
            return Err(Refusal::Invalid(format!(
                "request ends inside its message, after {} bytes",
                buffer.len()
            )));
        }
        let compressed = buffer.first() == Some(&1);
        buffer.advance(HEAD);
        Ok((held, compressed, buffer.freeze()))
    }

    /// Where the message ends, once its head is there.
    fn end(&self, buffer: &[u8]) -> Result<Option<usize>, Refusal> {
        let Some((head, _)) = buffer.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [flag, length @ ..] = *head;
        if flag > 1 {
            return Err(Refusal::Invalid(format!("flag of the message must be 0 or 1, is {flag}")));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.limit {
            return Err(Refusal::TooLarge(format!(
                "message of {length} bytes is over the limit of {} ({SETTING})",
                self.limit
            )));
        }
        Ok(Some(HEAD + length))
    }
}
