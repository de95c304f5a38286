//! The benchmark: what a record costs `xylem run`, beside the *floor* and the *ceiling*, in one run.
//!
//! | subject | what it is |
//! | --- | --- |
//! | floor | consume, typed serde mapping, deliver; no plugin, no validation: what a good engineer would write in an afternoon |
//! | xylem | `xylem run` with the same mapping as a plugin |
//! | ceiling | our pipeline with the mapping compiled in, in place of the plugin |
//!
//! Every subject is a process of its own, reads the same topic of a real Kafka and sends to the same
//! counting inlet, in turn. Cost is CPU time (user + system) of the process per record and peak
//! resident memory; the machine's other work disturbs throughput, so trust ratios.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints its table, and counts below 2^52"
)]

mod away;
mod ceiling;
mod compile;
mod faults;
mod floor;
mod idle;
mod inlet;
mod isolation;
mod measure;
mod rounds;
mod steady;
mod swaps;
mod torture;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// What a record costs.
#[derive(Debug, Parser)]
struct Cli {
    /// Which part of it.
    #[command(subcommand)]
    command: Command,
}

/// The benchmark, and the processes that it starts.
#[derive(Debug, Subcommand)]
enum Command {
    /// Runs all subjects in turn and prints the table.
    Run(rounds::Args),
    /// Measures how fast `xylem` is ready, and what it holds when idle.
    Idle(idle::Args),
    /// Measures what a bad record costs the records beside it.
    Isolation(isolation::Args),
    /// Runs the seven faults that lose other sinks' records.
    Faults(faults::Args),
    /// Keeps AEP away under load, then watches the backlog drain.
    Away(away::Args),
    /// Compiles a large plugin and swaps it in beside a pipeline with a backlog.
    Compile(compile::Args),
    /// Swaps plugins under load, with a ledger of which version made which event.
    Swaps(swaps::Args),
    /// Runs `xylem torture` against a cluster of three brokers, which it may kill.
    Torture(torture::Args),
    /// The counting inlet.
    #[command(hide = true)]
    Inlet,
    /// The floor, until killed.
    #[command(hide = true)]
    Floor {
        /// Bootstrap brokers.
        brokers: String,
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// The inlet.
        inlet: String,
    },
    /// The ceiling, until killed.
    #[command(hide = true)]
    Ceiling {
        /// The configuration.
        config: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(args) => rounds::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Isolation(args) => isolation::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Swaps(args) => swaps::run(&args),
        Command::Compile(args) => compile::run(&args),
        Command::Away(args) => away::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::Inlet => inlet::run(),
        Command::Floor { brokers, topic, group, inlet } => {
            floor::run(&brokers, &topic, &group, &inlet)
        }
        Command::Ceiling { config } => ceiling::run(&config),
    }
}
