//! Plugins are swapped under load: nothing is lost, nothing out of order, no record of two versions, and
//! those who wait hardly notice.
//!
//! Two builds of the plugin `stamp`, which says its version in each event, take each other's place by
//! `xylem reload --wait`, at half of the capacity measured just before. Stretches with swaps take turns
//! with stretches without; of each the 99th percentile from the record's timestamp to acceptance and the
//! longest time in which nothing came are compared. With `--refused` the same is measured with candidates that do
//! not pass the gate.

#![expect(clippy::disallowed_methods, reason = "swaps come in time")]

mod driver;
mod receiver;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use xylem_bench_order::workload;
use xylem_tests::kafka::{Broker, Client};
use xylem_tests::versions::Verdict;

use self::driver::Driver;
use self::receiver::{Receiver, Stretch};
use super::steady::Steady;

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
    /// Swaps in all.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Swaps in a stretch.
    #[arg(long, default_value_t = 20)]
    stretch: u64,
    /// Milliseconds from one swap to the next.
    #[arg(long, default_value_t = 250)]
    every_ms: u64,
    /// Records from which the capacity is measured.
    #[arg(long, default_value_t = 400_000)]
    records: u64,
    /// Records a second, in place of half of the capacity.
    #[arg(long)]
    rate: Option<f64>,
    /// In place of swaps, candidates that do not pass the gate: those who wait must not notice
    #[arg(long)]
    refused: bool,
    /// Only the ledger has to be whole; latencies are told and not judged.
    #[arg(long)]
    untimed: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

const PARTITIONS: i32 = 8;

/// Events that the plugin `stamp` makes of a record.
const EVENTS: u64 = 3;

/// The median of the ratios of 99th percentiles may be this.
const MOST_RATIO: f64 = 1.2;

/// The longest gap in stretches with swaps may be this many times that of the others.
const MOST_GAP: f64 = 2.0;

const PATIENCE: Duration = Duration::from_mins(5);

/// What came of it.
#[derive(Serialize)]
struct Report {
    capacity_per_second: f64,
    rate_per_second: f64,
    /// What was done in every second stretch: `swaps` or `refusals`.
    of: &'static str,
    swaps: u64,
    /// Of `xylem reload --wait`, from start to end: median, 99th percentile, longest.
    swap_ms: [f64; 3],
    records: u64,
    ledger: Verdict,
    dead_letters: u64,
    settled: bool,
    pairs: Vec<Pair>,
    median_p99_ratio: f64,
    longest_gap_ms: Halves,
    gap_ratio: f64,
    complaints: Vec<String>,
}

/// A stretch with swaps and one without, one after the other.
#[derive(Serialize)]
struct Pair {
    p99_ms: Halves,
    gap_ms: Halves,
    events: Halves,
}

/// A figure without swaps and with them.
#[derive(Clone, Copy, Serialize)]
struct Halves {
    calm: f64,
    swaps: f64,
}

/// Measures, prints the report, and fails where a promise is broken or a bound is missed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(broker) = Broker::start(&[]) else { anyhow::bail!("no Kafka is installed") };
    let kafka = broker.client();
    let receiver = Receiver::start(EVENTS)?;
    let mut driver = Driver::start(kafka, args, &receiver, PARTITIONS);
    // Both versions are compiled from here on, and a swap goes both ways.
    for _ in 0..2 {
        driver.swap()?;
    }
    driver.forget();
    let capacity = capacity(args, kafka, &driver, &receiver)?;
    let rate = args.rate.unwrap_or(capacity / 2.0);
    let load = load(kafka, driver.topic().to_owned(), rate)?;
    std::thread::sleep(Duration::from_secs(3));
    drop(receiver.next_stretch());
    let pairs = pairs(args, &receiver, &mut driver)?;
    load.stop();
    let report = close(args, [capacity, rate], pairs, &receiver, driver);
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        show(&mut out, &report)?;
    }
    anyhow::ensure!(report.complaints.is_empty(), "{}", report.complaints.join("; "));
    Ok(())
}

