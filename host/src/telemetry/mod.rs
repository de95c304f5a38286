//! Logs and metrics. The only place that knows their formats.
//!
//! Log levels by consequence: *error* data is at stake or a person is needed, *warn* nothing is
//! lost and we go on, *info* a thing an operator did or must know, *debug* and *trace* for us.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod delivery;
mod faults;
mod scrape;
mod labels;
mod metrics;
mod process;

pub use delivery::DestinationReading;
pub use faults::{FaultSeen, Faults};
pub use labels::{
    DestinationCode, DestinationLabels, GenerationLabels, PartitionLabels, PipelineCode,
    PipelineDestination, PluginDigest, PluginLabels, PluginLevel, ReloadLabels, SettlementLabels,
    TopicLabels, VersionLabels,
};
pub use metrics::{Metrics, PartitionReading};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Lines for people.
    Text,
}

/// The flags of a command that logs.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// What is logged: `warn`, `info`, `debug`, or by module: `info,xylem::deliver=debug`
    #[arg(long, value_name = "FILTER", env = "XYLEM_LOG", default_value = "info", global = true)]
    pub log: String,
    /// How log lines look
    #[arg(
        long,
        value_name = "FORMAT",
        env = "XYLEM_LOG_FORMAT",
        default_value = "auto",
        global = true
    )]
    pub log_format: LogFormat,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter can not be read.
    #[error(
        "`--log {filter}` is no filter ({source}); write a level, or `MODULE=LEVEL` separated by commas"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else logs already.
    #[error("logging was begun twice in one process")]
    Twice,
}

/// Begins logging to stderr, once per process.
pub fn init(args: &LogArgs) -> Result<(), LogError> {
    let filter = EnvFilter::builder()
        .parse(&args.log)
        .map_err(|source| LogError::Filter { filter: args.log.clone(), source })?;
    let terminal = io::stderr().is_terminal();
    let json = match args.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let begun = if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        registry.with(lines.with_ansi(colour)).try_init()
    };
    begun.map_err(|_| LogError::Twice)
}
