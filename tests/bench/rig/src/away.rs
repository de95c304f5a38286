//! AEP is away while records keep coming at half the quota: memory stays within its budget, the
//! group keeps its members, and afterwards the backlog drains at the quota, as fast as `/status`
//! said.

#![expect(clippy::disallowed_methods, reason = "an outage takes its time")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aep_emulator::{Control, Emulator, Fault, Keep, LakeQuery, Rate, Settings};
use xylem_bench_order::workload;
use xylem_tests::kafka::{Broker, Client};
use xylem_tests::{Setup, Xylem, eventually_within, guests, repository};

use super::measure::resident;
use super::steady::Steady;

/// How it is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
    /// How long AEP is away, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Messages a second that AEP takes from the organisation; half of it comes in.
    #[arg(long, default_value_t = 10_000)]
    quota: u32,
}

const PARTITIONS: i32 = 12;
const PROCESSES: usize = 2;
const ORGANISATION: &str = "ABCD1234@AdobeOrg";

/// What may be in flight in one process, as configured.
const BUDGET: u64 = 32 * 1024 * 1024;
/// What a process may grow by beside it: librdkafka's queues, requests being built, the allocator.
const BESIDE: u64 = 32 * 1024 * 1024;

/// How far the time that it took may be from the time that was said.
const TOLERANCE: std::ops::RangeInclusive<f64> = 0.8..=1.2;

const SECOND: Duration = Duration::from_secs(1);

/// Lets it happen, prints what was seen, and fails where a promise is broken.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(broker) = Broker::start(&[]) else { anyhow::bail!("no Kafka is installed") };
    let stand = Stand::start(broker.client(), &args.xylem, args.quota)?;
    let rate = f64::from(args.quota) / 2.0;
    let load = stand.load(rate)?;
    let patience = Duration::from_mins(1);
    wait(patience, "the first seconds", || stand.accepted() as f64 >= 3.0 * rate);
    let before = stand.look();
    anyhow::ensure!(before.members(), "a process has no partitions");

    let outage = stand.control.fault(Fault::status(503));
    let (begun, mut worst) = (Instant::now(), before.clone());
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        std::thread::sleep(SECOND);
        worst = worst.worse(&stand.look());
    }
    stand.control.clear(outage);
    let (back, said) = stand.return_of_aep(&mut worst);
    stand.wait_drained(&load, rate, Duration::from_secs_f64(said.mul_add(3.0, 60.0)));
    let drained = back.elapsed();
    let after = stand.look();
    let written = load.stop();
    let all = Duration::from_mins(2);
    wait(all, "the rest", || stand.committed());

    let ratio = drained.as_secs_f64() / said;
    let (delivered, repeated) = stand.delivered();
    let lost = written - delivered;
    let dead: i64 = stand.kafka.ends(&stand.dead).values().sum();
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    println!("AEP away for {} s under {rate:.0} records/s, {PROCESSES} processes", args.seconds);
    println!("drained     said {said:.1} s, took {:.1} s ({ratio:.2})", drained.as_secs_f64());
    println!("in flight   {:.1} of {:.1} MiB at most", mib(worst.in_flight), mib(BUDGET));
    println!(
        "resident    {:.0} MiB before, {:.0} at most",
        mib(before.resident),
        mib(worst.resident)
    );
    println!("rebalances  {} before, {} after", before.rebalances, after.rebalances);
    println!(
        "records     {written} written, {lost} lost, {dead} dead-lettered, {repeated} repeated"
    );
    anyhow::ensure!(TOLERANCE.contains(&ratio), "the estimate was wrong");
    anyhow::ensure!(worst.in_flight <= BUDGET + BUDGET / 8, "more was in flight than the budget");
    anyhow::ensure!(worst.resident <= before.resident + BUDGET + BESIDE, "memory grew");
    anyhow::ensure!(before.rebalances == after.rebalances, "a member was lost");
    anyhow::ensure!(lost == 0 && dead == 0, "a record was lost or dead-lettered");
    Ok(())
}

/// What it stands on.
struct Stand<'a> {
    kafka: &'a Client,
    topic: String,
    dead: String,
    group: String,
    control: Control,
    processes: Vec<Xylem>,
    _emulator: Emulator,
}

