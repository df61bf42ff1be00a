//! OTLP in JSON: what is taken is protobuf that can be cut into traces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracing_core::wire::otlp::{json_to_proto, split};

fuzz_target!(|data: &[u8]| {
    if let Ok(proto) = json_to_proto(data) {
        let _ = split(&proto).expect("what was made of JSON is well-formed protobuf");
    }
});
