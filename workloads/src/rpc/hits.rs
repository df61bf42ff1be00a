//! What a search found, as a message and back. Values are tempopb's, which is what clients get in the end.

use bytes::Bytes;
use tracing_core::{
    engine::{SearchPart, SearchStats},
    model::{SpanId, TraceId},
    table::evaluate::{OwnedValue, ServiceStats, SpanHit, SpanSet, TraceHit},
};

use super::MessageError;
use crate::proto::{
    tempopb::common::v1::{AnyValue, ArrayValue, KeyValue, any_value},
    vivace::v1,
};

/// Arrays within arrays that are believed; none that a block or an ingester holds are deeper than one.
const MAX_DEPTH: usize = 8;

pub(super) fn wire_part(part: SearchPart) -> v1::SearchPart {
    let SearchPart { hits, stats, continued } = part;
    let SearchStats { inspected_traces, inspected_bytes, inspected_spans } = stats;
    v1::SearchPart {
        hits: hits.into_iter().map(wire_hit).collect(),
        stats: Some(v1::SearchStats { inspected_traces, inspected_spans, inspected_bytes }),
        continued: continued
            .into_iter()
            .map(|(id, start_ns)| v1::Continued { trace_id: Bytes::copy_from_slice(&id.0), start_ns })
            .collect(),
    }
}

pub(super) fn part(part: v1::SearchPart) -> Result<SearchPart, MessageError> {
    let v1::SearchPart { hits, stats, continued } = part;
    let trace_id =
        |id: &Bytes| TraceId::from_slice(id).map_err(|error| MessageError::wrong("trace_id", error));
    let v1::SearchStats { inspected_traces, inspected_spans, inspected_bytes } = stats.unwrap_or_default();
    Ok(SearchPart {
        hits: hits.into_iter().map(hit).collect::<Result<_, _>>()?,
        stats: SearchStats { inspected_traces, inspected_bytes, inspected_spans },
        continued: continued
            .iter()
            .map(|one| Ok((trace_id(&one.trace_id)?, one.start_ns)))
            .collect::<Result<_, _>>()?,
    })
}

fn wire_hit(hit: TraceHit) -> v1::TraceHit {
    let TraceHit { trace_id, root_service, root_name, start, duration_ns, service_stats, span_sets } = hit;
    let stats = |(service, ServiceStats { spans, errors })| v1::ServiceStats { service, spans, errors };
    v1::TraceHit {
        trace_id: Bytes::copy_from_slice(&trace_id.0),
        root_service,
        root_name,
        start_ns: start,
        duration_ns,
        service_stats: service_stats.into_iter().map(stats).collect(),
        span_sets: span_sets.into_iter().map(wire_set).collect(),
    }
}

fn hit(hit: v1::TraceHit) -> Result<TraceHit, MessageError> {
    let v1::TraceHit { trace_id, root_service, root_name, start_ns, duration_ns, service_stats, span_sets } =
        hit;
    let stats = |v1::ServiceStats { service, spans, errors }| (service, ServiceStats { spans, errors });
    Ok(TraceHit {
        trace_id: TraceId::from_slice(&trace_id).map_err(|error| MessageError::wrong("trace_id", error))?,
        root_service,
        root_name,
        start: start_ns,
        duration_ns,
        service_stats: service_stats.into_iter().map(stats).collect(),
        span_sets: span_sets.into_iter().map(set).collect::<Result<_, _>>()?,
    })
}

fn wire_set(set: SpanSet) -> v1::SpanSet {
    let SpanSet { matched, spans, attributes } = set;
    v1::SpanSet {
        matched,
        spans: spans.into_iter().map(wire_span).collect(),
        attributes: wire_attributes(attributes),
    }
}

fn set(set: v1::SpanSet) -> Result<SpanSet, MessageError> {
    let v1::SpanSet { matched, spans, attributes } = set;
    Ok(SpanSet {
        matched,
        spans: spans.into_iter().map(span).collect::<Result<_, _>>()?,
        attributes: owned_attributes(attributes)?,
    })
}

fn wire_span(span: SpanHit) -> v1::SpanHit {
    let SpanHit { id, name, start, duration, attributes } = span;
    v1::SpanHit {
        span_id: Bytes::copy_from_slice(&id.0),
        name,
        start_ns: start,
        duration_ns: duration,
        attributes: wire_attributes(attributes),
    }
}

fn span(span: v1::SpanHit) -> Result<SpanHit, MessageError> {
    let v1::SpanHit { span_id, name, start_ns, duration_ns, attributes } = span;
    Ok(SpanHit {
        id: SpanId::from_slice(&span_id).map_err(|error| MessageError::wrong("span_id", error))?,
        name,
        start: start_ns,
        duration: duration_ns,
        attributes: owned_attributes(attributes)?,
    })
}

/// Attributes as clients and other roles get them.
pub(crate) fn wire_attributes(attributes: Vec<(String, OwnedValue)>) -> Vec<KeyValue> {
    attributes.into_iter().map(|(key, value)| KeyValue { key, value: Some(wire_value(value)) }).collect()
}

fn owned_attributes(attributes: Vec<KeyValue>) -> Result<Vec<(String, OwnedValue)>, MessageError> {
    let one = |KeyValue { key, value }| Ok((key, owned_value(value, MAX_DEPTH)?));
    attributes.into_iter().map(one).collect()
}

fn wire_value(value: OwnedValue) -> AnyValue {
    let value = match value {
        OwnedValue::String(text) => any_value::Value::StringValue(text),
        OwnedValue::Int(number) => any_value::Value::IntValue(number),
        OwnedValue::Double(number) => any_value::Value::DoubleValue(number),
        OwnedValue::Bool(truth) => any_value::Value::BoolValue(truth),
        OwnedValue::Array(values) => {
            let values = values.into_iter().map(wire_value).collect();
            any_value::Value::ArrayValue(ArrayValue { values })
        }
    };
    AnyValue { value: Some(value) }
}

fn owned_value(value: Option<AnyValue>, depth: usize) -> Result<OwnedValue, MessageError> {
    let value = value.and_then(|value| value.value).ok_or(MessageError::Missing("attributes.value"))?;
    Ok(match value {
        any_value::Value::StringValue(text) => OwnedValue::String(text),
        any_value::Value::IntValue(number) => OwnedValue::Int(number),
        any_value::Value::DoubleValue(number) => OwnedValue::Double(number),
        any_value::Value::BoolValue(truth) => OwnedValue::Bool(truth),
        any_value::Value::ArrayValue(ArrayValue { values }) if depth > 0 => {
            let one = |value| owned_value(Some(value), depth - 1);
            OwnedValue::Array(values.into_iter().map(one).collect::<Result<_, _>>()?)
        }
        _ => {
            return Err(MessageError::wrong(
                "attributes.value",
                "expected a plain value or an array of them",
            ));
        }
    })
}
