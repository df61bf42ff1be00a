//! Blocks in a directory of this machine: what is written here survives a loss of power. IO, blocking.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::Bytes;

use super::{
    StoreError,
    blocks::{DATA, META},
};

pub(super) fn read(path: &Path) -> Result<Bytes, StoreError> {
    fs::read(path).map(Bytes::from).map_err(|e| StoreError::disk("read", path, e))
}

/// Reads ranges; one that goes past the end is an error.
pub(super) fn read_ranges(path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
    let file = File::open(path).map_err(|e| StoreError::disk("open", path, e))?;
    let size = file.metadata().map_err(|e| StoreError::disk("read", path, e))?.len();
    let read = |range: &Range<u64>| {
        if range.start > range.end || range.end > size {
            let reason = format!("bytes {}..{} of {size}", range.start, range.end);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(Bytes::from(bytes))
    };
    ranges.iter().map(read).collect::<Result<_, _>>().map_err(|e| StoreError::disk("read", path, e))
}

/// Writes a file that is whole and durable, or not there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_added_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(|e| StoreError::disk("write", path, e))
}

/// Puts a copy of `from` at `to` without reading it where the file system can, durably.
pub(super) fn place(from: &Path, to: &Path) -> Result<(), StoreError> {
    let place = || {
        remove_if_there(to)?;
        if fs::hard_link(from, to).is_err() {
            let temporary = to.with_added_extension("tmp");
            fs::copy(from, &temporary)?;
            fs::rename(&temporary, to)?;
        }
        File::open(to)?.sync_all()?;
        sync_parent(to)
    };
    place().map_err(|e| StoreError::disk("write", to, e))
}

/// Creates the directory that everything else stands in, durably.
pub(super) fn create_root(root: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(root).and_then(|()| sync_parent(root)).map_err(|e| StoreError::disk("create", root, e))
}

/// Creates a directory and those above it up to `root`, durably.
pub(super) fn create_dir(root: &Path, dir: &Path) -> Result<(), StoreError> {
    let create = || {
        fs::create_dir_all(dir)?;
        for made in dir.ancestors().take_while(|d| d.starts_with(root) && *d != root) {
            sync_parent(made)?;
        }
        Ok(())
    };
    create().map_err(|e| StoreError::disk("create", dir, e))
}

/// Removes a block's directory, `meta.json` first, so that what a crash leaves of it is no block.
pub(super) fn remove_block(dir: &Path) -> Result<(), StoreError> {
    remove(&dir.join(META))?;
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::disk("remove", dir, e)),
        _ => Ok(()),
    }
}

/// Removes a file, durably; one that is not there is removed.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let gone = || match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    };
    gone().map_err(|e| StoreError::disk("remove", path, e))
}

/// Syncs data.parquet, which was written piece by piece.
pub(super) fn sync_data(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(DATA);
    let sync = || {
        File::open(&path)?.sync_all()?;
        sync_parent(&path)
    };
    sync().map_err(|e| StoreError::disk("sync", &path, e))
}

/// Pieces of a file of `size` bytes each, without ever holding all of it.
pub(super) fn read_piece(file: &mut File, size: usize) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(size);
    file.take(size as u64).read_to_end(&mut piece)?;
    Ok(Bytes::from(piece))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    // A relative path of one name has the empty path as its parent.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}
