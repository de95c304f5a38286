//! The program `aep-emulator`: the library behind a command line.

use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use aep_emulator::{Emulator, Keep, Rate, Settings, Style};
use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// A local Adobe Experience Platform: token endpoint, streaming inlets, validator, failed batches
/// and faults on order.
///
/// Without a configuration it is open: any inlet, client and dataset is accepted, and messages are
/// validated where their schema is loaded.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8474, or the configuration's]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// A YAML file with inlets, clients, datasets, flows and schemas
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Accept what the configuration does not list (the default)
    #[arg(long, conflicts_with = "strict")]
    open: bool,

    /// Refuse what the configuration does not list
    #[arg(long)]
    strict: bool,

    /// The form of the answers to batches
    #[arg(long, value_enum)]
    style: Option<Form>,

    /// A directory of schemas, `*.json`, each under its `$id` or its file's name
    #[arg(long, value_name = "DIRECTORY")]
    schemas: Option<PathBuf>,

    /// Milliseconds that each inlet request waits
    #[arg(long, value_name = "MS")]
    latency: Option<u64>,

    /// Enforce the documented guidance of 1,000 requests and 10,000 messages a second
    #[arg(long)]
    guardrails: bool,

    /// Keep ids and times of accepted messages only, not their contents
    #[arg(long)]
    ids_only: bool,

    /// No line per request, and no list of URLs
    #[arg(long, short)]
    quiet: bool,
}

/// The three forms in which AEP has been seen to answer.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// `statusCode`, as the documentation prints it
    Documented,
    /// `status`, as production answers
    Production,
    /// `status` and no transaction ids
    NoXaction,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.quiet {
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    }
    let emulator = Emulator::start(settings(&arguments)?).context("the emulator does not start")?;
    if !arguments.quiet {
        welcome(&emulator)?;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(stop_signal())?;
    emulator.stop();
    Ok(())
}

/// The configuration with what the command line says on top.
fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    let mut settings = match &arguments.config {
        Some(file) => Settings::from_file(file)?,
        None => Settings::default(),
    };
    let unset = settings.listen.port() == 0 && arguments.config.is_none();
    if let Some(listen) = arguments.listen {
        settings.listen = listen;
    } else if unset {
        settings.listen.set_port(8474);
    }
    settings.open = arguments.open || (settings.open && !arguments.strict);
    settings.style = match arguments.style {
        Some(Form::Documented) => Style::Documented,
        Some(Form::Production) => Style::Production,
        Some(Form::NoXaction) => Style::NoXaction,
        None => settings.style,
    };
    settings.schemas_directory = arguments.schemas.clone().or(settings.schemas_directory);
    settings.latency_ms = arguments.latency.unwrap_or(settings.latency_ms);
    settings.rate = if arguments.guardrails { Some(Rate::guardrails()) } else { settings.rate };
    settings.keep = if arguments.ids_only { Keep::Ids } else { settings.keep };
    Ok(settings)
}

/// Says what is served where.
fn welcome(emulator: &Emulator) -> std::io::Result<()> {
    let url = emulator.url();
    let mut out = std::io::stdout().lock();
    writeln!(out, "token endpoint   {}", emulator.token_url())?;
    writeln!(out, "inlets           {url}/collection/{{id}} and {url}/collection/batch/{{id}}")?;
    writeln!(out, "control plane    {url}/data/foundation/")?;
    writeln!(out, "faults, views    {url}/_emulator (summary, lake, profile, failed, faults)")?;
    out.flush()
}

/// Waits for SIGINT or SIGTERM.
async fn stop_signal() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
