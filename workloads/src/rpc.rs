//! Jobs, answers and queries as messages between our own roles, and back. Whatever a message lacks or holds
//! that it should not is an error that names the field. The service [`LiveService`] is the ingester's side.

mod hits;
mod live;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tracing_core::{
    block::Meta,
    engine::SearchLimits,
    model::{Tenant, TraceId},
    table::evaluate::TimeRange,
};

pub(crate) use hits::wire_attributes;
pub use live::LiveService;

use crate::{
    frontend::{Failure, FailureKind, Form, Found, IngesterAddress, Job, Recent, Search, Work},
    proto::vivace::v1::{self, job::Work as WireWork, job_error::Kind, job_result::Outcome, query},
};

/// What is wrong with a message of another role.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{field}: {reason}")]
    Wrong { field: &'static str, reason: String },
}

impl MessageError {
    #[expect(clippy::needless_pass_by_value, reason = "errors are done with here")]
    fn wrong(field: &'static str, error: impl ToString) -> Self {
        Self::Wrong { field, reason: error.to_string() }
    }
}

/// A job as a querier is given it.
pub(crate) fn job(id: u64, job: &Job, timeout: Duration) -> v1::Job {
    let work = match job.work.as_ref() {
        Work::SearchBlock { search, meta, row_groups } => WireWork::SearchBlock(v1::SearchBlock {
            query: Some(wire_query(&search.form)),
            limits: Some(wire_limits(search.limits)),
            meta: meta.to_json().into(),
            row_group_first: saturated(row_groups.start),
            row_group_end: saturated(row_groups.end),
        }),
        Work::SearchLive { search, ingester } => WireWork::SearchLive(v1::SearchLive {
            query: Some(wire_query(&search.form)),
            limits: Some(wire_limits(search.limits)),
            ingester: ingester.grpc.to_string(),
        }),
        Work::FindInBlocks { id, metas, holding, search } => WireWork::FindInBlocks(v1::FindInBlocks {
            trace_id: bytes_of(*id),
            metas: wire_metas(metas),
            holding: *holding,
            query: search.as_ref().map(|search| wire_query(&search.form)),
            limits: search.as_ref().map(|search| wire_limits(search.limits)),
        }),
        Work::FindLive { id, ingester } => {
            WireWork::FindLive(v1::FindLive { trace_id: bytes_of(*id), ingester: ingester.grpc.to_string() })
        }
    };
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    v1::Job { id, tenant: job.tenant.to_string(), timeout_ms, work: Some(work) }
}

/// What a querier is to do for whom.
pub(crate) fn work(job: v1::Job) -> Result<(Tenant, Work), MessageError> {
    let tenant = tenant(&job.tenant)?;
    let work = match job.work.ok_or(MessageError::Missing("work"))? {
        WireWork::SearchBlock(v1::SearchBlock { query, limits, meta, row_group_first, row_group_end }) => {
            Work::SearchBlock {
                search: search(query, limits)?,
                meta: one_meta(&meta)?,
                row_groups: row_group_first as usize..row_group_end as usize,
            }
        }
        WireWork::SearchLive(v1::SearchLive { query, limits, ingester }) => {
            Work::SearchLive { search: search(query, limits)?, ingester: address(ingester)? }
        }
        WireWork::FindInBlocks(v1::FindInBlocks { trace_id, metas: blocks, holding, query, limits }) => {
            let search = query.map(|query| search(Some(query), limits)).transpose()?;
            Work::FindInBlocks { id: id(&trace_id)?, metas: metas(&blocks)?, holding, search }
        }
        WireWork::FindLive(v1::FindLive { trace_id, ingester }) => {
            Work::FindLive { id: id(&trace_id)?, ingester: address(ingester)? }
        }
    };
    Ok((tenant, work))
}

/// A querier's answer to job `id`.
pub(crate) fn result(id: u64, result: Result<Found, Failure>) -> v1::JobResult {
    let (outcome, recent) = match result {
        Ok(Found::Search { part, recent }) => (Outcome::Search(hits::wire_part(part)), recent),
        Ok(Found::Trace { parts, recent }) => (Outcome::Trace(v1::TraceParts { parts }), recent),
        Err(Failure { kind, message }) => {
            let kind = match kind {
                FailureKind::Retry => Kind::Retry,
                FailureKind::Refused => Kind::Refused,
                FailureKind::Cancelled => Kind::Cancelled,
                FailureKind::BlockGone => Kind::BlockGone,
            };
            (Outcome::Error(v1::JobError { message, kind: kind.into() }), Recent::default())
        }
    };
    let process = recent.process.map(|process| Bytes::copy_from_slice(process.as_bytes()));
    let (recent_blocks, process) = (wire_metas(&recent.blocks), process.unwrap_or_default());
    v1::JobResult { id, outcome: Some(outcome), recent_blocks, process }
}

/// What a querier answered.
pub(crate) fn found(result: v1::JobResult) -> Result<Found, Failure> {
    let v1::JobResult { id: _, outcome, recent_blocks, process } = result;
    let wrong = |error: MessageError| Failure::retry(format!("the querier's answer: {error}"));
    match outcome.ok_or(MessageError::Missing("outcome")).map_err(wrong)? {
        Outcome::Search(part) => {
            let part = hits::part(part).map_err(wrong)?;
            Ok(Found::Search { part, recent: recent(&recent_blocks, &process).map_err(wrong)? })
        }
        Outcome::Trace(v1::TraceParts { parts }) => {
            Ok(Found::Trace { parts, recent: recent(&recent_blocks, &process).map_err(wrong)? })
        }
        Outcome::Error(v1::JobError { message, kind }) => {
            let kind = match Kind::try_from(kind).unwrap_or(Kind::Retry) {
                Kind::Retry => FailureKind::Retry,
                Kind::Refused => FailureKind::Refused,
                Kind::Cancelled => FailureKind::Cancelled,
                Kind::BlockGone => FailureKind::BlockGone,
            };
            Err(Failure { kind, message })
        }
    }
}

