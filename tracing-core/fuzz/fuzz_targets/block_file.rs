//! Any bytes as data.parquet: its footer, its page indexes, and all its pages as the footer places them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((format, file)) = data.split_first() else { return };
    let format = if format & 1 == 0 { "vParquet4" } else { "vParquet5" };
    let Some(meta) = tracing_core_fuzz::meta(format, file) else { return };
    let _ = tracing_core_fuzz::read(&meta, &Bytes::copy_from_slice(file));
});
