//! A JavaScript plugin of 12 MB is compiled and swapped in on a second pipeline, while the first works off
//! a backlog: how much of its throughput the first keeps from the file's arrival to the swap.
//!
//! The plugin is the TypeScript example, built with `StarlingMonkey` as jco builds unless told otherwise; it
//! takes the place of its twin in Rust, by a rename that the process notices itself. The cache of native code
//! is a new folder in each round, so that it has to be compiled.
//!
//! The backlog is written beforehand, and every round reads it as a new group from its beginning. Where it
//! ends before the round does there is no verdict. It would be 15 GB without compression: the compiler gets a small share of
//! busy cores, and so it takes its time. Broker and inlet take their part of the cores, before the file's arrival as after it.

#![expect(clippy::disallowed_methods, reason = "a window is a time")]

mod stand;

use std::path::PathBuf;
use std::time::Duration;

use xylem_bench_order::workload;
use xylem_tests::kafka::{Broker, Client};

use self::stand::Stand;
use super::measure::Offspring;

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
    /// The plugin that is swapped in: it makes profiles of sign-ups.
    #[arg(long)]
    plugin: PathBuf,
    /// Records of 326 bytes in the backlog.
    #[arg(long, default_value_t = 44_000_000)]
    records: u64,
    /// Rounds; the verdict is on their median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// What the first pipeline has to keep of its throughput.
const KEPT: f64 = 0.8;

/// The least size of the plugin, in bytes.
const LEAST: u64 = 12_000_000;

/// What one instance of it may use, as configured.
const INSTANCE: u64 = 24 * 1024 * 1024;

/// What may be in flight, as configured.
const IN_FLIGHT: u64 = 64 * 1024 * 1024;

const WORKERS: u64 = 2;
const PARTITIONS: i32 = 4;

/// What one round gave; throughput in records a second, memory in bytes.
struct Round {
    before: f64,
    during: f64,
    after: f64,
    /// From the file's arrival to the swap.
    swap: Duration,
    /// From the file's arrival to the first event of the new plugin.
    event: Duration,
    compiler: Offspring,
    /// The process's peak in the window before the file's arrival, and from there to the end.
    peak: [u64; 2],
    /// The most in flight.
    in_flight: u64,
    native: u64,
    /// Orders that nobody had begun at the end.
    left: u64,
}

/// Measures, prints the rounds, and fails where too little is kept or too much memory is taken.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let size = std::fs::metadata(&args.plugin)?.len();
    anyhow::ensure!(size >= LEAST, "the plugin has {size} bytes only");
    let Some(broker) = Broker::start(&[]) else { anyhow::bail!("no Kafka is installed") };
    let kafka = broker.client();
    println!("the plugin has {:.1} MB; writing {} records …\n", size as f64 / 1e6, args.records);
    let topic = kafka.unique("orders");
    let written = backlog(kafka, &topic, args.records)?;
    println!(
        "{:6} {:^40} | {:^17} | {:^20} | {:^25} |",
        "", "records/s", "arrival to", "compiler", "host, MiB"
    );
    println!(
        "{:6} {:>9} {:>10} {:>8} {:>10} | {:>8} {:>8} | {:>5} {:>6} {:>7} | {:>8} {:>6} {:>9} | in flight, MiB",
        "round",
        "before",
        "compiling",
        "kept",
        "after",
        "swap",
        "event",
        "CPU",
        "MiB",
        "allowed",
        "before",
        "peak",
        "allowed"
    );
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let round = Stand::start(kafka, args, &topic)?.round(written)?;
        round.show(number, size);
        anyhow::ensure!(
            round.left > 0,
            "the backlog ended: no verdict; more `--records` are needed"
        );
        rounds.push(round);
    }
    verdict(&rounds, size)
}

/// Writes the backlog; how many records it has.
fn backlog(kafka: &Client, topic: &str, records: u64) -> anyhow::Result<u64> {
    kafka.create_topic(topic, PARTITIONS, &[("compression.type", "lz4")]);
    let each = records / u64::try_from(PARTITIONS)?;
    kafka.produce_stamped(topic, 0..PARTITIONS, 0..each, |partition, sequence| {
        workload::order(u64::try_from(partition).unwrap() * each + sequence).into_bytes()
    });
    Ok(each * u64::try_from(PARTITIONS)?)
}

fn verdict(rounds: &[Round], size: u64) -> anyhow::Result<()> {
    let mut kept: Vec<f64> = rounds.iter().map(Round::kept).collect();
    kept.sort_by(f64::total_cmp);
    let median = kept[kept.len() / 2];
    println!("\nkept {:.1} % (median; at least {:.0} %)", median * 100.0, KEPT * 100.0);
    let all = |holds: &dyn Fn(&Round) -> bool| rounds.iter().all(holds);
    anyhow::ensure!(median >= KEPT, "the compiler takes too much of the throughput");
    anyhow::ensure!(all(&|round| round.peak[1] <= round.allowed(size)), "the host's memory grew");
    anyhow::ensure!(
        all(&|round| round.in_flight <= IN_FLIGHT + IN_FLIGHT / 8),
        "more was in flight than the budget"
    );
    anyhow::ensure!(
        all(&|round| round.compiler.peak_bytes <= round.compiler.need()),
        "the compiler took more than the gate looks for before it starts one"
    );
    Ok(())
}

impl Round {
    fn kept(&self) -> f64 {
        self.during / self.before
    }

    /// What it held before; the plugin's file, which is read and handed to the compiler; its native code, which is mapped;
    /// what its instances may use.
    fn allowed(&self, size: u64) -> u64 {
        self.peak[0] + size + self.native + WORKERS * INSTANCE
    }

    fn show(&self, number: usize, size: u64) {
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        let Offspring { cpu, peak_bytes, .. } = self.compiler;
        println!(
            "{number:<6} {:>9.0} {:>10.0} {:>6.1} % {:>10.0} | {:>6.1} s {:>6.1} s | {:>3.0} s {:>6.0} {:>7.0} | {:>8.0} {:>6.0} {:>9.0} | {:.0}, {} records left",
            self.before,
            self.during,
            self.kept() * 100.0,
            self.after,
            self.swap.as_secs_f64(),
            self.event.as_secs_f64(),
            cpu.as_secs_f64(),
            mib(peak_bytes),
            mib(self.compiler.need()),
            mib(self.peak[0]),
            mib(self.peak[1]),
            mib(self.allowed(size)),
            mib(self.in_flight),
            self.left,
        );
    }
}
