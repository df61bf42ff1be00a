//! A segment of the write-ahead log: every byte is a record's or damage, and no record is made up.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tracing_core::wal::fuzz_records(data));
