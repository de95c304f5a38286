//! The `xylem` program: parse, set up the log, run a command, end with its code.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xylem::commands::{
    Exit, canary, check, demo, inspect, is_closed, precompile, reload, replay, rollback, run,
    shadow, torture, try_,
};
use xylem::telemetry::{self, LogArgs};

/// Carries Kafka topics through WebAssembly plugins into Adobe Experience Platform.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// What is logged, and how.
    #[command(flatten)]
    log: LogArgs,
}

/// The commands; their own words are at their arguments.
#[derive(Debug, Subcommand)]
#[cfg_attr(
    not(test),
    expect(
        clippy::missing_docs_in_private_items,
        reason = "each command's words stand at its arguments"
    )
)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Check(check::Args),
    Try(try_::Args),
    Precompile(precompile::Args),
    Inspect(inspect::Args),
    Torture(torture::Args),
    Replay(replay::Args),
    Reload(reload::Args),
    Rollback(rollback::Args),
    Shadow(shadow::Args),
    Canary(canary::Args),
}

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    if matches!(cli.command, Command::Demo(_)) && cli.log.log == "info" {
        // The demo's own page says what happens.
        "warn".clone_into(&mut cli.log.log);
    }
    if let Err(error) = telemetry::init(&cli.log) {
        drop(writeln!(std::io::stderr(), "xylem: {error}"));
        return Exit::Configuration.into();
    }
    xylem::stop::arm(std::env::var_os("XYLEM_STOP_AT").as_deref().and_then(|v| v.to_str()));
    let ended = match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Try(args) => try_::run(args),
        Command::Precompile(args) => precompile::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Torture(args) => torture::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Rollback(args) => rollback::run(args),
        Command::Shadow(args) => shadow::run(args),
        Command::Canary(args) => canary::run(args),
    };
    ended.unwrap_or_else(|error| {
        if error.downcast_ref::<std::io::Error>().is_some_and(is_closed) {
            return Exit::Done.into();
        }
        // The last word; where stderr is gone there is nobody to tell.
        drop(writeln!(std::io::stderr(), "xylem: {error:#}"));
        Exit::Bug.into()
    })
}
