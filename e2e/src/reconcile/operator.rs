//! The operator as a process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;

use super::proxy::Proxy;

/// The operator as a process, made anew when it ends, as the kubelet would.
#[derive(Debug)]
pub(super) struct Operator {
    binary: PathBuf,
    folder: PathBuf,
    child: Child,
    /// How often it was started.
    pub(super) starts: u32,
}

impl Operator {
    /// Start it against the proxy.
    pub(super) fn start(binary: PathBuf, folder: PathBuf, proxy: &Proxy) -> Result<Self> {
        let server = format!("http://{}", proxy.address);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": {"server": server}}],
            "users": [{"name": "a", "user": {}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        });
        std::fs::write(folder.join("operator.kubeconfig"), config.to_string())?;
        let child = Self::spawn(&binary, &folder)?;
        Ok(Self { binary, folder, child, starts: 1 })
    }

    fn spawn(binary: &Path, folder: &Path) -> Result<Child> {
        let log = File::options().create(true).append(true).open(folder.join("operator.log"))?;
        Command::new(binary)
            .args(["run", "--no-leader-election", "--listen=127.0.0.1:0", "--workload-image=vivace:1"])
            .env("KUBECONFIG", folder.join("operator.kubeconfig"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))
    }

    /// Starts it again if it has ended.
    pub(super) fn tend(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            self.child = Self::spawn(&self.binary, &self.folder)?;
            self.starts += 1;
        }
        Ok(())
    }

    /// End it as the kernel would, and start it again.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.tend()
    }

    /// What it has said.
    pub(super) fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("operator.log"))?)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
