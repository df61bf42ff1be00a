//! `tempopb.StreamingQuerier/Search` as Grafana calls it: a question over gRPC, its pieces put together, and the whole in the form in
//! which HTTP answers, so that the same comparison serves both. The messages are declared here, by Tempo's field numbers, and not
//! taken from the product: what a client of Tempo's reads is checked with other eyes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use prost::Message;
use serde_json::{Map, Value, json};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

/// Longest message that is taken: the corpus as one answer is smaller.
const LONGEST_MESSAGE: usize = 64 << 20;

/// What is asked.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SearchRequest {
    #[prost(map = "string, string", tag = "1")]
    pub(crate) tags: HashMap<String, String>,
    #[prost(uint32, tag = "2")]
    pub(crate) min_duration_ms: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) max_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) limit: u32,
    /// Seconds since 1970, like `end`.
    #[prost(uint32, tag = "5")]
    pub(crate) start: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) end: u32,
    #[prost(string, tag = "8")]
    pub(crate) query: String,
    #[prost(uint32, tag = "9")]
    pub(crate) spans_per_span_set: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SearchResponse {
    #[prost(message, repeated, tag = "1")]
    traces: Vec<Trace>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<Metrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    root_service: String,
    #[prost(string, tag = "3")]
    root_name: String,
    #[prost(uint64, tag = "4")]
    start_nanos: u64,
    #[prost(uint32, tag = "5")]
    duration_ms: u32,
    #[prost(message, repeated, tag = "7")]
    span_sets: Vec<SpanSet>,
    #[prost(map = "string, message", tag = "8")]
    service_stats: HashMap<String, ServiceStats>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ServiceStats {
    #[prost(uint32, tag = "1")]
    spans: u32,
    #[prost(uint32, tag = "2")]
    errors: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SpanSet {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<Span>,
    #[prost(uint32, tag = "2")]
    matched: u32,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    start_nanos: u64,
    #[prost(uint64, tag = "4")]
    duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Metrics {
    #[prost(uint32, tag = "4")]
    completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    total_jobs: u32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(Array),
}

#[derive(Clone, PartialEq, Message)]
struct Array {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Streaming {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
}

impl Streaming {
    /// A client of `address`, a host with a port; it connects when it asks.
    pub(crate) fn to(address: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.timeout(Duration::from_mins(1));
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        Ok(Self { runtime, channel })
    }

    /// Ask, and put the pieces together as a client does: a trace that comes again replaces what was said of it before. The status is the
    /// one that HTTP has for the same, and the body that of HTTP.
    pub(crate) fn search(&self, request: SearchRequest) -> Result<(u16, Value)> {
        self.runtime.block_on(async {
            match self.pieces(request).await {
                Ok(pieces) => Ok((200, whole(pieces)?)),
                Err(status) if status.code() == Code::InvalidArgument => Ok((400, status.message().into())),
                Err(status) => Err(status).context("the stream ends with an error"),
            }
        })
    }

    async fn pieces(&self, request: SearchRequest) -> Result<Vec<SearchResponse>, tonic::Status> {
        let mut grpc =
            tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(LONGEST_MESSAGE);
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/tempopb.StreamingQuerier/Search");
        let codec: ProstCodec<SearchRequest, SearchResponse> = ProstCodec::default();
        let mut stream = grpc.server_streaming(Request::new(request), path, codec).await?.into_inner();
        let mut pieces = Vec::new();
        while let Some(piece) = stream.message().await? {
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

fn whole(pieces: Vec<SearchResponse>) -> Result<Value> {
    let last = pieces.last().context("the stream ends without a message")?;
    let metrics = last.metrics.context("the last message has no metrics")?;
    ensure!(
        metrics.total_jobs == metrics.completed_jobs,
        "the last message says {} of {} jobs",
        metrics.completed_jobs,
        metrics.total_jobs
    );
    let traces: BTreeMap<String, Trace> =
        pieces.into_iter().flat_map(|piece| piece.traces).map(|trace| (trace.id.clone(), trace)).collect();
    Ok(json!({ "traces": traces.values().map(trace).collect::<Vec<_>>() }))
}

fn trace(trace: &Trace) -> Value {
    let stats: Map<String, Value> = trace
        .service_stats
        .iter()
        .map(|(service, of)| {
            let counts = [("spanCount", of.spans), ("errorCount", of.errors)];
            // Zeroes are left out here too.
            let counts = counts.into_iter().filter(|(_, count)| *count > 0);
            let counts: Map<_, _> = counts.map(|(name, count)| (name.to_owned(), count.into())).collect();
            (service.clone(), counts.into())
        })
        .collect();
    let mut fields = Map::new();
    put_text(&mut fields, "traceID", &trace.id);
    put_text(&mut fields, "rootServiceName", &trace.root_service);
    put_text(&mut fields, "rootTraceName", &trace.root_name);
    put_number(&mut fields, "startTimeUnixNano", trace.start_nanos);
    fields.insert("durationMs".into(), trace.duration_ms.into());
    fields.insert("serviceStats".into(), stats.into());
    fields.insert("spanSets".into(), trace.span_sets.iter().map(span_set).collect());
    fields.into()
}

fn span_set(set: &SpanSet) -> Value {
    let mut fields = Map::new();
    fields.insert("spans".into(), set.spans.iter().map(span).collect());
    fields.insert("matched".into(), set.matched.into());
    put_attributes(&mut fields, &set.attributes);
    fields.into()
}

fn span(span: &Span) -> Value {
    let mut fields = Map::new();
    put_text(&mut fields, "spanID", &span.id);
    put_text(&mut fields, "name", &span.name);
    put_number(&mut fields, "startTimeUnixNano", span.start_nanos);
    put_number(&mut fields, "durationNanos", span.duration_nanos);
    put_attributes(&mut fields, &span.attributes);
    fields.into()
}

/// 64 bits are text in JSON, and zeroes are left out.
fn put_number(fields: &mut Map<String, Value>, name: &str, number: u64) {
    if number != 0 {
        fields.insert(name.to_owned(), number.to_string().into());
    }
}

fn put_text(fields: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        fields.insert(name.to_owned(), text.into());
    }
}

fn put_attributes(fields: &mut Map<String, Value>, attributes: &[KeyValue]) {
    if !attributes.is_empty() {
        let attribute =
            |of: &KeyValue| json!({ "key": of.key, "value": of.value.as_ref().map_or(json!({}), value) });
        fields.insert("attributes".into(), attributes.iter().map(attribute).collect());
    }
}

fn value(value: &AnyValue) -> Value {
    match &value.kind {
        None => json!({}),
        Some(Kind::String(text)) => json!({ "stringValue": text }),
        Some(Kind::Bool(bool)) => json!({ "boolValue": bool }),
        Some(Kind::Int(int)) => json!({ "intValue": int.to_string() }),
        // Go's JSON writes whole numbers without a fraction.
        Some(Kind::Double(double)) if double.fract() == 0.0 && double.abs() < 1e15 => {
            json!({ "doubleValue": *double as i64 })
        }
        Some(Kind::Double(double)) => json!({ "doubleValue": double }),
        Some(Kind::Array(array)) => {
            json!({ "arrayValue": { "values": array.values.iter().map(self::value).collect::<Vec<_>>() } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_comes_again_replaces_what_was_said_of_it() {
        let piece = |id: &str, duration_ms| SearchResponse {
            traces: vec![Trace { id: id.into(), duration_ms, ..Trace::default() }],
            metrics: Some(Metrics { completed_jobs: 2, total_jobs: 2 }),
        };
        let body = whole(vec![piece("a", 1), piece("b", 2), piece("a", 3)]).unwrap();
        let of = |n: usize| (body["traces"][n]["traceID"].clone(), body["traces"][n]["durationMs"].clone());
        assert_eq!([of(0), of(1)], [(json!("a"), json!(3)), (json!("b"), json!(2))]);
        let unfinished = SearchResponse {
            metrics: Some(Metrics { completed_jobs: 1, total_jobs: 2 }),
            ..SearchResponse::default()
        };
        assert!(whole(vec![unfinished]).is_err());
        assert!(whole(Vec::new()).is_err());
    }
}
