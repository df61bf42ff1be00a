//! TraceQL: no text panics, and what is printed is read again as the same query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracing_core::traceql::{Plan, parse, parse_bound, parse_tags};

fuzz_target!(|text: &str| {
    let _ = (parse_tags(text), parse_bound(text));
    let Ok(query) = parse(text) else { return };
    let _ = Plan::search(&query);
    let printed = query.to_string();
    let again = parse(&printed).unwrap_or_else(|error| panic!("`{printed}` from `{text}`: {error}"));
    assert_eq!(again.to_string(), printed, "from `{text}`");
});
