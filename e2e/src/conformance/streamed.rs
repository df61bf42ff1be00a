//! Recorded questions as messages of the streaming API. What HTTP alone can say (a limit of -1, another path) is not asked.

use std::collections::HashMap;

use serde_json::Value;

use super::Question;
use crate::streaming::SearchRequest;

/// The question as Grafana asks it over gRPC; `None` where a message cannot hold it.
pub(super) fn message(question: &Question) -> Option<SearchRequest> {
    if question.path != "/api/search" {
        return None;
    }
    let mut message = SearchRequest::default();
    for (name, value) in &question.params {
        match name.as_str() {
            "q" => value.as_str()?.clone_into(&mut message.query),
            "tags" => message.tags = tags(value.as_str()?)?,
            "minDuration" => message.min_duration_ms = milliseconds(value.as_str()?)?,
            "maxDuration" => message.max_duration_ms = milliseconds(value.as_str()?)?,
            "limit" => message.limit = number(value)?,
            "spss" => message.spans_per_span_set = number(value)?,
            "start" => message.start = number(value)?,
            "end" => message.end = number(value)?,
            _ => return None,
        }
    }
    Some(message)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

fn milliseconds(text: &str) -> Option<u32> {
    text.strip_suffix("ms")?.parse().ok()
}

/// logfmt without quotes, which is all that is recorded.
fn tags(text: &str) -> Option<HashMap<String, String>> {
    let pair = |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.split_whitespace().map(pair).collect()
}
