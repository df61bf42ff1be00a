//! Traces by id, in both versions of Tempo's API.

mod options;
mod prune;

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::Response,
};
use prost::Message;
use tracing_core::{
    model::TraceId,
    table::{
        Bitmap, SpanTable, TableBuilder, evaluate,
        render::{self, Excerpt, JsonForm},
        with_kin,
    },
};

use super::{
    Api, lookup,
    params::Params,
    reply::{Encoding, Refusal, Reply},
    tenancy,
};
use crate::{
    frontend::{FoundTrace, QueryError},
    proto::tempopb::{PartialStatus, Trace, TraceByIdMetrics, TraceByIdResponse},
};
use options::{Filter, Options};

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
    let encoding = encoding(&headers, &uri)?;
    let found = api.frontend.find_trace(&tenants, id, range).await?.ok_or_else(Refusal::not_found)?;
    let max = api.frontend.max_trace_bytes(&tenants);
    let reply = off_the_loop(found.table.span_count(), move || whole(&found, max, encoding)).await?;
    Ok(reply.send(&headers).await)
}

/// `/api/v2/traces/{id}`: the trace, as much of it as was asked for and may be answered, or an empty one.
pub(super) async fn v2(
    State(api): State<Arc<Api>>,
    id: Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let tenants = tenancy::tenants(&headers, &api.options)?;
    let (id, range) = lookup(&id, &uri)?;
    let encoding = encoding(&headers, &uri)?;
    let params = Params::of(&uri).map_err(Refusal::bad_request)?;
    let plan = |form: &_| api.frontend.plan(form).map_err(Refusal::from);
    let options = Options::of(&params, &api.frontend.options().bounds, plan)?;
    let max = api.frontend.max_trace_bytes(&tenants);
    let reply = match api.frontend.find_trace(&tenants, id, range).await? {
        Some(found) => {
            let spans = found.table.span_count();
            off_the_loop(spans, move || Asked { id, options, max }.answer(found, encoding)).await?
        }
        None => nothing(encoding),
    };
    Ok(reply.send(&headers).await)
}