/// Records per second that are written, carried and received on this machine, all at once.
fn capacity(
    args: &Args,
    kafka: &Client,
    driver: &Driver,
    receiver: &Receiver,
) -> anyhow::Result<f64> {
    let each = args.records / u64::try_from(PARTITIONS)?;
    kafka.produce_stamped(driver.topic(), 0..PARTITIONS, 0..each, |_, sequence| {
        workload::order(sequence).into_bytes()
    });
    let records = each * u64::try_from(PARTITIONS)?;
    Driver::wait(PATIENCE, receiver, records * EVENTS);
    Ok(records as f64 / receiver.took().as_secs_f64())
}

/// A steady stream into all partitions.
fn load(kafka: &Client, topic: String, rate: f64) -> anyhow::Result<Steady> {
    // Made beforehand: the load's own work is not what is measured.
    let orders: Vec<String> = (0..1000).map(workload::order).collect();
    Steady::start(kafka, rate, move |number, send| {
        let partition = i32::try_from(number % PARTITIONS as u64).unwrap();
        send(&topic, partition, orders[(number % 1000) as usize].as_bytes());
    })
}

/// Stretches with and without swaps; which comes first takes turns, too.
fn pairs(args: &Args, receiver: &Receiver, driver: &mut Driver) -> anyhow::Result<Vec<Pair>> {
    let every = Duration::from_millis(args.every_ms);
    let mut pairs = Vec::new();
    while driver.swaps() < args.count {
        let swaps = args.stretch.min(args.count - driver.swaps());
        let mut stretch = |with_swaps: bool| -> anyhow::Result<Stretch> {
            let begin = Instant::now();
            for number in 1..=u32::try_from(swaps)? {
                match (with_swaps, args.refused) {
                    (false, _) => {}
                    (true, false) => driver.swap()?,
                    (true, true) => driver.refuse()?,
                }
                // Where a swap takes longer than that, the next one comes at once.
                std::thread::sleep((every * number).saturating_sub(begin.elapsed()));
            }
            Ok(receiver.next_stretch())
        };
        let (calm, swapped) = if pairs.len() % 2 == 0 {
            (stretch(false)?, stretch(true)?)
        } else {
            let swapped = stretch(true)?;
            (stretch(false)?, swapped)
        };
        let halves = |of: &dyn Fn(&Stretch) -> f64| Halves { calm: of(&calm), swaps: of(&swapped) };
        pairs.push(Pair {
            p99_ms: halves(&|of| of.p99_ms() as f64),
            gap_ms: halves(&Stretch::longest_gap_ms),
            events: halves(&|of| of.events() as f64),
        });
    }
    Ok(pairs)
}

/// Waits for the rest, closes the books, and says what is wrong.
fn close(
    args: &Args,
    [capacity, rate]: [f64; 2],
    pairs: Vec<Pair>,
    receiver: &Receiver,
    mut driver: Driver,
) -> Report {
    let ends = driver.ends();
    let records: u64 = ends.values().sum();
    Driver::wait(PATIENCE, receiver, records * EVENTS);
    let (swaps, swap_ms) = (driver.swaps(), driver.took_ms());
    let settled = driver.stop();
    let dead_letters = driver.dead_letters();
    let ledger = receiver.take_versions(EVENTS).close(&ends);
    let mut ratios: Vec<f64> =
        pairs.iter().map(|pair| pair.p99_ms.swaps / pair.p99_ms.calm.max(1.0)).collect();
    ratios.sort_by(f64::total_cmp);
    let longest = |of: fn(&Halves) -> f64| pairs.iter().map(|p| of(&p.gap_ms)).fold(0.0, f64::max);
    let gaps = Halves { calm: longest(|gap| gap.calm), swaps: longest(|gap| gap.swaps) };
    let mut report = Report {
        capacity_per_second: capacity,
        rate_per_second: rate,
        of: if args.refused { "refusals" } else { "swaps" },
        swaps,
        swap_ms,
        records,
        ledger,
        dead_letters,
        settled,
        median_p99_ratio: ratios[ratios.len() / 2],
        longest_gap_ms: gaps,
        gap_ratio: gaps.swaps / gaps.calm,
        pairs,
        complaints: Vec::new(),
    };
    report.complaints = report.wrong(args);
    report
}

