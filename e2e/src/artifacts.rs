//! What is built before anything runs: the product's binaries, the cluster's binaries, and the images. Each is built only when its sources changed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::home::Home;
use crate::progress::{Step, output, run_logged};

/// An image archive for the cluster.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) name: &'static str,
    pub(crate) archive: PathBuf,
    /// The archive is not the one of the last run.
    pub(crate) changed: bool,
}

/// The folder with release builds of `vivace` and `vivace-operator`: built now, or `E2E_PRODUCT` as it is.
pub(crate) fn product(home: &Home) -> Result<PathBuf> {
    if let Some(folder) = env::var_os("E2E_PRODUCT") {
        return Ok(PathBuf::from(folder));
    }
    let step = Step::start("building vivace and vivace-operator (release)");
    // cargo shows its own progress
    let mut build = home.cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "vivace",
        "--package",
        "vivace-operator",
    ]);
    let status = build.stdin(Stdio::null()).status().context("cargo build")?;
    if !status.success() {
        bail!("cargo build --release: {status}");
    }
    step.done("");
    Ok(home.target()?.join("release"))
}

/// The release build of `vivace`.
pub(crate) fn vivace(home: &Home) -> Result<PathBuf> {
    let binary = product(home)?.join("vivace");
    if !binary.is_file() {
        bail!("no {}", binary.display());
    }
    Ok(binary)
}

/// Debian's packages and the Go programs that the cluster consists of.
pub(crate) fn cluster_programs(home: &Home) -> Result<()> {
    run_logged(
        "Debian packages for the cluster",
        home.script("e2e/cluster/packages.sh").arg("--install"),
        &home.logs().join("packages.log"),
    )?;
    run_logged(
        "building the cluster's programs (Go; ten minutes the first time)",
        home.script("e2e/kbox/build.sh").arg(home.bin()),
        &home.logs().join("kbox.log"),
    )
}

/// The images of vivace, its operator and MinIO.
pub(crate) fn images(home: &Home) -> Result<Vec<Image>> {
    let (product, bin) = (product(home)?, home.bin());
    fs::create_dir_all(home.images())?;
    let step = Step::start("packing images");
    let images = vec![
        image(home, "vivace.local/vivace:e2e", &product.join("vivace"), &["--ca", "--ldd"], &[])?,
        image(
            home,
            "vivace.local/vivace-operator:e2e",
            &product.join("vivace-operator"),
            &["--ca", "--ldd"],
            &[],
        )?,
        image(home, "vivace.local/minio:e2e", &bin.join("minio"), &["--dir", "/data"], &["server", "/data"])?,
    ];
    step.done(&images.iter().map(|i| i.name).collect::<Vec<_>>().join(", "));
    Ok(images)
}

fn image(
    home: &Home,
    name: &'static str,
    binary: &Path,
    options: &[&str],
    arguments: &[&str],
) -> Result<Image> {
    let program = binary.file_name().and_then(|n| n.to_str()).context("a binary without a name")?;
    let archive = home.images().join(format!("{program}.tar"));
    let fresh = home.images().join(format!("{program}.tar.new"));
    let mut pack = home.script("e2e/cluster/mkimg.py");
    pack.args(options).arg(&fresh).arg(name).arg(format!("{}=/{program}", binary.display()));
    pack.arg("--").arg(format!("/{program}")).args(arguments);
    output(&mut pack)?;
    let changed = fs::read(&archive).ok() != Some(fs::read(&fresh)?);
    if changed {
        fs::rename(&fresh, &archive)?;
    } else {
        fs::remove_file(&fresh)?;
    }
    Ok(Image { name, archive, changed })
}