/// What the client wants: `?format=otlp` or `Accept`.
fn encoding(headers: &HeaderMap, uri: &Uri) -> Result<Encoding, Refusal> {
    let params = Params::of(uri).map_err(Refusal::bad_request)?;
    match params.get("format") {
        None => Ok(Encoding::wanted(headers)),
        Some("otlp") => Ok(Encoding::Otlp),
        Some(other) => Err(Refusal::bad_request(format!("invalid format: expected otlp, found `{other}`"))),
    }
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

/// The bound that `bytes` of parts, and the trace put together of them, exceed; `None` where they do not.
fn exceeded(bytes: u64, excerpt: Excerpt<'_>, max: Option<u64>) -> Option<u64> {
    // The parts may hold spans twice, so that only a longer sum needs the exact length.
    let max = max.filter(|max| bytes > *max)?;
    (excerpt.otlp().len() as u64 > max).then_some(max)
}

fn whole(found: &FoundTrace, max: Option<u64>, encoding: Encoding) -> Result<Reply, QueryError> {
    let excerpt = Excerpt::whole(&found.table, 0);
    if let Some(max) = exceeded(found.bytes, excerpt, max) {
        return Err(QueryError::TraceTooLarge { max });
    }
    Ok(match encoding {
        Encoding::Protobuf => Reply::protobuf(excerpt.otlp()),
        Encoding::Json => {
            let batches = excerpt.resource_spans_json(JsonForm::Tempo);
            Reply::json(format!("{{\"batches\":{batches}}}"))
        }
        Encoding::Otlp => {
            let spans = excerpt.resource_spans_json(JsonForm::Otlp);
            Reply::json(format!("{{\"resourceSpans\":{spans}}}"))
        }
        Encoding::Plain => Reply::plain_json(format!("{{\"trace\":{}}}", excerpt.plain_json())),
    })
}

/// What is asked of a trace.
struct Asked {
    id: TraceId,
    options: Options,
    max: Option<u64>,
}

impl Asked {
    fn answer(self, mut found: FoundTrace, encoding: Encoding) -> Result<Reply, QueryError> {
        let mut messages = Vec::new();
        let mut only = None;
        if let Some(filter) = &self.options.filter {
            let kept = kept(filter, &found.table);
            if kept.count() < found.table.span_count() {
                messages.push(
                    "Trace filtered, only a subset of spans matching the filter is returned".to_owned(),
                );
            }
            only = Some(kept);
        }
        if let Some(how) = &self.options.pruning {
            let mut trace = Trace::decode(excerpt(&found.table, only.as_ref()).otlp()).map_err(combine)?;
            let before = found.table.span_count();
            let pruned = prune::prune(&mut trace, how);
            if pruned > 0 {
                found.table = table(self.id, &trace)?;
                only = None;
                messages.push(format!(
                    "Spans pruned, {pruned} similar spans of {before} are summed up by spans with aggregation.is_summary"
));
            }
        }
        if let Some(max) = exceeded(found.bytes, excerpt(&found.table, only.as_ref()), self.max) {
            let first = render::first_spans(&found.table, 0, only.as_ref(), max);
            let all = only.as_ref().map_or_else(|| found.table.span_count(), Bitmap::count);
            messages.push(format!("Trace exceeds maximum size of {max} bytes, a partial trace is returned"));
            messages.push(format!("{} of {all} spans are returned, the first by time", first.count()));
            only = Some(first);
        }
        Ok(reply(excerpt(&found.table, only.as_ref()), found.bytes, &messages.join("; "), encoding))
    }
}

fn excerpt<'a>(table: &'a SpanTable, only: Option<&'a Bitmap>) -> Excerpt<'a> {
    only.map_or_else(|| Excerpt::whole(table, 0), |only| Excerpt::of(table, 0, only))
}

fn kept(filter: &Filter, table: &SpanTable) -> Bitmap {
    let matched = evaluate::selected(&filter.plan, table);
    with_kin(table, 0, &matched, filter.kin)
}

fn combine(error: impl std::error::Error) -> QueryError {
    QueryError::Combine(error.to_string())
}

fn table(id: TraceId, trace: &Trace) -> Result<SpanTable, QueryError> {
    let mut builder = TableBuilder::new();
    builder.begin(id);
    builder.add_otlp(&trace.encode_to_vec()).map_err(combine)?;
    builder.end();
    Ok(builder.finish())
}

fn reply(excerpt: Excerpt<'_>, bytes: u64, message: &str, encoding: Encoding) -> Reply {
    let status = match message {
        "" => String::new(),
        // Plain text without quotes or backslashes, as everything that is said above.
        message => format!(",\"status\":\"PARTIAL\",\"message\":\"{message}\""),
    };
    match encoding {
        Encoding::Protobuf => {
            let metrics = TraceByIdMetrics { inspected_bytes: bytes, ..TraceByIdMetrics::default() };
            let status = if message.is_empty() { PartialStatus::Complete } else { PartialStatus::Partial };
            let (trace, message) = (excerpt.otlp(), message.to_owned());
            let response =
                TraceByIdResponse { trace, metrics: Some(metrics), status: status.into(), message };
            Reply::protobuf(response.encode_to_vec())
        }
        Encoding::Json => {
            let spans = excerpt.resource_spans_json(JsonForm::Tempo);
            Reply::json(format!(
                "{{\"trace\":{{\"resourceSpans\":{spans}}},\"metrics\":{{\"inspectedBytes\":\"{bytes}\"}}{status}}}"
            ))
        }
        // OTLP's receivers ignore fields that they do not know, so that a trace that is not whole says so here too.
        Encoding::Otlp => {
            let spans = excerpt.resource_spans_json(JsonForm::Otlp);
            Reply::json(format!("{{\"resourceSpans\":{spans}{status}}}"))
        }
        Encoding::Plain => {
            let trace = excerpt.plain_json();
            Reply::plain_json(format!("{{\"trace\":{trace}{status}}}"))
        }
    }
}

fn nothing(encoding: Encoding) -> Reply {
    match encoding {
        Encoding::Json => Reply::json("{\"trace\":{},\"metrics\":{}}"),
        Encoding::Otlp => Reply::json("{\"resourceSpans\":[]}"),
        Encoding::Plain => Reply::plain_json("{\"trace\":{}}"),
        Encoding::Protobuf => {
            let metrics = Some(TraceByIdMetrics::default());
            Reply::protobuf(TraceByIdResponse { metrics, ..TraceByIdResponse::default() }.encode_to_vec())
        }
    }
}

#[cfg(test)]
mod tests;
