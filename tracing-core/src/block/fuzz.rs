//! The way in for the fuzz target `block_pages`, which no other build has: pages of one column, without the
//! footer that would have to lead to them.

use bytes::Bytes;

use super::{
    footer::Codec,
    page::Pages,
    schema::{Kind, Leaf, Spec},
};

/// Values that a column of the fuzzer may hold: enough for every path, little enough for its memory limit.
const VALUES: u64 = 1 << 18;

/// Decodes the pages that follow three bytes: type, levels (definition in the low three bits, repetition
/// above), compression.
pub fn fuzz_pages(input: &[u8]) {
    let [kind, levels, codec, pages @ ..] = input else { return };
    let kinds = [
        Kind::Text,
        Kind::Id,
        Kind::Int32,
        Kind::Uint32,
        Kind::Int64,
        Kind::Uint64,
        Kind::Double,
        Kind::Bool,
    ];
    let codecs = [Codec::None, Codec::Snappy, Codec::Zstd];
    let (Some(kind), Some(codec)) = (kinds.get(usize::from(*kind)), codecs.get(usize::from(*codec))) else {
        return;
    };
    let (def, rep) = (levels & 7, levels >> 3 & 7);
    let spec =
        Spec { leaf: Leaf::Name, path: "fuzz".to_owned(), kind: *kind, def, rep: rep.min(def), blob: false };
    let pages = Bytes::copy_from_slice(pages);
    for rows in [0..u64::MAX, 1..3] {
        let mut reader = Pages::new(&spec, *codec, VALUES).only(rows);
        if reader.read(&pages).is_ok() {
            assert!(reader.finish().values.len() as u64 <= VALUES);
        }
    }
    let mut reader = Pages::new(&spec, *codec, VALUES);
    if reader.read(&pages).is_ok() {
        assert!(reader.finish().values.len() as u64 <= VALUES);
    }
}
