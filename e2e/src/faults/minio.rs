//! MinIO as a process on this machine, which can be killed, started again and run out of disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::home::Home;
use crate::http::Client;
use crate::ports::free_port;
use crate::progress::{output, run_logged};
use crate::stack::wait;

/// Its keys.
pub(crate) const KEY: &str = "tempo";
pub(crate) const SECRET: &str = "supersecret";
/// The bucket there is.
pub(crate) const BUCKET: &str = "traces";

/// A MinIO with its data in a folder. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Minio {
    /// `127.0.0.1:<port>`
    pub(crate) address: String,
    program: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

/// The program: that of the cluster's kit, built if it is not there.
fn program(home: &Home) -> Result<PathBuf> {
    let program = home.bin().join("minio");
    if !program.is_file() {
        run_logged(
            "building MinIO (Go; ten minutes the first time)",
            home.script("e2e/kbox/build.sh").arg(home.bin()),
            &home.logs().join("kbox.log"),
        )?;
    }
    Ok(program)
}

impl Minio {
    /// Start one with an empty bucket below `folder`.
    pub(crate) fn start(home: &Home, folder: &Path) -> Result<Self> {
        let bucket = folder.join(BUCKET);
        fs::create_dir_all(&bucket).with_context(|| bucket.display().to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut minio = Self { address, program: program(home)?, folder: folder.to_owned(), child: None };
        minio.resume()?;
        Ok(minio)
    }

    /// End it as the kernel would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Start it again, where it was.
    pub(crate) fn resume(&mut self) -> Result<()> {
        let log = self.folder.with_extension("log");
        let out = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(&self.program)
            .args(["server", "--quiet", "--address", &self.address])
            .arg(&self.folder)
            .env("MINIO_ROOT_USER", KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET)
            .env("MINIO_UPDATE", "off")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        self.child = Some(child);
        let (client, url) =
            (Client::new(Duration::from_secs(2)), format!("http://{}/minio/health/ready", self.address));
        wait(Duration::from_secs(30), "MinIO is ready", || match client.get(&url, &[])?.status {
            200 => Ok(()),
            status => bail!("HTTP {status}"),
        })
    }

    /// Its store as `vivace blocks --store` takes it.
    pub(crate) fn url(&self) -> String {
        let Self { address, .. } = self;
        format!(
            "s3://{BUCKET}?endpoint={address}&insecure=true&forcepathstyle=true&access_key={KEY}&secret_key={SECRET}"
        )
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A file system of its own in memory, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Only root can.
    pub(crate) fn mount(folder: &Path, mebibytes: u64) -> Result<Option<Self>> {
        if output(Command::new("id").arg("-u"))?.trim() != "0" {
            return Ok(None);
        }
        let size = format!("size={mebibytes}m");
        output(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder))?;
        Ok(Some(Self { folder: folder.to_owned() }))
    }

    /// Take all the room there is.
    pub(crate) fn fill(&self) -> Result<()> {
        let path = self.folder.join("filler");
        let mut file = File::create(&path)?;
        let piece = vec![0x5a; 1 << 20];
        while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        Ok(())
    }

    /// Give it back.
    pub(crate) fn free(&self) -> Result<()> {
        fs::remove_file(self.folder.join("filler")).context("free the disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).stderr(Stdio::null()).status();
    }
}
