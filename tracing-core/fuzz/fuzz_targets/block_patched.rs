//! A block that was whole, with some bytes changed: each four bytes of the input are a place (24 bits) and
//! what is added there. The footer then mostly still leads to the pages.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

/// The seeds of `block_file`, which are whole blocks.
static BLOCKS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/block_file");
    let mut names: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|f| f.path()).collect();
    names.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-")));
    names.sort();
    let blocks: Vec<_> = names.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    assert!(!blocks.is_empty(), "{dir} holds no seeds; see README.md");
    blocks
});

fuzz_target!(|data: &[u8]| {
    let Some((which, patches)) = data.split_first() else { return };
    let Some(block) = BLOCKS.get(usize::from(*which) % BLOCKS.len()) else { return };
    let Some((format, file)) = block.split_first() else { return };
    let format = if format & 1 == 0 { "vParquet4" } else { "vParquet5" };
    let mut file = file.to_vec();
    let size = file.len();
    for patch in patches.as_chunks::<4>().0.iter().take(64) {
        let [a, b, c, add] = *patch;
        let at = u32::from_le_bytes([a, b, c, 0]) as usize % size;
        if let Some(byte) = file.get_mut(at) {
            *byte = byte.wrapping_add(add);
        }
    }
    let Some(meta) = tracing_core_fuzz::meta(format, &file) else { return };
    let read = tracing_core_fuzz::read(&meta, &Bytes::from(file));
    if patches.is_empty() {
        read.expect("a block that nothing was changed in");
    }
});
