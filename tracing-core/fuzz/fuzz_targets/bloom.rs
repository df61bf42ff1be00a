//! A shard of a Bloom filter.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tracing_core::{block::Bloom, model::TraceId};

fuzz_target!(|data: &[u8]| {
    let Ok(bloom) = Bloom::decode(Bytes::copy_from_slice(data)) else { return };
    for id in 0..64_u128 {
        let _ = bloom.may_hold(TraceId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()));
    }
});
