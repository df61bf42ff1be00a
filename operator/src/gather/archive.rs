//! Where what was collected goes: a folder, or a tar archive; never more than was agreed. IO.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

const BLOCK: usize = 512;
/// Longest name that fits into a header of ustar without its prefix field.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// The output.
pub(super) struct Archive {
    sink: Sink,
    /// Bytes that may still be written.
    left: u64,
    pub(super) files: usize,
    /// What could not be read, or found no room.
    pub(super) problems: Vec<String>,
}

enum Sink {
    Folder(PathBuf),
    Tar(Box<dyn Write + Send>),
}

impl Archive {
    /// A folder that is not there yet or is empty; a file when the name ends in `.tar`; standard output for `-`.
    pub(super) fn create(output: &Path, limit: u64) -> anyhow::Result<Self> {
        let sink = if output == Path::new("-") {
            Sink::Tar(Box::new(io::stdout()))
        } else if output.extension().is_some_and(|extension| extension == "tar") {
            let file =
                File::create_new(output).with_context(|| format!("cannot create {}", output.display()))?;
            Sink::Tar(Box::new(io::BufWriter::new(file)))
        } else {
            if fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some()) {
                bail!("{} is there and not empty", output.display());
            }
            fs::create_dir_all(output).with_context(|| format!("cannot create {}", output.display()))?;
            Sink::Folder(output.to_owned())
        };
        Ok(Self { sink, left: limit, files: 0, problems: Vec::new() })
    }

    /// Notes what could not be read.
    pub(super) fn problem(&mut self, what: String) {
        tracing::warn!("{what}");
        self.problems.push(what);
    }

    /// Puts a file; one that finds no room is named among the problems.
    pub(super) fn put(&mut self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if size > self.left {
            self.problem(format!(
                "{path}: left out, its {size} bytes would pass the limit of the whole (--max-bytes)"
            ));
            return Ok(());
        }
        self.left -= size;
        self.write(path, content)
    }

    fn write(&mut self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        self.files += 1;
        match &mut self.sink {
            Sink::Folder(root) => {
                let place = root.join(path);
                let folder = place.parent().unwrap_or(root);
                fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
                fs::write(&place, content).with_context(|| format!("cannot write {}", place.display()))
            }
            Sink::Tar(out) => entry(out, path, content).with_context(|| format!("cannot write {path}")),
        }
    }

    /// Puts the problems, and closes the archive.
    pub(super) fn finish(mut self) -> anyhow::Result<usize> {
        let mut problems = self.problems.join("\n");
        if problems.is_empty() {
            problems.push_str("none: everything could be read");
        }
        problems.push('\n');
        self.write("problems.txt", problems.as_bytes())?;
        if let Sink::Tar(out) = &mut self.sink {
            out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).context("cannot close the archive")?;
        }
        Ok(self.files)
    }
}

/// A file in the format ustar of POSIX.1-1988.
fn entry(out: &mut dyn Write, path: &str, content: &[u8]) -> io::Result<()> {
    let (prefix, name) =
        split(path).ok_or_else(|| io::Error::other("its name is too long for a tar archive"))?;
    let mut header = [0_u8; BLOCK];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", content.len()));
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\0");
    field(263, "00");
    field(345, prefix);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&header)?;
    out.write_all(content)?;
    out.write_all(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()])
}

/// A path in the two fields of a header.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| prefix.len() <= PREFIX && name.len() <= NAME)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_archive_is_one_that_tar_reads() {
        let mut bytes = Vec::new();
        let long = format!("namespaces/{}/pods/{}.yaml", "n".repeat(63), "p".repeat(63));
        for (path, content) in [("a.txt", "one\n".to_owned()), (long.as_str(), "x".repeat(600))] {
            entry(&mut bytes, path, content.as_bytes()).expect("it fits");
        }
        bytes.extend([0; 2 * BLOCK]);
        let file = std::env::temp_dir().join(format!("gather-{}.tar", std::process::id()));
        fs::write(&file, &bytes).expect("a file");
        let listed = Command::new("tar").arg("-tf").arg(&file).output().expect("tar runs");
        assert_eq!(String::from_utf8_lossy(&listed.stdout), format!("a.txt\n{long}\n"), "{listed:?}");
        let read = Command::new("tar").arg("-xOf").arg(&file).arg(&long).output().expect("tar runs");
        assert_eq!(read.stdout, "x".repeat(600).as_bytes());
        fs::remove_file(&file).expect("it was there");
    }

    #[test]
    fn what_finds_no_room_is_named_and_the_rest_goes_on() {
        let folder = std::env::temp_dir().join(format!("gather-room-{}", std::process::id()));
        let mut archive = Archive::create(&folder, 10).expect("a folder");
        archive.put("large", &[0; 11]).expect("it is left out");
        archive.put("small", b"1234567890").expect("it fits");
        assert!(archive.problems.len() == 1 && archive.problems[0].starts_with("large: left out"));
        assert_eq!(archive.finish().expect("it is closed"), 2);
        assert!(folder.join("small").is_file() && !folder.join("large").exists());
        assert!(fs::read_to_string(folder.join("problems.txt")).expect("it is there").contains("large"));
        assert!(Archive::create(&folder, 10).is_err(), "a folder with something in it is taken");
        fs::remove_dir_all(&folder).expect("it was there");
    }
}
