//! Fields and values as they are called elsewhere.

use crate::traceql::field::{Intrinsic, Scope};
use crate::traceql::parse_duration;
use crate::traceql::strings::{quote_name, quote_text};
use crate::traceql::value::{Kind, Status};

/// A word as the field that it names.
pub(super) fn field(found: &str) -> String {
    let (first, _) = found.split_once('.').unwrap_or((found, ""));
    let scoped =
        found.contains('.') && (first.is_empty() || Scope::from_word(first).is_some() || first == "parent");
    if scoped || is_value(found) || Intrinsic::from_name(found).is_some() {
        return found.to_owned();
    }
    let lower = found.to_ascii_lowercase();
    match lower.as_str() {
        "service" | "service.name" | "service_name" | "servicename" => "resource.service.name".to_owned(),
        "operation" | "operationname" | "operation_name" | "span.name" | "span_name" | "spanname" => {
            "name".to_owned()
        }
        "traceid" | "trace_id" => "trace:id".to_owned(),
        "spanid" | "span_id" => "span:id".to_owned(),
        "status_message" => "statusMessage".to_owned(),
        "trace_duration" => "traceDuration".to_owned(),
        "root_name" => "rootName".to_owned(),
        "root_service" | "root_service_name" => "rootServiceName".to_owned(),
        "span_kind" => "kind".to_owned(),
        _ => Intrinsic::names()
            .find(|name| name.eq_ignore_ascii_case(found))
            .map_or_else(|| format!(".{}", quote_name(found)), str::to_owned),
    }
}

/// Whether a word is a value as it stands.
pub(super) fn is_value(word: &str) -> bool {
    matches!(word, "nil" | "true" | "false" | "minInt" | "maxInt")
        || word.starts_with(|c: char| c.is_ascii_digit() || "-+*/%".contains(c))
        || Status::from_word(word).is_some()
        || Kind::from_word(word).is_some()
}

/// A text held against `subject`: a word where the field takes words, else a string.
pub(super) fn text(subject: &str, text: &str) -> String {
    keyword(subject, text).unwrap_or_else(|| quote_text(text))
}

/// A bare word held against `subject`.
pub(super) fn word(subject: &str, word: &str) -> String {
    if let Some(known) = keyword(subject, word) {
        return known;
    }
    let scoped = word.starts_with('.')
        || word.split_once('.').is_some_and(|(first, _)| Scope::from_word(first).is_some());
    match word.to_ascii_lowercase().as_str() {
        "null" | "nil" | "none" => "nil".to_owned(),
        "true" => "true".to_owned(),
        "false" => "false".to_owned(),
        _ if scoped || is_value(word) || Intrinsic::from_name(word).is_some() => word.to_owned(),
        _ => quote_text(word),
    }
}

/// What a word or a text, however it is spelt, is for a field that takes keywords or durations.
fn keyword(subject: &str, word: &str) -> Option<String> {
    let lower = word.to_ascii_lowercase();
    match subject.rsplit(':').next().unwrap_or_default() {
        "status" => {
            let name = lower.strip_prefix("status_code_").unwrap_or(&lower);
            let code =
                word.parse().ok().filter(|code| *code < Status::ALL.len() as u8).map(Status::from_otlp);
            Status::from_word(name).or(code).map(|status| status.as_str().to_owned())
        }
        "kind" => {
            let name = lower.strip_prefix("span_kind_").unwrap_or(&lower);
            let code = word.parse().ok().filter(|code| *code < Kind::ALL.len() as u8).map(Kind::from_otlp);
            Kind::from_word(name).or(code).map(|kind| kind.as_str().to_owned())
        }
        "duration" | "traceDuration" | "timeSinceStart" => {
            let joined: String = lower.split_whitespace().collect();
            // Milliseconds are what most people mean by a number.
            let with_unit = if joined.parse::<f64>().is_ok() { format!("{joined}ms") } else { joined };
            parse_duration(&with_unit).is_some().then_some(with_unit)
        }
        _ => None,
    }
}
