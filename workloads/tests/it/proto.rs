//! The generated code under `src/proto/` is what `proto/` gives.

use std::{fs, path::Path};

const ROOTS: [&str; 3] = ["tempopb/tempo.proto", "vivace/v1/ingester.proto", "vivace/v1/queue.proto"];
const FILES: [&str; 5] =
    ["tempopb.rs", "tempopb.common.v1.rs", "tempopb.resource.v1.rs", "tempopb.trace.v1.rs", "vivace.v1.rs"];

#[test]
fn the_generated_messages_are_those_of_the_proto_files() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(ROOTS, [package.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .bytes(".")
        .build_transport(true)
        .emit_rerun_if_changed(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let mut stale = Vec::new();
    for file in FILES {
        let (wanted, stands) = (out.path().join(file), package.join("src/proto").join(file));
        let wanted = fs::read_to_string(wanted).unwrap();
        if fs::read_to_string(&stands).is_ok_and(|text| text == wanted) {
            continue;
        }
        if std::env::var_os("UPDATE_PROTO").is_some() {
            fs::write(&stands, wanted).unwrap();
        } else {
            stale.push(file);
        }
    }
    assert!(stale.is_empty(), "stale, run UPDATE_PROTO=1 cargo test -p vivace --test it proto: {stale:?}");
}
