//! `cargo xtask bench`: what a record costs, beside the floor and the ceiling.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{guests, process, workspace};

/// How it is built, and what is passed on.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build as `release` builds, without link-time optimisation: minutes faster, and all but the
    /// figures the same
    #[arg(long)]
    without_lto: bool,
    /// Instead measure how fast `xylem` is ready, and what it holds when idle
    #[arg(long)]
    idle: bool,
    /// Instead measure what a bad record costs the records beside it
    #[arg(long, conflicts_with = "idle")]
    isolation: bool,
    /// Instead run the seven faults that lose other sinks' records
    #[arg(long, conflicts_with_all = ["idle", "isolation"])]
    faults: bool,
    /// Instead keep AEP away for a while (`--seconds`) under a steady load, and see whether memory
    /// stays, the group stays, and the backlog drains as fast as `/status` said
    #[arg(long, conflicts_with_all = ["idle", "isolation", "faults"])]
    away: bool,
    /// Instead compile a JavaScript plugin of 12 MB and swap it in, beside a pipeline with a backlog
    #[arg(long, conflicts_with_all = ["idle", "isolation", "faults", "away"])]
    compile: bool,
    /// Passed on to the benchmark: `--workload order|order1k|filter`, `--records`, `--rounds`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds, then runs all subjects in turn against a real Kafka.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    guests::build()?;
    let profile = if options.without_lto { "release" } else { "dist" };
    let mut build = process::cargo()?;
    build.args(["build", "--profile", profile, "--workspace"]);
    process::run(build.args(["--bin", "xylem", "--bin", "xylem-bench"]))?;
    let folder = workspace::target()?.join(profile);
    let rig = folder.join("xylem-bench");
    let part = match options {
        Options { idle: true, .. } => "idle",
        Options { isolation: true, .. } => "isolation",
        Options { faults: true, .. } => "faults",
        Options { away: true, .. } => "away",
        Options { compile: true, .. } => "compile",
        _ => "run",
    };
    let mut command = Command::new(&rig);
    command.current_dir(workspace::root()?).args([part, "--xylem"]).arg(folder.join("xylem"));
    if options.compile {
        command.arg("--plugin").arg(guests::starlingmonkey()?);
    }
    let status = command
        .args(&options.arguments)
        .status()
        .with_context(|| format!("cannot start `{}`", rig.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
