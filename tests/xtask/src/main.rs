//! The chores of people who work on xylem: `cargo xtask NAME`.
//!
//! A chore starts other programs and says what they cost. It installs nothing outside `target/`
//! but the Rust target that guests are compiled for.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to its caller")]

mod bench;
mod demo;
mod fuzz;
mod guests;
mod mutants;
mod process;
mod rig;
mod test;
mod tools;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of people who work on xylem.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    /// Which one.
    #[command(subcommand)]
    chore: Chore,
}

/// The chores.
#[derive(Subcommand)]
enum Chore {
    /// Builds everything that the demo needs, then runs `xylem demo`
    Demo {
        /// Passed on to `xylem demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Installs what the tests stand on, builds the guests, and checks and tests everything
    Test(test::Options),
    /// Measures what a record costs, beside the floor and the ceiling
    Bench(bench::Options),
    /// Runs `xylem torture` against a real Kafka of three brokers, which are killed, too
    Torture {
        /// Passed on to `xylem torture`: `--records`, `--seconds`, `--seed`, …
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Swaps a plugin again and again under load, with a ledger of which version made which event
    Swaps {
        /// Passed on to the rig: `--count`, `--stretch`, `--every-ms`, `--json`, …
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Looks for input that breaks the parsers of foreign bytes
    Fuzz(fuzz::Options),
    /// Breaks each promise on purpose, and sees whether the tests notice
    Mutants(mutants::Options),
    /// Builds the guests into `target/plugins`
    Plugins,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Demo { arguments } => demo::run(&arguments),
        Chore::Test(options) => Ok(test::run(&options)),
        Chore::Bench(options) => bench::run(&options),
        Chore::Torture { arguments } => rig::run("torture", &arguments),
        Chore::Swaps { arguments } => rig::run("swaps", &arguments),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Plugins => guests::build().map(|built| {
            print!("{built}");
            ExitCode::SUCCESS
        }),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
