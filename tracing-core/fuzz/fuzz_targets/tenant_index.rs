//! A tenant's index in both of its forms, compressed and not.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tracing_core::store::fuzz_index(data));
