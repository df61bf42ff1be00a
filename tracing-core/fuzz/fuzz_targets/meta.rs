//! meta.json: what is read is written and read again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracing_core::block::{Footer, Meta};

fuzz_target!(|data: &[u8]| {
    let Ok(meta) = Meta::from_json(data) else { return };
    assert_eq!(Meta::from_json(&meta.to_json()).expect("what we wrote"), meta);
    let _ = (meta.nanos(), meta.version(), Footer::range(&meta));
});
