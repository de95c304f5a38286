//! `xylem reload`: asks a running process to take up what its files hold now.

use std::process::ExitCode;

use super::process::ProcessArgs;

/// Ask a running process to take what its files hold now through the gate, and to swap it in where it passes.
///
/// A process takes up changed files by itself, unless its configuration says `reload.watch: false`; this asks at
/// once, tries again what was refused before, and shows what came of it.
///
/// With --wait, ends with 0 where the files' contents run now, 1 where they are refused (the report says at which
/// step and why; what ran goes on), 2 where they need a restart. Always 3 where no process answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    process: ProcessArgs,
    /// Wait for the report and show it.
    #[arg(long)]
    wait: bool,
    /// The answer as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = if args.wait { "/reload" } else { "/reload?wait=false" };
    args.process.ask(path, args.json)
}
