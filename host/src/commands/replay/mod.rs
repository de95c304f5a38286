//! `xylem replay`: dead letters once more, through the plugins and configuration of now.

mod count;
mod courier;
mod letters;
mod work;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::count::{Count, FROM_THE_BEGINNING, RESUMED, Report};
use self::courier::Courier;
use self::letters::Letters;
use self::work::{Ended, Replay};
use super::check::lines_to_stderr;
use super::run::end_on_panic;
use super::{CacheArgs, Exit, one_pipeline, say, unless_closed};
use crate::config::Loaded;
use crate::generation::Pipeline;
use crate::kafka::{KafkaError, Open, OpenError, ProbeError, Window};
use crate::plugin::{Hooks, Runner, WORKER_STACK_BYTES};
use crate::settle::Backwards;

/// How long brokers may take to answer: a TLS and SASL handshake over a slow network, twice.
const PATIENCE: Duration = Duration::from_secs(15);

/// Run a pipeline's dead letters through the plugins, mappings and schemas of a configuration, and count by fault
/// code what they were and what they are now; with --deliver, send those that are repaired.
///
/// Reads the pipeline's dead-letter topic from where the last --deliver ended to its end of now. Without
/// --deliver nothing is sent and nothing committed, so a candidate configuration can be tried beside a
/// running service.
///
/// With --deliver every repaired record's events are sent under their first ids; those that AEP took before
/// (the letter names them) are left out. Requests carry the header `x-xylem-replay`. An outage is waited out. How far
/// it came is committed every second in the group GROUP-replay-PIPELINE, so a second run sends nothing again, and
/// one that was killed repeats what was not committed, under the same ids. Kafka forgets a group that nobody used for
/// `offsets.retention.minutes` (a week by default). Run one at a time.
///
/// A letter that is still at fault is counted and passed: it stays in its topic, no second one is written, and
/// --from-beginning reads it again (with --deliver, what was delivered before is sent again, too). A replayed
/// event arrives after whatever its partition sent meanwhile: mind updates.
///
/// Ends with 0 where no letter is still at fault, with 1 where one is or cannot be read, with 3 where Kafka cannot be
/// reached, with 4 where it was told to stop (SIGTERM, Ctrl-C) before the end.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file: the running one, or a candidate.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The pipeline.
    #[arg(short, long, value_name = "NAME")]
    pipeline: String,
    /// Send what is repaired, and commit how far it came.
    #[arg(long)]
    deliver: bool,
    /// The most events per second that are sent.
    #[arg(long, value_name = "N/s", default_value = "500/s", value_parser = rate, requires = "deliver")]
    rate: u32,
    /// Read the topic from its beginning, whatever was replayed before.
    #[arg(long)]
    from_beginning: bool,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    end_on_panic();
    let Some((loaded, generation)) = one_pipeline(&args.config, &args.pipeline, &args.cache)?
    else {
        return Ok(Exit::Configuration.into());
    };
    let Some(pipeline) = generation.pipelines.values().next() else { return Ok(Exit::Bug.into()) };
    // A guest needs a worker's stack, and the main thread's may be smaller.
    let exit = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("replay".into());
        let running = thread
            .stack_size(WORKER_STACK_BYTES)
            .spawn_scoped(scope, || replay(args, &loaded, pipeline))?;
        running.join().map_err(|_| anyhow::anyhow!("the thread that runs plugins panicked"))?
    })?;
    Ok(exit.into())
}

fn replay(args: &Args, loaded: &Loaded, pipeline: &Pipeline) -> anyhow::Result<Exit> {
    let group = format!("{}-replay-{}", loaded.config.kafka.group, pipeline.name);
    let mut replay = match begin(args, loaded, pipeline, &group)? {
        Ok(replay) => replay,
        Err((words, exit)) => {
            say(words);
            return Ok(exit);
        }
    };
    if args.deliver {
        // Said before anything is sent: a group without progress, or one whose progress Kafka has
        // dropped, sends all again.
        let from = if replay.letters.is_resumed() { RESUMED } else { FROM_THE_BEGINNING };
        say(format!("delivering {from}; progress is in the group `{group}`"));
    }
    let ended = match replay.run() {
        Ok(ended) => ended,
        Err(error) => {
            replay.commit_last();
            let exit = if error.is::<KafkaError>() {
                Exit::Unreachable
            } else if error.is::<Backwards>() {
                Exit::Configuration
            } else {
                return Err(error);
            };
            say(format!("error: {error}"));
            return Ok(exit);
        }
    };
    let report = Report {
        pipeline: &pipeline.name,
        topic: &pipeline.origin.topic,
        group: &group,
        resumed: replay.letters.is_resumed(),
        deliver: args.deliver,
        complete: ended == Ended::Complete,
        count: &replay.count,
    };
    let mut out = io::stdout().lock();
    unless_closed(if args.json { report.json(&mut out) } else { report.page(&mut out) })?;
    unless_closed(out.flush())?;
    Ok(match ended {
        Ended::Complete if replay.count.is_good() => Exit::Done,
        Ended::Complete => Exit::No,
        Ended::Stopped => Exit::GraceOver,
        Ended::NotCommitted => Exit::Unreachable,
    })
}

