//! `cargo xtask torture` and `cargo xtask swaps`: ledgers under fire, on a real Kafka.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{guests, process, workspace};

/// Builds, then runs a part of the rig and ends as it ends.
pub(crate) fn run(part: &str, arguments: &[OsString]) -> Result<ExitCode> {
    guests::build()?;
    let mut build = process::cargo()?;
    build.args(["build", "--release", "--workspace"]);
    process::run(build.args(["--bin", "xylem", "--bin", "xylem-bench", "--bin", "aep-emulator"]))?;
    let folder = workspace::target()?.join("release");
    let rig = folder.join("xylem-bench");
    let status = Command::new(&rig)
        .current_dir(workspace::root()?)
        .args([part, "--xylem"])
        .arg(folder.join("xylem"))
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start `{}`", rig.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