impl Report {
    /// What is wrong, a sentence each.
    fn wrong(&self, args: &Args) -> Vec<String> {
        let timed = !args.untimed;
        // The first two swaps were made before any record came.
        let (fewest, most) = self.ledger.changes;
        let (versions, unswapped) = (self.ledger.by_version.len(), !args.refused && fewest == 0);
        let allowed = if args.refused { 0 } else { self.swaps };
        let checks = [
            (!self.ledger.holds(), "an event is lost, late, of two versions or of no record"),
            (
                versions != 2 - usize::from(args.refused),
                "not the versions were at work that should",
            ),
            (unswapped, "a partition never saw a swap: no verdict"),
            (most > allowed, "a partition went back and forth between versions"),
            (self.swaps < args.count, "fewer of them than asked for: no verdict"),
            (self.dead_letters > 0, "a record was dead-lettered"),
            (!self.settled, "not everything is committed, or the process did not end with 0"),
            (timed && self.median_p99_ratio > MOST_RATIO, "they slow records down"),
            (timed && self.gap_ratio > MOST_GAP, "they leave a gap"),
        ];
        let wrong = checks.into_iter().filter(|(wrong, _)| *wrong);
        wrong.map(|(_, words)| words.to_owned()).collect()
    }
}

fn show(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let Report { capacity_per_second, rate_per_second, of, swaps, records, ledger, .. } = report;
    writeln!(
        out,
        "capacity {capacity_per_second:.0} records/s; the load is {rate_per_second:.0} records/s"
    )?;
    let [median, p99, longest] = report.swap_ms;
    writeln!(
        out,
        "{swaps} {of}, each {median:.0} ms (median), {p99:.0} ms (99th percentile), {longest:.0} ms at most\n"
    )?;
    writeln!(
        out,
        "{:>6}{:>12}{:>12}{:>8}{:>12}{:>12}",
        "", "p99 calm", of, "ratio", "gap calm", of
    )?;
    for (number, pair) in report.pairs.iter().enumerate() {
        let (late, gap) = (pair.p99_ms, pair.gap_ms);
        writeln!(
            out,
            "{number:>6}{:>9.0} ms{:>9.0} ms{:>8.2}{:>9.1} ms{:>9.1} ms",
            late.calm,
            late.swaps,
            late.swaps / late.calm.max(1.0),
            gap.calm,
            gap.swaps
        )?;
    }
    let gaps = report.longest_gap_ms;
    writeln!(
        out,
        "\nmedian of the ratios of p99  {:.2} (at most {MOST_RATIO})",
        report.median_p99_ratio
    )?;
    writeln!(
        out,
        "longest gap                  {:.1} ms with {of}, {:.1} ms without: {:.2} times (at most {MOST_GAP})",
        gaps.swaps, gaps.calm, report.gap_ratio
    )?;
    let (fewest, most) = ledger.changes;
    writeln!(
        out,
        "records                      {records}, {EVENTS} events each; {} events",
        ledger.events
    )?;
    writeln!(
        out,
        "lost {}, out of order {}, of two versions {}, of no record {}, dead-lettered {}, repeated {}",
        ledger.lost,
        ledger.out_of_order,
        ledger.mixed,
        ledger.strange,
        report.dead_letters,
        ledger.repeats
    )?;
    writeln!(out, "a partition saw the version change {fewest} to {most} times")?;
    for words in &ledger.examples {
        writeln!(out, "  {words}")?;
    }
    Ok(())
}
