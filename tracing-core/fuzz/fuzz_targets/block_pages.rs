//! The pages of one column of any type, levels and compression.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tracing_core::block::fuzz_pages(data));