/// Why a replay does not begin, and the code that says so.
type Refused = (String, Exit);

/// Starts the plugins, makes the destinations, finds the letters.
fn begin<'a>(
    args: &Args,
    loaded: &Loaded,
    pipeline: &'a Pipeline,
    group: &str,
) -> anyhow::Result<Result<Replay<'a>, Refused>> {
    let config = &loaded.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("deliver")
        .enable_all()
        .build()?;
    let (stop, cancelled) = end_when_asked(&runtime)?;
    let hooks = Hooks { stop: Arc::clone(&stop), ..Hooks::new(lines_to_stderr()) };
    let mut runner = Runner::new(Arc::clone(&pipeline.chain), hooks);
    if let Err(error) = runner.start() {
        return Ok(Err((error.to_string(), Exit::Configuration)));
    }
    let courier = match Courier::new(pipeline, loaded, args.rate, (runtime, cancelled)) {
        Ok(courier) => courier,
        Err(words) => return Ok(Err((words, Exit::Configuration))),
    };
    let (topic, from_beginning) = (&*pipeline.origin.topic, args.from_beginning);
    let open = Open { topic, group, from_beginning, patience: PATIENCE };
    let window = match Window::open(&config.kafka, open) {
        Ok(window) => window,
        Err(error) => return Ok(Err(refusal(&error))),
    };
    let cluster = config.kafka.cluster_id.as_deref().or(window.cluster_id()).map(str::to_owned);
    let Some(cluster) = cluster else {
        let words = "the brokers do not say the cluster's id, which goes into every message id";
        return Ok(Err((words.to_owned(), Exit::Unreachable)));
    };
    Ok(Ok(Replay {
        pipeline,
        cluster,
        runner,
        letters: Letters::new(window, &pipeline.name),
        courier,
        deliver: args.deliver,
        stop,
        count: Count::default(),
        ids: BTreeMap::new(),
        grace: Duration::from_millis(config.shutdown.grace_ms),
    }))
}

/// What is set by SIGTERM and SIGINT.
fn end_when_asked(runtime: &Runtime) -> io::Result<(Arc<AtomicBool>, CancellationToken)> {
    let (stop, cancelled) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(entered);
    let (flag, token) = (Arc::clone(&stop), cancelled.clone());
    let asked = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        flag.store(true, Ordering::Release);
        token.cancel();
    };
    TaskTracker::new().spawn_on(asked, runtime.handle());
    Ok((stop, cancelled))
}

fn refusal(error: &OpenError) -> Refused {
    let exit = match error {
        OpenError::Probe(ProbeError::Settings(_))
        | OpenError::Topic(..)
        | OpenError::Group(..)
        | OpenError::Halted(..) => Exit::Configuration,
        OpenError::Probe(ProbeError::Silent { .. })
        | OpenError::Unknown(_)
        | OpenError::Kafka(_) => Exit::Unreachable,
    };
    let words = match error {
        OpenError::Halted(..) => format!("{error}; or read what is there with --from-beginning"),
        _ => error.to_string(),
    };
    (words, exit)
}

/// A rate such as `500/s`; the unit may be left out.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    match number.parse() {
        Ok(rate @ 1..=1_000_000) => Ok(rate),
        _ => {
            Err("a whole number of events per second from 1 to 1000000, such as `500/s`".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_events_per_second() {
        for (text, expected) in
            [("1", Some(1)), ("500/s", Some(500)), ("0", None), ("5/m", None), ("", None)]
        {
            assert_eq!(rate(text).ok(), expected, "{text:?}");
        }
    }
}
