//! `xylem torture`: a deterministic load, several processes, faults on a schedule; then every
//! record's fate, read at the receivers.

mod breaker;
mod canaries;
mod fleet;
mod ledger;
mod load;
mod run;
mod schedule;
mod versions;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use self::run::Report;
use self::schedule::Kind;
use super::Exit;

/// Prove on your own Kafka that no record is lost: write records, run several xylem processes
/// against a local AEP while they are killed, AEP fails, brokers go, the mapping is swapped and candidates have a
/// share of the records, then account for every record. Makes topics and a group of its own, named `xylem-torture-…`, and leaves them there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bootstrap brokers, without authentication.
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: String,
    /// Records to write.
    #[arg(long, default_value_t = 60_000)]
    records: u64,
    /// Over how many seconds they are written and faults happen; then everything has to drain.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Chooses the faults and their times; a run with the same seed has the same schedule.
    #[arg(long)]
    seed: Option<u64>,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 12)]
    partitions: i32,
    /// Processes that share them.
    #[arg(long, default_value_t = 3)]
    processes: usize,
    /// Times that a process is killed; by default one for every five seconds, and so are the others.
    #[arg(long)]
    kills: Option<usize>,
    /// Times that a process is told to stop, and times that one more joins and leaves.
    #[arg(long)]
    rebalances: Option<usize>,
    /// Times that AEP is away; half as often it throttles, resets, is slow, or revokes tokens.
    #[arg(long)]
    outages: Option<usize>,
    /// Times that the mapping is replaced while records flow; a part of the records becomes events under one
    /// version and dead letters under the next.
    #[arg(long)]
    reloads: Option<usize>,
    /// Times that a process is told to go back to the version before; half as often as it is replaced.
    #[arg(long)]
    rollbacks: Option<usize>,
    /// Times that a process gives half of the records to a candidate with another mapping, until a rule promotes it
    /// or rolls it back, or a reload or its end ends it; by default as often as one is told to go back. One of them has to be seen.
    #[arg(long)]
    canaries: Option<usize>,
    /// Times that a broker is killed; needs `--broker-pid-file`.
    #[arg(long)]
    broker_kills: Option<usize>,
    /// A file with the process id of a broker on this machine, which something starts again when it
    /// is killed; once for each broker.
    #[arg(long, value_name = "FILE")]
    broker_pid_file: Vec<PathBuf>,
    /// Where the configuration and the processes' logs are left.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// How many faults of each kind.
    fn counts(&self) -> Vec<(Kind, usize)> {
        let usual = usize::try_from(self.seconds / 5).unwrap_or(usize::MAX).max(1);
        let outages = self.outages.unwrap_or(usual);
        let rebalances = self.rebalances.unwrap_or(usual);
        let brokers = match (self.broker_pid_file.len(), self.broker_kills) {
            (0, _) => 0,
            (_, count) => count.unwrap_or_else(|| usual.div_ceil(3)),
        };
        let half = outages.div_ceil(2);
        let reloads = self.reloads.unwrap_or_else(|| usual.div_ceil(2));
        let rollbacks = self.rollbacks.unwrap_or_else(|| reloads.div_ceil(2));
        vec![
            (Kind::Kill, self.kills.unwrap_or(usual)),
            (Kind::Stop, rebalances.div_ceil(2)),
            (Kind::Join, rebalances / 2),
            (Kind::Outage, outages),
            (Kind::Throttle, half),
            (Kind::Reset, half),
            (Kind::Slow, half),
            (Kind::Revoke, half),
            (Kind::Broker, brokers),
            (Kind::Reload, reloads),
            // Without a reload there is nothing to go back to.
            (Kind::Rollback, if reloads == 0 { 0 } else { rollbacks }),
            (Kind::Canary, self.canaries.unwrap_or_else(|| reloads.div_ceil(2))),
        ]
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = run::run(args)?;
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        show(&mut out, &report)?;
    }
    Ok(if report.holds() { Exit::Done } else { Exit::No }.into())
}

fn show(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let ledger = &report.ledger;
    writeln!(out, "\n{:<18}{:>9}{:>15}{:>12}", "fault", "asked for", "took effect", "overlapped")?;
    for fault in report.faults.iter().filter(|fault| fault.asked > 0) {
        let (asked, took, overlapped) = (fault.asked, fault.took_effect, fault.overlapped);
        writeln!(out, "{:<18}{asked:>9}{took:>15}{overlapped:>12}", fault.kind)?;
    }
    writeln!(
        out,
        "\n{} rebalances seen by {} processes; {} did not drain in time after SIGTERM\n",
        report.rebalances, report.processes_started, report.unclean_ends
    )?;
    let canaries = &report.canaries;
    if canaries.begun > 0 {
        writeln!(
            out,
            "{} canaries: {} promoted and {} rolled back by their rule, {} ended by a swap or a stop\n",
            canaries.begun, canaries.promoted, canaries.rolled_back, canaries.ended
        )?;
    }
    for (what, count) in [
        ("written", ledger.written),
        ("delivered", ledger.delivered),
        ("filtered", ledger.filtered),
        ("dead-lettered", ledger.dead_lettered),
        ("events that repeated", ledger.repeats),
        ("repeats of other generation", ledger.other_generation),
        ("two fates, two generations", ledger.two_generations),
        ("dead letters that repeated", ledger.letters_again),
        ("LOST", ledger.lost),
        ("WRONG OR TWO FATES", ledger.wrong),
        ("REPEATED UNDER ANOTHER ID", ledger.other_id),
        ("OUT OF ORDER", ledger.out_of_order),
        ("UNEXPLAINED", ledger.strange),
    ] {
        writeln!(out, "{what:<28}{count:>10}")?;
    }
    for words in ledger.examples.iter().chain(&report.complaints) {
        writeln!(out, "  {words}")?;
    }
    let verdict = if report.holds() {
        "every record has exactly one fate"
    } else if report.complaints.is_empty() {
        "a promise is broken"
    } else {
        "no verdict: the run was not what was asked for"
    };
    writeln!(out, "\nseed {}: {verdict}.", report.seed)
}
