//! Where things are: the clone, and the folders outside it in which binaries, images and state are kept.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The clone, and the folder `E2E_HOME` with all that is built or left behind while the cluster runs.
#[derive(Debug)]
pub(crate) struct Home {
    /// The root of the clone.
    pub(crate) repository: PathBuf,
    root: PathBuf,
}

impl Home {
    /// The clone that this command was started from, and `E2E_HOME` or `~/.cache/vivace-e2e`.
    pub(crate) fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let repository =
            Path::new(&package).parent().context("the package e2e has no parent folder")?.to_path_buf();
        let root = match (env::var_os("E2E_HOME"), env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
            (Some(home), _, _) => PathBuf::from(home),
            (None, Some(cache), _) => PathBuf::from(cache).join("vivace-e2e"),
            (None, None, Some(user)) => PathBuf::from(user).join(".cache/vivace-e2e"),
            (None, None, None) => bail!("set E2E_HOME to a folder for the cluster's binaries and state"),
        };
        let root = std::path::absolute(&root).with_context(|| format!("E2E_HOME={}", root.display()))?;
        if root.starts_with(&repository) {
            bail!("E2E_HOME={} lies in the clone; choose a folder outside", root.display());
        }
        Ok(Self { repository, root })
    }

    /// Binaries of the cluster: kbox, kbox-node, pause, helm, minio.
    pub(crate) fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Image archives; each is imported when the cluster starts.
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Logs, the kubeconfig and the audit log of the running cluster.
    pub(crate) fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    /// Logs of builds.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Data that is expensive to make and can be thrown away.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// A file of the package e2e.
    pub(crate) fn part(&self, path: &str) -> PathBuf {
        self.repository.join("e2e").join(path)
    }

    /// A command of the kit, with the folders of this home in its environment.
    pub(crate) fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.repository.join(name));
        command.env("E2E_HOME", &self.root).current_dir(&self.repository);
        command
    }

    /// The folder into which cargo builds this workspace.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let answer = self
            .cargo(&["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cargo metadata")?;
        let metadata: Value = serde_json::from_slice(&answer.stdout).context("cargo metadata")?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
        Ok(PathBuf::from(target))
    }

    /// cargo in the clone, with the toolchain that runs this command.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.repository);
        command
    }
}
