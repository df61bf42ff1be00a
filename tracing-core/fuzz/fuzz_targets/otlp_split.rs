//! An OTLP request: cut into traces, built into a table, rendered, and cut again to the same spans.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tracing_core::{
    table::{TableBuilder, render},
    wire::otlp::split,
};

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let Ok(cut) = split(&body) else { return };
    let mut builder = TableBuilder::keeping_duplicates();
    let mut spans = 0;
    for trace in &cut.traces {
        spans += u64::from(trace.spans);
        builder.begin(trace.id);
        builder.add_otlp(&trace.otlp).expect("what the split lets through can be built");
        builder.end();
    }
    assert_eq!(spans, cut.spans, "the spans of the slices");
    let table = builder.finish();
    tracing_core_fuzz::whole(&table);
    for trace in 0..table.trace_count().min(4) {
        let again = split(&render::otlp(&table, trace)).expect("what we rendered");
        assert_eq!(again.rejected.spans, 0);
    }
});
