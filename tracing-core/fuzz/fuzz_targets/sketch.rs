//! A block's sketch: what is read can be asked, and is written and read again the same.
//!
//! The checksum keeps most changed bytes out, so that the body is also tried by itself, behind a right one.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tracing_core::{
    block::Sketch,
    traceql::{Plan, parse},
};

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let queries = [
        "{ span.http.method = \"GET\" && duration > 1ms }",
        "{ resource.service.name =~ \"a.*\" } >> { status = error }",
        "{ .a = 7 || event.b != \"c\" || link.d > 1.5 }",
        "{ rootName = \"x\" } | count() > 2",
    ];
    queries.iter().filter_map(|query| Plan::search(&parse(query).ok()?).ok()).collect()
});

fn ask(bytes: &[u8]) {
    let Ok(sketch) = Sketch::decode(bytes) else { return };
    for plan in PLANS.iter() {
        let _ = sketch.may_match(plan);
    }
    let _ = sketch.memory();
    if let Ok(again) = sketch.encode() {
        assert_eq!(Sketch::decode(&again).expect("what we wrote"), sketch);
    }
}

fuzz_target!(|data: &[u8]| {
    ask(data);
    // As encode() writes it: mark, CRC-32 of what follows, length of the body, the body compressed.
    let mut tail = Vec::new();
    let mut length = data.len() as u64;
    while length >= 0x80 {
        tail.push(length as u8 | 0x80);
        length >>= 7;
    }
    tail.push(length as u8);
    let Ok(body) = zstd::bulk::compress(data, 1) else { return };
    tail.extend(body);
    let mut crc = flate2::Crc::new();
    crc.update(&tail);
    ask(&[&b"VSK1"[..], &crc.sum().to_le_bytes(), &tail].concat());
});
