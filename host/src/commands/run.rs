//! `xylem run`: the service.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{CacheArgs, Exit, say};
use crate::admin::{Socket, SocketError};
use crate::app::{App, StartError};
use crate::config;
use crate::reload::{Ask, Cause, Source};

/// How often it is looked whether the Kafka client still runs.
const LOOK: Duration = Duration::from_millis(500);

/// Run the service: consume the configured topics until SIGTERM or SIGINT, then deliver what was
/// begun, commit and end.
///
/// The configuration and all that it names are watched: what changes is taken up while records flow. SIGHUP and
/// `xylem reload` ask for the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The Unix socket for `xylem reload` and others; default is one that they find by the
    /// configuration file. Several processes with one file need one each.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    end_on_panic();
    let socket = match socket(args) {
        Ok(socket) => socket,
        Err(error) => {
            say(error);
            return Ok(Exit::Configuration.into());
        }
    };
    take_hangups()?;
    let source = Source::File(args.config.clone(), config::environment());
    let app = match App::start(source, args.cache.loader()?, socket) {
        Ok(app) => {
            app.warnings().iter().for_each(say);
            app
        }
        Err(error) => {
            say(&error);
            return Ok(exit_of(&error).into());
        }
    };
    let asked = app.runtime().block_on(until_asked(&app))?;
    let grace = app.grace();
    tracing::info!(grace_ms = grace.as_millis(), "draining");
    match app.stop(grace) {
        Ok(true) if asked => Ok(Exit::Done.into()),
        Ok(true) => Ok(Exit::Unreachable.into()),
        Ok(false) => {
            tracing::warn!("the grace period ended first: what was not settled comes again");
            Ok(Exit::GraceOver.into())
        }
        Err(error) => {
            say(error);
            Ok(Exit::Unreachable.into())
        }
    }
}

/// From now on SIGHUP does not end the process, as it would while it starts: the files are being read then.
fn take_hangups() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async { signal(SignalKind::hangup()) }).map(drop)
}

/// The socket that was asked for, or the default one where it can be had: without it everything else works.
fn socket(args: &Args) -> Result<Option<Socket>, SocketError> {
    if let Some(path) = &args.socket {
        return Socket::at(path.clone()).map(Some);
    }
    match Socket::of(&args.config) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => {
            tracing::warn!(
                "no Unix socket, so `xylem reload` does not reach this process: {error}"
            );
            Ok(None)
        }
    }
}

/// Threads that carry no records.
const BESIDE: [&str; 2] = ["gate", "shadow"];

/// A thread that panics would leave its partitions standing while all else looks well. The process ends
/// instead, and what was in flight comes again. The panic's own words may quote a record. What only looks at a
/// candidate panics alone: that candidate is refused (Invariant 6).
#[expect(clippy::exit, reason = "there is no way back from here")]
pub(super) fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if BESIDE.contains(&std::thread::current().name().unwrap_or_default()) {
            return tracing::error!(place, "xylem has a bug, and a candidate met it");
        }
        tracing::error!(place, "xylem has a bug and ends; what is not settled comes again");
        std::process::exit(Exit::Bug as i32);
    }));
}

/// Waits for SIGTERM or SIGINT (true), or for the Kafka client to give up (false).
async fn until_asked(app: &App) -> std::io::Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(true),
            _ = interrupt.recv() => return Ok(true),
            _ = hangup.recv() => if let Some(reloader) = app.reloader() {
                // What comes of it stands in the log and in `/status`.
                drop(reloader.ask(Ask::Reload, Cause::Signal));
            },
            _ = look.tick() => if !app.is_running() {
                return Ok(false);
            },
        }
    }
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Refused(..)
        | StartError::Aep(_)
        | StartError::Admin(_)
        | StartError::Kafka(_) => Exit::Configuration,
        StartError::Thread(_) => Exit::Bug,
    }
}
