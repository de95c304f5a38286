//! `xylem try`: input files through a pipeline, without Kafka and AEP.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::{CacheArgs, Exit, is_closed, one_pipeline, say, unless_closed};
use crate::config::{Loaded, Split};
use crate::generation::Pipeline;
use crate::id::Ids;
use crate::plugin::{Hooks, Line, Runner, Sink, WORKER_STACK_BYTES};
use crate::record::{Header, PartitionId, Record};
use crate::trial::{Attempt, Cut, Shown, attempt, split};

/// What stands for a cluster's id and for a topic.
const TRY: &str = "try";

/// The most bytes of an input.
const MAX_INPUT_BYTES: u64 = 256 * 1024 * 1024;

/// Records that are mapped before any is printed.
const AT_ONCE: usize = 256;

/// Run input files through a pipeline's plugins and its destinations' schemas, without Kafka and AEP, and show
/// what becomes of each record.
///
/// Ends with 0 where no record is rejected and every event is valid, otherwise with 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The pipeline.
    #[arg(short, long, value_name = "NAME")]
    pipeline: String,
    /// Input files; `-` is the standard input.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
    /// Where a record ends, in place of the pipeline's own `split`: a `line` (a CSV row) or the `file`.
    #[arg(long, value_name = "line|file", value_parser = split_by_name)]
    split: Option<Split>,
    /// The records' timestamp: milliseconds since 1970 in UTC, or a time such as `2026-01-02T03:04:05Z`.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = timestamp, allow_hyphen_values = true)]
    timestamp: i64,
    /// The records' key.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// A header of the records; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// One line of JSON per record.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some((loaded, generation)) = one_pipeline(&args.config, &args.pipeline, &args.cache)?
    else {
        return Ok(Exit::Configuration.into());
    };
    let Some(pipeline) = generation.pipelines.values().next() else { return Ok(Exit::Bug.into()) };
    // A guest needs a worker's stack, and the main thread's may be smaller.
    let exit = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(TRY.into()).stack_size(WORKER_STACK_BYTES);
        let running = thread.spawn_scoped(scope, || try_all(args, &loaded, pipeline))?;
        running.join().map_err(|_| anyhow::anyhow!("the thread that runs plugins panicked"))?
    })?;
    Ok(exit.into())
}

/// Every input, in order.
fn try_all(args: &Args, loaded: &Loaded, pipeline: &Pipeline) -> anyhow::Result<Exit> {
    let mut runner = Runner::new(Arc::clone(&pipeline.chain), Hooks::new(lines_to_stderr()));
    if let Err(error) = runner.start() {
        say(error);
        return Ok(Exit::Configuration);
    }
    let Some(settings) = loaded.config.pipelines.get(&*pipeline.name) else { return Ok(Exit::Bug) };
    let cut = Cut::of(args.split.unwrap_or(settings.split), settings.chain.first());
    let ids = Ids::new(TRY, TRY, &pipeline.id_epoch, &pipeline.name);
    let partition = PartitionId { topic: TRY.into(), partition: 0 };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut count = Count::default();
    for input in &args.inputs {
        let bytes = match read(input) {
            Ok(bytes) => bytes,
            Err(error) => {
                unless_closed(out.flush())?;
                say(format_args!("{error:#}"));
                return Ok(Exit::Configuration);
            }
        };
        let records = split(&bytes, cut);
        for (chunk, pieces) in records.chunks(AT_ONCE).enumerate() {
            let next: Vec<Record> =
                pieces.iter().zip(count.records..).map(|(p, at)| args.record(p, at)).collect();
            let attempts = attempt(pipeline, &mut runner, &ids, &partition, &next)?;
            for (at, attempt) in attempts.iter().enumerate() {
                let shown = Shown { input, record: chunk * AT_ONCE + at, attempt };
                count.add(attempt);
                let shown = if args.json { shown.json(&mut out) } else { shown.page(&mut out) };
                match shown {
                    // What is not shown need not be known.
                    Err(error) if is_closed(&error) => return Ok(count.exit()),
                    shown => shown?,
                }
            }
        }
    }
    unless_closed(if args.json { Ok(()) } else { writeln!(out, "{count}") })?;
    unless_closed(out.flush())?;
    Ok(count.exit())
}

