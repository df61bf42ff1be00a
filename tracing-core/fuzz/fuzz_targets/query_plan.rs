//! A query is read, checked, planned and printed within 64 MiB and a second, whatever it is.
//!
//! The first byte chooses: the rest is the query's text, or each byte of it is a word of the language, repeated as
//! often as the next byte says.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tracing_core::traceql::{Plan, parse, parse_bound, parse_strict, parse_tags};
use tracing_core_fuzz::within;

const WORDS: [&str; 96] = [
    "{ ", " }", "(", ")", " && ", " || ", "!", "-", " = ", " != ", " =~ ", " !~ ", " > ", " < ", " >= ", " <= ",
    " >> ", " << ", " ~ ", " !>> ", " !<< ", " !~ ", " &>> ", " &<< ", " &~ ", " | ", " + ", " * ", " / ", " % ",
    " ^ ", ".a", "span.b", "resource.c", "event.d", "link.e", "parent.f", "instrumentation.g", "scope.h", "name",
    "status", "kind", "duration", "traceDuration", "rootName", "rootServiceName", "nestedSetLeft", "span:id",
    "trace:id", "event:name", "link:spanID", "statusMessage", "childCount", "parent", "nil", "true", "false",
    "error", "ok", "unset", "server", "client", "1", "0", "9223372036854775807", "1.5", "1h", "3ns", "\"x\"",
    "`y`", "\".*\"", "\"(a|b)+\"", "\"[a-z]{1,40}\"", "\"((x*)*)*\"", "\"\\\\pL{9}\"", "\"(?i)ſ{7}\"", ".\"q r\"",
    "count()", "avg(", "min(", "max(", "sum(", "by(", "select(", "coalesce()", "rate()", "quantile_over_time(",
    "topk(3)", "bottomk(2)", "with(", "most_recent=true", ", ", " ", "\n", "\u{e9}", "\u{1f600}",
];

fn text(bytes: &[u8]) -> Option<String> {
    let (first, rest) = bytes.split_first()?;
    if first % 2 == 0 {
        return String::from_utf8(rest.to_vec()).ok();
    }
    let mut text = String::new();
    for pair in rest.chunks(2) {
        let [word, times] = [pair.first(), pair.get(1)].map(|byte| usize::from(byte.copied().unwrap_or(0)));
        // Most words stand once, some very often.
        let times = if times < 240 { 1 } else { (times - 239) * 30 };
        text.extend(std::iter::repeat_n(WORDS[word % WORDS.len()], times));
        if text.len() > 1 << 18 {
            break;
        }
    }
    Some(text)
}

fuzz_target!(|bytes: &[u8]| {
    let Some(text) = text(bytes) else { return };
    within(64 << 20, Duration::from_secs(1), &text, || {
        let _ = (parse_tags(&text), parse_bound(&text), parse_strict(&text));
        if let Ok(query) = parse(&text) {
            let _ = Plan::search(&query);
            let _ = query.to_string();
        }
    });
});
