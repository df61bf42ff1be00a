//! A search answer as Tempo's protobuf messages.

use prost::Message as _;
use tracing_core::table::evaluate::{SpanHit, SpanSet, TraceHit};

use crate::{frontend::Answer, proto::tempopb, rpc::wire_attributes};

/// The answer as messages of at most about `max_bytes`, the metrics in each: clients take the last ones they
/// saw. A single trace larger than that is a message of its own.
pub(super) fn messages(answer: Answer, by_tags: bool, max_bytes: usize) -> Vec<tempopb::SearchResponse> {
    let metrics = metrics(&answer);
    let mut messages = Vec::new();
    let (mut traces, mut bytes) = (Vec::new(), 0);
    for hit in answer.part.hits {
        let trace = trace(hit, by_tags);
        let len = trace.encoded_len();
        if bytes + len > max_bytes && !traces.is_empty() {
            let traces = std::mem::take(&mut traces);
            messages.push(tempopb::SearchResponse { traces, metrics: Some(metrics.clone()) });
            bytes = 0;
        }
        bytes += len;
        traces.push(trace);
    }
    messages.push(tempopb::SearchResponse { traces, metrics: Some(metrics) });
    messages
}

fn metrics(answer: &Answer) -> tempopb::SearchMetrics {
    let (stats, cost) = (&answer.part.stats, &answer.cost);
    let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    tempopb::SearchMetrics {
        inspected_traces: small(stats.inspected_traces),
        inspected_bytes: stats.inspected_bytes,
        total_blocks: small(cost.blocks),
        completed_jobs: small(cost.completed),
        total_jobs: small(cost.jobs),
        total_block_bytes: cost.block_bytes,
        inspected_spans: stats.inspected_spans,
        ..tempopb::SearchMetrics::default()
    }
}

fn trace(hit: TraceHit, by_tags: bool) -> tempopb::TraceSearchMetadata {
    let root_service_name = hit.shown_root_service().to_owned();
    let (sets, stats) = if by_tags { (Vec::new(), Vec::new()) } else { (hit.span_sets, hit.service_stats) };
    let span_sets: Vec<_> = sets.into_iter().map(set).collect();
    let counts = |(service, stats): (String, tracing_core::table::evaluate::ServiceStats)| {
        (service, tempopb::ServiceStats { span_count: stats.spans, error_count: stats.errors })
    };
    tempopb::TraceSearchMetadata {
        trace_id: hit.trace_id.trimmed_hex(),
        root_service_name,
        root_trace_name: hit.root_name,
        start_time_unix_nano: hit.start,
        duration_ms: u32::try_from(hit.duration_ns / 1_000_000).unwrap_or(u32::MAX),
        span_set: span_sets.first().cloned(),
        span_sets,
        service_stats: stats.into_iter().map(counts).collect(),
    }
}

fn set(set: SpanSet) -> tempopb::SpanSet {
    tempopb::SpanSet {
        spans: set.spans.into_iter().map(span).collect(),
        matched: set.matched,
        attributes: wire_attributes(set.attributes),
    }
}

fn span(span: SpanHit) -> tempopb::Span {
    tempopb::Span {
        span_id: span.id.to_string(),
        name: span.name,
        start_time_unix_nano: span.start,
        duration_nanos: span.duration,
        attributes: wire_attributes(span.attributes),
    }
}

#[cfg(test)]
mod tests {
    use tracing_core::{
        engine::{SearchPart, SearchStats},
        model::TraceId,
    };

    use super::*;

    #[test]
    fn a_long_answer_is_cut_into_messages_with_the_metrics_in_each() {
        let hit = |id: u8| TraceHit {
            trace_id: TraceId([id; 16]),
            root_service: String::new(),
            root_name: "x".repeat(400),
            start: 1,
            duration_ns: 2_999_999,
            service_stats: Vec::new(),
            span_sets: Vec::new(),
        };
        let stats = SearchStats { inspected_spans: 7, ..SearchStats::default() };
        let part = SearchPart { hits: (1..=5).map(hit).collect(), stats, ..SearchPart::default() };
        let messages = messages(Answer { part, ..Answer::default() }, false, 1000);
        let lens: Vec<_> = messages.iter().map(|message| message.traces.len()).collect();
        assert_eq!(lens, [2, 2, 1]);
        assert!(messages.iter().all(|m| m.metrics.as_ref().is_some_and(|m| m.inspected_spans == 7)));
        let first = &messages[0].traces[0];
        assert_eq!((first.duration_ms, first.trace_id.as_str()), (2, "1010101010101010101010101010101"));
        assert_eq!(first.root_service_name, "<root span not yet received>");
    }

    #[test]
    fn nothing_found_is_one_message_with_metrics() {
        let messages = messages(Answer::default(), false, 1000);
        assert!(messages.len() == 1 && messages[0].traces.is_empty() && messages[0].metrics.is_some());
    }
}