impl<'a> Stand<'a> {
    fn start(kafka: &'a Client, xylem: &Path, quota: u32) -> anyhow::Result<Self> {
        let emulator = Emulator::start(Settings {
            org: Some(ORGANISATION.to_owned()),
            keep: Keep::Ids,
            validate: false,
            // Whoever sends more is throttled.
            rate: Some(Rate {
                requests_per_second: 1_000,
                messages_per_second: quota,
                retry_after: None,
            }),
            ..Settings::default()
        })?;
        let (topic, dead) = (kafka.topic("orders", PARTITIONS), kafka.topic("dead", 1));
        let group = kafka.unique("away");
        let text = format!(
            "kafka: {{brokers: '{}', group: {group}, start: earliest, session_timeout_ms: 6000}}
aep: {{organisation: {ORGANISATION}}}
quota: {{messages_per_second: {quota}}}
limits: {{in_flight_bytes: {BUDGET}}}
plugins: {{order: {{component: {}}}}}
destinations:
  orders:
    inlet: {}
    dataset: orders
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {}}}
pipelines:
  orders:
    topics: [{topic}]
    chain: [{{plugin: order}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
",
            kafka.bootstrap(),
            guests::built("order").display(),
            emulator.inlet_url("orders"),
            repository().join("tests/bench/order/schema.json").display(),
        );
        let mut processes: Vec<_> = (0..PROCESSES)
            .map(|_| Setup::new(&text).start_program(xylem, &["run", "-c", "xylem.yaml"]))
            .collect();
        for process in &mut processes {
            process.wait_ready();
        }
        let control = emulator.control();
        let stand = Self { kafka, topic, dead, group, control, processes, _emulator: emulator };
        wait(Duration::from_mins(1), "both have partitions", || stand.look().members());
        Ok(stand)
    }

    fn load(&self, rate: f64) -> anyhow::Result<Steady> {
        let topic = self.topic.clone();
        Steady::start(self.kafka, rate, move |number, send| {
            let partition = i32::try_from(number % PARTITIONS as u64).unwrap();
            send(&topic, partition, workload::order(number).as_bytes());
        })
    }

    fn accepted(&self) -> u64 {
        self.control.summary().inlets.values().map(|inlet| inlet.accepted).sum()
    }

    fn committed(&self) -> bool {
        self.kafka.committed(&self.group, &self.topic) == self.kafka.ends(&self.topic)
    }

    fn look(&self) -> Look {
        let looks = self.processes.iter().map(|process| {
            let status = process.status();
            Look {
                in_flight: status["in_flight"]["bytes"].as_u64().unwrap(),
                resident: resident(process.pid()),
                rebalances: counter(&process.metrics(), "xylem_rebalances_total "),
                partitions: vec![status["partitions"].as_array().map_or(0, Vec::len)],
            }
        });
        looks.reduce(|one, other| one.worse(&other)).unwrap()
    }

    /// Waits until every process sends again, each when its own back-off ends. When the first did,
    /// and how long after that the last backlog was said to be drained, each as said just before.
    fn return_of_aep(&self, worst: &mut Look) -> (Instant, f64) {
        let mut said = vec![0.0; PROCESSES];
        let mut back: Vec<Option<Instant>> = vec![None; PROCESSES];
        while back.contains(&None) {
            for (place, process) in self.processes.iter().enumerate() {
                let status = process.status();
                if status["destinations"][0]["state"] == "open" {
                    back[place].get_or_insert_with(Instant::now);
                } else if let Some(seconds) = status["backlog"]["drain_seconds"].as_f64() {
                    said[place] = seconds;
                }
            }
            *worst = worst.worse(&self.look());
            std::thread::sleep(SECOND / 10);
        }
        let back: Vec<Instant> = back.into_iter().flatten().collect();
        let first = *back.iter().min().unwrap();
        let ends = back.iter().zip(&said).map(|(at, drain)| (*at - first).as_secs_f64() + drain);
        (first, ends.fold(0.0, f64::max))
    }

    /// Waits until no more waits than arrives in a second.
    fn wait_drained(&self, load: &Steady, rate: f64, patience: Duration) {
        wait(patience, "the backlog drains", || {
            load.sent().saturating_sub(self.accepted()) as f64 <= rate
        });
    }

    /// Distinct messages that AEP has, and how many it got more than once.
    fn delivered(&self) -> (u64, u64) {
        let query = LakeQuery { limit: usize::MAX, ..LakeQuery::default() };
        let lake = self.control.lake(&query);
        let distinct: BTreeSet<&str> = lake.iter().map(|entry| entry.msg_id.as_str()).collect();
        (distinct.len() as u64, (lake.len() - distinct.len()) as u64)
    }
}

/// What is seen of all processes at one time.
#[derive(Clone, Debug)]
struct Look {
    /// The most bytes in flight of one.
    in_flight: u64,
    /// The most resident bytes of one.
    resident: u64,
    /// Of all.
    rebalances: u64,
    /// Of each.
    partitions: Vec<usize>,
}

impl Look {
    fn worse(&self, other: &Self) -> Self {
        Self {
            in_flight: self.in_flight.max(other.in_flight),
            resident: self.resident.max(other.resident),
            rebalances: self.rebalances + other.rebalances,
            partitions: [self.partitions.as_slice(), &other.partitions].concat(),
        }
    }

    /// Every process has its part.
    fn members(&self) -> bool {
        let part = usize::try_from(PARTITIONS).unwrap() / PROCESSES;
        self.partitions.iter().all(|count| *count == part)
    }
}

fn counter(page: &str, name: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

fn wait(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    eventually_within(patience, || if done() { Ok(()) } else { Err(what.to_owned()) });
}
