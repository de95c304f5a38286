//! `xylem rollback`: asks a running process to go back to the generation before.

use std::process::ExitCode;

use super::process::ProcessArgs;

/// Ask a running process to go back to the generation before the one that runs; a second time leads forward again.
///
/// The files still hold the other one: it is not taken up again by itself until they change, but a restart reads
/// them, and so does `xylem reload`.
///
/// Ends with 0 where it went back, 1 where there is no generation before, 3 where no process answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    process: ProcessArgs,
    /// The report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.process.ask("/rollback", args.json)
}
