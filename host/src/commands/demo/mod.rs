//! `xylem demo`: the whole thing on one machine with nothing installed.

mod ledger;
mod set_up;
mod show;
mod swap;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{CacheArgs, Exit, say};
use crate::app::App;
use crate::kafka::Peer;
use ledger::Ledger;
use set_up::{Input, SetUp};
use swap::Swap;

/// Records that are written to a topic at a time.
const PORTION: usize = 8;

/// How long the last record may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often progress is shown, and the next portion written.
const BEAT: Duration = Duration::from_millis(100);

/// Show everything at work: six example topics on an in-process Kafka go through the shipped
/// plugins into a local AEP; a mapping is edited meanwhile; then every record is counted where it arrived.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep the stream and the admin listener up until interrupted.
    #[arg(long)]
    keep_running: bool,
    /// The address of the admin listener.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    admin: String,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Runs the command: exit code 1 where a record has no fate.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    writeln!(out, "xylem demo: six topics on an in-process Kafka, a local AEP, four plugins\n")?;
    let set_up = SetUp::new(&args.admin)?;
    writeln!(out, "  Kafka (mock cluster)  {}", set_up.cluster.bootstrap())?;
    writeln!(out, "  AEP (emulator)        {}", set_up.emulator.url())?;
    let begun = Instant::now();
    let app = match App::start(set_up.source(), args.cache.loader()?, None) {
        Ok(app) => app,
        Err(error) => {
            say(error);
            return Ok(Exit::Configuration.into());
        }
    };
    writeln!(out, "  admin listener        http://{}/status", app.admin_address())?;
    writeln!(out, "  plugins compiled and started in {:.1} s\n", begun.elapsed().as_secs_f64())?;
    let peer = Peer::new(set_up.cluster.bootstrap())?;
    let mut ledger = Ledger::new(&set_up);
    feed(&app, &peer, &set_up.inputs, &mut ledger)?;
    let mut swap = Swap { app: &app, set_up: &set_up, peer: &peer, ledger: &mut ledger };
    let swapped = swap.show(&mut out)?;
    if args.keep_running {
        writeln!(out, "kept running: the stream goes on; interrupt to end")?;
        app.runtime().block_on(keep_running(&peer, &set_up.inputs, &mut ledger))?;
        wait_settled(&app, &ledger);
    }
    ledger.note_filtered(&app);
    let drained = app.stop(Duration::from_secs(25))?;
    let whole = show::summary(&mut out, &ledger.close(&set_up, &peer)?)?;
    if !swapped {
        writeln!(out, "WRONG: the edited mapping did not do what it should")?;
    }
    Ok(if whole && drained && swapped { Exit::Done } else { Exit::No }.into())
}

/// Writes all inputs, in portions, as an application would; shows how far everything is.
fn feed(app: &App, peer: &Peer, inputs: &[Input], ledger: &mut Ledger) -> anyhow::Result<()> {
    let total: usize = inputs.iter().map(|input| input.records.len()).sum();
    let mut progress = Progress { total, live: std::io::stdout().is_terminal(), shown: usize::MAX };
    let mut round = 0;
    while write_portion(peer, inputs, round, ledger)? {
        round += 1;
        rest(app);
        progress.show(ledger.written(), settled(app))?;
    }
    wait_settled(app, ledger);
    progress.show(ledger.written(), settled(app))?;
    writeln!(std::io::stdout())?;
    Ok(())
}

/// Waits until every record written is settled, or patience ends: then the ledger says which is not.
fn wait_settled(app: &App, ledger: &Ledger) {
    let deadline = Instant::now() + PATIENCE;
    while settled(app) < ledger.written() && Instant::now() < deadline {
        rest(app);
    }
}

fn rest(app: &App) {
    app.runtime().block_on(async { tokio::time::sleep(BEAT).await });
}

fn settled(app: &App) -> usize {
    usize::try_from(app.settled()).unwrap_or(usize::MAX)
}

/// Writes the inputs again and again until interrupted.
async fn keep_running(peer: &Peer, inputs: &[Input], ledger: &mut Ledger) -> anyhow::Result<()> {
    let mut round = 0;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    loop {
        if !write_portion(peer, inputs, round, ledger)? {
            round = 0;
            continue;
        }
        round += 1;
        if tokio::time::timeout(BEAT * 10, interrupt.recv()).await.is_ok() {
            return Ok(());
        }
    }
}

/// Writes the next portion of each input; false where all are at their end.
fn write_portion(
    peer: &Peer,
    inputs: &[Input],
    round: usize,
    ledger: &mut Ledger,
) -> anyhow::Result<bool> {
    let mut any = false;
    for input in inputs {
        let portion: Vec<&[u8]> =
            input.records.iter().skip(round * PORTION).take(PORTION).map(Vec::as_slice).collect();
        if portion.is_empty() {
            continue;
        }
        any = true;
        let partition = i32::try_from(round)? % set_up::PARTITIONS;
        peer.write(&input.topic, partition, &portion)?;
        ledger.note(input, partition, portion.len());
    }
    Ok(any)
}

/// A line that tells how far everything is.
struct Progress {
    total: usize,
    live: bool,
    shown: usize,
}

impl Progress {
    fn show(&mut self, written: usize, settled: usize) -> std::io::Result<()> {
        const WIDTH: usize = 40;
        let done = settled * WIDTH / self.total.max(1);
        // Off a terminal one line per tenth is enough.
        if !self.live && done / 4 == self.shown / 4 {
            return Ok(());
        }
        self.shown = done;
        let (start, end) = if self.live { ("\r", "") } else { ("", "\n") };
        let bar: String = (0..WIDTH).map(|at| if at < done { '#' } else { '.' }).collect();
        let mut out = std::io::stdout();
        write!(
            out,
            "{start}  [{bar}] written {written} of {}, settled {settled}{end}",
            self.total
        )?;
        out.flush()
    }
}
