//! The `xylem` program: parse, set up the log, run a command, end with its code.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xylem::commands::{Exit, inspect, precompile, run};
use xylem::telemetry::{self, LogArgs};

/// Carries Kafka topics through WebAssembly plugins into Adobe Experience Platform.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Precompile(precompile::Args),
    Inspect(inspect::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = telemetry::init(&cli.log) {
        drop(writeln!(std::io::stderr(), "xylem: {error}"));
        return Exit::Configuration.into();
    }
    xylem::stop::arm(std::env::var_os("XYLEM_STOP_AT").as_deref().and_then(|v| v.to_str()));
    let ended = match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Precompile(args) => precompile::run(args),
        Command::Inspect(args) => inspect::run(args),
    };
    ended.unwrap_or_else(|error| {
        // The last word; where stderr is gone there is nobody to tell.
        drop(writeln!(std::io::stderr(), "xylem: {error:#}"));
        Exit::Bug.into()
    })
}
