//! Blocks in a directory of this machine: what is written here survives a loss of power. IO, blocking.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    Object, StoreError,
    blocks::{DATA, META},
};

pub(super) fn read(path: &Path) -> Result<Bytes, StoreError> {
    fs::read(path).map(Bytes::from).map_err(|e| StoreError::disk("read", path, e))
}

/// Reads ranges of a file of this machine, see [`Store::path_of`](super::Store::path_of). Blocking.
///
/// # Errors
/// What the disk says; a range past the file's end is one.
pub fn read_local(path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
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
    let temporary = temporary(path);
    let write = || {
        write_synced(&temporary, bytes)?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(|e| StoreError::disk("write", path, e))
}

/// As [`write`], unless there is one: then `false`, and it is durable too.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
    let temporary = temporary(path);
    let write = || {
        write_synced(&temporary, bytes)?;
        // Unlike a rename, a link never replaces what is there.
        let linked = fs::hard_link(&temporary, path);
        fs::remove_file(&temporary)?;
        let new = match linked {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(e),
        };
        sync_parent(path)?;
        Ok(new)
    };
    write().map_err(|e| StoreError::disk("write", path, e))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // The disk may be full of just this. What the write said is the better answer.
        let _ = fs::remove_file(path);
    }
    written
}

/// A name beside `path` that no other writer uses and no listing shows.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", uuid::Uuid::new_v4().simple()))
}

/// Whether a file is one that [`write`] left behind when it was interrupted.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with('.')
}

/// Creates the directories in which `path` stands, durably.
pub(super) fn create_parent(root: &Path, path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(dir) if !dir.is_dir() => create_dir(root, dir),
        _ => Ok(()),
    }
}

/// All files below `root/below`, their paths relative to `root`.
pub(super) fn list(root: &Path, below: &str, limit: usize) -> Result<Vec<Object>, StoreError> {
    let mut found = Vec::new();
    let mut open = vec![below.to_owned()];
    while let Some(dir) = open.pop() {
        for (name, data) in entries(&root.join(&dir))? {
            let key = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            if data.is_dir() {
                open.push(key);
            } else if data.is_file() && !is_temporary(&name) {
                if found.len() == limit {
                    return Err(StoreError::TooMany { prefix: below.to_owned(), limit });
                }
                let modified = data.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
                found.push(Object { key, size: data.len(), modified: modified.unwrap_or_default() });
            }
        }
    }
    Ok(found)
}

/// Names and properties of what a directory holds; one that is not there is empty.
fn entries(dir: &Path) -> Result<Vec<(String, Metadata)>, StoreError> {
    let failed = |e| StoreError::disk("list", dir, e);
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // What was removed while we looked is not there, and what has no readable name is not ours.
        let (Ok(data), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else { continue };
        found.push((name, data));
    }
    Ok(found)
}

/// The names of the directories in a directory.
pub(super) fn directories(dir: &Path) -> Result<Vec<String>, StoreError> {
    let found = entries(dir)?.into_iter().filter(|(_, data)| data.is_dir());
    Ok(found.map(|(name, _)| name).collect())
}

/// Removes a directory and those in it as far as they are empty.
pub(super) fn remove_empty(dir: &Path) {
    for name in directories(dir).unwrap_or_default() {
        remove_empty(&dir.join(name));
    }
    // One that is not empty stays, which is what is wanted.
    let _ = fs::remove_dir(dir);
}

/// The names of the files of a block on this machine: the data first, its meta not among them.
pub(super) fn block_files(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<_> = entries(dir)?
        .into_iter()
        .filter(|(name, data)| data.is_file() && name != META && !is_temporary(name))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable_by(|a, b| (a != DATA, a).cmp(&(b != DATA, b)));
    Ok(names)
}

/// Puts a copy of `from` at `to` without reading it where the file system can, durably.
pub(super) fn place(from: &Path, to: &Path) -> Result<(), StoreError> {
    let place = || {
        remove_if_there(to)?;
        // Its age in the store is not that of the file from which it comes (rule *young-or-named*).
        File::open(from)?.set_modified(std::time::SystemTime::now())?;
        if fs::hard_link(from, to).is_err() {
            let temporary = temporary(to);
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