/// A search to be asked of an ingester.
pub(crate) fn live_search(
    tenant: &Tenant,
    search: &Search,
    taken_over: Vec<String>,
) -> v1::LiveSearchRequest {
    v1::LiveSearchRequest {
        tenant: tenant.to_string(),
        query: Some(wire_query(&search.form)),
        limits: Some(wire_limits(search.limits)),
        taken_over,
    }
}

/// What an ingester found.
pub(crate) fn live_found(response: v1::LiveSearchResponse) -> Result<Found, MessageError> {
    let part = hits::part(response.part.ok_or(MessageError::Missing("part"))?)?;
    Ok(Found::Search { part, recent: recent(&response.recent_blocks, &response.process)? })
}

/// A lookup to be asked of an ingester.
pub(crate) fn live_lookup(tenant: &Tenant, id: TraceId, taken_over: Vec<String>) -> v1::FindTraceRequest {
    v1::FindTraceRequest { tenant: tenant.to_string(), trace_id: bytes_of(id), taken_over }
}

/// The parts that an ingester has of a trace.
pub(crate) fn live_trace(response: v1::FindTraceResponse) -> Result<Found, MessageError> {
    let v1::FindTraceResponse { parts, recent_blocks, process } = response;
    Ok(Found::Trace { parts, recent: recent(&recent_blocks, &process)? })
}

/// What an ingester says of blocks; `process` is 16 bytes, or nothing in the answer of a block.
fn recent(blocks: &[Bytes], process: &[u8]) -> Result<Recent, MessageError> {
    Ok(Recent { blocks: metas(blocks)?, process: uuid::Uuid::from_slice(process).ok() })
}

fn wire_query(form: &Form) -> v1::Query {
    let form = match form {
        Form::TraceQl(text) => query::Form::Traceql(text.clone()),
        Form::Tags { tags, min, max } => {
            let tag = |(key, value): &(String, String)| v1::Tag { key: key.clone(), value: value.clone() };
            query::Form::Tags(v1::TagQuery {
                tags: tags.iter().map(tag).collect(),
                min_duration_ns: min.map(nanos),
                max_duration_ns: max.map(nanos),
            })
        }
    };
    v1::Query { form: Some(form) }
}

fn search(query: Option<v1::Query>, limits: Option<v1::SearchLimits>) -> Result<Arc<Search>, MessageError> {
    let form = match query.and_then(|query| query.form).ok_or(MessageError::Missing("query"))? {
        query::Form::Traceql(text) => Form::TraceQl(text),
        query::Form::Tags(v1::TagQuery { tags, min_duration_ns, max_duration_ns }) => Form::Tags {
            tags: tags.into_iter().map(|v1::Tag { key, value }| (key, value)).collect(),
            min: min_duration_ns.map(Duration::from_nanos),
            max: max_duration_ns.map(Duration::from_nanos),
        },
    };
    let plan = form.plan().map_err(|error| MessageError::wrong("query", error))?;
    let limits = search_limits(limits.ok_or(MessageError::Missing("limits"))?);
    Ok(Arc::new(Search { form, plan, limits }))
}

fn wire_limits(limits: SearchLimits) -> v1::SearchLimits {
    let SearchLimits { limit, spss, window } = limits;
    let count = |n: usize| if n == usize::MAX { 0 } else { saturated(n) };
    v1::SearchLimits {
        limit: count(limit),
        spans_per_span_set: count(spss),
        window_start_ns: window.map(|window| window.start),
        window_end_ns: window.map(|window| window.end),
    }
}

fn search_limits(limits: v1::SearchLimits) -> SearchLimits {
    let v1::SearchLimits { limit, spans_per_span_set, window_start_ns, window_end_ns } = limits;
    let count = |n: u32| if n == 0 { usize::MAX } else { n as usize };
    let window = window_start_ns.zip(window_end_ns).map(|(start, end)| TimeRange { start, end });
    SearchLimits { limit: count(limit), spss: count(spans_per_span_set), window }
}

fn wire_metas(metas: &[Arc<Meta>]) -> Vec<Bytes> {
    metas.iter().map(|meta| meta.to_json().into()).collect()
}

fn one_meta(json: &[u8]) -> Result<Arc<Meta>, MessageError> {
    Meta::from_json(json).map(Arc::new).map_err(|error| MessageError::wrong("meta", error))
}

fn metas(blocks: &[Bytes]) -> Result<Vec<Arc<Meta>>, MessageError> {
    blocks.iter().map(|json| one_meta(json)).collect()
}

fn tenant(name: &str) -> Result<Tenant, MessageError> {
    Tenant::new(name).map_err(|error| MessageError::wrong("tenant", error))
}

fn id(bytes: &[u8]) -> Result<TraceId, MessageError> {
    TraceId::from_slice(bytes).map_err(|error| MessageError::wrong("trace_id", error))
}

fn bytes_of(id: TraceId) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}

fn address(text: String) -> Result<IngesterAddress, MessageError> {
    let grpc = text.parse().map_err(|error| MessageError::wrong("ingester", error))?;
    Ok(IngesterAddress { id: text, grpc })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn saturated(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