impl Args {
    /// The record of a piece of an input.
    fn record(&self, payload: &[u8], offset: i64) -> Record {
        let headers = self
            .headers
            .iter()
            .map(|(key, value)| Header { key: key.clone(), value: Some(value.clone().into()) });
        Record {
            offset,
            timestamp_ms: Some(self.timestamp),
            key: self.key.clone().map(Into::into),
            payload: Some(payload.to_vec().into()),
            headers: headers.collect(),
        }
    }
}

/// What guests say goes to stderr, whole: whoever tries a plugin may see the records.
fn lines_to_stderr() -> Sink {
    Arc::new(|line: Line<'_>| {
        let level = line.level.as_str();
        // Where stderr is gone there is nobody to tell.
        drop(writeln!(io::stderr(), "{}: {level}: {}", line.plugin, line.text));
    })
}

/// How many records became what.
#[derive(Default)]
struct Count {
    records: i64,
    emitted: u64,
    events: u64,
    invalid: u64,
    filtered: u64,
    rejected: u64,
}

impl Count {
    fn add(&mut self, attempt: &Attempt) {
        self.records += 1;
        match attempt {
            Attempt::Emit(events) => {
                self.emitted += 1;
                for event in events {
                    self.events += 1;
                    self.invalid += u64::from(event.verdict.is_err());
                }
            }
            Attempt::Filter(_) => self.filtered += 1,
            Attempt::Reject(_) => self.rejected += 1,
        }
    }

    fn exit(&self) -> Exit {
        if self.invalid == 0 && self.rejected == 0 { Exit::Done } else { Exit::No }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, emitted, events, invalid, filtered, rejected } = self;
        write!(f, "records {records}: emitted {emitted} (events {events}")?;
        if *invalid > 0 {
            write!(f, ", not valid {invalid}")?;
        }
        write!(f, "), filtered {filtered}, rejected {rejected}")
    }
}

/// The bytes of an input.
fn read(input: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let result = if input == "-" {
        io::stdin().lock().take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(input).and_then(|file| file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes))
    };
    let length = result.with_context(|| format!("the input `{input}` cannot be read"))?;
    let limit = usize::try_from(MAX_INPUT_BYTES).unwrap_or(usize::MAX);
    anyhow::ensure!(
        length <= limit,
        "the input `{input}` has more than {limit} bytes; cut it into several"
    );
    Ok(bytes)
}

fn split_by_name(name: &str) -> Result<Split, String> {
    match name {
        "line" => Ok(Split::Line),
        "file" => Ok(Split::File),
        _ => Err("expected `line` or `file`".to_owned()),
    }
}

fn timestamp(text: &str) -> Result<i64, String> {
    if let Ok(milliseconds) = text.parse() {
        return Ok(milliseconds);
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        "expected milliseconds since 1970 or a time such as `2026-01-02T03:04:05Z`".to_owned()
    })?;
    Ok(time.as_millisecond())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "expected `NAME=VALUE`".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_milliseconds_or_written_out() {
        assert_eq!(timestamp("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(timestamp("-1"), Ok(-1));
        assert_eq!(timestamp("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(timestamp("2023-11-14T23:13:20.5+01:00"), Ok(1_700_000_000_500));
        assert!(timestamp("yesterday").is_err() && timestamp("2023-11-14").is_err());
    }

    #[test]
    fn a_header_has_a_name_and_the_rest_is_its_value() {
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(header("a="), Ok(("a".to_owned(), String::new())));
        assert!(header("a").is_err());
    }
}
