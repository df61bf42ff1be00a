//! What comes in over OTLP: acknowledged, refused, and why.

use std::io::Write as _;

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, metadata::MetadataValue};
use vivace::proto::tempopb::{
    Trace,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};

use crate::process::Process;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

/// opentelemetry/proto/collector/trace/v1/trace_service.proto
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

fn span(trace: u8, span: u8) -> Span {
    Span {
        trace_id: vec![trace; 16].into(),
        span_id: vec![span; 8].into(),
        name: "work".to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_001_000_000_000,
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> Trace {
    Trace {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource::default()),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

fn two_traces() -> Vec<u8> {
    request(vec![span(1, 1), span(1, 2), span(2, 1)]).encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes bytes");
    encoder.finish().expect("memory takes bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_over_http_are_acknowledged_in_the_format_they_came_in() {
    let process = Process::start("").await;
    let answer = process.export(&[PROTOBUF], two_traces()).await;
    assert_eq!((answer.code, answer.header("content-type")), (200, "application/x-protobuf"));
    assert_eq!(ExportResponse::decode(&answer.body[..]).unwrap(), ExportResponse::default());

    let answer = process.export(&[PROTOBUF, ("content-encoding", "gzip")], gzip(&two_traces())).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let zstd = zstd::encode_all(&two_traces()[..], 1).unwrap();
    let answer = process.export(&[PROTOBUF, ("content-encoding", "zstd")], zstd).await;
    assert_eq!(answer.code, 200, "{}", answer.text());

    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10",
        "spanId":"0102030405060708","name":"x","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;
    let answer = process.export(&[("content-type", "application/json; charset=utf-8")], json.to_vec()).await;
    assert_eq!((answer.code, answer.text().as_str()), (200, r#"{"partialSuccess":{}}"#));

    let metrics = process.get("/metrics").await.text();
    assert!(
        metrics.contains(r#"tempo_distributor_spans_received_total{tenant="single-tenant"} 10"#),
        "{metrics}"
    );
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_tells_whether_all_that_it_held_is_uploaded() {
    let yaml = "server: {graceful_shutdown_timeout: 1s}";
    for is_away in [false, true] {
        let process = Process::start(yaml).await;
        assert_eq!(process.export(&[PROTOBUF], two_traces()).await.code, 200);
        if is_away {
            let blocks = process.dir.path().join("blocks");
            let _ = std::fs::remove_dir_all(&blocks);
            std::fs::write(&blocks, "no directory").expect("a file in its place");
        }
        assert_eq!(process.app.stop().await, !is_away);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_valid_spans_of_a_request_are_taken_and_the_others_counted() {
    let process = Process::start("").await;
    let wrong = Span { span_id: Bytes::from_static(b"abc"), ..span(1, 1) };
    let zero = Span { trace_id: vec![0; 16].into(), ..span(1, 3) };
    let body = request(vec![span(1, 2), wrong.clone(), zero]).encode_to_vec();
    let answer = process.export(&[PROTOBUF], body).await;
    assert_eq!(answer.code, 200);
    let partial = ExportResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert_eq!(partial.error_message, "span ids must be 64 bit and not all zero, received 24 bits");
    let metrics = process.get("/metrics").await.text();
    assert!(
        metrics.contains(r#"tempo_discarded_spans_total{reason="invalid_span_id",tenant="single-tenant"} 1"#)
    );

    let answer = process.export(&[PROTOBUF], request(vec![wrong]).encode_to_vec()).await;
    assert_eq!(answer.code, 400);
    assert!(answer.text().contains("span ids must be 64 bit and not all zero, received 24 bits"));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_the_reason() {
    let limited = "distributor: {receivers: {otlp: {protocols: {http: {max_request_body_size: 10000}}}}}";
    let process = Process::start(limited).await;
    let traces = two_traces();
    let bomb = gzip(&vec![0; 1 << 20]);
    for (headers, body, code, said) in [
        (
            vec![PROTOBUF],
            b"\x0a\xff".to_vec(),
            400,
            "TracesData.resource_spans at byte 1: message ends inside the field",
        ),
        (vec![JSON], b"{".to_vec(), 400, "body is no JSON"),
        (vec![JSON], br#"{"resourceSpans":[{"scopeSpans":1}]}"#.to_vec(), 400, "resourceSpans[0].scopeSpans"),
        (vec![("content-type", "text/plain")], traces.clone(), 415, "unsupported content type `text/plain`"),
        (
            vec![PROTOBUF, ("content-encoding", "br")],
            traces.clone(),
            415,
            "unsupported content encoding `br`",
        ),
        (vec![PROTOBUF, ("content-encoding", "gzip")], traces.clone(), 400, "body is no sound gzip"),
        (vec![PROTOBUF, ("content-encoding", "gzip")], bomb, 413, "limit of 10000 bytes after decompression"),
        (
            vec![PROTOBUF],
            vec![0; 10_001],
            413,
            "limit of 10000 bytes (otlp.protocols.http.max_request_body_size)",
        ),
    ] {
        let answer = process.export(&headers, body).await;
        assert_eq!(answer.code, code, "{said}: {}", answer.text());
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tenants_a_request_must_name_one() {
    let process = Process::start("multitenancy_enabled: true").await;
    let answer = process.export(&[JSON], b"{}".to_vec()).await;
    assert_eq!((answer.code, answer.json()["message"].as_str()), (401, Some("no org id")));
    let answer = process.export(&[JSON, ("x-scope-orgid", "a/b")], b"{}".to_vec()).await;
    assert_eq!(answer.code, 400);
    let answer = process.export(&[PROTOBUF, ("X-Scope-OrgID", "team-a")], two_traces()).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let metrics = process.get("/metrics").await.text();
    assert!(metrics.contains(r#"tempo_distributor_spans_received_total{tenant="team-a"} 3"#), "{metrics}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_rate_a_client_is_told_when_to_come_again() {
    let limits = "overrides: {defaults: {ingestion: {rate_limit_bytes: 1, burst_size_bytes: 200}}}";
    let process = Process::start(limits).await;
    assert_eq!(process.export(&[PROTOBUF], two_traces()).await.code, 200);
    let answer = process.export(&[PROTOBUF], two_traces()).await;
    assert_eq!((answer.code, answer.header("retry-after")), (429, "5"));
    assert!(
        answer.text().contains("RATE_LIMITED: ingestion rate limit (local: 1 bytes/s"),
        "{}",
        answer.text()
    );

    let status = export(&process, &request(vec![span(1, 1), span(1, 2)]), Encoding::None).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(details.contains("google.rpc.RetryInfo"), "{details}");
    process.stop().await;
}

#[derive(Clone, Copy)]
enum Encoding {
    None,
    Gzip,
    Zstd,
}

/// `TraceService/Export` with tonic's own client.
async fn export(
    process: &Process,
    body: &Trace,
    encoding: Encoding,
) -> Result<ExportResponse, tonic::Status> {
    let endpoint = format!("http://{}", process.otlp("grpc"));
    let channel = tonic::transport::Endpoint::from_shared(endpoint).expect("an address");
    over(channel.connect().await.expect("a connection"), body, encoding).await
}

/// One span, on a channel of one's own.
pub(crate) async fn export_over(channel: tonic::transport::Channel) -> Result<(), tonic::Status> {
    over(channel, &request(vec![span(1, 1)]), Encoding::None).await.map(drop)
}

async fn over(
    channel: tonic::transport::Channel,
    body: &Trace,
    encoding: Encoding,
) -> Result<ExportResponse, tonic::Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client = match encoding {
        Encoding::None => client,
        Encoding::Gzip => client.send_compressed(tonic::codec::CompressionEncoding::Gzip),
        Encoding::Zstd => client.send_compressed(tonic::codec::CompressionEncoding::Zstd),
    };
    client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let path = http::uri::PathAndQuery::from_static(path);
    let mut request = tonic::Request::new(body.clone());
    request.metadata_mut().insert("x-scope-orgid", MetadataValue::from_static("team-a"));
    let codec = tonic_prost::ProstCodec::<Trace, ExportResponse>::default();
    client.unary(request, path, codec).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_over_grpc_are_acknowledged_plain_and_compressed() {
    let process = Process::start("multitenancy_enabled: true").await;
    for encoding in [Encoding::None, Encoding::Gzip, Encoding::Zstd] {
        let spans = (1..=200).map(|id| span(id, 1)).collect();
        assert_eq!(export(&process, &request(spans), encoding).await.unwrap(), ExportResponse::default());
    }
    let zero = Span { span_id: vec![0; 8].into(), ..span(1, 1) };
    let partial = export(&process, &request(vec![span(1, 1), zero.clone()]), Encoding::None).await.unwrap();
    assert_eq!(partial.partial_success.unwrap().rejected_spans, 1);
    let status = export(&process, &request(vec![zero]), Encoding::None).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "span ids must be 64 bit and not all zero, received 64 bits (all zero)");
    let metrics = process.get("/metrics").await.text();
    assert!(metrics.contains(
        r#"tempo_receiver_accepted_spans_total{receiver="otlp",transport="grpc",tenant="team-a"} 601"#
    ));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_with_the_limit_by_name() {
    let limited = "distributor: {receivers: {otlp: {protocols: {grpc: {max_recv_msg_size_mib: 1}}}}}";
    let process = Process::start(limited).await;
    let large = Span { name: "x".repeat(1 << 20), ..span(1, 1) };
    for encoding in [Encoding::None, Encoding::Gzip] {
        let status = export(&process, &request(vec![large.clone()]), encoding).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("over the limit of 1048576"), "{status:?}");
        assert!(status.message().contains("(otlp.protocols.grpc.max_recv_msg_size_mib)"), "{status:?}");
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_over_its_limit_is_left_out_and_the_others_are_taken() {
    let process = Process::start("overrides: {defaults: {global: {max_bytes_per_trace: 1000}}}").await;
    let large = Span { name: "x".repeat(2000), ..span(1, 1) };
    let answer = process.export(&[PROTOBUF], request(vec![large, span(2, 1)]).encode_to_vec()).await;
    assert_eq!(answer.code, 200);
    let partial = ExportResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(
        partial.error_message.starts_with("TRACE_TOO_LARGE: max size of trace (1000 bytes"),
        "{partial:?}"
    );
    process.stop().await;
}
