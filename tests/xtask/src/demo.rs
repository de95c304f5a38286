//! `cargo xtask demo`: from a fresh clone to a running demo.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{guests, process, workspace};

/// Builds, then runs `xylem demo` and ends as it ends.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    guests::build()?;
    process::build_programs()?;
    let xylem = workspace::target()?.join("release/xylem");
    let status = Command::new(&xylem)
        .current_dir(workspace::root()?)
        .arg("demo")
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start `{}`", xylem.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
